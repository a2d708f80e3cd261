"""The plot of an agreement: predicted against achieved accuracy, and the rank correlations."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from modtools._escape import picture_text
from modtools.exceptions import ModtoolsError
from modtools.plotting._display import (
    BEST,
    FAINT,
    INK,
    MARKERS,
    PALE,
    Display,
    check_shares,
    check_text,
    checked_frame,
    clear_frame,
    legend_below,
    name_rows,
    new_axes,
    root_figure,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_POINTS = ("task", "module", "predicted", "achieved")
_AGREEMENT = ("score", "task", "weighted_tau", "is_baseline")
_INTERVALS = ("score", "weighted_tau_low", "weighted_tau_high")
_N_OUTLIERS = 3
_APART = 0.05  # of the height of the panel
_AWAY = 7.0  # from a point to its label, in 1/72 inch
_RADIUS = 4.0  # of a point, in 1/72 inch
# Where a label may lie, in the order tried: to the left and up first; below the middle line to the
# right and down.
_WAYS = np.array([(-1, 0), (-1, 1), (0, 1), (1, 1), (-1, -1), (0, -1), (1, -1), (1, 0)])


class AgreementDisplay(Display):
    """Predicted against achieved accuracy, beside the rank agreement of every score.

    On the left one score against the achieved accuracy: one colour and marker per task; the three
    modules furthest from the diagonal are labelled. If the score is an accuracy both axes are in
    percent and the diagonal is drawn. On the right the weighted tau of every score: the bar is the
    mean over tasks, a dot is one task, the line is the 95 % interval if given, hatched bars are
    label-free baselines.

    Parameters
    ----------
    points : pandas.DataFrame
        Columns task, module, predicted and achieved, of the one score drawn on the left.
    agreement : pandas.DataFrame
        Columns score, task, weighted_tau and is_baseline (whether it is label-free), one row per
        score and task, best score first.
    score : str
        Name of the score on the left.
    accuracy : bool, default=False
        Whether that score is an accuracy in [0, 1].
    intervals : pandas.DataFrame, optional
        Columns score, weighted_tau_low and weighted_tau_high, one row per score.
    label : str, optional
        What the horizontal axis shows; "predicted by" the score by default.

    Examples
    --------
    >>> import pandas as pd
    >>> accuracies = {"predicted": [0.9, 0.8], "achieved": [0.8, 0.8]}
    >>> points = pd.DataFrame({"task": ["t", "t"], "module": ["a", "b"], **accuracies})
    >>> agreement = pd.DataFrame(
    ...     {"score": ["ridge"], "task": ["t"], "weighted_tau": [1.0], "is_baseline": [False]}
    ... )
    >>> display = AgreementDisplay(points=points, agreement=agreement, score="ridge", accuracy=True)
    >>> display.frame()["predicted"].tolist()
    [0.9, 0.8]
    """

    _most_panels = 2

    def __init__(
        self,
        *,
        points: "pd.DataFrame",
        agreement: "pd.DataFrame",
        score: str,
        accuracy: bool = False,
        intervals: "pd.DataFrame | None" = None,
        label: str = "",
    ) -> None:
        super().__init__()
        empty = "an agreement check without modules or scores cannot be drawn."
        self.points = checked_frame(points, "points", _POINTS, empty=empty, numbers=_POINTS[2:])
        check_shares(self.points, "points", ["achieved"])
        numbers = ["weighted_tau"]
        self.agreement = checked_frame(
            agreement, "agreement", _AGREEMENT, empty=empty, numbers=numbers
        )
        self.intervals = None
        if intervals is not None:
            options: dict[str, Any] = {"empty": empty, "numbers": _INTERVALS[1:]}
            self.intervals = checked_frame(intervals, "intervals", _INTERVALS, **options)
            strange = set(self.intervals["score"]) - set(self.agreement["score"])
            if strange:
                raise ModtoolsError(
                    f"intervals are of {min(strange)!r}, agreement has no such score."
                )
        self.score = check_text(score, name="score")
        self.label = check_text(label, name="label")
        self.accuracy = accuracy

    def frame(self) -> "pd.DataFrame":
        """Return the points drawn on the left: task, module, predicted and achieved.

        Returns
        -------
        pandas.DataFrame
            One row per module and task; accuracies as fractions.
        """
        return self.points[list(_POINTS)].reset_index(drop=True)

    def _new_axes(self, table: "pd.DataFrame") -> Any:
        n_bars, n_tasks = self.agreement["score"].nunique(), table["task"].nunique()
        height = max(4.4 + 0.2 * n_tasks, 1.4 + 0.27 * n_bars)
        return new_axes(9.2, height, ncols=2, gridspec_kw={"width_ratios": [1.35, 1]})

    def _draw(self, panels: "tuple[Axes, ...]", table: "pd.DataFrame") -> None:
        self._draw_points(panels[0], table)
        if len(panels) == 2:
            self._draw_bars(panels[1])
        _label_points(panels[0], _outliers(table, accuracy=self.accuracy), table)

    def _draw_points(self, ax: "Axes", table: "pd.DataFrame") -> None:
        import seaborn as sns

        table["achieved"] *= 100.0
        table["predicted"] *= 100.0 if self.accuracy else 1.0
        clear_frame(ax, grid="both")
        tasks = list(dict.fromkeys(table["task"]))
        for place, color in enumerate(sns.color_palette("colorblind", len(tasks))):
            rows = table[table["task"] == tasks[place]]
            marker = MARKERS[place % len(MARKERS)]
            style: dict[str, Any] = {"color": color, "markeredgecolor": "white", "markersize": 8.5}
            ax.plot(
                rows["predicted"],
                rows["achieved"],
                marker,
                label=_legend_text(tasks[place]),
                **style,
            )
        if self.accuracy:
            _draw_diagonal(ax)
        label = picture_text(self.label or f"predicted by {self.score}")
        ax.set_xlabel(label + (" (%)" if self.accuracy else ""), color=INK)
        ax.set_ylabel("achieved by the retrained output module (%)", color=INK)
        # Below the panel and with a title: a legend within it looks like more points.
        legend_below(ax, title="task", title_fontsize="small", alignment="left", ncols=2)

    def _draw_bars(self, ax: "Axes") -> None:
        clear_frame(ax, grid="x")
        names = list(dict.fromkeys(self.agreement["score"]))
        for place, name in enumerate(names):
            rows = self.agreement[self.agreement["score"] == name]
            is_baseline = bool(rows["is_baseline"].iloc[0])
            ax.barh(
                place,
                rows["weighted_tau"].mean(),
                height=0.66,
                color="white" if is_baseline else BEST if name == self.score else PALE,
                edgecolor=FAINT if is_baseline else "none",
                hatch="////" if is_baseline else None,
            )
            if len(rows) > 1:
                dots: dict[str, Any] = {"color": INK, "markersize": 3.5, "alpha": 0.5}
                ax.plot(rows["weighted_tau"], [place] * len(rows), "o", **dots)
        if self.intervals is not None:
            for row in self.intervals.to_dict("records"):
                span = row["weighted_tau_low"], row["weighted_tau_high"]
                ax.plot(span, [names.index(row["score"])] * 2, color=INK, linewidth=1.6)
        ax.axvline(0.0, color=INK, linewidth=0.8)
        name_rows(ax, names)
        lows = [self.agreement["weighted_tau"].min()]
        if self.intervals is not None:
            lows.append(self.intervals["weighted_tau_low"].min())
        ax.set_xlim(min(-0.05, 1.03 * np.nanmin(lows)), 1.03)
        notes = ["bar: mean, dot: one task"] if self.agreement["task"].nunique() > 1 else []
        notes += ["line: 95 % interval"] if self.intervals is not None else []
        notes += [
            "hatched: label-free baseline"
            if self.agreement["is_baseline"].any()
            else "1 is perfect"
        ]
        ax.set_xlabel("weighted tau with the achieved accuracy", color=INK)
        ax.set_title(textwrap.fill(", ".join(notes), 52), loc="left", fontsize="small", color=INK)


def _legend_text(task: Any) -> str:
    """Return the name of a task for the legend, which skips labels that begin with "_"."""
    return picture_text(f" {task}" if str(task).startswith("_") else str(task))


def _draw_diagonal(ax: "Axes") -> None:
    low = min(ax.get_xlim()[0], ax.get_ylim()[0])
    high = min(max(ax.get_xlim()[1], ax.get_ylim()[1]), 101.0)
    ax.plot([low, high], [low, high], "--", color=FAINT, linewidth=1.0, zorder=0.5)
    ax.set(xlim=(low, high), ylim=(low, high))
    ax.set_aspect("equal", adjustable="box")


def _outliers(table: "pd.DataFrame", *, accuracy: bool) -> list[dict[str, Any]]:
    """Return the points furthest from the diagonal: in accuracy, or in rank for other scores.

    A point at the height of a labelled one gets no label, so that labels do not overlap.
    """
    seen = table[["predicted", "achieved"]]
    if not accuracy:
        seen = seen.groupby(table["task"]).rank()
    distance = (seen["predicted"] - seen["achieved"]).abs()
    furthest = distance[distance > 0].sort_values(ascending=False, kind="stable")
    apart = _APART * float(table["achieved"].max() - table["achieved"].min())
    labelled: list[dict[str, Any]] = []
    for row in table.loc[furthest.index].to_dict("records"):
        if all(abs(row["achieved"] - other["achieved"]) > apart for other in labelled):
            labelled.append({str(key): value for key, value in row.items()})
    return labelled[:_N_OUTLIERS]


def _label_points(ax: "Axes", rows: list[dict[str, Any]], table: "pd.DataFrame") -> None:
    """Write beside points, where few other points and no edge of the panel are hidden."""
    from matplotlib.text import Text

    figure = root_figure(ax)
    figure.draw_without_rendering()  # the layout decides where the panel is
    unit = figure.dpi / 72.0
    panel = np.asarray(ax.get_window_extent().extents)
    points = ax.transData.transform(table[["predicted", "achieved"]].to_numpy(dtype=float))
    taken = [np.r_[point - _RADIUS * unit, point + _RADIUS * unit] for point in points]
    for row in rows:
        where = row["predicted"], row["achieved"]
        style: dict[str, Any] = {"fontsize": "small", "color": INK, "annotation_clip": False}
        name = picture_text(str(row["module"]))
        text = ax.annotate(name, where, xytext=(0, 0), textcoords="offset points", **style)
        size = np.asarray(Text.get_window_extent(text).size)
        point = ax.transData.transform(where)
        is_above = (point - panel[:2]).argmax() == 1  # of the middle line
        corners = [
            point + unit * _AWAY * way + (way - 1) * size / 2
            for way in (_WAYS if is_above else _WAYS[::-1])
        ]
        within = [np.maximum(np.minimum(at, panel[2:] - size), panel[:2]) for at in corners]
        best = min(within, key=lambda at: _n_hidden(at, at + size, taken))
        taken.append(np.r_[best, best + size])
        text.set_position(tuple((best - point) / unit))


def _n_hidden(low: Any, high: Any, others: Sequence[Any]) -> int:
    """Return how many of the other boxes overlap one, each given by its two corners."""
    return sum(bool((low < other[2:]).all() and (other[:2] < high).all()) for other in others)
