"""Fashion-MNIST: 70000 grey images of clothing, 28 x 28 uint8, labels 0 to 9."""

import gzip
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modtools._checks import check_choice
from modtools._places import cache_home
from modtools._reading import as_path, check_is_file, kind_of, reading
from modtools.exceptions import ModtoolsError

__all__ = ["has_fashion_mnist", "read_fashion_mnist"]

_DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
_PREFIXES = {"train": "train", "test": "t10k"}
_N_TRAIN = 60000
_LARGEST = 16 + _N_TRAIN * 28 * 28 + 1  # one byte more than the larger uncompressed file
_WAYS = (
    "Install the Debian package dataset-fashion-mnist, or give folder= (or the environment "
    "variable MODTOOLS_FASHION_MNIST) with the four .gz files."
)


def _given_folder(folder: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the folder that was asked for, by argument or environment."""
    if folder is None:
        folder = os.environ.get("MODTOOLS_FASHION_MNIST") or None
    return None if folder is None else as_path(folder, name="folder")


def has_fashion_mnist() -> bool:
    """Return whether the files are on this machine, in the default folder."""
    return ((_given_folder() or _DEBIAN_FOLDER) / "train-images-idx3-ubyte.gz").is_file()


def read_fashion_mnist(
    split: str | None, folder: str | os.PathLike[str] | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return images (n_samples, 28, 28) and labels (n_samples,) of one split."""
    split = check_choice(split or "train", list(_PREFIXES), name="split of fashion-mnist")
    given = _given_folder(folder)
    if given is None and not _DEBIAN_FOLDER.is_dir():
        return _fetch(split)
    place = given or _DEBIAN_FOLDER
    prefix = _PREFIXES[split]
    images = _read_idx(place / f"{prefix}-images-idx3-ubyte.gz", 3)
    labels = _read_idx(place / f"{prefix}-labels-idx1-ubyte.gz", 1)
    return images, labels


def _read_idx(path: Path, n_axes: int) -> NDArray[np.uint8]:
    """Return the uint8 array of a gzipped IDX file: magic number, one length per axis, bytes."""
    if not kind_of(path):
        raise ModtoolsError(f"Fashion-MNIST file {path} does not exist. {_WAYS}")
    check_is_file(path, what="Fashion-MNIST file")
    with reading(f"Fashion-MNIST file {path} cannot be read"), gzip.open(path) as file:
        content = file.read(_LARGEST)
    start = 4 + 4 * n_axes
    shape = tuple(np.frombuffer(content[4:start], dtype=">u4").tolist())
    magic = bytes([0, 0, 8, n_axes])
    if content[:4] != magic or len(content) - start != int(np.prod(shape, dtype=np.int64)):
        raise ModtoolsError(f"Fashion-MNIST file {path} is damaged: not an IDX file of its length.")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _fetch(split: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return one split from OpenML; after the first download it is read from the cache folder."""
    from sklearn.datasets import fetch_openml

    place = cache_home() / "openml"
    sys.stderr.write(
        f"Fashion-MNIST is not installed; reading it from OpenML (30 MB), cached in {place}\n"
    )
    try:
        bunch: Any = fetch_openml(
            "Fashion-MNIST", version=1, data_home=str(place), as_frame=True, parser="pandas"
        )
    except (OSError, ValueError) as error:
        raise ModtoolsError(
            f"Fashion-MNIST cannot be fetched from OpenML: {error}. {_WAYS}"
        ) from error
    rows = slice(_N_TRAIN) if split == "train" else slice(_N_TRAIN, None)
    images = bunch.data.to_numpy(dtype=np.uint8).reshape(-1, 28, 28)[rows]
    return images, bunch.target.to_numpy().astype(np.uint8)[rows]
