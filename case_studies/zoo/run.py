"""Build a zoo of candidate modules: six source tasks of Fashion-MNIST, trained in four ways each.

    python case_studies/zoo/run.py [--quick] [--json FILE] [--zoo DIR] [--only NAME ...]

A module that the zoo holds is not trained again; an interrupted one goes on from its checkpoint.
All of it takes about twelve minutes on two cores.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest

import modtools as mt
from modtools._writing import json_text, write_file
from modtools.modules import image_preprocess
from modtools.plotting._display import INK, new_axes, save_figure
from modtools.training import (
    Augmentation,
    Recipe,
    networks,
    train_end_to_end,
    train_modular,
)

HERE = Path(__file__).parent
N_CORES = 2
SECONDS, QUICK_SECONDS = 45.0, 0.1

# Tasks that share all, some or none of their classes.
SOURCES = {
    "tops": (0, 2, 4, 6),  # T-shirt, pullover, coat, shirt
    "footwear": (5, 7, 9),  # sandal, sneaker, ankle boot
    "others": (1, 3, 8),  # trouser, dress, bag
    "even": (0, 2, 4, 6, 8),  # the tops and the bag
    "odd": (1, 3, 5, 7, 9),  # trouser, dress, footwear
    "all": tuple(range(10)),
}
END_TO_END = "end_to_end"
METHODS = ("supcon", "nmse", "local_classifier", END_TO_END)
QUICK_SOURCES = ("footwear", "even")

# The settings of case_studies/modular_vs_end_to_end, for a shorter time.
RECIPE = Recipe(batch_size=128, learning_rate=6e-3, augmentation=Augmentation(shift=0, flip=True))
PRECISION = "float32"
SEED = 0
# Fashion-MNIST has this size already; other tasks are resized to it when the zoo is scored.
PREPROCESS = image_preprocess(size=28, mean=0.286, std=0.353, channels=1)


@dataclass(frozen=True)
class Place:
    """Where modules and results go, and how large everything is."""

    zoo: mt.Zoo
    folder: Path
    quick: bool

    def names(self) -> list[str]:
        """Return the names of all modules, in the order of training."""
        sources = QUICK_SOURCES if self.quick else SOURCES
        return [f"{source}-{method}" for source in sources for method in METHODS]

    def tasks(self, source: str) -> tuple[mt.Task, mt.Task]:
        """Return the rows of the source classes, to train and to test on."""
        train, test = load(quick=self.quick)
        return of_classes(train, source), of_classes(test, source)


@cache
def load(*, quick: bool) -> tuple[mt.Task, mt.Task]:
    """Return all rows to train and to test on."""
    if quick:
        return mt.load_task("digits").few_labels(n=600, seed=0).split(0.5, seed=0)
    train, test = (mt.load_task("fashion-mnist", split=split) for split in ("train", "test"))
    return train, test


def of_classes(task: mt.Task, source: str) -> mt.Task:
    """Return a task of its own that knows the classes of one source and no others."""
    rows = np.isin(task.labels, SOURCES[source])
    return mt.Task(task.inputs[rows], task.labels[rows], name=f"{task.name} {source}")


def build(name: str, place: Place) -> None:
    """Train one network on one thread and put its module into the zoo."""
    source, method = name.split("-")
    torch.set_num_threads(1)
    torch.manual_seed(SEED)  # the weights that training starts from
    train, test = place.tasks(source)
    network = networks.compact_convnet(len(train.classes), 1)
    checkpoint = place.folder / "checkpoints" / f"{name}.pt"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {
        "max_seconds": QUICK_SECONDS if place.quick else SECONDS,
        "recipe": RECIPE,
        "preprocess": PREPROCESS,
        "precision": PRECISION,
        "checkpoint": checkpoint,
        "seed": SEED,
    }
    if method == END_TO_END:
        result = train_end_to_end(network, train, **options)
    else:
        result = train_modular(network, train, proxy=method, at=["features"], **options)
    result.save(place.zoo, name=name, test=test)


def build_apart(name: str, zoo: Path) -> bool:
    """Build one module in a process of its own and return whether that went well."""
    command = [sys.executable, str(HERE / "run.py"), "--zoo", str(zoo), "--only", name]
    return subprocess.run(command, check=False).returncode == 0


def build_all(names: list[str], zoo: Path) -> bool:
    """Build what is missing, one module a core; return whether all went well."""
    with ThreadPoolExecutor(N_CORES) as pool:
        results = pool.map(build_apart, names, [zoo] * len(names))
        return all([*results])  # wait for all of them, also after a failure


def table_of(place: Place) -> pd.DataFrame:
    """Return one row a module, read from the cards of the zoo; accuracies in percent."""
    rows = []
    for name in place.names():
        if name not in place.zoo.names:
            continue
        card = place.zoo.card(name)
        training = card["training"]
        source, method = name.split("-")
        n_test = len(place.tasks(source)[1])
        n_correct = round(training["accuracy"] * n_test)
        interval = binomtest(n_correct, n_test).proportion_ci(0.95, method="wilson")
        rows.append(
            {
                "module": name,
                "source": source,
                "classes": " ".join(map(str, SOURCES[source])),
                "method": method,
                "labels": training["labels_needed"],
                "seed": training["seed"],
                "seconds": training["seconds"],
                "accuracy": 100 * training["accuracy"],
                "accuracy_low": 100 * interval.low,
                "accuracy_high": 100 * interval.high,
                "n_test": n_test,
                "parameters": card["n_parameters"],
            }
        )
    return pd.DataFrame(rows)


def figures_of(table: pd.DataFrame, zoo: mt.Zoo) -> dict[str, Any]:
    """Return the figures of the zoo; accuracies in percent."""
    means = table.groupby("method", sort=False)["accuracy"].mean()
    accuracies: dict[Any, float] = table.set_index("module")["accuracy"].to_dict()
    return {
        "n_modules": len(zoo),
        "training_seconds": float(table["seconds"].sum()),
        **{f"mean_accuracy_{method}": float(value) for method, value in means.items()},
        **{f"accuracy_{module}": value for module, value in accuracies.items()},
    }


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw the accuracy on the source task: a row a task, a column a way of training."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    wide = table.pivot(index="source", columns="method", values="accuracy")
    wide = wide.loc[table["source"].unique(), table["method"].unique()]
    ax = new_axes(6.0, 1.2 + 0.4 * len(wide))
    sns.heatmap(wide, annot=True, fmt=".1f", cmap="crest", cbar=False, linewidths=1, ax=ax)
    ax.set(xlabel="trained with", ylabel="source task")
    ax.tick_params(length=0, colors=INK, rotation=0)
    ax.set_title("Test accuracy on the source task (%)", loc="left", color=INK)
    save_figure(ax.get_figure(), path)
    plt.close(ax.get_figure())


def write_report(place: Place, minutes: float | None) -> None:
    """Write figures.json, modules.csv and the picture, and print the table."""
    table = table_of(place)
    figures = {**figures_of(table, place.zoo), "minutes": minutes}
    write_file(place.folder / "figures.json", json_text(figures))
    write_file(place.folder / "modules.csv", table.to_csv(index=False, float_format="%.2f"))
    draw(table, place.folder / "modules.png")
    print(table.drop(columns=["source", "method"]).round(2).to_string(index=False))


def minutes_before(folder: Path) -> float | None:
    """Return how long the zoo took when it was built."""
    path = folder / "figures.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    minutes: float | None = before.get("minutes")
    return minutes


def parse() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="toy size, to see that all runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--zoo", type=Path, metavar="DIR", help="where the modules go")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="build these here and stop")
    return parser.parse_args()


def main() -> None:
    """Build what is missing and write the figures."""
    arguments = parse()
    folder = HERE / "results"
    if arguments.quick:  # a toy run never touches the real results
        folder = arguments.json.parent if arguments.json else HERE / "results-quick"
    place = Place(mt.Zoo(arguments.zoo or folder / "zoo"), folder, quick=arguments.quick)
    missing = [name for name in place.names() if name not in place.zoo.names]
    all_well, started = True, time.perf_counter()
    if arguments.quick or arguments.only:
        for name in missing:
            if name in (arguments.only or missing):
                build(name, place)
        if arguments.only:
            return
    else:
        all_well = build_all(missing, place.zoo.folder)
    minutes: float | None = (time.perf_counter() - started) / 60
    if len(missing) < len(place.names()) or not all_well:
        minutes = minutes_before(folder) if not missing else None  # parts have no whole
    write_report(place, minutes)
    if arguments.json and arguments.json.resolve() != (folder / "figures.json").resolve():
        shutil.copyfile(folder / "figures.json", arguments.json)
    sys.exit(0 if all_well else "some modules failed; the same command builds only these.")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt as stop:
        sys.exit(str(stop) or "stopped; the same command goes on.")
