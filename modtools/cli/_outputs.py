"""What a command writes: places are looked at before the work, files written after the result."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from modtools._places import check_file, check_folder
from modtools._writing import write_file
from modtools.exceptions import ModtoolsError
from modtools.plotting._display import check_picture_place

__all__ = ["Outputs", "Writing", "check_outputs", "write_outputs"]


class Outputs(Protocol):
    """The options that name files, alike in all commands; None where none is wanted."""

    @property
    def json(self) -> str | None:
        """File for the JSON, or - for standard output."""

    @property
    def csv(self) -> Path | None:
        """File for the table."""

    @property
    def plot(self) -> Path | None:
        """Name of the picture."""


def check_outputs(wanted: Outputs, *, cache: Path | None = None) -> None:
    """Raise for a place that cannot be written, before any work is done for it.

    A cache that is there may be one to read from, so it has to be nothing more than a folder.
    """
    if wanted.json is not None and wanted.json != "-":
        check_file(wanted.json)
    if wanted.csv is not None:
        check_file(wanted.csv)
    if wanted.plot is not None:
        check_picture_place(wanted.plot)
    if cache is not None and not cache.is_dir():
        check_folder(cache)


class Writing:
    """Writes one thing after the other, and the rest too where one cannot be written.

    Attributes
    ----------
    written : list of Path
        What was written.
    failures : list of str
        Why the rest was not.
    """

    def __init__(self) -> None:
        self.written: list[Path] = []
        self.failures: list[str] = []

    def add(self, write: Callable[[], Sequence[Path]]) -> bool:
        """Call what writes, and return whether it did."""
        try:
            self.written += write()
        except (ModtoolsError, OSError) as error:
            self.failures.append(str(error))
            return False
        return True

    def end(self, advice: str = "") -> None:
        """Raise where something was not written: all reasons, then what to do."""
        if self.failures:
            raise ModtoolsError(" ".join([*self.failures, advice]).strip())


def write_outputs(
    writing: Writing,
    wanted: Outputs,
    *,
    json: Callable[[], str],
    more: Callable[[], Sequence[Path]] = list,
    csv: Callable[[], str],
    plot: Callable[[Path], Sequence[Path]],
) -> None:
    """Write the files asked for; those that fail are named when the writing ends.

    Parameters
    ----------
    writing : Writing
        Remembers what was written.
    wanted : Outputs
        The files asked for.
    json, csv : callable
        Return the content.
    more : callable
        Writes what this command alone has.
    plot : callable
        Draws and saves the picture.
    """
    if wanted.json is not None and wanted.json != "-":
        file = wanted.json
        writing.add(lambda: [write_file(file, json())])
    writing.add(more)
    if (table := wanted.csv) is not None:
        writing.add(lambda: [write_file(table, csv())])
    if (picture := wanted.plot) is not None:
        writing.add(lambda: plot(picture))
