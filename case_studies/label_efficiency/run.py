"""How many labels does a frozen module save? Six modules on Fashion-MNIST and on digits.

    python case_studies/label_efficiency/run.py [--quick] [--json FILE]

Finished cells of the study are kept, and the same command resumes from them. All of it takes about
ten minutes on one core, most of it for the features of EfficientNet-Lite0.
"""

import argparse
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import modtools as mt
from modtools._writing import json_text, write_file
from modtools.modules import efficientnet_lite, image_preprocess, pixels
from modtools.studies import LabelEfficiency

HERE = Path(__file__).parent
TRAINING = HERE.parent / "modular_vs_end_to_end"
# Modules of the training study: one that saw pairs only, one that backpropagation trained.
TRAINED = ("modular_supcon_seed0", "end_to_end_seed0")
# The same preprocessing as in their training; images of another size are resized.
PREPROCESS = image_preprocess(size=28, mean=0.286, std=0.353, channels=1)
N_POOL, N_TEST = 2000, 1000  # of Fashion-MNIST; digits has 1797 in all
MOST_LABELS, REPEATS = 1000, 20
QUICK_POOL, QUICK_LABELS, QUICK_REPEATS = 300, 60, 3
TARGETS = {"fashion-mnist": 0.80, "digits": 0.90}
SHOWN_LABELS = (10, 30, 100, 300, 1000)
CENSORED = {"reached": "", "more_than": "above", "below_first": "below"}
BEGIN, END = "<!-- labels:begin -->", "<!-- labels:end -->"


@dataclass(frozen=True)
class Place:
    """Where results go and how large everything is."""

    folder: Path
    quick: bool

    def tasks(self) -> tuple[str, ...]:
        """Return the names of the tasks; only the small one at toy size."""
        return ("digits",) if self.quick else tuple(TARGETS)

    def examples(self, name: str) -> tuple[mt.Task, mt.Task]:
        """Return the examples to label and the examples to test on."""
        if name == "digits":
            train, test = mt.load_task(name).split(test_fraction=1 / 3, seed=0)
            return (train.few_labels(n=QUICK_POOL, seed=0), test) if self.quick else (train, test)
        train, test = (mt.load_task(name, split=split) for split in ("train", "test"))
        train, test = train.few_labels(n=N_POOL, seed=0), test.few_labels(n=N_TEST, seed=0)
        return train, without(test, train)

    def modules(self) -> list[mt.PretrainedModule]:
        """Return the modules to compare, or stop and say how to make those that are missing."""
        if self.quick:
            return [pixels(), pixels(name="pixels again")]
        zoo = mt.Zoo(TRAINING / "results" / "zoo")
        missing = [name for name in TRAINED if name not in zoo.names]
        if missing:
            sys.exit(
                f"{zoo.folder} lacks {', '.join(missing)}. This trains them, in ten minutes each "
                f"on two cores:\n  python {TRAINING / 'run.py'} --only {' '.join(missing)}"
            )
        return [efficientnet_lite(0), *(resizing(zoo.load(name)) for name in TRAINED), pixels()]


def without(test: mt.Task, train: mt.Task) -> mt.Task:
    """Return the test examples that are not training examples too."""
    return test.subset(np.setdiff1d(np.arange(len(test)), test.overlap(train)))


def resizing(module: mt.PretrainedModule) -> mt.PretrainedModule:
    """Return the same network for images of any size."""
    return mt.PretrainedModule(
        module.network,
        name=module.name,
        layers="features",
        preprocess=PREPROCESS,
        build=module.build,
    )


def study(name: str, place: Place) -> LabelEfficiency:
    """Return the label-efficiency study of a task; cells that are finished are read."""
    train, test = place.examples(name)
    most = QUICK_LABELS if place.quick else min(MOST_LABELS, len(train))
    return mt.label_efficiency(
        place.modules(),
        train,
        test,
        n_labels=label_counts(len(train.classes), most),
        repeats=QUICK_REPEATS if place.quick else REPEATS,
        folder=place.folder / "checkpoints" / name,
        batch_size=128,
        seed=0,
    )


