"""What each column of the features is like: mean, deviation, and how fine its values are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modtools._checks import as_float, rows_per_block, to_numpy
from modtools._feature_maps import FeatureMap
from modtools._types import FloatArray, FloatMatrix

__all__ = ["Grain", "column_moments", "float_blocks", "grain_of", "middle_of", "sample_rows"]

# A column whose deviation is below this many units of rounding of its own values is constant.
ROUNDING_UNITS = 2
_SAMPLE = 31


def column_moments(features: FloatArray) -> tuple[FloatMatrix, FloatMatrix]:
    """Return mean and standard deviation of each column, in float64 and safe for any magnitude.

    The deviation of a column without variance, judged against the resolution of its own values, is
    exactly 0. Columns are never compared with an absolute threshold, nor with each other, so the
    unit of a column changes nothing.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features)
        Finite float32 or float64 features.

    Returns
    -------
    mean, deviation : ndarray of shape (n_features,)
        Divisor n; `deviation` is 0 for a constant column.

    Examples
    --------
    >>> column_moments(np.array([[1e-9, 5.0], [3e-9, 5.0]]))
    (array([2.e-09, 5.e+00]), array([1.e-09, 0.e+00]))
    """
    n_samples, n_features = features.shape
    origin = features[0].astype(np.float64)
    total, spread = np.zeros(n_features), np.zeros(n_features)
    for block in float_blocks(features):
        block -= origin
        total += block.sum(axis=0)
        np.maximum(spread, np.maximum(block.max(axis=0), -block.min(axis=0)), out=spread)
    mean = origin + total / n_samples
    # Dividing by the spread first keeps squares of very small and very large values in range.
    unit = np.where(spread > 0, spread, 1.0)
    squares = np.zeros(n_features)
    for block in float_blocks(features):
        block -= mean
        block /= unit
        squares += np.einsum("ij,ij->j", block, block)
    deviation = unit * np.sqrt(squares / n_samples)
    resolution = ROUNDING_UNITS * np.finfo(features.dtype).eps * np.maximum(abs(mean), spread)
    return mean, np.where((spread > 0) & (deviation > resolution), deviation, 0.0)


def float_blocks(features: FloatArray) -> Iterator[FloatMatrix]:
    """Yield consecutive rows as float64 copies, which may be overwritten."""
    step = rows_per_block(features.shape[1], 8)
    for start in range(0, len(features), step):
        yield features[start : start + step].astype(np.float64)


def sample_rows(n_rows: int) -> NDArray[np.intp]:
    """Return the numbers of a few rows, evenly spaced.

    >>> sample_rows(3)
    array([0, 1, 2])
    """
    return np.linspace(0, n_rows - 1, min(n_rows, _SAMPLE)).astype(np.intp)


def middle_of(sample: NDArray[Any]) -> FloatMatrix:
    """Return the median of each column of a few rows, which a few outliers do not move."""
    return np.asarray(np.sort(sample, axis=0)[len(sample) // 2], dtype=np.float64)


@dataclass(frozen=True)
class Grain:
    """How fine features are: whether sums of products can still resolve most examples.

    Attributes
    ----------
    typical : ndarray of shape (n_features,)
        Median of the deviations from the middle that are not 0, over a few examples: one outlier
        does not change it. 0 where unknown.
    eps : float
        Unit of rounding of the entries.
    """

    typical: FloatMatrix
    eps: float

    def merge(self, other: "Grain") -> "Grain":
        """Return the finer of both in each column, and the coarser rounding."""
        smaller = np.minimum(self.typical, other.typical)
        either = np.maximum(self.typical, other.typical)
        return Grain(np.where(smaller > 0, smaller, either), max(self.eps, other.eps))


def grain_of(features: Any, feature_map: FeatureMap) -> Grain:
    """Return the grain of mapped features, an array or a tensor, from a few of their rows.

    >>> from modtools.transferability import FEATURE_MAPS
    >>> grain_of(np.array([[1.0, 0.0], [2.0, 0.0], [1e9, 0.0]]), FEATURE_MAPS["identity"]).typical
    array([1., 0.])
    """
    rows = as_float(to_numpy(features[sample_rows(len(features))]))
    sample = feature_map(rows)
    apart = np.sort(np.abs(sample - middle_of(sample)), axis=0)
    zeros = np.count_nonzero(apart == 0, axis=0)
    # The lower median, so that of two deviations the smaller is taken.
    middle = np.minimum((zeros + len(apart) - 1) // 2, len(apart) - 1)
    typical = np.take_along_axis(apart, middle[None], axis=0)[0]
    return Grain(typical.astype(np.float64), float(np.finfo(rows.dtype).eps))
