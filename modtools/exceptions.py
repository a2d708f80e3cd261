"""The one error and the one warning that modtools raises on its own account."""

import os
import sys
import warnings
from pathlib import Path
from types import FrameType
from typing import Final

from modtools._escape import terminal_text

__all__ = [
    "WARNING_CODES",
    "ModtoolsError",
    "ModtoolsWarning",
    "ModuleError",
    "UnusableInputError",
    "warn",
]

_PACKAGE = f"{Path(__file__).parent}{os.sep}"
WARNING_CODES: Final[dict[str, str]] = {
    "MT001": "features carry no variation, so a score is at its documented limit",
    "MT002": "a cache entry is damaged or cannot be read, and is computed again",
    "MT003": "a score sits at its maximum for any labels because rows are too few",
    "MT004": "the evidence of every target column is maximal at the edge of the search",
    "MT005": "an iterative fit stopped before it converged",
    "MT006": "a method had to adapt to a class with few rows",
    "MT007": "features could not be kept in the cache",
    "MT008": "sums of products lost digits that scores which invert the scatter need",
}


class ModtoolsError(ValueError):
    """Bad input, reported once: argument, rule, what came and where, what to do.

    Its text is one line, also where it quotes something of several lines, and names in it cannot
    give orders to a terminal: their control characters are shown.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(" ".join(line.strip() for line in text.splitlines()) or text)

    def __str__(self) -> str:
        # Not that of the next class: KeyError, the base of a child, shows its text in quotes.
        return terminal_text(Exception.__str__(self), keep="\n\t")


class ModuleError(ModtoolsError):
    """A `ModtoolsError` whose text names the module, so that nobody need name it again."""


class UnusableInputError(ModtoolsError):
    """Entries that nothing can be computed from: not finite, or too large or small for products."""


class ModtoolsWarning(UserWarning):
    """A result that is correct but easily misread; its text starts with a code."""


def warn(code: str, text: str) -> None:
    """Emit a `ModtoolsWarning` whose text starts with a documented code.

    Parameters
    ----------
    code : str
        A key of `WARNING_CODES`.
    text : str
        What happened, and what to read or do instead.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn("MT001", "all features are zero.")
    >>> str(caught[0].message)
    'MT001: all features are zero.'
    """
    if code not in WARNING_CODES:
        raise KeyError(code)
    shown = terminal_text(text, keep="\n\t")
    warnings.warn(f"{code}: {shown}", ModtoolsWarning, stacklevel=_callers_level())


def _callers_level() -> int:
    """Return the stack level, seen from `warn`, of the line that called modtools."""
    frame: FrameType | None
    frame, level, callers = sys._getframe(), 0, 3
    while frame is not None:
        level += 1
        if frame.f_code.co_filename.startswith(_PACKAGE):
            callers = level
        frame = frame.f_back
    return callers
