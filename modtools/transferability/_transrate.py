"""TransRate: how many fewer nats code the features once the classes are known."""

import numpy as np

from modtools._checks import check_choice, check_positive
from modtools.exceptions import ModtoolsError, warn
from modtools.transferability._declare import register_score
from modtools.transferability._summary import Summary

__all__ = ["transrate"]

_ROUNDING = 1e-30  # the variation, beside the squares, that subtraction of a mean may leave


@register_score(
    needs="moments",
    passes=2,
    range="[0, R(F)] nats",
    reference="Huang et al., ICML 2022",
)
def transrate(
    summary: Summary, *, distortion: float = 1e-4, weights: str = "proportional"
) -> float:
    """TransRate: coding rate of the features minus the mean coding rate within the classes.

    R(Z) = 1/2 log det(I + Z'Z / (n eps)), with all rows centred by the overall mean. Two balanced
    classes with one covariance score 0 however far apart they are: read it for several classes.

    Parameters
    ----------
    distortion : float, default=1e-4
        eps, in squared units of the features: the value depends on their scale.
    weights : {"proportional", "uniform"}, default="proportional"
        Weight of each class: its share of the rows (never negative), or 1 / n_classes as in the
        public code (may be negative).

    Returns
    -------
    float
        Nats a row, in [0, R(features)] for proportional weights; higher is better.

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
