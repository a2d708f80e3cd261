"""What ``modtools demo`` computes: predicted and achieved accuracy, and that by label count."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modtools._progress import track

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from modtools._intervals import MeasuredAccuracy
    from modtools.modules import PretrainedModule
    from modtools.retraining import Forecast
    from modtools.selection import Ranking
    from modtools.studies import Agreement
    from modtools.tasks import Task
    from modtools.training import TrainingResult

__all__ = [
    "DemoTask",
    "LabelWorth",
    "Made",
    "Outcome",
    "demo_agreement",
    "demo_modules",
    "iter_tasks",
    "make_modules",
    "solve",
    "target_task",
    "value_labels",
]

PER_CLASS: Final = 20
SCORES_SHOWN: Final = [
    *("logistic", "ridge", "lda", "knn", "class_mean", "codelength"),
    *("centered_alignment", "logme", "regularized_hscore"),
]
LAYERS: Final = ["_blocks.2", "_blocks.4", "_blocks.10", "_avg_pooling"]
_IMAGE_SIZE: Final = 64  # the images have 8 and 28 pixels a side
_N_FASHION_KEPT: Final = 1800

# Accuracy by number of labels.
_PER_CLASS_SHOWN: Final = (1, 2, 5, 10, 20)
_N_REPEATS: Final = 5
_LEAST_PREDICTED: Final = 5  # labels per class: one for each fold of the score
_BASELINE: Final = "pixels"
_PREDICTED: Final = "predicted from the labels"

# The modules trained here.
EPOCHS = 4  # not seconds, so that a seed gives the same figures on every machine
PROXIES_SHOWN = ("supcon", "nmse", "local_classifier")
_SOURCE, _TARGET, _TARGET_PER_CLASS = "01234", "56789", 5
_AT: Final = ["block3", "features"]
_UNTRAINED: Final = "untrained"

# Pretrained networks, on each available task -----------------------------------------------------


@dataclass(frozen=True)
class DemoTask:
    """A task of which few examples have labels and the rest are held-out test examples."""

    whole: "Task"
    few: "NDArray[np.intp]"
    held_out: "NDArray[np.intp]"

    def counts_shown(self) -> list[int]:
        """Return the label counts per class that are shown, up to all labels."""
        most = len(self.few) // len(self.whole.classes)
        return [count for count in _PER_CLASS_SHOWN if count < most] + [most]

    def text(self) -> str:
        """Return as one line how many examples are labelled, and how many are held out."""
        n_classes = len(self.whole.classes)
        return (
            f"Task {self.whole.name}: {len(self.whole)} images, {n_classes} classes. You have "
            f"labels for {len(self.few)} of them ({len(self.few) // n_classes} per class); "
            f"{len(self.held_out)} are held-out test examples."
        )


@dataclass(frozen=True)
class Outcome:
    """The accuracy predicted from few labels, and that of a retrained output module, by module."""

    task: DemoTask
    ranking: "Ranking"
    features: dict[str, Any]
    achieved: dict[str, float]
    milliseconds: dict[str, float]
    n_parameters: dict[str, int]
    extraction_seconds: float

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.task.whole.name

    @property
    def regret(self) -> float:
        """Accuracy of the best module minus that of the pick, in points."""
        return 100.0 * (max(self.achieved.values()) - self.achieved[self.ranking.best])

    @property
    def n_features(self) -> dict[str, int]:
        """Width of each module's output."""
        return {name: matrix.shape[1] for name, matrix in self.features.items()}


def demo_modules() -> list["PretrainedModule"]:
    """Return three networks: EfficientNet-Lite0 trained on ImageNet, the same untrained, pixels."""
    from modtools.modules import efficientnet_lite, pixels

    lite = [
        efficientnet_lite(0, layers=LAYERS, pretrained=pretrained, image_size=_IMAGE_SIZE)
        for pretrained in (True, False)
    ]
    return [*lite, pixels()]


def iter_tasks(seed: int) -> Iterator[DemoTask]:
    """Yield digits, and Fashion-MNIST if its files are on this machine."""
    from modtools.tasks import has_fashion_mnist, load_task

    yield _hold_out(load_task("digits"), PER_CLASS, seed)
    if has_fashion_mnist():
        yield _fashion(seed)


def _hold_out(task: "Task", per_class: int, seed: int) -> DemoTask:
    few = task.few_labels(per_class=per_class, seed=seed)
    return DemoTask(task, few.rows, task.complement(few).rows)


