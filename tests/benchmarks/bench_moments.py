"""What the moment-based scores cost beside the products that nobody can avoid.

    python tests/benchmarks/bench_moments.py [--quick] [--json FILE]

Ratios are taken within one run, one thread, the best of several interleaved repeats; megabytes are
the peak above the input, each in a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from modtools import Moments
from modtools.exceptions import ModtoolsWarning
from modtools.transferability import SCORES, score

MOMENT_SCORES = [
    name
    for name, entry in SCORES.items()
    if entry.needs == "moments" and entry.feature_map == "identity"
]
ONE_PASS = [name for name in MOMENT_SCORES if name != "transrate"]


def make(n, d, n_classes=10):
    """Return float32 features and labels, made in place so that the peak is the data itself."""
    rng = np.random.default_rng(0)
    labels = rng.integers(n_classes, size=n)
    features = rng.standard_normal((n, d), dtype=np.float32)
    features[np.arange(n), labels] += 1.0
    return features, labels


def seconds(call):
    """Return the wall-clock seconds of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def best_of(calls, repeats):
    """Return the least seconds of each call, the calls taking turns."""
    rounds = [[seconds(call) for call in calls] for _ in range(repeats)]
    return np.min(rounds, axis=0)


def time_one_pass(n, d, repeats):
    """Scores of one feature map against one float32 product and one float64 eigh of d x d."""
    features, labels = make(n, d)

    def ours():
        Moments.from_features(features, labels).score(ONE_PASS)

    def theirs():
        np.linalg.eigh((features.T @ features).astype(np.float64))

    ours_s, theirs_s = best_of([ours, theirs], repeats)
    print(f"n={n}, d={d}: {len(ONE_PASS)} scores {ours_s:.2f} s, product and eigh {theirs_s:.2f} s")
    return ours_s / theirs_s


def time_dual(n, d, repeats):
    """All moment scores of few wide rows against one float64 product and eigh of n x n."""
    features, labels = make(n, d)

    def ours():
        score(features, labels, MOMENT_SCORES)

    def theirs():
        wide = features.astype(np.float64)
        np.linalg.eigh(wide @ wide.T)

    ours_s, theirs_s = best_of([ours, theirs], repeats)
    print(f"n={n}, d={d}: {len(MOMENT_SCORES)} scores {ours_s:.2f} s, dual floor {theirs_s:.2f} s")
    return ours_s / theirs_s


def peak_megabytes(n, d):
    """Peak memory above the input of the one-pass scores, measured in a fresh process."""
    command = [sys.executable, __file__, "--peak", str(n), str(d)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    child = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(child.stdout)


def print_peak(n, d):
    """Print the megabytes by which the process grew beyond its data (Linux)."""
    warm, labels = make(200, 10)
    Moments.from_features(warm, labels).score(ONE_PASS)
    features, labels = make(n, d)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = resident("VmRSS")
    Moments.from_features(features, labels).score(ONE_PASS)
    print(resident("VmHWM") - before)


def resident(field):
    """Return the resident (VmRSS) or peak resident (VmHWM) megabytes of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def error_at_offset(precision):
    """Relative error of the H-score of features offset by 1e6, against the definition."""
    features, labels = make(4000, 20)
    shifted = features.astype(np.float64) + 1e6
    if precision == "float32":
        shifted = shifted.astype(np.float32)
    found = Moments.from_features(shifted, labels, precision=precision).score(["hscore"])["hscore"]
    centred = shifted.astype(np.float64) - 1e6
    centred -= centred.mean(axis=0)
    means = np.stack([centred[labels == c].mean(axis=0) for c in range(10)])[labels]
    exact = np.trace(np.linalg.solve(centred.T @ centred, means.T @ means))
    return abs(found - exact) / exact


def run(quick=False):
    """Return {figure: ratio, megabytes or relative error}."""
    large, small, repeats = (6000, 2000, 2) if quick else (60000, 10000, 5)
    d = 256 if quick else 1280
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore", ModtoolsWarning)
        return {
            "moments: time over product and eigh": time_one_pass(large, d, repeats),
            "moments: dual time over product and eigh": time_dual(
                *((300, 600) if quick else (1000, 2048)), repeats
            ),
            f"moments: megabytes at n={large}": peak_megabytes(large, d),
            f"moments: megabytes at n={small}": peak_megabytes(small, d),
            "moments: error of hscore at offset 1e6, float64": error_at_offset("float64"),
            "moments: error of hscore at offset 1e6, float32": error_at_offset("float32"),
        }


def main():
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--json", help="also write the figures here")
    parser.add_argument("--peak", nargs=2, type=int, metavar=("N", "D"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print_peak(*arguments.peak)
        return
    figures = run(arguments.quick)
    for name, value in figures.items():
        print(f"{value:10.3g}  {name}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
