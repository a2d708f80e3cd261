"""Loading of tasks by name, or from files and folders."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modtools._checks import did_you_mean
from modtools._reading import as_path, kind_of
from modtools.exceptions import ModtoolsError
from modtools.tasks._fashion_mnist import read_fashion_mnist
from modtools.tasks._files import read_npz, read_table
from modtools.tasks._image_folder import ImageSize, read_image_folder
from modtools.tasks._labels import Kind
from modtools.tasks._task import Task

__all__ = ["load_task"]

_NAMES = ("digits", "fashion-mnist")
_READERS = {".npz": read_npz, ".csv": read_table, ".parquet": read_table}


def load_task(
    source: str | os.PathLike[str],
    *,
    split: str | None = None,
    label: str | None = None,
    kind: Kind | None = None,
    folder: str | os.PathLike[str] | None = None,
    image_size: ImageSize | None = None,
) -> Task:
    """Load a labelled task by name or from files.

    Parameters
    ----------
    source : str or path
        One of

        - ``"digits"``: 1797 handwritten digits of scikit-learn, (n, 8, 8); their 17
          grey levels 0..16 are spread over uint8 as ``round(level * 255 / 16)``, so that images of
          every task have the same range;
        - ``"fashion-mnist"``: images of clothing (n, 28, 28) with labels 0..9, from the files of
          the Debian package dataset-fashion-mnist, else from OpenML, with a message on stderr;
        - a folder with one folder of images per class (read by Pillow; hidden files are left out),
          in sorted order: uint8 (n, height, width) if all are grey, else (n, height, width, 3);
        - a ``.npz`` file with an array inputs, X, x or features and an array labels or y; one that
          would unpack to more than 100 times what is stored (beyond 64 MB), or to more than the
          memory available, is not read;
        - a ``.csv`` or ``.parquet`` table: a label column beside one text column (inputs are a list
          of str) or beside numeric columns (inputs are a float64 matrix).
    split : str, optional
        ``"train"`` (the default) or ``"test"`` of fashion-mnist; for a folder, the name of the
        folder inside it that holds the class folders.
    label : str, default="label"
        Name of the label column of a table, or of the label array of a ``.npz`` file.
    kind : {"classification", "multilabel", "regression"}, optional
        Kind of task; inferred from the labels by default.
    folder : path, optional
        Folder of the four ``.gz`` files of fashion-mnist; default is the environment variable
        ``MODTOOLS_FASHION_MNIST``.
    image_size : int or (height, width), optional
        Resize the images of a folder (bilinear); without it, sizes that differ raise.

    Returns
    -------
    Task
        Named after the source.

    Raises
    ------
    ModtoolsError
        An unknown name, a file that cannot be read (named), or labels that are missing.

    Examples
    --------
    >>> load_task("digits")
    Task(digits: 1797 examples of uint8 (8, 8), classification, 10 classes)
    """
    if not isinstance(source, str | os.PathLike) or not str(source):
        raise ModtoolsError(f"a task must be a name or a path; got {source!r}.")
    path = as_path(source, name="a task")
    text = os.fspath(source)
    is_folder = text not in _NAMES and kind_of(path) == "folder"
    _refuse_unused(
        text,
        split=None if is_folder or text == "fashion-mnist" else split,
        label=label if is_folder or text in _NAMES else None,
        folder=None if text == "fashion-mnist" else folder,
        image_size=None if is_folder else image_size,
    )
    inputs: Any
    labels: Any
    if text == "digits":
        inputs, labels = _read_digits()
    elif text == "fashion-mnist":
        inputs, labels = read_fashion_mnist(split, folder)
    elif is_folder:
        inputs, labels = read_image_folder(_split_folder(path, split), image_size)
    else:
        inputs, labels = _reader(text, path)(path, label)
    if text in _NAMES:
        return Task(inputs, labels, name=text, kind=kind)
    own_name = path.resolve().name if is_folder else path.stem
    try:
        return Task(inputs, labels, name=own_name, kind=kind)
    except ModtoolsError as error:
        raise ModtoolsError(f"{path}: {error}") from error


def _refuse_unused(source: str, **options: Any) -> None:
    unused = [name for name, value in options.items() if value is not None]
    if unused:
        raise ModtoolsError(f'{unused[0]}= does not apply to the task "{source}"; leave it out.')


def _read_digits() -> tuple[NDArray[np.uint8], NDArray[Any]]:
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    return np.round(digits.images * (255 / 16)).astype(np.uint8), digits.target


def _split_folder(path: Path, split: str | None) -> Path:
    if split is None:
        return path
    if not isinstance(split, str):
        raise ModtoolsError(f"split must be the name of a folder; got {split!r}.")
    if kind_of(as_path(path / split, name="split")) != "folder":
        raise ModtoolsError(f'folder {path} has no split "{split}": {path / split} does not exist.')
    return path / split


def _reader(text: str, path: Path) -> Any:
    kind = kind_of(path)
    if kind and path.suffix in _READERS:
        return _READERS[path.suffix]
    accepted = "Accepted: digits, fashion-mnist, a folder of class folders, .npz, .csv, .parquet."
    if kind:
        raise ModtoolsError(f"file {path} has an unknown format. {accepted}")
    if path.suffix in _READERS or "/" in text:
        raise ModtoolsError(f"file or folder {path} does not exist. {accepted}")
    raise ModtoolsError(f'unknown task "{text}"{did_you_mean(text, _NAMES) or "."} {accepted}')
