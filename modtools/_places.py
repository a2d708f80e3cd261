"""Output paths: checked before the work starts, written atomically, links and modes kept."""

import errno
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import platformdirs

from modtools._reading import as_path, at_home
from modtools.exceptions import ModtoolsError

__all__ = [
    "cache_home",
    "check_file",
    "check_folder",
    "check_new_folder",
    "is_stream",
    "target_of",
    "unwritable",
    "write_content",
]

_MOST_LINKS: Final = 40  # as many as Linux follows
_NEW_MODE: Final = 0o666  # minus the umask
_ADVICE: Final = {
    errno.ENOSPC: "Make room, or give another place.",
    errno.EDQUOT: "Make room, or give another place.",
    errno.EFBIG: "Give another place.",
    errno.ENAMETOOLONG: "Give a shorter name.",
}


def cache_home() -> Path:
    """Return the cache folder: ``MODTOOLS_CACHE``, or else the user's cache folder.

    >>> cache_home().name != ""
    True
    """
    chosen = os.environ.get("MODTOOLS_CACHE") or platformdirs.user_cache_dir("modtools")
    return as_path(chosen, name="the folder of the cache")


def unwritable(
    path: str | os.PathLike[str], error: OSError | ValueError, *, what: str = ""
) -> ModtoolsError:
    """Return the error for a path that cannot be written, with the reason and a remedy.

    >>> unwritable("a/b.json", NotADirectoryError(errno.ENOTDIR, "Not a directory"))
    ModtoolsError('a/b.json cannot be written: Not a directory. Give another place.')
    """
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    number = error.errno if isinstance(error, OSError) else None
    advice = _ADVICE.get(number or 0, "Give another place.")
    name = os.fspath(path) or "a file without a name"
    return ModtoolsError(f"{what}{name} cannot be written: {reason}. {advice}")


def check_file(path: str | os.PathLike[str], *, what: str = "") -> Path:
    """Return the path if a file can be written there, else raise; no trace is left.

    Missing parent folders are fine if they can be made when the file is written.

    >>> check_file(tempfile.gettempdir()) == Path(tempfile.gettempdir())
    Traceback (most recent call last):
    modtools.exceptions.ModtoolsError: ... cannot be written: Is a directory. Give another place.
    """
    path = at_home(path, name=f"{what}path")
    try:
        target, status = _follow(path)
        if isinstance(target, int):
            os.write(target, b"")  # fails where the file was opened to be read
            return path
        if status is not None and not os.access(target, os.W_OK):
            raise _os_error(errno.EACCES)
        if status is None or stat.S_ISREG(status.st_mode):
            _try_folder(target.parent, target.name)
    except (OSError, ValueError) as error:
        raise unwritable(path, error, what=what) from error
    return path


def check_folder(path: str | os.PathLike[str], *, holds: str = "", what: str = "") -> Path:
    """Return the path if files can be written into this folder, or it can be made, else raise.

    Parameters
    ----------
    path : path-like
        The folder.
    holds : str
        The longest file name that will be written into it.
    what : str
        Words before the path in the message.

    Returns
    -------
    Path
        The path, with ``~`` replaced by the home folder.

    Raises
    ------
    ModtoolsError
        Nothing can be written there.

    Examples
    --------
    >>> check_folder(tempfile.gettempdir()) == Path(tempfile.gettempdir())
    True
    """
    path = at_home(path, name=f"{what}path")
    try:
        _try_folder(Path(os.path.realpath(path)), holds)
    except (OSError, ValueError) as error:
        raise unwritable(path, error, what=what) from error
    return path


