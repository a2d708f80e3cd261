"""From the files of finished runs to figures, a table and pictures."""

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t as student

from modtools._writing import json_text, write_file
from modtools.plotting import TrainingDisplay
from modtools.plotting._display import BEST, FAINT, INK, clear_frame, new_axes, save_figure

METHODS = {
    "end_to_end": "end-to-end",
    "sequential": "strictly modular",
    "simultaneous": "weakly modular",
}
PAIRS_SUFFICE = {"none", "pairs"}
FIRST_PERCENT = 85.0  # the first epochs below it would press all other lines together
NORMAL_95 = 1.96
BEGIN, END = "<!-- runs:begin -->", "<!-- runs:end -->"
Record = dict[str, Any]


def write_report(folder: Path) -> str:
    """Write figures.json, runs.csv and the pictures of what is finished; return the table."""
    runs = read_runs(folder)
    if not runs:
        return "no run is finished yet."
    figures = figures_of(runs)
    memory = folder / "memory.json"
    if memory.exists():
        figures |= memory_figures(json.loads(memory.read_text(encoding="utf-8")))
    write_file(folder / "figures.json", json_text(figures))
    table = table_of(runs)
    write_file(folder / "runs.csv", table.to_csv(index=False, float_format="%.3f"))
    draw_training(runs, folder / "training.png")
    draw_proxies(table, folder / "proxies.png")
    plt.close("all")
    shown = shown_of(table)
    readme = folder.parent / "README.md"
    if folder.name == "results" and readme.exists():
        write_file(readme, with_table(readme.read_text(encoding="utf-8"), shown))
    return shown.to_string(index=False)


def read_runs(folder: Path) -> list[Record]:
    """Return the finished runs: the longest first, end-to-end before modular, then by name."""
    paths = (folder / "runs").glob("*.json")
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    order = list(METHODS)
    return sorted(runs, key=lambda r: (-r["seconds"], order.index(r["method"]), r["name"]))


def bits_of(run: Record) -> NDArray[np.float64]:
    """Return 1 for each test row that a run got right, 0 for the others."""
    packed = np.frombuffer(bytes.fromhex(run["correct"]), dtype=np.uint8)
    return np.unpackbits(packed, count=run["n_test"]).astype(float)


def difference(ours: list[Record], theirs: list[Record]) -> tuple[float, float, float]:
    """Return the difference of mean accuracies in points with its 95 % interval.

    Paired: each test row is a row of both. With several seeds the mean over them is compared; that
    other seeds would have given other networks is not in the interval.
    """
    per_row = np.mean([bits_of(run) for run in ours], axis=0)
    per_row = 100 * (per_row - np.mean([bits_of(run) for run in theirs], axis=0))
    half = NORMAL_95 * per_row.std(ddof=1) / np.sqrt(len(per_row))
    mean = float(per_row.mean())
    return mean, mean - float(half), mean + float(half)


def seeds_half_width(ours: list[Record], theirs: list[Record]) -> float:
    """Return the half width of the 95 % interval of a difference of means over seeds."""
    spreads = [np.std([run["accuracy"] for run in runs], ddof=1) for runs in (ours, theirs)]
    error = np.sqrt(sum(s**2 / len(r) for s, r in zip(spreads, (ours, theirs), strict=True)))
    return float(student.ppf(0.975, len(ours) + len(theirs) - 2) * error)


def is_repeated(run: Record) -> bool:
    """Return whether a run is one of several seeds: the long ones."""
    return "_seed" in str(run["name"])


def reference_of(run: Record, runs: list[Record]) -> Record | None:
    """Return the end-to-end run of the same cost and seed, once it is finished."""
    same = ("seconds", "threads", "seed")
    for other in runs:
        if other["method"] == "end_to_end" and all(other[key] == run[key] for key in same):
            return other
    return None


