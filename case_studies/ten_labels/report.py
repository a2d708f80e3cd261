"""From what was measured to figures, tables and the picture."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from modtools._writing import json_text, write_file
from modtools.plotting._display import BEST, FAINT, INK, OTHERS, clear_frame, new_axes, save_figure

Record = dict[str, Any]
BEGIN, END = "<!-- {}:begin -->", "<!-- {}:end -->"
KINDS = {
    "chosen": "10 chosen labels, clusters",
    "refined": "10 random labels, clusters",
    "random": "10 random labels",
}


def write_report(folder: Path, module: Record, baseline: dict[int, Record], n_shared: int) -> str:
    """Write figures.json, two tables and the picture; return the tables as text."""
    figures = {**figures_of(module, baseline), "test_rows_among_training_rows": n_shared}
    write_file(folder / "figures.json", json_text(figures))
    tables = {"module": table_of_module(module), "scratch": table_of_scratch(baseline)}
    readme = folder.parent / "README.md"
    for name, table in tables.items():
        write_file(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.3f"))
        if folder.name == "results" and readme.exists():
            text = with_table(readme.read_text(encoding="utf-8"), name, shown(table))
            write_file(readme, text)
    draw(module, baseline, folder / "ten_labels.png")
    return "\n\n".join(shown(table).to_string(index=False) for table in tables.values())


def figures_of(module: Record, baseline: dict[int, Record]) -> Record:
    """Return the figures of the module and of the baseline; accuracies in percent."""
    figures: Record = {
        "module": module["module"],
        "full_label_accuracy": module["full"],
        "full_label_output": module["outputs"]["all"],
        "ten_random_output": module["outputs"]["few"],
        "pool_output": module["outputs"]["pool"],
    }
    for kind in KINDS:
        values = accuracies(module, kind)
        figures |= spread(f"ten_{kind}", values)
        figures[f"ten_{kind}_minus_full"] = float(np.mean(values)) - module["full"]
    figures["ten_chosen_classes_named_least"] = min(len(r["named"]) for r in module["chosen"])
    figures |= {f"half_{key}": value for key, value in module["half"].items()}
    for n_labels, record in baseline.items():
        figures |= spread(f"end_to_end_{n_labels}", record["accuracies"])
        figures[f"end_to_end_{n_labels}"] = figures.pop(f"end_to_end_{n_labels}_mean")
    return figures


def accuracies(record: Record, kind: str) -> list[float]:
    """Return the accuracy of each random subset of labels, or seed."""
    return [one["accuracy"] if isinstance(one, dict) else one for one in record[kind]]


def spread(name: str, values: list[float]) -> Record:
    """Return mean, standard deviation, median, worst and number of values over random subsets."""
    return {
        f"{name}_mean": float(np.mean(values)),
        f"{name}_sd": float(np.std(values, ddof=1)),
        f"{name}_median": float(np.median(values)),
        f"{name}_worst": min(values),
        f"{name}_draws": len(values),
    }


def table_of_module(module: Record) -> pd.DataFrame:
    """Return one row a way of labelling; accuracies in percent."""
    rows = [{"labels": "all labels", "output module": module["outputs"]["all"]}]
    rows[0] |= summary([module["full"]])
    for kind, output in (("random", "few"), ("refined", "pool"), ("chosen", "pool")):
        named = {"labels": KINDS[kind], "output module": module["outputs"][output]}
        rows.append({**named, **summary(accuracies(module, kind))})
    return pd.DataFrame(rows)


def summary(values: list[float]) -> Record:
    """Return what the table says of some random subsets."""
    return {
        "mean": np.mean(values),
        "sd": np.std(values, ddof=1) if len(values) > 1 else np.nan,
        "median": np.median(values),
        "worst": min(values),
        "subsets": len(values),
    }


def table_of_scratch(baseline: dict[int, Record]) -> pd.DataFrame:
    """Return one row a number of labels, with the settings that tuning chose."""
    rows = []
    for n_labels, record in baseline.items():
        flip = " and flips" if record["flip"] else ""
        rows.append(
            {
                "labels": n_labels,
                "steps": record["steps"],
                "learning rate": record["learning_rate"],
                "augmentation": f"shifts of {record['shift']}{flip}" if record["shift"] else "none",
                **summary(record["accuracies"]),
            }
        )
    return pd.DataFrame(rows)


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table for people: accuracies with two decimals, nothing for what is missing."""
    text = table.astype(object)
    for name in ("mean", "sd", "median", "worst"):
        if name in table:
            text[name] = ["" if np.isnan(value) else f"{value:.2f}" for value in table[name]]
    return text


def with_table(text: str, name: str, table: pd.DataFrame) -> str:
    """Return a page with the table between the marks of its name."""
    begin, end = BEGIN.format(name), END.format(name)
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    body = "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)
    before, rest = text.split(begin)
    return f"{before}{begin}\n{body}\n{end}{rest.split(end)[1]}"


def draw(module: Record, baseline: dict[int, Record], path: Path) -> None:
    """Draw every random subset, one row per way of labelling; the mean is the large dot."""
    rows = [(label, accuracies(module, kind), BEST) for kind, label in KINDS.items()]
    rows += [
        (f"from scratch, {n_labels:,} labels", record["accuracies"], OTHERS)
        for n_labels, record in reversed(baseline.items())
    ]
    ax = new_axes(7.0, 1.1 + 0.42 * len(rows))
    for height, (_, values, color) in enumerate(rows):
        ax.scatter(values, [height] * len(values), s=18, color=color, alpha=0.35, linewidth=0)
        ax.scatter(np.mean(values), height, s=70, color=color, zorder=3)
        ax.annotate(
            f"{np.mean(values):.1f}",
            (np.mean(values), height),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            fontsize="small",
            color=INK,
        )
    ax.axvline(module["full"], color=FAINT, linestyle=":", zorder=0)
    ax.annotate(
        f"all labels: {module['full']:.1f}",
        (module["full"], len(rows) - 0.4),
        ha="right",
        va="center",
        xytext=(-4, 0),
        textcoords="offset points",
        color=INK,
        fontsize="small",
    )
    clear_frame(ax, grid="x")
    ax.set_yticks(range(len(rows)), [label for label, _, _ in rows])
    ax.set_ylim(len(rows) - 0.2, -0.7)
    ax.set_xlabel("test accuracy (%): each random subset, and the mean", color=INK)
    ax.set_title("Blue: frozen module. Grey: the same network from scratch.", loc="left", color=INK)
    save_figure(ax.get_figure(), path)
    plt.close(ax.get_figure())
