"""The same accuracy module by module as end-to-end? Both, and others, at the same cost.

    python case_studies/modular_vs_end_to_end/run.py [--quick] [--json FILE] [--only NAME ...]

The compact net on Fashion-MNIST. A finished run is a file in results/runs and is not repeated; an
interrupted one goes on from its checkpoint. All runs take about an hour and a half on two cores.
"""

import argparse
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from memory import measure_memory
from report import write_report
from scipy.stats import binomtest

import modtools as mt
from modtools._writing import json_text, write_file
from modtools.modules import image_preprocess
from modtools.proxies import PROXIES
from modtools.training import (
    Augmentation,
    Recipe,
    TrainingResult,
    networks,
    train_end_to_end,
    train_modular,
)

HERE = Path(__file__).parent
N_CORES = 2
LONG, SHORT = 600.0, 180.0


@dataclass(frozen=True)
class Run:
    """One training: what is trained, how, for how long."""

    name: str
    method: str  # end_to_end, sequential (strictly modular) or simultaneous (weakly modular)
    proxy: str
    n_modules: int  # the output module included
    seconds: float
    seed: int = 0
    threads: int = 1


# The reference lines come before what is compared with them; seeds take turns, so that a part of
# the table is already a comparison.
RUNS = (
    Run("end_to_end_seed0", "end_to_end", "cross_entropy", 1, LONG, 0, 2),
    Run("modular_supcon_seed0", "sequential", "supcon", 2, LONG, 0, 2),
    Run("end_to_end_seed1", "end_to_end", "cross_entropy", 1, LONG, 1, 2),
    Run("modular_supcon_seed1", "sequential", "supcon", 2, LONG, 1, 2),
    Run("end_to_end_seed2", "end_to_end", "cross_entropy", 1, LONG, 2, 2),
    Run("modular_supcon_seed2", "sequential", "supcon", 2, LONG, 2, 2),
    Run("end_to_end_180s", "end_to_end", "cross_entropy", 1, SHORT),
    Run("modular_supcon_180s", "sequential", "supcon", 2, SHORT),
    Run("weakly_modular_supcon_180s", "simultaneous", "supcon", 4, SHORT),
    Run("weakly_modular_local_classifier_180s", "simultaneous", "local_classifier", 4, SHORT),
    Run("weakly_modular_3_supcon_180s", "simultaneous", "supcon", 3, SHORT),
    Run("weakly_modular_3_local_classifier_180s", "simultaneous", "local_classifier", 3, SHORT),
    *(
        Run(f"modular_{proxy}_180s", "sequential", proxy, 2, SHORT)
        for proxy in PROXIES
        if proxy != "supcon"
    ),
)
# Where the network is cut into 2, 3 or 4 modules. Into 4: the cut whose largest module keeps fewest
# activations. Into 3: as late as a cut can be, because a hidden module needs depth of its own.
CUTS = {2: ["features"], 3: ["block3", "features"], 4: ["block1", "block2", "features"]}
# Chosen on 6000 rows of the train split that were not trained on, never on the test split.
RECIPE = Recipe(batch_size=128, learning_rate=6e-3, augmentation=Augmentation(shift=0, flip=True))
PRECISION = "float32"  # faster than bfloat16 on processors without instructions for it
PREPROCESS = image_preprocess(mean=0.286, std=0.353, channels=1)
N_VALIDATION = 2000  # rows of the train split kept for the accuracies during training

QUICK_FACTOR = 1 / 1500
QUICK_NAMES = (
    "end_to_end_seed0",
    "modular_supcon_seed0",
    "end_to_end_seed1",
    "modular_supcon_seed1",
    "end_to_end_180s",
    "weakly_modular_supcon_180s",
    "modular_nmse_180s",
)


@dataclass(frozen=True)
class Place:
    """Where results go and how large everything is."""

    folder: Path
    quick: bool

    def runs(self) -> tuple[Run, ...]:
        """Return the table of runs, at toy size where that was asked for."""
        if not self.quick:
            return RUNS
        return tuple(
            replace(run, seconds=run.seconds * QUICK_FACTOR, threads=1)
            for run in RUNS
            if run.name in QUICK_NAMES
        )

    def tasks(self) -> tuple[mt.Task, mt.Task, mt.Task]:
        """Return the tasks to train on, to watch and to test on."""
        if self.quick:
            train, test = mt.load_task("digits").split(test_fraction=0.2, seed=0)
            return *train.split(test_fraction=0.1, seed=0), test
        train = mt.load_task("fashion-mnist", split="train")
        rest, validation = train.split(test_fraction=N_VALIDATION / len(train), seed=0)
        return rest, validation, mt.load_task("fashion-mnist", split="test")

    def record(self, name: str) -> Path:
        """Return the file of a finished run."""
        return self.folder / "runs" / f"{name}.json"

    def checkpoint(self, name: str) -> Path:
        """Return the file of an unfinished run."""
        return self.folder / "checkpoints" / f"{name}.pt"


