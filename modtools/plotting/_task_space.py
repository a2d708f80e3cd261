"""The plot of a task space: the tree of tasks beside the scores of every module."""

import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from modtools._checks import to_numpy
from modtools._escape import picture_text
from modtools.exceptions import ModtoolsError
from modtools.plotting._display import (
    FAINT,
    INK,
    Display,
    check_shares,
    check_text,
    checked_frame,
    new_axes,
    room_for,
    write_title,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_LEAF = 10.0  # distance of two leaves in the coordinates of scipy's dendrogram
_MOST_CELLS = 400  # up to which numbers in cells are readable
_OWN = "#de8f05"
_DARK = 0.55  # of the way to the best: numbers are white there


class TaskSpaceDisplay(Display):
    """The tree of tasks, the matrix of a score, and the achieved accuracies in the same order.

    Rows are tasks in the order of the tree, columns modules; modules whose source task is among the
    rows are in the order of these. Each row is shaded from its worst to its best module; tasks
    with similar shading are near each other in the tree. A frame marks a module on the task that
    it was trained on.

    Parameters
    ----------
    matrix : pandas.DataFrame
        Tasks by modules; higher is better. The frame is copied.
    linkage : ndarray of shape (n_tasks - 1, 4)
        The tree, as returned by `scipy.cluster.hierarchy.linkage`.
    score : str
        Name of the score.
    accuracy : bool, default=False
        Whether its values are accuracies in [0, 1]; they are written in percent.
    source : dict, optional
        ``{module: task it was trained on}``.
    achieved : pandas.DataFrame, optional
        Achieved accuracies in [0, 1], tasks by modules.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> matrix = pd.DataFrame([[0.9, 0.6], [0.5, 0.8]], index=["a", "b"], columns=["m", "n"])
    >>> tree = np.array([[1, 0, 0.7, 2]])
    >>> display = TaskSpaceDisplay(matrix=matrix, linkage=tree, score="lda", accuracy=True)
    >>> display.frame()["task"].tolist()
    ['b', 'b', 'a', 'a']
    """

    ax_: "tuple[Axes, ...]"
    _most_panels = 3

    def __init__(
        self,
        *,
        matrix: "pd.DataFrame",
        linkage: "NDArray[np.float64]",
        score: str,
        accuracy: bool = False,
        source: Mapping[str, str] | None = None,
        achieved: "pd.DataFrame | None" = None,
    ) -> None:
        super().__init__()
        few = "a space of fewer than two tasks, or no module, cannot be drawn."
        modules = list(getattr(matrix, "columns", ()))
        matrix = checked_frame(matrix, "matrix", modules, empty=few, numbers=modules)
        if len(matrix) < 2 or not modules:
            raise ModtoolsError(few)
        self.linkage = _checked_tree(linkage, len(matrix))
        self.score = check_text(score, name="score")
        self.accuracy = accuracy
        if not isinstance(source, Mapping | None):
            raise ModtoolsError(f"source must be {{module: task}}; got {type(source).__name__}.")
        self.source = dict(source or {})
        self.matrix = self._in_order(matrix)
        self.achieved = None
        if achieved is not None:
            checked = checked_frame(achieved, "achieved", modules, empty=few, numbers=modules)
            check_shares(checked, "achieved", modules)
            absent = self.matrix.index.difference(checked.index)
            if len(absent):
                raise ModtoolsError(
                    f"achieved must have the tasks of matrix; it lacks {absent[0]!r}."
                )
            self.achieved = checked.loc[self.matrix.index, self.matrix.columns]

    def _in_order(self, matrix: "pd.DataFrame") -> "pd.DataFrame":
        """Return the matrix with tasks in the order of the tree, modules in that of their tasks."""
        from scipy.cluster.hierarchy import leaves_list

        rows = [matrix.index[leaf] for leaf in leaves_list(self.linkage).tolist()]
        places = {task: place for place, task in enumerate(rows)}
        last = len(rows)
        columns = sorted(matrix.columns, key=lambda m: places.get(self.source.get(m, ""), last))
        return matrix.loc[rows, columns]

    def frame(self) -> "pd.DataFrame":
        """Return the drawn numbers in the order drawn: task, module, value and achieved.

        Returns
        -------
        pandas.DataFrame
            One row per task and module; achieved is missing where it is not known.
        """
        table = _tidy(self.matrix).rename("value").reset_index()
        achieved = float("nan") if self.achieved is None else _tidy(self.achieved).to_numpy()
        return table.assign(achieved=achieved)

    def plot(self, ax: "Axes | Iterable[Axes] | None" = None) -> Self:
        """Draw on a new figure, on axes for tree, matrix and achieved, or the matrix on one.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or sequence of two or three, optional
            Where to draw.

        Returns
        -------
        TaskSpaceDisplay
            The display itself, with `ax_`, always a tuple, and `figure_`.
        """
        super().plot(ax)
        self.ax_ = self.ax_ if isinstance(self.ax_, tuple) else (self.ax_,)
        return self

    def _new_axes(self, table: "pd.DataFrame") -> Any:
        n_tasks, n_modules = self.matrix.shape
        n_maps = 1 if self.achieved is None else 2
        width, height = max(2.6, 1.2 + 0.36 * n_modules), 1.6 + 0.3 * n_tasks
        height += room_for(self.matrix.columns, letters=0)
        more = room_for(self.matrix.index, letters=12)
        ratios = {"width_ratios": [3.0, *[width] * n_maps]}
        return new_axes(3.0 + more + width * n_maps, height, ncols=1 + n_maps, gridspec_kw=ratios)

    def _draw(self, panels: "tuple[Axes, ...]", table: "pd.DataFrame") -> None:
        if len(panels) == 1:
            self._draw_map(panels[0], self.matrix, self._title(), in_percent=self.accuracy)
            return
        tree, score, *rest = panels
        self._draw_map(score, self.matrix, self._title(), in_percent=self.accuracy)
        if rest and self.achieved is not None:
            self._draw_map(rest[0], self.achieved, "achieved accuracy (%)", in_percent=True)
            rest[0].set_yticks([])
        self._draw_tree(tree)
        score.set_yticks([])

    def _title(self) -> str:
        return f"{self.score} (%)" if self.accuracy else f"{self.score} (higher is better)"

    def _draw_tree(self, ax: "Axes") -> None:
        from scipy.cluster.hierarchy import dendrogram

        names = [picture_text(str(task)) for task in self.matrix.index]
        tree: dict[str, Any] = {"color_threshold": 0, "above_threshold_color": INK}
        with warnings.catch_warnings():
            # Of tasks without any distance: its axis would have no length.
            warnings.filterwarnings("ignore", "Attempting to set identical low and high")
            dendrogram(self.linkage, orientation="left", no_labels=True, ax=ax, **tree)
        if not self.linkage[:, 2].any():
            ax.set_xlim(1.0, 0.0)
        ax.set_ylim(_LEAF * len(names), 0.0)
        ax.set_yticks([_LEAF * (place + 0.5) for place in range(len(names))], labels=names)
        ax.yaxis.tick_right()
        ax.tick_params(length=0, colors=INK)
        ax.set_xlabel("distance", color=INK)
        for side in ("top", "left", "right"):
            ax.spines[side].set_visible(False)
        ax.spines["bottom"].set_color(FAINT)
        ax.set_title("tasks", loc="left", color=INK)

    def _draw_map(
        self, ax: "Axes", matrix: "pd.DataFrame", title: str, *, in_percent: bool
    ) -> None:
        import seaborn as sns

        shades = _from_worst_to_best(matrix)
        numbers = 100 * matrix if in_percent else matrix
        form = "{:.0f}" if in_percent else "{:.2g}"
        names = {axis: [picture_text(str(n)) for n in matrix.axes[axis]] for axis in (0, 1)}
        sns.heatmap(
            shades, cmap="crest", vmin=0, vmax=1, cbar=False, linewidths=0.6, ax=ax,
            xticklabels=names[1], yticklabels=names[0],
        )  # fmt: skip
        if matrix.size <= _MOST_CELLS:
            for (row, column), value in np.ndenumerate(numbers.to_numpy()):
                color = "white" if shades.to_numpy()[row, column] > _DARK else INK
                style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 6.5}
                ax.text(column + 0.5, row + 0.5, form.format(value), color=color, **style)
        self._frame_own(ax)
        ax.tick_params(length=0, colors=INK)
        ax.tick_params(axis="x", rotation=90)
        ax.set(xlabel="", ylabel="")
        ax.set_xlabel("modules; shade: from the worst\nto the best of a row", color=INK)
        write_title(ax, title)

    def _frame_own(self, ax: "Axes") -> None:
        """Frame each module on the task that it was trained on."""
        from matplotlib.patches import Rectangle

        tasks = list(self.matrix.index)
        for column, module in enumerate(self.matrix.columns):
            if self.source.get(module) in tasks:
                row = tasks.index(self.source[module])
                frame = Rectangle((column, row), 1, 1, fill=False, edgecolor=_OWN, linewidth=1.6)
                ax.add_patch(frame)


