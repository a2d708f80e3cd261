"""Agreement of a module's kernel with the ideal kernel of the labels."""

import numpy as np
from numpy.typing import ArrayLike

from modtools._feature_maps import FEATURE_MAPS
from modtools.exceptions import warn
from modtools.tasks import Kind
from modtools.transferability._inputs import ANY_KIND, checked_summary
from modtools.transferability._summary import Summary

__all__ = [
    "alignment",
    "alignment_from_summary",
    "centered_alignment",
    "centered_alignment_from_summary",
    "lfc",
    "lfc_from_summary",
    "nmse",
    "nmse_from_summary",
    "raw",
    "raw_from_summary",
    "upper_triangle_alignment",
    "upper_triangle_alignment_from_summary",
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


def alignment_from_summary(summary: Summary) -> float:
    """Kernel alignment of a summary; see `alignment`."""
    return _cosine(*_kernel_terms(summary), "alignment", _lowest(summary))


def alignment(
    features: ArrayLike, labels: ArrayLike, *, feature_map: str = "relu_normalised"
) -> float:
    """Kernel alignment: cosine between the module's kernel and the ideal kernel, all n^2 pairs.

    The ideal kernel is k_max for two rows of one class and k_min otherwise (for 0/1 labels: Y Y').
    It is not centred: features that are all equal reach sqrt(sum n_c^2) / n, so compare modules on
    one task only, and read `centered_alignment` beside it.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Output of a module.
    labels : array-like of shape (n_samples,) or (n_samples, n_labels)
        Classes or 0/1 labels.
    feature_map : str, default="relu_normalised"
        Key of `modtools.transferability.FEATURE_MAPS`.

    Returns
    -------
    float
        Dimensionless, in [-1, 1], and in [0, 1] for the default map; higher is better.

    Raises
    ------
    ModtoolsError
        Features that are not finite, lengths that differ, fewer than two classes.

    References
    ----------
    Cristianini et al., "On kernel-target alignment", NIPS 2001; Duan, Yu & Principe, arXiv
    2005.05541.

    Examples
    --------
    >>> round(alignment([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]], [0, 0, 1, 1]), 3)
    0.993
    """
    kinds: tuple[Kind, ...] = ("classification", "multilabel")
    summary = checked_summary(
        features, labels, score="alignment", kinds=kinds, feature_map=feature_map
    )
    return alignment_from_summary(summary)


def upper_triangle_alignment_from_summary(summary: Summary) -> float:
    """Off-diagonal kernel alignment of a summary; see `upper_triangle_alignment`."""
    high = FEATURE_MAPS[summary.feature_map].k_max
    cross, kernel2, ideal2 = _kernel_terms(summary)
    diagonal = summary.diagonal
    kernel2 -= diagonal.norm4
    ideal2 -= high**2 * diagonal.n
    # What is left of a kernel that has no off-diagonal part is rounding.
    kernel2 = kernel2 if kernel2 > 1e-14 * diagonal.norm4 else 0.0
    cross -= high * diagonal.norm2
    return _cosine(cross, kernel2, ideal2, "upper_triangle_alignment", _lowest(summary))


def upper_triangle_alignment(
    features: ArrayLike, labels: ArrayLike, *, feature_map: str = "relu_normalised"
) -> float:
    """Kernel alignment over pairs of different rows only.

    As `alignment`, without the diagonal, which says nothing about the labels.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Output of a module.
    labels : array-like of shape (n_samples,)
        Classes.
    feature_map : str, default="relu_normalised"
        Key of `modtools.transferability.FEATURE_MAPS`.

    Returns
    -------
    float
        Dimensionless, in [-1, 1], and in [0, 1] for the default map; higher is better. 0 with a
        warning (MT001) where no pair of rows has a kernel value, or no class has two rows.

    Raises
    ------
    ModtoolsError
        Features that are not finite, lengths that differ, fewer than two classes.

    References
    ----------
    Duan, Yu & Principe, arXiv 2005.05541.

    Examples
    --------
    >>> features = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]
    >>> round(upper_triangle_alignment(features, [0, 0, 1, 1]), 3)
    0.985
    """
    summary = checked_summary(
        features, labels, score="upper_triangle_alignment", feature_map=feature_map
    )
    return upper_triangle_alignment_from_summary(summary)


def nmse_from_summary(summary: Summary) -> float:
    """Negative mean squared error of a summary's kernel; see `nmse`."""
    cross, kernel2, ideal2 = _kernel_terms(summary)
    feature_map = FEATURE_MAPS[summary.feature_map]
    widest = np.inf
    if feature_map.name != "identity":
        widest = (feature_map.k_max - feature_map.k_min) ** 2
    return float(np.clip(-(kernel2 - 2 * cross + ideal2) / summary.n**2, -widest, 0.0))


def nmse(features: ArrayLike, labels: ArrayLike, *, feature_map: str = "relu_normalised") -> float:
    """Minus the mean squared difference between the module's kernel and the ideal kernel.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Output of a module.
    labels : array-like of shape (n_samples,)
        Classes.
    feature_map : str, default="relu_normalised"
        Key of `modtools.transferability.FEATURE_MAPS`.

    Returns
    -------
    float
        Squared kernel units, in [-1, 0] for the default map; higher is better.

    Raises
    ------
    ModtoolsError
        Features that are not finite, lengths that differ, fewer than two classes.

    References
    ----------
    Duan, Yu & Principe, arXiv 2005.05541.

    Examples
    --------
    >>> round(nmse([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]], [0, 0, 1, 1]), 4)
    -0.0074
    """
    return nmse_from_summary(
        checked_summary(features, labels, score="nmse", feature_map=feature_map)
    )


def raw_from_summary(summary: Summary, *, negatives_only: bool = False) -> float:
    """Mean signed kernel value of a summary; see `raw`."""
    same = float(np.vdot(summary.sums, summary.sums))
    everything = summary.n**2 * float(summary.mean @ summary.mean)
    if negatives_only:
        return -(everything - same) / (summary.n**2 - float(summary.counts @ summary.counts))
    pairs = summary.n**2 - summary.diagonal.n
    value = (2 * same - everything - summary.diagonal.norm2) / pairs
    is_bounded = summary.feature_map != "identity"
    return float(np.clip(value, -1.0, 1.0)) if is_bounded else value


def raw(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    feature_map: str = "relu_normalised",
    negatives_only: bool = False,
) -> float:
    """Mean kernel value over pairs of different rows, pairs of different classes counted negative.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Output of a module.
    labels : array-like of shape (n_samples,)
        Classes.
    feature_map : str, default="relu_normalised"
        Key of `modtools.transferability.FEATURE_MAPS`.
    negatives_only : bool, default=False
        Minus the mean kernel value over pairs of different classes, instead.

    Returns
    -------
    float
        Kernel units, in [-1, 1] for the default map; higher is better.

    Raises
    ------
    ModtoolsError
        Features that are not finite, lengths that differ, fewer than two classes.

    References
    ----------
    Duan, Yu & Principe, arXiv 2005.05541.

    Examples
    --------
    >>> round(raw([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]], [0, 0, 1, 1]), 3)
    0.266
    """
    summary = checked_summary(features, labels, score="raw", feature_map=feature_map)
    return raw_from_summary(summary, negatives_only=negatives_only)


def centered_alignment_from_summary(summary: Summary) -> float:
    """Centred kernel alignment of a summary; see `centered_alignment`."""
    cross = float(np.vdot(summary.offsets, summary.offsets))
    targets2 = float(np.vdot(summary.target_scatter, summary.target_scatter))
    return _cosine(cross, summary.scatter_norm2, targets2, "centered_alignment")


def centered_alignment(
    features: ArrayLike, labels: ArrayLike, *, feature_map: str = "identity"
) -> float:
    """Centred kernel alignment (linear CKA) between the features and the labels.

    Cosine between the doubly centred kernels of features and targets; the biased form.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Output of a module.
    labels : array-like of shape (n_samples,) or (n_samples, n_targets)
        Classes, 0/1 labels or regression targets.
    feature_map : str, default="identity"
        Key of `modtools.transferability.FEATURE_MAPS`.

    Returns
    -------
    float
        Dimensionless, in [0, 1]; higher is better. Unchanged by rotations, a common scale and
        offsets.

    Raises
    ------
    ModtoolsError
        Features that are not finite, lengths that differ, fewer than two classes.

    References
    ----------
    Cortes, Mohri & Rostamizadeh, JMLR 2012; Kornblith et al., ICML 2019.

    Examples
    --------
    >>> round(centered_alignment([[0.0], [1.0], [10.0], [11.0]], [0, 0, 1, 1]), 4)
    0.9901
    """
    summary = checked_summary(
        features,
        labels,
        score="centered_alignment",
        kinds=ANY_KIND,
        feature_map=feature_map,
    )
    return centered_alignment_from_summary(summary)


def lfc_from_summary(summary: Summary) -> float:
    """Label-feature correlation of a summary; see `lfc`."""
    offsets2 = float(np.vdot(summary.offsets, summary.offsets))
    along_mean = float(summary.counts @ (summary.offsets @ summary.mean))
    kernel2 = summary.scatter_norm2 + 2 * summary.n * summary.mean_scatter_mean
    counts2 = float(summary.counts @ summary.counts)
    ideal2 = counts2 - counts2**2 / summary.n**2
    return _cosine(offsets2 + 2 * along_mean, kernel2, ideal2, "lfc")


def lfc(features: ArrayLike, labels: ArrayLike) -> float:
    """Label-feature correlation: Pearson correlation of kernel and same-class indicator, all pairs.

    The grand mean of the kernel is removed, not its row means: it is not `centered_alignment`, and
    it depends on the offset of the features.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Output of a module.
    labels : array-like of shape (n_samples,)
        Classes.

    Returns
    -------
    float
        Correlation, in [-1, 1]; higher is better.

    Raises
    ------
    ModtoolsError
        Features that are not finite, lengths that differ, fewer than two classes.

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
    return lfc_from_summary(checked_summary(features, labels, score="lfc"))
