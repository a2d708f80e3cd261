"""Safe standardisation, and features that are standardised block by block as they are read."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modtools._checks import check_integer, rows_per_block
from modtools._types import FloatArray
from modtools.exceptions import ModtoolsError
from modtools.outputs._columns import column_moments

__all__ = ["StandardizedRows", "column_moments", "standardize"]


def standardize(
    features: FloatArray,
    mean: NDArray[np.float64],
    deviation: NDArray[np.float64],
    *,
    dtype: Any = np.float64,
) -> NDArray[Any]:
    """Return (features - mean) / deviation as a new array; a column of deviation 0 becomes 0.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features)
        Features to standardise; not changed.
    mean, deviation : ndarray of shape (n_features,)
        As returned by `column_moments`.
    dtype : dtype, default=float64
        Type of the result; the arithmetic is float64.

    Examples
    --------
    >>> rows = np.array([[1e-9, 5.0], [3e-9, 5.0]])
    >>> standardize(rows, *column_moments(rows))
    array([[-1.,  0.],
           [ 1.,  0.]])
    """
    return StandardizedRows(features, mean, deviation).dense(dtype)


def _block_divisors(variances: NDArray[np.float64], blocks: Sequence[int]) -> NDArray[np.float64]:
    """Return what to divide each column by, so that all blocks have the same energy.

    The energy of a block is the sum of its columns' variances. That of all blocks together becomes
    their mean, so that an alpha means for several modules what it means for one of them.
    """
    if not isinstance(blocks, Iterable):
        raise ModtoolsError(f"blocks must be widths of blocks of columns; got {blocks!r}.")
    widths = [check_integer(width, name="each of blocks") for width in blocks]
    if sum(widths) != len(variances):
        raise ModtoolsError(
            f"blocks must add up to the {len(variances)} columns of the features; got "
            f"{sum(widths)} in {len(widths)} blocks."
        )
    energies = np.array([part.sum() for part in np.split(variances, np.cumsum(widths)[:-1])])
    varying = energies > 0
    shares = energies * varying.sum() / energies[varying].mean() if varying.any() else energies
    return np.repeat(np.sqrt(np.where(varying, shares, 1.0)), widths)


@dataclass(frozen=True)
class StandardizedRows:
    """Features with their standardisation; no standardised copy is kept.

    Attributes
    ----------
    features : ndarray of shape (n_samples, n_features)
        The caller's features.
    mean, scale : ndarray of shape (n_features,)
        What is subtracted and divided by; scale 0 marks a column without variance.

    Examples
    --------
    >>> rows = StandardizedRows.of(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> rows.n_varying, rows.dense().tolist()
    (1, [[-1.0, 0.0], [1.0, 0.0]])
    """

    features: FloatArray
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        features: FloatArray,
        *,
        rescale: bool = True,
        blocks: Sequence[int] | None = None,
    ) -> "StandardizedRows":
        """Return the features centred and, unless `rescale` is false, divided by the deviation.

        `blocks`, widths of consecutive blocks of columns, are then given equal energy.
        """
        mean, deviation = column_moments(features)
        scale = deviation if rescale else np.where(deviation > 0, 1.0, 0.0)
        if blocks is not None:
            variances = np.square(deviation / np.where(scale > 0, scale, 1.0))
            scale = scale * _block_divisors(variances, blocks)
        return cls(features, mean, scale)

    def __len__(self) -> int:
        return len(self.features)

    @property
    def n_features(self) -> int:
        """Number of columns, constant ones included."""
        return int(self.features.shape[1])

    @property
    def n_varying(self) -> int:
        """Number of columns that vary."""
        return int(np.count_nonzero(self.scale))

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield consecutive (rows, standardised float64 block) of about 8 MB."""
        divisor = np.where(self.scale > 0, self.scale, np.inf)
        step = rows_per_block(self.n_features, 8)
        for start in range(0, len(self), step):
            rows = slice(start, min(start + step, len(self)))
            block = self.features[rows].astype(np.float64)
            block -= self.mean
            block /= divisor
            yield rows, block

    def column_blocks(self) -> Iterator[FloatArray]:
        """Yield consecutive standardised columns as float64 blocks of about 8 MB."""
        divisor = np.where(self.scale > 0, self.scale, np.inf)
        step = rows_per_block(len(self), 8)
        for start in range(0, self.n_features, step):
            columns = slice(start, start + step)
            block = self.features[:, columns].astype(np.float64)
            block -= self.mean[columns]
            block /= divisor[columns]
            yield block

    def dense(self, dtype: Any = np.float64) -> NDArray[Any]:
        """Return all standardised rows (n_samples, n_features) as one new array."""
        result = np.empty(self.features.shape, dtype=dtype)
        for rows, block in self.blocks():
            result[rows] = block
        return result
