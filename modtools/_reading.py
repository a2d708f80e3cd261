"""Reading of input files: paths, JSON, arrays and tables, checked before they are used.

One function reads each kind of file. Any exception of the underlying library becomes a
`ModtoolsError` that names the file, the cause and a remedy.
"""

import json
import math
import os
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from reprlib import repr as short
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from modtools._escape import one_line
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "as_path",
    "at_home",
    "check_is_file",
    "check_memory",
    "kind_of",
    "read_arrays",
    "read_frame",
    "read_json",
    "read_strict_json",
    "reading",
]

_LONGEST_NAME, _LONGEST_PATH = 255, 4095  # bytes, as on Linux, macOS and Windows
_LARGEST_JSON: Final = 64 << 20
_DEEPEST_JSON, _DEEPEST_STRICT = 100, 32
# Features, images and codes compress about tenfold; far more suggests a decompression bomb.
_LARGEST_RATIO, _ALWAYS_UNPACKED = 100, 64 << 20
_BYTES_PER_CELL: Final = 8
_CHUNK: Final = 1 << 20
_ANEW: Final = "Write it with numpy.savez(path, features=..., labels=...)."


@contextmanager
def reading(what: str, advice: str = "") -> Iterator[None]:
    """Turn every exception inside the block into a one-line `ModtoolsError`.

    Parameters
    ----------
    what : str
        What failed, at the beginning of the message.
    advice : str, optional
        A remedy, at its end.

    Examples
    --------
    >>> with reading("file a.json cannot be read", "Write it anew."):
    ...     json.loads("{")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    modtools.exceptions.ModtoolsError: file a.json cannot be read: Expecting property ... anew.
    """
    try:
        yield
    except ModtoolsError:
        raise
    except Exception as error:
        raise ModtoolsError(f"{what}: {_cause(error)}. {advice}".rstrip()) from error


