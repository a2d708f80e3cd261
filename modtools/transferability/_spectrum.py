"""Eigenvalues and determinants of a scatter matrix, accurate for columns of very different units.

The numerical rank is decided after scaling columns to unit standard deviation, so that columns of
small unit are not mistaken for rounding errors. The kept directions are then scaled back, in a
factor whose singular values are accurate for any ratio of their sizes. Where sums of products have
lost digits, the features themselves are decomposed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.linalg.lapack import dgejsv

from modtools._checks import rows_per_block
from modtools._types import FloatArray, FloatMatrix
from modtools.exceptions import warn
from modtools.outputs import ROUNDING_UNITS, Grain, column_moments, middle_of, sample_rows
from modtools.transferability._summary import Spectrum
from modtools.transferability._sums import Sums

__all__ = [
    "LOSS_LIMIT",
    "LogDet",
    "LossWarning",
    "ScatterParts",
    "class_logdets_of",
    "factor_of_few",
    "graded_values",
    "logdet_plus_identity",
    "rank_level",
    "row_factor",
    "spectrum_in_units",
    "spectrum_of",
    "spectrum_of_rows",
]

# Lost digits ------------------------------------------------------------------------------------

LOSS_LIMIT: Final = 1e-5  # a tenth of the accuracy of scores, because estimates of loss are rough


@dataclass
class LossWarning:
    """A warning that is given at most once, even if several scores have the same loss.

    Attributes
    ----------
    of_rows : bool
        Whether the features themselves were decomposed, so that no better method is left.
    is_given : bool
        Whether the warning was given.
    """

    of_rows: bool
    is_given: bool = False

    def give(self, loss: float) -> None:
        """Warn (MT008) of a relative loss above `LOSS_LIMIT`, once."""
        if self.is_given or loss <= LOSS_LIMIT:
            return
        self.is_given = True
        remedy = "score(features, labels) is more accurate than moments; "
        warn(
            "MT008",
            "columns are nearly dependent, or a few examples are such outliers, that scores which "
            f"invert the scatter may be off by {min(loss, 1.0):.0e} of their value: "
            f"{'' if self.of_rows else remedy}look for such examples and columns.",
        )


# From a scatter ---------------------------------------------------------------------------------

_UNIT = {"float32": float(np.finfo(np.float32).eps), "float64": float(np.finfo(np.float64).eps)}
# Up to this ratio of eigenvalues the plain decomposition is accurate.
_WELL_CONDITIONED = {"float32": LOSS_LIMIT / _UNIT["float32"], "float64": 1e9}
_GRADED = 1e-7  # below this ratio, a backward stable method is too inaccurate for small values
_SMALLEST = 1e-300  # below it squares underflow


class ScatterParts(NamedTuple):
    """A scatter matrix with all that is needed to decompose it and to estimate its lost digits.

    Attributes
    ----------
    scatter : ndarray of shape (d, d)
        Sum of (x - mean)(x - mean)'.
    second : ndarray of shape (d,)
        Diagonal of the second moment from which the scatter was computed by subtraction.
    mean : ndarray of shape (d,)
        Mean about the origin.
    offsets : ndarray of shape (m, d)
        T'HF, with H the centring matrix.
    n : float
        Sum of the weights.
    n_rows : int
        Number of examples.
    """

    scatter: FloatMatrix
    second: FloatMatrix
    mean: FloatMatrix
    offsets: FloatMatrix
    n: float
    n_rows: int

    def columns(self, chosen: NDArray[np.bool_]) -> "ScatterParts":
        """Return the parts for some of the columns."""
        return self._replace(
            scatter=self.scatter[np.ix_(chosen, chosen)],
            second=self.second[chosen],
            mean=self.mean[chosen],
            offsets=self.offsets[:, chosen],
        )


def rank_level(size: int, precision: str = "float64") -> float:
    """Return the variance, relative to the largest, below which a direction is rounding."""
    # Float32 products are summed over short blocks, so their error does not grow with n_samples.
    return 10 * size * _UNIT["float64"] if precision == "float64" else 3e-6


def spectrum_of(parts: ScatterParts, grain: Grain, precision: str) -> Spectrum:
    """Decompose a scatter matrix; `loss` estimates the relative error of its small directions."""
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
    decomposed = _plain(parts, precision)
    if decomposed is None:
        typical = grain.typical[varying]
        by_outliers = (typical > 0) & (variance * unit > LOSS_LIMIT * np.square(typical))
        decomposed = _scaled(parts, by_outliers, rank_level(size, precision), precision)
    spectrum, condition = decomposed
    loss = max(spectrum.loss, unit * growth * condition, float(vanished))
    return spectrum._replace(mean_rest=spectrum.mean_rest + rest, loss=min(loss, 1.0))


def _plain(parts: ScatterParts, precision: str) -> tuple[Spectrum, float] | None:
    """Return the spectrum and its condition number; None if columns must be scaled first."""
    diagonal, limit = np.diag(parts.scatter), _WELL_CONDITIONED[precision]
    if diagonal.max() > limit * diagonal.min():
        return None
    values, vectors = linalg.eigh(parts.scatter, check_finite=False, driver="evd")
    if not values[-1] < limit * values[0]:
        return None
    loadings = parts.offsets @ vectors / np.sqrt(values)
    return Spectrum(values, parts.mean @ vectors, 0.0, loadings), float(values[-1] / values[0])


def _scaled(
    parts: ScatterParts, by_outliers: NDArray[np.bool_], level: float, precision: str
) -> tuple[Spectrum, float]:
    """Return the spectrum by way of columns of unit deviation, and their condition number.

    `by_outliers` marks columns whose scatter is dominated by so few examples that the others are
    lost in its rounding. A direction among such columns that is cut may carry all their
    information.
    """
    deviation = np.sqrt(np.diag(parts.scatter))
    correlation = parts.scatter / deviation[:, None] / deviation
    values, vectors = linalg.eigh(correlation, check_finite=False, driver="evd")
    kept = values > level * values[-1]
    in_cut = np.square(vectors[:, ~kept]).sum(axis=1)
    # Directions that are cut in float32 may be accurate in float64.
    is_cut_in_float32 = precision == "float32" and not kept.all()
    is_lost = is_cut_in_float32 or bool((in_cut[by_outliers] > 1e-3).any())
    roots, basis = np.sqrt(values[kept]), vectors[:, kept]
    loadings = (parts.offsets / deviation) @ basis / roots
    factor = deviation[:, None] * basis * roots
    spectrum = spectrum_in_units(factor, parts.mean, loadings)
    n_cut = int(np.count_nonzero(~kept))
    condition = float(values[-1] / values[kept][0])
    return spectrum._replace(loss=float(is_lost), n_cut=n_cut), condition


def spectrum_in_units(factor: FloatMatrix, mean: FloatMatrix, loadings: FloatMatrix) -> Spectrum:
    """Return the spectrum of factor factor', whose columns are independent.

    Parameters
    ----------
    factor : ndarray of shape (d, k)
        F'H times an orthonormal basis (n, k) of the columns of HF.
    mean : ndarray of shape (d,)
        Mean of the features.
    loadings : ndarray of shape (m, k)
        T'H times the same basis.

    Returns
    -------
    Spectrum
        Eigenvalues in the units of the features, with mean and loadings in their eigenbasis.
    """
    k = factor.shape[1]
    if not k:
        return _empty(len(loadings), float(mean @ mean), 0.0)
    # Large rows first: Householder reflections then keep the digits of the small ones.
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

    Small singular values are accurate if rows and columns differ in scale only. For large ratios
    the one-sided Jacobi method is used (LAPACK gejsv), which costs several times as much.
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
    """Return the singular values of a triangular factor (k, k) that exceed its rounding error."""
    lengths = np.linalg.norm(triangle, axis=0)
    nonzero = np.flatnonzero(lengths)
    _, roots, right = linalg.svd(triangle[:, nonzero] / lengths[nonzero], check_finite=False)
    kept = roots > 8 * len(triangle) * _UNIT["float64"] * roots[:1]
    factor: FloatMatrix = lengths[nonzero, None] * right[kept].T * roots[kept]
    order = np.argsort(-np.abs(factor).max(axis=1), kind="stable")
    smaller = linalg.qr(factor[order], mode="r", check_finite=False)[0][: kept.sum()]
    return graded_svd(np.asarray(smaller, dtype=np.float64))[1]


def _empty(n_targets: int, rest: float, loss: float) -> Spectrum:
    return Spectrum(np.zeros(0), np.zeros(0), rest, np.zeros((n_targets, 0)), loss)


# From the features themselves: twice as many digits as a scatter, at several times the cost -----

# Directions that vary by less, relative to their entries, are exact linear dependence.
_ROUNDING_SHARE, _SHARED = 1e-18, 1e-10


def row_factor(blocks: Iterator[FloatMatrix]) -> FloatMatrix:
    """Return the triangular R of the QR decomposition of stacked blocks of rows."""
    factor: FloatMatrix | None = None
    for block in blocks:
        stacked = block if factor is None else np.vstack([factor, block])
        factor = np.asarray(linalg.qr(stacked, mode="r", check_finite=False)[0])
        factor = factor[: stacked.shape[1]]
    assert factor is not None
    return factor


def factor_of_few(rows: FloatMatrix) -> FloatMatrix:
    """Return a triangular R with R'R = rows rows', for rows (n, d) with n < d."""
    # Large columns first: Householder reflections then keep the digits of the small ones.
    largest_first = np.argsort(-np.abs(rows).max(axis=0), kind="stable")
    return row_factor(iter([rows.T[largest_first]]))


class _ScaledRows:
    """Features scaled to columns of unit deviation, in blocks of rows or of columns."""

    def __init__(self, features: FloatArray) -> None:
        self.mean, deviation = column_moments(features)
        self.varying = np.flatnonzero(deviation)
        self.deviation = deviation[self.varying]
        self.features = features
        self.level = rank_level(max(features.shape))
        # Float64 entries that are float32 numbers come from a float32 network.
        sample = features[sample_rows(len(features))].astype(np.float64)
        with np.errstate(over="ignore"):
            self.single = bool((sample.astype(np.float32) == sample).all())
        self.middle = middle_of(sample)

    def squares(self, rows: slice, columns: slice) -> FloatMatrix:
        """Return squared entries about the median, plus an allowance for their rounding."""
        eps = np.finfo(np.float32 if self.single else np.float64).eps
        squares: FloatMatrix = np.square(self.block(rows, columns, self.middle))
        rounding = 4 * eps * self.block(rows, columns, np.zeros(len(self.mean)))
        mixed_in = _SHARED * squares.mean(axis=1, keepdims=True)  # by Householder reflections
        squares += np.square(rounding) / self.level + mixed_in
        return squares

    def block(self, rows: slice, columns: slice, about: FloatMatrix) -> FloatMatrix:
        """Return entries relative to a point, in units of the deviation of their column."""
        chosen = self.varying[columns]
        block = self.features[rows][:, chosen].astype(np.float64)
        block -= about[chosen]
        block /= self.deviation[columns]
        return block

    def by_rows(self) -> Iterator[slice]:
        width = len(self.varying)
        # Blocks must be much taller than wide; otherwise most work goes into the current factor.
        step = max(rows_per_block(width, 8), 4 * width)
        for start in range(0, len(self.features), step):
            yield slice(start, start + step)

    def by_columns(self) -> Iterator[slice]:
        n, width = len(self.features), len(self.varying)
        step = max(rows_per_block(n, 8), 4 * n)
        for start in range(0, width, step):
            yield slice(start, min(start + step, width))


def spectrum_of_rows(features: FloatArray, targets: FloatMatrix) -> Spectrum:
    """Return the spectrum of finite features (n, d) and their targets (n, m).

    The rank is that of columns of unit deviation, with the same level as for a scatter. A direction
    below the level still counts if it exceeds the level relative to the entries of each example.
    Then a few outliers dominate the deviations, and the other examples are not rounding errors.
    """
    rows = _ScaledRows(features)
    rest = float(np.square(np.delete(rows.mean, rows.varying)).sum())
    if not len(rows.varying):
        return Spectrum(np.zeros(0), np.zeros(0), rest, np.zeros((targets.shape[1], 0)))
    centred = targets - targets.mean(axis=0)
    route = _from_tall if len(features) > len(rows.varying) else _from_wide
    factor, loadings, kept, ratio = route(rows, centred)
    spectrum = spectrum_in_units(factor, rows.mean[rows.varying], loadings)
    doubtful = 0 if rows.single else int(np.count_nonzero(ratio > _ROUNDING_SHARE))
    if doubtful:
        warn(
            "MT008",
            f"{doubtful} directions of the features vary by less than {np.sqrt(rows.level):.0e} of "
            "their columns and are left out as rounding; drop columns that repeat others.",
        )
    return spectrum._replace(
        mean_rest=spectrum.mean_rest + rest,
        loss=min(10 * _UNIT["float64"] / kept.min(), 1.0),
        n_cut=len(ratio),
    )


def _from_tall(
    rows: _ScaledRows, targets: FloatMatrix
) -> tuple[FloatMatrix, FloatMatrix, FloatMatrix, FloatMatrix]:
    """Decompose more examples than columns that vary.

    Returns the factor in units of the features, the loadings, the kept singular values relative to
    the largest, and how far the cut directions exceed the entries.
    """
    width, everything = len(rows.varying), slice(None)

    def blocks() -> Iterator[FloatMatrix]:
        for chunk in rows.by_rows():
            block = rows.block(chunk, everything, rows.mean)
            yield np.column_stack([np.ones(len(block)), block, targets[chunk]])

    whole = row_factor(blocks())
    triangle, cross = whole[1 : width + 1, 1 : width + 1], whole[1 : width + 1, width + 1 :]
    left, roots, right = linalg.svd(triangle, check_finite=False)
    counts, cut = _counted(roots, rows.level)
    ratio = np.zeros(len(cut))
    if len(cut):
        basis = right[cut].T
        for chunk in rows.by_rows():
            along = rows.block(chunk, everything, rows.mean) @ basis
            ratio += _log_excess(along, rows.squares(chunk, everything) @ np.square(basis))
        ratio = np.exp(ratio / len(rows.features))
        counts[cut] = (ratio > rows.level) & (roots[cut] > 0)
    factor = rows.deviation[:, None] * right[counts].T * roots[counts]
    return factor, cross.T @ left[:, counts], _relative(roots, counts), ratio[ratio <= rows.level]


def _from_wide(
    rows: _ScaledRows, targets: FloatMatrix
) -> tuple[FloatMatrix, FloatMatrix, FloatMatrix, FloatMatrix]:
    """Decompose at most as many examples as columns that vary; returns as `_from_tall`."""
    every, width = slice(None), len(rows.varying)
    whole = row_factor(rows.block(every, chunk, rows.mean).T for chunk in rows.by_columns())
    left, roots, _ = linalg.svd(whole.T, check_finite=False)
    counts, cut = _counted(roots, rows.level)
    factor = np.empty((width, len(roots)))
    spread, weight = np.zeros((len(whole), len(cut))), np.zeros(len(cut))
    for chunk in rows.by_columns():
        factor[chunk] = rows.block(every, chunk, rows.mean).T @ left
        shares = np.square(factor[chunk][:, cut])
        spread += rows.squares(every, chunk) @ shares
        weight += shares.sum(axis=0)
    ratio = np.zeros(len(cut))
    if len(cut):
        along = left[:, cut] * roots[cut]
        ratio = np.exp(_log_excess(along * np.sqrt(weight), spread) / len(along))
        counts[cut] = (ratio > rows.level) & (roots[cut] > 0)
    units = rows.deviation[:, None] * factor[:, counts]
    return units, targets.T @ left[:, counts], _relative(roots, counts), ratio[ratio <= rows.level]


def _counted(roots: FloatMatrix, level: float) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Return a mask of the singular values that count, and the indices of the others."""
    counts = np.square(roots) > level * np.square(roots[0])
    return counts, np.flatnonzero(~counts)


