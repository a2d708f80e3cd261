"""One module at one layer, and where its features come from: memory, a zoo, or a cache."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, count
from typing import Any, Final, NamedTuple, TypeAlias

from numpy.typing import NDArray

from modtools._checks import check_features, check_matrix, raise_if_not_finite
from modtools._reading import as_path, kind_of
from modtools.exceptions import ModtoolsError
from modtools.modules._combined import CombinedModule
from modtools.modules._module import PretrainedModule
from modtools.modules._zoo import Zoo
from modtools.tasks import Task

__all__ = [
    "FORMS",
    "PAIRS",
    "Cached",
    "Candidate",
    "Given",
    "Module",
    "by_network",
    "check_lengths",
    "is_by_task",
    "of_item",
    "of_module",
    "of_pair",
    "of_zoo",
    "on_task",
    "open_zoo",
    "read_at",
]

Module: TypeAlias = PretrainedModule | CombinedModule
FORMS: Final = "modules must be a Zoo, a list of PretrainedModule or a dict {name: features}"
PAIRS: Final = (
    "modules must be a Zoo, a list of PretrainedModule or a dict {name: module} or "
    "{name: (train_features, test_features)}"
)


class Given(NamedTuple):
    """A module that is in memory."""

    module: Module

    def load(self) -> Module:
        """Return the module."""
        return self.module

    def network(self, name: str) -> tuple[Any, ...]:
        """Return a key that modules of this name share if one forward pass serves them."""
        module = self.module
        if isinstance(module, CombinedModule):
            return name, id(module)
        head = module.source_head
        parts = (id(module.network), id(module.preprocess), module.pooling)
        return name, *parts, id(head) if callable(head) else head


class Saved(NamedTuple):
    """A module in a zoo, loaded when it is needed."""

    zoo: Zoo
    name: str

    def load(self) -> Module:
        """Return the module from disk."""
        return self.zoo.load(self.name)

    def network(self, name: str) -> tuple[Any, ...]:
        """Return the key that layers of one saved network share."""
        return name, id(self.zoo), self.name


class Cached(NamedTuple):
    """Features that were extracted before, one array per task."""

    arrays: tuple[NDArray[Any], ...]

    def network(self, name: str) -> tuple[Any, ...]:
        """Return the key that features called ``name@...`` share."""
        return (name,)


class Candidate(NamedTuple):
    """One module at one layer: its name, that of its network, and where its features come from."""

    name: str
    network: str
    layer: str | None
    source: Given | Saved | Cached


# How messages name the task of cached features, and these features.
_ONE_TASK: Final = (("the task", "features"),)
_TRAIN_AND_TEST: Final = (("train", "train features"), ("test", "test features"))


def by_network(entries: Iterable[Candidate]) -> dict[str, tuple[str, ...]]:
    """Return the names of the modules of each network, in the order given."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    called: dict[tuple[Any, ...], str] = {}
    taken: set[str] = set()
    for entry in entries:
        key = (type(entry.source), *entry.source.network(entry.network))
        if key not in groups:
            numbered = (f"{entry.network} ({number})" for number in count(2))
            free = next(n for n in chain([entry.network], numbered) if n not in taken)
            taken.add(free)
            groups[key], called[key] = [], free
        groups[key].append(entry.name)
    return {called[key]: tuple(names) for key, names in groups.items()}


def of_module(module: Module, name: str | None = None) -> Iterator[Candidate]:
    """Yield the layers of a module; `name` replaces its own."""
    network = module.name if name is None else name
    for full, layer in zip(module.names, module.layers, strict=True):
        yield Candidate(network + full.removeprefix(module.name), network, layer, Given(module))


def of_zoo(zoo: Zoo) -> Iterator[Candidate]:
    """Yield every saved layer, by the cards."""
    for network in zoo.names:
        for layer in zoo.card(network)["layers"]:
            name = network if layer is None else f"{network}@{layer}"
            yield Candidate(name, network, layer, Saved(zoo, network))


