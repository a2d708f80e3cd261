"""What published scores are worth on their own tables, beside label-free baselines.

    python case_studies/published_leaderboards/run.py [--quick] [--json FILE]

Reads the printed tables in data/ and takes seconds.
"""

import argparse
import json
import shutil
import time
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import modtools as mt
from modtools._writing import json_text, write_file
from modtools.plotting._display import FAINT, INK, clear_frame, new_axes, save_figure
from modtools.studies import Agreement
from modtools.studies._rank_agreement import MEASURES, rank_agreement

HERE = Path(__file__).parent
DATA = HERE / "data"
SCORES = ("hscore", "leep", "logme", "nce")
# How often the printed columns are drawn again within their last digit.
REDRAWN, QUICK_REDRAWN = 250, 20
PRINTED_DIGITS = 3
SCORE_COLOR = "#0173b2"
STYLES = (("#0173b2", "s"), ("#d55e00", "D"), ("#029e73", "^"))  # of tasks, in turn


@dataclass(frozen=True)
class Leaderboard:
    """A printed table: accuracies, the scores printed beside them, and what is known of modules."""

    name: str
    achieved: pd.DataFrame
    scores: pd.DataFrame | None
    baselines: pd.DataFrame
    left_out: str

    def agreement(self) -> Agreement:
        """Return how well each score and baseline ranks the modules on it."""
        scores: Any = {} if self.scores is None else self.scores
        return mt.score_agreement(scores, self.achieved, baselines=self.baselines, unit="percent")


def known_modules() -> pd.DataFrame:
    """Return the number of parameters and the ImageNet accuracy of each architecture."""
    table = pd.read_csv(DATA / "modules.csv")
    names = {"imagenet_accuracy_percent": "ImageNet accuracy"}
    return table.rename(columns=names)


def tllib_table() -> pd.DataFrame:
    """Return accuracies and scores of ten models on eight tasks, models named as elsewhere."""
    table = pd.read_csv(DATA / "tllib_model_selection.csv")
    modules = known_modules().dropna(subset="tllib_name").set_index("tllib_name")["module"]
    return table.assign(module=table["module"].map(modules))


def tllib() -> Leaderboard:
    """Return the table of the Transfer-Learning-Library, without the column that is a copy."""
    table = tllib_table()
    scores = table[["task", "module", *SCORES]].copy()
    copied = (table["nce"] == table["logme"]).groupby(table["task"]).transform("all")
    scores.loc[copied, "nce"] = np.nan
    tasks = ", ".join(table.loc[copied, "task"].unique())
    baselines = known_modules()[["module", "parameters", "ImageNet accuracy"]]
    return Leaderboard(
        "tllib", accuracies(table), scores, baselines, f"nce on {tasks}: a copy of logme"
    )


def sfda() -> Leaderboard:
    """Return the fine-tuned accuracies of eleven models on eleven tasks; no scores are printed."""
    table = pd.read_csv(DATA / "sfda_supervised_finetuned.csv")
    baselines = known_modules()[["module", "parameters", "ImageNet accuracy"]]
    return Leaderboard("sfda", accuracies(table), None, baselines, "")


def accuracies(table: pd.DataFrame) -> pd.DataFrame:
    """Return task, module and accuracy in percent."""
    named = table.rename(columns={"finetuned_accuracy_percent": "accuracy"})
    return named[["task", "module", "accuracy"]]


def parc(name: str) -> Leaderboard:
    """Return accuracies by architecture and source data set, on target data sets."""
    table = pd.read_csv(DATA / f"{name}.csv")
    table["module"] = table["Architecture"] + " on " + table["Source Dataset"]
    failed = table["Oracle"] < 0
    achieved = table[~failed].rename(columns={"Target Dataset": "task", "Oracle": "accuracy"})
    sizes = known_modules().set_index("module")["parameters"]
    baselines = table[["module", "Architecture"]].drop_duplicates()
    baselines = baselines.assign(parameters=baselines["Architecture"].map(sizes))
    left_out = f"{failed.sum()} accuracies of -1" if failed.any() else ""
    columns = ["task", "module", "accuracy"]
    return Leaderboard(name, achieved[columns], None, baselines[["module", "parameters"]], left_out)


def printed_agreement() -> pd.DataFrame:
    """Return one row per printed correlation: task, measure, score and printed."""
    table = pd.read_csv(DATA / "tllib_printed_agreement.csv")
    return table.melt(["task", "measure"], var_name="score", value_name="printed")


