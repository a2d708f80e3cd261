"""What `task_space` gives back: the matrix of a score, distances between tasks, and the tree."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from modtools._results import Column, Result
from modtools._types import FloatMatrix
from modtools.exceptions import ModtoolsError
from modtools.plotting import TaskSpaceDisplay
from modtools.selection import is_accuracy
from modtools.studies._task_distances import associate, embed, task_distances

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DistanceAgreement", "TaskSpace"]

_FEWEST_TASKS: Final = 3  # two have one distance, and nothing to rank


@dataclass(frozen=True)
class DistanceAgreement:
    """How well distances by a score agree with distances by achieved accuracy.

    Attributes
    ----------
    spearman : float
        Rank correlation over pairs of different tasks, from -1 to 1; 0 where all are equal.
    low, high : float
        Its 95 % interval for other tasks (each left out in turn, Student's t on Fisher's scale);
        -1 and 1 for three tasks.
    p_value : float
        Mantel's: the share of 999 random permutations of the tasks, and the one found, that agree
        at least as well.
    pairs : pandas.DataFrame
        Columns task, other, distance and achieved_distance, one row a pair of tasks.
    """

    spearman: float
    low: float
    high: float
    p_value: float
    pairs: "pd.DataFrame"

    def __repr__(self) -> str:
        return (
            f"Spearman {self.spearman:.2f}, 95 % interval [{self.low:.2f}, {self.high:.2f}], over "
            f"{len(self.pairs)} pairs of tasks; permutation p = {self.p_value:.3f}"
        )


class TaskSpace(Result):
    """How tasks relate, seen from how the same modules serve them; returned by `task_space`.

    The distance of two tasks is half the distance of their rows of the matrix, each brought to mean
    0 and length 1: the square root of (1 - r) / 2 with the Pearson correlation r over modules. It
    is 0 where the modules serve both tasks in the same proportions, however hard either is, 0.71
    without relation, and 1 for opposite rows. A module that was trained on one of the two tasks is
    left out of their pair: it says how training went. A task that all modules serve equally well
    has no direction, and lies 0.5 from every task that has one.

    Its JSON holds results (rows of `frame`), distances ({task: {task: distance}}), linkage,
    embedding, source, settings, seconds and versions.

    Attributes
    ----------
    score : str
        The score in the matrix.
    source : dict
        ``{module: task it was trained on}`` where known.
    settings : dict
        What was asked.
    seconds : float
        Wall time.
    versions : dict
        Versions of modtools, torch, scikit-learn, numpy and Python.
    """

    def __init__(
        self,
        matrix: "pd.DataFrame",
        *,
        source: Mapping[str, str],
        settings: Mapping[str, Any],
        seconds: float,
    ) -> None:
        super().__init__(settings=settings, seconds=seconds)
        self._matrix = matrix
        self.source = dict(source)
        self.score: str = self.settings["score"]
        self._distances = task_distances(matrix.to_numpy(), self._own())

    def matrix(self) -> "pd.DataFrame":
        """Return the score of every module on every task.

        Returns
        -------
        pandas.DataFrame
            One row a task, one column a module; higher is better.
        """
        return self._matrix.copy()

    def frame(self) -> "pd.DataFrame":
        """Return the matrix as a tidy table.

        Returns
        -------
        pandas.DataFrame
            Columns task, module, value and own (whether the module was trained on that task).
        """
        wide = self._matrix.rename_axis(index="task", columns="module")
        table = cast("pd.Series[float]", wide.stack()).rename("value").reset_index()
        return table.assign(own=table["task"] == table["module"].map(self.source))

    def distances(self) -> "pd.DataFrame":
        """Return the distances between tasks.

        Returns
        -------
        pandas.DataFrame
            Symmetric, from 0 to 1, tasks by tasks.
        """
        import pandas as pd

        tasks = self._matrix.index
        return pd.DataFrame(self._distances, index=tasks, columns=tasks)

    def linkage(self) -> FloatMatrix:
        """Return the tree of tasks, as `scipy.cluster.hierarchy` draws and cuts it.

        Returns
        -------
        ndarray of shape (n_tasks - 1, 4)
            Average linkage of `distances`; leaves ordered so that neighbours are near.
        """
        return self._linkage.copy()

    @cached_property
    def _linkage(self) -> FloatMatrix:
        from scipy.cluster.hierarchy import linkage
        from scipy.spatial.distance import squareform

        condensed = squareform(self._distances, checks=False)
        return np.asarray(linkage(condensed, method="average", optimal_ordering=True))

    def embedding(self) -> "pd.DataFrame":
        """Return places in the plane whose distances come near those of the tasks.

        Returns
        -------
        pandas.DataFrame
            Columns task, x and y (classical scaling); ``attrs["share"]`` is the share of the
            squared distances that the plane keeps.
        """
        import pandas as pd

        places, share = embed(self._distances)
        table = pd.DataFrame({"task": self._matrix.index, "x": places[:, 0], "y": places[:, 1]})
        table.attrs["share"] = share
        return table

    def agreement(self, achieved: Any) -> DistanceAgreement:
        """Compare the distances with those by the accuracies that were really achieved.

        Both are computed in the same way, from the same modules, and compared over pairs of
        different tasks.

        Parameters
        ----------
        achieved : pandas.DataFrame or dict
            Accuracies in [0, 1]: tasks by modules, as `matrix`, or ``{task: {module: accuracy}}``.

        Returns
        -------
        DistanceAgreement
            Spearman's correlation, its interval and the pairs.
        """
        import pandas as pd

        names = self._matrix.index
        if len(names) < _FEWEST_TASKS:
            raise ModtoolsError(
                f"distances are compared over at least {_FEWEST_TASKS} tasks; got {len(names)}."
            )
        theirs = task_distances(self._read_achieved(achieved).to_numpy(), self._own())
        rows, columns = np.triu_indices(len(names), 1)
        pairs = pd.DataFrame(
            {
                "task": names[rows],
                "other": names[columns],
                "distance": self._distances[rows, columns],
                "achieved_distance": theirs[rows, columns],
            }
        )
        found = associate(self._distances, theirs, seed=self.settings["seed"])
        return DistanceAgreement(*found, pairs=pairs)

    def plot(self, ax: Any = None, *, achieved: Any = None) -> TaskSpaceDisplay:
        """Draw the tree of tasks beside the matrix, and the achieved accuracies where known.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or sequence of them, optional
            Where to draw: one for the matrix alone; else tree, matrix and, with `achieved`, the
            achieved accuracies. A new figure by default.
        achieved : pandas.DataFrame or dict, optional
            As for `agreement`.

        Returns
        -------
        TaskSpaceDisplay
            The drawn display.
        """
        return TaskSpaceDisplay(
            matrix=self._matrix,
            linkage=self.linkage(),
            score=self.score,
            accuracy=is_accuracy(self.score),
            source=self.source,
            achieved=None if achieved is None else self._read_achieved(achieved),
        ).plot(ax)

    def _content(self) -> dict[str, Any]:
        return {
            "results": self.frame(),
            "distances": self.distances().to_dict(),
            "linkage": self.linkage().tolist(),
            "embedding": self.embedding(),
            "source": self.source,
        }

    def _columns(self) -> list[Column]:
        return [
            Column("task", str, ("task",)),
            Column("nearest task", str, ("nearest",)),
            Column("distance", "{:.2f}".format, ("distance",)),
        ]

    def _shown(self) -> "pd.DataFrame":
        """Return each task with the task nearest to it, in the order of the tree."""
        import pandas as pd
        from scipy.cluster.hierarchy import leaves_list

        names = self._matrix.index.to_numpy()
        others = self._distances + 2.0 * np.eye(len(names))  # no task is nearest to itself
        nearest = names[others.argmin(axis=1)]
        table = pd.DataFrame({"task": names, "nearest": nearest, "distance": others.min(axis=1)})
        return table.iloc[leaves_list(self._linkage)]

    def title(self) -> str:
        """Return one line that says what was compared by what.

        Returns
        -------
        str
            The line above the table.
        """
        n_tasks, n_modules = self._matrix.shape
        return (
            f"{n_tasks} tasks by {self.score} of {n_modules} modules (distance 0: served alike, "
            "0.71: unrelated)"
        )

    def _own(self) -> NDArray[np.bool_]:
        tasks = self._matrix.index.to_numpy()
        trained_on = [self.source.get(module) for module in self._matrix.columns]
        return np.array([[task == source for source in trained_on] for task in tasks])

    def _read_achieved(self, achieved: Any) -> "pd.DataFrame":
        """Return achieved accuracies with the rows and columns of the matrix."""
        import pandas as pd

        table = pd.DataFrame(achieved).T if isinstance(achieved, Mapping) else achieved
        if not isinstance(table, pd.DataFrame):
            raise ModtoolsError(
                "achieved must be a frame of tasks by modules or {task: {module: accuracy}}; got "
                f"{type(achieved).__name__}."
            )
        table = table.reindex(index=self._matrix.index, columns=self._matrix.columns)
        table = cast("pd.DataFrame", table.apply(pd.to_numeric, errors="coerce").astype(float))
        wrong = np.argwhere(~((table >= 0) & (table <= 1)).to_numpy())
        if len(wrong):
            row, column = wrong[0]
            value = table.iloc[row, column]
            raise ModtoolsError(
                f'achieved needs an accuracy in [0, 1] of module "{table.columns[column]}" on task '
                f'"{table.index[row]}"; {_came(value)} ({len(wrong)} such entries).'
            )
        return table


def _came(value: float) -> str:
    if np.isnan(value):
        return "it has no number there"
    return f"got {value:g}" + (". Divide percent by 100" if 1 < value <= 100 else "")
