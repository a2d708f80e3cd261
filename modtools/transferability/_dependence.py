"""Dependence between features and labels: HSIC and its normalised form."""

import numpy as np
from scipy import linalg

from modtools._checks import check_positive
from modtools.exceptions import ModtoolsError, warn
from modtools.transferability._declare import ANY_KIND, register_score
from modtools.transferability._summary import Summary

__all__ = ["hsic", "nhsic"]


@register_score(
    needs="moments",
    kinds=ANY_KIND,
    range="unbounded, squared units",
    reference="Song et al., ICML 2007",
)
def hsic(summary: Summary, *, biased: bool = False) -> float:
    """HSIC between features and labels with linear kernels, the unbiased form.

    Parameters
    ----------
    biased : bool, default=False
        |Y'HF|^2 / (n - 1)^2 instead of the unbiased HSIC_1.

    Returns
    -------
    float
        Squared units of the features: compare modules of one scale only. Higher is better; the
        unbiased form may be negative.

    Raises
    ------
    ModtoolsError
        Fewer than four examples.

    References
    ----------
    Gretton et al., ALT 2005; Song et al., ICML 2007 (HSIC_1).

    Examples
    --------
    >>> round(hsic([[0.0], [1.0], [10.0], [11.0]], [0, 0, 1, 1]), 4)
    33.1667
    """
    if summary.weighted:
        raise ModtoolsError(
            "hsic is not defined with class weights; build the moments without them."
        )
    n = summary.n
    cross = float(np.vdot(summary.offsets, summary.offsets))
    if biased:
        return cross / (n - 1) ** 2
    if summary.n_rows < 4:
        raise ModtoolsError(f"hsic needs at least 4 rows; got {summary.n_rows}.")
    diagonal = summary.diagonal
    # Both kernels centred: every row of a kernel sums to minus its diagonal once that is removed.
    product = diagonal.centred_norm2 * diagonal.target_norm2 / ((n - 1) * (n - 2))
    total = cross - diagonal.cross + product - 2 * diagonal.cross / (n - 2)
    return total / (n * (n - 3))


@register_score(
    needs="moments",
    kinds=ANY_KIND,
    range="[0, C-1]; [0, m] for m target columns",
    reference="Fukumizu et al., NIPS 2007",
)
def nhsic(summary: Summary, *, regularization: float = 1e-5) -> float:
    """Normalised HSIC with linear kernels: tr[K (K + eps n I)^-1 L (L + eps n I)^-1], both centred.

    As eps goes to 0 it becomes the H-score. It is not free of scale: the ridge is absolute, so that
    the value falls towards 0 where the variance of the features is small beside eps, and depends on
    their scale by about eps over that variance elsewhere.

    Parameters
    ----------
    regularization : float, default=1e-5
        eps, in squared units of the features.

    Returns
    -------
    float
        Dimensionless, in [0, min(rank, n_classes - 1)], for other labels in [0, min(rank,
        n_targets)]; higher is better.

    References
    ----------
    Fukumizu et al., NIPS 2007; Ma, Lewis & Kleijn, "The HSIC bottleneck", AAAI 2020.

    Examples
    --------
    >>> round(nhsic([[0.0], [1.0], [10.0], [11.0]], [0, 0, 1, 1]), 4)
    0.9901
    """
    check_positive(regularization, name="regularization")
    ridge = regularization * summary.n
    values = summary.spectrum.values
    if not len(values):
        warn("MT001", "features carry no variation: nhsic is 0.")
        return 0.0
    if len(values) >= summary.n_rows - 1:
        warn(
            "MT003",
            f"n={summary.n_rows} rows, d={summary.n_features} features: nhsic is at its maximum "
            "for any labels, up to its small ridge; read centered_alignment instead.",
        )
    loadings = summary.spectrum.loadings
    scatter = summary.target_scatter + ridge * np.eye(len(loadings))
    solved = linalg.solve(scatter, loadings, assume_a="pos", check_finite=False)
    value = ((loadings * solved).sum(axis=0) * (values / (values + ridge))).sum()
    present = int(np.count_nonzero(summary.present))
    most = min(len(values), present - (summary.kind == "classification"))
    return float(np.clip(value, 0.0, float(most)))
