"""How results leave: JSON that names the versions behind it, files that are whole or absent."""

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from modtools import __version__
from modtools._places import unwritable, write_content
from modtools._reading import at_home
from modtools._types import FrameLike, is_tensor

__all__ = ["json_text", "versions", "write_file"]

_PACKAGES: Final = ("torch", "scikit-learn", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of modtools, torch, scikit-learn, numpy and Python; nothing is imported.

    Examples
    --------
    >>> sorted(versions())
    ['modtools', 'numpy', 'python', 'scikit-learn', 'torch']
    """
    found = {name: version(name) for name in _PACKAGES}
    return {"modtools": __version__, "python": platform.python_version(), **found}


def json_text(content: Mapping[str, Any]) -> str:
    """Return `content` with the versions as indented JSON; missing numbers become null.

    Data frames become lists of rows, numpy numbers plain ones.

    Examples
    --------
    >>> print(json_text({"best": "lite0"}).splitlines()[1])
      "best": "lite0",
    """
    whole = {**content, "versions": versions()}
    return json.dumps(whole, indent=2, allow_nan=False, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray) or is_tensor(value):
        return value.item()
    if isinstance(value, FrameLike):  # pandas turns missing values into null
        return json.loads(value.to_json(orient="records", double_precision=15))
    return str(value)


def write_file(path: str | os.PathLike[str], content: str | bytes) -> Path:
    """Write `content` to `path` whole or not at all, and return the path; text becomes UTF-8.

    Links are followed, and a file that is there keeps its mode and owner. What is no file, such as
    a device or a pipe, is written into.

    Raises
    ------
    ModtoolsError
        The place cannot be written, which is said with its name; nothing is left behind.

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
