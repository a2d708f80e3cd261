"""What is recorded: each case is a function of no argument that returns numbers, names and frames.

The names of arguments may change in this file; what the cases compute may not.
"""

import contextlib
import functools
import itertools
import json
import os
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import modtools as mt
from modtools.modules import image_preprocess, pixels
from modtools.outputs import ClassMeanOutput, LogisticOutput, RidgeOutput, RidgeRegressionOutput
from modtools.retraining import extrapolate
from modtools.training import Augmentation, Recipe
from modtools.transferability import SCORES

FOLDER = Path(__file__).parent
CASES: dict[str, Callable[[], Any]] = {}
# Seconds, versions and places differ from run to run.
NOT_RECORDED = frozenset(
    {"seconds", "versions", "extraction_seconds", "milliseconds", "folder", "created"}
)
FEATURE_SETS = ("float32", "float64", "wide", "dependent", "grouped", "sharded")


def case(function: Callable[[], Any]) -> Callable[[], Any]:
    """Enter a case under its own name; it runs without warnings, which have tests of their own."""

    @functools.wraps(function)
    def quietly() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return plain(function())

    CASES[function.__name__] = quietly
    return quietly


def inputs() -> dict[str, np.ndarray]:
    """Return the arrays that every case starts from."""
    with np.load(FOLDER / "inputs.npz") as stored:
        return dict(stored)


def feature_sets() -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray | None]]:
    """Yield name, features, classes and groups (None but for one) of the six feature sets."""
    stored = inputs()
    for name in FEATURE_SETS:
        yield (
            name,
            stored[f"{name}_features"],
            stored[f"{name}_labels"],
            stored.get(f"{name}_groups"),
        )


def labels_of_kind(kind: str, features: np.ndarray, labels: np.ndarray) -> Any:
    """Return classes, several labels or real targets that hang on the classes."""
    if kind == "classification":
        return labels
    if kind == "multilabel":
        return np.stack([labels % 2, labels > 0, (labels == 1) | (features[:, 0] > 0)], 1) * 1
    return labels + 0.25 * np.arange(len(labels)) / len(labels)


def plain(value: Any) -> Any:
    """Return a result as numbers, strings, lists and dicts, without what is not recorded."""
    if isinstance(value, pd.DataFrame):
        kept = [name for name in value.columns if name not in NOT_RECORDED]
        return {str(name): plain(value[name].tolist()) for name in kept}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items() if k not in NOT_RECORDED}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.ndarray | torch.Tensor):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value if isinstance(value, int | float | str | bool | None) else str(value)


# Scores -------------------------------------------------------------------------------------------


@case
def scores_of_every_kind() -> Any:
    found: dict[str, Any] = {}
    for name, features, labels, groups in feature_sets():
        for kind in ("classification", "multilabel", "regression"):
            targets = labels_of_kind(kind, features, labels)
            source = inputs()[f"{name}_source"] if kind == "classification" else None
            result = mt.score(features, targets, source_probabilities=source, groups=groups, seed=3)
            found[f"{name}, {kind}"] = {
                "values": dict(result),
                "standard_errors": result.standard_errors,
                "skipped": sorted(result.skipped),
            }
    return found


