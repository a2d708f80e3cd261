"""The base class of displays: a checked frame, its plot, and the files of the plot."""

import io
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, Self, cast

import numpy as np

from modtools._escape import picture_text
from modtools._places import check_file, is_stream
from modtools._reading import at_home
from modtools._results import html_of, text_table
from modtools._writing import write_file
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colour-blind safe, and distinguishable in grey: the best is darker than the rest.
BEST: Final = "#0173b2"
PALE: Final = "#9cc7e3"
OTHERS: Final = "#a3a3a3"
INK: Final = "#333333"
FAINT: Final = "#8a8a8a"

MARKERS: Final = "osD^vPX*"  # distinguishable in grey too
_UP_TO: Final = {1: "one", 2: "one or two", 3: "one, two or three"}
_LABEL_INCHES = 0.19  # from one line of text to the next
_LETTER_INCHES = 0.08
_MOST_INCHES = 12.0  # for one text
_LEGEND_INCHES = 0.55  # room for ticks and the label of the axis
# The time of writing would make two files of one picture differ.
_NO_DATE: Final = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


class Display(ABC):
    """A plot of numbers, which are available as a frame.

    Without given axes a display makes its own figure: it needs no window system, pyplot does not
    list it, and a notebook shows it with the display. For a window, give `plot` axes of pyplot.

    Parameters
    ----------
    title : str, default=""
        Title of the picture.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes or tuple of them
        The axes drawn on, after `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure, after `plot`.
    """

    ax_: "Axes | tuple[Axes, ...]"
    figure_: "Figure"
    _most_panels: ClassVar[int] = 1

    def __init__(self, *, title: str = "") -> None:
        self.title = check_text(title, name="title")

    @abstractmethod
    def frame(self) -> "pd.DataFrame":
        """Return the drawn numbers.

        Returns
        -------
        pandas.DataFrame
            A copy; changing it does not change the plot.
        """

    @abstractmethod
    def _new_axes(self, table: "pd.DataFrame") -> Any:
        """Return the axes of a new figure with room for these numbers."""

    @abstractmethod
    def _draw(self, panels: "tuple[Axes, ...]", table: "pd.DataFrame") -> None:
        """Draw the numbers of `frame` on the axes."""

    def plot(self, ax: "Axes | Iterable[Axes] | None" = None) -> Self:
        """Draw on the axes given, or on a new figure.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or sequence of them, optional
            Where to draw. On a single axes a plot of several panels draws only the main one.

        Returns
        -------
        Display
            The display itself, with `ax_` and `figure_`.

        Raises
        ------
        ModtoolsError
            What was given are no axes, or more than the plot has panels.
        """
        table = self.frame()
        given = self._new_axes(table) if ax is None else ax
        panels = tuple(given) if isinstance(given, Iterable) else (given,)
        _check_panels(panels, ax, most=self._most_panels)
        self.ax_ = panels[0] if len(panels) == 1 else panels
        self.figure_ = root_figure(panels[0])
        self._draw(panels, table)
        return self

    def save(self, path: str | os.PathLike[str]) -> list[Path]:
        """Save the plot as PNG (200 dots per inch) and SVG beside each other, or as PDF.

        Parameters
        ----------
        path : path-like
            Name of the files. With the suffix .pdf only a PDF is written; with .png, .svg or no
            suffix, PNG and SVG. To a device or a pipe without a suffix only the PNG is written.

        Returns
        -------
        list of pathlib.Path
            The files written.

        Raises
        ------
        ModtoolsError
            Nothing is drawn yet, the suffix is not one of these, or the file cannot be written.
        """
        if "figure_" not in vars(self):
            raise ModtoolsError("nothing is drawn yet: call plot() before save().")
        return save_figure(self.figure_, path)

    def __repr__(self) -> str:
        table = self.frame()
        rows = [[_cell(value) for value in row] for row in table.to_numpy(dtype=object)]
        name = type(self).__name__ + (f": {self.title}" if self.title else "")
        return text_table([str(column) for column in table], rows, title=name)

    def _repr_html_(self) -> str | None:
        """Return the numbers for a notebook, unless it shows the picture."""
        return html_of(repr(self)) if self._repr_png_() is None else None

    def _repr_png_(self) -> bytes | None:
        """Return the picture for a notebook, unless pyplot shows the figure itself."""
        figure = vars(self).get("figure_")
        if figure is None or figure.canvas.manager is not None:
            return None
        pixels = io.BytesIO()
        figure.savefig(pixels, format="png", facecolor="white")
        return pixels.getvalue()


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _check_panels(panels: "tuple[Axes, ...]", given: Any, *, most: int) -> None:
    """Raise unless these are axes, and at most so many."""
    _import_matplotlib()
    from matplotlib.axes import Axes

    if any(not isinstance(panel, Axes) for panel in panels):
        raise ModtoolsError(
            f"ax must be {_UP_TO[most]} axes of matplotlib; got {given!r}. Leave it out for a new "
            "figure."
        )
    if not 0 < len(panels) <= most:
        raise ModtoolsError(f"ax must be {_UP_TO[most]} axes; got {len(panels)}.")


