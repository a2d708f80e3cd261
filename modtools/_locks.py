"""Locks on files and folders, which the system releases when their process ends in any way."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["make_held", "open_held", "remove_unheld"]


def _hold(handle: int, path: Path) -> None:
    """Lock an open file or folder until its handle is closed.

    Raises
    ------
    BlockingIOError
        Another process holds the lock.
    FileNotFoundError
        It was removed before it could be locked.
    OSError
        This operating system or file system has no such locks.
    """
    if sys.platform == "win32":
        raise OSError("no locks of files on this system")
    import fcntl

    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if not os.path.samestat(os.fstat(handle), os.stat(path)):
        raise FileNotFoundError(path)


def open_held(path: Path) -> int:
    """Return a handle that locks a file or folder until it is closed.

    Raises
    ------
    BlockingIOError
        Another process holds the lock.
    OSError
        It does not exist, is a link, or cannot be locked on this system.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> handle = open_held(folder)
    >>> open_held(folder)
    Traceback (most recent call last):
    BlockingIOError: ...
    >>> os.close(handle)
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    try:
        _hold(handle, path)
    except BaseException:
        os.close(handle)
        raise
    return handle


def make_held(make: Callable[[], Path]) -> tuple[Path, int | None]:
    """Return a new file or folder and the handle that locks it; None if there are no locks."""
    while True:
        path = make()
        try:
            return path, open_held(path)
        except (BlockingIOError, FileNotFoundError):
            continue  # before it was locked, another process took it for a leftover
        except OSError:
            return path, None  # without locks no process removes leftovers


def remove_unheld(path: Path, remove: Callable[[Path], None]) -> None:
    """Remove the leftover of a killed process; keep what is, or may be, in use."""
    with suppress(OSError):
        handle = open_held(path)
        try:
            remove(path)
        finally:
            os.close(handle)