OPTIONS: tuple[tuple[str, dict[str, tuple[Any, ...]]], ...] = (
    ("alignment", {"feature_map": ("identity",)}),
    ("centered_alignment", {"feature_map": ("relu_normalised",)}),
    ("nmse", {"feature_map": ("identity",)}),
    ("raw", {"feature_map": ("identity", "relu_normalised"), "negatives_only": (False, True)}),
    ("upper_triangle_alignment", {"feature_map": ("identity",)}),
    ("class_mean", {"standardize": (False,)}),
    ("codelength", {"seed": (1,)}),
    ("gbc", {"covariance": ("diagonal", "spherical")}),
    ("half_split", {"seed": (1,)}),
    ("hsic", {"biased": (True,)}),
    ("knn", {"k": (1, 3), "metric": ("euclidean", "cosine"), "standardize": (True, False)}),
    ("lda", {"alpha": (None, 1.0), "standardize": (True, False)}),
    ("linear_probe", {"seed": (1,)}),
    ("logistic", {"alpha": (0.1, 10.0), "seed": (0, 1)}),
    ("nhsic", {"regularization": (1e-3, 1.0)}),
    ("regularized_hscore", {"between_divisor": ("n", "n-1")}),
    ("ridge", {"alpha": (None, 1.0), "standardize": (True, False)}),
    ("transrate", {"distortion": (1e-2,), "weights": ("proportional", "uniform")}),
)


@case
def options_of_scores() -> Any:
    import modtools.transferability as scores

    found: dict[str, Any] = {}
    for name, features, labels, _ in feature_sets():
        for score, options in OPTIONS:
            for values in itertools.product(*options.values()):
                chosen = dict(zip(options, values, strict=True))
                words = ", ".join(f"{key}={value}" for key, value in chosen.items())
                value = getattr(scores, score)(features, labels, **chosen)
                found[f"{name}, {score}, {words}"] = value
        source = inputs()[f"{name}_source"]
        found[f"{name}, nce, soft"] = scores.nce(source, labels, assignment="soft")
        found[f"{name}, leep, without logarithm"] = scores.leep(source, labels, logarithm=False)
    return found


@case
def moments_of_shards() -> Any:
    found: dict[str, Any] = {}
    for name, features, labels, _ in feature_sets():
        for feature_map in ("identity", "relu_normalised"):
            parts = [
                mt.Moments.from_features(
                    features[rows], labels[rows], classes=[0, 1, 2], feature_map=feature_map
                )
                for rows in np.array_split(np.arange(len(labels)), 3)
            ]
            merged = parts[2].merge(parts[0]).merge(parts[1])
            found[f"{name}, {feature_map}"] = {
                "scores": dict(merged.score()),
                "mean": merged.mean,
                "counts": merged.counts,
            }
    return found


@case
def names_of_scores() -> Any:
    return {name: [entry.needs, list(entry.kinds)] for name, entry in SCORES.items()}


# Output modules -----------------------------------------------------------------------------------


@case
def output_modules() -> Any:
    made = {
        "ridge": RidgeOutput,
        "logistic": LogisticOutput,
        "class_mean": ClassMeanOutput,
    }
    found: dict[str, Any] = {}
    for name, features, labels, _ in feature_sets():
        rows = slice(0, None, 2)
        for kind, output in made.items():
            for options in ({}, {"standardize": False}, {"blocks": (4, features.shape[1] - 4)}):
                fitted = output(**options).fit(features[rows], labels[rows])
                found[f"{name}, {kind}, {options}"] = fitted.decision_function(features[1:12:2])
        targets = labels_of_kind("regression", features, labels)
        fitted = RidgeRegressionOutput().fit(features[rows], targets[rows])
        found[f"{name}, regression"] = fitted.predict(features[1:12:2])
    return found


# Modules, picking ---------------------------------------------------------------------------------


def network() -> mt.PretrainedModule:
    """Return a network with weights of its own formula, read at two layers."""
    layers = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3, stride=2), nn.Flatten(), nn.Linear(16, 5)
    )
    with torch.no_grad():
        for number, weights in enumerate(layers.parameters()):
            count = torch.arange(weights.numel(), dtype=torch.float64)
            weights.copy_((torch.sin(1.7 * count + number) / 3).reshape(weights.shape))
    return mt.PretrainedModule(
        layers, name="small", layers=["1", "3"], preprocess=image_preprocess(8, channels=1)
    )


