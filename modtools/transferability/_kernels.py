"""Scores that compare a module's kernel with the kernel of the labels: alignment, CKA, HSIC."""

import numpy as np
from scipy import linalg

from modtools._checks import check_positive
from modtools._feature_maps import FEATURE_MAPS
from modtools._types import FloatMatrix
from modtools.exceptions import ModtoolsError, warn
from modtools.transferability._declare import ANY_KIND, register_score
from modtools.transferability._summary import Summary

__all__ = [
    "alignment",
    "centered_alignment",
    "hsic",
    "lfc",
    "nhsic",
    "nmse",
    "raw",
    "upper_triangle_alignment",
]


def _kernel_terms(summary: Summary) -> tuple[float, float, float]:
    """Return <K, K*>, |K|^2 and |K*|^2 over all ordered pairs, the diagonal included."""
    feature_map = FEATURE_MAPS[summary.feature_map]
    low, high = feature_map.k_min, feature_map.k_max
    same = float(np.vdot(summary.sums, summary.sums))
    if summary.kind != "classification":
        second = summary.target_second
        return same, summary.second_norm2, float(np.vdot(second, second))
    everything = summary.n**2 * float(summary.mean @ summary.mean)
    pairs = float(summary.counts @ summary.counts)
    return (
        low * everything + (high - low) * same,
        summary.second_norm2,
        low**2 * (summary.n**2 - pairs) + high**2 * pairs,
    )


def _cosine(cross: float, left2: float, right2: float, score: str, lowest: float = -1.0) -> float:
    if left2 <= 0 or right2 <= 0:
        warn("MT001", f"all features are zero after the feature map: {score} is 0.")
        return 0.0
    return float(np.clip(cross / np.sqrt(left2) / np.sqrt(right2), lowest, 1.0))


def _lowest(summary: Summary) -> float:
    """Return the minimum of the cosine with the ideal kernel, for clipping of rounding errors."""
    feature_map = FEATURE_MAPS[summary.feature_map]
    is_positive = feature_map.k_min == 0 and feature_map.name != "identity"
    return 0.0 if is_positive else -1.0


@register_score(
    needs="moments",
    kinds=("classification", "multilabel"),
    feature_map="relu_normalised",
    range="[0, 1]",
    reference="Duan, Yu & Principe, arXiv 2005.05541",
)
def alignment(summary: Summary) -> float:
    """Kernel alignment: cosine between the module's kernel and the ideal kernel, all n^2 pairs.

    The ideal kernel is k_max for two examples of the same class and k_min otherwise (for 0/1
    labels: Y Y'). The kernels are not centred: constant features have sqrt(sum of n_c^2) / n for
    class counts n_c. Compare modules on the same task only, and see also `centered_alignment`.

    Returns
    -------
    float
        Dimensionless, in [-1, 1], and in [0, 1] for the default map; higher is better.

    References
    ----------
    Cristianini et al., "On kernel-target alignment", NIPS 2001; Duan, Yu & Principe, arXiv
    2005.05541.

    Examples
    --------
    >>> round(alignment([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]], [0, 0, 1, 1]), 3)
    0.993
    """
    return _cosine(*_kernel_terms(summary), "alignment", _lowest(summary))


@register_score(
    needs="moments",
    feature_map="relu_normalised",
    range="[0, 1]",
    reference="Duan, Yu & Principe, arXiv 2005.05541",
)
def upper_triangle_alignment(summary: Summary) -> float:
    """Kernel alignment over pairs of different examples only.

    As `alignment`, without the diagonal, which carries no information about the labels.

    Returns
    -------
    float
        Dimensionless, in [-1, 1], and in [0, 1] for the default map; higher is better. It is 0,
        with warning MT001, if all kernel values are 0, or all classes are singletons.

    References
    ----------
    Duan, Yu & Principe, arXiv 2005.05541.

    Examples
    --------
    >>> features = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]
    >>> round(upper_triangle_alignment(features, [0, 0, 1, 1]), 3)
    0.985
    """
    high = FEATURE_MAPS[summary.feature_map].k_max
    cross, kernel2, ideal2 = _kernel_terms(summary)
    diagonal = summary.diagonal
    kernel2 -= diagonal.norm4
    ideal2 -= high**2 * diagonal.n
    # Of a kernel without off-diagonal part only rounding errors remain.
    kernel2 = kernel2 if kernel2 > 1e-14 * diagonal.norm4 else 0.0
    cross -= high * diagonal.norm2
    return _cosine(cross, kernel2, ideal2, "upper_triangle_alignment", _lowest(summary))


