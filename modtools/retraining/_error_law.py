"""How errors become fewer with labels: one law for all modules, and how far off it has been."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from modtools._intervals import ROUNDED_80
from modtools._types import FloatMatrix

__all__ = ["CALIBRATION", "Calibration", "ErrorLaw"]


class Calibration(NamedTuple):
    """The three numbers of the law, measured on other tasks.

    Attributes
    ----------
    pace : float
        How fast errors become fewer.
    level_variance : float
        Variance of the leave-one-out error as a measure of the error, in units of the binomial.
    drift : float
        Standard deviation that each unit of log labels adds, in units of that of one row.
    """

    pace: float
    level_variance: float
    drift: float


# From tests/benchmarks/bench_extrapolation.py, which also says how right it is with each task, and
# with each source of images, left out.
CALIBRATION: Final = Calibration(pace=7.4, level_variance=2.84, drift=0.0158)
# The pace before is another. Chosen in the same benchmark among parts of the curve, and blends with
# the usual pace: on other images than those that its figures are reported on.
_LAST_PART: Final = 0.5


@dataclass(frozen=True)
class ErrorLaw:
    """Error(N) = error * exp(-pace * (1 / sqrt(n_labels) - 1 / sqrt(N))).

    The exponent of the power law that it is near to falls with the labels, as it does on the tasks
    that were measured: pace / (2 sqrt(N)). A fixed exponent, and one taken from the slope of the
    held-out errors, the degrees of freedom or the error itself, were further off when the task was
    not among those they were fitted to. Intervals are normal for the log odds of the error. Leaving
    the task out, forecasts from 200 labels to 1000 and 2000 were 3.2 points off on average, and
    74 % of their intervals held the truth, 4.6 points to either side.

    Attributes
    ----------
    n_labels : int
        Labels there are.
    error : float
        Error with them, strictly between 0 and 1.
    calibration : Calibration
        Pace and spread.

    Examples
    --------
    >>> law = ErrorLaw(n_labels=100, error=0.2)
    >>> law.accuracies([100, 400]).round(2).tolist()
    [[0.8, 0.86], [0.7, 0.79], [0.87, 0.91]]
    """

    n_labels: int
    error: float
    calibration: Calibration = CALIBRATION

    @classmethod
    def of_curve(cls, n_labels: ArrayLike, accuracy: ArrayLike, *, variance: float) -> "ErrorLaw":
        """Return the law that goes on from a measured curve, at the pace of its last doubling.

        The pace is that of the label counts from half the largest on, of the last two at least.

        Parameters
        ----------
        n_labels : array-like of shape (n_counts,)
            Rising label counts, at least two.
        accuracy : array-like of shape (n_counts,)
            Accuracy at each, below 1.
        variance : float
            Variance of the log error at the last count, as measured; the level counts as at least
            as uncertain as one by leave-one-out.

        Returns
        -------
        ErrorLaw
            From the last count on.

        Examples
        --------
        >>> counts = np.array([50, 100, 200])
        >>> curve = ErrorLaw(50, error=0.3).accuracies(counts)[0]
        >>> round(ErrorLaw.of_curve(counts, curve, variance=0.001).calibration.pace, 6)
        7.4
        """
        counts, errors = np.asarray(n_labels, dtype=float), 1 - np.asarray(accuracy, dtype=float)
        start = min(int(np.searchsorted(counts, _LAST_PART * counts[-1])), len(counts) - 2)
        steps = counts[start:] ** -0.5
        steps = steps - steps.mean()
        pace = max(float(np.log(errors[start:]) @ steps / (steps @ steps)), 0.0)
        error, n_last = float(errors[-1]), int(counts[-1])
        level_variance = max(CALIBRATION.level_variance, n_last * variance * error / (1 - error))
        calibration = CALIBRATION._replace(pace=pace, level_variance=level_variance)
        return cls(n_last, error, calibration)

    def accuracies(self, n_labels: ArrayLike) -> FloatMatrix:
        """Return accuracy, lower and upper end of the 80 % interval, one column a label count.

        Parameters
        ----------
        n_labels : array-like of shape (n_counts,)
            Label counts from `n_labels` upwards.

        Returns
        -------
        ndarray of shape (3, n_counts)
            In [0, 1].
        """
        counts = np.asarray(n_labels, dtype=float)
        pace, level_variance, drift = self.calibration
        errors = self.error * np.exp(-pace * (self.n_labels**-0.5 - counts**-0.5))
        steps = np.log(counts / self.n_labels)
        spread = level_variance / self.n_labels + np.square(drift * steps)
        variance = (1 - self.error) / self.error * spread
        # From the log of the error to its log odds.
        half = ROUNDED_80 * np.sqrt(variance) / (1 - errors)
        centre = logit(1 - errors)
        return np.asarray(expit(np.stack([centre, centre - half, centre + half])))

    def slope(self, n_labels: float) -> float:
        """Return the exponent of the power law that the law is near to at a label count.

        Parameters
        ----------
        n_labels : float
            Any label count.

        Returns
        -------
        float
            Minus the slope of the log error over the log of the labels.
        """
        return float(self.calibration.pace / 2 / np.sqrt(n_labels))
