"""Places that results go to: looked at before the work, written whole, links and modes kept."""

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
_NEW_MODE: Final = 0o666  # less what the umask takes
_ADVICE: Final = {
    errno.ENOSPC: "Make room, or give another place.",
    errno.EDQUOT: "Make room, or give another place.",
    errno.EFBIG: "Give another place.",
    errno.ENAMETOOLONG: "Give a shorter name.",
}


def cache_home() -> Path:
    """Return the folder of what is kept to save time: ``MODTOOLS_CACHE``, else the user's cache.

    >>> cache_home().name != ""
    True
    """
    chosen = os.environ.get("MODTOOLS_CACHE") or platformdirs.user_cache_dir("modtools")
    return as_path(chosen, name="the folder of the cache")


def unwritable(
    path: str | os.PathLike[str], error: OSError | ValueError, *, what: str = ""
) -> ModtoolsError:
    """Return the error that names the place, why nothing can be written there, and what to do.

    >>> unwritable("a/b.json", NotADirectoryError(errno.ENOTDIR, "Not a directory"))
    ModtoolsError('a/b.json cannot be written: Not a directory. Give another place.')
    """
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    number = error.errno if isinstance(error, OSError) else None
    advice = _ADVICE.get(number or 0, "Give another place.")
    name = os.fspath(path) or "a file without a name"
    return ModtoolsError(f"{what}{name} cannot be written: {reason}. {advice}")


def check_file(path: str | os.PathLike[str], *, what: str = "") -> Path:
    """Return the path if a file can be written there, else raise; nothing is left behind.

    Folders that lack may be made when the file is written.

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
        The longest name that is going to be in it.
    what : str
        Words before the path in the message.
    """
    path = at_home(path, name=f"{what}path")
    try:
        _try_folder(Path(os.path.realpath(path)), holds)
    except (OSError, ValueError) as error:
        raise unwritable(path, error, what=what) from error
    return path


def check_new_folder(path: str | os.PathLike[str]) -> Path:
    """Return the path if a folder can be made there, else raise; nothing is left behind.

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
    """Return whether a path names a device, a pipe or an open file instead of a file."""
    try:
        target, status = _follow(Path(path))
    except (OSError, ValueError):
        return False
    return isinstance(target, int) or not (status is None or stat.S_ISREG(status.st_mode))


def target_of(path: str | os.PathLike[str]) -> Path:
    """Return the file that the links of a path lead to, which need not exist."""
    target, _ = _follow(Path(path))
    return Path(path) if isinstance(target, int) else target


def write_content(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, or all of it into a device, a pipe or an open file.

    Links are followed. A file that is there keeps its mode, and its owner where that is allowed.
    """
    target, status = _follow(path)
    if isinstance(target, int):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # what was printed before comes before
        _write_all(target, content)
    elif status is None or stat.S_ISREG(status.st_mode):
        with _made(target.parent):
            _replace(target, status, content)
    else:
        _write_into(target, content)


def _follow(path: Path) -> tuple[Path | int, os.stat_result | None]:
    """Return where the links of a path lead and what is there; an open file by its number."""
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
    """Return whether the names in a folder are the numbers of the open files of this process."""
    return re.fullmatch(rf"/dev/fd|/proc/{os.getpid()}(/task/\d+)?/fd", folder) is not None


def _try_folder(folder: Path, name: str) -> None:
    """Raise unless a file of this name could be made in a folder that is there or can be made."""
    missing = [name] if name else []
    while (status := _status(folder)) is None:
        missing.insert(0, folder.name)
        folder = folder.parent
    if not stat.S_ISDIR(status.st_mode):
        raise _os_error(errno.ENOTDIR)
    for part in missing:
        with suppress(FileNotFoundError):
            os.lstat(folder / part)  # fails where the name is too long
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
    """Make a folder and those above it; what is made goes away again where the block fails."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for place in missing:
            with suppress(OSError):  # not there, or others have put something into it
                place.rmdir()
        raise


def _replace(target: Path, status: os.stat_result | None, content: bytes) -> None:
    """Write beside the target, then exchange: readers see the old content or all of the new."""
    unfinished = target.with_name(f".{os.urandom(8).hex()}.tmp")  # short, whatever the target's
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
    """Give a file the owner, the group and the mode of another one, as far as that is allowed."""
    for owner, group in ((before.st_uid, -1), (-1, before.st_gid)):
        with suppress(OSError):
            os.chown(handle, owner, group)
    with suppress(OSError):
        os.chmod(handle, stat.S_IMODE(before.st_mode))  # last: a new owner takes bits away


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