def _cause(error: Exception) -> str:
    text = one_line(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    is_plain = isinstance(error, OSError | ValueError | zipfile.BadZipFile)
    return text if text and is_plain else f"{type(error).__name__} {text}".rstrip()


def at_home(value: Any, *, name: str = "path") -> Path:
    """Return a path with ``~`` replaced by the home folder; nothing else is checked."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str):
        raise ModtoolsError(f"{name} must be a path; got {value!r}.")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ModtoolsError(
            f"{name} begins with the home folder of a user who does not exist: {text!r}. Write "
            f'"./{text}" for a file of that name.'
        ) from None


def as_path(value: Any, *, name: str = "path") -> Path:
    """Return a valid path, with ``~`` replaced by the home folder.

    >>> as_path("data/task.npz").name
    'task.npz'
    """
    path = at_home(value, name=name)
    text = os.fspath(value)
    if not text:
        raise ModtoolsError(f"{name} must be a path; got {value!r}.")
    if "\0" in text:
        raise ModtoolsError(f"{name} must not hold a null byte; got {text!r}.")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise ModtoolsError(f"{name} must be text; {text!r} has lone surrogates.") from None
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if longest > _LONGEST_NAME or len(os.fsencode(path)) > _LONGEST_PATH:
        raise ModtoolsError(
            f"{name} must have at most {_LONGEST_NAME} bytes between two slashes and "
            f"{_LONGEST_PATH} in all; got {longest} and {len(os.fsencode(path))}: "
            f"{text[:40]!r} ..."
        )
    return path


def kind_of(path: Path) -> str:
    """Return "file", "folder", "special" (a pipe, a device), or "" if the path does not exist."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise ModtoolsError(f"{path} cannot be looked at: {_cause(error)}.") from error
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "special"


def check_is_file(path: Path, *, what: str = "file") -> Path:
    """Return the path of a regular file; raise for anything else, without opening it."""
    kind = kind_of(path)
    if not kind:
        raise ModtoolsError(f"{what} {path} does not exist.")
    if kind != "file":
        kind_text = "a folder" if kind == "folder" else "a pipe, socket or device"
        raise ModtoolsError(f"{what} {path} is {kind_text}; a regular file is needed.")
    return path


def check_memory(what: str, n_bytes: int, *, advice: str = "") -> None:
    """Raise if `n_bytes` of memory are not available, before they are allocated."""
    available = _available_memory()
    if n_bytes > available:
        raise ModtoolsError(
            f"{what} needs {n_bytes / 1e9:.3g} GB of memory; {available / 1e9:.3g} GB are "
            f"available. {advice}".rstrip()
        )


def _available_memory() -> float:
    """Return the bytes available without swapping; infinity if the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        return math.inf


def _check_unpacked(what: str, *, packed: int, unpacked: int) -> None:
    """Raise if a file would unpack to more than the memory, or looks like a decompression bomb."""
    if unpacked > max(_ALWAYS_UNPACKED, _LARGEST_RATIO * packed):
        raise ModtoolsError(
            f"{what} would unpack to {unpacked / 1e6:.3g} MB from {packed / 1e6:.3g} MB, more than "
            f"{_LARGEST_RATIO} times its size; it is damaged or made to fill the memory. If it is "
            "right, save it without compression."
        )
    check_memory(what, unpacked)


def read_json(path: Path, *, what: str = "file") -> dict[str, Any]:
    """Return the object in a JSON file; duplicate keys, NaN and very deep nesting raise.

    Parameters
    ----------
    path : Path
        The file, of at most 64 MB.
    what : str, optional
        Words before the path in messages.

    Returns
    -------
    dict
        The object, nested at most 100 levels deep.

    Raises
    ------
    ModtoolsError
        The file cannot be read, or is not such an object.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "a.json")
    >>> _ = file.write_text('{"best": "lite0"}')
    >>> read_json(file)
    {'best': 'lite0'}
    """
    check_is_file(path, what=what)
    with reading(f"{what} {path} cannot be read as JSON"):
        if path.stat().st_size > _LARGEST_JSON:
            raise ModtoolsError(f"{what} {path} is larger than {_LARGEST_JSON >> 20} MB.")
        content = _parse_json(path.read_bytes(), other="JSON")
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise ModtoolsError(f"{what} {path} must hold a JSON object; got {kind}.")
    if _is_deeper(content, _DEEPEST_JSON):
        raise ModtoolsError(f"{what} {path} is nested more than {_DEEPEST_JSON} times.")
    return content


def read_strict_json(path: Path, *, maximum_bytes: int) -> Any:
    """Return the content of a JSON file from an untrusted source, such as a module card.

    It rejects what `read_json` rejects, numbers that are not finite, unpaired surrogates, and
    nesting of more than 32 levels.
    """
    with reading(f"{path} is not valid JSON"):
        with path.open("rb") as file:
            data = file.read(maximum_bytes + 1)
        if len(data) > maximum_bytes:
            raise ModtoolsError(f"{path} is larger than a card can be.")
        content = _parse_json(data, other="number", parse_float=_finite)
        if _is_deeper(content, _DEEPEST_STRICT):
            raise ValueError(f"it is nested more than {_DEEPEST_STRICT} deep")
        json.dumps(content, ensure_ascii=False).encode()  # fails for unpaired surrogates
    return content


def _parse_json(
    data: bytes, *, other: str, parse_float: Callable[[str], float] | None = None
) -> Any:
    """Return the content of JSON text; ambiguous content, such as NaN, raises `ValueError`."""

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no {other}")

    text = data.decode("utf-8")
    return json.loads(text, object_pairs_hook=_once, parse_constant=refuse, parse_float=parse_float)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has a key twice: {short(twice)} occurs twice")
    return content


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{short(text)} is no number")
    return number


def _is_deeper(content: Any, most: int) -> bool:
    """Return whether lists and objects are nested more than `most` levels deep."""
    level = [content] if isinstance(content, dict | list) else []
    for _ in range(most):
        inner = [part.values() if isinstance(part, dict) else part for part in level]
        level = [value for part in inner for value in part if isinstance(value, dict | list)]
    return bool(level)


def read_arrays(
    source: Path | IO[bytes],
    choose: Callable[[list[str]], Sequence[str]],
    *,
    what: str = "",
) -> list[NDArray[Any]]:
    """Return some arrays of a .npz file; nothing is unpickled.

    The uncompressed size in the archive's directory must agree with the array's header. It must be
    less than the available memory, and at most a hundred times the compressed size (64 MB are
    always allowed).

    Parameters
    ----------
    source : Path or binary file
        The file.
    choose : callable
        Maps the names of all arrays to those that are read.
    what : str, optional
        Name of the file in messages; by default its path.

    Returns
    -------
    list of ndarray
        The arrays, in the order of the chosen names.

    Raises
    ------
    ModtoolsError
        The file cannot be read, is damaged, or holds object arrays.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "a.npz")
    >>> np.savez(file, labels=[0, 1])
    >>> read_arrays(file, lambda names: names)
    [array([0, 1])]
    """
    if isinstance(source, Path):
        what = what or f"file {check_is_file(source)}"
    cannot = f"{what} cannot be read as .npz"
    with ExitStack() as stack:
        with reading(cannot, _ANEW):
            archive = stack.enter_context(zipfile.ZipFile(source))
            members = {
                info.filename.removesuffix(".npy"): info
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
        names = choose(list(members))
        arrays = []
        for name in names:
            with reading(f'{cannot}: array "{name}"', _ANEW):
                arrays.append(_member(archive, members[name], what))
        return arrays


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, what: str) -> NDArray[Any]:
    if info.flag_bits & 1:
        raise ValueError("it is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("it is packed in a way that numpy does not write")
    packed = min(info.compress_size, archive.start_dir)  # at most the bytes before the directory
    _check_unpacked(what, packed=packed, unpacked=info.file_size)
    with archive.open(info) as stream:
        shape, dtype = _header(stream)
        n_bytes = stream.tell() + math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise ModtoolsError(
            f"{what} holds an object array, which is not loaded because that could run code; "
            "save plain numbers or strings."
        )
    if n_bytes != info.file_size or (shape and min(shape) < 0) or not dtype.itemsize:
        raise ValueError(
            f"its header says {dtype} of shape {shape}, {n_bytes:.4g} bytes with the header, and "
            f"the archive declares {info.file_size:.4g} bytes"
        )
    with archive.open(info) as stream:
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
        stream.read(1)  # at the end of the stream, zipfile compares the checksum
    return array


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and type in an array's header, without reading the array."""
    version = np.lib.format.read_magic(stream)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a damaged header may parse as Python with warnings
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
        else:
            raise ValueError(f"its format {version} is not known here")
    return shape, dtype


