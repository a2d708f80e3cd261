"""What a proxy costs beside the two matrix products that nobody can avoid.

    python tests/benchmarks/bench_proxies.py [--quick] [--json FILE]

Forward and backward pass of one batch, float32, one thread, the best of many interleaved repeats.
Without classes, or with exponentials, the products are Phi Phi' and, backward, G Phi; otherwise a
batch larger than d needs only Phi' Phi and Phi G. `raw` needs neither: it is compared with the
smaller ones. Processor time, which other work on the machine disturbs least.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from modtools.proxies import PROXIES, Pairs

FROM_MOMENTS = ("raw", "nmse", "alignment", "upper_triangle_alignment")
FROM_KERNEL = ("contrastive", "log_contrastive", "supcon")


def make(n, d, n_classes=10):
    """Return features that require a gradient, and labels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(n_classes, (n,), generator=generator)
    features = torch.randn(n, d, generator=generator)
    features[torch.arange(n), labels] += 1.0
    return features.requires_grad_(), labels


def seconds(call):
    """Return the processor time of one call."""
    started = time.process_time()
    call()
    return time.process_time() - started


def warm_allocator():
    """Free 28 MB, as each training step of a network does.

    Until a program has freed a block this large, glibc gives the memory of every batch back to the
    system, and the page faults of fetching it again are counted as the proxy's.
    """
    torch.zeros(7_000_000)


def time_proxy(name, features, labels, products, repeats):
    """Print and return the time of a forward and backward pass over that of two products."""
    proxy = PROXIES[name]()

    def ours():
        features.grad = None
        proxy(features, labels).backward()

    rounds = [(seconds(ours), seconds(products)) for _ in range(repeats)]
    ours_s, theirs_s = np.min(rounds, axis=0)
    given = "all pairs" if isinstance(labels, Pairs) else "classes"
    print(f"{name} from {given}: {1e3 * ours_s:.2f} ms, products {1e3 * theirs_s:.2f} ms")
    return ours_s / theirs_s


def two_products(features, *, of_rows):
    """Return a call that does the forward and the backward product on their own."""
    rows = features.detach()

    def products():
        if of_rows:
            return (rows @ rows.T) @ rows
        return rows @ (rows.T @ rows)

    return products


def run(quick=False):
    """Return {figure: ratio}."""
    n, d, repeats = (128, 64, 3) if quick else (1024, 512, 40)
    features, labels = make(n, d)
    i, j = torch.triu_indices(n, n, offset=1)
    pairs = Pairs(i, j, labels[i] == labels[j])
    torch.set_num_threads(1)
    warm_allocator()
    small = two_products(features, of_rows=False)
    large = two_products(features, of_rows=True)
    figures = {}
    for name in (*FROM_MOMENTS, *FROM_KERNEL):
        products = small if name in FROM_MOMENTS else large
        ratio = time_proxy(name, features, labels, products, repeats)
        figures[f"proxies: {name}, time over its two products"] = ratio
    for name in ("nmse", "supcon"):
        ratio = time_proxy(name, features, pairs, large, repeats)
        figures[f"proxies: {name} from all pairs, time over its two products"] = ratio
    return figures


def main():
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--json", help="also write the figures here")
    arguments = parser.parse_args()
    figures = run(arguments.quick)
    for name, value in figures.items():
        print(f"{value:10.3g}  {name}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
