"""The plot of accuracy against cost, with the Pareto front."""

from typing import TYPE_CHECKING, Any

from modtools._escape import picture_text
from modtools.plotting._display import (
    BEST,
    INK,
    OTHERS,
    Display,
    EndLabel,
    checked_frame,
    clear_frame,
    label_ends,
    legend_below,
    new_axes,
    write_title,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["ParetoDisplay"]

_WIDE_RANGE = 20  # the largest cost over the smallest from which the axis is logarithmic
_NUMBERS = ("accuracy", "accuracy_low", "accuracy_high")
_COLUMNS = ("modules", "n_modules", *_NUMBERS, "cost", "on_front", "chosen")


class ParetoDisplay(Display):
    """Accuracy against cost of modules and their combinations, with the Pareto front.

    Parameters
    ----------
    results : pandas.DataFrame
        Columns modules, n_modules, accuracy, accuracy_low, accuracy_high (in [0, 1]), cost,
        on_front and chosen; one row per combination. The frame is copied.
    cost : str
        Label of the cost axis, with its unit.
    title : str, default=""
        Title of the picture.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"modules": ["a", "b", "a + b"], "n_modules": [1, 1, 2]})
    >>> table = table.assign(accuracy=[0.8, 0.7, 0.9], accuracy_low=0.6, accuracy_high=0.95)
    >>> table = table.assign(cost=[10.0, 20.0, 30.0], chosen=[False, False, True])
    >>> table["on_front"] = [True, False, True]
    >>> ParetoDisplay(results=table, cost="cost (parameters)").frame()["on_front"].tolist()
    [True, False, True]
    """

    ax_: "Axes"

    def __init__(self, *, results: "pd.DataFrame", cost: str, title: str = "") -> None:
        super().__init__(title=title)
        empty = "a plot of accuracy and cost needs at least one combination."
        self.results = checked_frame(results, "results", _COLUMNS, empty=empty)
        self.cost = cost

    def frame(self) -> "pd.DataFrame":
        """Return the drawn numbers, the cheapest first.

        Returns
        -------
        pandas.DataFrame
            Columns modules, n_modules, accuracy, accuracy_low, accuracy_high, cost, on_front and
            chosen.
        """
        table = self.results[list(_COLUMNS)]
        return table.sort_values(["cost", "accuracy"], kind="stable", ignore_index=True)

    def _new_axes(self, table: "pd.DataFrame") -> Any:
        return new_axes(7.5, 4.2)

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
        _name_points(ax, table[table["on_front"] | table["chosen"]])


def _scale(ax: "Axes", table: "pd.DataFrame") -> None:
    positive = table.loc[table["cost"] > 0, "cost"]
    if len(positive) and positive.max() > _WIDE_RANGE * positive.min():
        # Raw inputs have cost 0, so the axis is linear up to the cheapest network.
        is_free = len(positive) < len(table)
        options = {"linthresh": float(positive.min())} if is_free else {}
        ax.set_xscale("symlog" if is_free else "log", **options)


def _draw_others(ax: "Axes", table: "pd.DataFrame") -> None:
    for is_one, marker, label in ((True, "o", "one module"), (False, "x", "several modules")):
        rows = table[(table["n_modules"] == 1) == is_one]
        if len(rows):
            ax.plot(rows["cost"], rows["accuracy"], marker, color=OTHERS, markersize=5, label=label)


def _draw_front(ax: "Axes", table: "pd.DataFrame") -> None:
    ax.vlines(table["cost"], table["accuracy_low"], table["accuracy_high"], color=BEST, alpha=0.35)
    label = "Pareto front, 95 % intervals"
    ax.plot(table["cost"], table["accuracy"], "o", color=BEST, markersize=7, label=label)
    ax.step(table["cost"], table["accuracy"], where="post", color=BEST, linewidth=1.2)


def _mark_chosen(ax: "Axes", table: "pd.DataFrame") -> None:
    """Mark the chosen combination; the label states if fewer modules are better for less."""
    for row in table[table["chosen"]].to_dict("records"):
        better = table[
            (table["n_modules"] < row["n_modules"])
            & (table["accuracy"] > row["accuracy"])
            & (table["cost"] <= row["cost"])
        ]
        label = "chosen"
        if len(better):
            best = better.loc[better["accuracy"].idxmax(), "modules"]
            label = picture_text(f"chosen, but {best} is better for less")
        ax.plot(
            row["cost"],
            row["accuracy"],
            "o",
            markersize=13,
            markerfacecolor="none",
            markeredgecolor=OTHERS if len(better) else INK,
            markeredgewidth=1.4,
            label=label,
        )


def _name_points(ax: "Axes", table: "pd.DataFrame") -> None:
    rows = table.to_dict("records")
    ends = [EndLabel(row["modules"], row["cost"], row["accuracy"], BEST) for row in rows]
    label_ends(ax, ends)
