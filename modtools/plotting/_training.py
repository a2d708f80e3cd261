"""The plot of training: accuracy against seconds, and peak memory."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from modtools._escape import picture_text
from modtools.exceptions import ModtoolsError
from modtools.plotting._display import (
    INK,
    Display,
    EndLabel,
    check_shares,
    checked_frame,
    clear_frame,
    label_ends,
    new_axes,
    room_for,
    write_title,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_DASHES = ("-", "--", "-.", ":")  # distinguishable in grey too


class TrainingDisplay(Display):
    """Accuracy against seconds of training, one line per method, best first.

    Seconds rather than epochs, because an epoch of one method costs more than an epoch of another.
    Each line ends in a dot with the name of the method and its last accuracy, the mean over seeds
    if there are several; a method with only a final accuracy is a single dot. A final accuracy on
    other examples than those of the line, the test examples, is an open ring apart from the line,
    and then it is the labelled one. A small second panel shows the peak activation memory if given.

    Parameters
    ----------
    runs : pandas.DataFrame
        Columns method, seconds and accuracy (in [0, 1]; rows where it is missing are left out),
        seed if a method ran several times: one thin line per seed, and on_test_rows (bool), true
        for a last row of a run that was measured on the test examples.
    memory : mapping of str to int, optional
        Peak activation memory of each method in bytes.
    title : str, default=""
        Title of the picture.

    Examples
    --------
    >>> import pandas as pd
    >>> runs = pd.DataFrame({"method": ["a", "a"], "seconds": [1.0, 2.0], "accuracy": [0.5, 0.9]})
    >>> TrainingDisplay(runs=runs, memory={"a": 2_000_000}).frame()["accuracy"].tolist()
    [0.5, 0.9]
    """

    _most_panels = 2

    def __init__(
        self,
        *,
        runs: "pd.DataFrame",
        memory: "Mapping[str, int] | pd.Series[int] | None" = None,
        title: str = "",
    ) -> None:
        super().__init__(title=title)
        empty = (
            "a training without accuracies cannot be drawn; train with validation= to measure one "
            "per epoch."
        )
        columns = ["method", "seconds", "accuracy"]
        options: dict[str, Any] = {"numbers": ["seconds"], "gaps": ["accuracy"]}
        self.runs = checked_frame(runs, "runs", columns, empty=empty, **options)
        self.runs["method"] = self.runs["method"].astype(str)
        check_shares(self.runs, "runs", ["accuracy"])
        if not runs["accuracy"].notna().any():
            raise ModtoolsError(empty)
        self.memory = {} if memory is None else _checked_memory(memory)

    def frame(self) -> "pd.DataFrame":
        """Return the drawn numbers, methods with the highest last accuracy first.

        Returns
        -------
        pandas.DataFrame
            Columns method, seed (0 if none was given), seconds, accuracy (in [0, 1]),
            on_test_rows and peak_activation_bytes (missing where not known).
        """
        table = self.runs.dropna(subset="accuracy")
        table = table.assign(
            seed=table.get("seed", 0),
            on_test_rows=table.get("on_test_rows", False),
            peak_activation_bytes=table["method"].map(self.memory).astype(float),
        )
        last = table.groupby(["method", "seed"], sort=False)["accuracy"].last()
        means = last.groupby("method", sort=False).mean()
        order = {name: place for place, name in enumerate(_best_first(means))}
        columns = ["method", "seed", "seconds", "accuracy", "on_test_rows", "peak_activation_bytes"]
        places = np.argsort(table["method"].map(order).to_numpy(), kind="stable")
        return table[columns].iloc[places].reset_index(drop=True)

    def _new_axes(self, table: "pd.DataFrame") -> Any:
        height = max(3.6, 1.2 + 0.36 * table["method"].nunique())
        more = room_for(table["method"], letters=24)
        if not self.memory:
            return new_axes(7.0 + more, height)
        ratios = {"width_ratios": [2.6, 1.0 + more / 2.6]}  # of the width without long names
        return new_axes(9.4 + 2.0 * more, height, ncols=2, gridspec_kw=ratios)

    def _draw(self, panels: "tuple[Axes, ...]", table: "pd.DataFrame") -> None:
        styles = _styles(list(dict.fromkeys(table["method"])))
        self._draw_lines(panels[0], table, styles)
        if len(panels) == 2:
            _draw_memory(panels[1], table, styles)

    def _draw_lines(
        self, ax: "Axes", table: "pd.DataFrame", styles: Mapping[str, Mapping[str, Any]]
    ) -> None:
        clear_frame(ax, grid="both")
        ends = []
        for method, rows in table.groupby("method", sort=False):
            style = styles[str(method)]
            seeds = [part for _, part in rows.groupby("seed", sort=False)]
            width, size = (2.0, 6.5) if len(seeds) == 1 else (1.0, 4.5)
            for part in seeds:
                apart = part["on_test_rows"].to_numpy(dtype=bool)
                seconds, percent = part["seconds"].to_numpy(), 100.0 * part["accuracy"].to_numpy()
                ax.plot(seconds[~apart], percent[~apart], linewidth=width, **style)
                face = "white" if apart[-1] else style["color"]
                dot: dict[str, Any] = {"markersize": size, "markerfacecolor": face}
                ax.plot(seconds[-1:], percent[-1:], "o", color=style["color"], **dot)
            last = rows.groupby("seed")[["seconds", "accuracy"]].last().mean()
            end = 100.0 * float(last["accuracy"])
            name = f"{method}  {end:.1f} %"
            ends.append(EndLabel(name, float(last["seconds"]), end, style["color"]))
        ax.set_xlim(left=0.0)
        ax.set_xlabel("seconds of training", color=INK)
        ax.set_ylabel("accuracy on held-out examples (%)", color=INK)
        write_title(ax, self.title)
        label_ends(ax, ends)


def _checked_memory(memory: Any) -> dict[str, int]:
    """Return the peak memory of each method, or raise."""
    from pandas import Series

    if not isinstance(memory, Mapping | Series):
        raise ModtoolsError(f"memory must be {{method: bytes}}; got {type(memory).__name__}.")
    for method, peak in memory.items():
        if isinstance(peak, bool) or not isinstance(peak, Real) or not 0 <= float(peak) < np.inf:
            raise ModtoolsError(f'memory of "{method}" must be a number of bytes; got {peak!r}.')
    return {str(method): peak for method, peak in memory.items()}


def _best_first(means: "pd.Series[float]") -> list[str]:
    return [str(name) for name in means.sort_values(ascending=False, kind="stable").index]


def _styles(methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return colour and dashes of each method."""
    import seaborn as sns

    colors = sns.color_palette("colorblind", len(methods))
    return {
        method: {"color": color, "linestyle": _DASHES[place % len(_DASHES)]}
        for place, (method, color) in enumerate(zip(methods, colors, strict=True))
    }


def _draw_memory(
    ax: "Axes", table: "pd.DataFrame", styles: Mapping[str, Mapping[str, Any]]
) -> None:
    clear_frame(ax, grid="x")
    ax.grid(visible=False)  # every bar has its value
    peaks = table.drop_duplicates("method").set_index("method")["peak_activation_bytes"] / 1e6
    text: dict[str, Any] = {"textcoords": "offset points", "color": INK, "fontsize": "small"}
    for place, (method, peak) in enumerate(peaks.items()):
        known = bool(np.isfinite(peak))
        ax.barh(place, peak if known else 0.0, height=0.34, color=styles[str(method)]["color"])
        ax.annotate(
            picture_text(str(method)), (0.0, place - 0.2), xytext=(1, 1), va="bottom", **text
        )
        value, end = (f"{peak:.3g}", peak) if known else ("not known", 0.0)
        ax.annotate(value, (end, place), xytext=(3, 0), va="center", **text)
    ax.set_yticks([])
    ax.set_ylim(len(peaks) - 0.6, -0.8)
    ax.margins(x=0.2)
    ax.set_xlabel("peak activation\nmemory (MB)", color=INK)