def train(run: Run, place: Place) -> dict[str, Any]:
    """Train one network, put it into the study's zoo, and return what is kept of the run."""
    torch.set_num_threads(run.threads)
    torch.manual_seed(run.seed)  # the weights that training starts from
    task, validation, test = place.tasks()
    network = networks.compact_convnet(len(task.classes), 1)
    place.checkpoint(run.name).parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {
        "max_seconds": run.seconds,
        "recipe": RECIPE,
        "preprocess": PREPROCESS,
        "validation": validation,
        "precision": PRECISION,
        "checkpoint": place.checkpoint(run.name),
        "seed": run.seed,
    }
    if run.method == "end_to_end":
        result = train_end_to_end(network, task, **options)
    else:
        options |= {"proxy": run.proxy, "schedule": run.method, "at": CUTS[run.n_modules]}
        result = train_modular(network, task, **options)
    result.save(place.folder / "zoo", name=run.name, test=test, overwrite=True)
    return {**asdict(run), **measured(result, validation, test)}


def measured(result: TrainingResult, validation: mt.Task, test: mt.Task) -> dict[str, Any]:
    """Return what a training cost and reached; accuracies in percent."""
    correct = result.predict(test) == test.labels
    interval = binomtest(int(correct.sum()), len(test)).proportion_ci(0.95, method="wilson")
    history = result.history
    columns = ["module", "epoch", "seconds", "loss", "validation_accuracy"]
    return {
        "accuracy": 100 * float(correct.mean()),
        "accuracy_low": 100 * float(interval.low),
        "accuracy_high": 100 * float(interval.high),
        "validation_accuracy": 100 * result.accuracy(validation),
        "seconds_used": result.seconds,
        "epochs": history.groupby("module", sort=False)["epoch"].max().to_dict(),
        "peak_activation_mb": result.peak_activation_bytes / 1e6,
        "labels_needed": result.labels_needed,
        "settings": result.settings,
        "n_test": len(test),
        "correct": np.packbits(correct).tobytes().hex(),  # one bit a test row, in order
        "history": history[columns],
    }


def is_finished(run: Run, place: Place) -> bool:
    """Return whether a run has its file; one made with other settings stops everything."""
    path = place.record(run.name)
    if not path.exists():
        return False
    kept = json.loads(path.read_text(encoding="utf-8"))
    now = {**asdict(run), "recipe": RECIPE.as_dict(), "precision": PRECISION}
    then = {**kept, **{key: kept["settings"][key] for key in ("recipe", "precision")}}
    other = [key for key, value in now.items() if then[key] != json.loads(json.dumps(value))]
    if other:
        sys.exit(f"{path} was made with another {', '.join(other)}: remove it to repeat the run.")
    return True


def run_here(run: Run, place: Place) -> None:
    """Train one run in this process and write its file."""
    content = train(run, place)
    write_file(place.record(run.name), json_text(content))
    print(f"{run.name}: {content['accuracy']:.2f} % after {content['seconds_used']:.0f} s")


def run_apart(run: Run) -> bool:
    """Train one run in a process of its own and return whether that went well."""
    command = [sys.executable, str(HERE / "run.py"), "--only", run.name]
    return subprocess.run(command, check=False).returncode == 0


def run_everything(place: Place) -> bool:
    """Run what is not finished, in order, never more threads than cores; return whether all did."""
    waiting = [run for run in place.runs() if not is_finished(run, place)]
    all_well = True
    for threads, group in groupby(waiting, key=attrgetter("threads")):
        with ThreadPoolExecutor(N_CORES // threads) as pool:
            for well in pool.map(run_apart, group):
                all_well &= well
                write_report(place.folder)  # what is there so far
    return all_well


def main() -> None:
    """Parse the command line, run what is missing, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="toy size, to see that all runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    names = [run.name for run in RUNS]
    parser.add_argument(
        "--only",
        nargs="+",
        choices=names,
        metavar="NAME",
        help="train these and stop; also a finished run whose network is not in results/zoo",
    )
    arguments = parser.parse_args()
    place = Place(folder_of(arguments), quick=arguments.quick)
    if arguments.quick or arguments.only:
        chosen = arguments.only or names
        for run in place.runs():
            is_asked_for = arguments.only and run.name not in mt.Zoo(place.folder / "zoo").names
            if run.name in chosen and (is_asked_for or not is_finished(run, place)):
                run_here(run, place)
        all_well = True
    else:
        all_well = run_everything(place)
    if arguments.only:
        return
    memory = place.folder / "memory.json"
    if not memory.exists():
        write_file(memory, json_text(measure_memory(quick=place.quick)))
    print(write_report(place.folder))
    if arguments.json and arguments.json != place.folder / "figures.json":
        shutil.copyfile(place.folder / "figures.json", arguments.json)
    sys.exit(0 if all_well else "some runs failed; the same command repeats only these.")


def folder_of(arguments: argparse.Namespace) -> Path:
    """Return the folder of the results: a toy run never touches the real ones."""
    if not arguments.quick:
        return HERE / "results"
    return arguments.json.parent if arguments.json else HERE / "results-quick"


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt as stop:
        sys.exit(str(stop) or "stopped; the same command goes on.")
