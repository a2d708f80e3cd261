"""Input of the scores: centred statistics of features and targets, and one decomposition."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modtools._types import FloatMatrix
from modtools.exceptions import UnusableInputError
from modtools.tasks import Kind
from modtools.transferability._sums import Sums

__all__ = ["DiagonalSums", "Spectrum", "Summary", "diagonal_of_sums"]

_SMALLEST = 1e-140


class Spectrum(NamedTuple):
    """Eigendecomposition of the total scatter S_t, with mean and targets in its eigenbasis.

    Attributes
    ----------
    values : ndarray of shape (k,)
        Eigenvalues of S_t above the rounding level, ascending.
    mean : ndarray of shape (k,)
        Overall mean in the eigenbasis.
    mean_rest : float
        Squared length of the part of the mean outside the eigenbasis.
    loadings : ndarray of shape (m, k)
        T'H times the left singular vectors of HF, with H the centring matrix.
    loss : float
        Estimated relative error of quantities that divide by the smallest eigenvalues.
    n_cut : int
        Number of directions left out as rounding, without counting constant columns.
    """

    values: FloatMatrix
    mean: FloatMatrix
    mean_rest: float
    loadings: FloatMatrix
    loss: float = 0.0
    n_cut: int = 0

    @property
    def targets(self) -> FloatMatrix:
        """T'HF in the eigenbasis, (m, k)."""
        return np.asarray(self.loadings * np.sqrt(self.values))

    @property
    def condition(self) -> float:
        """Ratio of the largest to the smallest kept eigenvalue; 1 if none is kept."""
        return float(self.values[-1] / self.values[0]) if len(self.values) else 1.0


@dataclass(frozen=True)
class DiagonalSums:
    """Sums over the diagonal of the kernel, which pairwise scores subtract (weights squared).

    Attributes
    ----------
    n : float
        Number of examples (sum of w^2).
    norm2, norm4 : float
        Sums of |x|^2 and |x|^4 about the origin.
    centred_norm4 : float
        Sum of |x - mean|^4.
    centred_norm2 : float
        Sum of |x - mean|^2.
    cross : float
        Sum of |x - mean|^2 |t - mean t|^2.
    target_norm2 : float
        Sum of |t - mean t|^2.
    """

    n: float
    norm2: float
    norm4: float
    centred_norm2: float
    centred_norm4: float
    cross: float
    target_norm2: float


def diagonal_of_sums(
    sums: Sums, origin: FloatMatrix, mean: FloatMatrix, target_mean: FloatMatrix
) -> DiagonalSums:
    """Return the diagonal sums of a state; the three points are relative to its shifts."""
    norm2, norm4 = sums.norms_about(origin)
    centred_norm2, centred_norm4 = sums.norms_about(mean)
    target_norm2 = float(
        np.trace(sums.tt) - 2 * target_mean @ sums.t + sums.n * (target_mean @ target_mean)
    )
    cross = sums.cross_norm_about(mean, target_mean)
    return DiagonalSums(sums.n, norm2, norm4, centred_norm2, centred_norm4, cross, target_norm2)


@dataclass(frozen=True, eq=False)
class Summary:
    """Centred statistics of features F (n, d) and targets T (n, m).

    H is the centring matrix, S_t = F'HF the total scatter.

    Attributes
    ----------
    kind : {"classification", "multilabel", "regression"}
        Kind of the labels; for classification T has one-hot rows.
    n : float
        Sum of the sample weights (the number of examples if unweighted).
    n_rows, n_features : int
        Shape of the features.
    weighted : bool
        Whether class weights were used.
    counts : ndarray of shape (m,)
        T'1: (weighted) class counts, label counts or target sums.
    target_second : ndarray of shape (m, m)
        T'T.
    target_scatter : ndarray of shape (m, m)
        T'HT.
    mean : ndarray of shape (d,)
        Mean of the features.
    offsets : ndarray of shape (m, d)
        T'HF: for classes, n_c (mean_c - mean).
    trace, scatter_norm2, mean_scatter_mean : float
        tr S_t, squared Frobenius norm of S_t and mean' S_t mean.
    within_squares : ndarray of shape (m, d)
        Sum over each class of (x - mean_c)^2, elementwise; only for classification.
    diagonal : DiagonalSums
        Sums over the diagonal of the kernel.
    feature_map, precision : str
        Feature map, and type of the products.
    decompose : callable
        Returns the `Spectrum`, and warns (MT008) of lost digits; called once, on first use.
    total_logdet : callable
        Given a ridge delta, returns log det(I + S_t delta / n).
    class_logdets : callable or None
        Given a ridge delta, returns log det(I + S_c delta / n_c) of each class, with S_c about the
        overall mean; None if the statistics were not kept.
    """

    kind: Kind
    n: float
    n_rows: int
    n_features: int
    weighted: bool
    counts: FloatMatrix
    target_second: FloatMatrix
    target_scatter: FloatMatrix
    mean: FloatMatrix
    offsets: FloatMatrix
    trace: float
    scatter_norm2: float
    mean_scatter_mean: float
    within_squares: FloatMatrix
    diagonal: DiagonalSums
    feature_map: str
    precision: str
    decompose: Callable[[], Spectrum]
    total_logdet: Callable[[float], float]
    class_logdets: Callable[[float], FloatMatrix] | None = None

    def __post_init__(self) -> None:
        if self.mean.any() and self.diagonal.norm2 < _SMALLEST:
            raise UnusableInputError(
                f"features are too small: their squares sum to {self.diagonal.norm2:.3g} and "
                "vanish in products. Multiply them by a constant."
            )

    @cached_property
    def spectrum(self) -> Spectrum:
        """The eigenvalues of the scatter, and mean and targets in its eigenbasis."""
        return self.decompose()

    @property
    def present(self) -> NDArray[np.bool_]:
        """Mask of the targets that occur, (m,)."""
        return np.diag(self.target_second) > 0

    @property
    def sums(self) -> FloatMatrix:
        """T'F about the origin, (m, d)."""
        return self.offsets + np.outer(self.counts, self.mean)

    @property
    def second_norm2(self) -> float:
        """Squared Frobenius norm of F'F about the origin."""
        mean2 = float(self.mean @ self.mean)
        return self.scatter_norm2 + 2 * self.n * self.mean_scatter_mean + (self.n * mean2) ** 2
