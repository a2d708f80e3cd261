"""From the options of ``modtools retrain`` to a reused model and its accuracy."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modtools._checks import check_choice, check_fraction
from modtools._places import check_file, check_new_folder
from modtools.cli._outputs import check_outputs
from modtools.cli._sources import Given, load_module
from modtools.cli._task_rows import few_labels, split_task
from modtools.exceptions import ModtoolsError
from modtools.retraining._choose import STRATEGIES
from modtools.retraining._retrain import OUTPUTS

if TYPE_CHECKING:
    from modtools.modules import PretrainedModule
    from modtools.retraining import Forecast, LearningCurve, ReusedModel
    from modtools.tasks import Task

__all__ = ["Retrained", "Wanted", "retrain_wanted"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The options of the command, as given; None or empty where left to us."""

    sources: Sequence[Path] | None
    modules: Sequence[str] | None
    taps: Sequence[str] | None
    pick: str | None
    task: str
    label_column: str | None
    classes: str | None
    test_fraction: float | None
    per_class: int | None
    n_labels: int | None
    strategy: str | None
    output: str
    use_pool: bool
    allow_nameless: bool
    allow_overlap: bool
    target: float | None
    save: Path | None
    predictions: Path | None
    json: str | None
    csv: Path | None
    plot: Path | None
    device: str | None
    batch_size: int
    cache: Path | None
    seed: int
    quiet: bool