def _fashion(seed: int) -> DemoTask:
    """Return labelled images of the training part before images of the test part, in one task."""
    import numpy as np

    from modtools.tasks import Task, load_task

    few = load_task("fashion-mnist", split="train").few_labels(per_class=PER_CLASS, seed=seed)
    kept = load_task("fashion-mnist", split="test").subset(range(_N_FASHION_KEPT))
    inputs = np.concatenate([few.inputs, kept.inputs])
    labels = np.concatenate([few.labels, kept.labels])
    whole = Task(inputs, labels, name="fashion-mnist")
    return DemoTask(whole, np.arange(len(few)), np.arange(len(few), len(whole)))


def solve(task: DemoTask, modules: list["PretrainedModule"], *, seed: int) -> Outcome:
    """Extract features once, rank with few labels, and retrain an output module on each module."""
    from modtools.modules import extract
    from modtools.selection import rank_modules

    features: dict[str, Any] = {}
    milliseconds: dict[str, float] = {}
    n_parameters: dict[str, int] = {}
    start = time.perf_counter()
    for module in modules:
        before = time.perf_counter()
        found: Any = extract(module, task.whole)
        seconds = time.perf_counter() - before
        for layer, name in zip(module.layers, module.names, strict=True):
            features[name] = found[name] if len(module.layers) > 1 else found
            milliseconds[name] = 1000.0 * seconds / len(task.whole)
            n_parameters[name] = module.n_parameters(layer)
    seconds = time.perf_counter() - start
    few = {name: matrix[task.few] for name, matrix in features.items()}
    labelled = task.whole.subset(task.few)
    ranking = rank_modules(few, labelled, scores=SCORES_SHOWN, seed=seed)
    achieved = {
        name: _accuracy(features[name], task, task.few) for name in track(list(features), "Retrain")
    }
    return Outcome(task, ranking, features, achieved, milliseconds, n_parameters, seconds)


def _accuracy(features: Any, task: DemoTask, chosen: "NDArray[np.intp]") -> float:
    """Return the accuracy on the held-out examples of an output module trained on chosen ones.

    The output module is that of `retrain`, which chooses its alpha itself.
    """
    from modtools.outputs import LogisticOutput

    labels = task.whole.labels
    output = LogisticOutput().fit(features[chosen], labels[chosen])
    return float(output.score(features[task.held_out], labels[task.held_out]))


def demo_agreement(outcomes: Sequence[Outcome]) -> "Agreement":
    """Compare every score, and two label-free baselines, with the achieved accuracies."""
    import pandas as pd

    from modtools.studies import score_agreement

    scores = pd.concat([o.ranking.frame().assign(task=o.name) for o in outcomes])
    baselines = {
        o.name: {"n_parameters": o.n_parameters, "n_features": o.n_features} for o in outcomes
    }
    achieved = {o.name: o.achieved for o in outcomes}
    return score_agreement(scores, achieved, baselines=baselines)


# Accuracy of the pick by number of labels --------------------------------------------------------


@dataclass(frozen=True)
class LabelWorth:
    """Accuracy of the pick by number of labels.

    `table` has the columns line, per_class, n_labels, value, value_low, value_high and baseline;
    `repeats` line, repeat, per_class, n_labels and value, of the pick.
    """

    outcome: Outcome
    table: "pd.DataFrame"
    repeats: "pd.DataFrame"
    forecast: "Forecast"

    @property
    def target(self) -> float | None:
        """The next round accuracy above the one predicted with all labels."""
        from modtools.retraining import next_target

        return next_target(self.outcome.ranking.display().frame()["value"][0])

    def achieved(self) -> dict[int, float]:
        """Return the accuracy of the pick by labels per class, the mean over random subsets."""
        rows = self.table[self.table["line"] == _retrained(self.outcome.ranking.best)]
        return dict(zip(rows["per_class"].tolist(), rows["value"].tolist(), strict=True))

    def measured(self) -> "MeasuredAccuracy":
        """Return the accuracy of the pick with all labels."""
        from modtools._intervals import MeasuredAccuracy

        return MeasuredAccuracy(list(self.achieved().values())[-1])


def _retrained(module: str) -> str:
    return f"{module}, retrained"


def value_labels(outcome: Outcome, *, seed: int) -> LabelWorth:
    """Retrain the pick, and the pixels beside it, with 1, 2, 5, ... labels per class."""
    import pandas as pd

    from modtools.retraining import extrapolate

    pick, task = outcome.ranking.best, outcome.task
    repeats = _retrain_with_few(outcome, pick, seed)
    parts = [_means(repeats), _predicted(outcome, seed=seed)]
    if pick != _BASELINE and _BASELINE in outcome.features:
        parts.append(_means(_retrain_with_few(outcome, _BASELINE, seed), baseline=True))
    table = pd.concat(parts, ignore_index=True)
    table["baseline"] = table["baseline"].eq(True)
    few, labels = outcome.features[pick][task.few], task.whole.labels[task.few]
    return LabelWorth(outcome, table, repeats, extrapolate(few, labels, seed=seed))


