"""From words on a command line to modules and a task."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from modtools._checks import check_choice, check_lengths
from modtools._reading import as_path, kind_of, read_arrays
from modtools.cli._task_rows import (
    choose_classes,
    class_rows,
    few_labels,
    hold_out,
    split_task,
)
from modtools.exceptions import ModtoolsError
from modtools.tasks import Task, load_task

if TYPE_CHECKING:
    from modtools.modules import PretrainedModule, Zoo

__all__ = ["Given", "gather", "gather_parts", "load_module", "load_shelf"]

_FEATURE_KEYS = ("features", "X")
_N_SHOWN = 6

FeatureFiles: TypeAlias = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Given:
    """What a command line names: zoo folders or feature files, factories, taps, feature files."""

    sources: Sequence[Path]
    modules: Sequence[str]
    taps: Sequence[str]
    features: Sequence[Path]

    @property
    def files(self) -> list[Path]:
        """Feature files; those that follow the first one on the line come without an option."""
        return [*self.features, *(path for path in self.sources if path.suffix == ".npz")]

    @property
    def zoos(self) -> list[Path]:
        """Zoo folders."""
        return [path for path in self.sources if path.suffix != ".npz"]


def gather(
    given: Given,
    *,
    task: str | None,
    split: str | None = None,
    label: str | None = None,
    classes: str | None = None,
    per_class: int | None = None,
    n_labels: int | None = None,
    seed: int = 0,
) -> tuple[Any, Task]:
    """Return what `rank_modules` ranks: modules or cached features, and the labelled task."""
    _check_given(given, task, verb="score")
    labelled = None if task is None else load_task(task, split=split, label=label)
    few: dict[str, Any] = {"per_class": per_class, "n_labels": n_labels, "seed": seed}
    names = None if classes is None else classes.split(",")
    if not given.files:
        shelf, labelled = load_shelf(given), cast("Task", labelled)
        return shelf, few_labels(choose_classes(labelled, names) if names else labelled, **few)
    features, labelled = _load_features(given.files, labelled)
    if names:
        features = _take(features, labelled, class_rows(labelled, names))
        labelled = choose_classes(labelled, names)
    chosen = few_labels(labelled, **few)
    return (features if chosen is labelled else _take(features, labelled, chosen.rows)), chosen


def gather_parts(
    given: Given,
    *,
    task: str | None,
    label: str | None = None,
    classes: str | None = None,
    test_fraction: float | None = None,
) -> tuple[Any, Task, Task]:
    """Return what `label_efficiency` studies: modules or features, rows to learn from, test rows.

    Cached features come as pairs, those of the rows to learn from and those of the test rows.
    """
    _check_given(given, task, verb="study")
    if not given.files:
        parts = split_task(
            cast("str", task), classes=classes, test_fraction=test_fraction, label=label
        )
        return load_shelf(given), *parts
    labelled = None if task is None else load_task(task, label=label)
    features, labelled = _load_features(given.files, labelled)
    names = None if classes is None else classes.split(",")
    rows = class_rows(labelled, names) if names else np.arange(len(labelled))
    features = _take(features, labelled, rows)
    labelled = choose_classes(labelled, names) if names else labelled
    train, test = hold_out(labelled, test_fraction)
    halves = {name: (matrix[train.rows], matrix[test.rows]) for name, matrix in features.items()}
    return halves, train, test


def _check_given(given: Given, task: str | None, *, verb: str) -> None:
    if not (given.files or given.zoos or given.modules):
        raise ModtoolsError(
            f"nothing to {verb}: give a zoo folder, --module PACKAGE:FACTORY or --features "
            "FILE.npz."
        )
    if given.files and (given.zoos or given.modules):
        raise ModtoolsError(f"{verb} cached features or modules, not both in one table.")
    if not given.files and task is None:
        raise ModtoolsError(
            "modules need a task: add --task digits, --task fashion-mnist, or --task with a folder "
            "of class folders, a .npz, a .csv or a .parquet file."
        )


def _take(features: FeatureFiles, task: Task, rows: NDArray[np.intp]) -> FeatureFiles:
    """Return some rows of each feature matrix, which must have as many rows as the task."""
    for name, matrix in features.items():
        check_lengths(**{f'features "{name}"': matrix, "labels": task})
    return {name: matrix[rows] for name, matrix in features.items()}


def load_module(given: Given, pick: str | None) -> "PretrainedModule":
    """Return the one module that a command line names, read at one tap."""
    from modtools.modules import Zoo

    if not (given.zoos or given.modules):
        raise ModtoolsError("no module: give a zoo folder or --module PACKAGE:FACTORY.")
    shelf = load_shelf(given)
    if isinstance(shelf, Zoo):
        if pick is not None and "@" in pick:
            return shelf[pick]  # a zoo also reads taps that were not saved
        return shelf[_pick(list(shelf), pick)]
    name = _pick([name for module in shelf for name in module.names], pick)
    (module,) = [module for module in shelf if name in module.names]
    tap = module.taps[module.names.index(name)]
    return cast("PretrainedModule", module.at(tap))


def _pick(known: Sequence[str], pick: str | None) -> str:
    """Return the name asked for, or the only one there is."""
    if len(set(known)) < len(known):
        twice = next(name for place, name in enumerate(known) if name in known[:place])
        raise ModtoolsError(f'two modules are named "{twice}"; give only one of them.')
    if pick is not None:
        return check_choice(pick, known, name="module")
    if len(known) > 1:
        shown = ", ".join(known[:_N_SHOWN]) + (", ..." if len(known) > _N_SHOWN else "")
        raise ModtoolsError(
            f"{len(known)} modules are given; choose one with --pick: {shown}. modtools score "
            "says which one to reuse."
        )
    return known[0]


def load_shelf(given: Given) -> Any:
    """Return the modules of zoo folders and factories: one zoo as it is, else a list."""
    if given.taps and not given.modules:
        raise ModtoolsError("--tap says where to read a --module; a zoo knows its own taps.")
    zoos = [_open_zoo(folder) for folder in given.zoos]
    if len(zoos) == 1 and not given.modules:
        return zoos[0]
    shelf = [zoo.load(name) for zoo in zoos for name in zoo.names]
    return shelf + [_call_factory(factory, list(given.taps)) for factory in given.modules]


def _open_zoo(folder: Path) -> "Zoo":
    from modtools.modules import Zoo

    if kind_of(as_path(folder, name="a zoo")) != "folder":
        raise ModtoolsError(f"there is no zoo folder {folder}.")
    zoo = Zoo(folder)
    if not zoo.names:
        raise ModtoolsError(
            f"the folder {folder} holds no module; a zoo has one folder a module, with a card.json."
        )
    return zoo


def _call_factory(text: str, taps: list[str]) -> "PretrainedModule":
    """Return the module that ``package:factory`` makes; user code may fail in any way."""
    from modtools.modules import PretrainedModule

    try:
        made = _import_factory(text)()
    except ModtoolsError:
        raise
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        raise ModtoolsError(f'--module "{text}" failed: {problem}.') from error
    if isinstance(made, PretrainedModule):
        return made.at(taps) if taps else made
    if not callable(made):
        raise ModtoolsError(
            f'--module "{text}" returned a {type(made).__name__}; it must return a '
            "PretrainedModule or a torch network."
        )
    return PretrainedModule(made, name=text.rpartition(":")[2], tap=taps or None)


def _import_factory(text: str) -> Any:
    """Import ``package:factory``, from the current folder too."""
    package, _, name = text.partition(":")
    if not package or not name:
        raise ModtoolsError(
            f'--module must be "package:factory", for example my_networks:small; got "{text}".'
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = import_module(package)
    except ImportError as error:
        raise ModtoolsError(f'--module "{text}" cannot be imported: {error}.') from error
    if not hasattr(module, name):
        raise ModtoolsError(f'--module "{text}": {package} has no {name}.')
    return getattr(module, name)


def _load_features(files: Sequence[Path], task: Task | None) -> tuple[FeatureFiles, Task]:
    """Return the cached features of each file by its name, and the task that labels them.

    A file holds an array features (or X), and labels (or y) where no task is given.
    """
    features: FeatureFiles = {}
    for file in files:
        if file.stem in features:
            raise ModtoolsError(f'two feature files are named "{file.stem}"; rename one.')
        features[file.stem] = _read_features(file)
    if task is not None:
        return features, task
    labelled = [load_task(file) for file in files]
    for other, file in zip(labelled, files, strict=True):
        if not np.array_equal(other.labels, labelled[0].labels):
            raise ModtoolsError(
                f"{file} holds other labels than {files[0]}; all modules must be scored on the "
                "same rows in the same order."
            )
    return features, labelled[0]


def _read_features(file: Path) -> NDArray[Any]:
    def key(present: list[str]) -> list[str]:
        found = [key for key in _FEATURE_KEYS if key in present]
        if not found:
            raise ModtoolsError(
                f'{file} has no array "features" (or "X"); it has {", ".join(present) or "none"}.'
            )
        return found[:1]

    (features,) = read_arrays(as_path(file, name="a file of features"), key)
    return features
