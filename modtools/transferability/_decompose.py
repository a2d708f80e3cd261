"""Eigenvalues of a scatter that a change of units of its columns does not disturb.

Rank is decided on columns of unit deviation, so that no column is rounding beside another one. Only
then are the directions that count brought back to the units of the features, in a factor whose
singular values hold their digits however far apart they lie.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.linalg.lapack import dgejsv

from modtools._types import FloatMatrix
from modtools.outputs import ROUNDING_UNITS, Grain
from modtools.transferability._loss import LOSS_LIMIT
from modtools.transferability._summary import Spectrum

__all__ = [
    "ScatterParts",
    "graded_values",
    "rank_level",
    "spectrum_in_units",
    "spectrum_of",
]

_UNIT = {"float32": float(np.finfo(np.float32).eps), "float64": float(np.finfo(np.float64).eps)}
# Up to this ratio of eigenvalues the plain decomposition holds their digits.
_WELL_CONDITIONED = {"float32": LOSS_LIMIT / _UNIT["float32"], "float64": 1e9}
_GRADED = 1e-7  # below this ratio, small singular values need more than a backward stable method
_SMALLEST = 1e-300  # squares vanish below it


class ScatterParts(NamedTuple):
    """A scatter and what is needed to decompose it and to judge what it still holds.

    Attributes
    ----------
    scatter : ndarray of shape (d, d)
        Sum of (x - mean)(x - mean)'.
    second : ndarray of shape (d,)
        Diagonal of the sums that the scatter was subtracted from.
    mean : ndarray of shape (d,)
        Mean about the origin.
    offsets : ndarray of shape (m, d)
        T'HF.
    n : float
        Sum of the weights.
    n_rows : int
        Number of rows.
    """

    scatter: FloatMatrix
    second: FloatMatrix
    mean: FloatMatrix
    offsets: FloatMatrix
    n: float
    n_rows: int

    def columns(self, chosen: NDArray[np.bool_]) -> "ScatterParts":
        """Return the same of some columns only."""
        return self._replace(
            scatter=self.scatter[np.ix_(chosen, chosen)],
            second=self.second[chosen],
            mean=self.mean[chosen],
            offsets=self.offsets[:, chosen],
        )


def rank_level(size: int, precision: str = "float64") -> float:
    """Return the variance, beside the largest one, below which a direction is rounding."""
    # Float32 products are summed over short blocks, so their error does not grow with the rows.
    return 10 * size * _UNIT["float64"] if precision == "float64" else 3e-6


def spectrum_of(parts: ScatterParts, grain: Grain, precision: str) -> Spectrum:
    """Decompose a scatter (d, d); `loss` says how far its small directions may be off."""
    unit, variance = _UNIT[precision], np.diag(parts.scatter) / parts.n
    own_rounding = ROUNDING_UNITS * grain.eps * np.abs(parts.mean)
    floor = np.maximum(np.square(own_rounding), 8 * unit * parts.second / parts.n)
    varying = variance > np.maximum(floor, _SMALLEST)
    vanished = bool((grain.typical[~varying] > 4 * own_rounding[~varying]).any())
    rest = float(np.square(parts.mean[~varying]).sum())
    size = max(parts.n_rows, len(varying))
    if not varying.all():
        parts, variance = parts.columns(varying), variance[varying]
    if not len(variance):
        return _empty(len(parts.offsets), rest, float(vanished))
    growth = float((parts.second / parts.n / variance).max())
    found = _plain(parts, precision)
    if found is None:
        typical = grain.typical[varying]
        far = (typical > 0) & (variance * unit > LOSS_LIMIT * np.square(typical))
        found = _scaled(parts, far, rank_level(size, precision), precision)
    spectrum, condition = found
    loss = max(spectrum.loss, unit * growth * condition, float(vanished))
    return spectrum._replace(mean_rest=spectrum.mean_rest + rest, loss=min(loss, 1.0))


def _plain(parts: ScatterParts, precision: str) -> tuple[Spectrum, float] | None:
    """Return the spectrum and its condition; None where columns should be scaled first."""
    diagonal, limit = np.diag(parts.scatter), _WELL_CONDITIONED[precision]
    if diagonal.max() > limit * diagonal.min():
        return None
    values, vectors = linalg.eigh(parts.scatter, check_finite=False, driver="evd")
    if not values[-1] < limit * values[0]:
        return None
    loadings = parts.offsets @ vectors / np.sqrt(values)
    return Spectrum(values, parts.mean @ vectors, 0.0, loadings), float(values[-1] / values[0])


def _scaled(
    parts: ScatterParts, far: NDArray[np.bool_], level: float, precision: str
) -> tuple[Spectrum, float]:
    """Return the spectrum by way of columns of unit deviation, and the condition of these.

    `far` marks columns whose scatter is made by so few rows that what the others say is lost in its
    rounding: where a direction among them is cut, that may have been all they said.
    """
    deviation = np.sqrt(np.diag(parts.scatter))
    correlation = parts.scatter / deviation[:, None] / deviation
    values, vectors = linalg.eigh(correlation, check_finite=False, driver="evd")
    kept = values > level * values[-1]
    in_cut = np.square(vectors[:, ~kept]).sum(axis=1)
    # What float32 products cut, float64 products may still hold.
    lost = bool((in_cut[far] > 1e-3).any()) or (precision == "float32" and not kept.all())
    roots, basis = np.sqrt(values[kept]), vectors[:, kept]
    loadings = (parts.offsets / deviation) @ basis / roots
    factor = deviation[:, None] * basis * roots
    spectrum = spectrum_in_units(factor, parts.mean, loadings)
    n_cut = int(np.count_nonzero(~kept))
    condition = float(values[-1] / values[kept][0])
    return spectrum._replace(loss=float(lost), n_cut=n_cut), condition


def spectrum_in_units(factor: FloatMatrix, mean: FloatMatrix, loadings: FloatMatrix) -> Spectrum:
    """Return the spectrum of factor factor', whose columns are independent.

    Parameters
    ----------
    factor : ndarray of shape (d, k)
        F'H times an orthonormal basis (n, k) of the columns of HF.
    mean : ndarray of shape (d,)
        Mean of the rows.
    loadings : ndarray of shape (m, k)
        T'H times the same basis.
    """
    k = factor.shape[1]
    if not k:
        return _empty(len(loadings), float(mean @ mean), 0.0)
    # Large rows first: reflections then leave the digits of the small ones alone.
    order = np.argsort(-np.abs(factor).max(axis=1), kind="stable")
    both = np.column_stack([factor, mean])[order]
    triangle = np.asarray(linalg.qr(both, mode="r", check_finite=False)[0], dtype=np.float64)
    projected, outside = triangle[:k, k], triangle[k : k + 1, k]
    left, roots, right = graded_svd(triangle[:k, :k])
    values = np.maximum(np.square(roots), _SMALLEST)
    rest = float(outside @ outside)
    return Spectrum(values[::-1], (projected @ left)[::-1], rest, (loadings @ right)[:, ::-1])


def graded_svd(triangle: FloatMatrix) -> tuple[FloatMatrix, FloatMatrix, FloatMatrix]:
    """Return U, the singular values (k,), descending, and V of a triangular factor (k, k).

    Small values keep their digits where rows and columns are merely of different units: then the
    one-sided Jacobi method takes over, which costs several times as much.
    """
    pivots = np.abs(np.diag(triangle))
    if pivots.min() > _GRADED * np.abs(triangle).max():
        left, values, right = linalg.svd(triangle, check_finite=False)
        return left, values, right.T
    values, left, right, scaling, _, info = dgejsv(triangle, joba=2, jobu=0, jobv=0, jobr=0)
    if info:  # it did not converge
        left, values, right = linalg.svd(triangle, check_finite=False)
        return left, values, right.T
    return left, values * (scaling[0] / scaling[1]), right


def graded_values(triangle: FloatMatrix) -> FloatMatrix:
    """Return the singular values of a triangular factor (k, k) that stand above its rounding."""
    lengths = np.linalg.norm(triangle, axis=0)
    own = np.flatnonzero(lengths)
    _, roots, right = linalg.svd(triangle[:, own] / lengths[own], check_finite=False)
    kept = roots > 8 * len(triangle) * _UNIT["float64"] * roots[:1]
    factor: FloatMatrix = lengths[own, None] * right[kept].T * roots[kept]
    order = np.argsort(-np.abs(factor).max(axis=1), kind="stable")
    smaller = linalg.qr(factor[order], mode="r", check_finite=False)[0][: kept.sum()]
    return graded_svd(np.asarray(smaller, dtype=np.float64))[1]


def _empty(n_targets: int, rest: float, loss: float) -> Spectrum:
    return Spectrum(np.zeros(0), np.zeros(0), rest, np.zeros((n_targets, 0)), loss)
