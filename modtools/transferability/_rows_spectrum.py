"""The spectrum from the rows themselves, without sums of products.

A triangular factor of the rows holds twice as many digits as their scatter. It costs several times
as much, and is taken only where the digits are missing.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from modtools._checks import rows_per_block
from modtools._types import FloatArray, FloatMatrix
from modtools.exceptions import warn
from modtools.outputs import column_moments, middle_of, sample_rows
from modtools.transferability._decompose import rank_level, spectrum_in_units
from modtools.transferability._summary import Spectrum

__all__ = ["factor_of_few", "row_factor", "spectrum_of_rows"]

_UNIT = float(np.finfo(np.float64).eps)
# Directions that vary by less, beside their entries, are exact dependence up to rounding.
_ROUNDING_SHARE, _SHARED = 1e-18, 1e-10


def row_factor(blocks: Iterator[FloatMatrix]) -> FloatMatrix:
    """Return the triangular R of a QR decomposition of blocks of rows of one width."""
    factor: FloatMatrix | None = None
    for block in blocks:
        stacked = block if factor is None else np.vstack([factor, block])
        factor = np.asarray(linalg.qr(stacked, mode="r", check_finite=False)[0])
        factor = factor[: stacked.shape[1]]
    assert factor is not None
    return factor


def factor_of_few(rows: FloatMatrix) -> FloatMatrix:
    """Return a triangular R with R'R = rows rows', for fewer rows (n, d) than columns."""
    # Large columns first: reflections then leave the digits of the small ones alone.
    largest_first = np.argsort(-np.abs(rows).max(axis=0), kind="stable")
    return row_factor(iter([rows.T[largest_first]]))


class _Rows:
    """Rows in columns of unit deviation, in blocks of rows or of columns."""

    def __init__(self, features: FloatArray) -> None:
        self.mean, deviation = column_moments(features)
        self.varying = np.flatnonzero(deviation)
        self.deviation = deviation[self.varying]
        self.features = features
        self.level = rank_level(max(features.shape))
        # FloatMatrix entries that are float32 numbers come from a float32 network.
        sample = features[sample_rows(len(features))].astype(np.float64)
        with np.errstate(over="ignore"):
            self.single = bool((sample.astype(np.float32) == sample).all())
        self.middle = middle_of(sample)

    def squares(self, rows: slice, columns: slice) -> FloatMatrix:
        """Return the squares of some entries about the middle, with room for their rounding."""
        eps = np.finfo(np.float32 if self.single else np.float64).eps
        squares: FloatMatrix = np.square(self.block(rows, columns, self.middle))
        own_rounding = 4 * eps * self.block(rows, columns, np.zeros(len(self.mean)))
        shared = _SHARED * squares.mean(axis=1, keepdims=True)  # what reflections mix in
        squares += np.square(own_rounding) / self.level + shared
        return squares

    def block(self, rows: slice, columns: slice, about: FloatMatrix) -> FloatMatrix:
        """Return some entries about a point, in units of the deviation of their column."""
        own = self.varying[columns]
        block = self.features[rows][:, own].astype(np.float64)
        block -= about[own]
        block /= self.deviation[columns]
        return block

    def by_rows(self) -> Iterator[slice]:
        width = len(self.varying)
        # Blocks much taller than wide, or most of the work is done on the factor so far.
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

    Rank is that of columns of unit deviation, by the same level as for a scatter. A direction below
    it counts all the same where row by row it stands as far above the row's own entries: then a few
    far rows make the deviations, and the others are not rounding.
    """
    rows = _Rows(features)
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
        loss=min(10 * _UNIT / kept.min(), 1.0),
        n_cut=len(ratio),
    )


def _from_tall(
    rows: _Rows, targets: FloatMatrix
) -> tuple[FloatMatrix, FloatMatrix, FloatMatrix, FloatMatrix]:
    """Return the factor in units, loadings, relative roots kept, and how far others stand out."""
    width, everything = len(rows.varying), slice(None)

    def blocks() -> Iterator[FloatMatrix]:
        for own in rows.by_rows():
            block = rows.block(own, everything, rows.mean)
            yield np.column_stack([np.ones(len(block)), block, targets[own]])

    whole = row_factor(blocks())
    triangle, cross = whole[1 : width + 1, 1 : width + 1], whole[1 : width + 1, width + 1 :]
    left, roots, right = linalg.svd(triangle, check_finite=False)
    counts, cut = _counted(roots, rows.level)
    ratio = np.zeros(len(cut))
    if len(cut):
        basis = right[cut].T
        for own in rows.by_rows():
            along = rows.block(own, everything, rows.mean) @ basis
            ratio += _outstanding(along, rows.squares(own, everything) @ np.square(basis))
        ratio = np.exp(ratio / len(rows.features))
        counts[cut] = (ratio > rows.level) & (roots[cut] > 0)
    factor = rows.deviation[:, None] * right[counts].T * roots[counts]
    return factor, cross.T @ left[:, counts], _relative(roots, counts), ratio[ratio <= rows.level]


def _from_wide(
    rows: _Rows, targets: FloatMatrix
) -> tuple[FloatMatrix, FloatMatrix, FloatMatrix, FloatMatrix]:
    """Return the same for rows that are fewer than the columns that vary."""
    every, width = slice(None), len(rows.varying)
    whole = row_factor(rows.block(every, own, rows.mean).T for own in rows.by_columns())
    left, roots, _ = linalg.svd(whole.T, check_finite=False)
    counts, cut = _counted(roots, rows.level)
    factor = np.empty((width, len(roots)))
    spread, weight = np.zeros((len(whole), len(cut))), np.zeros(len(cut))
    for own in rows.by_columns():
        factor[own] = rows.block(every, own, rows.mean).T @ left
        shares = np.square(factor[own][:, cut])
        spread += rows.squares(every, own) @ shares
        weight += shares.sum(axis=0)
    ratio = np.zeros(len(cut))
    if len(cut):
        along = left[:, cut] * roots[cut]
        ratio = np.exp(_outstanding(along * np.sqrt(weight), spread) / len(along))
        counts[cut] = (ratio > rows.level) & (roots[cut] > 0)
    units = rows.deviation[:, None] * factor[:, counts]
    return units, targets.T @ left[:, counts], _relative(roots, counts), ratio[ratio <= rows.level]


def _counted(roots: FloatMatrix, level: float) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Return which singular values count, and the numbers of those that do not."""
    counts = np.square(roots) > level * np.square(roots[0])
    return counts, np.flatnonzero(~counts)


def _outstanding(along: FloatMatrix, squares: FloatMatrix) -> FloatMatrix:
    """Return, summed over rows, the logarithm of how far a direction stands above the entries.

    Their mean is that of most rows; one row whose entries happen to be small does not decide.
    """
    shares = np.divide(np.square(along), squares, out=np.zeros_like(along), where=squares > 0)
    return np.asarray(np.log(np.clip(shares, 1e-40, 1.0)).sum(axis=0))


def _relative(roots: FloatMatrix, counts: NDArray[np.bool_]) -> FloatMatrix:
    return np.asarray(roots[counts] / roots[0])
