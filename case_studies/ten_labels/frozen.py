"""Output modules on one frozen module: all labels, ten drawn at random, ten chosen without labels.

Which output module serves best, and how it measures nearness, is decided on training images that
the frozen module was not trained on; the test images are read once, by what was decided.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import modtools as mt
from modtools.modules import extract
from modtools.outputs import ClassMeanOutput, LogisticOutput, RidgeOutput
from modtools.retraining import choose_labels

Options = dict[str, Any]

NEARNESS: dict[str, Options] = {
    "class means": {},
    "class means, columns not rescaled": {"standardize": False},
    "class means, cosine": {"metric": "cosine"},
    "class means, cosine, columns not rescaled": {"metric": "cosine", "standardize": False},
}
FEW_LABELS: dict[str, Any] = {
    **{name: ClassMeanOutput(**options) for name, options in NEARNESS.items()},
    "ridge": RidgeOutput(),
    "logistic": LogisticOutput(alpha=1.0),
}
ALL_LABELS: dict[str, Any] = {
    "class means": ClassMeanOutput(),
    "ridge": RidgeOutput(),
    "logistic": LogisticOutput(alpha=1.0),
}


class Part(NamedTuple):
    """Features and labels of some rows."""

    features: NDArray[np.float32]
    labels: NDArray[Any]

    def take(self, rows: Any) -> "Part":
        """Return some of the rows."""
        return Part(self.features[rows], self.labels[rows])


class Parts(NamedTuple):
    """All training rows, those among them that no module was trained on, and the test rows."""

    train: Part
    held_out: NDArray[np.intp]
    test: Part

    @property
    def rest(self) -> NDArray[np.intp]:
        """The training rows that are not held out."""
        return np.setdiff1d(np.arange(len(self.train.labels)), self.held_out)


def measure(
    module: mt.PretrainedModule, tasks: Any, seeds: Sequence[int], deciding: Sequence[int]
) -> dict[str, Any]:
    """Return what all labels and ten labels give with a frozen module; accuracies in percent."""
    started = time.perf_counter()
    train, test = (
        Part(np.asarray(extract(module, task, batch_size=256, cache=True)), task.labels)
        for task in (tasks.train, tasks.test)
    )
    parts = Parts(train, tasks.held_out, test)
    classes = len(tasks.train.classes)
    chosen = decide(parts, classes, deciding)
    draws = [tasks.train.few_labels(per_class=1, seed=seed).rows for seed in seeds]
    best = {kind: max(found, key=lambda name: found[name]) for kind, found in chosen.items()}
    nearness = NEARNESS[best["pool"]]
    return {
        "held_out_accuracy": max(chosen["all"].values()),
        "decided_on_held_out_rows": chosen,
        "outputs": best,
        "full": accuracy(ALL_LABELS[best["all"]], train, test),
        "random": [accuracy(FEW_LABELS[best["few"]], train.take(rows), test) for rows in draws],
        "refined": [
            accuracy(with_clusters(seed, classes, nearness), train.take(rows), test, train)
            for seed, rows in zip(seeds, draws, strict=True)
        ],
        "chosen": [ask(parts, classes, seed, classes, nearness) for seed in seeds],
        "half": ask(parts, classes // 2, 0, classes, nearness),
        "seconds": time.perf_counter() - started,
    }


def decide(parts: Parts, classes: int, seeds: Sequence[int]) -> dict[str, dict[str, float]]:
    """Return the accuracy of each candidate on the held-out rows, by what it is wanted for."""
    rest, held_out = parts.train.take(parts.rest), parts.train.take(parts.held_out)
    task = mt.Task(rest.features, rest.labels)
    draws = [rest.take(task.few_labels(per_class=1, seed=seed).rows) for seed in seeds]

    def mean(outputs: Sequence[Any], unlabelled: Part | None = None) -> float:
        found = [accuracy(o, d, held_out, unlabelled) for o, d in zip(outputs, draws, strict=True)]
        return float(np.mean(found))

    return {
        "all": {name: accuracy(output, rest, held_out) for name, output in ALL_LABELS.items()},
        "few": {name: mean([output] * len(draws)) for name, output in FEW_LABELS.items()},
        "pool": {
            name: mean([with_clusters(seed, classes, options) for seed in seeds], rest)
            for name, options in NEARNESS.items()
        },
    }


def with_clusters(seed: int, classes: int, nearness: Options) -> ClassMeanOutput:
    """Return an output module that finds as many clusters in unlabelled features."""
    return ClassMeanOutput(n_classes=classes, random_state=seed, **nearness)


def accuracy(output: Any, labelled: Part, test: Part, unlabelled: Part | None = None) -> float:
    """Fit an output module, maybe with unlabelled features; return the test accuracy in percent."""
    others = {} if unlabelled is None else {"unlabelled": unlabelled.features}
    fitted = output.fit(labelled.features, labelled.labels, **others)
    return 100 * float(np.mean(fitted.predict(test.features) == test.labels))


def ask(parts: Parts, n: int, seed: int, classes: int, nearness: Options) -> dict[str, Any]:
    """Choose rows without any label, ask for the labels of these, and return what they give."""
    rows = choose_labels(parts.train.features, n, strategy="typical", seed=seed)
    output = with_clusters(seed, classes, nearness)
    output.fit(*parts.train.take(rows), unlabelled=parts.train.features)
    is_right = output.predict(parts.test.features) == parts.test.labels
    is_named = np.isin(parts.test.labels, output.classes_)
    is_unassigned = output.is_unassigned(parts.test.features)
    return {
        "accuracy": 100 * float(np.mean(is_right)),
        "n_labels": n,
        "named": output.classes_.tolist(),
        "n_nameless_clusters": len(output.unassigned_means_),
        "uses_pool": output.uses_clusters_,
        "accuracy_on_named": 100 * float(np.mean(is_right[is_named])),
        # Images of missing classes: found to lie in an unassigned cluster?
        "known_to_be_nameless": percent(is_unassigned[~is_named]),
        "wrongly_nameless": percent(is_unassigned[is_named]),
    }


def percent(flags: NDArray[np.bool_]) -> float | None:
    """Return how many of a hundred are true; None of none."""
    return 100 * float(flags.mean()) if flags.size else None
