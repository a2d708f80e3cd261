"""Cells of a study: what one output module did with one draw of labels, kept once finished."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modtools._places import check_folder
from modtools._reading import check_is_file, kind_of, read_arrays, read_json, reading
from modtools._types import FloatMatrix
from modtools._writing import write_file
from modtools.exceptions import ModtoolsError, warn

__all__ = ["Cell", "Line", "Measured", "Store", "check_study_folder", "open_store"]

_CELLS = "cells"
_CELL_NAME = f"{64 * '0'}.npz"  # as long as the name of any cell


class Line(NamedTuple):
    """One curve of a study.

    Attributes
    ----------
    module, output, strategy : str
        Names of the module, of its output module, and of how its labelled rows are chosen.
    """

    module: str
    output: str
    strategy: str


class Cell(NamedTuple):
    """The unit that is kept, by all that tells it from other cells of its study.

    Attributes
    ----------
    identity : str
        Digest of what the module is: its features, or its network and settings.
    output, strategy : str
        As in `Line`.
    draw : int
        Number of the draw of labels.
    counts : tuple of int
        Its label counts.
    """

    identity: str
    output: str
    strategy: str
    draw: int
    counts: tuple[int, ...]


class Measured(NamedTuple):
    """What a cell holds, one entry a label count.

    Attributes
    ----------
    right : ndarray of shape (n_counts, n_bytes)
        Which test rows are right, eight to a byte.
    accuracy : ndarray of shape (n_counts,)
        Share of the test rows that are right.
    log_loss : ndarray of shape (n_counts,)
        Nats; NaN where the output module gives no probabilities.
    codelength : ndarray of shape (n_counts,)
        Bits of the labels so far, one step ahead; NaN but for the ridge machine.
    """

    right: NDArray[np.uint8]
    accuracy: FloatMatrix
    log_loss: FloatMatrix
    codelength: FloatMatrix

    @classmethod
    def of(
        cls, right: NDArray[np.bool_], log_loss: ArrayLike = np.nan, codelength: ArrayLike = np.nan
    ) -> "Measured":
        """Return the content of a cell from which test rows are right (n_counts, n_test)."""
        columns = [np.broadcast_to(part, len(right)) for part in (log_loss, codelength)]
        accuracy, packed = right.mean(axis=1), np.packbits(right, axis=1)
        return cls(packed, accuracy, *(column.astype(np.float64) for column in columns))


@dataclass(frozen=True)
class Store:
    """Finished cells in a folder; without a folder nothing is kept.

    Attributes
    ----------
    folder : Path or None
        The folder of the study.
    definition : str
        The definition of the study as text; it is part of the name of each cell.
    n_test : int or None
        Rows that are tested on, where a cell must have been measured on as many.

    Examples
    --------
    >>> import tempfile
    >>> store, cell = Store(Path(tempfile.mkdtemp()), ""), Cell("a", "ridge", "random", 0, (2,))
    >>> store.put(cell, Measured.of(np.array([[True, False]]), log_loss=[0.25]))
    >>> found = store.get(cell)
    >>> found.accuracy.tolist(), found.log_loss.tolist()
    ([0.5], [0.25])
    """

    folder: Path | None
    definition: str
    n_test: int | None = None

    def get(self, cell: Cell) -> Measured | None:
        """Return a finished cell, or None; a damaged one is reported and counts as missing."""
        path = self._path(cell)
        if path is None or not kind_of(path):
            return None
        check_is_file(path, what="the cell")
        with reading(f"the cell {path} cannot be read", "Mend its rights, or give another folder."):
            content = path.read_bytes()
        try:
            found = Measured(*read_arrays(io.BytesIO(content), _all_fields, what=str(path)))
            _check_measured(found, len(cell.counts), self.n_test)
        except ModtoolsError:
            warn("MT002", f"{path} is damaged; this cell of the study is computed again.")
            return None
        return found

    def put(self, cell: Cell, measured: Measured) -> None:
        """Keep a finished cell, whole or not at all."""
        path = self._path(cell)
        if path is not None:
            content = io.BytesIO()
            np.savez(content, **measured._asdict())
            write_file(path, content.getvalue())

    def _path(self, cell: Cell) -> Path | None:
        if self.folder is None:
            return None
        key = hashlib.sha256(json.dumps([self.definition, *cell]).encode()).hexdigest()
        return self.folder / _CELLS / f"{key}.npz"


def check_study_folder(folder: Path) -> Path:
    """Return the folder if a study can be kept in it, else raise; nothing is left behind.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> check_study_folder(folder / "study") == folder / "study"
    True
    >>> list(folder.iterdir())
    []
    """
    check_folder(folder)
    check_folder(folder / _CELLS, holds=_CELL_NAME)
    return folder


def _all_fields(present: list[str]) -> Sequence[str]:
    if set(present) != set(Measured._fields):
        raise ModtoolsError(f"a cell must hold {', '.join(Measured._fields)}.")
    return Measured._fields


def _check_measured(found: Measured, n_counts: int, n_test: int | None) -> None:
    """Raise where arrays are not those of a cell, or its accuracies not those of its rows."""
    n_bytes = found.right.shape[1] if found.right.ndim == 2 else 0
    columns = (found.accuracy, found.log_loss, found.codelength)
    right_form = found.right.dtype == np.uint8 and len(found.right) == n_counts and n_bytes
    if not right_form or any(c.dtype != np.float64 or c.shape != (n_counts,) for c in columns):
        raise ModtoolsError("its arrays have other shapes or types than those of a cell.")
    least, most = (n_test, n_test) if n_test else (8 * n_bytes - 7, 8 * n_bytes)
    n_right = np.unpackbits(found.right, axis=1).sum(axis=1)
    fits = (found.accuracy * least <= n_right + 1e-6) & (found.accuracy * most >= n_right - 1e-6)
    if n_bytes != -(-most // 8) or not fits.all():
        raise ModtoolsError("its accuracies are not those of its test rows.")


def open_store(folder: Path, definition: Mapping[str, Any], n_test: int | None = None) -> Store:
    """Return the store of a study, or raise if its folder holds one of another definition.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = open_store(folder, {"seed": 0})
    >>> open_store(folder, {"seed": 1})  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    modtools.exceptions.ModtoolsError: ... another definition: seed was 0, now 1. ...
    """
    store = Store(folder, json.dumps(definition, sort_keys=True), n_test)
    path = folder / "study.json"
    if not kind_of(path):
        write_file(path, json.dumps(definition, indent=1, sort_keys=True) + "\n")
        return store
    try:
        kept = read_json(path, what="the study")
    except ModtoolsError as error:
        raise ModtoolsError(
            f"{path} cannot be read ({error}), so it is not known which study {folder} holds. "
            "Give another folder; nothing was changed."
        ) from error
    if changed := _differences(kept, definition):
        raise ModtoolsError(
            f"{folder} holds a study of another definition: {changed}. Call it as before to go on, "
            "or give another folder; its finished cells are kept."
        )
    return store


def _differences(kept: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Say what differs between two definitions, or return the empty string."""
    plain = json.loads(json.dumps(asked))
    return "; ".join(
        _difference(name, kept.get(name), plain.get(name))
        for name in sorted({*kept, *plain})
        if kept.get(name) != plain.get(name)
    )


def _difference(name: str, before: Any, now: Any) -> str:
    if name in ("inputs", "labels"):
        return f"{name} differ"
    if name == "modules" and isinstance(before, dict):
        if sorted(before) != sorted(now):
            return f"{name} were {', '.join(sorted(before))}, now {', '.join(sorted(now))}"
        other = [f'"{key}"' for key in now if before[key] != now[key]]
        return f"{name}: the features of {', '.join(other)} differ"
    return f"{name} was {_short(before)}, now {_short(now)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:60]} ... {text[-16:]}"
