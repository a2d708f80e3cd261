"""The plot of label efficiency: accuracy against the number of labels on a log axis."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modtools._checks import check_choice, check_fraction
from modtools.exceptions import ModtoolsError
from modtools.plotting._display import (
    BEST,
    INK,
    MARKERS,
    OTHERS,
    Display,
    EndLabel,
    check_share,
    check_shares,
    checked_frame,
    clear_frame,
    label_ends,
    mark_chance,
    new_axes,
    room_for,
    write_title,
)
from modtools.plotting._label_marks import (
    MOST_TICKS,
    REACH_TEXTS,
    count_ticks,
    draw_level,
    mark_reached,
    reach_status,
    reach_text,
    set_ticks,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["LabelEfficiencyDisplay"]

_GREYS = (OTHERS, "#6f6f6f", "#c4c4c4")
_MOST_REPEATS = 30  # thin lines in the whole picture
_NOTE_WIDTH = 90  # letters
_APART = 0.08  # of the height of the panel: labels of nearer levels would overlap
_FIGURES = ["n_labels", "value"]
_LIMITS = ["value_low", "value_high"]
_REACHED = ["line", "n_labels", "n_labels_low", "n_labels_high"]


class _Style(NamedTuple):
    """The style of a line: colour, marker and z-order."""

    color: Any
    marker: str
    zorder: float


class LabelEfficiencyDisplay(Display):
    """Accuracy against the number of labels: one line per module, or other thing compared.

    The axis is logarithmic with ticks at measured label counts. A line is the mean, its band the
    given interval; single random subsets of labels are thin lines if there are at most 30.
    Extrapolated parts are dashed with a paler band, baselines are grey, the accuracy with all
    labels is dotted. A ring marks where a line reaches the target, with the interval as a bar.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns line, n_labels and value (accuracy in [0, 1]), where known value_low and value_high
        (95 % interval), and baseline (bool) for lines that are drawn in grey.
    repeats : pandas.DataFrame, optional
        Columns line, repeat, n_labels and value of the single random subsets of labels.
    target : float, optional
        Target accuracy in [0, 1].
    reached : pandas.DataFrame, optional
        Columns line, n_labels, n_labels_low and n_labels_high: the number of labels at which each
        line reaches the target. If the column status is "more_than", or n_labels is missing or
        infinite, it is not reached; if it is "below_first" the smallest count suffices.
    ceiling : float or mapping of str to float, optional
        Accuracy with all labels: one for all lines, or one per line.
    forecast : pandas.DataFrame, optional
        Columns of `table` for the extrapolated part, with 80 % intervals; lines may be missing.
    chance : float, optional
        Accuracy of the largest class, without any features.
    title : str, default=""
        Title of the picture.

    Examples
    --------
    >>> import pandas as pd
    >>> accuracies = {"line": "lite0", "n_labels": [10, 100], "value": [0.6, 0.9]}
    >>> display = LabelEfficiencyDisplay(pd.DataFrame(accuracies))
    >>> display.frame()[["line", "n_labels", "value", "extrapolated"]].values.tolist()
    [['lite0', 10, 0.6, False], ['lite0', 100, 0.9, False]]
    """

    ax_: "Axes"

    def __init__(
        self,
        table: "pd.DataFrame",
        *,
        repeats: "pd.DataFrame | None" = None,
        target: float | None = None,
        reached: "pd.DataFrame | None" = None,
        ceiling: float | Mapping[str, float] | None = None,
        forecast: "pd.DataFrame | None" = None,
        chance: float | None = None,
        title: str = "",
    ) -> None:
        super().__init__(title=title)
        self.table = _checked(table, "table", ["line", *_FIGURES])
        self.repeats = None
        if repeats is not None:
            self.repeats = _checked(repeats, "repeats", ["line", "repeat", *_FIGURES])
        self.reached = None
        if reached is not None:
            self.reached = _checked(reached, "reached", _REACHED)
        self.forecast = None
        if forecast is not None:
            self.forecast = _checked(forecast, "forecast", ["line", *_FIGURES])
        self.target = None if target is None else check_fraction(target, name="target")
        self.ceiling: float | dict[str, float] | None = None
        if isinstance(ceiling, Mapping):
            self.ceiling = {
                line: check_share(share, name=f'ceiling of "{line}"')
                for line, share in ceiling.items()
            }
        elif ceiling is not None:
            self.ceiling = check_share(ceiling, name="ceiling")
        self.chance = None if chance is None else check_share(chance, name="chance")
        self._check_lines()

    def _check_lines(self) -> None:
        """Raise if an argument names a line that is not drawn."""
        known = {*self.table["line"], *([] if self.forecast is None else self.forecast["line"])}
        given = {"repeats": self.repeats, "reached": self.reached}
        lines = {name: set(part["line"]) for name, part in given.items() if part is not None}
        if isinstance(self.ceiling, Mapping):
            lines["ceiling"] = set(self.ceiling)
        for name, own in lines.items():
            if own - known:
                raise ModtoolsError(
                    f"{name} must be about the lines of the table, {sorted(known)}; "
                    f"got {sorted(own - known)[0]!r}."
                )

    def frame(self) -> "pd.DataFrame":
        """Return the drawn lines, extrapolated values after measured ones.

        Returns
        -------
        pandas.DataFrame
            Columns line, n_labels, value, value_low, value_high (missing where not known),
            baseline and extrapolated (both bool); accuracies in [0, 1].
        """
        import pandas as pd

        whole = _completed(self.table, extrapolated=False)
        if self.forecast is None or not len(self.forecast):
            return whole
        further = _completed(self.forecast, extrapolated=True)
        greys = whole.drop_duplicates("line").set_index("line")["baseline"]
        further["baseline"] = [bool(greys.get(line, False)) for line in further["line"]]
        return pd.concat([whole, further], ignore_index=True)

    def _new_axes(self, table: "pd.DataFrame") -> Any:
        texts = [end.text for end in self._ends(table, _styles(table))]
        width = 7.6 + room_for(texts, letters=32)
        return new_axes(width, max(4.4, 1.6 + 0.26 * table["line"].nunique()))

    def _draw(self, panels: "tuple[Axes, ...]", table: "pd.DataFrame") -> None:
        ax, styles = panels[0], _styles(table)
        ax.set_xscale("log")
        clear_frame(ax, grid="both")
        measured = table.loc[~table["extrapolated"], "n_labels"]
        ticks = count_ticks(measured.to_numpy(), furthest=table["n_labels"].max())
        notes = [*self._draw_repeats(styles), *self._draw_lines(table, styles, ticks)]
        set_ticks(ax, ticks)
        notes += self._draw_levels(styles)
        notes += self._mark_reached(table, styles)
        label_ends(ax, self._ends(table, styles))
        ax.set_xlabel("labels (log axis)", color=INK)
        ax.set_ylabel("accuracy on test examples (%)", color=INK)
        _write_notes(ax, self.title, notes)

    def _draw_repeats(self, styles: Mapping[str, _Style]) -> Iterator[str]:
        """Draw single random subsets if they are few; yield the note about them."""
        if self.repeats is None:
            return
        parts = list(self.repeats.groupby(["line", "repeat"], sort=False))
        if not 0 < len(parts) <= _MOST_REPEATS:
            return
        for (line, _), part in parts:
            color = styles[str(line)].color
            percent = 100.0 * part["value"]
            self.ax_.plot(part["n_labels"], percent, color=color, linewidth=0.7, alpha=0.45)
        yield "thin: single random subsets"

    def _draw_lines(
        self, table: "pd.DataFrame", styles: Mapping[str, _Style], ticks: NDArray[np.intp]
    ) -> list[str]:
        """Draw means and bands; return the notes about them."""
        for (line, further), rows in table.groupby(["line", "extrapolated"], sort=False):
            if further:
                self._draw_forecast(table, rows, styles[str(line)])
            else:
                self._draw_measured(rows, styles[str(line)], ticks)
        measured = table[~table["extrapolated"]]
        notes = ["band: 95 % interval"] if measured["value_low"].notna().any() else []
        if len(measured) == len(table):
            return notes
        banded = table.loc[table["extrapolated"], "value_low"].notna().any()
        dashed = "dashed: extrapolated" + (", 80 % interval" if banded else "")
        if not self._forecast_is_joined(table):
            # It need not pass through the accuracy on the test examples.
            dashed += ", starting at the accuracy estimated from the labels alone"
        return [*notes, dashed]

    @staticmethod
    def _forecast_is_joined(table: "pd.DataFrame") -> bool:
        """Return whether every dashed line continues a measured one, beyond its last count."""
        ends = table[~table["extrapolated"]].groupby("line")["n_labels"].max()
        starts = table[table["extrapolated"]].groupby("line")["n_labels"].min()
        return bool((starts > ends.reindex(starts.index).fillna(np.inf)).all())

    def _draw_measured(self, rows: "pd.DataFrame", style: _Style, ticks: NDArray[np.intp]) -> None:
        counts, percent = rows["n_labels"].to_numpy(), 100.0 * rows["value"].to_numpy()
        low, high = (100.0 * rows[name].to_numpy(dtype=float) for name in _LIMITS)
        band: dict[str, Any] = {"color": style.color, "alpha": 0.17, "linewidth": 0}
        self.ax_.fill_between(counts, low, high, zorder=style.zorder - 1, **band)
        marked = np.flatnonzero(np.isin(counts, ticks) | (len(counts) <= MOST_TICKS))
        self.ax_.plot(
            counts,
            percent,
            color=style.color,
            linewidth=2.0,
            zorder=style.zorder,
            marker=style.marker,
            markevery=marked.tolist(),
            markersize=6,
            markeredgecolor="white",
        )

    def _draw_forecast(self, table: "pd.DataFrame", rows: "pd.DataFrame", style: _Style) -> None:
        """Draw the extrapolated part, joined to the last measured point."""
        own = table[(table["line"] == rows["line"].iloc[0]) & ~table["extrapolated"]]
        counts, percent = rows["n_labels"].to_numpy(), 100.0 * rows["value"].to_numpy()
        low, high = (100.0 * rows[name].to_numpy(dtype=float) for name in _LIMITS)
        band: dict[str, Any] = {"color": style.color, "alpha": 0.08, "linewidth": 0}
        self.ax_.fill_between(counts, low, high, zorder=style.zorder - 1, **band)
        if len(own) and own["n_labels"].iloc[-1] < counts[0]:
            counts = np.concatenate([own["n_labels"].to_numpy()[-1:], counts])
            percent = np.concatenate([100.0 * own["value"].to_numpy()[-1:], percent])
        dashes: dict[str, Any] = {"linewidth": 1.8, "linestyle": (0, (4, 2.2))}
        self.ax_.plot(counts, percent, color=style.color, zorder=style.zorder, **dashes)

    def _draw_levels(self, styles: Mapping[str, _Style]) -> Iterator[str]:
        """Draw target, ceiling and chance; yield the note about them."""
        low, high = self.ax_.get_ylim()
        low, high = max(low, -1.0), min(high, 101.0)
        self.ax_.set_ylim(low, high)
        gap = np.inf  # from the target up to the ceiling, in percent
        if self.target is not None and isinstance(self.ceiling, float):
            gap = 100.0 * (self.ceiling - self.target)
        is_close = abs(gap) < _APART * (high - low)
        if self.target is not None:
            style: dict[str, Any] = {"color": INK, "linewidth": 0.9, "zorder": 1.4}
            style["below"] = is_close and gap >= 0
            draw_level(self.ax_, 100.0 * self.target, f"target: {100 * self.target:.3g} %", **style)
        dots: dict[str, Any] = {"linestyle": ":", "linewidth": 1.4, "zorder": 1.5}
        if isinstance(self.ceiling, Mapping):
            for line, accuracy in self.ceiling.items():
                draw_level(self.ax_, 100.0 * accuracy, color=styles[line].color, **dots)
            yield "dotted: with all labels"
        elif self.ceiling is not None:
            text = f"with all labels: {100 * self.ceiling:.1f} %"
            below = is_close and gap < 0
            draw_level(self.ax_, 100.0 * self.ceiling, text, below=below, color=INK, **dots)
        if self.chance is not None:
            mark_chance(self.ax_, 100.0 * self.chance, axis="y")

    def _mark_reached(self, table: "pd.DataFrame", styles: Mapping[str, _Style]) -> Iterator[str]:
        """Mark where lines reach the target; yield the note about the intervals drawn there."""
        rows = self._reached_rows()
        measured = table[~table["extrapolated"]].groupby("line")["n_labels"].max()
        levels = set()
        for row in rows:
            line = str(row["line"])
            color, marker, _ = styles[line]
            alone = len(rows) == 1
            mark_reached(self.ax_, row, self.target or 0, color=color, marker=marker, label=alone)
            if (
                reach_status(row) == "reached"
                and not np.isnan([row["n_labels_low"], row["n_labels_high"]]).all()
            ):
                levels.add("95 %" if row["n_labels"] <= measured.get(line, 0) else "80 %")
        if levels:
            yield f"bar: {' or '.join(sorted(levels))} interval of the number of labels"

    def _reached_rows(self) -> list[dict[Any, Any]]:
        if self.reached is None or self.target is None:
            return []
        return self.reached.to_dict("records")

    def _ends(self, table: "pd.DataFrame", styles: Mapping[str, _Style]) -> list[EndLabel]:
        """Return the labels of the lines: name and accuracy, or number of labels to the target."""
        reached = {str(row["line"]): row for row in self._reached_rows()}
        ends = []
        for line, rows in table.groupby("line", sort=False):
            last = rows.iloc[-1]
            percent = 100 * float(last["value"])
            text = f"about {percent:.0f} %" if last["extrapolated"] else f"{percent:.1f} %"
            row = reached.get(str(line))
            if row is not None and (len(reached) > 1 or reach_status(row) != "reached"):
                text = reach_text(row, self.target or 0)
            name, color = f"{line}  {text}".strip(), styles[str(line)].color
            ends.append(EndLabel(name, float(last["n_labels"]), percent, color))
        return ends


def _checked(frame: "pd.DataFrame", name: str, columns: Sequence[str]) -> "pd.DataFrame":
    """Return a copy of a frame that has these columns with valid numbers."""
    empty = "a label efficiency without label counts cannot be drawn." if name == "table" else ""
    if name == "reached":
        frame = checked_frame(frame, name, columns, gaps=_REACHED[1:])
        for status in frame.get("status", ()):
            if isinstance(status, str) and status:
                check_choice(status, [*REACH_TEXTS], name="status")
        return frame.assign(line=frame["line"].astype(str))
    frame = checked_frame(frame, name, columns, empty=empty, gaps=[*_FIGURES, *_LIMITS])
    if not (frame["n_labels"].between(0, np.inf, inclusive="neither")).all():
        raise ModtoolsError(
            f"n_labels of {name} must be above 0, or it has no place on a log axis."
        )
    if frame["value"].isna().any():
        raise ModtoolsError(f"value of {name} must lie in [0, 1]; a missing one is left out first.")
    check_shares(frame, name, ["value", *_LIMITS])
    return frame.assign(line=frame["line"].astype(str))


def _completed(frame: "pd.DataFrame", *, extrapolated: bool) -> "pd.DataFrame":
    """Return all columns of `frame()`, sorted by count within a line, lines in the order given."""
    full = frame.reindex(columns=["line", *_FIGURES, *_LIMITS])
    full["baseline"] = frame["baseline"].astype(bool) if "baseline" in frame else False
    full["extrapolated"] = extrapolated
    parts = [rows.sort_values("n_labels") for _, rows in full.groupby("line", sort=False)]
    import pandas as pd

    return pd.concat(parts, ignore_index=True)


def _styles(table: "pd.DataFrame") -> dict[str, _Style]:
    """Return colour, marker and z-order of each line; baselines are behind."""
    import seaborn as sns

    greys = table.drop_duplicates("line").set_index("line")["baseline"].to_dict()
    n_colored = sum(not is_grey for is_grey in greys.values())
    palette = [BEST] if n_colored == 1 else sns.color_palette("colorblind", n_colored)
    colors, shades = iter(palette), 0
    styles = {}
    for place, (line, is_grey) in enumerate(greys.items()):
        color = _GREYS[shades % len(_GREYS)] if is_grey else next(colors)
        shades += is_grey
        marker = MARKERS[place % len(MARKERS)]
        styles[str(line)] = _Style(color, marker, 2.4 if is_grey else 2.8)
    return styles


def _write_notes(ax: "Axes", title: str, notes: Sequence[str]) -> None:
    """Write the title and, smaller and below it, the notes."""
    text = textwrap.fill(", ".join(notes), _NOTE_WIDTH)
    ax.annotate(
        text,
        (0.0, 1.0),
        xycoords="axes fraction",
        xytext=(0, 6),
        textcoords="offset points",
        color=INK,
        fontsize="small",
    )
    write_title(ax, title, pad=6 + 13 * (text.count("\n") + 1 if text else 0))