def _retrain_with_few(outcome: Outcome, module: str, seed: int) -> "pd.DataFrame":
    """Return the accuracy on the held-out examples with nested random subsets of the labels."""
    import numpy as np
    import pandas as pd

    from modtools.tasks import Task

    task, n_classes = outcome.task, len(outcome.task.whole.classes)
    numbers = Task(np.arange(len(task.few)), task.whole.labels[task.few])
    counts = outcome.task.counts_shown()
    rows = []
    for repeat in range(_N_REPEATS):
        order = task.few[numbers.few_labels(per_class=counts[-1], seed=seed + repeat).rows]
        for per_class in counts:
            chosen = order[: per_class * n_classes]
            accuracy = _accuracy(outcome.features[module], task, chosen)
            rows.append((_retrained(module), repeat, per_class, len(chosen), accuracy))
    return pd.DataFrame(rows, columns=["line", "repeat", "per_class", "n_labels", "value"])


def _means(repeats: Any, *, baseline: bool = False) -> Any:
    """Return the mean over the random subsets of each number of labels."""
    by_count = repeats.groupby(["line", "per_class", "n_labels"], as_index=False)["value"]
    return by_count.mean().assign(baseline=baseline)


def _predicted(outcome: Outcome, *, seed: int) -> "pd.DataFrame":
    """Return the predicted accuracy of the pick by number of labels, with 95 % intervals."""
    import pandas as pd

    from modtools.selection import rank_modules

    task, pick = outcome.task, outcome.ranking.best
    labels, n_classes = task.whole.labels, len(task.whole.classes)
    rows: list[dict[str, Any]] = []
    for per_class in task.counts_shown():
        if per_class < _LEAST_PREDICTED:
            continue
        chosen = task.few[: per_class * n_classes]  # in rounds of one example of each class
        few = {name: whole[chosen] for name, whole in outcome.features.items()}
        found = rank_modules(few, labels[chosen], seed=seed).predictions().set_index("module")
        numbers: dict[str, Any] = {"per_class": per_class, "n_labels": len(chosen)}
        for end in ("", "_low", "_high"):
            numbers[f"value{end}"] = found.loc[pick, f"predicted{end}"]
        rows.append(numbers)
    return pd.DataFrame(rows).assign(line=_PREDICTED, baseline=False)


# Modules trained here, reused for classes that they were not trained on --------------------------


@dataclass(frozen=True)
class Made:
    """Networks trained on the source task, saved, and an untrained one beside them.

    Results and accuracies (on `held_out`) are by proxy; modules are as the zoo returns them.
    """

    source: "Task"
    held_out: "Task"
    results: dict[str, "TrainingResult"]
    accuracies: dict[str, float]
    modules: list["PretrainedModule"]
    seconds: float

    def labels_needed(self, module: str) -> str:
        """Return which labels of its source task a module was trained with."""
        result = self.results.get(module.partition("@")[0])
        return "nothing" if result is None else result.labels_needed


def make_modules(folder: Path, seed: int) -> Made:
    """Train a network with each proxy on the digits 0 to 4 and save it into a zoo."""
    from modtools.modules import PretrainedModule, Zoo, pixels
    from modtools.tasks import load_task
    from modtools.training import Augmentation, Recipe, train_modular

    start = time.perf_counter()
    train, held_out = load_task("digits").of_classes(_SOURCE).split(seed=seed)
    how: dict[str, Any] = {
        "at": _AT,
        "epochs": EPOCHS,
        "recipe": Recipe(augmentation=Augmentation(shift=1)),
        "seed": seed,
    }
    zoo = Zoo(folder)
    results, accuracies = {}, {}
    for proxy in PROXIES_SHOWN:
        results[proxy] = train_modular(_new_network(seed), train, proxy=proxy, **how)
        accuracies[proxy] = results[proxy].accuracy(held_out)
        results[proxy].save(zoo, name=proxy, test=held_out, overwrite=True)
    prepare = results[PROXIES_SHOWN[0]].modules[0].preprocess
    untrained = PretrainedModule(
        _new_network(seed).eval(), name=_UNTRAINED, layers=_AT, preprocess=prepare
    )
    modules = [*(zoo.load(proxy) for proxy in PROXIES_SHOWN), untrained, pixels()]
    return Made(train, held_out, results, accuracies, modules, time.perf_counter() - start)


def _new_network(seed: int) -> Any:
    """Return a new network with the same initial weights for each proxy."""
    import torch

    from modtools.training.networks import compact_convnet

    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return compact_convnet(len(_SOURCE))


def target_task(seed: int) -> DemoTask:
    """Return the classes that the networks were not trained on, with few labelled examples."""
    from modtools.tasks import load_task

    return _hold_out(load_task("digits").of_classes(_TARGET), _TARGET_PER_CLASS, seed)
