"""What all displays share: a new figure, quiet axes, and a picture saved in two formats."""

import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from modtools._places import check_file, is_stream
from modtools._reading import at_home
from modtools._writing import write_file
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colour-blind safe and apart in grey: the best is darker than the rest.
BEST: Final = "#0173b2"
PALE: Final = "#9cc7e3"
OTHERS: Final = "#a3a3a3"
INK: Final = "#333333"
FAINT: Final = "#8a8a8a"


class Display:
    """A picture of numbers that gives the numbers back.

    A figure of its own belongs to the display alone: it needs no window system, pyplot does not
    list it, and a notebook shows it with the display. For a window, give `plot` axes of pyplot.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
        The figure drawn on, after `plot`.
    """

    figure_: "Figure"

    def save(self, path: str | os.PathLike[str]) -> list[Path]:
        """Write the picture as PNG (200 dots an inch) and SVG beside each other.

        Parameters
        ----------
        path : path-like
            Name of the files; its suffix, if any, must be .png or .svg. Into a name without one
            that is a device or a pipe, the PNG alone is written.

        Returns
        -------
        list of pathlib.Path
            The two files written.

        Raises
        ------
        ModtoolsError
            Nothing is drawn yet, the name is none for a picture, or it cannot be written.
        """
        if not hasattr(self, "figure_"):
            raise ModtoolsError("nothing is drawn yet: call plot() before save().")
        return save_figure(self.figure_, path)

    def _repr_png_(self) -> bytes | None:
        """Return the picture for a notebook, unless pyplot shows the figure itself."""
        figure = getattr(self, "figure_", None)
        if figure is None or figure.canvas.manager is not None:
            return None
        pixels = io.BytesIO()
        figure.savefig(pixels, format="png", facecolor="white")
        return pixels.getvalue()


def check_picture_place(path: str | os.PathLike[str]) -> Path:
    """Return the path if pictures can be written under it, else raise."""
    for file in _picture_files(path):
        check_file(file)
    return at_home(path)


def _picture_files(path: str | os.PathLike[str]) -> list[Path]:
    """Return where PNG and SVG go, or where the PNG alone goes: into a device or a pipe."""
    path = at_home(path)
    if path.suffix not in ("", ".png", ".svg"):
        raise ModtoolsError(f"a picture is saved as .png and .svg; got the name {path.name!r}.")
    if path.name in ("", ".."):
        raise ModtoolsError(f"a picture needs the name of a file; got {str(path)!r}.")
    if not path.suffix and is_stream(path):
        return [path]
    return [path.with_suffix(".png"), path.with_suffix(".svg")]


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> list[Path]:
    """Write `figure` as PNG and SVG, each whole or not at all, without a date in them."""
    files = _picture_files(path)
    pixels, drawing = io.BytesIO(), io.BytesIO()
    figure.savefig(pixels, format="png", dpi=200, facecolor="white")
    figure.savefig(drawing, format="svg", facecolor="white", metadata={"Date": None})
    contents = (pixels.getvalue(), drawing.getvalue())
    return [write_file(file, content) for file, content in zip(files, contents, strict=False)]


def new_axes(width: float, height: float, **subplots: Any) -> Any:
    """Return the axes of a new figure of this size in inches, which no backend has to show."""
    _import_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.subplots(**subplots)


def _import_matplotlib() -> None:
    """Import matplotlib, also where MPLBACKEND names a backend that it does not know."""
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
    """Take away what carries no message: the box and the tick marks; keep a faint grid."""
    import seaborn as sns

    sns.despine(ax=ax, left=True, bottom=False)
    ax.spines["bottom"].set_color(FAINT)
    ax.tick_params(length=0, colors=INK)
    ax.grid(axis=grid, color="#e6e6e6", linewidth=0.8)  # type: ignore[arg-type]
    ax.set_axisbelow(True)
