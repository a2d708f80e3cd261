"""The plot of an agreement: predicted against achieved accuracy, and the rank correlations."""

import textwrap
from typing import TYPE_CHECKING, Any

from modtools._escape import picture_text
from modtools.plotting._display import (
    BEST,
    FAINT,
    INK,
    MARKERS,
    PALE,
    Display,
    checked_frame,
    clear_frame,
    legend_below,
    name_rows,
    new_axes,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_POINTS = ("task", "module", "predicted", "achieved")
_AGREEMENT = ("score", "task", "weighted_tau", "static")
_INTERVALS = ("score", "weighted_tau_low", "weighted_tau_high")
_N_OUTLIERS = 3
_APART = 0.05  # of the height of the panel


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
        Columns score, task, weighted_tau and static (whether it is a label-free baseline), one row
        per score and task, best score first.
    score : str
        Name of the score on the left.
    accuracy : bool, default=False
        Whether that score is an accuracy in [0, 1].
    intervals : pandas.DataFrame, optional
        Columns score, weighted_tau_low and weighted_tau_high, one row per score.

    Examples
    --------
    >>> import pandas as pd
    >>> accuracies = {"predicted": [0.9, 0.8], "achieved": [0.8, 0.8]}
    >>> points = pd.DataFrame({"task": ["t", "t"], "module": ["a", "b"], **accuracies})
    >>> agreement = pd.DataFrame(
    ...     {"score": ["ridge"], "task": ["t"], "weighted_tau": [1.0], "static": [False]}
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
    ) -> None:
        super().__init__()
        empty = "an agreement check without modules or scores cannot be drawn."
        self.points = checked_frame(points, "points", _POINTS, empty=empty)
        self.agreement = checked_frame(agreement, "agreement", _AGREEMENT, empty=empty)
        self.intervals = None
        if intervals is not None:
            self.intervals = checked_frame(intervals, "intervals", _INTERVALS, empty=empty)
        self.score = score
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
        for row in _outliers(table, accuracy=self.accuracy):
            _label_point(ax, row["module"], row["predicted"], row["achieved"])
        ax.set_xlabel(
            _predicted_by(self.score) + (" (%)" if self.accuracy else ""),
            color=INK,
        )
        ax.set_ylabel("achieved by the retrained output module (%)", color=INK)
        # Below the panel and with a title: a legend within it looks like more points.
        legend_below(ax, title="task", title_fontsize="small", alignment="left", ncols=2)

    def _draw_bars(self, ax: "Axes") -> None:
        clear_frame(ax, grid="x")
        names = list(dict.fromkeys(self.agreement["score"]))
        for place, name in enumerate(names):
            rows = self.agreement[self.agreement["score"] == name]
            static = bool(rows["static"].iloc[0])
            ax.barh(
                place,
                rows["weighted_tau"].mean(),
                height=0.66,
                color="white" if static else BEST if name == self.score else PALE,
                edgecolor=FAINT if static else "none",
                hatch="////" if static else None,
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
        ax.set_xlim(min(-0.05, 1.1 * self.agreement["weighted_tau"].min()), 1.03)
        notes = ["bar: mean, dot: one task"] if self.agreement["task"].nunique() > 1 else []
        notes += ["line: 95 % interval"] if self.intervals is not None else []
        notes += [
            "hatched: label-free baseline" if self.agreement["static"].any() else "1 is perfect"
        ]
        ax.set_xlabel("weighted tau with the achieved accuracy", color=INK)
        ax.set_title(textwrap.fill(", ".join(notes), 52), loc="left", fontsize="small", color=INK)


def _predicted_by(score: str) -> str:
    """Return what the horizontal axis shows; what is called "predicted" says so once."""
    return "predicted" if score == "predicted" else f"predicted by {picture_text(score)}"


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


def _label_point(ax: "Axes", text: str, x: float, y: float) -> None:
    """Write beside a point, on the side away from the middle line so that few points are hidden."""
    is_above = y - ax.get_ylim()[0] > x - ax.get_xlim()[0]
    is_left = is_above and x - ax.get_xlim()[0] > 0.3 * (ax.get_xlim()[1] - ax.get_xlim()[0])
    ax.annotate(
        picture_text(str(text)),
        (x, y),
        xytext=(-7 if is_left else 7, 2 if is_above else -8),
        textcoords="offset points",
        ha="right" if is_left else "left",
        fontsize="small",
        color=INK,
    )
