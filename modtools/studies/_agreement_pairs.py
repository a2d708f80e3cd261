"""Scores beside what was achieved: one row of values a score, task, label budget and draw."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from modtools._types import FloatMatrix
from modtools.exceptions import ModtoolsError
from modtools.studies._inputs import AXES, melted, place_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Key", "Pairs", "pair_up"]

Key: TypeAlias = tuple[Any, ...]  # a score, and its label budget where there are budgets

_NOTHING: Final = "scores is empty: give at least one score of two modules on one task."


@dataclass(frozen=True)
class Pairs:
    """Which values belong together.

    Attributes
    ----------
    axes : list of str
        task, and budget and draw where they are given.
    predicted : pandas.DataFrame
        One row a score and cell of the axes, one column a module; missing where the score leaves
        a module out.
    achieved : pandas.DataFrame
        One row a cell, the same columns; missing where a module was not tried.
    static : frozenset of str
        Names of the rankers that never look at the labels.
    """

    axes: list[str]
    predicted: "pd.DataFrame"
    achieved: "pd.DataFrame"
    static: frozenset[str]

    def truths(self) -> FloatMatrix:
        """Return the achieved accuracies row by row beside the predicted values."""
        rows = self.achieved.index.get_indexer(self.predicted.reset_index("score").index)
        return self.achieved.to_numpy()[rows]

    def cells(self) -> "Iterator[tuple[Key, str, FloatMatrix, FloatMatrix]]":
        """Yield each row: its score (and budget), its task, predicted and achieved values."""
        names = list(self.predicted.index.names)
        task = names.index("task")
        axes = [names.index(axis) for axis in ("score", "budget") if axis in names]
        rows = zip(self.predicted.index, self.predicted.to_numpy(), self.truths(), strict=True)
        for where, scores, truth in rows:
            yield tuple(where[axis] for axis in axes), where[task], scores, truth

    def points(self) -> "pd.DataFrame":
        """Return one row a score, cell and module: columns predicted and achieved."""
        covered = np.isfinite(self.predicted.to_numpy())
        points = melted(self.predicted, "predicted")
        return points.assign(achieved=self.truths()[covered])


def pair_up(
    scores: "pd.DataFrame | None", truth: "pd.DataFrame", static: "Sequence[pd.DataFrame]"
) -> Pairs:
    """Bring scores, static rankers and truth onto the same tasks, budgets and draws.

    What lacks a budget or a draw serves all of them; static rankers are kept where scores are.
    """
    import pandas as pd

    tables = [] if scores is None else [scores]
    axes = [axis for axis in AXES if any(axis in table for table in (truth, *tables))]
    names = [name for table in [*tables, *static] for name in table["score"].unique()]
    again = [name for place, name in enumerate(names) if name in names[:place]]
    if again:
        raise ModtoolsError(f'"{again[0]}" is the name of two rankers; rename one of them.')
    grid = _cells(truth) if scores is None else _grid(scores, truth)
    achieved = truth.merge(grid, on=[axis for axis in axes if axis in truth])
    if scores is not None:
        tables = [_spread(scores, grid, achieved, is_strict=True)]
    for ranker in static:
        if "task" in ranker:
            _check_known(ranker, truth, name="static")
        tables.append(_spread(ranker, grid, achieved, is_strict="task" in ranker))
    if not tables:
        raise ModtoolsError(_NOTHING)
    pairs = Pairs(
        axes,
        _pivot(pd.concat(tables), ["score", *axes], "predicted"),
        _pivot(achieved, axes, "achieved"),
        frozenset(name for ranker in static for name in ranker["score"]),
    )
    _check_rankings(pairs)
    return pairs


def _cells(table: "pd.DataFrame") -> "pd.DataFrame":
    return table[[axis for axis in AXES if axis in table]].drop_duplicates()


def _grid(scores: "pd.DataFrame", truth: "pd.DataFrame") -> "pd.DataFrame":
    """Return the tasks, budgets and draws on which scores can be judged."""
    _check_known(scores, truth, name="scores")
    asked, known = _cells(scores), _cells(truth)
    return asked.merge(known, on=[axis for axis in asked if axis in known])


def _check_known(table: "pd.DataFrame", truth: "pd.DataFrame", *, name: str) -> None:
    """Raise for a task, budget or draw that the truth does not have."""
    asked, known = _cells(table), _cells(truth)
    for last in range(len(asked.columns)):
        shared = [axis for axis in asked.columns[: last + 1] if axis in known]
        found = asked.merge(known[shared].drop_duplicates(), how="left", indicator=True)
        lost = found[found["_merge"] == "left_only"]
        if not len(lost):
            continue
        row, axis = lost.iloc[0], shared[-1]
        if axis == "task":
            tasks = ", ".join(dict.fromkeys(known["task"]))
            raise ModtoolsError(f'{name} name the task "{row["task"]}", truth has {tasks}.')
        there = known[known["task"] == row["task"]][axis].drop_duplicates()
        raise ModtoolsError(
            f"{name} have {axis} {row[axis]}{place_of(row.drop(axis))}, truth has "
            f"{', '.join(map(str, there))} there."
        )


def _spread(
    table: "pd.DataFrame", grid: "pd.DataFrame", achieved: "pd.DataFrame", *, is_strict: bool
) -> "pd.DataFrame":
    """Return the values on every cell that they serve; strict ones must have an accuracy."""
    shared = [axis for axis in AXES if axis in table and axis in grid]
    spread = table.merge(grid, on=shared) if shared else table.merge(grid, how="cross")
    keys = [*grid.columns, "module"]
    found = spread.merge(achieved[keys], on=keys, how="left", indicator=True)
    has_truth = found["_merge"] == "both"
    if is_strict and not has_truth.all():
        row = found[~has_truth].iloc[0]
        raise ModtoolsError(
            f'module "{row["module"]}" has {row["score"]}{place_of(row)} but no accuracy in truth.'
        )
    return found[has_truth].drop(columns="_merge")


def _pivot(table: "pd.DataFrame", rows: list[str], values: str) -> "pd.DataFrame":
    """Return one column a module, in alphabetical order; rows in the order of the table."""
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
            f"a ranking needs at least two modules; {row['score']}{place_of(row)} has "
            f"{counts.min()}."
        )
