"""The result of `extrapolate`: accuracies of more labels with intervals, or a refusal."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from modtools._checks import check_fraction, check_integer
from modtools._intervals import MeasuredAccuracy
from modtools._results import Column, Result, percent, percent_interval
from modtools._writing import versions
from modtools.exceptions import ModtoolsError
from modtools.retraining._error_law import ErrorLaw
from modtools.retraining._label_counts import LabelsToReach, labels_at
from modtools.retraining._labels_needed import LabelsNeeded, labels_needed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FURTHEST", "ExpectedAccuracy", "Forecast"]

FURTHEST = 20  # times the labels there are
_SHOWN = (1, 1.5, 2, 3, 5, 10, 20)
_STEPS = 600
_N_MORE = 10
_MULTIPLE = 5  # how many times the labels a picture looks ahead
_N_DRAWN = 12


class ExpectedAccuracy(NamedTuple):
    """An accuracy that was not measured, with its 80 % interval; all in [0, 1]."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False, repr=False)
class Forecast(Result):
    """What more labels would be worth to the ridge output module, or why that cannot be said.

    Attributes
    ----------
    n_labels : int
        Labels there are.
    refused : str or None
        Why there is no forecast; then every question for a number raises with this reason.
    law : ErrorLaw or None
        How errors become fewer; None where refused.
    settings : dict
        What was asked.
    seconds : float
        What it cost.
    versions : dict
        Versions of modtools and of what it stands on.

    Examples
    --------
    >>> forecast = Forecast(n_labels=100, law=ErrorLaw(100, error=0.2))
    >>> round(forecast.accuracy(400).value, 3), forecast.labels_to_reach(0.86).n_labels
    (0.862, 373.0)
    >>> round(forecast.gain(10), 4)
    0.0068
    """

    n_labels: int
    law: ErrorLaw | None
    refused: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=versions)

    def accuracy(self, n_labels: int) -> ExpectedAccuracy:
        """Return the accuracy to expect with so many labels in all.

        Parameters
        ----------
        n_labels : int
            From the labels there are to 20 times as many.

        Returns
        -------
        ExpectedAccuracy
            Value and 80 % interval, (value, low, high) in [0, 1].

        Raises
        ------
        ModtoolsError
            Where the forecast is refused, or beyond its range.
        """
        n_labels = check_integer(n_labels, name="n_labels", minimum=1)
        law = self._checked_law()
        if not self.n_labels <= n_labels <= self._furthest:
            raise ModtoolsError(
                f"n_labels must be from {self.n_labels}, the labels there are, to "
                f"{self._furthest}, {FURTHEST} times as many; got {n_labels}."
            )
        value, low, high = law.accuracies([n_labels])[:, 0]
        return ExpectedAccuracy(float(value), float(low), float(high))

    def labels_to_reach(self, accuracy: float) -> LabelsToReach:
        """Return how many labels in all an accuracy needs.

        Parameters
        ----------
        accuracy : float
            Strictly between 0 and 1.

        Returns
        -------
        LabelsToReach
            Labels, 80 % interval and status, (n_labels, n_labels_low, n_labels_high, status): never
            fewer than the labels there are; beyond 20 times as many the status is "more_than", and
            ends of the interval are infinite.

        Raises
        ------
        ModtoolsError
            Where the forecast is refused.
        """
        accuracy = check_fraction(accuracy, name="accuracy")
        law = self._checked_law()
        counts = np.geomspace(self.n_labels, self._furthest, _STEPS)
        # The lower end may fall again far ahead, where all becomes uncertain.
        curves = np.maximum.accumulate(law.accuracies(counts)[[0, 2, 1]], axis=1)
        found = labels_at(curves, np.full(3, accuracy), counts, tolerance=0.0)
        # The labels there are do not suffice where more are needed, however few more.
        more = np.maximum(np.rint(found), self.n_labels + 1)
        reached = np.where(curves[:, 0] >= accuracy, float(self.n_labels), more)
        suffices = curves[0, 0] > accuracy
        return LabelsToReach.of(0 if suffices else reached[0], reached[1], reached[2], counts)

    def gain(self, labels: int) -> float:
        """Return how much accuracy so many more labels are worth, in [0, 1].

        Parameters
        ----------
        labels : int
            Labels on top of those there are.

        Returns
        -------
        float
            The gain; times 100 it is in points.

        Raises
        ------
        ModtoolsError
            Where the forecast is refused, or beyond its range.
        """
        labels = check_integer(labels, name="labels", minimum=1)
        return self.accuracy(self.n_labels + labels).value - self.accuracy(self.n_labels).value

    def labels_needed(
        self, target: float, *, measured: MeasuredAccuracy | None = None
    ) -> LabelsNeeded:
        """Return how many labels an accuracy needs; what was measured is never contradicted.

        Parameters
        ----------
        target : float
            The accuracy asked for, strictly between 0 and 1.
        measured : MeasuredAccuracy, optional
            What was measured with the labels there are, as `ReusedModel.evaluate` returns it.

        Returns
        -------
        LabelsNeeded
            Its attributes are the numbers, with an 80 % interval; `text` has them in words.

        Raises
        ------
        ModtoolsError
            Where the forecast is refused.

        Examples
        --------
        >>> forecast = Forecast(n_labels=100, law=ErrorLaw(100, error=0.2))
        >>> forecast.labels_needed(0.86).text()
        '86 % needs about 370 labels, 80 % interval [100 or more]'
        """
        if not isinstance(measured, MeasuredAccuracy | None):
            raise ModtoolsError(
                "measured must be what ReusedModel.evaluate returns; got "
                f"{type(measured).__name__}."
            )
        return labels_needed(
            target,
            self.labels_to_reach(target),
            n_there=self.n_labels,
            furthest=self._furthest,
            measured=measured,
        )

    def verdict(
        self, target: float | None = None, *, measured: MeasuredAccuracy | None = None
    ) -> str:
        """Return in words how many labels a target needs and what ten more bring, or why not.

        Parameters
        ----------
        target : float, optional
            The accuracy asked for, strictly between 0 and 1.
        measured : MeasuredAccuracy, optional
            What was measured with the labels there are, as `ReusedModel.evaluate` returns it; it is
            never contradicted.

        Returns
        -------
        str
            One sentence.

        Examples
        --------
        >>> Forecast(n_labels=100, law=ErrorLaw(100, error=0.2)).verdict()
        '10 more labels now are worth about +0.7 points.'
        """
        if self.refused:
            return f"what more would bring cannot be said: {self.refused.rstrip('.')}."
        gain = f"{_N_MORE} more labels now are worth about {100 * self.gain(_N_MORE):+.1f} points."
        if target is None:
            return gain
        return f"{self.labels_needed(target, measured=measured).text()}; {gain}"

    def figures(
        self, target: float | None = None, *, measured: MeasuredAccuracy | None = None
    ) -> dict[str, Any]:
        """Return the numbers of `verdict` by name.

        Parameters
        ----------
        target, measured
            As in `verdict`.

        Returns
        -------
        dict
            refused, target, the fields of `LabelsToReach` (n_labels, n_labels_low, n_labels_high
            and status) for the target, and points_of_10_more_labels; None is what is refused or not
            known, and an end of the interval that is infinite.

        Examples
        --------
        >>> figures = Forecast(n_labels=100, law=ErrorLaw(100, error=0.2)).figures(0.86)
        >>> figures["n_labels"], figures["status"], round(figures["points_of_10_more_labels"], 1)
        (373.0, 'reached', 0.7)
        """
        refused = self.refused or None
        numbers: dict[str, Any] = dict.fromkeys(LabelsToReach._fields)
        if not refused and target is not None:
            reached = self.labels_needed(target, measured=measured).reach()._asdict()
            numbers = {name: None if part == np.inf else part for name, part in reached.items()}
        gain = None if refused else 100 * self.gain(_N_MORE)
        named = {"refused": refused, "target": target}
        return {**named, **numbers, f"points_of_{_N_MORE}_more_labels": gain}

    def ahead(self, target: float | None = None) -> "pd.DataFrame":
        """Return what a picture shows of a forecast: five times ahead, or as far as the target.

        Parameters
        ----------
        target : float, optional
            The accuracy asked for, strictly between 0 and 1.

        Returns
        -------
        pandas.DataFrame
            As `frame`, at round label counts evenly on a logarithmic axis; empty where refused.

        Examples
        --------
        >>> forecast = Forecast(n_labels=180, law=ErrorLaw(180, error=0.2))
        >>> forecast.ahead()["n_labels"].tolist()
        [180, 200, 210, 240, 280, 320, 370, 430, 500, 580, 670, 780, 900]
        """
        if self.refused is not None:
            return self.frame()
        furthest = _MULTIPLE * self.n_labels
        reached = None if target is None else self.labels_to_reach(target)
        if reached is not None and reached.status != "more_than":
            furthest = min(max(furthest, int(1.3 * reached.n_labels)), self._furthest)
        return self.frame(_round_counts(self.n_labels, furthest))

    def frame(self, n_labels: Iterable[int] | None = None) -> "pd.DataFrame":
        """Return expected accuracies as a table, one row a label count; empty where refused.

        Parameters
        ----------
        n_labels : iterable of int, optional
            Label counts; by default from the labels there are to 20 times as many, log-spaced.

        Returns
        -------
        pandas.DataFrame
            Columns n_labels, metric ("accuracy"), value, value_low, value_high (80 %).
        """
        import pandas as pd

        columns = ["n_labels", "metric", "value", "value_low", "value_high"]
        if self.refused is not None:
            return pd.DataFrame(columns=columns)
        if n_labels is None:
            n_labels = [round(self.n_labels * factor) for factor in np.geomspace(1, FURTHEST, 30)]
        if isinstance(n_labels, int | str) or not isinstance(n_labels, Iterable):
            raise ModtoolsError(f"n_labels must be several label counts; got {n_labels!r}.")
        rows = [(count, "accuracy", *self.accuracy(count)) for count in dict.fromkeys(n_labels)]
        return pd.DataFrame(rows, columns=columns)

    @property
    def _furthest(self) -> int:
        return FURTHEST * self.n_labels

    def _checked_law(self) -> ErrorLaw:
        if self.law is None or self.refused is not None:
            raise ModtoolsError(f"no forecast: {self.refused}")
        return self.law

    def title(self) -> str:
        """Return one line that says what is expected, or why that cannot be said.

        Returns
        -------
        str
            The line above the table.
        """
        if self.refused is not None:
            return f"No forecast: {self.refused}"
        return f"Accuracy to expect from more than {self.n_labels} labels"

    def _columns(self) -> list[Column]:
        if self.refused is not None:
            return []
        return [
            Column("labels", str, ("n_labels",)),
            Column("accuracy (%)", percent, ("value",)),
            Column("80 % interval", percent_interval, ("value_low", "value_high")),
        ]

    def _shown(self) -> "pd.DataFrame":
        return self.frame(round(self.n_labels * factor) for factor in _SHOWN)

    def _extra(self) -> dict[str, Any]:
        return {"n_labels": self.n_labels, "refused": self.refused}


def _round_counts(first: int, last: int) -> list[int]:
    """Return counts evenly on a log axis, both ends and all of 1, 2, 5, 10, ... between them."""
    evenly = np.geomspace(first, last, _N_DRAWN)
    units = 10.0 ** np.maximum(np.floor(np.log10(evenly)) - 1, 0)
    nice = np.outer(10.0 ** np.arange(8), [1, 2, 5]).ravel()
    counts = np.concatenate([[first], np.round(evenly / units) * units, nice, [last]])
    kept = np.unique(counts[(counts >= first) & (counts <= last)])
    return [int(count) for count in kept]
