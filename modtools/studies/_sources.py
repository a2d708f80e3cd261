"""Modules of any accepted form as features of labelled and test rows, read when needed."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from modtools._checks import check_features, raise_if_not_finite
from modtools._types import FloatArray
from modtools.exceptions import ModtoolsError

__all__ = ["Pair", "Source", "digest", "list_sources"]

Pair: TypeAlias = tuple[FloatArray, FloatArray]
_FORMS = (
    "modules must be a Zoo, a list of PretrainedModule or a dict {name: module} or "
    "{name: (train_features, test_features)}"
)


@dataclass(frozen=True)
class Source:
    """One network at all its taps, or features that are there already.

    Attributes
    ----------
    names : tuple of str
        Names of its modules.
    read : callable
        Returns the features of labelled and of test rows by name.
    identify : callable
        Returns, for each name, a digest of what the features depend on.
    """

    names: tuple[str, ...]
    read: Callable[[], Mapping[str, Pair]]
    identify: Callable[[], Sequence[str]]


def digest(*arrays: Any) -> str:
    """Return the sha256 of arrays: dtype, shape and bytes of each.

    >>> digest(np.zeros(2)) == digest(np.zeros(2)), digest(np.zeros(2)) == digest(np.ones(2))
    (True, False)
    """
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def list_sources(modules: Any, train: Any, test: Any, options: Mapping[str, Any]) -> list[Source]:
    """Return what to read, after checking all that can be checked without running a network.

    Parameters
    ----------
    modules : Zoo, sequence of PretrainedModule, or dict
        As for `label_efficiency`.
    train, test : Task or Labels
        Labelled and test rows.
    options : mapping
        Of the extraction.
    """
    if hasattr(modules, "load"):
        loaders = [partial(modules.load, name) for name in modules.names]
        sources = [_network_source(load, train, test, options) for load in loaders]
    elif isinstance(modules, Mapping):
        sources = [
            _network_source(partial(_given, value), train, test, options, str(name))
            if hasattr(value, "taps")
            else _array_source(str(name), value, len(train), len(test))
            for name, value in modules.items()
        ]
    elif isinstance(modules, Sequence) and all(hasattr(module, "taps") for module in modules):
        sources = [_network_source(partial(_given, own), train, test, options) for own in modules]
    else:
        raise ModtoolsError(f"{_FORMS}; got {type(modules).__name__}.")
    _check_names([name for source in sources for name in source.names])
    return sources


def _given(module: Any) -> Any:
    return module


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise ModtoolsError("modules is empty; give at least one module or pair of features.")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ModtoolsError(f'two modules are named "{twice}"; give each its own name.')


def _array_source(name: str, value: Any, n_train: int, n_test: int) -> Source:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ModtoolsError(f'{_FORMS}; "{name}" is a {type(value).__name__}.')
    checked = []
    for part, features, n_rows in zip(("train", "test"), value, (n_train, n_test), strict=True):
        own = f'{part} features of "{name}"'
        array = check_features(features, name=own, minimum_rows=1)
        raise_if_not_finite(array, name=own)
        if len(array) != n_rows:
            raise ModtoolsError(
                f"{own} have {len(array)} rows, {part} has {n_rows} labels; each row must belong "
                "to one label, in the same order."
            )
        checked.append(array)
    pair = (checked[0], checked[1])
    if pair[0].shape[1] != pair[1].shape[1]:
        raise ModtoolsError(
            f'test features of "{name}" must have the {pair[0].shape[1]} columns of its train '
            f"features; got {pair[1].shape[1]}."
        )
    return Source((name,), lambda: {name: pair}, lambda: [digest(*pair)])


def _network_source(
    load: Callable[[], Any],
    train: Any,
    test: Any,
    options: Mapping[str, Any],
    name: str | None = None,
) -> Source:
    """Return the source of a network; `name` replaces its own in tables."""
    if not (train.has_inputs and test.has_inputs):
        raise ModtoolsError(
            "networks read the inputs of tasks, and labels alone have none: pass Tasks, for "
            "example Task(inputs, labels)."
        )
    module = load()
    own, shown = module.names, tuple(module.names)
    if name is not None:
        shown = tuple(name + full.removeprefix(module.name) for full in own)

    def read() -> Mapping[str, Pair]:
        parts = [_extract(load(), task, options) for task in (train, test)]
        return {new: (parts[0][old], parts[1][old]) for new, old in zip(shown, own, strict=True)}

    return Source(shown, read, lambda: _identify(load(), options["precision"]))


def _identify(module: Any, precision: str) -> list[str]:
    from modtools.modules import extraction_keys

    try:
        key = extraction_keys(module, precision, "")
    except ModtoolsError as error:
        raise ModtoolsError(
            f'module "{module.name}" cannot be told from others when a study goes on: {error} '
            "Or leave folder= out."
        ) from error
    return [key(repr(tap)) for tap in module.taps]


def _extract(module: Any, task: Any, options: Mapping[str, Any]) -> Mapping[str, FloatArray]:
    from modtools.modules import run

    try:
        return run(module, task, with_source=False, **options).features
    except ModtoolsError as error:
        if module.name in str(error):
            raise
        raise ModtoolsError(f'module "{module.name}": {error}') from error
    except Exception as error:  # whatever the user's network or preprocessing raises
        text = f'module "{module.name}" failed: {type(error).__name__}: {error}'
        raise ModtoolsError(text) from error
