"""``modtools retrain``: train an output module on a frozen module with few labels."""

import os
import time
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from modtools.cli._choose import show_strategies
from modtools.cli._inputs import (
    FewLabels,
    HeldOut,
    OneModule,
    TaskOptions,
    gather_parts,
    load_module,
    pick_name,
    split_task,
)
from modtools.cli._options import Forward, option, takes_options
from modtools.cli._output import Outputs, accuracy_text, emit, say_lines
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modtools._intervals import MeasuredAccuracy
    from modtools.modules import PretrainedModule
    from modtools.retraining import Forecast, LearningCurve, ReusedModel
    from modtools.tasks import Task

__all__ = ["retrain"]

_DEFAULT_TASK = "digits"


@dataclass(frozen=True, kw_only=True)
class _Retraining(HeldOut):
    strategy: str | None = option(
        "Choose the --labels examples by their features, without any label, such as typical or "
        "cover (default: a random sample of each class). --list shows all.",
        metavar="NAME",
    )
    output: str = option(
        "Output module: logistic, ridge or class_mean.", default="logistic", metavar="NAME"
    )
    unlabelled: bool = option(
        "Semi-supervised: class_mean finds clusters in all training examples, labelled or not.",
        "--unlabelled",
        default=False,
    )
    allow_missing_classes: bool = option(
        "Accept classes without a labelled example; they are never predicted.",
        "--allow-missing-classes",
        default=False,
    )
    save: Path | None = option(
        "Save module and output module into this folder, without pickle.", metavar="DIR"
    )
    predictions: Path | None = option(
        "Write label and predicted class of each held-out example as CSV.", metavar="FILE"
    )
    show_list: bool = option("Show all strategies and stop.", "--list", default=False)


@takes_options(
    split=None,
    n_jobs=None,
    task="digits (the default, unless --features), fashion-mnist, a folder with one folder of "
    "images per class (or train/ and test/ of such), or a .npz, .csv or .parquet file.",
    csv="Write accuracy at every label count as CSV.",
    plot="Draw accuracy against labels as FILE.png and FILE.svg.",
    seed="The same seed gives the same labels and the same result.",
    quiet="Print only the accuracy in percent.",
)
def retrain(
    *,
    given: OneModule,
    task: TaskOptions,
    labels: FewLabels,
    wanted: _Retraining,
    forward: Forward,
    outputs: Outputs,
) -> None:
    """Train an output module on a frozen module with few labels, and test it (linear probe).

    Answers: how accurate is this module with my labels, and would more labels help? For example:

        modtools retrain zoo/ --pick supcon@features --task digits --per-class 5
        modtools retrain --module modtools.modules:pixels --task digits --labels 100 --plot curve
        modtools retrain zoo/ --labels 50 --strategy typical --predictions predicted.csv
        modtools retrain zoo/ --labels 10 --output class_mean --unlabelled
        modtools retrain --module my_code:resnet --layer layer4 --task data.npz --target 0.95
        modtools retrain zoo/ --task my-images/ --save model/
        modtools retrain --features supcon.npz --per-class 5
        modtools retrain --list

    Nothing in the module changes: only the output module on its features is trained. "Accuracy" is
    measured on held-out test examples, with a 95 % interval. "Labels" forecasts the accuracy of
    a ridge output module with more labels from your labels alone, or says why they do not support
    a forecast.

    --labels and --per-class sample each class, which reads the labels of all examples; --strategy
    (random, typical, ...) reads no label before an example is chosen. --unlabelled lets class means
    find clusters in all examples, which few labels then assign to classes. --save writes a folder
    for mt.ReusedModel.load.
    """
    if wanted.show_list:
        show_strategies(outputs.json)
        return
    from modtools.modules import check_forward

    with outputs.silence():
        _check(wanted, labels, outputs, forward)
        check_forward(runs=not given.files, **forward.options())
        source, train, test = _load(given, task, wanted)
        done = _retrain(source, train, test, labels=labels, wanted=wanted, forward=forward)
    _report(done, outputs)


def _check(wanted: _Retraining, labels: FewLabels, outputs: Outputs, forward: Forward) -> None:
    """Raise for options that contradict each other, and for paths that cannot be written."""
    from modtools._checks import check_choice, check_fraction
    from modtools._places import check_file, check_new_folder
    from modtools.retraining import OUTPUTS, STRATEGIES

    check_choice(wanted.output, list(OUTPUTS), name="output")
    if wanted.unlabelled and wanted.output != "class_mean":
        raise ModtoolsError("--unlabelled is for class means: add --output class_mean.")
    if wanted.strategy is not None:
        hint = "modtools retrain --list shows all of them."
        check_choice(wanted.strategy, list(STRATEGIES), name="strategy", hint=hint)
        if labels.n is None:
            raise ModtoolsError("--strategy says which examples to label: add --labels N.")
    if wanted.target is not None:
        check_fraction(wanted.target, name="--target")
    outputs.check(cache=forward.cache)
    if wanted.predictions is not None:
        check_file(wanted.predictions)
    if wanted.save is not None:
        if os.path.lexists(wanted.save):
            raise ModtoolsError(f"{wanted.save} exists; give another --save.")
        check_new_folder(wanted.save)