def label_counts(least: int, most: int) -> list[int]:
    """Return numbers of labels, log-spaced, with those that the table shows."""
    spaced = np.unique(np.rint(np.geomspace(least, most, 24)).astype(int)).tolist()
    return sorted({*spaced, *(n for n in SHOWN_LABELS if least <= n <= most)})


def table_of(name: str, found: LabelEfficiency) -> pd.DataFrame:
    """Return one row per module: accuracy in percent at some numbers of labels, labels to reach."""
    curves = found.frame()
    target = TARGETS[name]
    reached = found.labels_to_reach(target).set_index("module")
    rows = []
    for module, curve in curves.groupby("module", sort=False):
        at = curve.set_index("n_labels")
        shown = [n for n in SHOWN_LABELS if n in at.index]
        rows.append(
            {
                "task": name,
                "module": module,
                **{f"{n} labels": 100 * at.loc[n, "value"] for n in shown},
                "target": 100 * target,
                "labels_to_reach": reached.loc[module, "n_labels"],
                "low": reached.loc[module, "n_labels_low"],
                "high": reached.loc[module, "n_labels_high"],
                "censored": CENSORED[reached.loc[module, "status"]],
            }
        )
    return pd.DataFrame(rows)


def figures_of(table: pd.DataFrame) -> dict[str, Any]:
    """Return the figures by task and module; accuracies in percent."""
    figures: dict[str, Any] = {}
    for row in table.to_dict("records"):
        name = f"{row['task']}_{row['module']}"
        keys = [key for key in row if key not in ("task", "module")]
        figures |= {f"{name}_{str(key).replace(' ', '_')}": plain(row[key]) for key in keys}
    return figures


def plain(value: Any) -> Any:
    """Return a number that JSON has, or nothing."""
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def shown_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table for people, as text."""
    text = table[["task", "module"]].copy()
    for column in [name for name in table if str(name).endswith(" labels")]:
        text[column] = ["" if np.isnan(value) else f"{value:.1f}" for value in table[column]]
    text["labels to reach"] = [labels(row) for row in table.to_dict("records")]
    return text


def labels(row: Any) -> str:
    """Return how many labels a target takes, with its interval, or the bound that is known."""
    target = f"{row['target']:.0f} %: "
    if row["censored"] == "above":
        return f"{target}more than {row['labels_to_reach']:.0f}"
    if row["censored"] == "below":
        return f"{target}at most {row['labels_to_reach']:.0f}"
    return f"{target}{row['labels_to_reach']:.0f} [{row['low']:.0f}, {row['high']:.0f}]"


def with_table(text: str, table: pd.DataFrame) -> str:
    """Return a page with the table between its marks."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    body = "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{body}\n{END}{rest.split(END)[1]}"


def write_report(place: Place, studies: dict[str, LabelEfficiency]) -> str:
    """Write figures.json, the curves, the table and the pictures; return the table as text."""
    table = pd.concat([table_of(name, found) for name, found in studies.items()])
    curves = pd.concat([found.frame().assign(task=name) for name, found in studies.items()])
    write_file(place.folder / "figures.json", json_text(figures_of(table)))
    write_file(place.folder / "curves.csv", curves.to_csv(index=False, float_format="%.4f"))
    for name, found in studies.items():
        found.plot(target=TARGETS[name]).save(place.folder / f"{name}.png")
    plt.close("all")
    shown = shown_of(table)
    readme = place.folder.parent / "README.md"
    if place.folder.name == "results" and readme.exists():
        write_file(readme, with_table(readme.read_text(encoding="utf-8"), shown))
    return shown.to_string(index=False)


def main() -> None:
    """Parse the command line, run what is missing, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="toy size, to see that all runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    arguments = parser.parse_args()
    folder = HERE / "results"
    if arguments.quick:  # a toy run never touches the real results
        folder = arguments.json.parent if arguments.json else HERE / "results-quick"
    torch.set_num_threads(1)
    place = Place(folder, quick=arguments.quick)
    print(write_report(place, {name: study(name, place) for name in place.tasks()}))
    if arguments.json and arguments.json.resolve() != (folder / "figures.json").resolve():
        shutil.copyfile(folder / "figures.json", arguments.json)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt as stop:
        sys.exit(str(stop) or "stopped; the same command resumes.")
