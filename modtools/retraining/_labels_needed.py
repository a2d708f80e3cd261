"""How many labels an accuracy needs, from a forecast and what was measured: numbers and words."""

import math
from typing import Final, NamedTuple

from modtools._intervals import MeasuredAccuracy
from modtools.retraining._label_counts import LabelsToReach

__all__ = ["LabelsNeeded", "labels_needed", "next_target", "rounded_count"]

_ROUNDING: Final = 1e-12
_ROUND: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
_MARGIN: Final = 0.01  # a target nearer than that is reached already, for all that is known


class LabelsNeeded(NamedTuple):
    """Labels that an accuracy needs; its words and its numbers are both made of this.

    Attributes
    ----------
    target : float
        The accuracy asked for.
    n_there : int
        Labels there are.
    n_labels : float or None
        Labels needed, the labels there are where these suffice; None where only `more_than` is
        known.
    more_than : int or None
        A count that does not suffice, where no more can be said.
    low, high : float or None
        80 % interval of the labels needed; None where an end is not known.
    measured : MeasuredAccuracy or None
        What was measured with the labels there are.
    """

    target: float
    n_there: int
    n_labels: float | None
    more_than: int | None
    low: float | None
    high: float | None
    measured: MeasuredAccuracy | None

    def text(self) -> str:
        """Return the numbers in words, without a full stop."""
        target = f"{_percent(self.target)} %"
        if self.n_labels is None:
            from_low = "" if self.low is None else f" (80 % interval from {_whole(self.low)})"
            if self.low is not None and self.high is not None:
                from_low = f"{from_low[:-1]} to {_whole(self.high)})"
            why = "" if self.more_than != self.n_there else f": {self._measured_text()}"
            return f"{target} needs more than {self.more_than} labels{from_low}{why}"
        if self.n_labels > self.n_there:
            upper = " or more]" if self.high is None else f", {rounded_count(self.high)}]"
            low = rounded_count(self.n_there if self.low is None else self.low)
            about = f"about {rounded_count(self.n_labels)} labels"
            return f"{target} needs {about}, 80 % interval [{low}{upper}"
        if self.measured is not None:
            return f"{target} is reached: {self._measured_text()}"
        is_open = f" (80 % interval from {self.n_there})" if self.high is None else ""
        return f"{target} should be there with these labels already{is_open}"

    def _measured_text(self) -> str:
        if self.measured is None:
            return "these do not suffice"
        value, low, high = self.measured
        limits = "" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]"
        return f"{100 * value:.1f} %{limits} was measured with these {self.n_there}"

    def reach(self) -> LabelsToReach:
        """Return the numbers as those of a curve: ends are infinite where they are not known."""
        low = self.low if self.low is not None else self.n_labels
        low, high = (math.inf if part is None else part for part in (low, self.high))
        if self.n_labels is None:
            bound = self.n_there if self.more_than is None else self.more_than
            return LabelsToReach(float(bound), low, high, "more_than")
        n_labels = float(self.n_labels)
        is_below = self.n_labels == self.n_there
        return LabelsToReach(n_labels, low, high, "below_first" if is_below else "reached")


def labels_needed(
    target: float,
    forecast: LabelsToReach,
    *,
    n_there: int,
    furthest: int,
    measured: MeasuredAccuracy | None = None,
) -> LabelsNeeded:
    """Return how many labels an accuracy needs: what was measured counts more than the forecast.

    Parameters
    ----------
    target : float
        The accuracy asked for.
    forecast : LabelsToReach
        Labels that the forecast says, with their 80 % interval.
    n_there : int
        Labels there are.
    furthest : int
        Labels beyond which the forecast says nothing.
    measured : MeasuredAccuracy, optional
        What was measured with the labels there are.

    Returns
    -------
    LabelsNeeded
        `text` has it in words, `reach` as numbers.

    Examples
    --------
    >>> ahead = LabelsToReach(160.0, 130.0, 190.0, "reached")
    >>> labels_needed(0.9, ahead, n_there=100, furthest=2000).text()
    '90 % needs about 160 labels, 80 % interval [130, 190]'
    >>> found = MeasuredAccuracy(0.973, 0.954, 0.985)
    >>> sure = LabelsToReach(500.0, 500.0, 812.0, "below_first")
    >>> labels_needed(0.99, sure, n_there=500, furthest=10_000, measured=found).text()
    '99 % needs more than 500 labels (80 % interval from 500 to 812): 97.3 % [95.4, 98.5] was \
measured with these 500'
    """
    # An end below the labels there are says no more than that they may suffice.
    n_labels, low, high = (_known(max(float(part), n_there)) for part in forecast[:3])
    if forecast.status == "more_than":
        n_labels = None
    given = (target, n_there)
    if measured is not None and measured.value >= target - _ROUNDING:
        is_sure = measured.low is not None and measured.low >= target
        return LabelsNeeded(*given, n_there, None, n_there, n_there if is_sure else high, measured)
    if measured is not None and n_labels == n_there:
        high = None if high == n_there else high
        return LabelsNeeded(*given, None, n_there, n_there, high, measured)
    if n_labels is None:
        return LabelsNeeded(*given, None, furthest, low, None, measured)
    return LabelsNeeded(*given, n_labels, None, low, high, measured)


def next_target(accuracy: float) -> float | None:
    """Return the next round accuracy that is worth asking for.

    Parameters
    ----------
    accuracy : float
        Accuracy that is reached, in [0, 1].

    Returns
    -------
    float or None
        From 0.5 to 0.99, at least one point above; None where none is left.

    Examples
    --------
    >>> next_target(0.84), next_target(0.895), next_target(0.99)
    (0.9, 0.95, None)
    """
    return next((level for level in _ROUND if level > accuracy + _MARGIN), None)


def rounded_count(count: float) -> str:
    """Return a count with the two figures that a forecast can stand for.

    >>> rounded_count(1234.0), rounded_count(7.2)
    ('1200', '8')
    """
    if count < 100:
        return str(math.ceil(count))
    unit = 10 ** (math.floor(math.log10(count)) - 1)
    return str(round(count / unit) * unit)


def _known(count: float) -> float | None:
    return count if math.isfinite(count) else None


def _percent(accuracy: float) -> str:
    return f"{100 * accuracy:.4g}"


def _whole(count: float) -> str:
    return f"{math.ceil(count)}"
