"""Output of results: JSON of one form, with versions, and files that are written atomically."""

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from modtools import __version__
from modtools._places import unwritable, write_content
from modtools._reading import at_home
from modtools._types import FrameLike, is_tensor

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["json_document", "json_text", "versions", "write_file"]

_PACKAGES: Final = ("torch", "scikit-learn", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of modtools, torch, scikit-learn, numpy and Python, without importing.

    Examples
    --------
    >>> sorted(versions())
    ['modtools', 'numpy', 'python', 'scikit-learn', 'torch']
    """
    packages = {name: version(name) for name in _PACKAGES}
    return {"modtools": __version__, "python": platform.python_version(), **packages}


def json_document(
    kind: str,
    rows: "pd.DataFrame",
    *,
    settings: Mapping[str, Any],
    seconds: float,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the JSON document of a result, the same form for all results and commands.

    Parameters
    ----------
    kind : str
        Kind of result, such as "ranking".
    rows : pandas.DataFrame
        The table.
    settings : mapping
        Arguments of the computation.
    seconds : float
        Wall-clock time in seconds.
    extra : mapping, optional
        Further data of this kind of result, for most kinds none.

    Returns
    -------
    dict
        kind, settings, versions, seconds, columns (their names), rows and extra.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"word": ["one"], "length": [3]})
    >>> list(json_document("lengths", table, settings={}, seconds=0.1))
    ['kind', 'settings', 'versions', 'seconds', 'columns', 'rows', 'extra']
    """
    return {
        "kind": kind,
        "settings": dict(settings),
        "versions": versions(),
        "seconds": seconds,
        "columns": [str(name) for name in rows.columns],
        "rows": rows,
        "extra": dict(extra or {}),
    }


def json_text(content: Mapping[str, Any]) -> str:
    """Return `content` and the versions as indented JSON; missing numbers become null.

    Data frames become lists of rows, numpy numbers become plain numbers.

    Examples
    --------
    >>> print(json_text({"best": "lite0"}).splitlines()[1])
      "best": "lite0",
    """
    whole = {**content, "versions": versions()}
    return json.dumps(whole, indent=2, allow_nan=False, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray) or is_tensor(value):
        return value.tolist()
    if isinstance(value, FrameLike):  # pandas turns missing values into null
        return json.loads(value.to_json(orient="records", double_precision=15))
    return str(value)


def write_file(path: str | os.PathLike[str], content: str | bytes) -> Path:
    """Write `content` to `path` atomically and return the path; text is encoded as UTF-8.

    Links are followed, and an existing file keeps its mode and owner. Devices and pipes are written
    into.

    Parameters
    ----------
    path : path-like
        Destination; missing folders are made.
    content : str or bytes
        Content of the file.

    Returns
    -------
    Path
        The path, with ``~`` replaced by the home folder.

    Raises
    ------
    ModtoolsError
        The path cannot be written; no partial file is left.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_file(f"{folder}/note.txt", "done").read_text()
    'done'
    """
    path = at_home(path)
    try:
        write_content(path, content.encode() if isinstance(content, str) else content)
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from error
    return path
