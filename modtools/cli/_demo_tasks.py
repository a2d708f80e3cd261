"""What the demo computes: a shelf of modules, and on each task what was predicted and achieved."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from modtools._progress import track
from modtools.selection import rank_modules
from modtools.tasks import Task, load_task
from modtools.tasks._fashion_mnist import has_fashion_mnist

if TYPE_CHECKING:
    from modtools.modules import PretrainedModule
    from modtools.outputs import LogisticOutput
    from modtools.selection import Ranking

__all__ = [
    "PER_CLASS",
    "SCORES_SHOWN",
    "DemoTask",
    "Outcome",
    "demo_shelf",
    "iter_tasks",
    "new_output",
    "solve",
]

PER_CLASS: Final = 20
SCORES_SHOWN: Final = [
    "logistic",
    "ridge",
    "lda",
    "knn",
    "class_mean",
    "codelength",
    "centered_alignment",
    "logme",
    "regularized_hscore",
]
_TAPS: Final = ["_blocks.2", "_blocks.4", "_blocks.10", "_avg_pooling"]
_IMAGE_SIZE: Final = 64  # the images have 8 and 28 pixels a side
_N_FASHION_KEPT: Final = 1800


@dataclass(frozen=True)
class DemoTask:
    """A task of which few rows have labels and the rest is kept aside to check the answer."""

    whole: Task
    few: Any
    kept: Any


@dataclass(frozen=True)
class Outcome:
    """What was predicted from the few labels, and what a retrained output module achieved."""

    task: DemoTask
    ranking: "Ranking"
    features: dict[str, Any]
    achieved: dict[str, float]
    milliseconds: dict[str, float]
    n_features: dict[str, int]
    n_parameters: dict[str, int]
    extraction_seconds: float

    @property
    def regret(self) -> float:
        """How many points of accuracy the pick lies below the best module."""
        return 100.0 * (max(self.achieved.values()) - self.achieved[self.ranking.best])


def demo_shelf() -> list["PretrainedModule"]:
    """Return three networks: EfficientNet-Lite0 trained on ImageNet, the same untrained, pixels."""
    from modtools.modules import efficientnet_lite, pixels

    lite = [
        efficientnet_lite(0, taps=_TAPS, pretrained=pretrained, image_size=_IMAGE_SIZE)
        for pretrained in (True, False)
    ]
    return [*lite, pixels()]


def iter_tasks(seed: int) -> Iterator[DemoTask]:
    """Yield digits, and Fashion-MNIST where its files are."""
    digits = load_task("digits")
    few = digits.few_labels(per_class=PER_CLASS, seed=seed)
    yield DemoTask(digits, few.rows, digits.complement(few).rows)
    if has_fashion_mnist():
        yield _fashion(seed)


def _fashion(seed: int) -> DemoTask:
    """Return labelled rows of the training part before rows of the test part, in one task."""
    few = load_task("fashion-mnist", split="train").few_labels(per_class=PER_CLASS, seed=seed)
    kept = load_task("fashion-mnist", split="test").subset(range(_N_FASHION_KEPT))
    inputs = np.concatenate([few.inputs, kept.inputs])
    labels = np.concatenate([few.labels, kept.labels])
    whole = Task(inputs, labels, name="fashion-mnist")
    return DemoTask(whole, np.arange(len(few)), np.arange(len(few), len(whole)))


def solve(task: DemoTask, shelf: list["PretrainedModule"], *, seed: int) -> Outcome:
    """Extract once, rank from the few labels, retrain an output module on each, and compare."""
    from modtools.modules import run

    start = time.perf_counter()
    features: dict[str, Any] = {}
    milliseconds: dict[str, float] = {}
    n_parameters: dict[str, int] = {}
    for module in shelf:
        extraction = run(module, task.whole, with_source=False)
        for tap, name in zip(module.taps, module.names, strict=True):
            features[name] = extraction.features[name]
            milliseconds[name] = 1000.0 * extraction.seconds / len(task.whole)
            n_parameters[name] = module.n_parameters(tap)
    seconds = time.perf_counter() - start
    few = {name: rows[task.few] for name, rows in features.items()}
    labelled = task.whole.subset(task.few)
    ranking = rank_modules(few, labelled, scores=SCORES_SHOWN, seed=seed)
    achieved = {name: _retrain(features[name], task) for name in track(list(features), "Retrain")}
    n_features = {name: rows.shape[1] for name, rows in features.items()}
    return Outcome(
        task, ranking, features, achieved, milliseconds, n_features, n_parameters, seconds
    )


def new_output() -> "LogisticOutput":
    """Return the output module that is retrained: that of `retrain`, its strength chosen."""
    from modtools.outputs import LogisticOutput

    return LogisticOutput()


def _retrain(features: Any, task: DemoTask) -> float:
    """Return the accuracy, on the rows kept aside, of an output module trained on the few."""
    labels = task.whole.labels
    output = new_output().fit(features[task.few], labels[task.few])
    return float(output.score(features[task.kept], labels[task.kept]))
