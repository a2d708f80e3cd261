"""What the training loop adds to a bare torch loop, and what modular training saves in memory.

    python tests/benchmarks/bench_training.py [--quick] [--json FILE]

The bare loop is given prepared batches in order; what `train_modular` and `train_end_to_end` do
beside the same steps counts as overhead, their set-up included. Both end with the same weights to
the last bit, which is checked. Medians over interleaved rounds, one thread, processor time.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from modtools.proxies import SupCon
from modtools.tasks import Task
from modtools.training import Recipe, networks, split, train_end_to_end, train_modular
from modtools.training._batches import default_preprocess, derive_seed, iter_rows, rows_of_step
from modtools.training._objective import CrossEntropy, make_objective
from modtools.training._split import count_saved_bytes

SIDE, N_CLASSES = 28, 10
OUTPUT_STEPS, OUTPUT_RATE = 300, 5  # of the phase that trains the output module


def make_task(n: int) -> Task:
    """Return random images of the size of Fashion-MNIST."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, SIDE, SIDE), dtype=np.uint8)
    return Task(images, np.arange(n) % N_CLASSES, name="random images")


def make_network() -> torch.nn.Sequential:
    """Return the same untrained network at each call."""
    torch.manual_seed(0)
    return networks.CompactConvNet()


class BareLoop:
    """Steps of torch and nothing else, on batches that are ready."""

    def __init__(self, task: Task, recipe: Recipe) -> None:
        self.recipe, self.labels = recipe, torch.as_tensor(task.encoded.codes)
        prepare = default_preprocess(task)
        self.inputs = torch.cat([prepare(task.batch(rows)) for rows in iter_rows(len(task))])
        self.batches = self.prepared(self.inputs, phase=0, n_epochs=1)

    def prepared(self, inputs, *, phase, n_epochs):
        """Return the batches of a phase, in the order in which it draws them."""
        n, size = len(inputs), self.recipe.batch_size
        batches = []
        for epoch in range(n_epochs):
            order = np.random.default_rng(derive_seed(0, phase, 0, epoch)).permutation(n)
            rows = [torch.as_tensor(rows_of_step(order, k, size)) for k in range(n // size)]
            batches += [(inputs[chosen], self.labels[chosen]) for chosen in rows]
        return batches

    def steps(self, module, loss, batches, *, rate=1.0):
        """Train a module."""
        module.train()
        optimizer = self.recipe.optimizer(module.parameters())
        for group in optimizer.param_groups:
            group["lr"] *= rate
        for inputs, labels in batches:
            optimizer.zero_grad()
            loss(module(inputs), labels).backward()
            optimizer.step()

    def end_to_end(self):
        """Train the whole network."""
        network = make_network()
        self.steps(network, torch.nn.functional.cross_entropy, self.batches)
        return network

    def modular(self):
        """Train the hidden module with supcon, then the output module on its features."""
        network = make_network()
        hidden = network[:-1]
        self.steps(hidden, SupCon(), self.batches)
        hidden.eval()
        with torch.no_grad():
            features = torch.cat([hidden(self.inputs[r]) for r in iter_rows(len(self.inputs))])
        n_epochs = -(-OUTPUT_STEPS // len(self.batches))
        batches = self.prepared(features, phase=1, n_epochs=n_epochs)[:OUTPUT_STEPS]
        self.steps(network[-1], torch.nn.functional.cross_entropy, batches, rate=OUTPUT_RATE)
        return network


def seconds(work) -> float:
    """Return the processor time of one call, which other work on the machine disturbs least."""
    started = time.process_time()
    work()
    return time.process_time() - started


def overhead(ours, bare, rounds: int) -> float:
    """Return the median ratio of the times of two ways to train the same network."""
    weights, expected = ours().state_dict(), bare().state_dict()
    for name, weight in expected.items():
        torch.testing.assert_close(weights[name], weight, rtol=0, atol=0)
    return statistics.median(seconds(ours) / seconds(bare) for _ in range(rounds))


def saved_bytes(module, objective, inputs, labels):
    """Return the bytes that a training step keeps for its backward pass, and the outputs."""
    kept = [t for part in (module, objective) for t in (*part.parameters(), *part.buffers())]
    with count_saved_bytes(exclude=kept) as saved:
        outputs = module.train()(inputs)
        objective(outputs, labels)
    return saved.n_bytes, outputs.detach()


def memory_ratio(batch_size: int) -> float:
    """Return what ResNet-18 keeps in 4 modules, one trained at a time, over what it keeps whole."""
    network, labels = networks.ResNet18(), torch.arange(batch_size) % N_CLASSES
    inputs = torch.rand(batch_size, 1, SIDE, SIDE)
    whole, _ = saved_bytes(network, CrossEntropy(), inputs, labels)
    counts, features = [], inputs
    for module in split(network, at=4, example=inputs[:8])[:-1]:
        shape = tuple(module(features[:2]).shape[1:])
        objective = make_objective("supcon", shape, N_CLASSES)
        count, features = saved_bytes(module, objective, features, labels)
        counts.append(count)
    print(f"ResNet-18 keeps {whole / 1e6:.0f} MB; in modules {[round(c / 1e6) for c in counts]} MB")
    return max(counts) / whole


def run(quick=False):
    """Return {figure: ratio}."""
    n_steps, batch_size, rounds, memory_batch = (2, 16, 1, 4) if quick else (40, 128, 5, 256)
    torch.set_num_threads(1)
    task = make_task(n_steps * batch_size)
    recipe = Recipe(batch_size=batch_size, curve="constant")
    bare = BareLoop(task, recipe)

    def end_to_end():
        return train_end_to_end(make_network(), task, epochs=1, recipe=recipe).network

    def modular():
        return train_modular(make_network(), task, epochs=1, recipe=recipe).network

    return {
        "training: end to end over a bare loop": overhead(end_to_end, bare.end_to_end, rounds),
        "training: modular over a bare loop": overhead(modular, bare.modular, rounds),
        "training: memory of 4 modules over end to end": memory_ratio(memory_batch),
    }


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
