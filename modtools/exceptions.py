"""The errors and the warning that modtools raises."""

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
Returned = TypeVar("Returned")
_PACKAGE = f"{Path(__file__).parent}{os.sep}"
WARNING_CODES: Final[dict[str, str]] = {
    "MT001": "features carry no variation, so a score is at its documented limit",
    "MT002": "a cache entry is damaged or cannot be read, and is computed again",
    "MT003": "a score is at its maximum for any labels because there are too few examples",
    "MT004": "the evidence of every target column is maximal at the edge of the search",
    "MT005": "an iterative fit stopped before it converged",
    "MT006": "a method had to adapt to a class with few examples",
    "MT007": "features could not be kept in the cache",
    "MT008": "sums of products lost digits that scores which invert the scatter need",
}


_OF_FEATURES: Final = "MT007"
# Warnings about features that this call has already shown; None outside `warns_once`.
_SHOWN: ContextVar[set[str] | None] = ContextVar("_SHOWN", default=None)


class ModtoolsError(ValueError):
    r"""Bad input. The message names the argument, the rule, the value and its place, and a remedy.

    The message is a single line, even where it quotes text of several lines. Control characters in
    names are shown as escapes, so that they cannot change the terminal.

    Examples
    --------
    >>> str(ModtoolsError("k must be at least 1;\ngot 0."))
    'k must be at least 1; got 0.'
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(" ".join(line.strip() for line in text.splitlines()) or text)

    def __str__(self) -> str:
        # Not `super().__str__`: a subclass that also derives from KeyError would add quotes.
        return terminal_text(Exception.__str__(self), keep="\n\t")


class ModuleError(ModtoolsError):
    """A `ModtoolsError` whose message already names the module."""


class UnusableInputError(ModtoolsError):
    """Values that are not finite, or whose products would overflow or underflow."""


class ModtoolsWarning(UserWarning):
    """A correct result that is easily misread; the message starts with a code (`WARNING_CODES`)."""


def warn(code: str, text: str) -> None:
    """Emit a `ModtoolsWarning` whose text starts with a documented code.

    Parameters
    ----------
    code : str
        A key of `WARNING_CODES`.
    text : str
        What happened, and what to read or do instead.

    Raises
    ------
    KeyError
        An unknown code.

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
    escaped = terminal_text(text, keep="\n\t")
    message = f"{code}: {escaped}"
    shown_before = _SHOWN.get()
    if shown_before is not None and code == _OF_FEATURES:
        if message in shown_before:
            return
        shown_before.add(message)
    warnings.warn(message, ModtoolsWarning, stacklevel=_callers_level())


def warns_once(function: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
    """Make a function that reads the same features many times warn only once per call.

    Only repeats of one and the same warning MT007 are suppressed.

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
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Returned:
        before = _SHOWN.set(set())
        try:
            return function(*args, **kwargs)
        finally:
            _SHOWN.reset(before)

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
