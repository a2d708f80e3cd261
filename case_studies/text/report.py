"""From what each layer achieved to figures, a table and the picture."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import weightedtau

import modtools as mt
from modtools._writing import json_text, write_file
from modtools.plotting._display import BEST, FAINT, INK, PALE, clear_frame, new_axes, save_figure

CONTROL, LAST = "words", "layer 6"
BEGIN, END = "<!-- layers:begin -->", "<!-- layers:end -->"
CELL = ["task", "per_class", "repeat"]
MIDDLE = "#4f9bcb"  # between the two blues of the displays: budgets from few labels to many
Figures = dict[str, Any]
Tasks = dict[str, tuple[mt.Task, mt.Task]]


def write_report(folder: Path, cells: pd.DataFrame, tasks: Tasks, *, minutes: float) -> str:
    """Write figures.json, cells.csv, the table and the picture; return the table as text."""
    write_file(folder / "cells.csv", cells.to_csv(index=False, float_format="%.5f"))
    table = table_of(cells)
    figures = {**figures_of(cells, tasks), "minutes": minutes}
    write_file(folder / "figures.json", json_text(figures))
    readme = folder.parent / "README.md"
    if folder.name == "results" and readme.exists():
        write_file(readme, with_table(readme.read_text(encoding="utf-8"), table))
    draw(cells, tasks, folder / "layers.png")
    return table.to_string(index=False).replace("**", "  ")


def of_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """Return what pick, last layer and best layer gave with each random subset, in percent."""
    rows = []
    for key, cell in cells.groupby(CELL, sort=False):
        accuracy = 100 * cell.set_index("module")["accuracy"]
        rows.append(
            {
                **dict(zip(CELL, key, strict=True)),
                "picked": accuracy[cell.loc[cell["picked"], "module"].item()],
                "last": accuracy[LAST],
                "best": accuracy.max(),
                # Where labels tell nothing all predictions are alike, and order nothing.
                "tau": np.nan_to_num(weightedtau(cell["predicted"], cell["accuracy"]).statistic),
            }
        )
    table = pd.DataFrame(rows)
    table["regret"] = table["best"] - table["picked"]
    table["last_regret"] = table["best"] - table["last"]
    return table


def figures_of(cells: pd.DataFrame, tasks: Tasks) -> Figures:
    """Return the figures; accuracies in percent, differences in points."""
    by_cell = of_cells(cells)
    names = {"regret": "regret", "last_regret": "last_layer_regret", "tau": "tau"}
    figures: Figures = {"scipy": version("scipy"), "draws": int(cells["repeat"].max()) + 1}
    error = 100 * (cells["predicted"] - cells["accuracy"]).abs()
    is_inside = cells["accuracy"].between(cells["predicted_low"], cells["predicted_high"])
    for per_class, rows in cells.groupby("per_class").groups.items():
        figures[f"mae_{per_class}"] = error[rows].mean()
        figures[f"coverage_{per_class}"] = is_inside[rows].mean()
    for per_class, group in by_cell.groupby("per_class"):
        figures |= {f"{name}_{per_class}": group[key].mean() for key, name in names.items()}
    for (task, per_class), group in by_cell.groupby(["task", "per_class"], sort=False):
        where = f"{task}_{per_class}".replace(" ", "_")
        figures |= {f"{name}_{where}": group[key].mean() for key, name in names.items()}
    means = 100 * cells.groupby(["task", "per_class", "module"], sort=False)["accuracy"].mean()
    for (task, per_class, module), value in means.items():
        figures[f"accuracy_{task}_{per_class}_{module}".replace(" ", "_")] = value
    for name, (train, test) in tasks.items():
        counted = {"classes": len(train.classes), "train_rows": len(train), "test_rows": len(test)}
        figures |= {f"{name}_{what}".replace(" ", "_"): n for what, n in counted.items()}
    return figures


def table_of(cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row a task and number of labels, as text: accuracies, the pick and its regret."""
    by_cell = of_cells(cells).groupby(["task", "per_class"], sort=False)[["picked", "regret"]]
    means = 100 * cells.pivot_table(
        index=["task", "per_class"], columns="module", values="accuracy", sort=False
    )
    rows = []
    for key, accuracies in means.iterrows():
        best = accuracies.max()
        shown = [f"**{v:.1f}**" if v == best else f"{v:.1f}" for v in accuracies]
        picked = by_cell.mean().loc[key]
        rows.append(
            {
                "task": key[0],
                "labels per class": key[1],
                **dict(zip(accuracies.index, shown, strict=True)),
                "picked": f"{picked['picked']:.1f}",
                "regret": f"{picked['regret']:.1f}",
            }
        )
    return pd.DataFrame(rows)


def with_table(text: str, table: pd.DataFrame) -> str:
    """Return a page with the table between its marks."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    body = "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{body}\n{END}{rest.split(END)[1]}"


def draw(cells: pd.DataFrame, tasks: Tasks, path: Path) -> None:
    """Draw accuracy against depth: a panel a task, a line a number of labels, picks as rings."""
    import matplotlib.pyplot as plt

    panels = np.atleast_1d(new_axes(1.2 + 3.1 * len(tasks), 3.6, ncols=len(tasks), sharex=True))
    for ax, (name, (train, _)) in zip(panels, tasks.items(), strict=True):
        draw_task(ax, cells[cells["task"] == name])
        ax.axhline(100 / len(train.classes), color=FAINT, linestyle=":", zorder=0)
        ax.set_title(f"{name} ({len(train.classes)} classes)", loc="left", color=INK)
    panels[0].set_ylabel("test accuracy (%)", color=INK)
    save_figure(panels[0].get_figure(), path)
    plt.close(panels[0].get_figure())


def draw_task(ax: Any, cells: pd.DataFrame) -> None:
    """Draw one panel; the area of a ring is how often a layer was picked."""
    modules = list(cells["module"].unique())
    for color, (per_class, group) in zip(
        (PALE, MIDDLE, BEST), cells.groupby("per_class"), strict=False
    ):
        mean = 100 * group.groupby("module")["accuracy"].mean()[modules]
        share = group.groupby("module")["picked"].mean()[modules]
        ax.plot(range(1, len(modules)), mean[1:], color=color, marker="o", markersize=4)
        ax.scatter([0], mean[:1], color=color, marker="s", s=18)
        ax.scatter(
            range(len(modules)), mean, s=260 * share, facecolor="none", edgecolor=INK, linewidth=0.9
        )
        ax.annotate(
            f"{per_class}",
            (len(modules) - 1, mean.iloc[-1]),
            xytext=(12, 0),
            textcoords="offset points",
            va="center",
            color=INK,
            fontsize="small",
        )
    clear_frame(ax, grid="y")
    ax.set_xticks(range(len(modules)), [short(name) for name in modules], fontsize="small")


def short(module: str) -> str:
    """Return what the axis calls a module."""
    return {"words": "words", "embeddings": "emb."}.get(module, module.removeprefix("layer "))
