"""How right `labels_to_reach` and its intervals are.

    python tests/benchmarks/bench_label_efficiency.py [--quick] [--json FILE]

The truth is the mean curve of 50 random subsets of labels on all test examples. Each repetition is
a study of its own with ten other subsets and as many test examples, taken with replacement. Asked
for are levels at which the curve still gains two points or more per doubling of the labels. Tasks:
digits as raw pixels, and examples in which ten classes overlap.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from bench_rows import make_rows
from sklearn.datasets import load_digits

from modtools.studies import label_efficiency

LARGEST, TRUE_REPEATS, REPEATS = 400, 50, 10
LEAST_GAIN = 0.02  # of accuracy per doubling


def tasks(quick):
    """Return {name: ((train_features, test_features), labels, test_labels)}."""
    digits = load_digits()
    rng = np.random.default_rng(0)
    pixels = digits.data + 1e-3 * rng.random(digits.data.shape)  # no two rows are equal
    features, labels = make_rows(400 if quick else 4000, 128)
    data = {"digits": (pixels, digits.target), "overlapping": (features, labels)}
    if quick:
        del data["overlapping"]
    found = {}
    for name, (rows, own) in data.items():
        order = rng.permutation(len(own))
        pool, test = order[: len(own) // 2], order[len(own) // 2 :]
        found[name] = ((rows[pool], rows[test]), own[pool], own[test])
    return found


def levels_that_rise(table):
    """Return accuracies at which the true curve gains enough, and the labels they need."""
    counts = table["n_labels"].to_numpy()
    accuracy = np.maximum.accumulate(table["value"].to_numpy())
    doublings = np.log2(counts)
    found = {}
    for count in (20, 40, 80, 160):
        here, after = (np.interp(np.log2(c), doublings, accuracy) for c in (count, 2 * count))
        if after - here >= LEAST_GAIN:
            found[count] = here
    return found


def run(quick: bool = False) -> dict[str, float]:
    """Return every figure by name.

    Parameters
    ----------
    quick : bool, default=False
        Few repetitions, for a check that the benchmark runs.
    """
    repetitions, true_repeats = (2, 3) if quick else (100, TRUE_REPEATS)
    options = {"n_labels": np.unique(np.geomspace(10, LARGEST, 24).astype(int))}
    ratios, covered, widths = [], [], []
    for name, (pair, labels, test_labels) in tasks(quick).items():
        truth = label_efficiency(
            {name: pair}, labels, test_labels, repeats=true_repeats, seed=10_000, **options
        )
        levels = levels_that_rise(truth.frame())
        for repetition in range(repetitions):
            rng = np.random.default_rng(repetition)
            rows = rng.integers(0, len(test_labels), len(test_labels))
            own = (pair[0], pair[1][rows])
            study = label_efficiency(
                {name: own}, labels, test_labels[rows], repeats=REPEATS, seed=repetition, **options
            )
            for true, level in levels.items():
                found = study.labels_to_reach(level).iloc[0]
                ratios.append(max(found["n_labels"] / true, true / found["n_labels"]))
                covered.append(found["n_labels_low"] <= true <= found["n_labels_high"])
                widths.append(found["n_labels_high"] / found["n_labels_low"])
    return {
        "labels_to_reach_coverage": float(np.mean(covered)),
        "labels_to_reach_median_factor": float(np.median(ratios)),
        "labels_to_reach_within_1.25": float(np.mean(np.array(ratios) <= 1.25)),
        "labels_to_reach_median_width": float(np.median(widths)),
    }


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    figures = run(arguments.quick)
    for name, value in figures.items():
        print(f"{name:42s} {value:10.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
