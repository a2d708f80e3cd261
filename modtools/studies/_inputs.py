"""Scores and achieved accuracies as tidy tables, from any accepted form, checked once."""

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from modtools._checks import check_choice
from modtools._escape import without_apostrophes
from modtools._reading import as_path, kind_of, read_frame
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "AXES",
    "Nested",
    "Table",
    "Truth",
    "melted",
    "place_of",
    "read_scores",
    "read_static",
    "read_table",
    "read_truth",
]

Values: TypeAlias = Mapping[str, float]
Truth: TypeAlias = Mapping[str, Values]
Nested: TypeAlias = Mapping[str, Mapping[str, Values]]
Table: TypeAlias = "pd.DataFrame | str | os.PathLike[str]"

AXES: Final = ["task", "budget", "draw"]
_PERCENT: Final = 100.0


def read_truth(truth: "Truth | Table", *, unit: str) -> "pd.DataFrame":
    """Return accuracies as fractions in the columns task, budget and draw if given, module.

    >>> read_truth({"digits": {"a": 90, "b": 80}}, unit="percent")["achieved"].tolist()
    [0.9, 0.8]
    """
    check_choice(unit, ["fraction", "percent"], name="unit")
    if isinstance(truth, Mapping):
        _check_nested(truth.values(), "truth", "{task: {module: accuracy}}")
        table = _frame(
            [
                (task, module, a)
                for task, by_module in truth.items()
                for module, a in by_module.items()
            ],
            ["task", "module", "accuracy"],
        )
    else:
        table = _loaded(truth, name="truth")
        _check_columns(table, ["task", "module", "accuracy"], name="truth")
    table = _tidy(table, ["module", "accuracy"], name="truth")
    _check_accuracies(table, unit)
    _check_once(table, name="truth", what="accuracies")
    table["accuracy"] /= _PERCENT if unit == "percent" else 1.0
    return table.rename(columns={"accuracy": "achieved"})


def read_scores(scores: "Nested | Table", *, name: str) -> "pd.DataFrame":
    """Return values in the columns score, task, budget and draw if given, module, predicted.

    A frame has the columns score and value, or one column a score; an empty cell of the latter
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


def read_static(static: Any) -> "pd.DataFrame":
    """Return static rankers like scores; one that serves every task comes without that column.

    >>> read_static({"size": {"a": 1, "b": 2}}).columns.tolist()
    ['score', 'module', 'predicted']
    """
    if not isinstance(static, Mapping):
        table = _loaded(static, name="static")
        keys = [axis for axis in AXES[:1] if axis in getattr(table, "columns", ())]
        return _checked_scores(_long(table, [*keys, "module"], name="static"), name="static")
    _check_nested(static.values(), "static", "{ranker: {module: value}}")
    inner = [value for ranker in static.values() for value in ranker.values()]
    if inner and all(isinstance(value, Mapping) for value in inner):
        return read_scores(static, name="static")
    return _checked_scores(_frame(_flat(static), ["score", "module", "value"]), name="static")


def _flat(by_score: Mapping[str, Values]) -> list[tuple[str, str, float]]:
    return [
        (score, module, v) for score, values in by_score.items() for module, v in values.items()
    ]


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
    """Return a frame with the columns score and value, from one that has a column a score."""
    columns = set(getattr(table, "columns", ()))
    is_wide = columns >= set(keys) and not columns & {"score", "value"}
    if not is_wide:
        wanted = [*keys[:-1], "score", "module", "value"]
        _check_columns(table, wanted, name=name)
        return table  # type: ignore[no-any-return]
    keys = [column for column in table.columns if column in (*AXES, "module")]
    flat: pd.DataFrame = table.melt(id_vars=keys, var_name="score", value_name="value")
    text = flat["score"][[isinstance(value, str) for value in flat["value"]]]
    if len(text):
        raise ModtoolsError(
            f"{name} must have numbers in every column beside {', '.join(keys)}; column "
            f'"{text.iloc[0]}" has text. Drop it.'
        )
    return flat.dropna(subset="value")


def _tidy(table: "pd.DataFrame", others: list[str], *, name: str) -> "pd.DataFrame":
    """Return a copy with the axes and `others`: names as text, values and budgets as numbers."""
    import pandas as pd

    axes = [axis for axis in AXES if axis in table.columns]
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
            f'{row["score"]} of module "{row["module"]}"{place_of(row)} is {row["value"]}.'
        )
    _check_once(table, name=name, what="values")
    columns = ["score", *(axis for axis in AXES if axis in table), "module", "value"]
    return table[columns].rename(columns={"value": "predicted"})


def _check_once(table: "pd.DataFrame", *, name: str, what: str) -> None:
    keys = [column for column in table.columns if column not in ("value", "accuracy")]
    again = table[table.duplicated(keys)]
    if len(again):
        row = again.iloc[0]
        of_score = f" of {row['score']}" if "score" in row else ""
        counted = "two values" if what == "values" else f"two {what}"
        where = place_of(row).removeprefix(" on task")
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
            f'accuracies in truth are {kind}; module "{row["module"]}"{place_of(row)} has '
            f"{row['accuracy']}.{hint}"
        )
    if unit == "percent" and len(table) and table["accuracy"].max() <= 1.0:
        raise ModtoolsError(
            "no accuracy in truth is above 1, so they cannot be percent; leave unit out."
        )


def melted(wide: "pd.DataFrame", name: str) -> "pd.DataFrame":
    """Return one row a number of a table with a column a module, row by row; gaps are left out."""
    values = wide.to_numpy(dtype=np.float64)
    rows, columns = np.nonzero(np.isfinite(values))
    table = wide.index.to_frame(index=False).iloc[rows].reset_index(drop=True)
    return table.assign(module=wide.columns[columns], **{name: values[rows, columns]})


def place_of(row: Any) -> str:
    """Return where a row is, such as `` on task "digits", budget 5``, or nothing."""
    names = [f"{axis} {row[axis]}" for axis in AXES[1:] if axis in row]
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