def candidates(n_samples: int = 120) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return cached features of five modules, from noise to good, and the labels."""
    stored = inputs()
    return {
        name: stored[f"candidate_{name}"][:n_samples] for name in ("a", "b", "c", "d", "e")
    }, stored["candidate_labels"][:n_samples]


@case
def extracted_features() -> Any:
    task = mt.load_task("digits").subset(slice(0, 6))
    found = mt.extract(network(), task)
    return {name.partition("@")[2]: values for name, values in found.items()}


@case
def default_ranking() -> Any:
    ranking = mt.rank_modules(*candidates())
    return {"frame": ranking.frame(), "predictions": ranking.predictions(), "best": ranking.best}


@case
def ranking_of_networks() -> Any:
    few = mt.load_task("digits").few_labels(per_class=8, seed=0)
    ranking = mt.rank_modules([network(), pixels()], few, by="ridge", scores=["logme", "knn"])
    return {"frame": ranking.frame(), "best": ranking.best}


@case
def races() -> Any:
    features, labels = candidates(400)
    found = {}
    for mode, options in (("certified", {"tolerance": 5}), ("halving", {})):
        race = mt.race_modules(features, labels, mode=mode, look_every=25, seed=2, **options)
        found[mode] = {"frame": race.frame(), "best": race.best, "remaining": race.remaining}
    return found


@case
def several_modules() -> Any:
    features, labels = candidates()
    costs = {name: 1.0 + number for number, name in enumerate(features)}
    found = {}
    for combine in ("greedy", "all"):
        number = {"k": 3} if combine == "greedy" else {}
        chosen = mt.select_modules(features, labels, cost=costs, combine=combine, **number)
        found[combine] = {"frame": chosen.frame(), "modules": list(chosen.modules)}
    return found


# Retraining ---------------------------------------------------------------------------------------


@case
def retrained_models() -> Any:
    train, test = mt.load_task("digits").split(test_fraction=0.2, seed=0)
    few = train.few_labels(per_class=5, seed=1)
    found = {}
    for output in ("ridge", "logistic", "class_mean"):
        model = mt.retrain(pixels(), few, output=output)
        found[output] = {
            "accuracy": model.accuracy(test),
            "decisions": model.decision_function(test.batch(range(4))),
            "predicted": model.predict(test.batch(range(40))),
        }
    return found


def reached_as_recorded(curve: Any, target: float) -> list[float]:
    """Return labels and interval; recorded was an infinite number where more are needed."""
    *numbers, status = curve.labels_to_reach(target)
    return [np.inf, *numbers[1:]] if status == "more_than" else numbers


@case
def learning_curves() -> Any:
    features, labels = candidates(300)
    found = {}
    for options in ({}, {"seed": 1}, {"alpha": 10.0}):
        curve = mt.learning_curve(
            features["d"][:200], labels[:200], features["d"][200:], labels[200:], **options
        )
        reached = [reached_as_recorded(curve, target) for target in (0.5, 0.6, 0.99)]
        found[str(options)] = {"frame": curve.frame(), "reached": reached}
    return found


@case
def chosen_labels() -> Any:
    features = candidates()[0]["d"]
    strategies = ("random", "k_center", "herding", "typical", "cover", "variance")
    return {name: mt.choose_labels(features, 12, strategy=name, seed=4) for name in strategies}


@case
def forecasts() -> Any:
    features, labels = candidates(300)
    found = {}
    for name in ("b", "d", "e"):
        forecast = extrapolate(features[name][:150], labels[:150])
        found[name] = {"refused": forecast.refused, "frame": forecast.frame([150, 300, 1000])}
    return found


# Studies ------------------------------------------------------------------------------------------


def named_as_recorded(reached: pd.DataFrame) -> pd.DataFrame:
    """Return with how many labels lines reach a level, by the names that were recorded.

    Where the smallest count suffices in every resample, the upper end was recorded as 0, not it.
    """
    if "n_labels_high" in reached:
        is_first = (reached["status"] == "below_first") & (
            reached["n_labels_high"] == reached["n_labels"]
        )
        reached = reached.assign(n_labels_high=reached["n_labels_high"].mask(is_first, 0.0))
    status = {"reached": "", "more_than": "above", "below_first": "below"}
    names = {"n_labels_low": "low", "n_labels_high": "high", "status": "censored"}
    return reached.assign(status=reached["status"].map(status)).rename(columns=names)


@case
def label_efficiency_study() -> Any:
    features, labels = candidates(300)
    pairs = {name: (features[name][:200], features[name][200:]) for name in ("b", "d")}
    study = mt.label_efficiency(
        pairs, labels[:200], labels[200:], n_labels=[10, 25, 60, 150], repeats=4,
        outputs=("ridge", "class_mean"), strategies=("random", "k_center"), seed=0,
    )  # fmt: skip
    return {
        "frame": study.frame(),
        "draws": study.repeats(),
        "reached": named_as_recorded(study.labels_to_reach(0.6)),
        "savings": named_as_recorded(study.savings("d", "b")),
        "area": study.area(),
        "codelength": study.codelength(),
        "surplus": named_as_recorded(study.surplus_description_length(0.5)),
        "complexity": named_as_recorded(study.sample_complexity(0.5)),
    }


def agreement_table() -> pd.DataFrame:
    """Return two scores and the accuracies of six modules on three tasks."""
    stored = inputs()
    return pd.DataFrame(
        {
            "task": np.repeat(["cars", "pets", "birds"], 6),
            "module": np.tile(list("uvwxyz"), 3),
            "good": stored["agreement_good"],
            "poor": stored["agreement_poor"],
            "accuracy": stored["agreement_accuracy"],
        }
    )


@case
def agreement_of_scores() -> Any:
    table = agreement_table()
    agreement = mt.score_agreement(table.drop(columns="accuracy"), table)
    return {
        "frame": agreement.frame(),
        "means": agreement.means(),
        "differences": agreement.differences(),
        "concordance": agreement.concordance(),
        "best": agreement.best,
    }


@case
def space_of_tasks() -> Any:
    digits = mt.load_task("digits")
    tasks = {
        f"{first} / {second}": mt.Task(digits.batch(rows), digits.labels[rows])
        for first, second in ((0, 1), (2, 7), (3, 8), (4, 9))
        for rows in [np.flatnonzero(np.isin(digits.labels, (first, second)))[:60]]
    }
    found = {}
    for score in ("nmse", "hscore"):
        space = mt.task_space([network(), pixels()], tasks, by=score)
        found[score] = {"matrix": space.matrix(), "distances": space.distances()}
    return found


# Training -----------------------------------------------------------------------------------------


class InDoublePrecision(nn.Module):
    """Compute in float64 from here on: Adam turns rounding in float32 into steps that differ."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.double()


