"""Features, parameters, time and identity of a module; errors name the module."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict, Unpack

import numpy as np

from modtools._checks import as_real, check_choice, check_integer
from modtools._progress import quiet
from modtools._types import FloatArray
from modtools.exceptions import ModtoolsError, ModuleError
from modtools.modules._cache import open_cache
from modtools.modules._candidates import Module, read_at
from modtools.modules._combined import CombinedModule, networks_of
from modtools.modules._extraction import Extraction, iter_features, run
from modtools.modules._identity import extraction_keys
from modtools.modules._streaming import RunOptions, as_task, check_options
from modtools.tasks import Task

if TYPE_CHECKING:
    import torch

__all__ = [
    "COSTS",
    "Costs",
    "ForwardOptions",
    "ModuleFacts",
    "check_cost",
    "check_forward",
    "facts_of",
    "identities_of",
    "milliseconds_per_example",
    "run_module",
]

COSTS: Final = {"parameters": "parameters", "milliseconds": "ms per example"}
# The first pass runs to the end to find the last layer read, the second fills caches.
_WARM_UP: Final = 2
_MEASURED: Final = 7


class ForwardOptions(TypedDict, total=False):
    """How networks run, as in `extract`."""

    device: "str | torch.device | None"
    precision: str
    batch_size: int
    cache: bool | str | os.PathLike[str] | None


_DEFAULTS: Final = {**RunOptions._field_defaults, "cache": None}


def check_forward(*, runs: bool, **forward: Unpack[ForwardOptions]) -> None:
    """Raise, before anything runs, unless these options fit; given features leave none to choose.

    Parameters
    ----------
    runs : bool
        Whether a network runs at all.
    **forward
        device, precision, batch_size and cache, as in `extract`.

    Raises
    ------
    ModtoolsError
        A value that no network can run with, or one given where nothing runs.

    Examples
    --------
    >>> check_forward(runs=False, device="cpu")
    Traceback (most recent call last):
    modtools.exceptions.ModtoolsError: features were given, so no network runs: leave out device=.
    """
    given: dict[str, Any] = {**_DEFAULTS, **forward}
    given["cache"] = open_cache(given["cache"])
    check_options(RunOptions(*map(given.__getitem__, RunOptions._fields)))
    unused = [name for name, default in _DEFAULTS.items() if given[name] != default]
    if unused and not runs:
        raise ModtoolsError(f"features were given, so no network runs: leave out {unused[0]}=.")


class ModuleFacts(NamedTuple):
    """Facts about a module other than its features.

    Attributes
    ----------
    source_probabilities : ndarray or None
        Probabilities of the source classes (n_samples, n_source_classes), where the module has a
        source head and they were asked for.
    n_parameters : int or None
        Parameters up to the layer that is read; None for features that were given.
    extraction_seconds : float
        Wall time of the forward pass, which all layers of a network share.
    milliseconds : float or None
        Measured milliseconds per example, if asked for.
    """

    source_probabilities: FloatArray | None = None
    n_parameters: int | None = None
    extraction_seconds: float = 0.0
    milliseconds: float | None = None


def run_module(module: Module, task: Task, **options: Any) -> Extraction:
    """Run a module over a task, as `run` does; errors name the module."""
    with _named(module):
        return run(module, task, **options)


def facts_of(module: Module, task: Task | None, forward: ForwardOptions) -> list[ModuleFacts]:
    """Return the parameters of each layer of a network, and the time on a task if one is given."""
    timing: dict[str, Any] = {name: value for name, value in forward.items() if name != "cache"}
    facts = []
    for layer in module.layers:
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
    """Make errors of a network name its module."""
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
    """Return a digest that identifies each layer of a network, one digest for a combination."""
    parts = networks_of(module)
    try:
        keys = [extraction_keys(part, precision, "") for part in parts]
    except ModtoolsError as error:
        raise ModuleError(
            f'module "{module.name}" cannot be identified when a study resumes: {error} '
            "Or leave folder= out."
        ) from error
    found = [
        key(repr(layer)) for key, part in zip(keys, parts, strict=True) for layer in part.layers
    ]
    return [" ".join([*found, *module.members])] if isinstance(module, CombinedModule) else found


def milliseconds_per_example(
    module: Module,
    inputs: Any,
    *,
    device: "str | torch.device | None" = None,
    precision: str = "float32",
    batch_size: int = 64,
) -> float:
    """Measure the time to extract features: preprocessing, forward pass and pooling.

    Parameters
    ----------
    module : PretrainedModule or CombinedModule
        The module; the pass ends at the layer that is read, unless the inputs decide which layers
        of the network run.
    inputs : Task, array, tensor or list of str
        Real inputs; the first examples are used, repeatedly if there are few.
    device : str or torch.device, optional
        Where to run; the network is moved there and back.
    precision : {"float32", "bfloat16", "float16"}, default="float32"
        Autocast precision of the forward pass.
    batch_size : int, default=64
        Examples per forward pass; small batches cost more per example.

    Returns
    -------
    float
        Milliseconds per example: the median over seven batches after two warm-up batches, divided
        by the batch size.

    Examples
    --------
    >>> from modtools.modules import pixels
    >>> from modtools.tasks import load_task
    >>> 0 < milliseconds_per_example(pixels(), load_task("digits")) < 10
    True
    """
    task, batch_size = as_task(inputs), check_integer(batch_size, name="batch_size")
    rows = np.arange((_WARM_UP + _MEASURED) * batch_size) % len(task)
    seconds = []
    with quiet():
        blocks = iter_features(
            module, task.subset(rows), device=device, precision=precision, batch_size=batch_size
        )
        started = time.perf_counter()
        for _ in blocks:
            now = time.perf_counter()
            seconds.append(now - started)
            started = now
    return float(1000 * np.median(seconds[_WARM_UP:]) / batch_size)


@dataclass(frozen=True)
class Costs:
    """The cost of each module, if known, and of several together.

    Layers of one network (``network@layer``) cost as much as the most expensive of them, because
    one forward pass serves all.

    Attributes
    ----------
    unit : str
        Unit of the costs, for tables and pictures; empty for the caller's own numbers.
    values : dict of str to float
        Cost of each module on its own; a module without an entry has no known cost.

    Examples
    --------
    >>> Costs("parameters", {"net@early": 10.0, "net@late": 30.0, "raw": 0.0}).of(
    ...     ["net@early", "net@late", "raw"]
    ... )
    30.0
    """

    unit: str
    values: Mapping[str, float]

    @property
    def label(self) -> str:
        """Name of a column or an axis of costs."""
        return f"cost ({self.unit})" if self.unit else "cost"

    def text(self, value: float) -> str:
        """Return a cost with its unit, as text."""
        return f"{value:g} {self.unit}".rstrip()

    def of(self, names: Iterable[str]) -> float | None:
        """Return the total cost of modules; None if one of them has no known cost."""
        networks: dict[str, float] = {}
        for name in names:
            if name not in self.values:
                return None
            network = name.partition("@")[0]
            networks[network] = max(networks.get(network, 0.0), self.values[name])
        return sum(networks.values())


def check_cost(cost: Any) -> str | Mapping[str, float]:
    """Return the name of a cost or numbers by module, checked."""
    if isinstance(cost, Mapping):
        for name, value in cost.items():
            if not 0 <= as_real(value) < np.inf:
                raise ModtoolsError(
                    f'cost of "{name}" must be a finite number of at least 0; got {value!r}.'
                )
        return {str(name): float(value) for name, value in cost.items()}
    if not isinstance(cost, str):
        raise ModtoolsError(
            f'cost must be "parameters", "milliseconds" or a dict {{module: number}}; got {cost!r}.'
        )
    return check_choice(cost, list(COSTS), name="cost")
