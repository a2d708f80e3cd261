"""Cost of extraction: against a bare torch loop, of several layers, of a short layer, of the cache.

Run it alone: ``python tests/benchmarks/bench_extraction.py [--json FILE]``. Ratios are medians over
interleaved rounds, in one thread, in processor time; a ratio of 1.05 means 5 % slower.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import itertools

import numpy as np
import torch
from torch import nn

from modtools.modules import PretrainedModule, extract, image_preprocess, iter_features

SIZE, BATCH = 112, 64


def convolutions() -> nn.Module:
    """Return a network of the usual kind, which needs no download."""
    torch.manual_seed(0)
    widths, layers = (3, 16, 32, 64, 128), []
    for narrow, wide in itertools.pairwise(widths):
        layers += [nn.Conv2d(narrow, wide, 3, 2, 1), nn.BatchNorm2d(wide), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers).eval()


def bare_loop(network: nn.Module, preprocess: Any, images: np.ndarray) -> np.ndarray:
    """Run the same batches through the network, with nothing around it."""
    rows = []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            batch = preprocess(torch.from_numpy(images[start : start + BATCH]))
            rows.append(network(batch).mean((2, 3)).numpy())
    return np.concatenate(rows)


def seconds(work) -> float:
    """Return the processor time of one call, which other work on the machine disturbs least."""
    started = time.process_time()
    work()
    return time.process_time() - started


def interleaved(first, second, rounds: int) -> tuple[float, float]:
    """Return the median ratio of first to second over rounds, and the ratio of the fastest."""
    first(), second()
    pairs = [(seconds(first), seconds(second)) for _ in range(rounds)]
    best = min(a for a, _ in pairs) / min(b for _, b in pairs)
    return statistics.median(a / b for a, b in pairs), best


def measure(images: np.ndarray, rounds: int) -> dict[str, float]:
    """Return each figure by name."""
    network = convolutions()
    preprocess = image_preprocess(SIZE, mean=0.5, std=0.5)
    module = PretrainedModule(network, name="conv", preprocess=preprocess)
    np.testing.assert_allclose(
        extract(module, images), bare_loop(network, preprocess, images), atol=1e-5
    )

    def stream(layers=None):
        for _ in iter_features(module.at(layers), images, batch_size=BATCH):
            pass

    def bare():
        bare_loop(network, preprocess, images)

    figures = {}
    asked = {
        "iter_features / bare loop": (stream, bare),
        "extract / bare loop": (lambda: extract(module, images, batch_size=BATCH), bare),
        "two taps / one tap": (lambda: stream(["5", None]), stream),
        "all twelve layers / one tap": (lambda: stream([str(i) for i in range(12)]), stream),
        "first of four stages / output": (lambda: stream("2"), stream),
    }
    for name, (first, second) in asked.items():
        figures[name], figures[f"{name} (fastest)"] = interleaved(first, second, rounds)
    with tempfile.TemporaryDirectory() as folder:
        kept = extract(module, images, cache=folder)
        assert np.array_equal(extract(module, images, cache=folder), kept)
        figures["read from the cache / bare loop"], _ = interleaved(
            lambda: extract(module, images, cache=folder), bare, 3
        )
    return figures


def main() -> None:
    """Print the figures, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="few images, few rounds")
    options = parser.parse_args()
    if options.quick:
        options.images, options.rounds = 64, 3
    torch.set_num_threads(1)
    images = np.random.default_rng(0).integers(0, 256, (options.images, 28, 28), dtype=np.uint8)
    figures = measure(images, options.rounds)
    for name, value in figures.items():
        print(f"{value:7.3f}  {name}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
