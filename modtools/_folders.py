"""Folders that are written atomically, also when other processes read, write or are killed.

A folder is written inside a hidden work folder next to its destination. If the destination is free,
one rename moves it there; the system refuses to rename a folder over one that is not empty. If it
replaces an existing folder, the two are exchanged in one step (Linux and macOS). File systems that
cannot exchange folders (some network mounts) get two renames. A process that finds the destination
missing between the two, or after a kill between them, restores the old folder. Each work folder is
locked by the process that writes it, so that leftovers of killed processes can be recognised.
"""

import ctypes
import errno
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar
from uuid import uuid4

from modtools._locks import make_held, remove_unheld
from modtools.exceptions import ModtoolsError

__all__ = ["new_folder", "put_back", "read_steadily"]

T = TypeVar("T")

_WORK: Final = re.compile(r"\.modtools-[0-9a-f]{32}")
_TAKEN: Final = (errno.EEXIST, errno.ENOTEMPTY)
_NO_EXCHANGE: Final = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
_TRIES: Final = 100


@contextmanager
def new_folder(final: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a folder to write in; it is moved to `final` atomically when the block succeeds.

    Leftovers of killed processes beside `final` are removed first.

    Parameters
    ----------
    final : Path
        Destination; missing parents are made.
    overwrite : bool
        Whether an existing folder is replaced.

    Yields
    ------
    Path
        An empty folder; removed if the block raises.

    Raises
    ------
    FileExistsError
        `final` exists by now, and `overwrite` is False.

    Examples
    --------
    >>> import tempfile
    >>> final = Path(tempfile.mkdtemp()) / "final"
    >>> with new_folder(final, overwrite=False) as fresh:
    ...     _ = (fresh / "card.json").write_text("{}")
    >>> [path.name for path in final.parent.iterdir()], [path.name for path in final.iterdir()]
    (['final'], ['card.json'])
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    for work in _work_folders(final.parent):
        remove_unheld(work, _discard)
    work, handle = make_held(lambda: _make_work_folder(final.parent))
    try:
        fresh = work / "new"
        fresh.mkdir()
        yield fresh
        _put(fresh, final, overwrite=overwrite)
    finally:
        _discard(work)
        if handle is not None:
            os.close(handle)


def read_steadily(folder: Path, file: str, read: Callable[[], T]) -> T:
    """Return the result of `read`, all of it from one version of a folder.

    If the folder was replaced meanwhile, it is read again.

    Parameters
    ----------
    folder : Path
        The folder, which another process may replace.
    file : str
        Name of a file that every version of the folder contains.
    read : callable
        Reads from the folder, without arguments.

    Returns
    -------
    object
        What `read` returned.

    Raises
    ------
    ModtoolsError
        The folder was replaced at every attempt, or `read` raised it for an unchanged folder.
    """
    for _ in range(_TRIES):
        before = _version(folder, file)
        try:
            content = read()
        except ModtoolsError:
            if _version(folder, file) == before:
                raise
        else:
            if _version(folder, file) == before:
                return content
    raise ModtoolsError(f"{folder} was replaced {_TRIES} times while it was read; try again.")


def put_back(parent: Path) -> bool:
    """Restore folders whose replacement stopped between two renames; return whether there were any.

    Parameters
    ----------
    parent : Path
        Folder that contains the destinations.

    Returns
    -------
    bool
        Whether a replacement had been interrupted.
    """
    was_interrupted = False
    for work in _work_folders(parent):
        for old in _taken_away(work):
            was_interrupted = True
            with suppress(OSError):  # its name is taken: the replacement was completed
                old.rename(parent / old.name)
    return was_interrupted


def _version(folder: Path, file: str) -> tuple[int, ...] | None:
    """Return what identifies a version of a folder; None if the folder does not exist."""
    for _ in range(2):
        try:
            status, inside = folder.stat(), (folder / file).stat()
        except (OSError, ValueError):
            put_back(folder.parent)
            continue
        # The folder's own change time, because two renames may move it away and back.
        return (
            *(status.st_ctime_ns, status.st_ino, inside.st_ino, inside.st_size),
            *(inside.st_mtime_ns, inside.st_ctime_ns),
        )
    return None


def _work_folders(parent: Path) -> list[Path]:
    paths = parent.glob(".modtools-*")
    return [p for p in paths if _WORK.fullmatch(p.name) and not p.is_symlink() and p.is_dir()]


def _taken_away(work: Path) -> list[Path]:
    """Return the old folders that a work folder holds during a replacement; links are ignored."""
    old = work / "old"
    if old.is_symlink():
        return []
    try:
        return [old / name for name in os.listdir(old)]
    except OSError:  # there is none, or the writer has finished meanwhile
        return []


def _make_work_folder(parent: Path) -> Path:
    work = parent / f".modtools-{uuid4().hex}"
    work.mkdir()
    return work


def _discard(work: Path) -> None:
    """Remove a work folder, but never the only version of a folder."""
    for old in _taken_away(work):
        with suppress(OSError):
            old.rename(work.parent / old.name)
        if not (work.parent / old.name).exists():
            return
    shutil.rmtree(work, ignore_errors=True)


def _put(fresh: Path, final: Path, *, overwrite: bool) -> None:
    """Rename a folder to its destination, or exchange it with the folder that exists there."""
    for _ in range(_TRIES):
        try:
            fresh.rename(final)
            return
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
        if not overwrite:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final))
        try:
            if not _exchange(fresh, final):
                _replace_by_renames(fresh, final)
            return
        except FileNotFoundError:
            continue  # the existing folder has just been removed
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(final))


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step; return False if the file system cannot."""
    paths = os.fsencode(first), os.fsencode(second)
    if sys.platform == "darwin":
        code = ctypes.CDLL(None, use_errno=True).renamex_np(*paths, ctypes.c_uint(2))
    elif sys.platform == "linux" and hasattr(
        library := ctypes.CDLL(None, use_errno=True), "renameat2"
    ):
        here = ctypes.c_int(-100)
        code = library.renameat2(here, paths[0], here, paths[1], ctypes.c_uint(2))
    else:
        return False
    if code == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(first), None, str(second))


def _replace_by_renames(fresh: Path, final: Path) -> None:
    """Move the old folder away and the new one to its destination."""
    old = fresh.parent / "old"
    old.mkdir(exist_ok=True)
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):
            final.rename(old / final.name)
        try:
            fresh.rename(final)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            # A reader restored the old folder, or another process saved one: replace that too.
            with suppress(OSError):
                (old / final.name).rename(fresh.parent / uuid4().hex)
        else:
            old.rename(fresh.parent / "replaced")  # from here on nobody restores it
            return
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(final))
