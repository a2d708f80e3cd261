"""Folders that are whole under their name at every moment, whoever else reads, writes or is killed.

A folder is made inside a hidden work folder beside its place. Where nothing has that place yet, one
rename puts it there; the system refuses to rename a folder over one that holds something. Where it
replaces another, the two are exchanged in one step (Linux and macOS). File systems that cannot
exchange (some that are mounted over a network) get two renames; whoever finds the place empty
between them, or after a kill between them, puts the old folder back. A work folder is locked by the
process that writes it, so that what a killed one left can be told from what is being written.
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
    """Give a folder to write in; when the block ends well it is at `final`, whole, else nowhere.

    What killed processes left beside `final` is removed first. FileExistsError says that `final`
    was taken meanwhile and is not to be replaced.

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
    """Return what `read` finds in a folder, all of it of one version.

    It is read again where the folder was replaced meanwhile; `file` is one that every version has.
    """
    for _ in range(_TRIES):
        before = _version(folder, file)
        try:
            found = read()
        except ModtoolsError:
            if _version(folder, file) == before:
                raise
        else:
            if _version(folder, file) == before:
                return found
    raise ModtoolsError(f"{folder} was replaced {_TRIES} times while it was read; try again.")


def put_back(parent: Path) -> bool:
    """Give folders their place back whose replacing stopped between two renames; say if any did."""
    found = False
    for work in _work_folders(parent):
        for old in _taken_away(work):
            found = True
            with suppress(OSError):  # its place is taken: the replacing went on
                old.rename(parent / old.name)
    return found


def _version(folder: Path, file: str) -> tuple[int, ...] | None:
    """Return what differs between a folder and the one that replaces it; None where none is."""
    for _ in range(2):
        try:
            place, inside = folder.stat(), (folder / file).stat()
        except (OSError, ValueError):
            put_back(folder.parent)
            continue
        # The folder's own change time, because two renames may take it away and bring it back.
        parts = (place.st_ctime_ns, place.st_ino, inside.st_ino, inside.st_size, inside.st_mtime_ns)
        return (*parts, inside.st_ctime_ns)
    return None


def _work_folders(parent: Path) -> list[Path]:
    found = parent.glob(".modtools-*")
    return [p for p in found if _WORK.fullmatch(p.name) and not p.is_symlink() and p.is_dir()]


def _taken_away(work: Path) -> list[Path]:
    """Return what stands in a work folder while its place is empty; links lead nowhere."""
    old = work / "old"
    if old.is_symlink():
        return []
    try:
        return [old / name for name in os.listdir(old)]
    except OSError:  # none, or the writer has finished since
        return []


def _make_work_folder(parent: Path) -> Path:
    work = parent / f".modtools-{uuid4().hex}"
    work.mkdir()
    return work


def _discard(work: Path) -> None:
    """Remove a work folder, but never the only version of something."""
    for old in _taken_away(work):
        with suppress(OSError):
            old.rename(work.parent / old.name)
        if not (work.parent / old.name).exists():
            return
    shutil.rmtree(work, ignore_errors=True)


def _put(fresh: Path, final: Path, *, overwrite: bool) -> None:
    """Rename a folder to a free place, or exchange it with what is there."""
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
            continue  # what was there has just been removed
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(final))


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step; return False where the file system cannot."""
    places = os.fsencode(first), os.fsencode(second)
    if sys.platform == "darwin":
        code = ctypes.CDLL(None, use_errno=True).renamex_np(*places, ctypes.c_uint(2))
    elif sys.platform == "linux" and hasattr(
        library := ctypes.CDLL(None, use_errno=True), "renameat2"
    ):
        here = ctypes.c_int(-100)
        code = library.renameat2(here, places[0], here, places[1], ctypes.c_uint(2))
    else:
        return False
    if code == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(first), None, str(second))


def _replace_by_renames(fresh: Path, final: Path) -> None:
    """Take the old folder away and put the fresh one in its place."""
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
            # A reader put the old one back, or another process saved: that one is replaced too.
            with suppress(OSError):
                (old / final.name).rename(fresh.parent / uuid4().hex)
        else:
            old.rename(fresh.parent / "replaced")  # no one puts it back any more
            return
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(final))