@register_score(
    needs="moments",
    feature_map="relu_normalised",
    range="[-1, 0]",
    reference="Duan, Yu & Principe, arXiv 2005.05541",
)
def nmse(summary: Summary) -> float:
    """Minus the mean squared difference between the module's kernel and the ideal kernel.

    The mean is over all n^2 pairs. The ideal kernel is k_max for two examples of the same class and
    k_min otherwise.

    Returns
    -------
    float
        Squared kernel units, in [-1, 0] for the default map; higher is better.

    References
    ----------
    Duan, Yu & Principe, arXiv 2005.05541.

    Examples
    --------
    >>> round(nmse([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]], [0, 0, 1, 1]), 4)
    -0.0074
    """
    cross, kernel2, ideal2 = _kernel_terms(summary)
    feature_map = FEATURE_MAPS[summary.feature_map]
    widest = np.inf
    if feature_map.name != "identity":
        widest = (feature_map.k_max - feature_map.k_min) ** 2
    return float(np.clip(-(kernel2 - 2 * cross + ideal2) / summary.n**2, -widest, 0.0))


@register_score(
    needs="moments",
    feature_map="relu_normalised",
    range="[-1, 1]",
    reference="Duan, Yu & Principe, arXiv 2005.05541",
)
def raw(summary: Summary, *, negatives_only: bool = False) -> float:
    """Mean signed kernel value: same-class pairs count +1, pairs of different classes -1.

    The mean is over all ordered pairs of different examples.

    Parameters
    ----------
    negatives_only : bool, default=False
        Return minus the mean kernel value over pairs of different classes instead.

    Returns
    -------
    float
        Kernel units, in [-1, 1] for the default map; higher is better.

    References
    ----------
    Duan, Yu & Principe, arXiv 2005.05541.

    Examples
    --------
    >>> round(raw([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]], [0, 0, 1, 1]), 3)
    0.266
    """
    same = float(np.vdot(summary.sums, summary.sums))
    everything = summary.n**2 * float(summary.mean @ summary.mean)
    if negatives_only:
        return -(everything - same) / (summary.n**2 - float(summary.counts @ summary.counts))
    pairs = summary.n**2 - summary.diagonal.n
    value = (2 * same - everything - summary.diagonal.norm2) / pairs
    is_bounded = summary.feature_map != "identity"
    return float(np.clip(value, -1.0, 1.0)) if is_bounded else value


@register_score(
    needs="moments",
    kinds=ANY_KIND,
    feature_map="identity",
    range="[0, 1]",
    reference="Cortes et al., JMLR 2012",
)
def centered_alignment(summary: Summary) -> float:
    """Centred kernel alignment (linear CKA) between the features and the labels.

    Cosine between the doubly centred kernels of features and targets; the biased form.

    Returns
    -------
    float
        Dimensionless, in [0, 1]; higher is better. Rotations, a common scale and offsets of the
        features do not change it.

    References
    ----------
    Cortes, Mohri & Rostamizadeh, "Algorithms for learning kernels based on centered alignment",
    JMLR 2012; Kornblith et al., "Similarity of neural network representations revisited", ICML
    2019.

    Examples
    --------
    >>> round(centered_alignment([[0.0], [1.0], [10.0], [11.0]], [0, 0, 1, 1]), 4)
    0.9901
    """
    cross = float(np.vdot(summary.offsets, summary.offsets))
    targets2 = float(np.vdot(summary.target_scatter, summary.target_scatter))
    return _cosine(cross, summary.scatter_norm2, targets2, "centered_alignment")


