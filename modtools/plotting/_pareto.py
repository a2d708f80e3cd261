"""The plot of accuracy against cost, with the Pareto front."""

from typing import TYPE_CHECKING, Any

import numpy as np

from modtools._escape import picture_text
from modtools.plotting._display import (
    BEST,
    INK,
    OTHERS,
    Display,
    EndLabel,
    check_shares,
    check_text,
    checked_frame,
    clear_frame,
    label_ends,
    legend_below,
    new_axes,
    room_for,
    write_title,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["ParetoDisplay"]

_JOIN = " + "
_MOST_NAMED = 3  # modules in a label
_WIDE_RANGE = 20  # the largest cost over the smallest from which the axis is logarithmic
_NUMBERS = ("value", "value_low", "value_high")
_COLUMNS = ("modules", "n_modules", *_NUMBERS, "cost", "on_front", "chosen")


class ParetoDisplay(Display):
    """Accuracy against cost of modules and their combinations, with the Pareto front.

    Parameters
    ----------
    results : pandas.DataFrame
        Columns modules, n_modules, value, value_low, value_high (accuracies in [0, 1]), cost,
        on_front and chosen; one row per combination. The frame is copied.
    cost : str
        Label of the cost axis, with its unit.
    title : str, default=""
        Title of the picture.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"modules": ["a", "b", "a + b"], "n_modules": [1, 1, 2]})
    >>> table = table.assign(value=[0.8, 0.7, 0.9], value_low=0.6, value_high=0.95)
    >>> table = table.assign(cost=[10.0, 20.0, 30.0], chosen=[False, False, True])
    >>> table["on_front"] = [True, False, True]
    >>> ParetoDisplay(results=table, cost="cost (parameters)").frame()["on_front"].tolist()
    [True, False, True]
    """

    ax_: "Axes"

    def __init__(self, *, results: "pd.DataFrame", cost: str, title: str = "") -> None:
        super().__init__(title=title)
        empty = "a plot of accuracy and cost needs at least one combination."
        numbers = ["n_modules", *_NUMBERS, "cost"]
        self.results = checked_frame(results, "results", _COLUMNS, empty=empty, numbers=numbers)
        check_shares(self.results, "results", _NUMBERS)
        self.cost = check_text(cost, name="cost")

    def frame(self) -> "pd.DataFrame":
        """Return the drawn numbers, the cheapest first.

        Returns
        -------
        pandas.DataFrame
            Columns modules, n_modules, value, value_low, value_high, cost, on_front and chosen.
        """
        table = self.results[list(_COLUMNS)]
        return table.sort_values(["cost", "value"], kind="stable", ignore_index=True)

    def _new_axes(self, table: "pd.DataFrame") -> Any:
        return new_axes(7.5 + room_for(_named(table)["label"], letters=28), 4.2)

    def _draw(self, panels: "tuple[Axes, ...]", table: "pd.DataFrame") -> None:
        ax = panels[0]
        table[list(_NUMBERS)] *= 100.0
        clear_frame(ax, grid="y")
        _scale(ax, table)
        _draw_others(ax, table[~table["on_front"]])
        _draw_front(ax, table[table["on_front"]])
        _mark_chosen(ax, table)
        ax.set_xlabel(picture_text(self.cost), color=INK)
        ax.set_ylabel("cross-validated accuracy (%)", color=INK)
        write_title(ax, self.title)
        legend_below(ax, ncols=2)
        ends = _named(table).to_dict("records")
        label_ends(ax, [EndLabel(e["label"], e["cost"], e["value"], BEST) for e in ends])


def _scale(ax: "Axes", table: "pd.DataFrame") -> None:
    positive = table.loc[table["cost"] > 0, "cost"]
    if len(positive) and positive.max() > _WIDE_RANGE * positive.min():
        # Raw inputs have cost 0, so the axis is linear up to the cheapest network.
        is_free = len(positive) < len(table)
        cheapest, most = float(positive.min()), float(positive.max())
        options = {"linthresh": cheapest, "linscale": 0.4} if is_free else {}
        ax.set_xscale("symlog" if is_free else "log", **options)
        if is_free:  # the locator of matplotlib puts powers of ten below the cheapest network too
            powers = 10.0 ** np.arange(np.ceil(np.log10(cheapest)), np.log10(most) + 1e-9)
            ax.set_xticks([0.0, *(powers if len(powers) else [cheapest])])


def _draw_others(ax: "Axes", table: "pd.DataFrame") -> None:
    for is_one, marker, label in ((True, "o", "one module"), (False, "x", "several modules")):
        rows = table[(table["n_modules"] == 1) == is_one]
        if len(rows):
            ax.plot(rows["cost"], rows["value"], marker, color=OTHERS, markersize=5, label=label)


def _draw_front(ax: "Axes", table: "pd.DataFrame") -> None:
    ax.vlines(table["cost"], table["value_low"], table["value_high"], color=BEST, alpha=0.35)
    label = "Pareto front, 95 % intervals"
    ax.plot(table["cost"], table["value"], "o", color=BEST, markersize=7, label=label)
    ax.step(table["cost"], table["value"], where="post", color=BEST, linewidth=1.2)


def _mark_chosen(ax: "Axes", table: "pd.DataFrame") -> None:
    """Mark the chosen combination; the label states if fewer modules are better for less."""
    for row in table[table["chosen"]].to_dict("records"):
        better = table[
            (table["n_modules"] < row["n_modules"])
            & (table["value"] > row["value"])
            & (table["cost"] <= row["cost"])
        ]
        label = "chosen"
        if len(better):
            best = _brief(str(better.loc[better["value"].idxmax(), "modules"]))
            label = picture_text(f"chosen, but {best} is better for less")
        ax.plot(
            row["cost"],
            row["value"],
            "o",
            markersize=13,
            markerfacecolor="none",
            markeredgecolor=OTHERS if len(better) else INK,
            markeredgewidth=1.4,
            label=label,
        )


def _named(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the points that have a label, and what it is."""
    rows = table[table["on_front"] | table["chosen"]]
    return rows.assign(label=[_brief(name) for name in rows["modules"]])


def _brief(modules: str) -> str:
    """Return the names of modules that are joined by " + ", of many the first.

    >>> _brief("a + b"), _brief("a + b + c + d")
    ('a + b', 'a + b and 2 more')
    """
    parts = modules.split(_JOIN)
    if len(parts) <= _MOST_NAMED:
        return modules
    return f"{_JOIN.join(parts[: _MOST_NAMED - 1])} and {len(parts) - _MOST_NAMED + 1} more"
