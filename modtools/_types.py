"""Names of the arrays that every room passes on."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["ClassCodes", "FloatArray", "FloatMatrix"]

FloatArray: TypeAlias = NDArray[np.floating[Any]]  # float16, float32 or float64
FloatMatrix: TypeAlias = NDArray[np.float64]
ClassCodes: TypeAlias = NDArray[np.intp]  # one whole number from 0 per example
