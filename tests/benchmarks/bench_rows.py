"""Cost of the row-wise scores: python tests/benchmarks/bench_rows.py [--quick].

Prints and returns ratios (own over reference, measured in the same run, one thread) and megabytes
above the input. Set OMP_NUM_THREADS=1 for one thread.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SIZES = {"full": (10_000, 4_000, 1280), "quick": (2_000, 1_000, 256)}


def make_rows(n_samples: int, n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 features in which ten classes overlap, like those of a network."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, n_samples)
    latent = rng.normal(size=(n_samples, 60)) + 0.4 * rng.normal(size=(10, 60))[labels]
    noise = 3 * rng.normal(size=(n_samples, n_features))
    return np.maximum(latent @ rng.normal(size=(60, n_features)) + noise, 0).astype("f4"), labels


def seconds(function: Callable[[], object], repeats: int = 2) -> float:
    """Return the shortest of a few timings."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def knn_by_full_matrix(features: np.ndarray, labels: np.ndarray) -> float:
    """Return 1-NN accuracy by a full distance matrix and argsort."""
    points = (features - features.mean(axis=0)) / features.std(axis=0)
    squares = np.square(points).sum(axis=1)
    distances = squares[:, None] + squares - 2 * points @ points.T
    np.fill_diagonal(distances, np.inf)
    return float(np.mean(labels[np.argsort(distances, axis=1)[:, 0]] == labels))


def fifteen_cold_fits(features: np.ndarray, labels: np.ndarray) -> None:
    """Fit what a cross-validated probe fits: three folds times five penalties, each from zero."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.preprocessing import StandardScaler

    rows = StandardScaler().fit_transform(features.astype(np.float64))
    for used, _ in StratifiedKFold(3).split(rows, labels):
        for inverse in (1e-3, 1e-2, 1e-1, 1.0, 10.0):
            LogisticRegression(C=inverse, max_iter=2000).fit(rows[used], labels[used])


def accuracy_gap(features: np.ndarray, labels: np.ndarray) -> float:
    """Return how many points `logistic` differs from converged cold folds, C = 1."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import PredefinedSplit, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from modtools.outputs._folds import row_content, stratified_folds
    from modtools.outputs._standardize import StandardizedRows
    from modtools.transferability import logistic

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    content = row_content(StandardizedRows.of(features))
    folds = PredefinedSplit(stratified_folds(labels, 5, seed=0, content=content))
    converged = cross_val_score(probe, features, labels, cv=folds).mean()
    return 100 * (logistic(features, labels) - float(converged))


def peak_megabytes(function: str, n_samples: int, n_features: int) -> float:
    """Return what a function adds to the peak memory of a fresh process that holds the input."""
    command = [sys.executable, __file__, "--memory-of", function]
    command += ["--rows", str(n_samples), "--columns", str(n_features)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def peak_kilobytes() -> int:
    """Return this process's peak resident memory; ru_maxrss would include the parent's."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    raise OSError("no VmHWM in /proc/self/status: this benchmark needs Linux")


def report_memory(function: str, n_samples: int, n_features: int) -> None:
    """Run a function and print the growth of this process's peak memory in megabytes."""
    from modtools import transferability

    rng = np.random.default_rng(0)
    features = rng.random((n_samples, n_features), dtype=np.float32)
    labels = rng.integers(0, 10, n_samples)
    # Libraries load and allocate their workspaces before the measurement starts.
    call = knn_by_full_matrix if function == "full" else getattr(transferability, function)
    call(features[:50], labels[:50])
    before = peak_kilobytes()
    call(features, labels)
    print((peak_kilobytes() - before) / 1024)


def run(quick: bool = False) -> dict[str, float]:
    """Return every figure by name.

    Parameters
    ----------
    quick : bool, default=False
        Use small sizes, for a check that the benchmark runs.
    """
    from modtools.transferability import codelength, knn, lda, logistic, parc, ridge

    n_large, n_small, n_features = SIZES["quick" if quick else "full"]
    features, labels = make_rows(n_large, n_features)
    few, few_labels = features[:n_small], labels[:n_small]
    full = seconds(lambda: knn_by_full_matrix(features, labels), 1)
    fits = seconds(lambda: fifteen_cold_fits(few, few_labels), 1)
    full_memory = peak_megabytes("full", n_large, n_features)
    knn_memory = peak_megabytes("knn", n_large, n_features)
    return {
        "knn_time_over_full_matrix": seconds(lambda: knn(features, labels)) / full,
        "knn_memory_over_full_matrix": knn_memory / full_memory,
        "knn_megabytes": knn_memory,
        "parc_megabytes": peak_megabytes("parc", n_large, n_features),
        "parc_seconds": seconds(lambda: parc(features, labels), 1),
        "logistic_time_over_15_cold_fits": seconds(lambda: logistic(few, few_labels)) / fits,
        "logistic_points_from_converged_folds": accuracy_gap(few, few_labels),
        "ridge_seconds": seconds(lambda: ridge(few, few_labels), 1),
        "lda_seconds": seconds(lambda: lda(few, few_labels), 1),
        "codelength_seconds": seconds(lambda: codelength(few, few_labels), 1),
    }


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--columns", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        report_memory(arguments.memory_of, arguments.rows, arguments.columns)
        return
    figures = run(arguments.quick)
    for name, value in figures.items():
        print(f"{name:40s} {value:10.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
