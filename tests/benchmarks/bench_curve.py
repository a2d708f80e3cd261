"""Cost of the learning curve and of a study: python tests/benchmarks/bench_curve.py [--quick].

Processor time of the curve at every label count against scikit-learn's LogisticRegression at ten
log-spaced label counts (features as they are, its defaults; and standardised, where it needs fewer
iterations), and against refitting `RidgeOutput` at every count (sampled); memory above the
input; seconds of a study of 5 modules x 20 repeats with the ridge output module, at all label
counts and at the default ones with five times the test examples, on two cores, beside their
processor time, which a busy machine changes less. One thread otherwise: set OMP_NUM_THREADS=1.
"""

import argparse
import json
import subprocess
import sys
import time
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
from bench_rows import peak_kilobytes

N_CLASSES, N_COUNTS, N_SAMPLED = 10, 10, 12
SIZES = {  # labels, test examples, columns; modules, repeats, many test examples of the study
    "full": (2000, 2000, 1280, 5, 20, 10_000),
    "quick": (120, 100, 40, 2, 2, 150),
}


def seconds(function, repeats: int = 2) -> float:
    """Return the shortest processor time of a few calls."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def make_rows(n_samples: int, n_features: int):
    """Return float32 features and labels: ten classes that overlap, the spectrum of a network's."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, N_CLASSES, n_samples)
    scales = np.arange(1, 401.0) ** -0.6
    centres = 0.2 * rng.normal(size=(N_CLASSES, len(scales)))
    latent = (rng.normal(size=(n_samples, len(scales))) + centres[labels]) * scales
    noise = 0.3 * np.linalg.norm(scales) * rng.normal(size=(n_samples, n_features))
    mixed = latent @ rng.normal(size=(len(scales), n_features)) + noise
    return np.maximum(mixed, 0).astype(np.float32), labels


def ten_logistic_fits(features, labels, test_features) -> None:
    """Fit and predict at ten log-spaced label counts."""
    from sklearn.linear_model import LogisticRegression

    for count in np.geomspace(2 * N_CLASSES, len(features), N_COUNTS).astype(int):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some of its fits stop before they converge
            output = LogisticRegression().fit(features[:count], labels[:count])
            output.predict_proba(test_features)


def seconds_of_refits(features, labels, test_features, alpha) -> float:
    """Return the seconds of refitting at every count, from counts in the middle of equal parts."""
    from modtools.outputs import RidgeOutput

    edges = np.linspace(2 * N_CLASSES, len(features), N_SAMPLED + 1)
    total = 0.0
    for low, high in pairwise(edges):
        count = int((low + high) / 2)
        start = time.process_time()
        output = RidgeOutput(alpha=alpha, standardize=False)
        output.fit(features[:count], labels[:count]).decision_values(test_features)
        total += (time.process_time() - start) * (high - low)
    return total


def study_seconds(modules, labels, test_labels, *, n_labels, repeats: int) -> tuple[float, float]:
    """Return the seconds of a study with its table on two cores, and their processor time."""
    from modtools.studies import label_efficiency

    start, spent = time.perf_counter(), time.process_time()
    study = label_efficiency(
        modules, labels, test_labels, n_labels=n_labels, repeats=repeats, n_jobs=2
    )
    study.frame()
    return time.perf_counter() - start, time.process_time() - spent


def make_modules(n_modules: int, n_pool: int, n_test: int, n_features: int):
    """Return ({name: (train_features, test_features)}, labels, test_labels)."""
    features, labels = make_rows(n_pool + n_test, n_features)
    rng = np.random.default_rng(1)
    modules = {}
    for number in range(n_modules):
        noise = rng.normal(size=features.shape).astype(np.float32)
        noisy = features + np.float32(number) * noise
        modules[f"module {number}"] = (noisy[:n_pool], noisy[n_pool:])
    return modules, labels[:n_pool], labels[n_pool:]


def report_memory(n_rows: int, n_features: int) -> None:
    """Print by how many megabytes the curve raises this process's peak above its input."""
    from modtools.retraining import learning_curve

    features, labels = make_rows(2 * n_rows, n_features)
    data = features[:n_rows], labels[:n_rows], features[n_rows:], labels[n_rows:]
    # Libraries load and allocate their workspaces before the measurement starts.
    learning_curve(*(part[:50] for part in data))
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # making the input peaked too
    before = peak_kilobytes()
    learning_curve(*data)
    print((peak_kilobytes() - before) / 1024)


def peak_megabytes(n_rows: int, n_features: int) -> float:
    """Return what `report_memory` prints in a fresh process."""
    command = [sys.executable, __file__, "--memory", str(n_rows), str(n_features)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def run(quick: bool = False) -> dict[str, float]:
    """Return every figure by name.

    Parameters
    ----------
    quick : bool, default=False
        Use small sizes, for a check that the benchmark runs.
    """
    from modtools.retraining import learning_curve

    n, n_test, d, n_modules, repeats, many_tests = SIZES["quick" if quick else "full"]
    features, labels = make_rows(n + n_test, d)
    data = features[:n], labels[:n], features[n:], labels[n:]
    curve = learning_curve(*data)
    own = seconds(lambda: learning_curve(*data))
    given = seconds(lambda: learning_curve(*data, alpha=curve.alpha))
    single = seconds(lambda: learning_curve(*data, dtype=np.float32))
    fits = seconds(lambda: ten_logistic_fits(data[0], data[1], data[2]), 1)
    mean, scale = data[0].mean(axis=0), data[0].std(axis=0)
    scaled = [(part - mean) / scale for part in (data[0], data[2])]
    quick_fits = seconds(lambda: ten_logistic_fits(scaled[0], data[1], scaled[1]), 1)
    refits = seconds_of_refits(data[0], data[1], data[2], curve.alpha)
    options = {"repeats": repeats}
    every = study_seconds(
        *make_modules(n_modules, 2 * n, n_test, d), n_labels=range(1, n + 1), **options
    )
    many = study_seconds(*make_modules(n_modules, 2 * n, many_tests, d), n_labels=None, **options)
    return {
        "curve_seconds": own,
        "curve_given_strength_seconds": given,
        "curve_float32_seconds": single,
        "curve_over_ten_logistic_fits": own / fits,
        "curve_over_ten_standardized_logistic_fits": own / quick_fits,
        "ridge_refits_over_curve": refits / own,
        "curve_megabytes": peak_megabytes(n, d),
        "study_seconds_all_budgets": every[0],
        "study_processor_seconds_all_budgets": every[1],
        "study_seconds_default_budgets_many_tests": many[0],
        "study_processor_seconds_default_budgets_many_tests": many[1],
    }


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--memory", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        report_memory(*arguments.memory)
        return
    figures = run(arguments.quick)
    for name, value in figures.items():
        print(f"{name:52s} {value:10.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
