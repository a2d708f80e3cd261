"""Choose among 33 modules for eight target tasks, with 5, 20 and 100 labels per class.

    python case_studies/reuse_across_datasets/run.py [--quick] [--json FILE]

Truth, scores, combinations and races are kept cell by cell, and the same command goes on from them.
The first run trains the modules of case_studies/zoo where they are missing and extracts all
features.
"""

import argparse
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import report
from candidates import IMAGE_SETS, extract_all
from races import N_ORDERS, run_races
from scores import scored
from several import COUNTS as COMBINED_COUNTS, combined
from targets import TARGETS, Target
from truth import Cell, achieved, cells_of

from modtools._writing import json_text, write_file

HERE = Path(__file__).parent
ZOO = HERE.parent / "zoo" / "results" / "zoo"
COUNTS, QUICK_COUNTS = (5, 20, 100), (5, 20)
N_REPEATS, QUICK_REPEATS = 5, 1
QUICK_TARGETS = ("digits", "odd-digits")
RACED = ("fashion", "upper-body", "digits")  # 4,000 rows, 2,000 and 1,198
N_CORES = 2
BEGIN, END = "<!-- table:begin -->", "<!-- table:end -->"


@dataclass(frozen=True)
class Place:
    """Where results go and how large everything is."""

    folder: Path
    quick: bool

    @property
    def targets(self) -> tuple[Target, ...]:
        """The target tasks."""
        return tuple(t for t in TARGETS if not self.quick or t.name in QUICK_TARGETS)

    @property
    def cells(self) -> list[Cell]:
        """Every task with every label count and random subset of labels."""
        counts = QUICK_COUNTS if self.quick else COUNTS
        repeats = range(QUICK_REPEATS if self.quick else N_REPEATS)
        return [
            Cell(t, per_class, repeat)
            for repeat in repeats
            for t in self.targets
            for per_class in counts
        ]

    @property
    def checkpoints(self) -> Path:
        """Folder of what is kept."""
        return self.folder / "checkpoints"


def measure(place: Place) -> dict[str, Any]:
    """Return every table of the study; what is missing is measured."""
    images = IMAGE_SETS[:1] if place.quick else IMAGE_SETS
    kept = place.checkpoints
    features, facts = extract_all(ZOO, kept / "features", images, quick=place.quick)
    tables: dict[str, Any] = {"facts": facts}
    jobs = {"n_jobs": 1 if place.quick else N_CORES}
    tables["truth"] = cells_of(place.cells, features, achieved, kept / "truth", **jobs)
    tables["scores"] = cells_of(place.cells, features, scored, kept / "scores", **jobs)
    several = [cell for cell in place.cells if cell.per_class in COMBINED_COUNTS]
    tables["several"] = cells_of(several, features, combined, kept / "several", **jobs)
    raced, n_orders = (QUICK_TARGETS[-1:], 1) if place.quick else (RACED, N_ORDERS)
    targets = [next(t for t in place.targets if t.name == name) for name in raced]
    tables["races"] = {
        t.name: run_races(features[t.images], t, kept / "races", n_orders=n_orders, **jobs)
        for t in targets
    }
    return tables


def write_results(place: Place, tables: dict[str, Any]) -> None:
    """Write figures, tables and pictures, and print the table."""
    truth, scores = (report.without_control(tables[name]) for name in ("truth", "scores"))
    agreement = report.agree(scores, truth, tables["facts"])
    predicted = report.predicted_and_achieved(scores, truth)
    everything = report.predicted_and_achieved(tables["scores"], tables["truth"])
    figures = {
        **report.agreement_figures(agreement),
        **report.prediction_figures(predicted),
        **_of_control(everything),
        **report.several_figures(report.without_control(tables["several"]), predicted),
        **report.race_figures(tables["races"]),
        "n_modules": len(tables["facts"]),
        "n_tasks": int(truth["task"].nunique()),
        "study_minutes": _minutes(tables),
    }
    write_file(place.folder / "figures.json", json_text(figures))
    table = report.score_table(agreement, scores)
    write_file(place.folder / "scores.csv", table.to_csv(index=False, float_format="%.3f"))
    means = truth.groupby(["task", "per_class", "module"], as_index=False)["accuracy"].mean()
    write_file(place.folder / "truth.csv", means.to_csv(index=False, float_format="%.4f"))
    report.draw(agreement, predicted, place.folder)
    text = _markdown(table)
    print(text)
    if not place.quick:
        _into_readme(text)


def _of_control(table: pd.DataFrame) -> dict[str, float]:
    """Return how often modules are told apart on shuffled labels, and how the level is off."""
    control = table[table["task"].isin(report.CONTROLS)]
    if not len(control):
        return {}
    others = control[~control["picked"]]
    return {
        "control_told_apart": float(others["distinguishable"].mean()),
        "control_mae": float(control["error"].abs().mean()),
        "control_coverage": float(control["covered"].mean()),
    }


def _minutes(tables: dict[str, Any]) -> float:
    """Return the minutes that the study takes on so many cores: the processor time of every cell.

    A cell is timed where it is measured, so a study that went on from kept cells counts in full.
    """
    seconds = sum(float(races["seconds"].sum()) for races, _ in tables["races"].values())
    for name in ("truth", "scores", "several"):
        cells = tables[name].drop_duplicates(report.KEYS)
        alike = cells.groupby(["task", "per_class"])["cell_seconds"]
        seconds += float(cells["cell_seconds"].fillna(alike.transform("mean")).sum())
    return seconds / N_CORES / 60


def _markdown(table: pd.DataFrame) -> str:
    counts = [name.split("_")[-1] for name in table.columns if name.startswith("regret_")]
    header = ["score", *(f"tau, {b}" for b in counts), *(f"regret, {b}" for b in counts), "s"]
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for row in table.to_dict("records"):
        name = f"*{row['score']}*" if row["is_baseline"] else row["score"]
        cells = [f"{row[f'weighted_tau_{b}']:.2f}" for b in counts]
        cells += [f"{row[f'regret_{b}']:.1f}" for b in counts]
        seconds = "" if pd.isna(row["seconds"]) else f"{row['seconds']:.2f}"
        lines.append("| " + " | ".join([name, *cells, seconds]) + " |")
    return "\n".join(lines)


def _into_readme(text: str) -> None:
    readme = HERE / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    write_file(readme, f"{before}{BEGIN}\n{text}\n{END}{after}")


def parse() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="toy size, to see that all runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    return parser.parse_args()


def main() -> None:
    """Measure what is missing and write the report."""
    arguments = parse()
    folder = HERE / "results"
    if arguments.quick:  # a toy run never touches the real results
        folder = arguments.json.parent if arguments.json else HERE / "results-quick"
    place = Place(folder, quick=arguments.quick)
    write_results(place, measure(place))
    if arguments.json and arguments.json.resolve() != (folder / "figures.json").resolve():
        shutil.copyfile(folder / "figures.json", arguments.json)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on.")