class _Source(NamedTuple):
    """A module, or its cached features of the training and of the test examples."""

    name: str
    module: "PretrainedModule | None"
    cached: "tuple[NDArray[Any], NDArray[Any]] | None" = None


def _load(
    given: OneModule, task: TaskOptions, wanted: _Retraining
) -> tuple[_Source, "Task", "Task"]:
    """Return the module or its features, the training examples and the held-out test examples."""
    from modtools.modules import ModuleCollection

    if given.files:
        cached, train, test = gather_parts(given, task, wanted.test_fraction, verb="retrain")
        name = pick_name(list(cached), given.pick)
        checked = ModuleCollection.of_pairs({name: cached[name]})
        return _Source(name, None, dict(checked.train_and_test(train, test))[name]), train, test
    module = load_module(given)
    if wanted.save is not None and module.build is None:
        raise ModtoolsError(
            f"{module.name} cannot be saved: nothing says how to build its network again. Return a "
            'PretrainedModule(..., build=("package:Class", {arguments})), or leave out --save.'
        )
    parts = split_task(replace(task, task=task.task or _DEFAULT_TASK), wanted.test_fraction)
    return _Source(module.names[0], module), *parts


@dataclass
class _Retrained:
    """A reused model with the features it was made from and measured on.

    Attributes
    ----------
    name : str
        Of the module, or of its features.
    train, labelled, test : Task
        The training examples, those of them whose labels are used, and the held-out test examples.
    features, test_features : ndarray of shape (n_samples, n_features)
        Of the labelled and of the held-out examples.
    forecast : Forecast
        Accuracy with more labels.
    saved : Path or None
        Where the model is, once it is saved.
    """

    wanted: _Retraining
    seed: int
    are_drawn: bool
    name: str
    model: "ReusedModel"
    train: "Task"
    labelled: "Task"
    test: "Task"
    features: "NDArray[Any]"
    test_features: "NDArray[Any]"
    forecast: "Forecast"
    saved: Path | None = None

    @cached_property
    def predicted(self) -> "NDArray[Any]":
        """Predicted class of each held-out example."""
        import numpy as np

        return np.asarray(self.model.output.predict(self.test_features))

    @cached_property
    def is_right(self) -> "NDArray[np.bool_]":
        """Whether each held-out example is predicted correctly."""
        import numpy as np

        return np.asarray(self.predicted == self.test.labels)

    @cached_property
    def measured(self) -> "MeasuredAccuracy":
        """The accuracy on the held-out examples, with its interval."""
        from modtools._intervals import MeasuredAccuracy

        return MeasuredAccuracy.of(float(self.is_right.mean()), len(self.test))

    @property
    def accuracy_of_labelled_classes(self) -> float:
        """The accuracy on classes with a label; 0 if there are no such examples."""
        import numpy as np

        is_known = np.isin(self.test.labels, self.model.labelled_classes)
        return float(self.is_right[is_known].mean()) if is_known.any() else 0.0

    @property
    def target(self) -> float | None:
        """The accuracy asked for, else the next round one."""
        from modtools.retraining import next_target

        wanted = self.wanted.target
        return next_target(self.measured.value) if wanted is None else wanted

    @cached_property
    def curve(self) -> "LearningCurve | None":
        """Accuracy of the ridge output module at each number of labels, in their order.

        None where all labels are of one class.
        """
        from modtools.retraining import learning_curve

        if len(self.model.labelled_classes) < 2:
            return None
        labels = (self.labelled.labels, self.test_features, self.test.labels)
        # All examples are in the order of the task, maybe sorted by class; chosen ones as chosen.
        order = None if self.are_drawn else self.seed
        # Shared inputs were looked for before; different inputs may have equal features.
        return learning_curve(self.features, *labels, seed=order, allow_overlap=True)