def table_of(runs: list[Record]) -> pd.DataFrame:
    """Return one row a run; accuracies and differences to end-to-end in percent and points."""
    rows = []
    for run in runs:
        reference = reference_of(run, runs)
        points = low = high = np.nan
        if reference is not None and reference is not run:
            points, low, high = difference([run], [reference])
        rows.append(
            {
                "name": run["name"],
                "method": METHODS[run["method"]],
                "proxy": run["proxy"],
                "modules": run["n_modules"],
                "labels": run["labels_needed"],
                "threads": run["threads"],
                "seed": run["seed"],
                "seconds": run["seconds_used"],
                "epochs": " + ".join(f"{epochs:.1f}" for epochs in run["epochs"].values()),
                "accuracy": run["accuracy"],
                "accuracy_low": run["accuracy_low"],
                "accuracy_high": run["accuracy_high"],
                "difference": points,
                "difference_low": low,
                "difference_high": high,
                "validation_accuracy": run["validation_accuracy"],
                "peak_activation_mb": run["peak_activation_mb"],
            }
        )
    return pd.DataFrame(rows)


def shown_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table for people, as text."""
    rows: list[Any] = table.to_dict("records")
    return pd.DataFrame(
        {
            "run": table["name"],
            "labels": table["labels"],
            "seconds": table["seconds"].map("{:.0f}".format),
            "epochs": table["epochs"],
            "accuracy (%)": [
                "{accuracy:.2f} [{accuracy_low:.2f}, {accuracy_high:.2f}]".format_map(row)
                for row in rows
            ],
            "to end-to-end (points)": [
                "{difference:+.2f} [{difference_low:+.2f}, {difference_high:+.2f}]".format_map(row)
                if np.isfinite(row["difference"])
                else ""
                for row in rows
            ],
            "peak (MB)": table["peak_activation_mb"].map("{:.1f}".format),
        }
    )


def with_table(text: str, table: pd.DataFrame) -> str:
    """Return a page with the table between its marks."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    body = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{body}\n{END}{rest.split(END)[1]}"


def figures_of(runs: list[Record]) -> dict[str, Any]:
    """Return the figures that the finished runs give; accuracies in percent."""
    end_to_end = [r for r in runs if is_repeated(r) and r["method"] == "end_to_end"]
    modular = [r for r in runs if is_repeated(r) and r["method"] == "sequential"]
    figures: dict[str, Any] = {}
    for name, group in (("end_to_end", end_to_end), ("modular", modular)):
        if group:
            figures |= spread(f"{name}_accuracy", [run["accuracy"] for run in group])
    if modular:
        figures["modular_proxy"] = modular[0]["proxy"]
    if modular and end_to_end:
        figures |= named_difference("modular_minus_end_to_end", modular, end_to_end)
        if min(len(modular), len(end_to_end)) > 1:
            half = seeds_half_width(modular, end_to_end)
            figures["modular_minus_end_to_end_half_width_over_seeds"] = half
    figures |= short_figures(runs, end_to_end)
    groups: dict[str, list[float]] = {}
    for run in runs:
        groups.setdefault(run["name"].partition("_seed")[0], []).append(run["seconds_used"])
    figures["seconds_per_method"] = {name: float(np.mean(s)) for name, s in groups.items()}
    return figures


def short_figures(runs: list[Record], end_to_end: list[Record]) -> dict[str, Any]:
    """Return the figures of the runs with one seed; what is best is chosen on validation rows."""
    short = [run for run in runs if not is_repeated(run)]
    figures: dict[str, Any] = {f"accuracy_{run['name']}": run["accuracy"] for run in short}
    pairs = [r for r in short if r["method"] == "sequential" and r["labels_needed"] == "pairs"]
    if pairs:
        figures["best_pairs_proxy_on_validation"] = best_on_validation(pairs)["proxy"]
    weakly = [run for run in short if run["method"] == "simultaneous"]
    if not weakly:
        return figures
    best = best_on_validation(weakly)
    figures["weakly_modular_accuracy"] = best["accuracy"]
    figures["weakly_modular_proxy"] = best["proxy"]
    reference = reference_of(best, runs)
    if reference is not None:
        figures |= named_difference("weakly_modular_minus_end_to_end", [best], [reference])
    if end_to_end:
        figures |= named_difference(
            "weakly_modular_minus_end_to_end_of_long_runs", [best], end_to_end
        )
    return figures


def best_on_validation(runs: list[Record]) -> Record:
    """Return the run with the highest accuracy on rows that are neither trained nor tested on."""
    return max(runs, key=lambda run: float(run["validation_accuracy"]))