def train(schedule: str, *, stop_after: int | None = None, **options: Any) -> Any:
    """Train a small network with all that draws at random; optionally stop it, as Ctrl-C does."""
    torch.manual_seed(0)
    blocks = nn.Sequential(
        nn.Sequential(
            InDoublePrecision(), nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Dropout(0.2)
        ),
        nn.Sequential(
            *(InDoublePrecision(), nn.MaxPool2d(2), nn.Flatten()),
            *(nn.Linear(64, 12, bias=False), nn.BatchNorm1d(12)),
        ),
        nn.Sequential(InDoublePrecision(), nn.Linear(12, 10)),
    ).double()
    passes = itertools.count(1)

    def stop(*_: Any) -> None:
        if next(passes) == stop_after:
            signal.raise_signal(signal.SIGINT)

    blocks[0].register_forward_pre_hook(stop)
    task = mt.load_task("digits").few_labels(n=64, seed=0)
    recipe = Recipe(batch_size=16, augmentation=Augmentation(shift=1))
    options = {"epochs": 2, "recipe": recipe, "seed": 5, **options}
    if schedule == "end_to_end":
        return blocks, mt.train_end_to_end(blocks, task, **options)
    modular = {"proxy": ["supcon", "nmse"], "schedule": schedule, "at": ["0", "1"]}
    return blocks, mt.train_modular(blocks, task, **modular, **options)


