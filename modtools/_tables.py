"""Small tables for people: aligned text and HTML, never more than twenty rows."""

from collections.abc import Sequence

from modtools._escape import html_text, terminal_text

__all__ = ["html_table", "text_table"]

_MAX_ROWS = 20


def _shown(rows: Sequence[Sequence[str]]) -> tuple[list[Sequence[str]], str]:
    if len(rows) <= _MAX_ROWS:
        return list(rows), ""
    left_out = len(rows) - _MAX_ROWS
    return list(rows[:_MAX_ROWS]), f"... and {left_out} more rows: frame() has all {len(rows)}."


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> str:
    """Return an aligned table: the first column to the left, the others to the right.

    Parameters
    ----------
    header : sequence of str
        Column names with their units.
    rows : sequence of sequences of str
        Cells; rows beyond the twentieth are counted, not shown.
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
    shown, rest = _shown(rows)
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
    """Return the same table as HTML, for notebooks; cell text is escaped.

    Parameters
    ----------
    header : sequence of str
        Column names with their units.
    rows : sequence of sequences of str
        Cells; rows beyond the twentieth are counted, not shown.
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
    shown, rest = _shown(rows)
    head = "".join(f"<th>{html_text(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{html_text(cell)}</td>" for cell in row) + "</tr>" for row in shown
    )
    caption = f"<caption>{html_text(title)}</caption>" if title else ""
    note = f'<tfoot><tr><td colspan="{len(header)}">{rest}</td></tr></tfoot>' if rest else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody>{note}</table>"
