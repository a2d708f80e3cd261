"""Feature maps phi: k(x, x') = <phi(x), phi(x')> is the kernel of a module's output."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modtools._checks import rows_per_block
from modtools._types import FloatArray, is_tensor

__all__ = ["FEATURE_MAPS", "FeatureMap"]


def _unit_rows(rows: FloatArray) -> FloatArray:
    """Divide each row by its length; a zero row stays zero.

    Each row is divided by its largest entry first, so that squares neither underflow nor overflow.
    """
    largest = np.abs(rows).max(axis=1, keepdims=True)
    scaled = rows / np.where(largest > 0, largest, 1)
    length = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))[:, None]
    scaled /= np.where(length > 0, length, 1)
    return scaled


def _unit_tensor(rows: Any, *, positive_part: bool = False) -> Any:
    """Do for a torch tensor what `_unit_rows` does for an array."""
    from modtools._unit_rows_tensor import unit_rows

    return unit_rows(rows, positive_part=positive_part)


def _identity(rows: Any) -> Any:
    return rows


def _relu_normalised(rows: FloatArray) -> FloatArray:
    return _unit_rows(np.maximum(rows, 0))


def _tanh(rows: FloatArray) -> FloatArray:
    return _unit_rows(np.tanh(rows))


def _sigmoid(rows: FloatArray) -> FloatArray:
    # 1 / (1 + exp(-x)) in terms of tanh, which does not overflow.
    return _unit_rows(0.5 + 0.5 * np.tanh(0.5 * rows))


@dataclass(frozen=True)
class FeatureMap:
    """A map phi of each example's features, and the range of its kernel k(x, x').

    Attributes
    ----------
    name : str
        Key in `FEATURE_MAPS`.
    k_min, k_max : float
        Ideal kernel value of two examples of different classes, and of the same class. Also the
        range of the kernel, except for ``identity``, whose kernel is unbounded.
    map_array, map_tensor : callable
        Map a numpy array or a torch tensor (n_samples, n_features) to one of the same shape and
        type.

    Examples
    --------
    >>> import numpy as np
    >>> FEATURE_MAPS["relu_normalised"](np.array([[3.0, -1.0, 4.0], [-1.0, -2.0, 0.0]]))
    array([[0.6, 0. , 0.8],
           [0. , 0. , 0. ]])
    """

    name: str
    k_min: float
    k_max: float
    map_array: Callable[[FloatArray], FloatArray]
    map_tensor: Callable[[Any], Any]

    def in_precision(self, rows: FloatArray, dtype: Any) -> FloatArray:
        """Return mapped features of at least the precision `dtype`; the identity copies nothing."""
        if self.map_array is _identity:
            return rows
        mapped = np.empty(rows.shape, dtype=dtype)
        step = rows_per_block(rows.shape[1], mapped.itemsize)
        for start in range(0, len(rows), step):
            block = slice(start, start + step)
            mapped[block] = self.map_array(rows[block].astype(dtype, copy=False))
        return mapped

    def __call__(self, rows: Any) -> Any:
        """Return the mapped features; the input is not changed.

        Parameters
        ----------
        rows : ndarray or Tensor of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray or Tensor of shape (n_samples, n_features)
            Rows of length 1, except for ``identity``; rows that are mapped to zero stay zero.
        """
        return self.map_tensor(rows) if is_tensor(rows) else self.map_array(rows)


FEATURE_MAPS: Final[dict[str, FeatureMap]] = {
    "identity": FeatureMap("identity", 0.0, 1.0, _identity, _identity),
    "relu_normalised": FeatureMap(
        "relu_normalised",
        0.0,
        1.0,
        _relu_normalised,
        lambda rows: _unit_tensor(rows, positive_part=True),
    ),
    "tanh": FeatureMap("tanh", -1.0, 1.0, _tanh, lambda rows: _unit_tensor(rows.tanh())),
    "sigmoid": FeatureMap("sigmoid", 0.0, 1.0, _sigmoid, lambda rows: _unit_tensor(rows.sigmoid())),
    "unit": FeatureMap("unit", -1.0, 1.0, _unit_rows, _unit_tensor),
}
