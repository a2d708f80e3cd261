"""From the measured cells to figures, tables and pictures."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from candidates import SOURCE_CLASSES
from scores import PROBE
from targets import CONTROLS, TARGETS

import modtools as mt
from modtools.plotting._display import INK, clear_frame, new_axes, save_figure
from modtools.selection import PREDICTED
from modtools.studies import Agreement

RIVALS = ("logme", "knn", PROBE)
STATIC = ("parameters", "depth", "features")
KEYS = ["task", "per_class", "repeat"]


def without_control(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of real tasks; labels of the control have nothing to do with its images."""
    return table[~table["task"].isin(CONTROLS)]


def agree(scores: pd.DataFrame, truth: pd.DataFrame, facts: pd.DataFrame) -> Agreement:
    """Compare every score, and label-free baselines, with what was achieved.

    Labels per class stand for the number of labels, so that a count is the same on every task.
    """
    known = facts[facts["source"] != ""]
    sources = zip(known["module"], known["source"], strict=True)
    by_module = {module: SOURCE_CLASSES[source] for module, source in sources}
    by_task = {
        target.name: target.classes
        for target in TARGETS
        if target.images == "fashion" and target.name in set(truth["task"])
    }
    names = {"per_class": "n_labels"}
    return mt.score_agreement(
        scores[[*KEYS, "score", "module", "value"]].rename(columns=names),
        truth[[*KEYS, "module", "accuracy"]].rename(columns=names),
        baselines={name: facts.set_index("module")[name].to_dict() for name in STATIC},
        module_classes=by_module or None,
        task_classes=by_task if by_module else None,
    )


