"""Base class of results: declared columns become text, HTML, JSON and CSV."""

import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from modtools._escape import csv_text, html_text, terminal_text
from modtools._writing import json_document, json_text, versions, write_file

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Column",
    "Result",
    "html_of",
    "html_table",
    "interval_text",
    "percent",
    "percent_interval",
    "text_table",
    "where_known",
]

_MAX_ROWS: Final = 20


class Column(NamedTuple):
    """A column of a printed table.

    Attributes
    ----------
    heading : str
        Heading, with the unit.
    text : callable
        Returns the text of a cell, given the values of the columns `names`.
    names : tuple of str
        Columns of the frame that the cell shows.

    Examples
    --------
    >>> column = Column("95 % interval (%)", percent_interval, ("low", "high"))
    >>> column.cell({"module": "lite0", "low": 0.8, "high": 0.9})
    '[80.0, 90.0]'
    """

    heading: str
    text: Callable[..., str]
    names: tuple[str, ...]

    def cell(self, row: Mapping[Any, Any]) -> str:
        """Return the text of the cell in one row of the frame."""
        return self.text(*(row[name] for name in self.names))


def percent(share: float) -> str:
    """Return a fraction as text in percent, without the percent sign.

    >>> percent(0.8412)
    '84.1'
    """
    return f"{100 * share:.1f}"


def percent_interval(low: float, high: float) -> str:
    """Return the interval between two fractions as text in percent.

    >>> percent_interval(0.8, 0.9)
    '[80.0, 90.0]'
    """
    return f"[{percent(low)}, {percent(high)}]"


def interval_text(low: float, high: float, form: str) -> str:
    """Return an interval as text, with ∞ for infinite ends.

    >>> interval_text(1.25, float("inf"), "{:.1f}")
    '[1.2, ∞]'
    """
    ends = [form.format(end) if math.isfinite(end) else "∞" for end in (low, high)]
    return f"[{ends[0]}, {ends[1]}]"


def where_known(text: Callable[..., str]) -> Callable[..., str]:
    """Return a cell function that leaves cells with missing values empty.

    >>> where_known(percent)(0.5), where_known(percent)(None)
    ('50.0', '')
    """

    def cell(*values: Any) -> str:
        from pandas import isna

        return "" if any(isna(value) for value in values) else text(*values)

    return cell


