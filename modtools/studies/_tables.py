"""Scores and achieved accuracies as tidy tables, from any accepted form, on the same tasks."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from modtools._checks import check_choice
from modtools._escape import without_apostrophes
from modtools._reading import as_path, kind_of, read_frame
from modtools._types import FloatMatrix
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "MEAN_RANK",
    "SHARED_CLASSES",
    "Accuracies",
    "Key",
    "Nested",
    "Pairs",
    "Table",
    "mean_rank_elsewhere",
    "pair_up",
    "read_achieved",
    "read_baselines",
    "read_scores",
    "read_table",
    "shared_classes",
]


Values: TypeAlias = Mapping[str, float]
Accuracies: TypeAlias = Mapping[str, Values]
Nested: TypeAlias = Mapping[str, Mapping[str, Values]]
Table: TypeAlias = "pd.DataFrame | str | os.PathLike[str]"

Key: TypeAlias = tuple[Any, ...]  # a score, and the label count where there are several

MEAN_RANK: Final = "mean rank on other tasks"
SHARED_CLASSES: Final = "shared classes"
_AXES: Final = ["task", "n_labels", "repeat"]
_PERCENT: Final = 100.0
_NOTHING: Final = "scores is empty: give at least one score of two modules on one task."


def read_achieved(achieved: "Accuracies | Table", *, unit: str) -> "pd.DataFrame":
    """Return accuracies as fractions in the columns task, n_labels and repeat if given, module.

    >>> read_achieved({"digits": {"a": 90, "b": 80}}, unit="percent")["achieved"].tolist()
    [0.9, 0.8]
    """
    check_choice(unit, ["fraction", "percent"], name="unit")
    if isinstance(achieved, Mapping):
        _check_nested(achieved.values(), "achieved", "{task: {module: accuracy}}")
        table = _frame(_flat(achieved), ["task", "module", "accuracy"])
    else:
        table = _loaded(achieved, name="achieved")
        _check_columns(table, ["task", "module", "accuracy"], name="achieved")
    table = _tidy(table, ["module", "accuracy"], name="achieved")
    _check_accuracies(table, unit)
    _check_once(table, name="achieved", what="accuracies")
    table["accuracy"] /= _PERCENT if unit == "percent" else 1.0
    return table.rename(columns={"accuracy": "achieved"})


def read_scores(scores: "Nested | Table", *, name: str) -> "pd.DataFrame":
    """Return values in the columns score, task, n_labels and repeat if given, module, predicted.

    A frame has the columns score and value, or one column per score; an empty cell of the latter
    says that the score leaves that module out.

    >>> read_scores({"digits": {"knn": {"a": 0.9}}}, name="scores")["predicted"].tolist()
    [0.9]
    """
    if isinstance(scores, Mapping):
        shape = "{task: {score: {module: value}}}"
        _check_nested(scores.values(), name, shape)
        _check_nested((inner for task in scores.values() for inner in task.values()), name, shape)
        rows = [(task, *row) for task, by_score in scores.items() for row in _flat(by_score)]
        table = _frame(rows, ["task", "score", "module", "value"])
    else:
        table = _long(_loaded(scores, name=name), ["task", "module"], name=name)
    return _checked_scores(table, name=name)


def read_baselines(baselines: Any) -> "pd.DataFrame":
    """Return label-free baselines like scores; one that serves every task has no column task.

    >>> read_baselines({"size": {"a": 1, "b": 2}}).columns.tolist()
    ['score', 'module', 'predicted']
    """
    if not isinstance(baselines, Mapping):
        table = _loaded(baselines, name="baselines")
        keys = [axis for axis in _AXES[:1] if axis in getattr(table, "columns", ())]
        return _checked_scores(_long(table, [*keys, "module"], name="baselines"), name="baselines")
    _check_nested(baselines.values(), "baselines", "{name: {module: value}}")
    inner = [value for one in baselines.values() for value in one.values()]
    if inner and all(isinstance(value, Mapping) for value in inner):
        return read_scores(baselines, name="baselines")
    return _checked_scores(_frame(_flat(baselines), ["score", "module", "value"]), name="baselines")


def _flat(nested: Mapping[str, Values]) -> list[tuple[str, str, float]]:
    return [(outer, inner, v) for outer, values in nested.items() for inner, v in values.items()]


def _frame(rows: list[tuple[Any, ...]], columns: list[str]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(rows, columns=columns)


def _loaded(table: Any, *, name: str) -> Any:
    """Return the table of a file, or what is a table already."""
    return read_table(table, name=name) if isinstance(table, str | os.PathLike) else table


def read_table(path: str | os.PathLike[str], *, name: str = "the table") -> "pd.DataFrame":
    """Return the table of a CSV or Parquet file."""
    path = as_path(path, name=name)
    if not kind_of(path):
        raise ModtoolsError(f"{name} is the file {path}, which does not exist.")
    table = read_frame(path, failed=f"{name} cannot be read from {path}")
    return table if path.suffix == ".parquet" else without_apostrophes(table)


def _long(table: Any, keys: list[str], *, name: str) -> "pd.DataFrame":
    """Return a frame with the columns score and value, from one that has one column per score."""
    columns = set(getattr(table, "columns", ()))
    is_wide = columns >= set(keys) and not columns & {"score", "value"}
    if not is_wide:
        wanted = [*keys[:-1], "score", "module", "value"]
        _check_columns(table, wanted, name=name)
        return table  # type: ignore[no-any-return]
    keys = [column for column in table.columns if column in (*_AXES, "module")]
    flat: pd.DataFrame = table.melt(id_vars=keys, var_name="score", value_name="value")
    text = flat["score"][[isinstance(value, str) for value in flat["value"]]]
    if len(text):
        raise ModtoolsError(
            f"{name} must have numbers in every column beside {', '.join(keys)}; column "
            f'"{text.iloc[0]}" has text. Drop it.'
        )
    return flat.dropna(subset="value")


def _tidy(table: "pd.DataFrame", others: list[str], *, name: str) -> "pd.DataFrame":
    """Return a copy with the axes and `others`: names as text, all else as numbers."""
    import pandas as pd

    axes = [axis for axis in _AXES if axis in table.columns]
    table = table[[*axes, *others]].reset_index(drop=True)
    for column in table.columns:
        if table[column].isna().any() and column not in ("value", "accuracy"):
            raise ModtoolsError(f"column {column} of {name} has an empty cell; fill it.")
        if column in ("task", "module", "score"):
            table[column] = table[column].astype(str)
            continue
        try:
            table[column] = pd.to_numeric(table[column])
        except (TypeError, ValueError) as error:
            raise ModtoolsError(f"column {column} of {name} must be numbers; {error}.") from error
    return table


def _checked_scores(table: "pd.DataFrame", *, name: str) -> "pd.DataFrame":
    table = _tidy(table, ["score", "module", "value"], name=name)
    table["value"] = table["value"].astype(np.float64)
    bad = table[~np.isfinite(table["value"])]
    if len(bad):
        row = bad.iloc[0]
        raise ModtoolsError(
            f'{row["score"]} of module "{row["module"]}"{_place_of(row)} is {row["value"]}.'
        )
    _check_once(table, name=name, what="values")
    columns = ["score", *(axis for axis in _AXES if axis in table), "module", "value"]
    return table[columns].rename(columns={"value": "predicted"})


def _check_once(table: "pd.DataFrame", *, name: str, what: str) -> None:
    keys = [column for column in table.columns if column not in ("value", "accuracy")]
    again = table[table.duplicated(keys)]
    if len(again):
        row = again.iloc[0]
        of_score = f" of {row['score']}" if "score" in row else ""
        counted = "two values" if what == "values" else f"two {what}"
        where = _place_of(row).removeprefix(" on task")
        where = f" on{where}" if where else ""
        raise ModtoolsError(f'{name} has {counted}{of_score} for "{row["module"]}"{where}.')


def _check_accuracies(table: "pd.DataFrame", unit: str) -> None:
    top = _PERCENT if unit == "percent" else 1.0
    table["accuracy"] = table["accuracy"].astype(np.float64)
    bad = table[~table["accuracy"].between(0.0, top)]
    if len(bad):
        row = bad.iloc[0]
        kind = "percent in [0, 100]" if unit == "percent" else "fractions in [0, 1]"
        is_percent = unit == "fraction" and 1.0 < row["accuracy"] <= _PERCENT
        hint = ' If these are percent, pass unit="percent".' if is_percent else ""
        raise ModtoolsError(
            f'accuracies in achieved are {kind}; module "{row["module"]}"{_place_of(row)} has '
            f"{row['accuracy']}.{hint}"
        )
    if unit == "percent" and len(table) and table["accuracy"].max() <= 1.0:
        raise ModtoolsError(
            "no accuracy in achieved is above 1, so they cannot be percent; leave unit= out."
        )


def _melted(wide: "pd.DataFrame", name: str) -> "pd.DataFrame":
    """Return one row per number of a table with one column per module; gaps are left out."""
    values = wide.to_numpy(dtype=np.float64)
    rows, columns = np.nonzero(np.isfinite(values))
    table = wide.index.to_frame(index=False).iloc[rows].reset_index(drop=True)
    return table.assign(module=wide.columns[columns], **{name: values[rows, columns]})


def _place_of(row: Any) -> str:
    """Return where a row is, such as `` on task "digits", n_labels 5``, or nothing."""
    names = [f"{axis} {row[axis]}" for axis in _AXES[1:] if axis in row]
    task = [f'task "{row["task"]}"'] if "task" in row else []
    return f" on {', '.join([*task, *names])}" if task or names else ""


def _check_nested(values: Iterable[Any], name: str, shape: str) -> None:
    strange = [value for value in values if not isinstance(value, Mapping)]
    if strange:
        raise ModtoolsError(f"{name} must be {shape} or a frame; got {strange[0]!r} inside.")


def _check_columns(table: Any, names: list[str], *, name: str) -> None:
    absent = [column for column in names if column not in getattr(table, "columns", ())]
    if absent:
        wanted = ", ".join(names)
        raise ModtoolsError(f"{name} must have the columns {wanted}; {absent[0]} is absent.")


@dataclass(frozen=True)
class Pairs:
    """Which values belong together.

    Attributes
    ----------
    axes : list of str
        task, and n_labels and repeat where they are given.
    predicted : pandas.DataFrame
        One row per score and cell of the axes, one column per module; missing where the score
        leaves a module out.
    achieved : pandas.DataFrame
        One row per cell, the same columns; missing where a module was not tried.
    baselines : frozenset of str
        Names of the label-free baselines.
    """

    axes: list[str]
    predicted: "pd.DataFrame"
    achieved: "pd.DataFrame"
    baselines: frozenset[str]

    def aligned(self) -> FloatMatrix:
        """Return the achieved accuracies row by row beside the predicted values."""
        rows = self.achieved.index.get_indexer(self.predicted.reset_index("score").index)
        return self.achieved.to_numpy()[rows]

    def cells(self) -> "Iterator[tuple[Key, str, FloatMatrix, FloatMatrix]]":
        """Yield each row: its score (and label count), its task, predicted and achieved values."""
        names = list(self.predicted.index.names)
        task = names.index("task")
        axes = [names.index(axis) for axis in ("score", "n_labels") if axis in names]
        rows = zip(self.predicted.index, self.predicted.to_numpy(), self.aligned(), strict=True)
        for where, scores, achieved in rows:
            yield tuple(where[axis] for axis in axes), where[task], scores, achieved

    def points(self) -> "pd.DataFrame":
        """Return one row per score, cell and module: columns predicted and achieved."""
        covered = np.isfinite(self.predicted.to_numpy())
        points = _melted(self.predicted, "predicted")
        return points.assign(achieved=self.aligned()[covered])


def pair_up(
    scores: "pd.DataFrame | None",
    accuracies: "pd.DataFrame",
    baselines: "Sequence[pd.DataFrame]",
) -> Pairs:
    """Bring scores, baselines and accuracies onto the same tasks, label counts and repeats.

    What lacks a label count or a repeat serves all of them; baselines are kept where scores are.
    """
    import pandas as pd

    tables = [] if scores is None else [scores]
    axes = [axis for axis in _AXES if any(axis in table for table in (accuracies, *tables))]
    names = [name for table in [*tables, *baselines] for name in table["score"].unique()]
    again = [name for place, name in enumerate(names) if name in names[:place]]
    if again:
        raise ModtoolsError(
            f'"{again[0]}" is the name of two scores or baselines; rename one of them.'
        )
    grid = _cells(accuracies) if scores is None else _grid(scores, accuracies)
    achieved = accuracies.merge(grid, on=[axis for axis in axes if axis in accuracies])
    if scores is not None:
        tables = [_spread(scores, grid, achieved, is_strict=True)]
    for baseline in baselines:
        if "task" in baseline:
            _check_known(baseline, accuracies, name="baselines")
        tables.append(_spread(baseline, grid, achieved, is_strict="task" in baseline))
    if not tables:
        raise ModtoolsError(_NOTHING)
    pairs = Pairs(
        axes,
        _pivot(pd.concat(tables), ["score", *axes], "predicted"),
        _pivot(achieved, axes, "achieved"),
        frozenset(name for baseline in baselines for name in baseline["score"]),
    )
    _check_rankings(pairs)
    return pairs


def _cells(table: "pd.DataFrame") -> "pd.DataFrame":
    return table[[axis for axis in _AXES if axis in table]].drop_duplicates()


def _grid(scores: "pd.DataFrame", achieved: "pd.DataFrame") -> "pd.DataFrame":
    """Return the tasks, label counts and repeats on which scores can be judged."""
    _check_known(scores, achieved, name="scores")
    asked, known = _cells(scores), _cells(achieved)
    return asked.merge(known, on=[axis for axis in asked if axis in known])


def _check_known(table: "pd.DataFrame", achieved: "pd.DataFrame", *, name: str) -> None:
    """Raise for a task, label count or repeat without achieved accuracies."""
    asked, known = _cells(table), _cells(achieved)
    for last in range(len(asked.columns)):
        shared = [axis for axis in asked.columns[: last + 1] if axis in known]
        found = asked.merge(known[shared].drop_duplicates(), how="left", indicator=True)
        lost = found[found["_merge"] == "left_only"]
        if not len(lost):
            continue
        row, axis = lost.iloc[0], shared[-1]
        if axis == "task":
            tasks = ", ".join(dict.fromkeys(known["task"]))
            raise ModtoolsError(f'{name} name the task "{row["task"]}", achieved has {tasks}.')
        there = known[known["task"] == row["task"]][axis].drop_duplicates()
        raise ModtoolsError(
            f"{name} have {axis} {row[axis]}{_place_of(row.drop(axis))}, achieved has "
            f"{', '.join(map(str, there))} there."
        )


def _spread(
    table: "pd.DataFrame", grid: "pd.DataFrame", achieved: "pd.DataFrame", *, is_strict: bool
) -> "pd.DataFrame":
    """Return the values on every cell that they serve; strict ones must have an accuracy."""
    shared = [axis for axis in _AXES if axis in table and axis in grid]
    spread = table.merge(grid, on=shared) if shared else table.merge(grid, how="cross")
    keys = [*grid.columns, "module"]
    found = spread.merge(achieved[keys], on=keys, how="left", indicator=True)
    has_accuracy = found["_merge"] == "both"
    if is_strict and not has_accuracy.all():
        row = found[~has_accuracy].iloc[0]
        raise ModtoolsError(
            f'module "{row["module"]}" has {row["score"]}{_place_of(row)} but no accuracy in '
            "achieved."
        )
    return found[has_accuracy].drop(columns="_merge")


def _pivot(table: "pd.DataFrame", rows: list[str], values: str) -> "pd.DataFrame":
    """Return one column per module, in alphabetical order; rows in the order of the table."""
    import pandas as pd

    order = table[rows].drop_duplicates()
    index = pd.MultiIndex.from_frame(order) if len(rows) > 1 else pd.Index(order[rows[0]])
    return table.pivot(index=rows, columns="module", values=values).reindex(index)


def _check_rankings(pairs: Pairs) -> None:
    counts = pairs.predicted.notna().sum(axis=1)
    if not len(counts):
        raise ModtoolsError(_NOTHING)
    if counts.min() < 2:
        row: dict[str, Any] = dict(
            zip(map(str, counts.index.names), counts.index[int(counts.argmin())], strict=True)
        )
        raise ModtoolsError(
            f"a ranking needs at least two modules; {row['score']}{_place_of(row)} has "
            f"{counts.min()}."
        )


def mean_rank_elsewhere(achieved: "pd.DataFrame") -> "pd.DataFrame":
    """Return the mean rank of each module on the other tasks, 1 for always best, 0 for always last.

    Ranks are those of the accuracy with the same label count, the mean over repeats. A module that
    was tried on one task alone is left out there, and so is a task that is left with fewer than two
    modules.

    >>> import pandas as pd
    >>> rows = [("t", "a", 0.9), ("t", "b", 0.8), ("u", "a", 0.7), ("u", "b", 0.9)]
    >>> table = pd.DataFrame(rows, columns=["task", "module", "achieved"])
    >>> mean_rank_elsewhere(table).query("task == 't'")["predicted"].tolist()
    [0.0, 1.0]
    """
    cells = [axis for axis in ("n_labels", "task") if axis in achieved]
    means = achieved.groupby([*cells, "module"], sort=False)["achieved"].mean().unstack("module")
    n_others = (means.notna().sum(axis=1) - 1).clip(lower=1)
    ranks = (means.rank(axis=1) - 1).div(n_others, axis=0)

    def elsewhere(table: "pd.DataFrame") -> "pd.DataFrame":
        by_count = table.groupby(level="n_labels") if "n_labels" in achieved else None
        total: Any = table.sum() if by_count is None else by_count.transform("sum")
        return total - table  # type: ignore[no-any-return]

    n_tasks = elsewhere(ranks.notna().astype(float)).where(ranks.notna())
    # Equal means of ranks must not differ by rounding: that would break their tie at random.
    found = (elsewhere(ranks.fillna(0.0)) / n_tasks.where(n_tasks > 0)).round(12)
    found = found[found.notna().sum(axis=1) >= 2]
    return _melted(found, "predicted").assign(score=MEAN_RANK)


def shared_classes(
    module_classes: Mapping[str, Iterable[Any]] | None,
    task_classes: Mapping[str, Iterable[Any]] | None,
    achieved: "pd.DataFrame",
) -> "pd.DataFrame | None":
    """Return how many classes of each task each module was trained on, where both are known.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"task": ["t", "t"], "module": ["a", "b"]})
    >>> shared_classes({"a": [1, 2], "b": [3]}, {"t": [2, 3, 4]}, table)["predicted"].tolist()
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
    cells = achieved[["task", "module"]].drop_duplicates()
    cells = cells[cells["task"].isin(target) & cells["module"].isin(source)]
    pairs = zip(cells["task"], cells["module"], strict=True)
    shared = [float(len(target[task] & source[module])) for task, module in pairs]
    return cells.assign(predicted=pd.Series(shared, index=cells.index), score=SHARED_CLASSES)


def _as_sets(classes: Mapping[str, Iterable[Any]], *, name: str) -> dict[str, set[str]]:
    """Return class names as text, so that 3 and "3" are one class."""
    if not isinstance(classes, Mapping):
        raise ModtoolsError(f"{name} must be {{name: classes}}; got {type(classes).__name__}.")
    for key, values in classes.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise ModtoolsError(f'{name} must list classes; "{key}" has {values!r}.')
    return {str(key): {str(value) for value in values} for key, values in classes.items()}
