"""Class separability scores: H-score, TransRate, GBC and SFDA."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.special import log_softmax, softmax

from modtools._checks import check_choice, check_positive, rows_per_block
from modtools._types import FloatArray, FloatMatrix
from modtools.exceptions import ModtoolsError, warn
from modtools.tasks import Labels
from modtools.transferability._accumulate import gram_of_columns, label_sums
from modtools.transferability._declare import register_score
from modtools.transferability._summary import Summary

__all__ = ["gbc", "hscore", "regularized_hscore", "sfda", "shrinkage", "transrate"]

# H-score ----------------------------------------------------------------------------------------


def _between(summary: Summary) -> Any:
    """Return the between-class fraction of the scatter along each eigenvector, (k,)."""
    counts = summary.counts[summary.present]
    loadings = summary.spectrum.loadings[summary.present]
    return (loadings**2 / counts[:, None]).sum(axis=0)


@register_score(
    needs="moments",
    range="[0, C-1]",
    reference="Bao et al., ICIP 2019",
)
def hscore(summary: Summary) -> float:
    """H-score: tr(S_t^+ S_b), the between-class scatter relative to the total scatter.

    It is the sum of the squared canonical correlations between features and classes. It is not
    held out: with fewer examples than features it is at its maximum for any labels, and warns
    (MT003).

    Returns
    -------
    float
        Dimensionless, in [0, min(rank, n_classes - 1)]; higher is better. An invertible affine map
        of the features does not change it.

    References
    ----------
    Bao et al., "An information-theoretic approach to transferability in task transfer learning",
    ICIP 2019.

    Examples
    --------
    >>> round(hscore([[0.0], [1.0], [10.0], [11.0]], [0, 0, 1, 1]), 4)
    0.9901
    """
    values = summary.spectrum.values
    if not len(values):
        warn("MT001", "features carry no variation: hscore is 0.")
        return 0.0
    most = float(np.count_nonzero(summary.present) - 1)
    if len(values) >= summary.n_rows - 1:
        warn(
            "MT003",
            f"n={summary.n_rows} examples, d={summary.n_features} features: hscore equals its "
            f"maximum {most:g} for any labels; read regularized_hscore instead.",
        )
        return most
    return float(np.clip(_between(summary).sum(), 0.0, most))


def shrinkage(summary: Summary) -> float:
    """Return the Ledoit-Wolf shrinkage intensity, in [0, 1], of the covariance S_t / n."""
    n, d = summary.n, summary.n_features
    level = summary.trace / n / d
    norm2 = summary.scatter_norm2 / n**2
    distance = (norm2 - d * level**2) / d
    if d == 1 or distance <= 1e-15 * norm2:
        return 0.0
    # The form with weights; without them the sum of w^2 is n.
    noise = (summary.diagonal.centred_norm4 / n - summary.diagonal.n / n * norm2) / (n * d)
    return float(np.clip(noise / distance, 0.0, 1.0))


@register_score(
    needs="moments",
    range="[0, C-1]",
    reference="Ibrahim et al., arXiv 2110.06893",
)
def regularized_hscore(summary: Summary, *, between_divisor: str = "n") -> float:
    """H-score with the Ledoit-Wolf covariance, also for fewer examples than features.

    Parameters
    ----------
    between_divisor : {"n", "n-1"}, default="n"
        "n-1" divides the two scatters differently, as the authors' public code does.

    Returns
    -------
    float
        Dimensionless, in [0, n_classes - 1]; higher is better. It depends on the relative scale of
        the columns, not on a common factor.

    References
    ----------
    Ibrahim, Ponomareva & Mazumder, "Newer is not always better: rethinking transferability
    metrics", arXiv 2110.06893.

    Examples
    --------
    >>> round(regularized_hscore([[0.0], [1.0], [10.0], [11.0]], [0, 0, 1, 1]), 4)
    0.9901
    """
    check_choice(between_divisor, ["n", "n-1"], name="between_divisor")
    n, level = summary.n, summary.trace / summary.n / summary.n_features
    values = summary.spectrum.values
    if not len(values):
        warn("MT001", "features carry no variation: regularized_hscore is 0.")
        return 0.0
    a = shrinkage(summary)
    # The fraction of the variance along each direction that is not due to shrinkage.
    kept = (1 - a) * values / n
    most = float(np.count_nonzero(summary.present) - 1)
    value = float(np.clip((_between(summary) * (kept / (kept + a * level))).sum(), 0.0, most))
    return value if between_divisor == "n" else value * n / (n - 1)


# TransRate --------------------------------------------------------------------------------------

_LEAST_VARIATION = 1e-30  # relative to the squares: rounding that subtraction of a mean may leave


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

    R(Z) = 1/2 log det(I + Z'Z / (n eps)), with all examples centred by the overall mean. Two
    balanced classes of equal covariance score 0 for any distance between them, so it is useful for
    more than two classes only.

    Parameters
    ----------
    distortion : float, default=1e-4
        eps, in squared units of the features: the score depends on their scale.
    weights : {"proportional", "uniform"}, default="proportional"
        Weight of each class: its fraction of the examples (the score is never negative), or
        1 / n_classes as in the authors' public code (the score may be negative).

    Returns
    -------
    float
        Nats per example, in [0, R(features)] for proportional weights; higher is better.

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
            "transrate needs one second moment per class; build the moments with "
            "class_second_moments=True, or call score(features, labels)."
        )
    if summary.trace <= _LEAST_VARIATION * summary.diagonal.norm2:
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
    # The exact difference is never negative with these weights; rounding could make it so.
    return float(np.clip(value, 0.0, total)) if weights == "proportional" else value


# GBC --------------------------------------------------------------------------------------------

_VARIANCE_FLOOR = 1e-4
_FORMS = ["diagonal", "spherical", "public_spherical"]


@register_score(
    needs="moments",
    range="[-C(C-1), 0]",
    reference="Pandy et al., CVPR 2022",
)
def gbc(summary: Summary, *, covariance: str = "diagonal") -> float:
    """GBC: minus the overlap of the classes, each modelled as a Gaussian.

    The overlap is the sum of Bhattacharyya coefficients over ordered pairs of classes. Variances
    are the biased ones, and at least 1e-4. The coefficients vanish for many features, and the floor
    of the variance is absolute. Compare features of similar dimension and scale only.

    Parameters
    ----------
    covariance : {"diagonal", "spherical", "public_spherical"}, default="diagonal"
        Form of each class covariance; "public_spherical" counts the log-determinant once instead of
        once per feature, as the authors' public code does.

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