def trained(blocks: nn.Sequential, result: Any) -> dict[str, Any]:
    """Return what is recorded of a training."""
    test = mt.load_task("digits").subset(slice(-50, None))
    return {
        "accuracy": result.accuracy(test),
        "predicted": result.predict(test),
        "weights": [float(p.detach().double().abs().sum()) for p in blocks.parameters()],
    }


SCHEDULES = ("sequential", "simultaneous", "end_to_end")


@case
def short_trainings() -> Any:
    return {schedule: trained(*train(schedule)) for schedule in SCHEDULES}


@case
def resumed_trainings() -> Any:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for schedule in SCHEDULES:
            place = Path(folder) / f"{schedule}.ckpt"
            with contextlib.suppress(KeyboardInterrupt):
                train(schedule, stop_after=6, checkpoint=place)
            if not place.exists():
                raise AssertionError("a stopped training leaves a checkpoint")
            found[schedule] = trained(*train(schedule, checkpoint=place))
    return found


# What 0.1 wrote -----------------------------------------------------------------------------------


@case
def old_files() -> Any:
    task = mt.load_task("digits").subset(slice(0, 8))
    zoo = mt.Zoo(FOLDER / "zoo")
    model = mt.ReusedModel.load(FOLDER / "model")
    features = mt.extract(zoo["perceptron"], task)
    return {
        "names": list(zoo.names),
        "features": {
            "perceptron": {name.partition("@")[2]: part for name, part in features.items()}
        },
        "training": zoo.card("perceptron")["training"]["proxy"],
        "predicted": model.predict(task.inputs),
        "decisions": model.decision_function(task.inputs),
        "classes": model.classes,
    }


# Commands -----------------------------------------------------------------------------------------


def _json_of(*words: str) -> Any:
    """Return what a command writes with --json."""
    from typer.testing import CliRunner

    from modtools.cli import app

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.json"
        done = CliRunner().invoke(app, [*words, "--json", str(path)])
        if done.exit_code:
            raise AssertionError(f"{words}: {done.output}")
        return json.loads(path.read_text())


def _feature_files(folder: str) -> list[str]:
    features, labels = candidates()
    paths = [os.path.join(folder, f"{name}.npz") for name in ("b", "d", "e")]
    for path, name in zip(paths, ("b", "d", "e"), strict=True):
        np.savez(path, features=features[name], labels=labels)
    return paths


@case
def json_of_commands() -> Any:
    pixel = ("--module", "modtools.modules:pixels")
    with tempfile.TemporaryDirectory() as folder:
        files = _feature_files(folder)
        agreement_table().to_csv(os.path.join(folder, "table.csv"), index=False)
        return {
            "score": _json_of("score", *files, "--scores", "logme,knn"),
            "score by ridge": _json_of("score", *pixel, "--task", "digits", "--labels", "100",
                                       "--by", "ridge"),
            "race": _json_of("score", *files, "--race", "--tolerance", "5", "--look-every", "20"),
            "retrain": _json_of("retrain", *pixel, "--task", "digits", "--per-class", "5"),
            "study": _json_of("study", *files, "--n-labels", "6,12,24", "--repeats", "3"),
            "train": _json_of("train", "--task", "digits", "--network", "multilayer_perceptron",
                              "--epochs", "1", "--batch-size", "128"),
            "agree": _json_of("agree", os.path.join(folder, "table.csv")),
            "space": _json_of("space", str(FOLDER / "zoo"), *pixel, "--task", "digits",
                              "--pairs", "--classes", "0,1,7", "--per-class", "10"),
        }  # fmt: skip
