"""The memory that training ResNet-18 takes: strictly modular with 4 modules, and end-to-end.

`measure_memory` counts it twice: as the trainers do (bytes that autograd saves for the backward
pass), and as the peak of resident memory of a fresh process that trains for one step.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import modtools as mt
from modtools.modules import image_preprocess
from modtools.training import (
    Recipe,
    TrainingResult,
    networks,
    split,
    train_end_to_end,
    train_modular,
)

N_MODULES = 4  # the output module included
BATCH, SIZE = 256, 28
QUICK_BATCH, QUICK_SIZE = 32, 8
PREPROCESS = image_preprocess(mean=0.286, std=0.353, channels=1)


def measure_memory(*, quick: bool) -> dict[str, Any]:
    """Return megabytes of both kinds of training, by both counts."""
    blocks = cuts(quick=quick)
    kinds = {"end_to_end": "", "modular": ",".join(blocks)}
    # A process of its own for each, so that neither reuses what the other has freed; at toy size
    # only the start of processes would take time.
    groups = [list(kinds)] if quick else [[kind] for kind in kinds]
    measured: dict[str, Any] = {"cuts": blocks}
    for group in groups:
        command = [sys.executable, str(Path(__file__)), "quick" if quick else "full"]
        command += [kinds[kind] for kind in group]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        measured |= zip(group, json.loads(done.stdout), strict=True)
    return measured


def network_and_batch(*, quick: bool) -> tuple[torch.nn.Sequential, mt.Task]:
    """Return the network and one batch of random images: memory does not depend on them."""
    torch.manual_seed(0)
    n, size = (QUICK_BATCH, QUICK_SIZE) if quick else (BATCH, SIZE)
    images = np.random.default_rng(0).integers(256, size=(n, size, size), dtype=np.uint8)
    task = mt.Task(images, np.arange(n) % 10, name="noise")
    make = networks.compact_convnet if quick else networks.resnet18
    return make(10, 1), task


def cuts(*, quick: bool) -> list[str]:
    """Return after which blocks to cut so that the largest module is as small as can be."""
    network, task = network_and_batch(quick=quick)
    modules = split(network, at=N_MODULES, example=PREPROCESS(task.inputs))
    return [list(dict(module.named_children()))[-1] for module in modules[:-1]]


def one_step(network: torch.nn.Sequential, task: mt.Task, at: list[str]) -> TrainingResult:
    """Train each module of a network, or all of it at once, for one step."""
    options: dict[str, Any] = {
        "epochs": 1,
        "recipe": Recipe(batch_size=len(task)),
        "preprocess": PREPROCESS,
    }
    if at:
        return train_modular(network, task, proxy="supcon", at=at, **options)
    return train_end_to_end(network, task, **options)


def peak_megabytes() -> float:
    """Return this process's peak resident memory; ru_maxrss would include the parent's."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    peak = next(line for line in status if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024 / 1e6


def megabytes_of_a_step(at: list[str], *, quick: bool) -> dict[str, float]:
    """Return the saved and the resident megabytes of one step."""
    network, task = network_and_batch(quick=quick)
    before = peak_megabytes()
    result = one_step(network, task, at)
    resident = peak_megabytes() - before
    return {"saved_mb": result.peak_activation_bytes / 1e6, "resident_mb": resident}


def main() -> None:
    """Print the megabytes of one step for each list of cuts, as JSON."""
    quick = sys.argv[1] == "quick"
    # What libraries load and keep on first use is no memory of the training.
    one_step(*network_and_batch(quick=True), ["block3", "features"])
    kinds = [[name for name in text.split(",") if name] for text in sys.argv[2:]]
    print(json.dumps([megabytes_of_a_step(at, quick=quick) for at in kinds]))


if __name__ == "__main__":
    main()