def _checked_tree(linkage: Any, n_tasks: int) -> "NDArray[np.float64]":
    """Return a copy of the tree of so many tasks, or raise."""
    from scipy.cluster.hierarchy import is_valid_linkage

    tree = to_numpy(linkage, name="linkage")
    if tree.dtype.kind not in "fiu" or not is_valid_linkage(tree := tree.astype(float)):
        raise ModtoolsError("linkage must be a tree as scipy.cluster.hierarchy.linkage returns it.")
    if len(tree) != n_tasks - 1:
        raise ModtoolsError(
            f"linkage must be of the {n_tasks} tasks of matrix; got {len(tree) + 1}."
        )
    return tree.copy()


def _tidy(matrix: "pd.DataFrame") -> "pd.Series[float]":
    return cast("pd.Series[float]", matrix.rename_axis(index="task", columns="module").stack())


def _from_worst_to_best(matrix: "pd.DataFrame") -> "pd.DataFrame":
    """Return each row scaled to 0..1; a row of equal values is in the middle."""
    low, spread = matrix.min(axis=1), matrix.max(axis=1) - matrix.min(axis=1)
    scaled = matrix.sub(low, axis=0).div(spread.where(spread > 0, 1.0), axis=0)
    return scaled.where(spread > 0, 0.5, axis=0)
