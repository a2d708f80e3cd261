"""The options that name modules, a task and labels, and the functions that load them."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from modtools.cli._options import argument, option
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modtools.modules import ModuleCollection, PretrainedModule
    from modtools.tasks import Task

    FeatureFiles: TypeAlias = dict[str, NDArray[Any]]

__all__ = [
    "TASK",
    "Candidates",
    "FewLabels",
    "HeldOut",
    "OneModule",
    "TaskOptions",
    "check_given",
    "gather",
    "gather_parts",
    "load_candidates",
    "load_module",
    "pick_name",
    "read_features",
    "split_task",
]

_FEATURE_KEYS = ("features", "X")
_N_SHOWN: Final = 6
_DEFAULT_TEST_FRACTION: Final = 0.25
_SPLIT_SEED: Final = 0  # one for all runs, so that their accuracies are of the same test examples
TASK: Final = (
    "digits, fashion-mnist, a folder with one folder of images per class, or a .npz, .csv or "
    ".parquet file."
)


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Candidate modules: zoo folders, factories, layers, cached features."""

    sources: list[Path] | None = argument(
        "Zoo folders, or .npz files of cached features.", metavar="[ZOO]..."
    )
    modules: list[str] | None = option(
        "A function without arguments that returns a PretrainedModule or a torch network; "
        "may be repeated. This imports and runs that code, from the current folder too.",
        "--module",
        metavar="PACKAGE:FACTORY",
    )
    layers: list[str] | None = option(
        "Layer of each --module to read, such as _blocks.10; may be repeated, one forward "
        "pass serves all.",
        "--layer",
        metavar="NAME",
    )
    features: list[Path] | None = option(
        "Cached features instead of networks: array features, and labels unless --task.",
        "--features",
        metavar="FILE.npz...",
    )

    @property
    def files(self) -> list[Path]:
        """Feature files; after the first one, further files may follow without the option."""
        plain = [path for path in self.sources or [] if path.suffix == ".npz"]
        return [*(self.features or []), *plain]

    @property
    def zoos(self) -> list[Path]:
        """Zoo folders."""
        return [path for path in self.sources or [] if path.suffix != ".npz"]


@dataclass(frozen=True, kw_only=True)
class OneModule(Candidates):
    """One of the candidate modules."""

    pick: str | None = option(
        "Which module to reuse, such as supcon@features, if there are several.", metavar="NAME"
    )


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """A labelled task, and which part of it."""

    task: str | None = option(TASK, "--task", metavar="NAME|PATH")
    split: str | None = option("Part of the task, such as train or test.")
    label: str | None = option("Column of a table that holds the labels.", "--label-column")
    classes: str | None = option("Use only examples of these classes.", metavar="A,B,...")

    def load(self) -> "Task":
        """Return the task, or its part that was asked for."""
        from modtools.tasks import load_task

        return self.of_classes(
            load_task(cast("str", self.task), split=self.split, label=self.label)
        )

    def of_classes(self, task: "Task") -> "Task":
        """Return the examples of the classes asked for, or the whole task."""
        return task if self.classes is None else task.of_classes(self.classes.split(","))


