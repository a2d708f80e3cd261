"""The plot of a race: number of examples that each module ran on, best on top."""

from typing import TYPE_CHECKING, Any

from modtools._checks import check_integer
from modtools.plotting._display import (
    BEST,
    FAINT,
    INK,
    OTHERS,
    Display,
    checked_frame,
    clear_frame,
    name_rows,
    new_axes,
    room_for,
    write_title,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


_COLUMNS = ("module", "status", "examples", "value")


class RaceDisplay(Display):
    """Examples that each module of a race ran on: one bar per module, its accuracy at the end.

    Parameters
    ----------
    results : pandas.DataFrame
        Columns module, status ("in", "dropped" or "failed"), examples and value (its accuracy); one
        row per module, best first. The frame is copied.
    n_labels : int
        Number of labelled examples.
    title : str, default=""
        Title of the picture.

    Examples
    --------
    >>> import pandas as pd
    >>> columns = {"module": ["a", "b"], "status": ["in", "dropped"]}
    >>> results = pd.DataFrame({**columns, "examples": [900, 200], "value": [0.9, 0.4]})
    >>> RaceDisplay(results=results, n_labels=1000).frame()["examples"].tolist()
    [900, 200]
    """

    ax_: "Axes"

    def __init__(self, *, results: "pd.DataFrame", n_labels: int, title: str = "") -> None:
        super().__init__(title=title)
        empty = "a race without modules cannot be drawn."
        options: dict[str, Any] = {"numbers": ["examples"], "gaps": ["value"]}
        self.results = checked_frame(results, "results", _COLUMNS, empty=empty, **options)
        self.n_labels = check_integer(n_labels, name="n_labels")

    def frame(self) -> "pd.DataFrame":
        """Return the drawn numbers: module, status, examples and value.

        Returns
        -------
        pandas.DataFrame
            One row per module, best first.
        """
        return self.results[list(_COLUMNS)].reset_index(drop=True)

    def _new_axes(self, table: "pd.DataFrame") -> Any:
        width = 7.0 + room_for(table["module"], letters=20)
        return new_axes(width, 1.5 + 0.28 * len(table))

    def _draw(self, panels: "tuple[Axes, ...]", table: "pd.DataFrame") -> None:
        ax = panels[0]
        clear_frame(ax, grid="x")
        for place, row in enumerate(table.to_dict("records")):
            color = BEST if row["status"] == "in" else OTHERS
            ax.barh(place, row["examples"], height=0.6, color=color)
            ax.annotate(
                _end_text(row["status"], row["value"]),
                (row["examples"], place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                color=INK,
                fontsize="small",
            )
        ax.axvline(self.n_labels, color=FAINT, linestyle=":", linewidth=1.4, zorder=0.5)
        ax.set_xlim(0, 1.12 * self.n_labels)
        name_rows(ax, table["module"])
        ax.set_xlabel(
            "labelled examples run; blue: still in\nnumbers: accuracy so far (%)", color=INK
        )
        write_title(ax, self.title, fontsize="medium")


def _end_text(status: str, accuracy: float) -> str:
    known = "" if accuracy != accuracy else f"{100 * accuracy:.1f}"
    return f"{known} failed".strip() if status == "failed" else known