# SFDA -------------------------------------------------------------------------------------------

_SHARPNESS = 5.0
_SMALLEST_SHRINKAGE = 1e-6  # the paper's 1e-10 makes the solve singular for few examples


class _Discriminant:
    """Linear discriminant with a shrunk covariance, from two passes over the examples."""

    def __init__(
        self, blocks: "_Rows", labels: Labels, n_features: int, shrinkage: float | None = None
    ) -> None:
        counts, means, within = _class_statistics(blocks, labels, n_features)
        within /= len(labels)
        if shrinkage is None:
            largest = linalg.eigvalsh(
                within, subset_by_index=[len(within) - 1] * 2, check_finite=False
            )[0]
            shrinkage = max(float(np.exp(-_SHARPNESS * largest)), _SMALLEST_SHRINKAGE)
        self.shrinkage, self.means = shrinkage, means
        level = float(np.trace(within)) / n_features
        within *= 1 - shrinkage
        within[np.diag_indices_from(within)] += shrinkage * level
        if level > 0:
            self.weights = linalg.solve(within, means.T, assume_a="pos", check_finite=False)
        else:
            self.weights = means.T * 0.0
        self.bias = np.log(counts / counts.sum()) - 0.5 * np.einsum("cd,dc->c", means, self.weights)
        self.centre = blocks.centre

    def log_posterior(self, rows: FloatMatrix) -> FloatMatrix:
        return np.asarray(log_softmax(rows @ self.weights + self.bias, axis=1))


class _Rows:
    """Features relative to their mean, in blocks; mixed by `_mix` once `mix` is set."""

    def __init__(self, features: FloatArray, codes: NDArray[np.intp]) -> None:
        self.features, self.codes = features, codes
        self.centre = features.mean(axis=0, dtype=np.float64)
        self.mix: _Discriminant | None = None

    def __iter__(self) -> Iterator[tuple[FloatMatrix, NDArray[np.intp]]]:
        step = rows_per_block(self.features.shape[1], 8)
        for start in range(0, len(self.features), step):
            rows = self.features[start : start + step] - self.centre
            codes = self.codes[start : start + step]
            yield (rows if self.mix is None else _mix(rows, codes, self.mix)), codes