def checked(task: str, columns: pd.DataFrame, n_redrawn: int) -> pd.DataFrame:
    """Return each correlation printed for a task beside ours, and whether it follows from columns.

    Columns are printed with few digits. A printed value follows if it lies in the range of values
    that columns give which would be printed the same.
    """
    printed = printed_agreement()
    slack = 0.5 * 10.0**-PRINTED_DIGITS + 1e-9
    rng = np.random.default_rng(0)
    rows = []
    for score in SCORES:
        found = redrawn(columns, score, n_redrawn, rng)
        asked = printed[(printed["task"] == task) & (printed["score"] == score)]
        for row in asked.to_dict("records"):
            values = found[row["measure"]]
            low, high = values.min(), values.max()
            follows = bool(low - slack <= row["printed"] <= high + slack)
            rows.append({**row, "ours": values[0], "low": low, "high": high, "follows": follows})
    return pd.DataFrame(rows)


def printed_rows(n_redrawn: int) -> pd.DataFrame:
    """Check every printed correlation against the columns of its own task."""
    parts = tllib_table().groupby("task", sort=False)
    return pd.concat([checked(str(task), part, n_redrawn) for task, part in parts])


def crossed_rows(printed: pd.DataFrame, n_redrawn: int) -> pd.DataFrame:
    """Count for tasks with fewer than half explained what the accuracies of other tasks explain."""
    accuracy = "finetuned_accuracy_percent"
    table = tllib_table().set_index("module")
    share = printed.groupby("task", sort=False)["follows"].mean()
    rows = []
    for task in share[share < 0.5].index:
        own = table[table["task"] == task]
        for other in share.index:
            mixed = own.assign(**{accuracy: table.loc[table["task"] == other, accuracy]})
            found = checked(task, mixed, n_redrawn)
            counts = {"follows": int(found["follows"].sum()), "printed": len(found)}
            rows.append({"task": task, "accuracies_of": other, **counts})
    return pd.DataFrame(rows)


def redrawn(part: pd.DataFrame, score: str, times: int, rng: Any) -> dict[str, Any]:
    """Return every measure as printed, then for columns drawn again within their last digit."""
    columns = [part["finetuned_accuracy_percent"], part[score]]
    once = np.ones((len(part), 1), dtype=np.intp)
    found = []
    for time_drawn in range(times + 1):
        values = [
            column.to_numpy()
            + (time_drawn > 0) * rng.uniform(-0.5, 0.5, len(column)) * unit(column)
            for column in columns
        ]
        found.append(rank_agreement(values[1], values[0] / 100, once)[:, 0])
    return dict(zip(MEASURES, np.array(found).T, strict=True))


def unit(column: pd.Series) -> float:
    """Return the last digit that a column is printed with, as a number."""
    return float(10.0 ** -max(len(str(value).partition(".")[2]) for value in column))


def figures_of(
    boards: dict[str, Agreement],
    leaderboards: list[Leaderboard],
    printed: pd.DataFrame,
    crossed: pd.DataFrame,
) -> dict[str, Any]:
    """Return the figures of the study."""
    figures: dict[str, Any] = {}
    for measure, part in printed.groupby("measure"):
        figures[f"printed_{measure}_follows"] = int(part["follows"].sum())
        figures[f"printed_{measure}"] = len(part)
    for row in crossed.to_dict("records"):
        figures[f"printed_{row['task']}_by_accuracies_of_{row['accuracies_of']}"] = row["follows"]
    for board in leaderboards:
        found = boards[board.name]
        for row in found.means().to_dict("records"):
            name = f"{board.name}_{str(row['score']).replace(' ', '_')}"
            if row["measure"] in ("weighted_tau", "regret"):
                for end in ("", "_low", "_high"):
                    figures[f"{name}_{row['measure']}{end}"] = row[f"value{end}"]
        for row in found.concordance().to_dict("records"):
            for end in ("", "_low", "_high"):
                figures[f"{board.name}_concordance{end}"] = row[f"concordance{end}"]
            figures[f"{board.name}_concordance_modules"] = row["n_modules"]
        figures[f"{board.name}_left_out"] = board.left_out
    return figures


