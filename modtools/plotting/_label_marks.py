"""Marks in the plot of label efficiency: ticks, levels, and where lines reach the target."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from modtools.plotting._display import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "MOST_TICKS",
    "REACH_TEXTS",
    "count_ticks",
    "draw_level",
    "mark_reached",
    "reach_status",
    "reach_text",
    "set_ticks",
]

MOST_TICKS = 14
REACH_TEXTS: Final = {
    "reached": "at {:.0f} labels",
    "more_than": "not reached",
    "below_first": "from the first count on",
}
_SMALL: Any = {"textcoords": "offset points", "fontsize": "small"}


def count_ticks(n_labels: NDArray[Any], furthest: float = 0.0) -> NDArray[Any]:
    """Return the label counts at ticks: measured ones nearest to 1, 2, 5, 10, ..., and both ends.

    Beyond them, up to the last extrapolated count, ticks are at round numbers.

    >>> count_ticks(np.arange(10, 301)).tolist(), count_ticks(np.array([12, 40, 90])).tolist()
    ([10, 20, 50, 100, 200, 300], [12, 40, 90])
    >>> count_ticks(np.array([10, 30]), furthest=120).tolist()
    [10.0, 30.0, 50.0, 100.0]
    """
    counts = np.unique(n_labels)
    last = max(counts[-1], furthest)
    gap = np.log(last / counts[0]) / MOST_TICKS
    kept = counts.tolist()
    if len(counts) > 6:
        wanted = _round_counts(counts[0], counts[-1])
        nearest = counts[np.abs(np.log(counts)[:, None] - np.log(wanted)).argmin(axis=0)]
        kept = [counts[0]]
        for count in np.unique(nearest):
            if np.log(count / kept[-1]) > gap and np.log(counts[-1] / count) > gap:
                kept.append(count)
        kept.append(counts[-1])
    return np.unique([*kept, *_round_counts(counts[-1] * np.exp(gap), last)])


def _round_counts(first: float, last: float) -> NDArray[Any]:
    """Return 1, 2, 5, 10, 20, ... from first to last."""
    decades = 10.0 ** np.arange(np.floor(np.log10(first)), np.log10(last) + 1)
    found = np.outer(decades, [1, 2, 5]).ravel()
    return found[(found >= first) & (found <= last)]


def set_ticks(ax: "Axes", ticks: NDArray[Any]) -> None:
    """Put ticks at these counts and no others."""
    from matplotlib.ticker import NullLocator

    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(ticks.tolist(), labels=[f"{tick:g}" for tick in ticks])


def draw_level(
    ax: "Axes", percent: float, text: str = "", *, below: bool = False, **style: Any
) -> None:
    """Draw a horizontal line, labelled above (or below) its left end, far from rising lines."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, max(high, percent + 0.07 * (high - low)))
    ax.axhline(percent, **style)
    if text:
        place: dict[str, Any] = {"xycoords": ax.get_yaxis_transform()}
        place |= {"xytext": (3, -3), "va": "top"} if below else {"xytext": (3, 3)}
        ax.annotate(text, (0.0, percent), color=INK, **place, **_SMALL)


def mark_reached(
    ax: "Axes", row: Mapping[Any, Any], target: float, *, color: Any, marker: str, label: bool
) -> None:
    """Draw a ring and its interval where a line reaches the target, and a label if asked to.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where the lines are drawn; its limits stay as they are.
    row : mapping
        n_labels, n_labels_low, n_labels_high and, if known, status.
    target : float
        The accuracy reached, in [0, 1].
    color, marker : color, str
        Those of the line.
    label : bool
        Whether the number is written beside the ring.
    """
    if reach_status(row) != "reached":
        return
    left, right = ax.get_xlim()
    percent = 100.0 * target
    ends = np.clip(
        np.nan_to_num([row["n_labels_low"], row["n_labels_high"]], nan=row["n_labels"]), left, right
    )
    ax.hlines(percent, *ends, color=color, linewidth=3.2, alpha=0.6, zorder=4)
    ring: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": color, "zorder": 5}
    ring |= {"markersize": 9.5, "markeredgewidth": 1.8, "linestyle": "none"}
    ax.plot([row["n_labels"]], [percent], marker=marker, **ring)
    ax.set_xlim(left, right)
    if label:
        _label_ring(ax, row, target)


def _label_ring(ax: "Axes", row: Mapping[Any, Any], target: float) -> None:
    """Write beside a ring, on the empty side of a rising line."""
    left, right = np.log(ax.get_xlim())
    is_right = np.log(row["n_labels"]) - left > 0.6 * (right - left)
    ax.annotate(
        reach_text(row, target) + _interval_text(row),
        (row["n_labels"], 100.0 * target),
        xytext=(-8, 9) if is_right else (8, -9),
        textcoords="offset points",
        ha="right" if is_right else "left",
        va="bottom" if is_right else "top",
        color=INK,
        fontweight="bold",
        # Other lines may pass behind it.
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0},
        zorder=6,
    )


def reach_status(row: Mapping[Any, Any]) -> str:
    """Return "reached", "more_than" (not reached) or "below_first" (reached from the first count).

    >>> reach_status({"n_labels": np.inf}), reach_status({"n_labels": 10, "status": "below_first"})
    ('more_than', 'below_first')
    """
    stated = row.get("status", "")
    if isinstance(stated, str) and stated:
        return stated
    return "reached" if np.isfinite(row["n_labels"]) else "more_than"


def reach_text(row: Mapping[Any, Any], target: float) -> str:
    """Return the number of labels to reach the target, as text.

    >>> reach_text({"n_labels": 190}, 0.9), reach_text({"n_labels": float("nan")}, 0.925)
    ('90 % at 190 labels', '92.5 % not reached')
    """
    return f"{100 * target:.3g} % " + REACH_TEXTS[reach_status(row)].format(row["n_labels"])


def _interval_text(row: Mapping[Any, Any]) -> str:
    ends = [row["n_labels_low"], row["n_labels_high"]]
    if np.isnan(ends).any():
        return ""
    low, high = (f"{end:.0f}" if np.isfinite(end) else "∞" for end in ends)
    return f" [{low}, {high}]"
