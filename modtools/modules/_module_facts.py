"""What one module gives: features, parameters, time and identity; whatever fails names it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from modtools._types import FloatArray
from modtools.exceptions import ModtoolsError, ModuleError
from modtools.modules._candidates import Module, read_at
from modtools.modules._combined import CombinedModule, networks_of
from modtools.modules._extraction import Extraction, run
from modtools.modules._identity import extraction_keys
from modtools.modules._timing import milliseconds_per_example
from modtools.tasks import Task

if TYPE_CHECKING:
    import torch

__all__ = ["ForwardOptions", "ModuleFacts", "facts_of", "identities_of", "run_named"]


class ForwardOptions(TypedDict, total=False):
    """How networks run, as in `extract`."""

    device: "str | torch.device | None"
    precision: str
    batch_size: int
    cache: bool | str | os.PathLike[str] | None


class ModuleFacts(NamedTuple):
    """What is known of a module beside its features.

    Attributes
    ----------
    source_probabilities : ndarray or None
        Probabilities of the source classes (n_samples, n_source_classes), where the module has a
        source head and they were asked for.
    n_parameters : int or None
        Parameters up to the layer that is read; None for features that were given.
    extraction_seconds : float
        Wall time of the pass that gave the features, one for all layers of a network.
    milliseconds : float or None
        Measured milliseconds per example, where they were asked for.
    """

    source_probabilities: FloatArray | None = None
    n_parameters: int | None = None
    extraction_seconds: float = 0.0
    milliseconds: float | None = None


def run_named(module: Module, task: Task, **options: Any) -> Extraction:
    """Run a module over a task, as `run` does; whatever fails names the module."""
    with _named(module):
        return run(module, task, **options)


def facts_of(module: Module, task: Task | None, forward: ForwardOptions) -> list[ModuleFacts]:
    """Return the parameters of each layer of a network, and its time on a task, if one is given."""
    timing: dict[str, Any] = {name: value for name, value in forward.items() if name != "cache"}
    facts = []
    for layer in module.taps:
        found = ModuleFacts(n_parameters=_n_parameters(module, layer))
        if task is not None:
            with _named(module):
                measured = milliseconds_per_example(read_at(module, [layer]), task, **timing)
            found = found._replace(milliseconds=measured)
        facts.append(found)
    return facts


def _n_parameters(module: Module, layer: str | None) -> int:
    if isinstance(module, CombinedModule):
        return module.n_parameters()
    return module.n_parameters(layer)


@contextmanager
def _named(module: Module) -> Iterator[None]:
    """Let whatever a network raises name its module."""
    try:
        yield
    except ModuleError:
        raise
    except ModtoolsError as error:
        raise ModuleError(f'module "{module.name}": {error}') from error
    except Exception as error:  # whatever the user's network or preprocessing raises
        text = f'module "{module.name}" failed: {type(error).__name__}: {error}'
        raise ModuleError(text) from error


def identities_of(module: Module, precision: str) -> list[str]:
    """Return what tells each layer of a network from others, one digest for a combination."""
    parts = networks_of(module)
    try:
        keys = [extraction_keys(part, precision, "") for part in parts]
    except ModtoolsError as error:
        raise ModuleError(
            f'module "{module.name}" cannot be told from others when a study goes on: {error} '
            "Or leave folder= out."
        ) from error
    found = [key(repr(layer)) for key, part in zip(keys, parts, strict=True) for layer in part.taps]
    return [" ".join([*found, *module.members])] if isinstance(module, CombinedModule) else found