def draw(means: pd.DataFrame, printed: pd.DataFrame, path: Path) -> None:
    """Draw printed correlations against ours, beside how well every score and baseline ranks."""
    means = means[means["measure"] == "weighted_tau"].reset_index(drop=True)
    axes = new_axes(12.0, 1.4 + 0.3 * len(means), ncols=2, gridspec_kw={"width_ratios": [1, 1.1]})
    draw_printed(axes[0], printed[printed["measure"] == "weighted_tau"])
    draw_rankers(axes[1], means)
    save_figure(axes[0].get_figure(), path)
    plt.close(axes[0].get_figure())


def draw_printed(ax: Any, printed: pd.DataFrame) -> None:
    """Draw every printed weighted tau against the one that its columns give."""
    clear_frame(ax, grid="both")
    ax.plot([-0.4, 1.0], [-0.4, 1.0], "--", color=FAINT, linewidth=1.0)
    good = printed[printed["follows"]]
    ax.plot(good["ours"], good["printed"], "o", color=FAINT, label="follows from its columns")
    bad = printed[~printed["follows"]].groupby("task")
    for (task, rows), (color, marker) in zip(bad, cycle(STYLES), strict=False):
        ax.plot(rows["ours"], rows["printed"], marker, color=color, markersize=8, label=task)
        for row in rows.to_dict("records"):
            where = (row["ours"], row["printed"])
            place: Any = {"xytext": (7, -4), "textcoords": "offset points", "fontsize": "small"}
            ax.annotate(row["score"], where, color=INK, **place)
    ax.set_xlabel("weighted tau of the printed columns", color=INK)
    ax.set_ylabel("weighted tau as printed", color=INK)
    ax.legend(frameon=False, loc="upper left", fontsize="small", labelcolor=INK)


def draw_rankers(ax: Any, means: pd.DataFrame) -> None:
    """Draw every mean weighted tau with its interval, one block per leaderboard."""
    clear_frame(ax, grid="x")
    boards = list(dict.fromkeys(means["leaderboard"]))
    rows = means.to_dict("records")
    places = [place + 0.7 * boards.index(row["leaderboard"]) for place, row in enumerate(rows)]
    for place, row in zip(places, rows, strict=True):
        span = [row["value_low"], row["value_high"]]
        color = FAINT if row["is_baseline"] else SCORE_COLOR
        ax.plot(span, [place, place], color=color, linewidth=2.0)
        filled = "white" if row["is_baseline"] else color
        ax.plot(row["value"], place, "o", color=color, markerfacecolor=filled)
    ax.set_yticks(places, labels=means["leaderboard"] + ": " + means["score"])
    ax.set_ylim(places[-1] + 0.6, -0.6)
    ax.axvline(0.0, color=INK, linewidth=0.8)
    ax.set_xlabel("weighted tau with the printed accuracy, 95 % interval", color=INK)
    ax.set_title("open rings: label-free baselines", loc="left", fontsize="small")


def main() -> None:
    """Read the tables, measure, and write figures, tables and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="toy size, to see that all runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    arguments = parser.parse_args()
    folder = HERE / "results"
    if arguments.quick:  # a toy run never touches the real results
        folder = arguments.json.parent if arguments.json else HERE / "results-quick"
    started = time.perf_counter()
    n_redrawn = QUICK_REDRAWN if arguments.quick else REDRAWN
    printed = printed_rows(n_redrawn)
    crossed = crossed_rows(printed, n_redrawn // 2)
    leaderboards = [tllib(), sfda(), parc("parc_controlled"), parc("parc_all")]
    boards = {board.name: board.agreement() for board in leaderboards}
    means = pd.concat([found.means().assign(leaderboard=name) for name, found in boards.items()])
    differences = boards["tllib"].differences()
    sizes: Any = known_modules().set_index("module")["parameters"].to_dict()
    fidelity = boards["tllib"].fidelity(sizes)
    figures = figures_of(boards, leaderboards, printed, crossed)
    figures["seconds"] = time.perf_counter() - started
    for name, table in (
        ("printed", printed),
        ("crossed", crossed),
        ("means", means),
        ("differences", differences),
        ("fidelity", fidelity),
    ):
        write_file(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.4f"))
    draw(means, printed, folder / "leaderboards.png")
    write_file(folder / "figures.json", json_text(figures))
    if arguments.json and arguments.json.resolve() != (folder / "figures.json").resolve():
        shutil.copyfile(folder / "figures.json", arguments.json)
    for found in boards.values():
        print(found, end="\n\n")
    print(json.dumps({name: figures[name] for name in figures if "printed" in name}, indent=2))


if __name__ == "__main__":
    main()
