"""How a curve continues beyond its label counts, or the reason not to extrapolate it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modtools._types import FloatMatrix
from modtools.retraining import ErrorLaw

__all__ = ["extrapolate_curve", "reason_not_to_extrapolate"]

_TAIL = 30  # what lies before a 30th of the largest label count says nothing
_FEWEST, _LEAST_SPAN, _FURTHEST, _WIDEST = 4, 10, 10, 0.1
_LEAST_RISE = 0.1  # quantile of the resampled slopes that must be above 0


def reason_not_to_extrapolate(
    curve: FloatMatrix, resampled: FloatMatrix, counts: NDArray[np.intp], n_labels: int
) -> str:
    """Return why a curve cannot be extrapolated to a label count, or the empty string.

    Parameters
    ----------
    curve : ndarray of shape (n_counts,)
        Mean accuracy at each label count.
    resampled : ndarray of shape (n_resamples, n_counts)
        The same of every resample.
    counts : ndarray of shape (n_counts,)
        Rising label counts.
    n_labels : int
        How far.
    """
    tail = counts >= counts[-1] / _TAIL
    if n_labels <= counts[-1]:
        return f"{n_labels} lies within the label counts: read frame()"
    if n_labels > _FURTHEST * counts[-1]:
        return f"{n_labels} is more than {_FURTHEST} times the largest label count, {counts[-1]}"
    if np.count_nonzero(tail) < _FEWEST or counts[-1] < _LEAST_SPAN * counts[tail][0]:
        return f"at least {_FEWEST} label counts over a factor of {_LEAST_SPAN} are needed"
    if curve[tail].max() == 1:
        return "no error is left to extrapolate"
    # The last half of the tail on a logarithmic axis must rise in nearly every resample.
    middle = np.searchsorted(counts, np.sqrt(counts[tail][0] * counts[-1]))
    middle = min(int(middle), len(counts) - 2)
    slopes = _slopes(resampled[:, middle:], np.log(counts[middle:]))
    if np.quantile(slopes, _LEAST_RISE) <= 0:
        return "accuracy does not rise beyond its noise over the last label counts"
    return ""


def _slopes(curves: FloatMatrix, logs: FloatMatrix) -> FloatMatrix:
    centred = logs - logs.mean()
    return np.asarray(curves @ centred / (centred @ centred))


def extrapolate_curve(
    curve: FloatMatrix, resampled: FloatMatrix, counts: NDArray[np.intp], n_labels: int
) -> dict[str, Any]:
    """Return accuracy and 80 % interval at a label count beyond those measured, or why not.

    Parameters
    ----------
    curve, resampled, counts, n_labels
        As in `reason_not_to_extrapolate`.

    Returns
    -------
    dict
        n_labels, value, value_low, value_high, refused.
    """
    values = dict.fromkeys(("value", "value_low", "value_high"), np.nan)
    refused = reason_not_to_extrapolate(curve, resampled, counts, n_labels)
    if not refused:
        # A resample without an error counts half the least that differs from none.
        last = 1 - resampled[:, -1]
        floor = last[last > 0].min(initial=1 - curve[-1]) / 2
        variance = float(np.log(np.maximum(last, floor)).var())
        law = ErrorLaw.of_curve(counts, curve, variance=variance)
        accuracy, low, high = law.accuracies([n_labels])[:, 0].tolist()
        if high - low > 2 * _WIDEST:
            refused = (
                f"the data do not say: the 80 % interval spans {100 * (high - low):.0f} points"
            )
        else:
            values = {"value": accuracy, "value_low": low, "value_high": high}
    return {"n_labels": n_labels, **values, "refused": refused}
