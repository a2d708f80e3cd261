"""A value with its standard error."""

from typing import NamedTuple

__all__ = ["Estimate"]


class Estimate(NamedTuple):
    """One score and how far it may be off.

    Attributes
    ----------
    value : float
        The score; higher is better.
    standard_error : float or None
        Its standard error where one is defined, in the unit of the score.
    """

    value: float
    standard_error: float | None = None
