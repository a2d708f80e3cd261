"""Extracted features cached on disk: written atomically, verified when read, bounded in size."""

import hashlib
import json
import math
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modtools._checks import check_positive
from modtools._locks import make_held, remove_unheld
from modtools._places import cache_home
from modtools._reading import as_path
from modtools.exceptions import ModtoolsError, warn

__all__ = ["Cache", "clear_cache", "open_cache"]

_SUFFIX: Final = ".features"
_MAXIMUM_HEADER: Final = 4096
_FORMAT: Final = 2
_FIRST_HEADER: Final = {"sha256", "shape"}  # of format 1; the shape was not under the checksum


class Cache:
    """A folder of extracted features, one file each, the least recently used removed first.

    Parameters
    ----------
    folder : str or path, optional
        Where the files are. By default the environment variable ``MODTOOLS_CACHE``, else the
        user's cache folder of the platform.
    limit : float, optional
        Largest total size of the files, in gigabytes. By default the environment variable
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
        given = as_path(folder, name="the folder of the cache") if folder else None
        self.folder = given or cache_home()
        self._warned: set[str] = set()
        if limit is None:
            limit = _number(os.environ.get("MODTOOLS_CACHE_LIMIT", "10"))
        self.limit = check_positive(limit, name="the limit of the cache in gigabytes")

    @property
    def size(self) -> int:
        """Total size of the entries in bytes."""
        return sum(bytes_ for _, bytes_, _ in self._files())

    def get(self, key: str) -> NDArray[np.float32] | None:
        """Return the features of a key, or None; a damaged entry is removed with a warning.

        A read-only cache can still be read.

        Parameters
        ----------
        key : str
            The sha256 of everything that the features depend on.

        Returns
        -------
        ndarray or None
            The features as they were stored.

        Examples
        --------
        >>> import tempfile
        >>> Cache(tempfile.mkdtemp()).get("0" * 64) is None
        True
        """
        path = self._path(key)
        try:
            features = _read(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            reason = error.strerror or error
            warn(
                "MT002", f"the cache entry {path} cannot be read ({reason}); it is computed again."
            )
            return None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            warn("MT002", f"the cache entry {path} is damaged ({error}); it is computed again.")
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):  # a time of last use that cannot be written does not matter
            os.utime(path)
        return features

    def put(self, key: str, features: NDArray[np.float32]) -> None:
        """Store features atomically under a key; if the disk refuses, warn once.

        Parameters
        ----------
        key : str
            The sha256 of everything that the features depend on.
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
            text = f"features were not kept in the cache {self.folder}: {error.strerror or error}."
            if text not in self._warned:
                self._warned.add(text)
                warn("MT007", text)

    def clear(self) -> None:
        """Remove every entry, except those that another process is writing.

        Examples
        --------
        >>> import tempfile
        >>> Cache(tempfile.mkdtemp()).clear()
        """
        for _, _, path in self._files():
            if path.suffix != _SUFFIX:
                remove_unheld(path, Path.unlink)
                continue
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise ModtoolsError(
                    f"{path} could not be removed from the cache: {error.strerror or error}."
                ) from error

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _files(self) -> list[tuple[float, int, Path]]:
        """Return time of last use, size and path of each file, unfinished ones included."""
        found = []
        for path in self.folder.glob(f"*{_SUFFIX}*"):
            with suppress(OSError):  # another process may remove it meanwhile
                status = path.stat()
                if stat.S_ISREG(status.st_mode):
                    found.append((status.st_mtime, status.st_size, path))
        return sorted(found)

    def _evict(self) -> None:
        files = self._files()
        excess = sum(bytes_ for _, bytes_, _ in files) - self.limit * 1e9
        for _, bytes_, path in files:
            if path.suffix != _SUFFIX:
                remove_unheld(path, Path.unlink)
            elif excess > 0:
                with suppress(
                    OSError
                ):  # an entry of another user stays, and the next one is removed
                    path.unlink(missing_ok=True)
                    excess -= bytes_


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text  # the check that follows refuses and quotes it


def _header(rows: NDArray[np.float32]) -> bytes:
    """Return the first line of a file: shape, and the checksum of shape and rows."""
    shape = json.dumps(rows.shape)
    checksum = hashlib.sha256(shape.encode())
    checksum.update(rows.data)
    header = {"format": _FORMAT, "sha256": checksum.hexdigest(), "shape": rows.shape}
    return json.dumps(header).encode() + b"\n"


def _write(path: Path, features: NDArray[np.float32]) -> None:
    """Write to another name beside the final one, then rename: atomic for readers."""
    rows = np.ascontiguousarray(features, dtype="<f4")
    unfinished, held = make_held(lambda: _make_unfinished(path))
    try:
        with unfinished.open("wb") as file:
            file.write(_header(rows))
            file.write(rows.data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished)
        raise
    finally:
        if held is not None:
            os.close(held)


def _make_unfinished(path: Path) -> Path:
    handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    os.close(handle)
    return Path(unfinished)


def _read(path: Path) -> NDArray[np.float32]:
    if not path.is_file():
        raise FileNotFoundError(path)
    with path.open("rb") as file:
        line = file.readline(_MAXIMUM_HEADER)
        header = json.loads(line)
        if isinstance(header, dict) and set(header) == _FIRST_HEADER:
            raise FileNotFoundError(path)  # an entry of format 1 counts as absent
        shape = header["shape"]
        if not all(type(side) is int for side in shape):
            raise ValueError("its shape is not one of whole numbers")
        if os.fstat(file.fileno()).st_size != len(line) + 4 * math.prod(shape):
            raise ValueError("its length differs")
        rows = np.fromfile(file, dtype="<f4").reshape(shape)
    if line != _header(rows):
        raise ValueError("its checksum differs")
    return rows.astype(np.float32, copy=False)


def open_cache(cache: Any) -> Cache | None:
    """Return the cache of an argument ``cache=``: True, a folder, or None.

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
