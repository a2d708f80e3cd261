"""Escaping of text from the user (names of modules, tasks and classes) for each output medium.

JSON keeps the text as it is; every other medium has one function here.
"""

import csv
import html
import re
import unicodedata
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "code_span",
    "csv_text",
    "html_text",
    "markdown_text",
    "one_line",
    "picture_text",
    "terminal_text",
    "without_apostrophes",
]

# Joiners combine several letters or emoji into one; other invisible characters can mislead.
_JOINERS: Final = "\u200c\u200d"
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Markup anywhere in a line, and list or rule markers at the beginning of a line.
_MARKDOWN: Final = re.compile(r"([\\`*_\[\]#|~$<>]|^[-+=](?=[\s=-]|$))")
_NUMBERED: Final = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")
# First characters that a spreadsheet reads as a formula, full-width forms included.
_FORMULA: Final = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def terminal_text(text: str, *, keep: str = "") -> str:
    r"""Return text with control, direction and other invisible characters shown as escapes.

    Parameters
    ----------
    text : str
        Any text.
    keep : str, default=""
        Characters that stay as they are, for example line feeds.

    Returns
    -------
    str
        The text with escapes.

    Examples
    --------
    >>> print(terminal_text("a\x1b[2Jb\nc\u202ed"))
    a\x1b[2Jb\nc\u202ed
    """
    if text.isprintable():
        return text
    return "".join(_shown(letter) if letter not in keep else letter for letter in text)


def _shown(letter: str) -> str:
    is_hidden = unicodedata.category(letter) in _INVISIBLE and letter not in _JOINERS
    return letter.encode("unicode_escape").decode() if is_hidden else letter


def one_line(error: BaseException) -> str:
    r"""Return the message of any exception on one line, without its final full stop.

    >>> one_line(ValueError("size mismatch:\n\tfor weight."))
    'size mismatch: for weight'
    >>> one_line(ValueError("\x1b[2J"))
    '\\x1b[2J'
    """
    return terminal_text(" ".join(str(error).split()).rstrip(". "))


def html_text(text: str) -> str:
    """Return text escaped for the inside of an HTML element.

    >>> html_text("<b>&")
    '&lt;b&gt;&amp;'
    """
    return html.escape(terminal_text(text))


def picture_text(text: str) -> str:
    r"""Return text that matplotlib draws literally: no formula, no line break.

    >>> print(picture_text("$x$"))
    \$x\$
    """
    return terminal_text(text).replace("$", r"\$")


def markdown_text(text: str) -> str:
    r"""Return text as one line of Markdown, or one cell of a table, without any markup.

    >>> print(markdown_text("a | *b*\n<i>"))
    a \| \*b\* &lt;i&gt;
    """
    line = terminal_text(" ".join(text.split())).replace("&", "&amp;")
    line = (
        _NUMBERED.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\1", line))
        .replace(r"\<", "&lt;")
        .replace(r"\>", "&gt;")
    )
    # Otherwise a web address would become a link.
    return line.replace("://", ":&#47;&#47;").replace("www.", "www&#46;").replace("@", "&#64;")


def code_span(text: str) -> str:
    """Return text as inline code in Markdown, with a longer fence of backticks than any inside.

    >>> print(code_span("torch.nn:Linear"), code_span("a`b"))
    `torch.nn:Linear` ``a`b``
    """
    line = terminal_text(" ".join(text.split())).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    inside = f" {line} " if line[:1] == "`" or line[-1:] == "`" else line
    return f"{fence}{inside}{fence}"


def csv_text(frame: "pd.DataFrame") -> str:
    """Return a table as CSV without its index; text cannot act as a formula, numbers stay numbers.

    Text that a spreadsheet would read as a formula gets a leading apostrophe, which
    `without_apostrophes` removes again.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"module": ["=1+1", "-2", "a"], "x": [-1.5, 2.0, 3.0]})
    >>> print(csv_text(table), end="")
    module,x
    '=1+1,-1.5
    -2,2.0
    a,3.0
    """
    plain = frame.rename(columns=_cell)
    texts = [column for column, kind in enumerate(plain.dtypes) if kind.kind not in "biufc"]
    for column in texts:
        plain.isetitem(column, [_cell(value) for value in plain.iloc[:, column]])
    # A lone carriage return ends a row for some readers, but pandas does not quote it by itself.
    cells = [*plain.columns, *(cell for column in texts for cell in plain.iloc[:, column])]
    if any(isinstance(cell, str) and "\r" in cell for cell in cells):
        return str(plain.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC))
    return str(plain.to_csv(index=False))


def without_apostrophes(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table read from the output of `csv_text`, with the original text.

    >>> import pandas as pd
    >>> without_apostrophes(pd.DataFrame({"module": ["'=1+1", "'a'"]}))["module"].tolist()
    ['=1+1', "'a'"]
    """
    plain = frame.rename(columns=_uncell)
    for column, kind in enumerate(plain.dtypes):
        if kind.kind not in "biufc":
            plain.isetitem(column, [_uncell(value) for value in plain.iloc[:, column]])
    return plain


def _is_formula(text: str) -> bool:
    return text.lstrip(" '").startswith(_FORMULA)


def _cell(value: Any) -> Any:
    if not isinstance(value, str) or not _is_formula(value) or _is_number(value):
        return value
    return f"'{value}"


def _uncell(value: Any) -> Any:
    is_marked = isinstance(value, str) and value.startswith("'") and _is_formula(value)
    return value[1:] if is_marked else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip() == text