def _mix(rows: FloatMatrix, codes: NDArray[np.intp], first: _Discriminant) -> FloatMatrix:
    """Move each example towards the other classes, the further the lower its confidence."""
    n_classes = len(first.means)
    others = (first.means.sum(axis=0) - first.means) / (n_classes - 1)
    # The public definition applies softmax twice here: confidences lie close to 1 / n_classes.
    confidence = softmax(np.exp(first.log_posterior(rows)), axis=1)[np.arange(len(rows)), codes]
    return np.asarray(confidence[:, None] * rows + (1 - confidence)[:, None] * others[codes])


def _class_statistics(
    blocks: _Rows, labels: Labels, n_features: int
) -> tuple[FloatMatrix, FloatMatrix, FloatMatrix]:
    """Return class counts (C,), class means (C, d) and the within-class scatter (d, d)."""
    d, n_classes = blocks.features.shape[1], labels.n_classes
    sums, within = np.zeros((n_classes, d)), np.zeros((d, d))
    for rows, codes in blocks:
        sums += label_sums(codes, n_classes, np.float64) @ rows
    counts = labels.counts().astype(np.float64)
    means = sums / counts[:, None]
    for rows, codes in blocks:  # about the class means, so that distant classes cost no digits
        within += gram_of_columns(rows - means[codes])
    # Without any spread within classes only rounding is left, and the solve needs some.
    rounding = float(np.finfo(float).eps) * float(counts @ np.square(means).sum(axis=1))
    if np.trace(within) <= rounding:
        within = np.eye(d) * (rounding / n_features)
    return counts, means, within


def _coordinates(features: FloatArray) -> FloatMatrix:
    """Return the centred examples in an orthonormal basis of their span, (n, n).

    Outside the span of few examples nothing differs. The basis is that of a QR decomposition, built
    over blocks of columns. Unlike the Gram matrix, it keeps the digits for distant classes.

    >>> rows = _coordinates(np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 5.0]]))
    >>> float(np.round(np.linalg.norm(rows[1] - rows[0]), 6))
    4.0
    """
    n_samples = len(features)
    triangle: FloatMatrix = np.zeros((0, n_samples))
    step = max(n_samples, rows_per_block(n_samples, 8))
    for start in range(0, features.shape[1], step):
        columns = features[:, start : start + step]
        centred = (columns - columns.mean(axis=0, dtype=np.float64)).T
        triangle = np.asarray(np.linalg.qr(np.vstack([triangle, centred]), mode="r"))
    return np.ascontiguousarray(triangle.T)


@register_score(
    needs="features",
    passes=5,
    range="(0, 1]",
    reference="Shao et al., ECCV 2022",
)
def sfda(features: FloatArray, labels: Labels) -> float:
    """SFDA: mean posterior of the true class by a self-challenging Fisher discriminant.

    A shrunk linear discriminant gives each example a confidence. Examples are mixed with the mean
    of the other classes, the more the lower their confidence. A second discriminant with the same
    shrinkage scores the mixed examples. The shrinkage is exp(-5 * largest eigenvalue of the
    within-class covariance), so the score depends on the scale of the features. It is not held out,
    and therefore too optimistic for few examples.

    Returns
    -------
    float
        Mean probability, in (0, 1]; higher is better.

    References
    ----------
    Shao et al., "Not all models are equal: predicting model transferability in a self-challenging
    Fisher space", ECCV 2022. The largest eigenvalue is exact here; the authors' public code uses
    three power iterations.

    Examples
    --------
    >>> round(sfda([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1]), 3)
    0.984
    """
    assert labels.codes is not None
    present, codes = np.unique(labels.codes, return_inverse=True)
    compact = Labels("classification", labels.classes[present], codes=codes)
    n_features = features.shape[1]
    if len(features) < n_features:
        features = _coordinates(features)
    blocks = _Rows(features, codes)
    first = _Discriminant(blocks, compact, n_features)
    blocks.mix = first
    second = _Discriminant(blocks, compact, n_features, shrinkage=first.shrinkage)
    total = 0.0
    for rows, block_codes in blocks:
        total += float(np.exp(second.log_posterior(rows)[np.arange(len(rows)), block_codes]).sum())
    return total / len(features)
