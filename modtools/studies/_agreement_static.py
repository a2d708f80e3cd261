"""Rankers that never look at the labels of a task, made from what is known about the modules."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from modtools.exceptions import ModtoolsError
from modtools.studies._inputs import melted

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MEAN_RANK", "SHARED_CLASSES", "mean_rank_elsewhere", "shared_classes"]

MEAN_RANK: Final = "mean rank on other tasks"
SHARED_CLASSES: Final = "shared classes"


def mean_rank_elsewhere(truth: "pd.DataFrame") -> "pd.DataFrame":
    """Return the mean rank of each module on the other tasks, 1 for always best, 0 for always last.

    Ranks are those of the accuracy with the same label budget, the mean over draws. A module that
    was tried on one task alone is left out there, and so is a task that is left with fewer than two
    modules.

    >>> import pandas as pd
    >>> rows = [("t", "a", 0.9), ("t", "b", 0.8), ("u", "a", 0.7), ("u", "b", 0.9)]
    >>> truth = pd.DataFrame(rows, columns=["task", "module", "achieved"])
    >>> mean_rank_elsewhere(truth).query("task == 't'")["predicted"].tolist()
    [0.0, 1.0]
    """
    cells = [axis for axis in ("budget", "task") if axis in truth]
    means = truth.groupby([*cells, "module"], sort=False)["achieved"].mean().unstack("module")
    n_others = (means.notna().sum(axis=1) - 1).clip(lower=1)
    ranks = (means.rank(axis=1) - 1).div(n_others, axis=0)

    def elsewhere(table: "pd.DataFrame") -> "pd.DataFrame":
        by_budget = table.groupby(level="budget") if "budget" in truth else None
        total: Any = table.sum() if by_budget is None else by_budget.transform("sum")
        return total - table  # type: ignore[no-any-return]

    n_tasks = elsewhere(ranks.notna().astype(float)).where(ranks.notna())
    # Equal means of ranks must not differ by rounding: that would break their tie at random.
    found = (elsewhere(ranks.fillna(0.0)) / n_tasks.where(n_tasks > 0)).round(12)
    found = found[found.notna().sum(axis=1) >= 2]
    return melted(found, "predicted").assign(score=MEAN_RANK)


def shared_classes(
    module_classes: Mapping[str, Iterable[Any]] | None,
    task_classes: Mapping[str, Iterable[Any]] | None,
    truth: "pd.DataFrame",
) -> "pd.DataFrame | None":
    """Return how many classes of each task each module was trained on, where both are known.

    >>> import pandas as pd
    >>> truth = pd.DataFrame({"task": ["t", "t"], "module": ["a", "b"]})
    >>> shared_classes({"a": [1, 2], "b": [3]}, {"t": [2, 3, 4]}, truth)["predicted"].tolist()
    [1.0, 1.0]
    """
    import pandas as pd

    if module_classes is None and task_classes is None:
        return None
    if module_classes is None or task_classes is None:
        absent = "module_classes" if module_classes is None else "task_classes"
        raise ModtoolsError(
            f"shared classes need module_classes and task_classes; {absent} is absent."
        )
    source = _as_sets(module_classes, name="module_classes")
    target = _as_sets(task_classes, name="task_classes")
    cells = truth[["task", "module"]].drop_duplicates()
    cells = cells[cells["task"].isin(target) & cells["module"].isin(source)]
    pairs = zip(cells["task"], cells["module"], strict=True)
    shared = [float(len(target[task] & source[module])) for task, module in pairs]
    return cells.assign(predicted=pd.Series(shared, index=cells.index), score=SHARED_CLASSES)


def _as_sets(classes: Mapping[str, Iterable[Any]], *, name: str) -> dict[str, set[str]]:
    """Return class names as text, so that 3 and "3" are one class."""
    for key, values in classes.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise ModtoolsError(f'{name} must list classes; "{key}" has {values!r}.')
    return {str(key): {str(value) for value in values} for key, values in classes.items()}
