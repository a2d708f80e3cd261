"""Tasks in one file: .npz, .csv and .parquet."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modtools._checks import did_you_mean
from modtools._reading import read_arrays, read_frame
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_npz", "read_table"]

_INPUT_KEYS = ("inputs", "X", "x", "features")
_LABEL_KEYS = ("labels", "y")
_COUNTED = "below the header (counted from 0)"


def read_npz(path: Path, label: str | None) -> tuple[Any, Any]:
    """Return the arrays inputs, X, x or features, and labels or y; pickles are refused."""
    label_keys = _LABEL_KEYS if label is None else (label,)

    def keys(present: list[str]) -> list[str]:
        return [_key(present, accepted, path) for accepted in (_INPUT_KEYS, label_keys)]

    inputs, labels = read_arrays(path, keys)
    return inputs, labels


def _key(present: list[str], accepted: tuple[str, ...], path: Path) -> str:
    found = [key for key in accepted if key in present]
    if len(found) != 1:
        raise ModtoolsError(
            f"file {path} must hold exactly one array called {' or '.join(accepted)}; "
            f"it holds {', '.join(present) or 'none'}."
        )
    return found[0]


def read_table(path: Path, label: str | None) -> tuple[Any, Any]:
    """Return the inputs (texts, or numbers as one matrix) and the label column of a table."""
    # Only an empty cell is missing: "NA", "None" and "null" can be words and class names.
    table = read_frame(path, keep_default_na=False, na_values=[""])
    columns = [str(column) for column in table.columns]
    table.columns = columns
    if not len(table):
        raise ModtoolsError(f"file {path} holds no row below its header.")
    if len(set(columns)) < len(columns):
        twice = next(column for column in columns if columns.count(column) > 1)
        raise ModtoolsError(f'file {path} has two columns "{twice}"; rename one.')
    name = "label" if label is None else label
    if name not in columns:
        raise ModtoolsError(
            f'file {path} has no label column "{name}"{did_you_mean(name, columns) or "."} '
            f"Name it with label=; columns: {', '.join(columns)}."
        )
    labels, rest = table[name], table.drop(columns=name)
    if labels.isna().any():
        rows = np.flatnonzero(labels.isna())
        raise ModtoolsError(
            f'file {path}: column "{name}" lacks a label in {len(rows)} '
            f"row{'' if len(rows) == 1 else 's'}, first at row {rows[0]} {_COUNTED}. "
            "Drop the unlabelled rows."
        )
    return _inputs_of(rest, path), labels.to_numpy()


def _inputs_of(table: "pd.DataFrame", path: Path) -> Any:
    """Return the one text column as a list of str, or the numeric columns as floats."""
    import pandas as pd

    texts = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    if not len(table.columns):
        raise ModtoolsError(f"file {path} has no column other than the label.")
    if texts and len(table.columns) > 1:
        raise ModtoolsError(
            f"file {path} must have one text column or numeric columns only beside the label; "
            f"text: {', '.join(texts)}, of {len(table.columns)} columns. Drop or encode the others."
        )
    if not texts:
        return table.to_numpy(dtype=np.float64, na_value=np.nan)
    column = table[texts[0]]
    strange = np.flatnonzero([not isinstance(text, str) for text in column])
    if strange.size:
        raise ModtoolsError(
            f'file {path}: column "{texts[0]}" must hold text; row {strange[0]} {_COUNTED} '
            f"is {'empty' if column.isna().iloc[strange[0]] else 'not text'} "
            f"({strange.size} such)."
        )
    return column.tolist()
