"""The picture of a race: how long each module ran, best on top."""

from typing import TYPE_CHECKING, Self

from modtools._escape import picture_text
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


class RaceDisplay(Display):
    """Rows that each module of a race ran on: a bar a module, its accuracy at the end.

    Parameters
    ----------
    results : pandas.DataFrame
        Columns module, status ("in", "dropped" or "failed"), rows and accuracy; one row a module,
        best first. The frame is copied.
    n_labels : int
        Labelled rows there were.
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
    >>> columns = {"module": ["a", "b"], "status": ["in", "dropped"]}
    >>> results = pd.DataFrame({**columns, "rows": [900, 200], "accuracy": [0.9, 0.4]})
    >>> RaceDisplay(results=results, n_labels=1000).frame()["rows"].tolist()
    [900, 200]
    """

    ax_: "Axes"

    def __init__(self, *, results: "pd.DataFrame", n_labels: int, title: str = "") -> None:
        if not len(results):
            raise ModtoolsError("a race without modules cannot be drawn.")
        self.results = results.copy()
        self.n_labels = n_labels
        self.title = title

    def frame(self) -> "pd.DataFrame":
        """Return the drawn numbers: module, status, rows and accuracy.

        Returns
        -------
        pandas.DataFrame
            One row a module, best first.
        """
        return self.results[["module", "status", "rows", "accuracy"]].reset_index(drop=True)

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw on `ax`, or on a new figure.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw.

        Returns
        -------
        RaceDisplay
            The display itself, with `ax_` and `figure_`.
        """
        table = self.frame()
        self.ax_ = new_axes(7.0, 1.3 + 0.28 * len(table)) if ax is None else ax
        self.figure_ = root_figure(self.ax_)
        clear_frame(self.ax_, grid="x")
        for place, row in enumerate(table.to_dict("records")):
            color = BEST if row["status"] == "in" else OTHERS
            self.ax_.barh(place, row["rows"], height=0.6, color=color)
            self.ax_.annotate(
                _end_text(row["status"], row["accuracy"]),
                (row["rows"], place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                color=INK,
                fontsize="small",
            )
        self.ax_.axvline(self.n_labels, color=FAINT, linestyle=":", linewidth=1.4, zorder=0.5)
        self.ax_.set_xlim(0, 1.12 * self.n_labels)
        self.ax_.set_yticks(
            range(len(table)), labels=[*map(picture_text, map(str, table["module"]))]
        )
        self.ax_.set_ylim(len(table) - 0.4, -0.6)
        label = "labelled rows run (blue: still in), with the accuracy so far (%)"
        self.ax_.set_xlabel(label, color=INK)
        self.ax_.set_title(picture_text(self.title), loc="left", color=INK, fontsize="medium")
        return self


def _end_text(status: str, accuracy: float) -> str:
    known = "" if accuracy != accuracy else f"{100 * accuracy:.1f}"
    return f"{known} failed".strip() if status == "failed" else known
