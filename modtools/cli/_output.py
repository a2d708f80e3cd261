"""What commands print and write; output paths are checked before any work is done."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import typer

from modtools._escape import terminal_text
from modtools._progress import quiet as no_progress
from modtools.cli._options import option
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    from modtools._intervals import MeasuredAccuracy

__all__ = [
    "Outputs",
    "Writing",
    "accuracy_text",
    "echo_registry",
    "echo_table",
    "emit",
    "say",
    "say_lines",
    "show_table",
]

_PIPE_WIDTH: Final = 200  # a file has no width, so no line is wrapped


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What is printed, and the files that are written; None: not written."""

    json: str | None = option(
        "Write the result as JSON; - is standard output.", "--json", metavar="FILE|-"
    )
    csv: Path | None = option("Write the whole table as CSV.", "--csv", metavar="FILE")
    plot: Path | None = option(
        "Draw the result as FILE.png and FILE.svg.", "--plot", metavar="FILE"
    )
    quiet: bool = option("Print only the name of the best module.", "--quiet", "-q", default=False)

    def check(self, *, cache: Path | None = None) -> None:
        """Raise for a path that cannot be written, before any work is done.

        An existing cache may be read-only, so it only has to be a folder.
        """
        from modtools._places import check_file, check_folder
        from modtools.plotting import check_picture_place

        if self.json is not None and self.json != "-":
            check_file(self.json)
        if self.csv is not None:
            check_file(self.csv)
        if self.plot is not None:
            check_picture_place(self.plot)
        if cache is not None and not cache.is_dir():
            check_folder(cache)

    @property
    def is_shown(self) -> bool:
        """Whether the result is printed as text; with ``--json -`` only the JSON is printed."""
        return self.json != "-" and not self.quiet

    def silence(self) -> AbstractContextManager[None]:
        """Show no progress bars if quiet."""
        return no_progress() if self.quiet else nullcontext()


class Writing:
    """Writes several files; if one fails, the others are still written.

    Attributes
    ----------
    written : list of Path
        Files written.
    failures : list of str
        Messages of those that failed.
    """

    def __init__(self) -> None:
        self.written: list[Path] = []
        self.failures: list[str] = []

    def add(self, write: Callable[[], Sequence[Path]]) -> None:
        """Call a function that writes files, and note which ones or why not."""
        try:
            self.written += write()
        except (ModtoolsError, OSError) as error:
            self.failures.append(str(error))

    def end(self, advice: str = "") -> None:
        """Raise if something was not written: all reasons, then what to do."""
        if self.failures:
            raise ModtoolsError(" ".join([*self.failures, advice]).strip())


def emit(
    outputs: Outputs,
    *,
    show: Callable[[], None],
    quiet: Sequence[str],
    json: Callable[[], str],
    csv: Callable[[], str] | None = None,
    plot: Callable[[Path], Sequence[Path]] | None = None,
    save: Callable[[], Sequence[Path]] = list,
    more: Callable[[], Sequence[Path]] = list,
    advice: Callable[[], str] | None = None,
    rescue: Callable[[], str] = str,
    indent: int = 9,
) -> None:
    """Print a result, or with ``--quiet`` only its main value, then write the files asked for.

    With ``--json -`` only the JSON is printed. Files are written last: if one cannot be written,
    the result is printed and the other files are written all the same, and the error at the end
    names the file.

    Parameters
    ----------
    outputs : Outputs
        The options.
    show : callable
        Prints the result as text.
    quiet : sequence of str
        The lines printed with ``--quiet``.
    json, csv : callable
        Return the content of the files.
    plot : callable
        Draws and saves the picture.
    save : callable
        Saves a model before the JSON, which states where it is saved.
    more : callable
        Writes files that only this command has.
    advice : callable
        Returns what to do next, printed if everything was written.
    rescue : callable
        Returns what to do if something was not written.
    indent : int
        Column at which the text of a line begins, after its first word.
    """
    from modtools._writing import write_file

    writing = Writing()
    if outputs.is_shown:
        show()
    elif outputs.json != "-":
        for line in quiet:
            say(line)
    writing.add(save)
    if (place := outputs.json) == "-":
        typer.echo(json(), nl=False)
    elif place is not None:
        writing.add(lambda: [write_file(place, json())])
    writing.add(more)
    if csv is not None and (table := outputs.csv) is not None:
        writing.add(lambda: [write_file(table, csv())])
    if plot is not None and (picture := outputs.plot) is not None:
        writing.add(lambda: plot(picture))
    if outputs.is_shown and writing.written:
        say(f"{'Wrote':<{indent}}{'  '.join(map(str, writing.written))}")
    if outputs.is_shown and advice is not None and not writing.failures:
        say(f"{'Next':<{indent}}{advice()}")
    writing.end(rescue() if writing.failures else "")


