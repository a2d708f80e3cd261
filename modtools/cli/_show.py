"""How results look at a terminal and in files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from modtools._escape import csv_text, terminal_text
from modtools._writing import json_text, write_file
from modtools.cli._outputs import Outputs, Writing, write_outputs
from modtools.cli._say import say

if TYPE_CHECKING:
    from modtools.selection import Race, Ranking

__all__ = [
    "echo_outcome",
    "echo_registry",
    "echo_table",
    "end_writing",
    "pick_text",
    "report",
    "show_ranking",
    "show_registry",
]

_PIPE_WIDTH = 200  # a file has no edge, so nothing is folded


def echo_outcome(
    writing: Writing,
    *,
    accuracy: float,
    json: str | None,
    quiet: bool,
    content: Callable[[], Any],
    lines: Callable[[], Sequence[tuple[str, str]]],
    save: Callable[[], Sequence[Path]],
    write: Callable[[], None],
    advice: Callable[[], str],
) -> None:
    """Print what came of a training, or the accuracy alone where quiet, then save and write it.

    With ``--json -`` the JSON is all that is printed; it says whether the rest was saved. What
    cannot be written hides nothing of the result, and is named when the writing ends.
    """
    is_shown = json != "-" and not quiet
    for name, text in lines() if is_shown else []:
        say(f"{name:<10}{text}")
    if quiet and json != "-":
        say(f"{100 * accuracy:.2f}")
    writing.add(save)
    if json == "-":
        typer.echo(json_text(content()), nl=False)
    write()
    if is_shown and writing.written:
        say(f"Wrote     {'  '.join(map(str, writing.written))}")
    if is_shown and not writing.failures:
        say(f"Next      {advice()}")


def echo_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    bold: Sequence[int] = (),
    is_text: bool = False,
) -> list[str]:
    """Print a table of numbers, the first column names, and return what was too wide for it.

    Rows numbered in `bold` are emphasised at a terminal. Columns of numbers are left out at the
    right where the terminal is too narrow; a table of text is folded instead.
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
    """Return how many columns fit beside each other, two blanks between them, at least two."""
    widths = [max(len(row[place]) for row in cells) for place in range(len(cells[0]))]
    n_columns = len(widths)
    while n_columns > 2 and sum(widths[:n_columns]) + 2 * n_columns > width:
        n_columns -= 1
    return n_columns


def show_ranking(ranking: "Ranking") -> None:
    """Print the table of a ranking, what it picks, and what should be known about it."""
    header, rows = ranking.table()
    alike = ranking.display().frame()["like_best"].to_numpy().nonzero()[0].tolist()
    say(ranking.title())
    hidden = echo_table(header, rows, bold=alike)
    if hidden:
        say(f"Too narrow for {', '.join(hidden)}: widen the window, or add --csv FILE.")
    say(pick_text(ranking))
    for note in ranking.notes():
        say(note)


def pick_text(ranking: "Ranking") -> str:
    """Return one line: the best module, its odds, and which others it cannot be told apart from."""
    return f"Pick     {ranking.verdict()}"


def report(
    result: "Ranking | Race", wanted: Outputs, *, quiet: bool, show: Callable[[Any], None]
) -> None:
    """Show the table, or the best name alone where quiet, then write the files asked for.

    With ``--json -`` the JSON is all that is printed.
    """
    is_shown = wanted.json != "-" and not quiet
    if wanted.json == "-":
        typer.echo(result.to_json(), nl=False)
    elif quiet:
        say(result.best)
    else:
        show(result)
    writing = Writing()
    write_outputs(
        writing,
        wanted,
        json=result.to_json,
        csv=lambda: csv_text(result.frame()),
        plot=lambda path: _draw(result, path),
    )
    end_writing(writing, is_shown=is_shown)


def end_writing(writing: Writing, *, is_shown: bool) -> None:
    """Say what was written, then raise where something was not."""
    if is_shown and writing.written:
        say(f"Wrote    {'  '.join(map(str, writing.written))}")
    writing.end()


def show_registry(json: str | None) -> None:
    """Print every score with what it needs, what it applies to, its range and its source."""
    from modtools.transferability import SCORES

    header = ["score", "needs", "labels", "range", "reference"]
    rows = [
        [s.name, s.needs.replace("_", " "), ", ".join(s.kinds), s.range, s.reference]
        for s in SCORES.values()
    ]
    echo_registry("scores", header, rows, json=json)


def echo_registry(
    name: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, json: str | None
) -> None:
    """Print a registry as a table of text, or write it as JSON under its name."""
    if json is None:
        echo_table(header, rows, is_text=True)
        return
    text = json_text({name: [dict(zip(header, row, strict=True)) for row in rows]})
    if json == "-":
        typer.echo(text, nl=False)
    else:
        write_file(json, text)


def _draw(result: "Ranking | Race", path: Path) -> list[Path]:
    from matplotlib.figure import Figure

    height = 1.3 + 0.34 * len(result)
    ax = Figure(figsize=(7.0, height), layout="constrained").subplots()
    return result.plot(ax).save(path)
