"""SFDA: self-challenging Fisher discriminant analysis."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.special import log_softmax, softmax

from modtools._checks import rows_per_block
from modtools._types import FloatArray, FloatMatrix
from modtools.tasks import Labels
from modtools.transferability._accumulate import gram_of_columns, label_sums
from modtools.transferability._declare import register_score

__all__ = ["sfda"]

_SHARPNESS = 5.0
_SMALLEST_SHRINKAGE = 1e-6  # the paper's 1e-10 makes the solve singular where rows are few


class _Discriminant:
    """Gaussian classes with a shared, shrunk covariance, from two passes over row blocks."""

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
    """Rows relative to a fixed centre, block by block, optionally moved by a function."""

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
    """Move each row towards the mean of the other classes' means, the less sure the further."""
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
    for rows, codes in blocks:  # about the class means, so that far classes cost no digits
        within += gram_of_columns(rows - means[codes])
    # Classes without any spread of their own leave only rounding, and the solve needs some.
    rounding = float(np.finfo(float).eps) * float(counts @ np.square(means).sum(axis=1))
    if np.trace(within) <= rounding:
        within = np.eye(d) * (rounding / n_features)
    return counts, means, within


def _coordinates(features: FloatArray) -> FloatMatrix:
    """Return the rows about their mean in an orthonormal basis of their span, (n, n).

    Outside the span of few rows nothing differs. The basis is that of a QR decomposition, built up
    over blocks of columns: unlike the products of rows, it keeps the digits of classes far apart.

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
    """SFDA: mean posterior of the right class after uncertain rows were pushed into the others.

    A shrunk linear discriminant gives each row a confidence; rows are mixed with the mean of the
    other classes accordingly; a second discriminant with the same shrinkage scores the mixed rows.
    The shrinkage, exp(-5 * largest within-class variance), is absolute: the value depends on the
    scale of the features. Rows are judged by a fit that saw them, so few rows look too good.

    Returns
    -------
    float
        Mean probability, in (0, 1]; higher is better.

    References
    ----------
    Shao et al., "Not all models are equal: predicting model transferability in a self-challenging
    Fisher space", ECCV 2022. The largest eigenvalue is exact here; public code takes three power
    steps.

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