class Result(ABC):
    """Base class of results: a tidy data frame with its settings, run time and versions.

    A subclass declares its columns; text, notebook HTML, JSON and CSV follow from them. The JSON of
    every result has the same keys: kind (the name of the class, such as "label_efficiency"),
    settings, versions, seconds, columns (column names of `frame`) and rows (rows of `frame`). A
    class may add further data under extra.

    Parameters
    ----------
    settings : mapping
        Arguments of the computation.
    seconds : float
        Wall-clock time in seconds.

    Attributes
    ----------
    settings : dict
        Arguments of the computation.
    seconds : float
        Wall-clock time in seconds.
    versions : dict
        Versions of modtools, torch, scikit-learn, numpy and Python.

    Examples
    --------
    >>> import pandas as pd
    >>> class Lengths(Result):
    ...     def frame(self):
    ...         return pd.DataFrame({"word": ["one", "three"], "length": [3, 5]})
    ...
    ...     def title(self):
    ...         return "2 words"
    ...
    ...     def _columns(self):
    ...         return [Column("word", str, ("word",)), Column("letters", str, ("length",))]
    >>> lengths = Lengths(settings={"language": "English"}, seconds=0.1)
    >>> lengths
    2 words
    word   letters
    one          3
    three        5
    >>> print(lengths.to_csv(), end="")
    word,length
    one,3
    three,5
    """

    settings: Mapping[str, Any]
    seconds: float
    versions: Mapping[str, str]

    def __init__(self, *, settings: Mapping[str, Any], seconds: float) -> None:
        self.settings = dict(settings)
        self.seconds = seconds
        self.versions = versions()

    @abstractmethod
    def frame(self) -> "pd.DataFrame":
        """Return all rows as a data frame.

        Returns
        -------
        pandas.DataFrame
            A copy; changing it does not change the result.
        """

    @abstractmethod
    def title(self) -> str:
        """Return a one-line title.

        Returns
        -------
        str
            The line above the table.
        """

    def notes(self) -> list[str]:
        """Return notes for the reader of the table, such as caveats.

        Returns
        -------
        list of str
            Sentences; may be empty.
        """
        return []

    @abstractmethod
    def _columns(self) -> list[Column]:
        """Return the columns of the printed table."""

    def _shown(self) -> "pd.DataFrame":
        """Return the rows of the printed table; by default all."""
        return self.frame()

    def _lines_below(self) -> list[str]:
        """Return the lines printed below the table; by default the notes."""
        return self.notes()

    def _extra(self) -> dict[str, Any]:
        """Return further data for the JSON document; by default none."""
        return {}

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the printed table as text: a header with units, and rows of cells.

        Returns
        -------
        header : list of str
            Column headings; columns whose cells are all empty are left out.
        rows : list of list of str
            Cells.
        """
        columns = self._columns()
        cells = [
            [column.cell(row) for column in columns] for row in self._shown().to_dict("records")
        ]
        used = [c for c in range(len(columns)) if not cells or any(row[c] for row in cells)]
        return [columns[c].heading for c in used], [[row[c] for c in used] for row in cells]

    def document(self, **extra: Any) -> dict[str, Any]:
        """Return the JSON document as a dict, before `to_json` turns it into text.

        Parameters
        ----------
        **extra
            Further entries under extra.

        Returns
        -------
        dict
            kind, settings, versions, seconds, columns, rows (a data frame) and extra.
        """
        kind = re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()
        extra = {**self._extra(), **extra}
        about: dict[str, Any] = {"settings": self.settings, "seconds": self.seconds}
        return json_document(kind, self.frame(), **about, extra=extra)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the result as JSON: kind, settings, versions, seconds, columns, rows and extra.

        Parameters
        ----------
        path : path-like, optional
            Also write the text there, atomically.

        Returns
        -------
        str
            The JSON text.
        """
        text = json_text(self.document())
        if path is not None:
            write_file(path, text)
        return text

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the rows of `frame` as CSV.

        Parameters
        ----------
        path : path-like, optional
            Also write the text there, atomically.

        Returns
        -------
        str
            The CSV text; no cell can act as a spreadsheet formula.
        """
        text = csv_text(self.frame())
        if path is not None:
            write_file(path, text)
        return text

    def __repr__(self) -> str:
        shown = text_table(*self.table(), title=self.title())
        return "\n".join([shown, *map(terminal_text, self._lines_below())])

    def _repr_html_(self) -> str:
        header, rows = self.table()
        notes = "".join(f"<p>{html_text(line)}</p>" for line in self._lines_below())
        if not header:
            return f"<p>{html_text(self.title())}</p>{notes}"
        return html_table([name.strip() for name in header], rows, title=self.title()) + notes


def html_of(text: str) -> str:
    """Return printed text as HTML, for notebooks.

    >>> html_of("Task <a>")
    '<pre>Task &lt;a&gt;</pre>'
    """
    return "<pre>" + "\n".join(map(html_text, text.split("\n"))) + "</pre>"


def _first_rows(rows: Sequence[Sequence[str]]) -> tuple[list[Sequence[str]], str]:
    if len(rows) <= _MAX_ROWS:
        return list(rows), ""
    left_out = len(rows) - _MAX_ROWS
    return list(rows[:_MAX_ROWS]), f"... and {left_out} more rows: frame() has all {len(rows)}."


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> str:
    """Return a table as aligned text: the first column flush left, the others flush right.

    Parameters
    ----------
    header : sequence of str
        Column names with their units.
    rows : sequence of sequences of str
        Cells; at most 20 rows are shown, the others are counted.
    title : str, optional
        A line above the table.

    Returns
    -------
    str
        The table without a final newline.

    Examples
    --------
    >>> print(text_table(["module", "accuracy (%)"], [["lite0", "84.1"], ["raw", "9.0"]]))
    module  accuracy (%)
    lite0           84.1
    raw              9.0
    """
    shown, rest = _first_rows(rows)
    cells = [[terminal_text(cell) for cell in row] for row in (header, *shown)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join([line for line in (terminal_text(title), *lines, rest) if line])


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> str:
    """Return a table as HTML, for notebooks; cell text is escaped.

    Parameters
    ----------
    header : sequence of str
        Column names with their units.
    rows : sequence of sequences of str
        Cells; at most 20 rows are shown, the others are counted.
    title : str, optional
        The caption.

    Returns
    -------
    str
        A ``<table>`` element.

    Examples
    --------
    >>> html_table(["module"], [["<b>"]])
    '<table><thead><tr><th>module</th></tr></thead><tbody><tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """
    shown, rest = _first_rows(rows)
    head = "".join(f"<th>{html_text(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{html_text(cell)}</td>" for cell in row) + "</tr>" for row in shown
    )
    caption = f"<caption>{html_text(title)}</caption>" if title else ""
    note = f'<tfoot><tr><td colspan="{len(header)}">{rest}</td></tr></tfoot>' if rest else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody>{note}</table>"