def read_frame(path: Path, *, failed: str = "", **csv: Any) -> "pd.DataFrame":
    r"""Return the table of a .csv or .parquet file; CSV rows wider than the header raise.

    Parameters
    ----------
    path : Path
        The file.
    failed : str, optional
        Beginning of error messages; by default it names the file.
    **csv
        Options of `pandas.read_csv`.

    Returns
    -------
    pandas.DataFrame
        The table.

    Raises
    ------
    ModtoolsError
        The file cannot be read, is damaged, or is too large for the memory.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "a.csv")
    >>> _ = file.write_text("module,score\nlite0,0.5\n")
    >>> read_frame(file).to_dict("records")
    [{'module': 'lite0', 'score': 0.5}]
    """
    import pandas as pd

    check_is_file(path)
    advice = "It is damaged, or of another kind; write it again."
    with reading(failed or f"file {path} cannot be read as {path.suffix}", advice):
        if path.suffix == ".parquet":
            return _read_parquet(path)
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                if b"\0" in chunk:
                    raise ValueError("it holds null bytes, so it is no text in UTF-8")
        with warnings.catch_warnings():
            # Without this, rows wider than the header would silently lose cells.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table: pd.DataFrame = pd.read_csv(path, low_memory=False, index_col=False, **csv)
        return table


def _read_parquet(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        from pyarrow import parquet
    except ImportError:
        raise ModtoolsError(f"file {path} needs pyarrow: pip install pyarrow.") from None
    with parquet.ParquetFile(path) as file:
        n_cells = file.metadata.num_rows * file.metadata.num_columns
    _check_unpacked(f"file {path}", packed=path.stat().st_size, unpacked=n_cells * _BYTES_PER_CELL)
    table: pd.DataFrame = pd.read_parquet(path)
    return table
