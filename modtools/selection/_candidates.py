"""Modules of any accepted form, one after the other, as features that can be scored."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from modtools._checks import check_matrix
from modtools._progress import track
from modtools._types import FloatArray
from modtools.exceptions import ModtoolsError
from modtools.tasks import Task

__all__ = ["Candidate", "check_modules", "extract_taps", "is_module", "iter_candidates"]


@dataclass(frozen=True)
class Candidate:
    """One module at one tap: its features on the task, and what they cost."""

    name: str
    features: NDArray[Any]
    source_probabilities: FloatArray | None = None
    n_parameters: int | None = None
    extraction_seconds: float = 0.0


def check_modules(modules: Any, task: Task, *, n_labels: int) -> None:
    """Raise before anything is computed if modules cannot be ranked on this task."""
    if not isinstance(modules, Mapping | Sequence) or isinstance(modules, str):
        raise ModtoolsError(
            "modules must be a Zoo, a list of PretrainedModule or a dict {name: features}; "
            f"got {type(modules).__name__}."
        )
    if not len(modules):
        raise ModtoolsError("modules is empty; give at least one module or array of features.")
    if isinstance(modules, dict):
        for name, value in modules.items():
            if not is_module(value):
                _check_cached(name, value, n_labels=n_labels)
    elif isinstance(modules, Sequence):
        _check_list(modules)
    holds_arrays = isinstance(modules, dict) and not any(map(is_module, modules.values()))
    if not holds_arrays and not task.has_inputs:
        raise ModtoolsError(
            "networks read the inputs of a task, and labels alone have none: pass a Task, "
            "for example Task(inputs, labels)."
        )


def is_module(value: Any) -> bool:
    """Return whether a value is a module that runs, not an array of features."""
    return hasattr(value, "taps")


def _check_cached(name: Any, features: Any, *, n_labels: int) -> NDArray[Any]:
    checked = check_matrix(features, name=f'features of "{name}"')
    if len(checked) != n_labels:
        raise ModtoolsError(
            f'features of "{name}" have {len(checked)} rows, the task has {n_labels} labels; '
            "each row must belong to one label, in the same order."
        )
    return checked


def _check_list(modules: Sequence[Any]) -> None:
    seen: set[str] = set()
    for place, module in enumerate(modules):
        if not is_module(module):
            raise ModtoolsError(
                f"modules[{place}] is a {type(module).__name__}, not a PretrainedModule; "
                "pass cached features as a dict {name: features}."
            )
        for name in module.names:
            if name in seen:
                raise ModtoolsError(
                    f'two modules are named "{name}"; give each PretrainedModule its own name.'
                )
            seen.add(name)


def iter_candidates(
    modules: Any, task: Any, *, n_labels: int, **options: Any
) -> Iterator[Candidate]:
    """Yield every module at every tap, with one forward pass a network.

    A zoo is loaded network by network, so that no more than one is in memory.
    """
    if hasattr(modules, "load"):
        for name in modules.names:
            yield from extract_taps(modules.load(name), task, **options)
        return
    named = modules if isinstance(modules, Mapping) else dict(enumerate(modules))
    has_networks = any(map(is_module, named.values()))
    # An extraction shows its own bar; two at a time would write over each other.
    for name in list(named) if has_networks else track(list(named), "Score"):
        if is_module(named[name]):
            yield from extract_taps(named[name], task, **options)
        else:
            yield Candidate(str(name), _check_cached(name, named[name], n_labels=n_labels))


def extract_taps(module: Any, task: Any, **options: Any) -> Iterator[Candidate]:
    """Yield the taps of one module after one forward pass; whatever it raises names the module."""
    from modtools.modules import run

    try:
        extraction = run(module, task, **options)
    except ModtoolsError as error:
        if module.name in str(error):
            raise
        raise ModtoolsError(f'module "{module.name}": {error}') from error
    except Exception as error:  # whatever the user's network or preprocessing raises
        text = f'module "{module.name}" failed: {type(error).__name__}: {error}'
        raise ModtoolsError(text) from error
    for tap, name in zip(module.taps, module.names, strict=True):
        yield Candidate(
            name,
            extraction.features[name],
            source_probabilities=extraction.source_probabilities,
            n_parameters=module.n_parameters(tap),
            extraction_seconds=extraction.seconds,
        )
