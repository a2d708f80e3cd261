"""`task_space`: score the same modules on several tasks, and see which tasks are alike."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modtools._progress import quiet, track
from modtools._results import Column, Result
from modtools._types import FloatMatrix
from modtools.exceptions import ModtoolsError, warns_once
from modtools.modules import ModuleCollection, ModulesLike
from modtools.plotting import TaskSpaceDisplay
from modtools.selection import PREDICTED, is_accuracy, rank_modules
from modtools.studies._task_distances import associate, embed, task_distances
from modtools.tasks import Task
from modtools.transferability import SCORES

if TYPE_CHECKING:
    import os

    import pandas as pd

__all__ = ["DistanceAgreement", "TaskSpace", "task_space"]


_Given: TypeAlias = tuple[ModuleCollection, Task]
_FEWEST_TASKS: Final = 3  # two have one distance, and nothing to rank


@dataclass(frozen=True)
class DistanceAgreement:
    """How well distances by a score agree with distances by achieved accuracy.

    Attributes
    ----------
    spearman : float
        Rank correlation over pairs of different tasks, from -1 to 1; 0 where all are equal.
    spearman_low, spearman_high : float
        Its 95 % interval for other tasks (each left out in turn, Student's t on Fisher's scale);
        -1 and 1 for three tasks.
    p_value : float
        Mantel's: the fraction of 999 random permutations of the tasks, and the one found, that
        agree at least as well.
    pairs : pandas.DataFrame
        Columns task, other, distance and achieved_distance, one row per pair of tasks.
    """

    spearman: float
    spearman_low: float
    spearman_high: float
    p_value: float
    pairs: "pd.DataFrame"

    def __repr__(self) -> str:
        interval = f"[{self.spearman_low:.2f}, {self.spearman_high:.2f}]"
        return (
            f"Spearman {self.spearman:.2f}, 95 % interval {interval}, over {len(self.pairs)} pairs "
            f"of tasks; permutation p = {self.p_value:.3f}"
        )


class TaskSpace(Result):
    """How tasks relate, seen from how the same modules serve them; returned by `task_space`.

    The distance of two tasks is half the distance of their rows of the matrix, each brought to mean
    0 and length 1: the square root of (1 - r) / 2 with the Pearson correlation r over modules. It
    is 0 where the modules serve both tasks in the same proportions, however hard either is, 0.71
    without relation, and 1 for opposite rows. A module that was trained on one of the two tasks is
    left out of their pair: it says how training went. A task that all modules serve equally well
    has no direction, and lies 0.5 from every task that has one.

    The extra of its JSON is distances ({task: {task: distance}}), linkage, embedding and source.

    Attributes
    ----------
    by : str
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
        self.by: str = self.settings["by"]
        self._distances = task_distances(matrix.to_numpy(), self._own())

    def matrix(self) -> "pd.DataFrame":
        """Return the score of every module on every task.

        Returns
        -------
        pandas.DataFrame
            One row per task, one column per module; higher is better.
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

    def nearest(self) -> tuple[str, str, float]:
        """Return the two tasks nearest to each other, and their distance.

        Returns
        -------
        one, other : str
            Names of the tasks.
        distance : float
            From 0 to 1.
        """
        apart = self._distances + 2.0 * np.eye(len(self._distances))
        row, column = divmod(int(apart.argmin()), len(apart))
        names = self._matrix.index
        return str(names[row]), str(names[column]), float(apart[row, column])

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
            score=self.by,
            accuracy=is_accuracy(self.by),
            source=self.source,
            achieved=None if achieved is None else self._read_achieved(achieved),
        ).plot(ax)

    def _extra(self) -> dict[str, Any]:
        return {
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
            f"{n_tasks} tasks by {self.by} of {n_modules} modules (distance 0: served alike, "
            "0.71: unrelated)"
        )

    def _own(self) -> NDArray[np.bool_]:
        tasks = self._matrix.index.to_numpy()
        trained_on = [self.source.get(module) for module in self._matrix.columns]
        return np.array([[task == source for source in trained_on] for task in tasks])

    def _read_achieved(self, achieved: Any) -> "pd.DataFrame":
        """Return achieved accuracies with the rows and columns of the matrix."""
        import pandas as pd

        table = achieved
        if isinstance(achieved, Mapping):
            is_nested = all(isinstance(values, Mapping | pd.Series) for values in achieved.values())
            table = pd.DataFrame(achieved).T if is_nested else None
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


@warns_once
def task_space(
    modules: "ModulesLike | Mapping[str, Mapping[str, ArrayLike]]",
    tasks: "Sequence[Task] | Mapping[str, Any]",
    *,
    by: str = "nmse",
    source: Mapping[str, str] | None = None,
    device: str | None = None,
    precision: str = "float32",
    batch_size: int = 64,
    cache: "bool | str | os.PathLike[str] | None" = None,
    n_jobs: int | None = None,
    seed: int = 0,
) -> TaskSpace:
    """Relate tasks by how the same modules serve them.

    Every module is scored on every task; two tasks are near each other where the same modules
    serve both well. Nothing has to be trained on a task for this: a score from a few labels stands
    for the accuracy of a retrained output module, and `TaskSpace.agreement` says how well, where
    accuracies are known.

    Parameters
    ----------
    modules : Zoo, path of a zoo, list of PretrainedModule, or dict
        The candidate modules, in any form that `ModuleCollection.of_task` accepts; at least two,
        and two beside those that `source` says were trained on either task of any pair. A dict
        ``{module: {task: features}}`` holds cached features, one row per label.
    tasks : sequence of Task, or dict
        At least two labelled tasks of different names, or ``{name: Task}``. For cached features
        ``{name: labels}`` is enough.
    by : str, default="nmse"
        Score of the matrix, a name in `SCORES`. The default, minus the error of the kernel of the
        labels, is the objective that modules can be trained with, and costs next to nothing.
    source : dict, optional
        ``{module: name of the task it was trained on}``. Such a module is left out where that task
        is compared with others. Modules are named with or without their layer; tasks that
        are not compared here may be named too.
    device, precision, batch_size, cache, n_jobs
        As for `rank_modules`.
    seed : int, default=0
        Seed of scores and permutations that draw at random.

    Returns
    -------
    TaskSpace
        `matrix`, `distances`, `linkage`, `embedding`, `agreement`, `plot`.

    Raises
    ------
    ModtoolsError
        Fewer than two tasks, too few modules, two tasks of one name, a source that names no
        module, or a score that does not apply.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> inputs = rng.normal(size=(60, 3))
    >>> modules = {f"sees {j}": inputs[:, [j]] for j in range(3)}
    >>> labels = {"a": inputs[:, 0] > 0, "b": inputs[:, 0] > 0.5, "c": inputs[:, 2] > 0}
    >>> cached = {name: dict.fromkeys(labels, column) for name, column in modules.items()}
    >>> space = task_space(cached, labels, by="lda")
    >>> space.distances().loc["a"].round(1).tolist()
    [0.0, 0.1, 0.9]
    """
    start = time.perf_counter()
    named = _name_tasks(tasks)
    options: dict[str, Any] = {
        "device": device,
        "precision": precision,
        "batch_size": batch_size,
        "cache": cache,
        "n_jobs": n_jobs,
        "seed": seed,
    }
    _check_by(by)
    given = _read_candidates(modules, named)
    names = list(next(iter(given.values()))[0].names)
    known = _read_source(source or {}, names)
    _check_size(names, list(named), known)
    rows = {}
    for name in track(list(named), "Score tasks"):
        with quiet():  # one bar for all tasks
            rows[name] = _score_one(*given[name], name, by=by, **options)
    matrix = _stack(rows, names)
    asked = {name: value for name, value in options.items() if name != "cache"}
    sizes = {name: len(task) for name, (_, task) in given.items()}
    settings = {"by": by, "n_labels": sizes, **asked}
    seconds = time.perf_counter() - start
    return TaskSpace(matrix, source=known, settings=settings, seconds=seconds)


def _check_by(by: Any) -> None:
    if not isinstance(by, str):
        raise ModtoolsError(f"by must be the name of a score; got {by!r}.")
    if by != PREDICTED:
        SCORES.names(by)


def _name_tasks(tasks: Any) -> dict[str, Any]:
    if isinstance(tasks, Mapping):
        named = {str(name): task for name, task in tasks.items()}
    elif isinstance(tasks, Sequence) and all(isinstance(task, Task) for task in tasks):
        named = {task.name: task for task in tasks}
        if len(named) < len(tasks):
            names = [task.name for task in tasks]
            twice = next(name for name in names if names.count(name) > 1)
            raise ModtoolsError(
                f'two tasks are named "{twice}"; give each Task its own name, or pass a dict.'
            )
    else:
        raise ModtoolsError("tasks must be a list of Task or a dict {name: Task or labels}.")
    if len(named) < 2:
        raise ModtoolsError(
            f"tasks are related to each other: give at least two; got {len(named)}."
        )
    return named


def _read_candidates(modules: Any, tasks: Mapping[str, Any]) -> dict[str, _Given]:
    """Return the modules and the task, by its name, or raise before any network runs."""
    found = {}
    for name, task in tasks.items():
        try:
            candidates, labelled = ModuleCollection.of_task(modules, name), Task.of(task)
            candidates.check(labelled)
        except ModtoolsError as error:
            raise ModtoolsError(f'task "{name}": {error}') from error
        found[name] = candidates, labelled
    return found


def _score_one(
    modules: ModuleCollection, task: Task, name: str, **options: Any
) -> dict[str, float]:
    try:
        ranking = rank_modules(modules, task, **options)
    except ModtoolsError as error:
        raise ModtoolsError(f'task "{name}": {error}') from error
    by = options["by"]
    for module, reasons in ranking.skipped.items():
        if by in reasons:
            raise ModtoolsError(
                f'task "{name}": {by} does not apply to module "{module}" ({reasons[by]}); choose '
                "another score."
            )
    table = ranking.frame()
    table = table[table["score"] == by]
    return dict(zip(table["module"], table["value"], strict=True))


def _stack(rows: Mapping[str, Mapping[str, float]], modules: list[str]) -> "pd.DataFrame":
    import pandas as pd

    values = [[row[module] for module in modules] for row in rows.values()]
    matrix = pd.DataFrame(values, index=list(rows), columns=modules, dtype=np.float64)
    return matrix.rename_axis(index="task", columns="module")


def _read_source(source: Any, modules: list[str]) -> dict[str, str]:
    """Return the task of each module's training; a name without layer serves all its layers."""
    if not isinstance(source, Mapping):
        raise ModtoolsError(f"source must be {{module: task}}; got {type(source).__name__}.")
    networks = {module: module.partition("@")[0] for module in modules}
    strange = [name for name in source if name not in {*networks, *networks.values()}]
    if strange:
        raise ModtoolsError(
            f'source names "{strange[0]}", which is no module; they are {", ".join(modules[:6])}.'
        )
    both = {module: source.get(module, source.get(own)) for module, own in networks.items()}
    return {module: str(task) for module, task in both.items() if task is not None}


def _check_size(modules: list[str], tasks: list[str], source: Mapping[str, str]) -> None:
    """Raise unless two modules or more are left to compare any two tasks on."""
    trained = [list(source.values()).count(task) for task in tasks]
    left = len(modules) - sum(sorted(trained)[-2:])
    if left < 2:
        raise ModtoolsError(
            f"two tasks are compared on modules trained on neither of them, at least two; {left} "
            f"of {len(modules)} are left. Give more modules"
            + (", or leave source out." if source else ".")
        )
