"""Extracted features on disk: written atomically, verified when read, bounded in size."""

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import platformdirs
from numpy.typing import NDArray

from modtools._validation import check_positive
from modtools.exceptions import ModtoolsError, warn

__all__ = ["Cache", "clear_cache", "open_cache"]

_SUFFIX: Final = ".features"
_MAXIMUM_HEADER: Final = 4096


class Cache:
    """A folder of extracted features, one file each, the least recently used removed first.

    Parameters
    ----------
    folder : str or path, optional
        Where the files lie. By default the environment variable ``MODTOOLS_CACHE``, else the
        user's cache folder of the platform.
    limit : float, optional
        Gigabytes that the files may take together. By default the environment variable
        ``MODTOOLS_CACHE_LIMIT``, else 10.

    Examples
    --------
    >>> import tempfile
    >>> cache = Cache(tempfile.mkdtemp())
    >>> cache.put("0" * 64, np.ones((2, 3), dtype=np.float32))
    >>> cache.get("0" * 64).shape
    (2, 3)
    >>> cache.clear()
    >>> cache.size
    0
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, *, limit: Any = None) -> None:
        chosen = (
            folder or os.environ.get("MODTOOLS_CACHE") or platformdirs.user_cache_dir("modtools")
        )
        self.folder = Path(chosen)
        if limit is None:
            limit = _number(os.environ.get("MODTOOLS_CACHE_LIMIT", "10"))
        self.limit = check_positive(limit, name="the limit of the cache in gigabytes")

    @property
    def size(self) -> int:
        """Bytes that the entries take together."""
        return sum(bytes_ for _, bytes_, _ in self._entries())

    def get(self, key: str) -> NDArray[np.float32] | None:
        """Return the features of a key, or None; a damaged entry is removed with a warning.

        Parameters
        ----------
        key : str
            The sha256 of all that the features depend on.

        Returns
        -------
        ndarray or None
            The features as they were put.

        Examples
        --------
        >>> import tempfile
        >>> Cache(tempfile.mkdtemp()).get("0" * 64) is None
        True
        """
        path = self._path(key)
        try:
            features = _read(path)
            os.utime(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            warn("MT002", f"the cache entry {path} is damaged ({error}); it is computed again.")
            with suppress(OSError):
                path.unlink()
            return None
        return features

    def put(self, key: str, features: NDArray[np.float32]) -> None:
        """Keep features under a key; where the disk refuses, warn and leave no half file.

        Parameters
        ----------
        key : str
            The sha256 of all that the features depend on.
        features : ndarray of shape (n_samples, n_features)
            Float32 features.

        Examples
        --------
        >>> import tempfile
        >>> Cache(tempfile.mkdtemp()).put("0" * 64, np.ones((2, 3), dtype=np.float32))
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(self._path(key), features)
            self._evict()
        except OSError as error:
            warn("MT007", f"features were not kept in the cache {self.folder}: {error}.")

    def clear(self) -> None:
        """Remove every entry.

        Examples
        --------
        >>> import tempfile
        >>> Cache(tempfile.mkdtemp()).clear()
        """
        for _, _, path in self._entries():
            path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _entries(self) -> list[tuple[float, int, Path]]:
        """Return time of last use, bytes and path of each file, unfinished ones included."""
        found = []
        for path in self.folder.glob(f"*{_SUFFIX}*"):
            with suppress(FileNotFoundError):  # another process may remove it meanwhile
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        return sorted(found)

    def _evict(self) -> None:
        entries = self._entries()
        excess = sum(bytes_ for _, bytes_, _ in entries) - self.limit * 1e9
        for _, bytes_, path in entries:
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= bytes_


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text  # refused, and quoted, by the check that follows


def _write(path: Path, features: NDArray[np.float32]) -> None:
    """Write header and rows beside the final name, then rename: readers see all or nothing."""
    rows = np.ascontiguousarray(features, dtype="<f4")
    header = {"sha256": hashlib.sha256(rows.data).hexdigest(), "shape": rows.shape}
    handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(json.dumps(header).encode() + b"\n")
            file.write(rows.data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished)
        raise


def _read(path: Path) -> NDArray[np.float32]:
    with path.open("rb") as file:
        header = json.loads(file.readline(_MAXIMUM_HEADER))
        flat = np.fromfile(file, dtype="<f4")
    if hashlib.sha256(flat.data).hexdigest() != header["sha256"]:
        raise ValueError("its checksum differs")
    return flat.astype(np.float32, copy=False).reshape(header["shape"])


def open_cache(cache: Any) -> Cache | None:
    """Return the cache that an argument ``cache=`` asks for: True, a folder, or None.

    >>> open_cache(None) is None
    True
    """
    if cache is None or cache is False:
        return None
    if cache is True:
        return Cache()
    if isinstance(cache, str | os.PathLike):
        return Cache(cache)
    raise ModtoolsError(f"cache must be True, a folder or None; got {cache!r}.")


def clear_cache() -> None:
    """Remove all features from the default cache (``MODTOOLS_CACHE``, else the user's cache).

    Examples
    --------
    >>> clear_cache()  # doctest: +SKIP
    """
    Cache().clear()
