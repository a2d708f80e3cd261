"""Cost of choosing labels, of output modules, and of prediction with a reused model.

Run it alone: ``python tests/benchmarks/bench_retraining.py [--quick] [--json FILE]``. Seconds are
of one processor; megabytes are what a fresh process adds to its input (with --quick all work shares
one process); ratios of prediction are medians over interleaved rounds, so that 1.05 means 5 %
slower than the network alone.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

N_LABELS, WIDTH, BATCH = 10, 128, 64
OUTPUTS = ("ridge", "logistic", "class_mean")
STRATEGIES = ("k_center", "herding", "typical", "cover", "variance")
# Unlabelled examples; examples and columns of the ridge classifier; images to predict, rounds.
SIZES = {
    "full": (60_000, (2_000, 1_280), 10_000, 3),
    "quick": (3_000, (200, 100), 200, 2),
}


def make_pool(n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 features of length 1 in ten clusters, like those of a trained module."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, n_rows)
    rows = 3 * rng.normal(size=(10, WIDTH))[labels] + rng.normal(size=(n_rows, WIDTH))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def peak_megabytes() -> float:
    """Return this process's peak resident memory; ru_maxrss would include the parent's."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise OSError("no VmHWM in /proc/self/status: this benchmark needs Linux")


def work_on(name: str, features: np.ndarray, labels: np.ndarray) -> None:
    """Choose ten labels by a strategy, or assign the clusters of all examples by ten labels."""
    from modtools.outputs import ClassMeanOutput
    from modtools.retraining import choose_labels

    if name == "class_mean":
        rows = np.array([np.flatnonzero(labels == code)[0] for code in range(10)])
        ClassMeanOutput().fit(features[rows], labels[rows], features)
    else:
        choose_labels(features, N_LABELS, strategy=name)


def measure_work(name: str, n_rows: int) -> tuple[float, float]:
    """Return the seconds of one piece of work, and what it adds to the peak of this process."""
    features, labels = make_pool(n_rows)
    few, few_labels = make_pool(300)
    work_on(name, few, few_labels)  # libraries load and allocate their workspaces
    before, started = peak_megabytes(), time.process_time()
    work_on(name, features, labels)
    return time.process_time() - started, peak_megabytes() - before


def in_fresh_process(name: str, n_rows: int) -> tuple[float, float]:
    """Return seconds and megabytes of a piece of work in a process of its own."""
    command = [sys.executable, __file__, "--work", name, "--rows", str(n_rows)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, megabytes = map(float, done.stdout.split()[-2:])
    return seconds, megabytes


def seconds_of(work: Callable[[], object]) -> float:
    """Return the processor time of one call, which other work on the machine disturbs least."""
    started = time.process_time()
    work()
    return time.process_time() - started


def evidence_figures(n_rows: int, n_columns: int) -> dict[str, float]:
    """Return what the choice of an alpha costs, by evidence and by leave-one-out."""
    from modtools.outputs._ridge import (
        alpha_of_evidence,
        one_hot,
        ridge_basis,
        ridge_leave_one_out,
    )
    from modtools.outputs._standardize import StandardizedRows

    rng = np.random.default_rng(0)
    targets = one_hot(rng.integers(0, 10, n_rows), 10)
    features = rng.normal(size=(n_rows, n_columns)) + targets @ rng.normal(size=(10, n_columns))
    rows = StandardizedRows.of(features.astype(np.float32))
    evidence = [seconds_of(lambda: alpha_of_evidence(ridge_basis(rows), targets)) for _ in range(2)]
    left_out = seconds_of(lambda: ridge_leave_one_out(ridge_basis(rows), targets))
    spectrum = min(seconds_of(lambda: ridge_basis(rows).eigenvalues) for _ in range(2))
    return {
        "strength_of_evidence_seconds": min(evidence),
        "strength_of_evidence_over_spectrum": min(evidence) / spectrum,
        "ridge_leave_one_out_seconds": left_out,
    }


def prediction_figures(n_images: int, rounds: int) -> dict[str, float]:
    """Return the time of `predict` over that of the frozen network alone, same batches."""
    import torch

    from modtools.modules import PretrainedModule, image_preprocess
    from modtools.retraining import retrain
    from modtools.tasks import Task
    from modtools.training.networks import compact_convnet

    torch.manual_seed(0)
    network = compact_convnet()[:-1].eval()  # up to its 128 features
    preprocess = image_preprocess(channels=None)
    images = np.random.default_rng(0).integers(0, 255, (n_images, 28, 28)).astype(np.uint8)
    few = Task(images[:100], np.arange(100) % 10)
    module = PretrainedModule(network, name="net", preprocess=preprocess)

    def bare() -> None:
        with torch.inference_mode():
            for start in range(0, n_images, BATCH):
                network(preprocess(torch.from_numpy(images[start : start + BATCH]))).numpy()

    models = {output: retrain(module, few, output=output) for output in OUTPUTS}
    work = {output: lambda model=model: model.predict(images) for output, model in models.items()}
    bare()
    rounds_of = [
        (seconds_of(bare), {output: seconds_of(predict) for output, predict in work.items()})
        for _ in range(rounds)
    ]
    return {
        f"predict_{output}_over_forward": statistics.median(
            own[output] / alone for alone, own in rounds_of
        )
        for output in OUTPUTS
    }


def parts(quick: bool) -> Iterator[dict[str, float]]:
    """Yield the figures as they are found."""
    n_rows, shape, n_images, rounds = SIZES["quick" if quick else "full"]
    for name in (*STRATEGIES, "class_mean"):
        seconds, megabytes = (measure_work if quick else in_fresh_process)(name, n_rows)
        kind = "pool" if name == "class_mean" else "choose"
        yield {f"{kind}_{name}_seconds": seconds, f"{kind}_{name}_megabytes": megabytes}
    yield evidence_figures(*shape)
    yield prediction_figures(n_images, rounds)


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        print(*measure_work(arguments.work, arguments.rows))
        return
    figures: dict[str, float] = {}
    for found in parts(arguments.quick):
        figures |= found
        for name, value in found.items():
            print(f"{name:40s} {value:10.3f}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
