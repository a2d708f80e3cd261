"""Whether predicted accuracies, intervals and probabilities hold, in many simulated tasks.

    python tests/benchmarks/bench_prediction.py [--quick] [--json FILE]

Every repetition is a task of its own: four Gaussian classes in 16 directions, six modules that keep
some of them, straight or bent, one that keeps none. A tuned logistic output module is retrained on
the labels that were scored, and judged on 4000 other rows.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from modtools import rank_modules
from modtools.outputs import LogisticOutput

N_CLASSES, N_FEATURES, N_TEST = 4, 16, 4000
N_LABELS = (20, 80, 400)
N_TASKS = 100


def modules_of(rows, noise):
    """Return what seven modules make of the rows."""
    return {
        "all": rows,
        "most": rows[:, :12],
        "half": rows[:, :8],
        "other half": rows[:, 8:],
        "bent": np.maximum(rows[:, :12], 0.0),
        "signs": np.sign(rows),
        "noise": noise,
    }


def one_task(n_labels, seed):
    """Return one row per module: its prediction, and what was achieved."""
    rng = np.random.default_rng([seed, n_labels])
    centres = rng.uniform(0.3, 1.0) * rng.normal(size=(N_CLASSES, N_FEATURES))
    labels = np.arange(n_labels + N_TEST) % N_CLASSES
    rows = centres[labels] + rng.normal(size=(len(labels), N_FEATURES))
    candidates = modules_of(rows, rng.normal(size=(len(labels), 8)))
    few = {name: features[:n_labels] for name, features in candidates.items()}
    table = rank_modules(few, labels[:n_labels], seed=seed).predictions(n_test=N_TEST)
    outputs = {name: LogisticOutput().fit(own, labels[:n_labels]) for name, own in few.items()}
    achieved = {
        name: output.score(candidates[name][n_labels:], labels[n_labels:])
        for name, output in outputs.items()
    }
    return table.assign(achieved=table["module"].map(achieved), seed=seed)


def run(quick: bool = False) -> dict[str, float]:
    """Return every figure by name.

    Parameters
    ----------
    quick : bool, default=False
        Toy size.

    Returns
    -------
    dict
        Coverage of 95 % intervals (all modules, the picked one, differences to the picked one),
        errors in points, and how often the pick is the best beside its probability of being best.
    """
    figures: dict[str, float] = {}
    for n_labels in N_LABELS[:1] if quick else N_LABELS:
        parts = [one_task(n_labels, seed) for seed in range(2 if quick else N_TASKS)]
        table = pd.concat(parts, ignore_index=True)
        figures |= {f"{name}_{n_labels}": value for name, value in _figures(table).items()}
        print(n_labels, "labels", {k: round(v, 3) for k, v in _figures(table).items()}, flush=True)
    return figures


def _figures(table):
    picked = table[~table.duplicated("seed")]
    others = table[table.duplicated("seed")]
    gap = others["seed"].map(picked.set_index("seed")["achieved"]) - others["achieved"]
    best = table.groupby("seed")["achieved"].max()
    is_best = picked["achieved"].to_numpy() == best.to_numpy()
    return {
        "prediction_mae": float(100 * (table["predicted"] - table["achieved"]).abs().mean()),
        "prediction_coverage": _share(
            table["achieved"].between(table["predicted_low"], table["predicted_high"])
        ),
        "picked_coverage": _share(
            picked["achieved"].between(picked["predicted_low"], picked["predicted_high"])
        ),
        "picked_bias": float(100 * (picked["predicted"] - picked["achieved"]).mean()),
        "pair_coverage": _share(gap.between(others["gap_low"], others["gap_high"])),
        "told_apart": _share(others["distinguishable"]),
        "told_apart_wrongly": _share(others["distinguishable"] & (gap < 0)),
        "pick_is_best": _share(is_best),
        "odds_of_pick": float(picked["probability_best"].mean()),
    }


def _share(flags):
    return float(np.mean(flags))


def main() -> None:
    """Parse the command line, run, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="toy size")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    arguments = parser.parse_args()
    figures = run(arguments.quick)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
