"""Squared distances between examples, tile by tile: never a matrix of all pairs."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from modtools._types import FloatArray

__all__ = ["SquaredDistances"]

_TILE = 1024  # rows and columns of a tile: 4 MB in float32


class SquaredDistances:
    """Squared Euclidean distances between examples, computed when they are asked for.

    A tile is one matrix product and nothing else: (x, |x|^2, 1) times (-2 y, 1, |y|^2). Rows are
    centred first, so that only differences between them are rounded.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        Rows; their type is the type of the arithmetic. Kept as one copy.

    Attributes
    ----------
    squares : ndarray of shape (n_samples,)
        Squared distance of each row to the mean.

    Examples
    --------
    >>> distances = SquaredDistances(np.array([[0.0], [2.0], [7.0]]))
    >>> distances.to_row(1).tolist()
    [4.0, 0.0, 25.0]
    """

    def __init__(self, rows: FloatArray) -> None:
        n_samples, width = rows.shape
        mean = rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)
        self._right = np.empty((n_samples, width + 2), dtype=rows.dtype)
        np.subtract(rows, mean, out=self._right[:, :width])
        self.squares = np.einsum("ij,ij->i", self._right[:, :width], self._right[:, :width])
        self._right[:, :width] *= -2
        self._right[:, width], self._right[:, width + 1] = 1, self.squares

    def __len__(self) -> int:
        return len(self._right)

    def to_row(self, row: int) -> FloatArray:
        """Return the squared distance of every row to one of them (n_samples,).

        Parameters
        ----------
        row : int
            Row number.

        Returns
        -------
        ndarray of shape (n_samples,)
            Squared distances; that of the row itself is 0 up to rounding.
        """
        return np.asarray(self._right @ self._left(np.array([row]))[0])

    def tiles(self, rows: NDArray[np.intp]) -> Iterator[tuple[slice, slice, FloatArray]]:
        """Yield the squared distances of some rows to all rows.

        Parameters
        ----------
        rows : ndarray of shape (n_chosen,)
            Row numbers.

        Yields
        ------
        place, columns : slice
            Which of the given rows, and which of all rows.
        distances : ndarray of shape (n_rows, n_columns)
            Squared distances; from a row to itself, infinity. A new array.

        Examples
        --------
        >>> distances = SquaredDistances(np.array([[0.0], [2.0], [7.0]]))
        >>> [tile.tolist() for _, _, tile in distances.tiles(np.array([2]))]
        [[[49.0, 25.0, inf]]]
        """
        for first in range(0, len(rows), _TILE):
            place = slice(first, min(first + _TILE, len(rows)))
            chosen = rows[place]
            left = self._left(chosen)
            for start in range(0, len(self), _TILE):
                columns = slice(start, min(start + _TILE, len(self)))
                distances = left @ self._right[columns].T
                itself = np.flatnonzero((chosen >= columns.start) & (chosen < columns.stop))
                distances[itself, chosen[itself] - start] = np.inf
                yield place, columns, distances

    def _left(self, rows: NDArray[np.intp]) -> FloatArray:
        left = self._right[rows]
        left[:, :-2] /= -2  # exact: a power of two
        left[:, -2], left[:, -1] = self.squares[rows], 1
        return left