def _retrain(
    source: _Source,
    train: "Task",
    test: "Task",
    *,
    labels: FewLabels,
    wanted: _Retraining,
    forward: Forward,
) -> _Retrained:
    """Choose the examples to label, retrain on them, and measure on held-out examples.

    All options are checked before the network runs, so that no time is lost. The network reads
    every example once, and unlabelled training examples only if their features are needed.
    """
    from modtools.retraining import retrain

    started = time.perf_counter()
    read = partial(_read, source, forward)
    known, test_features = source.cached or (None, None)
    if wanted.strategy is not None and labels.per_class is None and known is None:
        known = read(train)
    labelled = _label(train, known, labels, wanted, seed=forward.seed)
    _check_labelled(wanted, labelled, test)
    if known is None and (wanted.unlabelled or labelled is train):
        known = read(train)
    features = read(labelled) if known is None else known[_positions(train, labelled)]
    model = retrain(
        {source.name: features} if source.module is None else source.module,
        labelled,
        features=None if source.module is None else features,
        output=wanted.output,
        unlabelled=known if wanted.unlabelled else None,
        allow_missing_classes=wanted.allow_missing_classes,
    )
    model.seconds = time.perf_counter() - started  # the features are part of it
    test_features = read(test) if test_features is None else test_features
    are_drawn = labels.n is not None or labels.per_class is not None
    forecast = _forecast(features, labelled, wanted.strategy or "random", forward.seed)
    tasks, both = (train, labelled, test), (features, test_features)
    return _Retrained(wanted, forward.seed, are_drawn, source.name, model, *tasks, *both, forecast)


def _read(source: _Source, forward: Forward, task: "Task") -> "NDArray[Any]":
    import numpy as np

    from modtools.modules import extract

    assert source.module is not None  # cached features are there already
    return np.asarray(extract(source.module, task, **forward.options()))


def _label(
    train: "Task",
    features: "NDArray[Any] | None",
    labels: FewLabels,
    wanted: _Retraining,
    *,
    seed: int,
) -> "Task":
    """Return the examples whose labels are used, in the order in which they are labelled."""
    from modtools.retraining import choose_labels

    if wanted.strategy is None or labels.n is None or labels.per_class is not None:
        return labels.of(train, seed=seed)
    return train.subset(choose_labels(features, labels.n, strategy=wanted.strategy, seed=seed))


def _positions(train: "Task", labelled: "Task") -> list[int]:
    """Return the positions of the labelled examples among the training examples."""
    positions = {row: position for position, row in enumerate(train.rows.tolist())}
    return [positions[row] for row in labelled.rows.tolist()]


def _forecast(features: "NDArray[Any]", labelled: "Task", strategy: str, seed: int) -> "Forecast":
    """Return the forecast of the accuracy with more labels."""
    import numpy as np

    from modtools.retraining import Forecast, extrapolate

    if strategy == "random" and np.count_nonzero(labelled.encoded.counts()) < 2:
        return Forecast(n_labels=len(labelled), law=None, refused="all labels are of one class.")
    return extrapolate(features, labelled.labels, strategy=strategy, seed=seed)


def _check_labelled(wanted: _Retraining, labelled: "Task", test: "Task") -> None:
    """Raise if a class has no label, or if held-out examples equal labelled ones."""
    absent = labelled.classes[labelled.encoded.counts() == 0].tolist()
    if absent and not wanted.allow_missing_classes:
        noun, verb = ("class", "has") if len(absent) == 1 else ("classes", "have")
        raise ModtoolsError(
            f"{noun} {', '.join(map(str, absent))} of {labelled.name} {verb} none of the "
            f"{len(labelled)} labels. Give more --labels, or --allow-missing-classes: such a "
            "class is then never predicted."
        )
    shared = test.overlap(labelled)
    if shared.size and not wanted.allow_overlap:
        raise ModtoolsError(
            f"{shared.size} of {len(test)} held-out examples of {test.name} equal labelled ones, "
            f"first row {shared[0]}: their accuracy says little. Take them out, or add "
            "--allow-overlap if inputs repeat by nature."
        )


def _report(done: _Retrained, outputs: Outputs) -> None:
    """Print the result, save the model, and write the files asked for."""
    from modtools._escape import csv_text
    from modtools._writing import json_text

    # If all labels are of one class there is no curve.
    curve = done.curve if outputs.csv or outputs.plot else None
    emit(
        outputs,
        show=lambda: say_lines(_lines(done)),
        quiet=[f"{100 * done.measured.value:.2f}"],
        json=lambda: json_text(_document(done)),
        csv=None if curve is None else lambda: csv_text(curve.frame()),
        plot=None if curve is None else lambda path: _draw(done, curve, path),
        save=lambda: _save(done),
        more=lambda: _write_predictions(done),
        advice=lambda: _next(done),
        indent=10,
    )


def _save(done: _Retrained) -> list[Path]:
    if done.wanted.save is None:
        return []
    done.saved = done.model.save(done.wanted.save)
    return [done.saved]


