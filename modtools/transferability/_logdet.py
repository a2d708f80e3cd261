"""Determinants of I + a scatter, with the digits that large entries leave."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import linalg

from modtools._types import FloatMatrix
from modtools.transferability._decompose import graded_values, rank_level
from modtools.transferability._sums import Sums

__all__ = ["LogDet", "class_logdets_of", "logdet_plus_identity"]

_UNIT = float(np.finfo(np.float64).eps)
_TOLERANCE = 1e-6  # nats


class LogDet(NamedTuple):
    """A log determinant and an estimate of its error, both in nats."""

    value: float
    error: float


def logdet_plus_identity(
    matrix: FloatMatrix, factor: Callable[[], FloatMatrix] | None = None
) -> LogDet:
    """Return log det(I + matrix) for a positive semi-definite matrix, which is overwritten.

    `factor` returns a triangular R with R'R = matrix, for a matrix that has lost too many digits.

    >>> round(logdet_plus_identity(np.eye(2)).value, 4)
    1.3863
    """
    matrix[np.diag_indices_from(matrix)] += 1.0
    diagonal = np.diag(matrix).copy()
    error = np.inf
    try:
        pivots = np.square(np.diag(linalg.cholesky(matrix, lower=True, check_finite=False)))
        error = _UNIT * float((diagonal / pivots).sum())
    except linalg.LinAlgError:
        pass
    if error < _TOLERANCE:
        return LogDet(float(np.log(pivots).sum()), error)
    # Entries so large that directions without any spread hold rounding errors above 1.
    if factor is not None:
        return LogDet(float(np.log1p(np.square(graded_values(factor()))).sum()), 0.0)
    values = np.asarray(linalg.eigvalsh(matrix, check_finite=False) - 1.0, dtype=np.float64)
    kept = values > rank_level(len(values)) * values.max()
    return LogDet(float(np.log1p(values[kept]).sum()), error)


def class_logdets_of(sums: Sums, delta: float) -> tuple[FloatMatrix, float]:
    """Return log det(I + S_c delta / n_c) of each class, and the largest error of them in nats."""
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
