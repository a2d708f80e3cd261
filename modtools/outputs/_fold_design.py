"""What logistic folds are fitted on: coordinates that suit L-BFGS, and each fold's penalties."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modtools._types import ClassCodes
from modtools.outputs._ridge import ridge_basis
from modtools.outputs._standardize import StandardizedRows

__all__ = ["CURVATURE", "fold_design", "fold_penalties", "known_classes"]

# With this many rows a column, the curvature of the loss is near a multiple of the scatter.
_ROWS_PER_COLUMN = 5
# Mean of p (1 - p) in a typical fit; Boehning's bound, 1/2, is far too cautious.
CURVATURE = 0.05


def fold_design(rows: StandardizedRows, strength: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return float32 coordinates with a last column for the intercept, and their penalties.

    Fewer rows than columns are turned into their principal coordinates, which changes no decision
    and leaves fewer weights. With many rows a column, principal coordinates are divided by the root
    of their expected curvature, which makes the problem nearly round; the penalty is divided with
    them.

    >>> fold_design(StandardizedRows.of(np.array([[0.0], [2.0]])), 3.0)[0]
    array([[-1.,  1.],
           [ 1.,  1.]], dtype=float32)
    """
    n_samples = len(rows)
    if n_samples < _ROWS_PER_COLUMN * rows.n_features:
        n_columns = min(n_samples, rows.n_features)
        design = np.ones((n_samples, n_columns + 1), dtype=np.float32)
        is_wide = n_samples < rows.n_features
        for block_rows, block in ridge_basis(rows).blocks() if is_wide else rows.blocks():
            design[block_rows, :-1] = block
        penalty = np.full(n_columns + 1, strength, dtype=np.float32)
        penalty[-1] = 0
        return design, penalty
    basis = ridge_basis(rows)
    curvature = np.append(CURVATURE * basis.eigenvalues + strength, CURVATURE * n_samples)
    unit = 1 / np.sqrt(curvature)
    design = np.full((n_samples, len(unit)), unit[-1], dtype=np.float32)
    for block_rows, block in basis.blocks():
        design[block_rows, :-1] = block * unit[:-1]
    penalty = strength * np.square(unit)
    penalty[-1] = 0
    return design, penalty.astype(np.float32)


def known_classes(
    codes: ClassCodes, n_classes: int, training: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return whether a fold is trained on a class (n_folds, n_classes).

    >>> known_classes(np.array([0, 1]), 2, np.array([[True, True], [True, False]]))
    array([[ True,  True],
           [ True, False]])
    """
    counts = np.zeros((training.shape[1], n_classes), dtype=np.intp)
    np.add.at(counts.T, codes, training)
    return np.asarray(counts > 0)


def fold_penalties(penalty: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the penalties (n_columns, n_folds): doubled in a fold that knows two classes.

    For two classes W is one difference of weights. Each of two symmetric weight vectors is half of
    it: |w|^2 = 2 (|w/2|^2 + |w/2|^2).

    >>> fold_penalties(np.array([3.0]), np.array([[True, True, False], [True, True, True]]))
    array([[6., 3.]])
    """
    return np.asarray(
        penalty[:, None] * np.where(known.sum(axis=1) == 2, 2, 1).astype(penalty.dtype)
    )
