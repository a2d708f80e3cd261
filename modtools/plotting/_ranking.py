"""The picture of a ranking: dots with intervals, best on top."""

from typing import TYPE_CHECKING, Any

from modtools._escape import picture_text
from modtools._intervals import ROUNDED_95
from modtools.plotting._display import (
    BEST,
    INK,
    OTHERS,
    Display,
    checked_frame,
    clear_frame,
    legend_below,
    mark_chance,
    name_rows,
    new_axes,
    write_title,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


class RankingDisplay(Display):
    """One score of several modules on one task: dots with 95 % intervals, best on top.

    A module shares the colour of the best when these labels cannot tell the two apart: where the
    frame does not say so (column like_best), when their 95 % intervals overlap (value plus and
    minus 1.96 standard errors). That rule is cautious: scores computed on the same rows vary
    together, so some modules in this colour do differ.

    Parameters
    ----------
    results : pandas.DataFrame
        Columns module, value and, where known, standard_error, like_best and achieved; one row a
        module, best first. The frame is copied.
    score : str
        Name of the score; empty where values are predicted from several.
    accuracy : bool, default=False
        Whether values are accuracies in [0, 1]; they are drawn in percent.
    chance : float, optional
        Accuracy that needs no features, marked in the picture.
    title : str, default=""
        Title of the picture.

    Examples
    --------
    >>> import pandas as pd
    >>> results = pd.DataFrame({"module": ["a", "b"], "value": [0.9, 0.6]})
    >>> display = RankingDisplay(results=results, score="ridge", accuracy=True)
    >>> display.frame()["like_best"].tolist()
    [True, False]
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
        self.results = checked_frame(results, "results", ["module", "value"], empty=empty)
        self.score = score
        self.accuracy = accuracy
        self.chance = chance

    def frame(self) -> "pd.DataFrame":
        """Return the drawn numbers: module, value, lower, upper, like_best and achieved.

        Returns
        -------
        pandas.DataFrame
            One row a module, best first; without a standard error the limits are the value itself,
            and achieved is missing where it is not known.
        """
        table = self.results[["module", "value"]].reset_index(drop=True)
        errors = self.results.get("standard_error", 0.0 * self.results["value"])
        half = ROUNDED_95 * errors.astype(float).fillna(0.0).to_numpy()
        lower, upper = table["value"] - half, table["value"] + half
        if self.accuracy:
            lower, upper = lower.clip(lower=0.0), upper.clip(upper=1.0)
        achieved = self.results.get("achieved", float("nan") * self.results["value"])
        overlaps = upper >= lower.iloc[0]
        return table.assign(
            lower=lower,
            upper=upper,
            like_best=self.results.get("like_best", overlaps).to_numpy(dtype=bool),
            achieved=achieved.astype(float).to_numpy(),
        )

    def _new_axes(self, table: "pd.DataFrame") -> Any:
        return new_axes(7.0, 1.3 + 0.34 * len(table))

    def _draw(self, panels: "tuple[Axes, ...]", table: "pd.DataFrame") -> None:
        ax = panels[0]
        unit = 100.0 if self.accuracy else 1.0
        numbers = ["value", "lower", "upper", "achieved"]
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
        has_intervals = bool((table["upper"] > table["lower"]).any())
        source = f"predicted by {picture_text(self.score)}" if self.score else "predicted"
        texts = {True: f"{source}, 95 % interval: not told apart from the best"}
        texts[False] = "lower than the best"
        for alike, color in ((True, BEST), (False, OTHERS)):
            rows = table[table["like_best"] == alike]
            places = rows.index.to_numpy()
            ax.hlines(places, rows["lower"], rows["upper"], color=color, linewidth=2.2)
            label = texts[alike] if has_intervals and len(rows) else None
            ax.plot(rows["value"], places, "o", color=color, markersize=7.5, label=label)
        known = table[table["achieved"].notna()]
        if len(known):
            ring: dict[str, Any] = {
                "markerfacecolor": "none",
                "markeredgecolor": INK,
                "markeredgewidth": 1.4,
            }
            label = "achieved on rows kept aside"
            places = known.index.to_numpy()
            ax.plot(known["achieved"], places, "o", markersize=11, label=label, **ring)
        if has_intervals or len(known):
            legend_below(ax)
