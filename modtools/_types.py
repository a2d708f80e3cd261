"""Names of the arrays that every room passes on."""

from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["ClassCodes", "FloatArray", "FloatMatrix", "TensorLike"]

FloatArray: TypeAlias = NDArray[np.floating[Any]]  # float16, float32 or float64
FloatMatrix: TypeAlias = NDArray[np.float64]
ClassCodes: TypeAlias = NDArray[np.intp]  # one whole number from 0 per example


@runtime_checkable
class TensorLike(Protocol):
    """A torch tensor, told from other arrays without loading torch."""

    device: Any

    def detach(self) -> Any:
        """Return the values without their history."""