@dataclass(frozen=True, kw_only=True)
class FewLabels:
    """How many labels are used."""

    n: int | None = option("Use only this many labelled examples, stratified.", "--labels")
    per_class: int | None = option("Use only this many labelled examples per class.")

    def of(self, task: "Task", *, seed: int) -> "Task":
        """Return the task, or only as many of its labelled examples as asked for, stratified."""
        if self.per_class is None and self.n is None:
            return task
        if self.per_class is not None and self.n is not None:
            raise ModtoolsError("give --per-class or --labels, not both.")
        return task.few_labels(per_class=self.per_class, n=self.n, seed=seed)


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The held-out test examples, and the accuracy to reach."""

    test_fraction: float | None = option(
        "Fraction of the examples held out as test set (default: 0.25), the same examples for "
        "every seed. fashion-mnist has its own test set.",
        metavar="X",
    )
    allow_overlap: bool = option(
        "Accept held-out examples that equal labelled ones, as free text may.",
        "--allow-overlap",
        default=False,
    )
    target: float | None = option(
        "Accuracy to reach, such as 0.9: how many labels are needed (default: the next round one).",
        metavar="X",
    )


def split_task(task: TaskOptions, test_fraction: float | None) -> tuple["Task", "Task"]:
    """Return the training examples and the held-out test examples, of all classes or of some."""
    from modtools.tasks import load_task

    name = cast("str", task.task)
    folder = Path(name)
    has_parts = all((folder / part).is_dir() for part in ("train", "test"))
    if name == "fashion-mnist" or has_parts:
        if test_fraction is not None:
            raise ModtoolsError(f"{name} has a test set of its own: leave out --test-fraction.")
        train, test = (_chosen(load_task(name, split=part), task) for part in ("train", "test"))
        return train, test
    return _hold_out(_chosen(load_task(name, label=task.label), task), test_fraction)


def _hold_out(task: "Task", test_fraction: float | None) -> tuple["Task", "Task"]:
    _check_kind(task)
    fraction = _DEFAULT_TEST_FRACTION if test_fraction is None else test_fraction
    return task.split(fraction, seed=_SPLIT_SEED)


def _chosen(loaded: "Task", task: TaskOptions) -> "Task":
    _check_kind(loaded)
    return task.of_classes(loaded)


def _check_kind(task: "Task") -> None:
    if task.kind != "classification":
        raise ModtoolsError(
            f"training needs one class per example; the labels of {task.name} are {task.kind}."
        )


def gather(
    given: Candidates, task: TaskOptions, labels: FewLabels, *, seed: int, verb: str = "score"
) -> tuple[Any, "Task"]:
    """Return what `rank_modules` ranks: modules or cached features, and the labelled task."""
    from modtools.tasks import load_task

    check_given(given, task, verb=verb)
    whole = None
    if task.task is not None:
        whole = load_task(task.task, split=task.split, label=task.label)
    if not given.files:
        candidates, whole = load_candidates(given), cast("Task", whole)
        return candidates, labels.of(task.of_classes(whole), seed=seed)
    features, chosen = _features_of(given.files, whole, task)
    few = labels.of(chosen, seed=seed)
    return (features if few is chosen else _take(features, few.rows, chosen)), few


def gather_parts(
    given: Candidates, task: TaskOptions, test_fraction: float | None, *, verb: str = "study"
) -> tuple[Any, "Task", "Task"]:
    """Return what `label_efficiency` takes: modules or features, training and test examples.

    Cached features come as pairs: of the training and of the test examples.
    """
    from modtools.tasks import load_task

    check_given(given, task, verb=verb)
    if not given.files:
        parts = split_task(task, test_fraction)
        return load_candidates(given), *parts
    whole = None if task.task is None else load_task(task.task, label=task.label)
    features, chosen = _features_of(given.files, whole, task)
    train, test = _hold_out(chosen, test_fraction)
    of_train, of_test = (_take(features, part.rows, chosen) for part in (train, test))
    return {name: (of_train[name], of_test[name]) for name in features}, train, test


def _features_of(
    files: Sequence[Path], whole: "Task | None", task: TaskOptions
) -> tuple["FeatureFiles", "Task"]:
    """Return the cached features of the classes asked for, and the task that labels them."""
    import numpy as np

    features, whole = _load_features(files, whole)
    chosen = task.of_classes(whole)
    if chosen is whole:
        return features, whole
    return _take(features, np.flatnonzero(np.isin(whole.labels, chosen.classes)), whole), chosen


def check_given(given: Candidates, task: TaskOptions, *, verb: str) -> None:
    """Raise unless there are modules or features, and a task for modules."""
    if not (given.files or given.zoos or given.modules):
        raise ModtoolsError(
            f"nothing to {verb}: give a zoo folder, --module PACKAGE:FACTORY or --features "
            "FILE.npz."
        )
    if given.files and (given.zoos or given.modules):
        raise ModtoolsError(f"{verb} cached features or modules, not both in one table.")
    if given.files and given.layers:
        raise ModtoolsError("--layer says where to read a --module; cached features are of one.")
    if given.files and task.task is None:
        for word, value in (("--split", task.split), ("--label-column", task.label)):
            if value is not None:
                raise ModtoolsError(f"{word} is about a --task; cached features have none here.")
    if not given.files and task.task is None:
        raise ModtoolsError(
            "modules need a task: add --task digits, --task fashion-mnist, or --task with a folder "
            "of class folders, a .npz, a .csv or a .parquet file."
        )


def _take(features: "FeatureFiles", rows: "NDArray[np.intp]", task: "Task") -> "FeatureFiles":
    """Return some rows of each feature matrix, which must have one row per example of the task."""
    from modtools._checks import check_lengths

    for name, matrix in features.items():
        check_lengths(**{f'features "{name}"': matrix, "labels": task})
    return {name: matrix[rows] for name, matrix in features.items()}


def load_module(given: OneModule) -> "PretrainedModule":
    """Return the one module asked for, read at one layer."""
    if not (given.zoos or given.modules):
        raise ModtoolsError(
            "no module: give a zoo folder, --module PACKAGE:FACTORY or --features FILE.npz."
        )
    parts = _parts(given)
    if given.pick is not None and "@" in given.pick and len(given.zoos) == len(parts) == 1:
        return cast("PretrainedModule", parts[0][given.pick])  # also a layer that was not saved
    name = pick_name([name for part in parts for name in part.names], given.pick)
    return cast("PretrainedModule", next(part[name] for part in parts if name in part.names))


def pick_name(known: Sequence[str], pick: str | None) -> str:
    """Return the name asked for, or the only one there is."""
    from modtools._checks import check_choice

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


def load_candidates(given: Candidates) -> "ModuleCollection":
    """Return the modules of zoo folders and factories."""
    from modtools.modules import ModuleCollection

    return ModuleCollection.of(_parts(given))


def _parts(given: Candidates) -> list["ModuleCollection"]:
    """Return the modules of each zoo folder and of each factory."""
    if given.layers and not given.modules:
        raise ModtoolsError("--layer says where to read a --module; a zoo knows its own layers.")
    from modtools.modules import ModuleCollection

    zoos = [ModuleCollection.of(folder) for folder in given.zoos]
    made = (_call_factory(factory, given.layers or []) for factory in given.modules or [])
    return [*zoos, *map(ModuleCollection.of, made)]


def _call_factory(text: str, layers: list[str]) -> "PretrainedModule":
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
        return made.at(layers) if layers else made
    if not callable(made):
        raise ModtoolsError(
            f'--module "{text}" returned a {type(made).__name__}; it must return a '
            "PretrainedModule or a torch network."
        )
    return PretrainedModule(made, name=text.rpartition(":")[2], layers=layers or None)


def _import_factory(text: str) -> Any:
    """Import ``package:factory``, from the current folder too."""
    from modtools._checks import did_you_mean

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
    try:
        return getattr(module, name)
    except AttributeError:
        near = did_you_mean(name, vars(module)) or "."
        raise ModtoolsError(f'--module "{text}": {package} has no {name}{near}') from None


def _load_features(files: Sequence[Path], task: "Task | None") -> tuple["FeatureFiles", "Task"]:
    """Return the cached features of each file by its name, and the task that labels them.

    A file holds an array features (or X), and labels (or y) where no task is given.
    """
    import numpy as np

    from modtools.tasks import load_task

    features: FeatureFiles = {}
    for file in files:
        if file.stem in features:
            raise ModtoolsError(f'two feature files are named "{file.stem}"; rename one.')
        features[file.stem] = read_features(file)
    if task is not None:
        return features, task
    labelled = [load_task(file) for file in files]
    for other, file in zip(labelled, files, strict=True):
        if not np.array_equal(other.labels, labelled[0].labels):
            raise ModtoolsError(
                f"{file} holds other labels than {files[0]}; all modules must be scored on the "
                "same examples in the same order."
            )
    return features, labelled[0]


def read_features(file: Path) -> "NDArray[Any]":
    """Return the features in a file."""
    from modtools._reading import as_path, read_arrays

    def key(present: list[str]) -> list[str]:
        found = [key for key in _FEATURE_KEYS if key in present]
        if not found:
            raise ModtoolsError(
                f'{file} has no array "features" (or "X"); it has {", ".join(present) or "none"}.'
            )
        return found[:1]

    (features,) = read_arrays(as_path(file, name="a file of features"), key)
    return features
