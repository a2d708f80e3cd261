"""The one error and the one warning that modtools raises on its own account."""

import os
import sys
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Final, ParamSpec, TypeVar

from modtools._escape import terminal_text

__all__ = [
    "WARNING_CODES",
    "ModtoolsError",
    "ModtoolsWarning",
    "ModuleError",
    "UnusableInputError",
    "warn",
    "warns_once",
]

Arguments = ParamSpec("Arguments")
Found = TypeVar("Found")
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


_OF_FEATURES: Final = "MT007"
# What was said of features in this call; None outside functions that say it once.
_SAID: ContextVar[set[str] | None] = ContextVar("_SAID", default=None)


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
    message = f"{code}: {shown}"
    said = _SAID.get()
    if said is not None and code == _OF_FEATURES:
        if message in said:
            return
        said.add(message)
    warnings.warn(message, ModtoolsWarning, stacklevel=_callers_level())


def warns_once(function: Callable[Arguments, Found]) -> Callable[Arguments, Found]:
    """Make a function that reads the same features many times warn about each once a call.

    >>> @warns_once
    ... def read_twice():
    ...     return [warn("MT007", "features were not kept.") for _ in range(2)]
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = read_twice()
    >>> len(caught)
    1
    """

    @wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Found:
        before = _SAID.set(set())
        try:
            return function(*args, **kwargs)
        finally:
            _SAID.reset(before)

    return run


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