@register_score(
    needs="moments",
    range="[-1, 1]",
    reference="Deshpande et al., arXiv 2102.00084",
)
def lfc(summary: Summary) -> float:
    """Label-feature correlation: Pearson correlation of kernel and same-class indicator.

    The correlation is over all n^2 pairs. It removes the overall mean of the kernel, not its row
    means. Therefore it differs from `centered_alignment`, and depends on the offset of the
    features.

    Returns
    -------
    float
        Correlation, in [-1, 1]; higher is better.

    References
    ----------
    Deshpande et al., "A linearized framework and a new benchmark for model selection for
    fine-tuning", arXiv 2102.00084. Widely copied code divides by spectral norms, which is not a
    correlation.

    Examples
    --------
    >>> round(lfc([[-2.0], [-1.0], [1.0], [2.0]], [0, 0, 1, 1]), 4)
    0.9
    """
    offsets2 = float(np.vdot(summary.offsets, summary.offsets))
    along_mean = float(summary.counts @ (summary.offsets @ summary.mean))
    kernel2 = summary.scatter_norm2 + 2 * summary.n * summary.mean_scatter_mean
    counts2 = float(summary.counts @ summary.counts)
    ideal2 = counts2 - counts2**2 / summary.n**2
    return _cosine(offsets2 + 2 * along_mean, kernel2, ideal2, "lfc")


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
        Return |Y'HF|^2 / (n - 1)^2 instead of the unbiased HSIC_1.

    Returns
    -------
    float
        In squared units of the features, so compare features of equal scale only. Higher is better;
        the unbiased form may be negative.

    Raises
    ------
    ModtoolsError
        Fewer than four examples.

    References
    ----------
    Gretton et al., "Measuring statistical dependence with Hilbert-Schmidt norms", ALT 2005; Song et
    al., "Supervised feature selection via dependence estimation", ICML 2007 (unbiased HSIC_1).

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
        raise ModtoolsError(f"hsic needs at least 4 examples; got {summary.n_rows}.")
    diagonal = summary.diagonal
    # Each row of a centred kernel sums to 0, so without its diagonal entry to minus that entry.
    product = diagonal.centred_norm2 * diagonal.target_norm2 / ((n - 1) * (n - 2))
    total = cross - diagonal.cross + product - 2 * diagonal.cross / (n - 2)
    return total / (n * (n - 3))


def _target_shares(summary: Summary, ridge: float) -> FloatMatrix:
    """Return l' (S + ridge I)^-1 l for the loadings l of each eigenvector, S the target scatter."""
    variances = np.diag(summary.target_scatter)
    # In units of each column, so that the columns of a small unit count beside those of a large.
    scale = np.sqrt(np.where(variances > 0, variances, 1.0))
    loadings = summary.spectrum.loadings / scale[:, None]
    scatter = summary.target_scatter / scale[:, None] / scale
    # Dependent columns make S singular; a ridge below rounding would not help.
    rounding = len(scale) ** 2 * float(np.finfo(float).eps)
    scatter[np.diag_indices_from(scatter)] += np.maximum(ridge / scale**2, rounding)
    solved = linalg.solve(scatter, loadings, assume_a="pos", check_finite=False)
    return np.asarray((loadings * solved).sum(axis=0))


@register_score(
    needs="moments",
    kinds=ANY_KIND,
    range="[0, C-1]; [0, m] for m target columns",
    reference="Fukumizu et al., NIPS 2007",
)
def nhsic(summary: Summary, *, regularization: float = 1e-5) -> float:
    """Normalised HSIC with linear kernels: tr[K (K + eps n I)^-1 L (L + eps n I)^-1].

    K and L are the centred kernels of features and targets. As eps goes to 0 the score becomes the
    H-score. The ridge is absolute, so the score depends on the scale of the features: by about eps
    over their variance, and it falls to 0 for variances far below eps.

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
    Fukumizu et al., "Kernel measures of conditional dependence", NIPS 2007; Ma, Lewis & Kleijn,
    "The HSIC bottleneck: deep learning without back-propagation", AAAI 2020.

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
            f"n={summary.n_rows} examples, d={summary.n_features} features: nhsic is at its "
            "maximum for any labels, up to its small ridge; read centered_alignment instead.",
        )
    value = float(_target_shares(summary, ridge) @ (values / (values + ridge)))
    present = int(np.count_nonzero(summary.present))
    most = min(len(values), present - (summary.kind == "classification"))
    return float(np.clip(value, 0.0, float(most)))
