"""Relate fifteen binary tasks of Fashion-MNIST by modules trained on each of them.

    python case_studies/task_space/run.py [--quick] [--json FILE]

A module is trained on every two of six classes with a proxy objective, and scored on the other
tasks from a few labels. Then an output module is really retrained for every module and task.
"""

import argparse
import time
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import modtools as mt
from modtools._writing import json_text, write_file
from modtools.modules import extract, image_preprocess
from modtools.outputs import LogisticOutput
from modtools.studies import TaskSpace
from modtools.training import Recipe, networks, train_modular

HERE = Path(__file__).parent

CLASSES = (0, 1, 2, 3, 4, 5)  # the first six: every two of them are one of fifteen tasks
NAMES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal")
QUICK_CLASSES = (0, 1, 2, 3)
PROXY = "supcon"  # what modules learn from: pairs alone
SIZES = (784, 128, 64, 2)
RECIPE = Recipe(learning_rate=6e-3)
EPOCHS = 3
SEED = 0
ALPHA = 0.1  # of the retrained output module
PREPROCESS = image_preprocess(size=28, mean=0.286, std=0.353, channels=1)

SCORE = "hscore"  # 400 labels of 64 features: there are enough examples for it
OTHERS = ("nmse", "regularized_hscore", "centered_alignment", "lda", "ridge")


@dataclass(frozen=True)
class Rows:
    """The examples that modules are trained on, the labelled ones of a task, and test examples."""

    train: mt.Task
    few: mt.Task
    test: mt.Task
    pairs: tuple[tuple[int, int], ...]


def load(*, quick: bool) -> Rows:
    """Return three sets of rows without a row in common."""
    if quick:
        whole = mt.load_task("digits")
        train, rest = whole.split(0.6, seed=SEED)
        few, test = rest.split(0.5, seed=SEED)
        return Rows(train, few, test, tuple(combinations(QUICK_CLASSES, 2)))
    whole = mt.load_task("fashion-mnist", split="train")
    few = whole.few_labels(per_class=200, seed=SEED)
    train = whole.complement(few)
    test = mt.load_task("fashion-mnist", split="test")
    few, test = (part.subset(rows_of(part, CLASSES)) for part in (few, test))
    return Rows(train, few, test, tuple(combinations(CLASSES, 2)))


def name_of(pair: tuple[int, int], *, quick: bool) -> str:
    """Return the name of the task that tells two classes apart."""
    return " / ".join(str(c) if quick else NAMES[c] for c in pair)


def rows_of(task: mt.Task, classes: tuple[int, ...]) -> np.ndarray:
    """Return the numbers of the rows of some classes."""
    return np.flatnonzero(np.isin(task.labels, classes))


def train_module(pair: tuple[int, int], rows: Rows, *, quick: bool) -> Any:
    """Train a network on one task, its hidden module with the proxy, and return that module."""
    chosen = rows_of(rows.train, pair)
    name = name_of(pair, quick=quick)
    task = mt.Task(rows.train.batch(chosen), rows.train.labels[chosen], name=name)
    torch.manual_seed(SEED)  # the same start for all
    sizes = (64, 32, 16, 2) if quick else SIZES
    result = train_modular(
        networks.multilayer_perceptron(sizes),
        task,
        proxy=PROXY,
        at=["features"],
        epochs=1 if quick else EPOCHS,
        recipe=RECIPE,
        preprocess=image_preprocess(size=8, channels=1) if quick else PREPROCESS,
        seed=SEED,
    )
    return result.modules[0]


def retrained_accuracy(features: np.ndarray, labels: Any, test: np.ndarray, truth: Any) -> float:
    """Return the test accuracy of an output module retrained on the labelled examples."""
    output = LogisticOutput(alpha=ALPHA).fit(features, labels)
    return float((output.predict(test) == truth).mean())


def measure(rows: Rows, *, quick: bool) -> tuple[dict[str, Any], dict[str, Any], pd.DataFrame]:
    """Return features {module: {task: rows}}, labels {task: labels}, achieved accuracies."""
    names = {pair: name_of(pair, quick=quick) for pair in rows.pairs}
    chosen = {pair: (rows_of(rows.few, pair), rows_of(rows.test, pair)) for pair in rows.pairs}
    labels = {names[pair]: rows.few.labels[few] for pair, (few, _test) in chosen.items()}
    features: dict[str, dict[str, np.ndarray]] = {}
    achieved: dict[str, dict[str, float]] = {name: {} for name in names.values()}
    for source in rows.pairs:
        module = train_module(source, rows, quick=quick)
        seen, unseen = (extract(module, part, batch_size=500) for part in (rows.few, rows.test))
        features[names[source]] = {names[p]: seen[few] for p, (few, _test) in chosen.items()}
        for pair, (few, test) in chosen.items():
            truth = rows.test.labels[test]
            accuracy = retrained_accuracy(seen[few], labels[names[pair]], unseen[test], truth)
            achieved[names[pair]][names[source]] = accuracy
        print(f"{names[source]:<22}{100 * achieved[names[source]][names[source]]:.1f} % on its own")
    return features, labels, pd.DataFrame(achieved).T


def relate(features: Any, labels: Any, by: str, *, with_own: bool = False) -> TaskSpace:
    """Return the space of tasks by one score; a module trained on a task is left out there."""
    source = {} if with_own else {name: name for name in labels}
    return mt.task_space(features, labels, by=by, source=source, seed=SEED)


def figures_of(features: Any, labels: Any, achieved: pd.DataFrame) -> dict[str, Any]:
    """Return the agreement of every score with what was achieved."""
    figures: dict[str, Any] = {}
    for score in (SCORE, *OTHERS):
        found = relate(features, labels, score).agreement(achieved)
        whole = relate(features, labels, score, with_own=True).agreement(achieved)
        name = "task_space_spearman" if score == SCORE else f"spearman_{score}"
        figures |= {
            name: found.spearman,
            f"{name}_low": found.spearman_low,
            f"{name}_high": found.spearman_high,
            f"{name}_p": found.p_value,
            f"{name}_with_own": whole.spearman,
        }
        print(f"{score:<20}{found}; with own modules {whole.spearman:.2f}")
    return figures


def parse() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="toy size, to see that all runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    return parser.parse_args()


def main() -> None:
    """Train, score, retrain, and write figures, tables and the picture."""
    started = time.perf_counter()
    arguments = parse()
    quick: bool = arguments.quick
    folder = HERE / "results"
    if quick:  # a toy run never touches the real results
        folder = arguments.json.parent if arguments.json else HERE / "results-quick"
    torch.set_num_threads(1)
    features, labels, achieved = measure(load(quick=quick), quick=quick)
    figures = figures_of(features, labels, achieved)
    space = relate(features, labels, SCORE)
    display = space.plot(achieved=achieved)
    display.save(folder / "task_space.png")
    table = display.frame()
    write_file(folder / "matrix.csv", table.to_csv(index=False, float_format="%.5f"))
    figures["task_space_seconds"] = time.perf_counter() - started
    figures["task_space_cpu_seconds"] = time.process_time()
    content = json_text({"n_tasks": len(labels), "score": SCORE, **figures})
    write_file(folder / "figures.json", content)
    if arguments.json:
        write_file(arguments.json, content)
    print(space)


if __name__ == "__main__":
    main()
