"""TransRate: how many fewer nats code the features once the classes are known."""

import numpy as np
from numpy.typing import ArrayLike

from modtools._checks import check_choice, check_positive
from modtools.exceptions import ModtoolsError, warn
from modtools.transferability._inputs import checked_summary
from modtools.transferability._summary import Summary

__all__ = ["transrate", "transrate_from_summary"]

_ROUNDING = 1e-30  # the variation, beside the squares, that subtraction of a mean may leave


def transrate_from_summary(
    summary: Summary, *, distortion: float = 1e-4, weights: str = "proportional"
) -> float:
    """TransRate of a summary that can give class second moments; see `transrate`."""
    if summary.class_logdets is None:
        raise ModtoolsError(
            "transrate needs one second moment a class; build the moments with "
            "class_second_moments=True, or call score(features, labels)."
        )
    if summary.trace <= _ROUNDING * summary.diagonal.norm2:
        warn("MT001", "features carry no variation: transrate is 0.")
        return 0.0
    present = summary.present
    counts = summary.counts[present]
    share = (
        counts / summary.n if weights == "proportional" else np.full(len(counts), 1 / len(counts))
    )
    total = 0.5 * summary.total_logdet(1 / distortion)
    by_class = 0.5 * summary.class_logdets(1 / distortion)[present]
    value = total - float(share @ by_class)
    # Both terms are rounded on their own; with these weights their difference is never negative.
    return float(np.clip(value, 0.0, total)) if weights == "proportional" else value


def transrate(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    distortion: float = 1e-4,
    weights: str = "proportional",
) -> float:
    """TransRate: coding rate of the features minus the mean coding rate within the classes.

    R(Z) = 1/2 log det(I + Z'Z / (n eps)), with all rows centred by the overall mean. Two balanced
    classes with one covariance score 0 however far apart they are: read it for several classes.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Output of a module.
    labels : array-like of shape (n_samples,)
        Classes.
    distortion : float, default=1e-4
        eps, in squared units of the features: the value depends on their scale.
    weights : {"proportional", "uniform"}, default="proportional"
        Weight of each class: its share of the rows (never negative), or 1 / n_classes as in the
        public code (may be negative).

    Returns
    -------
    float
        Nats a row, in [0, R(features)] for proportional weights; higher is better.

    Raises
    ------
    ModtoolsError
        Features that are not finite, lengths that differ, fewer than two classes.

    References
    ----------
    Huang et al., "Frustratingly easy transferability estimation", ICML 2022.

    Examples
    --------
    >>> features = [[0.0, 0.0], [0.1, 0.0], [3.0, 0.0], [3.1, 0.0], [0.0, 3.0], [0.1, 3.0]]
    >>> round(transrate(features, [0, 0, 1, 1, 2, 2]), 3)
    3.264
    """
    check_positive(distortion, name="distortion")
    check_choice(weights, ["proportional", "uniform"], name="weights")
    summary = checked_summary(features, labels, score="transrate")
    return transrate_from_summary(summary, distortion=distortion, weights=weights)
