"""The one error and the one warning that modtools raises on its own account."""

import warnings
from typing import Final

__all__ = ["WARNING_CODES", "ModtoolsError", "ModtoolsWarning", "warn"]

WARNING_CODES: Final[dict[str, str]] = {
    "MT001": "features carry no variation, so a score is at its documented limit",
    "MT002": "a damaged cache entry was found and is computed again",
    "MT003": "a score sits at its maximum for any labels because rows are too few",
    "MT004": "the evidence of every target column is maximal at the edge of the search",
    "MT005": "an iterative fit stopped before it converged",
    "MT006": "a method had to adapt to a class with few rows",
    "MT007": "features could not be kept in the cache",
    "MT008": "float32 products and an ill-conditioned scatter: inverse-based scores may be off",
}


class ModtoolsError(ValueError):
    """Bad input, reported once: argument, rule, what came and where, what to do."""


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
    warnings.warn(f"{code}: {text}", ModtoolsWarning, stacklevel=3)