def _lines(done: _Retrained) -> list[tuple[str, str]]:
    model = done.model
    lines = [
        (
            "Task",
            f"{done.train.name}: {len(done.labelled)} of {len(done.train)} examples labelled, "
            f"{_how_chosen(done)}; {len(done.test)} held out, {len(model.classes)} classes",
        ),
        (
            "Module",
            f"{done.name}: {done.features.shape[1]} features, frozen; output module "
            f"{done.wanted.output}",
        ),
        ("Accuracy", accuracy_text(done.measured, len(done.test))),
    ]
    if len(model.missing_classes):
        lines.append(("Classes", _classes_text(done)))
    if done.wanted.unlabelled:
        lines.append(("Clusters", _clusters_text(done)))
    verdict = done.forecast.verdict(done.target, measured=done.measured)
    if done.wanted.output != "ridge" and not done.forecast.refused:
        verdict = f"{verdict} The forecast is of a ridge output module."
    lines.append(("Labels", verdict))
    return [*lines, ("Time", f"{model.seconds:.1f} s")]


def _how_chosen(done: _Retrained) -> str:
    if done.wanted.strategy is not None:
        return f"chosen by {done.wanted.strategy}, which saw no label"
    if len(done.labelled) == len(done.train):
        return "all there are"
    return "a random sample of each class"


def _classes_text(done: _Retrained) -> str:
    model = done.model
    names = ", ".join(map(str, model.missing_classes.tolist()))
    text = (
        f"{len(model.labelled_classes)} of {len(model.classes)} have a label; missing: {names}. "
        f"Accuracy on the others {100 * done.accuracy_of_labelled_classes:.1f} %"
    )
    if not done.wanted.unlabelled:
        return text
    n_unassigned = int(model.output.is_unassigned(done.test_features).sum())
    return f"{text}; {n_unassigned} held-out examples lie in clusters without a labelled example"


def _clusters_text(done: _Retrained) -> str:
    output = done.model.output
    if not output.uses_clusters_:
        return (
            "of the unlabelled examples do not follow the classes (evidence "
            f"{output.evidence_:.2f}); class means are used"
        )
    return f"of the unlabelled examples follow the classes (evidence {output.evidence_:.2f})"


def _next(done: _Retrained) -> str:
    wanted = done.wanted
    if wanted.save is not None:
        return f'model = mt.ReusedModel.load("{wanted.save}"); model.predict(inputs)'
    return "add --save model/ to save the model, --plot curve.png to draw accuracy by label count"


def _document(done: _Retrained) -> dict[str, Any]:
    """Return the JSON of the retraining: one row, the accuracy on held-out examples."""
    import pandas as pd

    from modtools._writing import json_document

    model, wanted = done.model, done.wanted
    curve = done.curve
    settings = {
        "task": done.train.name,
        "module": done.name,
        "output": wanted.output,
        "strategy": wanted.strategy,
        "n_labels": len(done.labelled),
        "n_pool": len(done.train),
        "n_test": len(done.test),
        "seed": done.seed,
    }
    value, low, high = done.measured
    row = {"metric": "accuracy", "value": value, "value_low": low, "value_high": high}
    extra = {
        "n_features": done.features.shape[1],
        "classes": model.classes.tolist(),
        "missing_classes": model.missing_classes.tolist(),
        "accuracy_of_labelled_classes": done.accuracy_of_labelled_classes,
        "labelled_rows": done.labelled.rows.tolist(),
        "forecast": done.forecast.figures(done.target, measured=done.measured),
        "curve": None if curve is None else curve.frame(),
        "saved": None if done.saved is None else str(done.saved),
    }
    about: dict[str, Any] = {"settings": settings, "seconds": model.seconds}
    return json_document("retraining", pd.DataFrame([row]), **about, extra=extra)


def _write_predictions(done: _Retrained) -> list[Path]:
    from modtools._writing import write_file

    path = done.wanted.predictions
    return [] if path is None else [write_file(path, _predictions(done))]


def _predictions(done: _Retrained) -> str:
    """Return a table of held-out examples, with the probability of the prediction if known."""
    import pandas as pd

    from modtools._escape import csv_text
    from modtools.outputs import LogisticOutput

    columns = {"row": done.test.rows, "label": done.test.labels, "predicted": done.predicted}
    table = pd.DataFrame({**columns, "right": done.is_right})
    output = done.model.output
    if isinstance(output, LogisticOutput):
        table["probability"] = output.predict_proba(done.test_features).max(axis=1)
    return csv_text(table)


def _draw(done: _Retrained, curve: "LearningCurve", path: Path) -> list[Path]:
    """Draw the ridge curve of these labels, its forecast, the target, and the achieved accuracy."""
    name, output = done.name, done.wanted.output
    display = curve.plot(
        target=done.wanted.target,
        forecast=done.forecast,
        name=f"{name}, ridge",
        others=None if output == "ridge" else {f"{name}, {output}": done.measured},
        first=len(done.model.labelled_classes),
        title=f"{name} on {done.train.name}: accuracy by number of labels",
    )
    return display.save(path)