@dataclass
class Retrained:
    """What came of it.

    Attributes
    ----------
    wanted : Wanted
        What was asked.
    model : ReusedModel
        The frozen module with its output module.
    pool, labelled, test : Task
        Rows that were not held out, those of them whose labels were read, and held-out rows.
    features, test_features : ndarray of shape (n_samples, n_features)
        Of the labelled and of the held-out rows.
    forecast : Forecast
        What more labels would bring.
    saved : Path or None
        Where the model is, once it is saved.
    """

    wanted: Wanted
    model: "ReusedModel"
    pool: "Task"
    labelled: "Task"
    test: "Task"
    features: NDArray[Any]
    test_features: NDArray[Any]
    forecast: "Forecast"
    saved: Path | None = None

    def save(self) -> list[Path]:
        """Save the model where asked, and return its folder."""
        if self.wanted.save is None:
            return []
        self.saved = self.model.save(self.wanted.save)
        return [self.saved]

    @cached_property
    def predicted(self) -> NDArray[Any]:
        """Predicted class of each held-out row."""
        return np.asarray(self.model.output.predict(self.test_features))

    @cached_property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether each held-out row is predicted rightly."""
        return np.asarray(self.predicted == self.test.labels)

    @property
    def accuracy(self) -> float:
        """Share of the held-out rows that are right."""
        return float(self.is_right.mean())

    @property
    def accuracy_of_named(self) -> float:
        """The same of the rows whose class has a label; 0 where there are none."""
        is_named = np.isin(self.test.labels, self.model.named)
        return float(self.is_right[is_named].mean()) if is_named.any() else 0.0

    @cached_property
    def curve(self) -> "LearningCurve | None":
        """Accuracy of the ridge output module at each number of labels, in their order.

        None where all labels are of one class.
        """
        from modtools.retraining import learning_curve

        if len(self.model.named) < 2:
            return None
        labels = (self.labelled.labels, self.test_features, self.test.labels)
        wanted = self.wanted
        # All rows come as the task has them, maybe class by class; chosen ones are in their order.
        are_all = wanted.n_labels is None and wanted.per_class is None
        order = wanted.seed if are_all else None
        # That no input is shared is checked before; different inputs may have equal features.
        return learning_curve(self.features, *labels, seed=order, allow_overlap=True)


def retrain_wanted(wanted: Wanted) -> Retrained:
    """Choose the labelled rows, retrain on them, and measure on held-out rows.

    All that can be wrong is looked at before the network runs, so that no time is lost.
    """
    from modtools.modules import extract
    from modtools.retraining import retrain

    _check(wanted)
    module = _load(wanted)
    pool, test = split_task(
        wanted.task,
        classes=wanted.classes,
        test_fraction=wanted.test_fraction,
        label=wanted.label_column,
    )
    with _kept_features(wanted) as cache:
        forward: dict[str, Any] = {
            "device": wanted.device,
            "batch_size": wanted.batch_size,
            "cache": cache,
        }
        labelled = _label(wanted, pool, module, forward)
        _check_labelled(wanted, labelled, test)
        model = retrain(
            module,
            labelled,
            output=wanted.output,
            pool=pool if wanted.use_pool else None,
            allow_nameless=wanted.allow_nameless,
            **forward,
        )
        features = np.asarray(extract(module, labelled, **forward))
        test_features = np.asarray(extract(module, test, **forward))
    forecast = _forecast(wanted, features, labelled)
    return Retrained(wanted, model, pool, labelled, test, features, test_features, forecast)


def _forecast(wanted: Wanted, features: NDArray[Any], labelled: "Task") -> "Forecast":
    """Return what more labels would bring."""
    from modtools.retraining import Forecast, extrapolate

    strategy = wanted.strategy or "random"
    if strategy == "random" and np.count_nonzero(labelled.encoded.counts()) < 2:
        return Forecast(n_labels=len(labelled), law=None, refused="all labels are of one class.")
    return extrapolate(features, labelled.labels, strategy=strategy, seed=wanted.seed)


def _check(wanted: Wanted) -> None:
    """Raise for options that contradict each other."""
    check_choice(wanted.output, list(OUTPUTS), name="output")
    if wanted.use_pool and wanted.output != "class_mean":
        raise ModtoolsError("--pool is for class means: add --output class_mean.")
    if wanted.strategy is not None:
        hint = "modtools retrain --list shows all of them."
        check_choice(wanted.strategy, list(STRATEGIES), name="strategy", hint=hint)
        if wanted.n_labels is None:
            raise ModtoolsError("--strategy says which rows to label: add --labels N.")
    if wanted.target is not None:
        check_fraction(wanted.target, name="--target")
    _check_places(wanted)


def _check_places(wanted: Wanted) -> None:
    """Raise for a place that cannot be written."""
    check_outputs(wanted, cache=wanted.cache)
    if wanted.predictions is not None:
        check_file(wanted.predictions)
    if wanted.save is not None:
        if os.path.lexists(wanted.save):
            raise ModtoolsError(f"{wanted.save} exists; give another --save.")
        check_new_folder(wanted.save)


def _load(wanted: Wanted) -> "PretrainedModule":
    given = Given(wanted.sources or [], wanted.modules or [], wanted.taps or [], [])
    if given.files:
        raise ModtoolsError(
            "modtools retrain needs the module itself, to run it on new rows later; for cached "
            "features there is modtools study."
        )
    module = load_module(given, wanted.pick)
    if wanted.save is not None and module.build is None:
        raise ModtoolsError(
            f"{module.name} cannot be saved: nothing says how to build its network again. Return a "
            'PretrainedModule(..., build=("package:Class", {arguments})), or leave out --save.'
        )
    return module


@contextmanager
def _kept_features(wanted: Wanted) -> Iterator[Path | None]:
    """Give the folder where features are kept, one for this run where many rows are read twice."""
    is_few = wanted.per_class is not None or wanted.n_labels is not None
    if wanted.cache is not None or (is_few and wanted.strategy is None and not wanted.use_pool):
        yield wanted.cache
        return
    with TemporaryDirectory(prefix="modtools-") as own:
        yield Path(own)


def _label(
    wanted: Wanted, pool: "Task", module: "PretrainedModule", forward: dict[str, Any]
) -> "Task":
    """Return the rows whose labels are read, in the order in which they are labelled."""
    n_labels, per_class = wanted.n_labels, wanted.per_class
    if wanted.strategy is None or n_labels is None or per_class is not None:
        return few_labels(pool, per_class=per_class, n_labels=n_labels, seed=wanted.seed)
    from modtools.modules import extract
    from modtools.retraining import choose_labels

    features = extract(module, pool, **forward)
    return pool.subset(
        choose_labels(features, n_labels, strategy=wanted.strategy, seed=wanted.seed)
    )


def _check_labelled(wanted: Wanted, labelled: "Task", test: "Task") -> None:
    """Raise where a class has no label, or where held-out rows were labelled."""
    absent = labelled.classes[labelled.encoded.counts() == 0].tolist()
    if absent and not wanted.allow_nameless:
        noun, verb = ("class", "has") if len(absent) == 1 else ("classes", "have")
        raise ModtoolsError(
            f"{noun} {', '.join(map(str, absent))} of {labelled.name} {verb} none of the "
            f"{len(labelled)} labels. Give more --labels, or --allow-nameless: such a class is "
            "then never predicted."
        )
    shared = test.overlap(labelled)
    if shared.size and not wanted.allow_overlap:
        raise ModtoolsError(
            f"{shared.size} of {len(test)} held-out rows of {test.name} equal labelled rows, first "
            f"row {shared[0]}: their accuracy says little. Take them out, or add --allow-overlap "
            "if inputs repeat by nature."
        )