def predicted_and_achieved(scores: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Return one row a module and cell: what was predicted, what was achieved, who was picked."""
    table = scores[scores["score"] == PREDICTED].merge(
        truth.drop(columns="cell_seconds"), on=[*KEYS, "module"]
    )
    best = table.groupby(KEYS)["predicted"].transform("max")
    table["picked"] = (table["predicted"] == best) & ~table.duplicated([*KEYS, "predicted"])
    achieved = table[table["picked"]].set_index(KEYS)["accuracy"].rename("of_pick")
    table = table.join(achieved, on=KEYS)
    table["error"] = 100 * (table["predicted"] - table["accuracy"])
    table["covered"] = table["accuracy"].between(table["predicted_low"], table["predicted_high"])
    gap = table["of_pick"] - table["accuracy"]
    table["pair_covered"] = gap.between(table["gap_low"], table["gap_high"])
    table["is_best"] = table["accuracy"] == table.groupby(KEYS)["accuracy"].transform("max")
    return table


def prediction_figures(table: pd.DataFrame) -> dict[str, float]:
    """Return errors and coverages by label count, means over tasks so that each counts alike."""
    figures: dict[str, float] = {}
    for per_class, rows in table.groupby("per_class"):
        picked, others = rows[rows["picked"]], rows[~rows["picked"]]
        by_task = rows.groupby("task")
        figures |= {
            f"mae_{per_class}": by_task["error"].agg(lambda e: e.abs().mean()).mean(),
            f"bias_{per_class}": by_task["error"].mean().mean(),
            f"picked_bias_{per_class}": picked.groupby("task")["error"].mean().mean(),
            f"coverage_{per_class}": by_task["covered"].mean().mean(),
            f"worst_task_coverage_{per_class}": by_task["covered"].mean().min(),
            f"picked_coverage_{per_class}": picked["covered"].mean(),
            f"pair_coverage_{per_class}": others["pair_covered"].mean(),
            f"half_width_{per_class}": 50 * (rows["predicted_high"] - rows["predicted_low"]).mean(),
            f"odds_of_pick_{per_class}": picked["probability_best"].mean(),
            f"pick_is_best_{per_class}": picked["is_best"].mean(),
        }
    return {name: float(value) for name, value in figures.items()}


def agreement_figures(agreement: Agreement) -> dict[str, float]:
    """Return weighted tau and regret of the default pick, and its lead over its rivals."""
    means = agreement.means()
    figures: dict[str, float] = {}
    for row in means[means["score"] == PREDICTED].to_dict("records"):
        name = {"weighted_tau": "tau", "regret": "regret"}.get(row["measure"])
        if name:
            figures[f"{name}_{row['n_labels']}"] = row["value"]
    baselines = means.loc[means["is_baseline"], "score"].unique()
    rivals = [name for name in (*RIVALS, *baselines) if name in set(means["score"])]
    leads = agreement.differences(rivals)
    leads = leads[(leads["score"] == PREDICTED) & (leads["measure"] == "weighted_tau")]
    for row in leads.to_dict("records"):
        name = f"tau_lead_over_{row['baseline'].replace(', ', ' ').replace(' ', '_')}"
        name += f"_{row['n_labels']}"
        for end in ("", "_low", "_high"):
            figures[name + end] = row[f"value{end}"]
    for row in agreement.concordance().to_dict("records"):
        figures[f"kendall_w_{row['n_labels']}"] = row["concordance"]
    return {name: float(value) for name, value in figures.items()}


def several_figures(combined: pd.DataFrame, table: pd.DataFrame) -> dict[str, float]:
    """Return how many points a pair and all candidates gain over the picked single module."""
    picked = table[table["picked"]][[*KEYS, "accuracy"]]
    best = table.groupby(KEYS)["accuracy"].max().rename("hindsight").reset_index()
    rows = combined.merge(picked, on=KEYS, suffixes=("", "_single")).merge(best, on=KEYS)
    rows["gain"] = 100 * (rows["accuracy"] - rows["accuracy_single"])
    rows["over_best"] = 100 * (rows["accuracy"] - rows["hindsight"])
    figures = {}
    for (what, per_class), part in rows.groupby(["what", "per_class"]):
        means = part.groupby("task")[["gain", "over_best"]].mean().mean()
        figures[f"{what}_gain_{per_class}"] = float(means["gain"])
        figures[f"{what}_over_best_single_{per_class}"] = float(means["over_best"])
    for what in rows["what"].unique():
        hurts = rows.loc[rows["what"] == what, "gain"] < -0.5
        figures[f"{what}_hurts_fraction"] = float(hurts.mean())
    return figures


def race_figures(races: dict[str, tuple[pd.DataFrame, pd.DataFrame]]) -> dict[str, float]:
    """Return the figures of the largest task, and those of the others with its name."""
    figures: dict[str, float] = {}
    for place, (task, (rows, truth)) in enumerate(races.items()):
        end = f"_{task}" if place else ""
        figures |= {name + end: value for name, value in _figures_of(rows, truth).items()}
    return figures


def _figures_of(races: pd.DataFrame, truth: pd.DataFrame) -> dict[str, float]:
    """Return what races cost, and whether they keep the best module.

    The best is that of a tuned logistic output module, of the ridge one that a race learns, or any
    that is not distinguishable from the best on the test examples.
    """
    certified = races[races["mode"] == "certified"]
    halving = races[races["mode"] == "halving"]
    remaining = [set(names.split()) for names in certified["remaining"]]
    achieved = truth["accuracy"]
    ties = set(truth.index[truth["ties"]])

    def regret(table: pd.DataFrame) -> float:
        return float(100 * (achieved.max() - achieved[table["best"]]).mean())

    return {
        "race_pass_fraction": float(certified["pass_fraction"].mean()),
        "race_best_kept": float(np.mean([achieved.idxmax() in names for names in remaining])),
        "race_ridge_best_kept": float(
            np.mean([truth["ridge"].idxmax() in names for names in remaining])
        ),
        "race_best_or_tied_kept": float(np.mean([bool(ties & names) for names in remaining])),
        "race_orders": float(len(certified)),
        "race_regret": regret(certified),
        "halving_pass_fraction": float(halving["pass_fraction"].mean()),
        "halving_regret": regret(halving),
    }


def score_table(agreement: Agreement, scores: pd.DataFrame) -> pd.DataFrame:
    """Return tau and regret by label count of every score and baseline, and a score's cost."""
    means = agreement.means()
    means = means[means["measure"].isin(["weighted_tau", "regret"])]
    wide = means.pivot(index="score", columns=["measure", "n_labels"], values="value")
    wide = wide[["weighted_tau", "regret"]]
    wide.columns = [f"{measure}_{count}" for measure, count in wide.columns]
    most = scores["per_class"].max()
    seconds = scores[scores["per_class"] == most].groupby("score")["seconds"].mean()
    taus = means[means["measure"] == "weighted_tau"]
    order = taus.groupby("score")["value"].mean().sort_values(ascending=False).index
    is_baseline = means.groupby("score")["is_baseline"].first()
    return wide.assign(seconds=seconds, is_baseline=is_baseline).loc[order].reset_index()


def draw(agreement: Agreement, table: pd.DataFrame, folder: Path) -> None:
    """Draw agreement at the middle label count, and predicted against achieved at all."""
    counts = sorted(table["per_class"].unique())
    middle = counts[len(counts) // 2]
    display = agreement.plot(score=PREDICTED, n_labels=middle)
    display.save(folder / f"agreement_{middle}.png")
    plt.close(display.figure_)
    panels = np.atleast_1d(new_axes(4.0 * len(counts), 4.2, ncols=len(counts)))
    for ax, per_class in zip(panels, counts, strict=True):
        _draw_predictions(ax, table[table["per_class"] == per_class], per_class)
    panels[0].set_ylabel("achieved by the retrained output module (%)", color=INK)
    panels[0].legend(frameon=False, fontsize="x-small", labelcolor=INK, loc="upper left")
    save_figure(panels[0].get_figure(), folder / "predicted.png")
    plt.close(panels[0].get_figure())


def _draw_predictions(ax: Any, rows: pd.DataFrame, per_class: int) -> None:
    import seaborn as sns

    clear_frame(ax, grid="both")
    tasks = rows["task"].unique()
    for task, color in zip(tasks, sns.color_palette("colorblind", len(tasks)), strict=True):
        own = rows[rows["task"] == task]
        ax.plot(100 * own["predicted"], 100 * own["accuracy"], ".", color=color, label=task, ms=3)
    low = 100 * min(rows["predicted"].min(), rows["accuracy"].min())
    ax.plot([low, 100], [low, 100], color=INK, linewidth=0.8, linestyle="--")
    ax.set_title(f"{per_class} labels per class", loc="left", color=INK)
    ax.set_xlabel("predicted (%)", color=INK)
