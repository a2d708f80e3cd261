"""The picture of a ranking: dots with intervals, best on top."""

from typing import TYPE_CHECKING, Any, Self

from modtools._escape import picture_text
from modtools._intervals import ROUNDED_95
from modtools.exceptions import ModtoolsError
from modtools.plotting._display import (
    BEST,
    FAINT,
    INK,
    OTHERS,
    Display,
    clear_frame,
    new_axes,
    root_figure,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_LEGEND_INCHES = 0.55  # room for ticks and axis label


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

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes drawn on, after `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure, after `plot`.

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
        if not len(results):
            raise ModtoolsError("a ranking without modules cannot be drawn.")
        self.results = results.copy()
        self.score = score
        self.accuracy = accuracy
        self.chance = chance
        self.title = title

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

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw on `ax`, or on a new figure.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw.

        Returns
        -------
        RankingDisplay
            The display itself, with `ax_` and `figure_`.
        """
        table = self.frame()
        unit = 100.0 if self.accuracy else 1.0
        numbers = ["value", "lower", "upper", "achieved"]
        table[numbers] = table[numbers] * unit
        self.ax_ = new_axes(7.0, 1.3 + 0.34 * len(table)) if ax is None else ax
        self.figure_ = root_figure(self.ax_)
        clear_frame(self.ax_, grid="x")
        self._draw_dots(table)
        self._mark_chance()
        self.ax_.set_yticks(
            range(len(table)), labels=[*map(picture_text, map(str, table["module"]))]
        )
        self.ax_.set_ylim(len(table) - 0.4, -0.6)
        self.ax_.set_xlabel(
            "accuracy of a retrained output module (%)"
            if self.accuracy
            else picture_text(f"{self.score} (higher is better)"),
            color=INK,
        )
        self.ax_.set_title(picture_text(self.title), loc="left", color=INK)
        return self

    def _draw_dots(self, table: "pd.DataFrame") -> None:
        has_intervals = bool((table["upper"] > table["lower"]).any())
        source = f"predicted by {picture_text(self.score)}" if self.score else "predicted"
        texts = {True: f"{source}, 95 % interval: not told apart from the best"}
        texts[False] = "lower than the best"
        for alike, color in ((True, BEST), (False, OTHERS)):
            rows = table[table["like_best"] == alike]
            places = rows.index.to_numpy()
            self.ax_.hlines(places, rows["lower"], rows["upper"], color=color, linewidth=2.2)
            label = texts[alike] if has_intervals and len(rows) else None
            self.ax_.plot(rows["value"], places, "o", color=color, markersize=7.5, label=label)
        known = table[table["achieved"].notna()]
        if len(known):
            ring: dict[str, Any] = {
                "markerfacecolor": "none",
                "markeredgecolor": INK,
                "markeredgewidth": 1.4,
            }
            label = "achieved on rows kept aside"
            places = known.index.to_numpy()
            self.ax_.plot(known["achieved"], places, "o", markersize=11, label=label, **ring)
        if has_intervals or len(known):
            self._draw_legend()

    def _draw_legend(self) -> None:
        """Write the legend below the axis, at the same distance whatever the height."""
        from matplotlib.transforms import ScaledTranslation

        down = ScaledTranslation(0.0, -_LEGEND_INCHES, self.figure_.dpi_scale_trans)
        self.ax_.legend(
            loc="upper left",
            bbox_to_anchor=(0.0, 0.0),
            bbox_transform=self.ax_.transAxes + down,
            borderaxespad=0.0,
            frameon=False,
            fontsize="small",
            labelcolor=INK,
        )

    def _mark_chance(self) -> None:
        if self.chance is None or not self.accuracy:
            return
        chance = 100.0 * self.chance
        is_left = chance < self.ax_.get_xlim()[0]
        if not is_left:
            self.ax_.axvline(chance, color=FAINT, linestyle=":", linewidth=1.4, zorder=0.5)
        self.ax_.annotate(
            ("◂ " if is_left else "") + f"largest class alone: {chance:.0f} %",
            (0.0 if is_left else chance, 1.0),
            xycoords="axes fraction" if is_left else ("data", "axes fraction"),
            xytext=(5, -2),
            textcoords="offset points",
            va="top",
            color=FAINT,
            fontsize="small",
        )
