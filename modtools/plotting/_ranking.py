"""The plot of a ranking: dots with intervals, best on top."""

import textwrap
from typing import TYPE_CHECKING, Any

from modtools._escape import picture_text
from modtools._intervals import ROUNDED_95
from modtools.plotting._display import (
    BEST,
    INK,
    OTHERS,
    Display,
    check_share,
    check_shares,
    check_text,
    checked_frame,
    clear_frame,
    legend_below,
    mark_chance,
    name_rows,
    new_axes,
    room_for,
    write_title,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_LEGEND_LETTERS = 72


class RankingDisplay(Display):
    """One score of several modules on one task: dots with 95 % intervals, best on top.

    A module has the colour of the best if the two are not distinguishable with these labels
    (column distinguishable). Without that column they are not distinguishable if their 95 %
    intervals (value plus and minus 1.96 standard errors) overlap. That rule is conservative:
    scores on the same examples are correlated, so some modules of this colour do differ.

    Parameters
    ----------
    results : pandas.DataFrame
        Columns module, value and, if known, standard_error, distinguishable and achieved;
        one row per module, best first. The frame is copied.
    score : str
        Name of the score; empty if values are predicted from several.
    accuracy : bool, default=False
        Whether values are accuracies in [0, 1]; they are drawn in percent.
    chance : float, optional
        Accuracy of the largest class, without any features; marked in the plot.
    title : str, default=""
        Title of the picture.

    Examples
    --------
    >>> import pandas as pd
    >>> results = pd.DataFrame({"module": ["a", "b"], "value": [0.9, 0.6]})
    >>> display = RankingDisplay(results=results, score="ridge", accuracy=True)
    >>> display.frame()["distinguishable"].tolist()
    [False, True]
    """

    ax_: "Axes"

    def __init__(
        self,
        *,
        results: "pd.DataFrame",
        score: str,
        accuracy: bool = False,
        chance: float | None = None,
        title: str = "",
    ) -> None:
        super().__init__(title=title)
        empty = "a ranking without modules cannot be drawn."
        self.results = checked_frame(
            results,
            "results",
            ["module", "value"],
            empty=empty,
            numbers=["value"],
            gaps=["standard_error", "achieved"],
        )
        check_shares(self.results, "results", ["achieved", *(["value"] if accuracy else [])])
        self.score = check_text(score, name="score")
        self.accuracy = accuracy
        self.chance = None if chance is None else check_share(chance, name="chance")

    def frame(self) -> "pd.DataFrame":
        """Return the drawn numbers.

        Returns
        -------
        pandas.DataFrame
            Columns module, value, value_low, value_high, distinguishable (from the best) and
            achieved; one row per module, best first. Without a standard error the limits are the
            value itself; an unknown achieved accuracy is missing.
        """
        table = self.results[["module", "value"]].reset_index(drop=True)
        errors = self.results.get("standard_error", 0.0 * self.results["value"])
        half = ROUNDED_95 * errors.astype(float).fillna(0.0).to_numpy()
        low, high = table["value"] - half, table["value"] + half
        if self.accuracy:
            low, high = low.clip(lower=0.0), high.clip(upper=1.0)
        achieved = self.results.get("achieved", float("nan") * self.results["value"])
        differs = high < low.iloc[0]
        return table.assign(
            value_low=low,
            value_high=high,
            distinguishable=self.results.get("distinguishable", differs).to_numpy(dtype=bool),
            achieved=achieved.astype(float).to_numpy(),
        )

    def _new_axes(self, table: "pd.DataFrame") -> Any:
        width = 7.0 + room_for(table["module"], letters=20)
        return new_axes(width, 1.3 + 0.34 * len(table))

    def _draw(self, panels: "tuple[Axes, ...]", table: "pd.DataFrame") -> None:
        ax = panels[0]
        unit = 100.0 if self.accuracy else 1.0
        numbers = ["value", "value_low", "value_high", "achieved"]
        table[numbers] = table[numbers] * unit
        clear_frame(ax, grid="x")
        self._draw_dots(ax, table)
        if self.chance is not None and self.accuracy:
            mark_chance(ax, 100.0 * self.chance, axis="x")
        name_rows(ax, table["module"])
        ax.set_xlabel(
            "accuracy of a retrained output module (%)"
            if self.accuracy
            else picture_text(f"{self.score} (higher is better)"),
            color=INK,
        )
        write_title(ax, self.title)

    def _draw_dots(self, ax: "Axes", table: "pd.DataFrame") -> None:
        has_intervals = bool((table["value_high"] > table["value_low"]).any())
        source = f"predicted by {picture_text(self.score)}" if self.score else "predicted"
        alike = f"{source}, 95 % interval: not distinguishable from the best"
        texts = {False: textwrap.fill(alike, _LEGEND_LETTERS)}
        texts[True] = "lower than the best"
        for differs, color in ((False, BEST), (True, OTHERS)):
            rows = table[table["distinguishable"] == differs]
            places = rows.index.to_numpy()
            ax.hlines(places, rows["value_low"], rows["value_high"], color=color, linewidth=2.2)
            label = texts[differs] if has_intervals and len(rows) else None
            ax.plot(rows["value"], places, "o", color=color, markersize=7.5, label=label)
        known = table[table["achieved"].notna()]
        if len(known):
            ring: dict[str, Any] = {
                "markerfacecolor": "none",
                "markeredgecolor": INK,
                "markeredgewidth": 1.4,
            }
            label = "achieved on held-out examples"
            places = known.index.to_numpy()
            ax.plot(known["achieved"], places, "o", markersize=11, label=label, **ring)
        if has_intervals or len(known):
            legend_below(ax)