def _log_excess(along: FloatMatrix, squares: FloatMatrix) -> FloatMatrix:
    """Return, summed over examples, the log ratio of a direction's variation to the entries.

    The geometric mean represents most examples; one example with small entries does not decide.
    """
    shares = np.divide(np.square(along), squares, out=np.zeros_like(along), where=squares > 0)
    return np.asarray(np.log(np.clip(shares, 1e-40, 1.0)).sum(axis=0))


def _relative(roots: FloatMatrix, counts: NDArray[np.bool_]) -> FloatMatrix:
    return np.asarray(roots[counts] / roots[0])


# Determinants -----------------------------------------------------------------------------------

_TOLERANCE = 1e-6  # nats


class LogDet(NamedTuple):
    """A log determinant and an estimate of its error, both in nats."""

    value: float
    error: float


def logdet_plus_identity(
    matrix: FloatMatrix, factor: Callable[[], FloatMatrix] | None = None
) -> LogDet:
    """Return log det(I + matrix) for a positive semi-definite matrix, which is overwritten.

    If the matrix has lost too many digits, `factor` is called for a triangular R with R'R = matrix.

    >>> round(logdet_plus_identity(np.eye(2)).value, 4)
    1.3863
    """
    matrix[np.diag_indices_from(matrix)] += 1.0
    diagonal = np.diag(matrix).copy()
    error = np.inf
    try:
        pivots = np.square(np.diag(linalg.cholesky(matrix, lower=True, check_finite=False)))
        error = _UNIT["float64"] * float((diagonal / pivots).sum())
    except linalg.LinAlgError:
        pass
    if error < _TOLERANCE:
        return LogDet(float(np.log(pivots).sum()), error)
    # The entries are so large that rounding errors of directions without spread exceed 1.
    if factor is not None:
        return LogDet(float(np.log1p(np.square(graded_values(factor()))).sum()), 0.0)
    values = np.asarray(linalg.eigvalsh(matrix, check_finite=False) - 1.0, dtype=np.float64)
    kept = values > rank_level(len(values)) * values.max()
    return LogDet(float(np.log1p(values[kept]).sum()), error)


def class_logdets_of(sums: Sums, delta: float) -> tuple[FloatMatrix, float]:
    """Return log det(I + S_c delta / n_c) of each class, and the largest error in nats."""
    assert sums.class_xx is not None
    mean, result, worst = sums.x / sums.n, np.zeros(len(sums.t)), 0.0
    for code in np.flatnonzero(sums.t):
        cross = np.outer(sums.tx[code], mean)
        about_mean = sums.class_xx[code] - cross - cross.T
        about_mean += sums.t[code] * np.outer(mean, mean)
        about_mean *= delta / sums.t[code]
        result[code], error = logdet_plus_identity(about_mean)
        worst = max(worst, error)
    return result, worst
