"""The picture of accuracy against cost: what was tried, and the front of what is worth its cost."""

from typing import TYPE_CHECKING, Any, Self

from modtools._escape import picture_text
from modtools.exceptions import ModtoolsError
from modtools.plotting._display import (
    BEST,
    INK,
    OTHERS,
    Display,
    clear_frame,
    new_axes,
    root_figure,
)
from modtools.plotting._end_labels import EndLabel, label_ends

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["ParetoDisplay"]

_WIDE_RANGE = 20  # the largest cost over the smallest from which the axis is logarithmic
_NUMBERS = ("accuracy", "low", "high")
_COLUMNS = ("modules", "n_modules", *_NUMBERS, "cost", "on_front", "chosen")


class ParetoDisplay(Display):
    """Accuracy against cost of modules and their combinations, with the front of the best.

    Parameters
    ----------
    results : pandas.DataFrame
        Columns modules, n_modules, accuracy, low, high (in [0, 1]), cost, on_front and chosen; one
        row a combination. The frame is copied.
    cost : str
        What the axis of the cost is called, with its unit.
    title : str, default=""
        Title of the picture.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes drawn on, after `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure, after `plot`.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"modules": ["a", "b", "a + b"], "n_modules": [1, 1, 2]})
    >>> table = table.assign(accuracy=[0.8, 0.7, 0.9], low=0.6, high=0.95, cost=[10.0, 20.0, 30.0])
    >>> table = table.assign(on_front=[True, False, True], chosen=[False, False, True])
    >>> ParetoDisplay(results=table, cost="cost (parameters)").frame()["on_front"].tolist()
    [True, False, True]
    """

    ax_: "Axes"

    def __init__(self, *, results: "pd.DataFrame", cost: str, title: str = "") -> None:
        if not len(results):
            raise ModtoolsError("a picture of accuracy and cost needs at least one combination.")
        self.results = results.copy()
        self.cost = cost
        self.title = title

    def frame(self) -> "pd.DataFrame":
        """Return the drawn numbers, the cheapest first.

        Returns
        -------
        pandas.DataFrame
            Columns modules, n_modules, accuracy, low, high, cost, on_front and chosen.
        """
        table = self.results[list(_COLUMNS)]
        return table.sort_values(["cost", "accuracy"], kind="stable", ignore_index=True)

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw on `ax`, or on a new figure.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw.

        Returns
        -------
        ParetoDisplay
            The display itself, with `ax_` and `figure_`.
        """
        table = self.frame()
        table[list(_NUMBERS)] *= 100.0
        self.ax_ = new_axes(7.5, 4.2) if ax is None else ax
        self.figure_ = root_figure(self.ax_)
        clear_frame(self.ax_, grid="y")
        self._scale(table)
        self._draw_others(table[~table["on_front"]])
        self._draw_front(table[table["on_front"]])
        self._mark_chosen(table[table["chosen"]])
        self.ax_.set_xlabel(picture_text(self.cost), color=INK)
        self.ax_.set_ylabel("cross-validated accuracy (%)", color=INK)
        self.ax_.set_title(picture_text(self.title), loc="left", color=INK)
        below: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (0.0, -0.14)}
        self.ax_.legend(frameon=False, fontsize="small", labelcolor=INK, ncols=2, **below)
        self._name_front(table[table["on_front"]])
        return self

    def _scale(self, table: "pd.DataFrame") -> None:
        positive = table.loc[table["cost"] > 0, "cost"]
        if len(positive) and positive.max() > _WIDE_RANGE * positive.min():
            # Raw inputs cost nothing, so the axis is linear up to the cheapest network.
            is_free = len(positive) < len(table)
            options = {"linthresh": float(positive.min())} if is_free else {}
            self.ax_.set_xscale("symlog" if is_free else "log", **options)

    def _draw_others(self, table: "pd.DataFrame") -> None:
        for is_one, marker, label in ((True, "o", "one module"), (False, "x", "several")):
            rows = table[(table["n_modules"] == 1) == is_one]
            if len(rows):
                self.ax_.plot(
                    rows["cost"], rows["accuracy"], marker, color=OTHERS, markersize=5, label=label
                )

    def _draw_front(self, table: "pd.DataFrame") -> None:
        self.ax_.vlines(table["cost"], table["low"], table["high"], color=BEST, alpha=0.35)
        label = "nothing better for less, 95 % intervals"
        self.ax_.plot(table["cost"], table["accuracy"], "o", color=BEST, markersize=7, label=label)
        self.ax_.step(table["cost"], table["accuracy"], where="post", color=BEST, linewidth=1.2)

    def _mark_chosen(self, table: "pd.DataFrame") -> None:
        self.ax_.plot(
            table["cost"],
            table["accuracy"],
            "o",
            markersize=13,
            markerfacecolor="none",
            markeredgecolor=INK,
            markeredgewidth=1.4,
            label="chosen" if len(table) else None,
        )

    def _name_front(self, table: "pd.DataFrame") -> None:
        ends = [
            EndLabel(row["modules"], row["cost"], row["accuracy"], BEST)
            for row in table.to_dict("records")
        ]
        label_ends(self.ax_, sorted(ends, key=lambda end: -end.y))