def check_text(text: str, *, name: str) -> str:
    """Return text that is drawn, or raise."""
    if not isinstance(text, str):
        raise ModtoolsError(f"{name} must be a str; got {text!r}.")
    return text


def check_share(value: Any, *, name: str) -> float:
    """Return an accuracy in [0, 1], or raise."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise ModtoolsError(f"{name} must be a number in [0, 1]; got {value!r}.")
    return float(value)


def check_shares(frame: "pd.DataFrame", name: str, columns: Iterable[str]) -> None:
    """Raise where accuracies of a frame do not lie in [0, 1]; missing ones are left alone."""
    for column in columns:
        if column in frame and not frame[column].dropna().between(0, 1).all():
            raise ModtoolsError(
                f"{column} of {name} must lie in [0, 1]; a missing one is left out first."
            )


def checked_frame(
    frame: "pd.DataFrame",
    name: str,
    columns: Sequence[str],
    *,
    empty: str = "",
    numbers: Sequence[str] = (),
    gaps: Sequence[str] = (),
) -> "pd.DataFrame":
    """Return a copy of a frame that has these columns and, if asked for, at least one row.

    Parameters
    ----------
    frame : pandas.DataFrame
        Argument of the user.
    name : str
        Name of the argument.
    columns : sequence of str
        Required columns.
    empty : str
        Message if it has no row; with an empty message it may have none.
    numbers, gaps : sequence of str
        Columns of finite numbers, and of numbers of which some may be missing or infinite; checked
        where they are there.
    """
    from pandas import DataFrame

    if not isinstance(frame, DataFrame):
        raise ModtoolsError(
            f"{name} must be a pandas.DataFrame with the columns {', '.join(columns)}; "
            f"got {type(frame).__name__}."
        )
    missing = [column for column in columns if column not in frame]
    if missing:
        raise ModtoolsError(
            f"{name} must have the columns {', '.join(columns)}; got no {missing[0]}."
        )
    if empty and not len(frame):
        raise ModtoolsError(empty)
    frame = frame.copy()
    for column in [*numbers, *gaps]:
        if column in frame:
            frame[column] = _as_numbers(frame[column], f"{column} of {name}", column in gaps)
    return frame


def _as_numbers(values: "pd.Series[Any]", name: str, may_be_missing: bool) -> "pd.Series[Any]":
    """Return a column as numbers, or raise for what is none."""
    wrong = [v for v in values.dropna() if isinstance(v, bool) or not isinstance(v, Real)]
    if wrong:
        raise ModtoolsError(f"{name} must be numbers; got {wrong[0]!r}.")
    if values.dtype == object:
        values = values.astype(float)
    if not (may_be_missing or np.isfinite(values.to_numpy(dtype=float, na_value=np.nan)).all()):
        raise ModtoolsError(f"{name} must be finite numbers, none of them missing.")
    return values


def check_picture_place(path: str | os.PathLike[str]) -> Path:
    """Return the path if a plot can be saved under it, else raise."""
    for file in _picture_files(path):
        check_file(file)
    return at_home(path)


def _picture_files(path: str | os.PathLike[str]) -> list[Path]:
    """Return the paths of PNG and SVG, or of the single format."""
    path = at_home(path)
    if path.suffix not in ("", ".png", ".svg", ".pdf"):
        raise ModtoolsError(
            f"a picture is saved as .png and .svg, or as .pdf; got the name {path.name!r}."
        )
    if path.name in ("", ".."):
        raise ModtoolsError(f"a picture needs the name of a file; got {str(path)!r}.")
    if path.suffix == ".pdf" or (not path.suffix and is_stream(path)):
        return [path]
    return [path.with_suffix(".png"), path.with_suffix(".svg")]


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> list[Path]:
    """Write `figure` as PNG and SVG, or as PDF, each atomically and without a date in it."""
    contents = []
    for file in _picture_files(path):
        form = file.suffix[1:] or "png"
        content = io.BytesIO()
        settings: dict[str, Any] = {"dpi": 200} if form == "png" else {"metadata": _NO_DATE[form]}
        figure.savefig(content, format=form, facecolor="white", **settings)
        contents.append((file, content.getvalue()))
    return [write_file(file, content) for file, content in contents]


def new_axes(width: float, height: float, **subplots: Any) -> Any:
    """Return the axes of a new figure of this size in inches, independent of pyplot."""
    _import_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.subplots(**subplots)


def room_for(texts: Iterable[Any], *, letters: int) -> float:
    """Return the inches that the longest text takes beyond so many letters.

    >>> room_for(["pixels"], letters=20), round(room_for(["a" * 30], letters=20), 2)
    (0.0, 0.8)
    """
    longest = max((len(str(text)) for text in texts), default=0)
    return min(max(0, longest - letters) * _LETTER_INCHES, _MOST_INCHES)


def _import_matplotlib() -> None:
    """Import matplotlib, even if MPLBACKEND names an unknown backend."""
    if "matplotlib" in sys.modules:
        return
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib as mpl
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend is not None:
        with suppress(ValueError):
            mpl.rcParams["backend"] = backend  # as matplotlib does itself


def root_figure(ax: "Axes") -> "Figure":
    """Return the whole figure that holds these axes."""
    return cast("Figure", ax.get_figure(root=True))


def clear_frame(ax: "Axes", *, grid: str) -> None:
    """Remove the box and the tick marks; keep a faint grid."""
    import seaborn as sns

    sns.despine(ax=ax, left=True, bottom=False)
    ax.spines["bottom"].set_color(FAINT)
    ax.tick_params(length=0, colors=INK)
    ax.grid(axis=grid, color="#e6e6e6", linewidth=0.8)  # type: ignore[arg-type]
    ax.set_axisbelow(True)


def write_title(ax: "Axes", title: str, **style: Any) -> None:
    """Write the title at the left, with special characters escaped."""
    ax.set_title(picture_text(title), loc="left", color=INK, **style)


def name_rows(ax: "Axes", names: Iterable[str]) -> None:
    """Label the rows of a plot with one row per module, the first on top."""
    texts = [picture_text(str(name)) for name in names]
    ax.set_yticks(range(len(texts)), labels=texts)
    ax.set_ylim(len(texts) - 0.4, -0.6)


class EndLabel(NamedTuple):
    """A label beside a point (x, y), and the colour of its pointer."""

    text: str
    x: float
    y: float
    color: Any


def label_ends(ax: "Axes", ends: Sequence[EndLabel]) -> None:
    """Label points right of the panel, each at its height or as near as the other labels allow."""
    low, high = ax.get_ylim()
    gap = (
        (high - low) * _LABEL_INCHES / (root_figure(ax).get_figheight() * ax.get_position().height)
    )
    ends = sorted(ends, key=lambda end: -end.y)
    heights: list[float] = []
    for end in ends:
        heights.append(min([end.y, *(height - gap for height in heights[-1:])]))
    floor = low  # no label below the panel
    for place in reversed(range(len(heights))):
        heights[place] = max(heights[place], floor)
        floor = heights[place] + gap
    line: dict[str, Any] = {"arrowstyle": "-", "linewidth": 0.8, "alpha": 0.5, "relpos": (0.0, 0.5)}
    for end, height in zip(ends, heights, strict=True):
        ax.annotate(
            picture_text(end.text),
            (end.x, end.y),
            xytext=(1.02, height),
            textcoords=ax.get_yaxis_transform(),
            va="center",
            color=INK,
            fontsize="small",
            annotation_clip=False,
            arrowprops={**line, "color": end.color},
        )
    ax.set_ylim(low, high)


def legend_below(ax: "Axes", **options: Any) -> None:
    """Write the legend below the axis, at the same distance whatever the height of the panel."""
    from matplotlib.transforms import ScaledTranslation

    down = ScaledTranslation(0.0, -_LEGEND_INCHES, root_figure(ax).dpi_scale_trans)
    ax.legend(
        loc="upper left",
        bbox_to_anchor=(0.0, 0.0),
        bbox_transform=ax.transAxes + down,
        borderaxespad=0.0,
        frameon=False,
        fontsize="small",
        labelcolor=INK,
        **options,
    )


def mark_chance(ax: "Axes", percent: float, *, axis: str) -> None:
    """Mark the accuracy of the largest class (chance) on an axis; if outside, at the edge."""
    along_x = axis == "x"
    low, high = ax.get_xlim() if along_x else ax.get_ylim()
    is_below = bool(percent < low - (0.0 if along_x else 0.15 * (high - low)))
    if not is_below:
        draw = ax.axvline if along_x else ax.axhline
        if not along_x:
            ax.set_ylim(min(low, percent - 0.03 * (high - low)), high)
        draw(percent, color=FAINT, linestyle=":", linewidth=1.4, zorder=0.5)
    # Beside the line, never on it, and on the side with more room.
    place = 0.0 if is_below else percent
    is_late = along_x and not is_below and percent > (low + high) / 2
    transform = ax.get_xaxis_transform() if along_x else ax.get_yaxis_transform()
    ax.annotate(
        ("◂ " if along_x else "▾ ") * is_below + f"largest class alone: {percent:.0f} %",
        (place, 1.0) if along_x else (1.0, place),
        xycoords="axes fraction" if is_below else transform,
        xytext=(-5 if is_late else 5, -2) if along_x else (-3, 4),
        textcoords="offset points",
        ha="right" if is_late or not along_x else "left",
        va="top" if along_x else "bottom",
        color=FAINT,
        fontsize="small",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
    )
