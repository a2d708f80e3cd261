"""Scores and achieved accuracies as nested dicts, from any accepted form."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Nested", "Truth", "Values", "pair_up", "read_nested", "read_static", "read_truth"]

Values: TypeAlias = Mapping[str, float]
Truth: TypeAlias = Mapping[str, Values]
Nested: TypeAlias = Mapping[str, Mapping[str, Values]]


def pair_up(values: Values, achieved: Truth, *, task: str, score: str) -> dict[str, dict[str, Any]]:
    """Return predicted and achieved of each module that the score covers."""
    if task not in achieved:
        raise ModtoolsError(f'scores name the task "{task}", truth has {", ".join(achieved)}.')
    for module, value in values.items():
        if module not in achieved[task]:
            raise ModtoolsError(
                f'module "{module}" has {score} on task "{task}" but no accuracy in truth.'
            )
        if not np.isfinite(value):
            raise ModtoolsError(f'{score} of module "{module}" on task "{task}" is {value}.')
    if len(values) < 2:
        raise ModtoolsError(
            f'a ranking needs at least two modules; {score} on task "{task}" has {len(values)}.'
        )
    return {
        module: {"module": module, "predicted": float(value), "achieved": achieved[task][module]}
        for module, value in values.items()
    }


def read_truth(truth: "Truth | pd.DataFrame") -> dict[str, dict[str, float]]:
    """Return accuracies by task and module, each a fraction; a frame is read by its columns."""
    if not isinstance(truth, Mapping):
        columns = _columns(truth, ["task", "module", "accuracy"], name="truth")
        nested: dict[str, dict[str, float]] = {}
        for task, module, accuracy in columns:
            nested.setdefault(str(task), {})[str(module)] = accuracy
        truth = nested
    _check_nested(truth.values(), "truth", "{task: {module: accuracy}}")
    for task, accuracies in truth.items():
        for module, accuracy in accuracies.items():
            if not 0.0 <= accuracy <= 1.0:
                raise ModtoolsError(
                    f'accuracies in truth are fractions in [0, 1]; module "{module}" on task '
                    f'"{task}" has {accuracy}. Divide percent by 100.'
                )
    return {task: {m: float(a) for m, a in modules.items()} for task, modules in truth.items()}


def read_nested(scores: "Nested | pd.DataFrame", *, name: str) -> Nested:
    """Return values by task, score and module; a frame is read by its columns."""
    if isinstance(scores, Mapping):
        shape = "{task: {score: {module: value}}}"
        _check_nested(scores.values(), name, shape)
        _check_nested((inner for task in scores.values() for inner in task.values()), name, shape)
        return scores
    nested: dict[str, dict[str, dict[str, float]]] = {}
    for task, score, module, value in _columns(
        scores, ["task", "score", "module", "value"], name=name
    ):
        values = nested.setdefault(str(task), {}).setdefault(str(score), {})
        if module in values:
            raise ModtoolsError(f'{name} has two values of {score} for "{module}" on "{task}".')
        values[str(module)] = value
    return nested


def read_static(static: Any, achieved: Truth) -> Nested:
    """Return static rankers by task; one that is given once serves every task of the truth."""
    if not isinstance(static, Mapping):
        return read_nested(static, name="static")
    inner = [value for ranker in static.values() for value in ranker.values()]
    if inner and all(isinstance(value, Mapping) for value in inner):
        return static
    return {
        task: {
            ranker: {module: values[module] for module in modules if module in values}
            for ranker, values in static.items()
        }
        for task, modules in achieved.items()
    }


def _check_nested(values: Iterable[Any], name: str, shape: str) -> None:
    strange = [value for value in values if not isinstance(value, Mapping)]
    if strange:
        raise ModtoolsError(f"{name} must be {shape} or a frame; got {strange[0]!r} inside.")


def _columns(table: "pd.DataFrame", names: list[str], *, name: str) -> list[tuple[Any, ...]]:
    absent = [column for column in names if column not in getattr(table, "columns", ())]
    if absent:
        wanted = ", ".join(names)
        raise ModtoolsError(f"{name} must have the columns {wanted}; {absent[0]} is absent.")
    return list(table[names].itertuples(index=False, name=None))