def check_new_folder(path: str | os.PathLike[str]) -> Path:
    """Return the path if a folder can be made there, else raise; no trace is left.

    >>> check_new_folder(Path(tempfile.gettempdir(), 100 * "ab")).name[:4]
    'abab'
    """
    path = at_home(path)
    try:
        if os.path.lexists(path):
            raise _os_error(errno.EEXIST)
        _try_folder(Path(os.path.realpath(path.parent)), path.name)
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from error
    return path


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a device, a pipe or an open file descriptor, not a regular file."""
    try:
        target, status = _follow(Path(path))
    except (OSError, ValueError):
        return False
    return isinstance(target, int) or not (status is None or stat.S_ISREG(status.st_mode))


def target_of(path: str | os.PathLike[str]) -> Path:
    """Return the path after following links; the file need not exist."""
    target, _ = _follow(Path(path))
    return Path(path) if isinstance(target, int) else target


def write_content(path: Path, content: bytes) -> None:
    """Write a file atomically, or write into a device, a pipe or an open file descriptor.

    Links are followed. An existing file keeps its mode, and its owner where that is allowed.
    """
    target, status = _follow(path)
    if isinstance(target, int):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # keep the order with earlier output
        _write_all(target, content)
    elif status is None or stat.S_ISREG(status.st_mode):
        with _made(target.parent):
            _replace(target, status, content)
    else:
        _write_into(target, content)


def _follow(path: Path) -> tuple[Path | int, os.stat_result | None]:
    """Follow links; return the target, or a file descriptor, and its status (None if missing)."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        status = None
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise _os_error(errno.EISDIR)
    if status is not None and stat.S_ISSOCK(status.st_mode):
        raise OSError(errno.ENXIO, "Is a socket")
    for _ in range(_MOST_LINKS):
        folder = os.path.realpath(path.parent)
        if path.name.isdecimal() and _holds_own_files(folder):
            return int(path.name), status
        path = Path(folder, path.name)
        if not path.is_symlink():
            return path, status
        path = path.parent / os.readlink(path)
    raise _os_error(errno.ELOOP)


def _holds_own_files(folder: str) -> bool:
    """Return whether a folder lists the open file descriptors of this process."""
    return re.fullmatch(rf"/dev/fd|/proc/{os.getpid()}(/task/\d+)?/fd", folder) is not None


def _try_folder(folder: Path, name: str) -> None:
    """Raise unless a file of this name can be made in a folder that exists or can be made."""
    missing = [name] if name else []
    while (status := _status(folder)) is None:
        missing.insert(0, folder.name)
        folder = folder.parent
    if not stat.S_ISDIR(status.st_mode):
        raise _os_error(errno.ENOTDIR)
    for part in missing:
        with suppress(FileNotFoundError):
            os.lstat(folder / part)  # fails if the name is too long
    if missing[: -1 if name else None]:
        with tempfile.TemporaryDirectory(dir=folder, prefix="."):
            return
    with tempfile.TemporaryFile(dir=folder):
        return


def _status(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        if path == path.parent:
            raise
        return None


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder and its parents; remove the new ones again if the block fails."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in missing:
            with suppress(OSError):  # it is missing, or no longer empty
                path.rmdir()
        raise


def _replace(target: Path, status: os.stat_result | None, content: bytes) -> None:
    """Write a temporary file beside the target, then rename it: readers see no partial content."""
    unfinished = target.with_name(f".{os.urandom(8).hex()}.tmp")  # short, also for long names
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        handle = os.open(unfinished, flags, _NEW_MODE if status is None else 0o600)
        try:
            _write_all(handle, content)
            if status is not None:
                _keep_rights(handle, status)
        finally:
            os.close(handle)
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def _keep_rights(handle: int, before: os.stat_result) -> None:
    """Copy owner, group and mode to a file, as far as that is allowed."""
    for owner, group in ((before.st_uid, -1), (-1, before.st_gid)):
        with suppress(OSError):
            os.chown(handle, owner, group)
    with suppress(OSError):
        os.chmod(handle, stat.S_IMODE(before.st_mode))  # last: a change of owner clears bits


def _write_into(target: Path, content: bytes) -> None:
    handle = os.open(target, os.O_WRONLY)
    try:
        _write_all(handle, content)
    finally:
        os.close(handle)


def _write_all(handle: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(handle, left) :]


def _os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
