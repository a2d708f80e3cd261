"""Type aliases of arrays, and protocols that recognise array-like objects."""

import sys
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "ClassCodes",
    "ColumnLike",
    "FloatArray",
    "FloatMatrix",
    "FrameLike",
    "SparseLike",
    "SupportsArray",
    "is_tensor",
]

FloatArray: TypeAlias = NDArray[np.floating[Any]]  # float16, float32 or float64
FloatMatrix: TypeAlias = NDArray[np.float64]
ClassCodes: TypeAlias = NDArray[np.intp]  # one whole number from 0 per example


def is_tensor(value: Any) -> "TypeGuard[Tensor]":
    """Return whether a value is a torch tensor, without importing torch.

    >>> is_tensor(np.zeros(3))
    False
    """
    # Without torch loaded there are no tensors; while another thread imports it, it lacks Tensor.
    return isinstance(value, getattr(sys.modules.get("torch"), "Tensor", ()))


@runtime_checkable
class SupportsArray(Protocol):
    """An object that numpy can read as an array: arrays, tensors, columns and data frames."""

    def __array__(self) -> NDArray[Any]:
        """Return the values."""
        ...


@runtime_checkable
class SparseLike(Protocol):
    """A sparse matrix, of scipy or another library."""

    nnz: Any

    def toarray(self) -> Any:
        """Return the dense array."""


@runtime_checkable
class ColumnLike(Protocol):
    """A column or a data frame of pandas or a similar library."""

    def to_numpy(self) -> Any:
        """Return the values as an array."""


@runtime_checkable
class FrameLike(Protocol):
    """A pandas data frame or column, which can be written as JSON."""

    def to_json(self, *, orient: Any, double_precision: int) -> Any:
        """Return the rows as JSON."""
