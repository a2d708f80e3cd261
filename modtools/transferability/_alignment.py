"""Agreement of a module's kernel with the ideal kernel of the labels."""

import numpy as np

from modtools._feature_maps import FEATURE_MAPS
from modtools.exceptions import warn
from modtools.transferability._declare import ANY_KIND, register_score
from modtools.transferability._summary import Summary

__all__ = [
    "alignment",
    "centered_alignment",
    "lfc",
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
    """Return the least cosine of the map's kernel with the ideal one; rounding may go below."""
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

    The ideal kernel is k_max for two rows of one class and k_min otherwise (for 0/1 labels: Y Y').
    It is not centred: features that are all equal reach sqrt(sum n_c^2) / n, so compare modules on
    one task only, and read `centered_alignment` beside it.

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
    """Kernel alignment over pairs of different rows only.

    As `alignment`, without the diagonal, which says nothing about the labels.

    Returns
    -------
    float
        Dimensionless, in [-1, 1], and in [0, 1] for the default map; higher is better. 0 with a
        warning (MT001) where no pair of rows has a kernel value, or no class has two rows.

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
    # What is left of a kernel that has no off-diagonal part is rounding.
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
    """Mean kernel value over pairs of different rows, pairs of different classes counted negative.

    Parameters
    ----------
    negatives_only : bool, default=False
        Minus the mean kernel value over pairs of different classes, instead.

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
        Dimensionless, in [0, 1]; higher is better. Unchanged by rotations, a common scale and
        offsets.

    References
    ----------
    Cortes, Mohri & Rostamizadeh, JMLR 2012; Kornblith et al., ICML 2019.

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
    """Label-feature correlation: Pearson correlation of kernel and same-class indicator, all pairs.

    The grand mean of the kernel is removed, not its row means: it is not `centered_alignment`, and
    it depends on the offset of the features.

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