def spread(name: str, values: list[float]) -> dict[str, float]:
    """Return mean, standard deviation and number of values over seeds."""
    found = {name: float(np.mean(values)), f"{name}_seeds": len(values)}
    return found | ({f"{name}_sd": float(np.std(values, ddof=1))} if len(values) > 1 else {})


def named_difference(name: str, ours: list[Record], theirs: list[Record]) -> dict[str, float]:
    """Return a difference in points and its 95 % interval over test rows, by name."""
    mean, low, high = difference(ours, theirs)
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def memory_figures(memory: Record) -> dict[str, float]:
    """Return what strictly modular training takes, as a part of what end-to-end takes."""
    modular, end_to_end = memory["modular"], memory["end_to_end"]
    return {
        "memory_ratio": modular["saved_mb"] / end_to_end["saved_mb"],
        "memory_ratio_resident": modular["resident_mb"] / end_to_end["resident_mb"],
        "memory_mb_modular": modular["saved_mb"],
        "memory_mb_end_to_end": end_to_end["saved_mb"],
        "memory_mb_modular_resident": modular["resident_mb"],
        "memory_mb_end_to_end_resident": end_to_end["resident_mb"],
    }


def label_of(run: Record) -> str:
    """Return what a run is called in pictures."""
    proxy = "" if run["method"] == "end_to_end" else f", {run['proxy']}"
    cut = f" ({run['n_modules']})" if run["method"] == "simultaneous" else ""
    return f"{METHODS[run['method']]}{cut}{proxy}"


def curve_of(run: Record) -> pd.DataFrame:
    """Return accuracy against seconds: on validation rows, and last on the test rows."""
    history = pd.DataFrame(run["history"])
    # The last hidden module is what takes time; the output module's seconds would be one upright.
    hidden = [name for name in run["epochs"] if name != "output"][-1]
    shown = history["module"] == hidden
    shown &= history["validation_accuracy"] >= FIRST_PERCENT / 100
    points = history[shown].rename(columns={"validation_accuracy": "accuracy"})
    points = points[["seconds", "accuracy"]].assign(on_test_rows=False)
    end = {"seconds": run["seconds_used"], "accuracy": run["accuracy"] / 100, "on_test_rows": True}
    points = pd.concat([points, pd.DataFrame([end])])
    return points.assign(method=label_of(run), seed=run["seed"])


def draw_training(runs: list[Record], path: Path) -> None:
    """Draw accuracy against seconds and the peak memory of the methods that are compared."""
    chosen = [run for run in runs if is_repeated(run)]
    weakly = [run for run in runs if run["method"] == "simultaneous"]
    if weakly:
        chosen.append(best_on_validation(weakly))
    if not chosen:
        return
    curves = pd.concat([curve_of(run) for run in chosen], ignore_index=True)
    memory = {label_of(run): int(1e6 * run["peak_activation_mb"]) for run in chosen}
    TrainingDisplay(runs=curves, memory=memory).plot().save(path)


def draw_proxies(table: pd.DataFrame, path: Path) -> None:
    """Draw the accuracies of the runs with one seed, each with its 95 % interval."""
    rows = table[~table["name"].str.contains("_seed")].sort_values("accuracy", ascending=False)
    if rows.empty:
        return
    ax = new_axes(9.0, 1.3 + 0.34 * len(rows))
    clear_frame(ax, grid="x")
    names = []
    for place, row in enumerate(rows.to_dict("records")):
        color = BEST if row["labels"] in PAIRS_SUFFICE else FAINT
        ax.hlines(place, row["accuracy_low"], row["accuracy_high"], color=color, linewidth=2.2)
        ax.plot(row["accuracy"], place, "o", color=color, markersize=7.5)
        text = {"xytext": (16, 0), "textcoords": "offset points", "va": "center", "color": INK}
        ax.annotate(f"{row['accuracy']:.1f}", (row["accuracy"], place), fontsize="small", **text)
        kind = "" if row["method"] == "end-to-end" else f", {row['modules']} modules"
        names.append(f"{row['method']}{kind}: {row['proxy']}")
    ax.set_yticks(range(len(rows)), labels=names)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel("test accuracy (%), 95 % over test rows", color=INK)
    ax.set_title("Blue: pairs suffice. Grey: needs classes.", loc="left", color=INK)
    save_figure(ax.get_figure(), path)