def open_zoo(folder: str | os.PathLike[str]) -> Zoo:
    """Return the zoo of a folder, or say that there is none."""
    if kind_of(as_path(folder, name="a zoo")) != "folder":
        raise ModtoolsError(f"there is no zoo folder {os.fspath(folder)}.")
    zoo = Zoo(folder)
    if not zoo.names:
        raise ModtoolsError(
            f"the folder {os.fspath(folder)} holds no module; a zoo has one folder per module, "
            "with a card.json."
        )
    return zoo


def of_item(name: Any, value: Any) -> Iterator[Candidate]:
    """Yield what a dict holds: a module, or cached features."""
    if isinstance(value, PretrainedModule | CombinedModule):
        yield from of_module(value, str(name))
        return
    if isinstance(value, str | os.PathLike | Mapping):
        raise ModtoolsError(f'{FORMS}; "{name}" is a {type(value).__name__}.')
    yield _cached(str(name), check_matrix(value, name=f'features of "{name}"'))


def of_pair(name: Any, value: Any) -> Iterator[Candidate]:
    """Yield an entry of a dict: a module, or its cached features on train and test."""
    if isinstance(value, PretrainedModule | CombinedModule):
        yield from of_module(value, str(name))
        return
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ModtoolsError(f'{PAIRS}; "{name}" is a {type(value).__name__}.')
    arrays = []
    for (_, called), features in zip(_TRAIN_AND_TEST, value, strict=True):
        own = f'{called} of "{name}"'
        array = check_features(features, name=own, minimum_rows=1)
        raise_if_not_finite(array, name=own)
        arrays.append(array)
    if arrays[0].shape[1] != arrays[1].shape[1]:
        raise ModtoolsError(
            f'test features of "{name}" must have the {arrays[0].shape[1]} columns of its train '
            f"features; got {arrays[1].shape[1]}."
        )
    yield _cached(str(name), *arrays)


def is_by_task(value: Any) -> bool:
    """Return whether a dict holds ``{task: features}`` under a name."""
    return isinstance(value, Mapping) and not isinstance(value, Zoo)


def on_task(name: Any, value: Any, task: str) -> Any:
    """Return the features of one task from ``{task: features}``; a module reads every task."""
    if isinstance(value, PretrainedModule | CombinedModule):
        return value
    by_task = value if is_by_task(value) else {}
    found = {str(other): features for other, features in by_task.items()}
    if task not in found:
        raise ModtoolsError(
            f'module "{name}" has no features of task "{task}"; cached features are '
            "{module: {task: features}}, every module on every task."
        )
    return found[task]


def _cached(name: str, *arrays: NDArray[Any]) -> Candidate:
    return Candidate(name, name.partition("@")[0], None, Cached(arrays))


def check_lengths(
    name: str,
    arrays: Sequence[NDArray[Any]],
    tasks: Sequence[Task],
) -> None:
    """Raise unless there is one array per task, with one row per example."""
    called = _ONE_TASK if len(tasks) == 1 else _TRAIN_AND_TEST
    if len(arrays) != len(tasks):
        wanted = "(train_features, test_features)" if len(tasks) == 2 else "features of one task"
        raise ModtoolsError(f'"{name}" must be {wanted}; got {len(arrays)} arrays.')
    for array, task, (of, own) in zip(arrays, tasks, called, strict=True):
        if len(array) != len(task):
            raise ModtoolsError(
                f'{own} of "{name}" have {len(array)} rows, {of} has '
                f"{len(task)} labels; each row must belong to one label, in the same order."
            )


def read_at(module: Module, layers: Sequence[str | None]) -> Module:
    """Return a network read at some layers; a combination is read as a whole."""
    if isinstance(module, CombinedModule) or module.layers == tuple(layers):
        return module
    return module.at(list(layers))
