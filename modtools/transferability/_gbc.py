"""GBC: Gaussian Bhattacharyya coefficient, the overlap of the classes as Gaussians."""

import numpy as np

from modtools._checks import check_choice
from modtools._types import FloatMatrix
from modtools.transferability._declare import register_score
from modtools.transferability._summary import Summary

__all__ = ["gbc"]

_VARIANCE_FLOOR = 1e-4
_FORMS = ["diagonal", "spherical", "public_spherical"]


@register_score(
    needs="moments",
    range="[-C(C-1), 0]",
    reference="Pandy et al., CVPR 2022",
)
def gbc(summary: Summary, *, covariance: str = "diagonal") -> float:
    """GBC: minus the overlap of the classes, each taken as a Gaussian.

    Minus the Bhattacharyya coefficients summed over ordered pairs of classes; biased variances,
    floored at 1e-4. The coefficient underflows as features grow in number, and the floor is
    absolute: read it for features of similar width and scale only.

    Parameters
    ----------
    covariance : {"diagonal", "spherical", "public_spherical"}, default="diagonal"
        Form of each class covariance; "public_spherical" counts the log-determinant once instead of
        once a feature, as the public code does.

    Returns
    -------
    float
        Dimensionless, in [-C (C - 1), 0] for C classes; higher is better.

    References
    ----------
    Pandy et al., "Transferability estimation using Bhattacharyya class separability", CVPR 2022.

    Examples
    --------
    >>> round(gbc([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1]), 4)
    -0.0222
    """
    check_choice(covariance, _FORMS, name="covariance")
    present = summary.present
    counts = summary.counts[present][:, None]
    means = summary.offsets[present] / counts
    variances = np.maximum(summary.within_squares[present] / counts, _VARIANCE_FLOOR)
    log_det_weight = 1.0
    if covariance != "diagonal":
        spherical = variances.mean(axis=1, keepdims=True)
        variances = np.broadcast_to(spherical, variances.shape)
        if covariance == "public_spherical":
            log_det_weight = 1 / summary.n_features
    overlap = sum(
        _overlaps(means[a], variances[a], means[a + 1 :], variances[a + 1 :], log_det_weight)
        for a in range(len(means) - 1)
    )
    return -2.0 * overlap


def _overlaps(
    mean: FloatMatrix,
    variance: FloatMatrix,
    means: FloatMatrix,
    variances: FloatMatrix,
    log_det_weight: float,
) -> float:
    """Return the summed Bhattacharyya coefficients of one class with the others (k, d)."""
    middle = 0.5 * (variance + variances)
    distance = 0.125 * ((means - mean) ** 2 / middle).sum(axis=1)
    logs = np.log(middle) - 0.5 * (np.log(variance) + np.log(variances))
    distance += 0.5 * log_det_weight * logs.sum(axis=1)
    return float(np.exp(-np.maximum(distance, 0)).sum())  # rounding may go below 0