def say(line: str, *, error: bool = False) -> None:
    """Print one line, to stderr if asked to; control characters are escaped."""
    typer.echo(terminal_text(line), err=error)


def accuracy_text(measured: "MeasuredAccuracy", n_test: int) -> str:
    """Return an accuracy in percent with its interval and the number of test examples, as text."""
    value, low, high = (100 * (share or 0.0) for share in measured)
    return f"{value:.1f} %, 95 % interval [{low:.1f}, {high:.1f}], on {n_test} held-out examples"


def say_lines(lines: Sequence[tuple[str, str]], *, indent: int = 10) -> None:
    """Print lines of a word and a text, the texts aligned."""
    for name, text in lines:
        say(f"{name:<{indent}}{text}")


def show_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, bold: Sequence[int] = ()
) -> None:
    """Print a table, and name the columns that were left out because the window is too narrow."""
    hidden = echo_table(header, rows, bold=bold)
    if hidden:
        say(f"Too narrow for {', '.join(hidden)}: widen the window, or add --csv FILE.")


def echo_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    bold: Sequence[int] = (),
    is_text: bool = False,
) -> list[str]:
    """Print a table, the first column names, and return the columns that were left out.

    Rows numbered in `bold` are emphasised at a terminal. Where the terminal is too narrow, columns
    of numbers are left out at the right; a table of text is wrapped instead.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    header = [terminal_text(cell) for cell in header]
    rows = [[terminal_text(cell) for cell in row] for row in rows]
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH)
    n_shown = len(header) if is_text else _n_columns_that_fit([header, *rows], console.width)
    table = Table(
        box=None, pad_edge=False, padding=(0, 1 if is_text else 2, 0, 0), header_style="dim"
    )
    for place, name in enumerate(header[:n_shown]):
        side: Literal["left", "right"] = "left" if is_text or place == 0 else "right"
        words = [word for row in [header, *rows] for word in row[place].split()]
        longest = max(map(len, words), default=1) if is_text else None
        table.add_column(Text(name), justify=side, no_wrap=place == 0, min_width=longest)
    for place, row in enumerate(rows):
        style = "bold" if place in bold else None
        table.add_row(*(Text(cell) for cell in row[:n_shown]), style=style)
    console.print(table)
    return list(header[n_shown:])


def _n_columns_that_fit(cells: Sequence[Sequence[str]], width: int) -> int:
    """Return how many columns fit, two blanks between them, at least two."""
    widths = [max(len(row[place]) for row in cells) for place in range(len(cells[0]))]
    n_columns = len(widths)
    while n_columns > 2 and sum(widths[:n_columns]) + 2 * n_columns > width:
        n_columns -= 1
    return n_columns


def echo_registry(
    name: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, json: str | None
) -> None:
    """Print a registry as a table of text, or write it as JSON, whose kind is its name."""
    if json is None:
        echo_table(header, rows, is_text=True)
        return
    import pandas as pd

    from modtools._writing import json_document, json_text, write_file

    table = pd.DataFrame(list(rows), columns=list(header))
    text = json_text(json_document(name, table, settings={}, seconds=0.0))
    if json == "-":
        typer.echo(text, nl=False)
    else:
        write_file(json, text)
