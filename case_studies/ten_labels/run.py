"""What ten labels in all give with a frozen module that was trained with pairs only.

    python case_studies/ten_labels/run.py [--quick] [--json FILE]

The module is the best of case_studies/modular_vs_end_to_end. What is measured on it, and each
training from scratch, is a file in results and is not repeated. All of it takes about twenty
minutes on one core.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from from_scratch import compare
from frozen import measure
from numpy.typing import NDArray
from report import write_report

import modtools as mt
from modtools._writing import json_text, write_file
from modtools.training import networks, train_modular

HERE = Path(__file__).parent
TRAINING = HERE.parent / "modular_vs_end_to_end"
PREFIX = "modular_supcon_seed"
N_HELD_OUT = 2000  # the rows that the training of the modules held out, and the same seed
SEEDS, QUICK_SEEDS = range(20), range(2)
DECIDING_SEEDS = range(100, 105)  # draws that decide are none of those that are reported
QUICK_SIZES = [64, 32, 10]


@dataclass(frozen=True)
class Place:
    """Where modules and results lie, and how large everything is."""

    folder: Path
    quick: bool

    @property
    def zoo(self) -> mt.Zoo:
        """Return the zoo that the training study filled; a toy run fills its own."""
        return mt.Zoo((self.folder if self.quick else TRAINING / "results") / "zoo")

    def best(self) -> str:
        """Return the best module by what its training held out, or stop and say how to make it."""
        found = [name for name in self.zoo.names if name.startswith(PREFIX)]
        if not found:
            wanted = [f"{PREFIX}{seed}" for seed in range(3)]
            sys.exit(f"there is no module {PREFIX}* in {self.zoo.folder}. {how_to_train(wanted)}")
        return found[0] if self.quick else max(found, key=held_out_accuracy)


def how_to_train(names: list[str]) -> str:
    """Say which command trains modules."""
    return (
        f"This trains them, in {10 * len(names)} minutes on two cores:\n"
        f"  python {TRAINING / 'run.py'} --only {' '.join(names)}"
    )


def held_out_accuracy(name: str) -> float:
    """Return the accuracy on held-out training rows from the record of a training run."""
    path = TRAINING / "results" / "runs" / f"{name}.json"
    return float(json.loads(path.read_text(encoding="utf-8"))["validation_accuracy"])


@dataclass(frozen=True)
class Tasks:
    """The rows to label, those of them that only decide between settings, and the test rows."""

    train: mt.Task
    test: mt.Task
    n_held_out: int
    network: Callable[[], torch.nn.Module]  # what is trained, from new weights

    @cached_property
    def _parts(self) -> tuple[mt.Task, mt.Task]:
        return self.train.split(test_fraction=self.n_held_out / len(self.train), seed=0)

    @property
    def rest(self) -> mt.Task:
        """The training rows that are not held out."""
        return self._parts[0]

    @property
    def held_out_task(self) -> mt.Task:
        """Training rows on which neither a module nor a baseline was trained."""
        return self._parts[1]

    @property
    def held_out(self) -> NDArray[np.intp]:
        """Their row numbers."""
        return self.held_out_task.rows


def load(*, quick: bool) -> Tasks:
    """Return the rows of the study."""
    if quick:
        train, test = mt.load_task("digits").split(test_fraction=0.2, seed=0)
        # A task of its own, whose row numbers begin at 0.
        whole = mt.Task(train.inputs, train.labels, name="digits")
        return Tasks(whole, test, len(train) // 10, small_network)
    train, test = (mt.load_task("fashion-mnist", split=split) for split in ("train", "test"))
    return Tasks(train, test, N_HELD_OUT, networks.compact_convnet)


def small_network() -> torch.nn.Module:
    """Return a network of toy size."""
    return networks.multilayer_perceptron(QUICK_SIZES)


def train_quickly(place: Place, tasks: Tasks) -> None:
    """Put a module of toy size into the zoo of a toy run."""
    name = f"{PREFIX}0"
    if name not in place.zoo.names:
        torch.manual_seed(0)
        result = train_modular(tasks.network(), tasks.rest, proxy="supcon", epochs=2)
        result.save(place.zoo, name=name)


def measured(name: str, place: Place, tasks: Tasks) -> dict[str, Any]:
    """Return what is measured on a module, from its file where it is finished."""
    digest = place.zoo.card(name)["sha256"]
    path = place.folder / "modules" / f"{name}.json"
    if path.exists():
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if kept["sha256"] == digest:
            return kept
    seeds = QUICK_SEEDS if place.quick else SEEDS
    found = measure(place.zoo[f"{name}@features"], tasks, seeds, DECIDING_SEEDS[: len(seeds)])
    write_file(path, json_text({"module": name, "sha256": digest, **found}))
    print(f"{name}: {found['full']:.2f} % with all labels, after {found['seconds']:.0f} s")
    return {"module": name, "sha256": digest, **found}


def main() -> None:
    """Parse the command line, measure what is missing, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="toy size, to see that all runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    arguments = parser.parse_args()
    folder = HERE / "results"
    if arguments.quick:  # a toy run never touches the real results
        folder = arguments.json.parent if arguments.json else HERE / "results-quick"
    place, tasks = Place(folder, quick=arguments.quick), load(quick=arguments.quick)
    torch.set_num_threads(1)
    if place.quick:
        train_quickly(place, tasks)
    module = measured(place.best(), place, tasks)
    shared, baseline = len(tasks.test.overlap(tasks.train)), {}
    for n_labels, found in compare(folder / "from_scratch", tasks, quick=place.quick):
        baseline[n_labels] = found
        shown = write_report(folder, module, baseline, n_shared=shared)  # what is there so far
    print(shown)
    if arguments.json and arguments.json.resolve() != (folder / "figures.json").resolve():
        shutil.copyfile(folder / "figures.json", arguments.json)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt as stop:
        sys.exit(str(stop) or "stopped; the same command goes on.")
