"""`task_space`: score the same modules on several tasks, and see which tasks are alike."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from modtools._progress import quiet, track
from modtools.exceptions import ModtoolsError
from modtools.selection import PREDICTED, rank_modules
from modtools.studies._task_space_result import TaskSpace
from modtools.tasks import Task
from modtools.transferability import SCORES

if TYPE_CHECKING:
    import os

    import pandas as pd

    from modtools.modules import ModuleCollection, ModulesLike


__all__ = ["task_space"]

_Given: TypeAlias = "tuple[ModuleCollection, Task]"


def task_space(
    modules: "ModulesLike | Mapping[str, Mapping[str, ArrayLike]]",
    tasks: "Sequence[Task] | Mapping[str, Any]",
    *,
    score: str = "nmse",
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
    serve both well. No task has to be learnt for this: a score from a few labels stands for the
    accuracy of a retrained output module, and `TaskSpace.agreement` says how well, where
    accuracies are known.

    Parameters
    ----------
    modules : Zoo, path of a zoo, list of PretrainedModule, or dict
        The candidate modules, in any form that `ModuleCollection.of_task` accepts; at least two,
        and two beside those that `source` says were trained on either task of any pair. A dict
        ``{module: {task: features}}`` holds cached features, one row a label.
    tasks : sequence of Task, or dict
        At least two labelled tasks of different names, or ``{name: Task}``. For cached features
        ``{name: labels}`` is enough.
    score : str, default="nmse"
        Score of the matrix, a name in `SCORES`. The default, minus the error of the kernel of the
        labels, is the objective that modules can be trained with, and costs next to nothing.
    source : dict, optional
        ``{module: name of the task it was trained on}``. Such a module is left out where that task
        is compared with others. Modules are named with or without their tap; other tasks than
        those given are no matter.
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
    >>> space = task_space(cached, labels, score="lda")
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
    if score != PREDICTED:
        SCORES.names(score)
    given = _read_candidates(modules, named)
    names = list(next(iter(given.values()))[0].names)
    known = _read_source(source or {}, names)
    _check_size(names, list(named), known)
    rows = {}
    for name in track(list(named), "Score tasks"):
        with quiet():  # one bar for all tasks
            rows[name] = _score_one(*given[name], name, by=score, **options)
    matrix = _stack(rows, names)
    asked = {name: value for name, value in options.items() if name != "cache"}
    sizes = {name: len(task) for name, (_, task) in given.items()}
    settings = {"score": score, "n_labels": sizes, **asked}
    seconds = time.perf_counter() - start
    return TaskSpace(matrix, source=known, settings=settings, seconds=seconds)


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
    from modtools.modules import ModuleCollection

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
    modules: "ModuleCollection", task: Task, name: str, **options: Any
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
    """Return the task of each module's training; a name without tap serves all its taps."""
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
