"""The output module of a module in a race: it predicts examples, then learns them."""

import numpy as np
from numpy.typing import NDArray

from modtools._types import ClassCodes, FloatArray
from modtools.outputs import (
    RidgeBasis,
    StandardizedRows,
    one_hot,
    ridge_basis,
    ridge_leave_one_out,
    ridge_solution,
    standardize,
)

__all__ = ["LearningOutput"]

# It is fitted again once the examples have grown by this factor, and its alpha chosen again once
# they have doubled: between them a fit changes less than it costs.
_REFIT, _RETUNE = 1.1, 2.0


class LearningOutput:
    """A ridge output module on the examples seen so far; all of them are kept.

    Parameters
    ----------
    n_classes : int
        Number of classes; those not seen yet are never predicted.

    Examples
    --------
    >>> output = LearningOutput(2)
    >>> output.learn(np.array([[0.0], [1.0], [4.0], [5.0]]), np.array([0, 0, 1, 1]))
    >>> output.predict(np.array([[0.5], [4.5]])).tolist()
    [0, 1]
    """

    def __init__(self, n_classes: int) -> None:
        self._n_classes = n_classes
        self._features: list[FloatArray] = []
        self._codes: list[ClassCodes] = []
        self._groups: list[NDArray[np.intp]] = []
        self._n_rows = self._n_fitted = self._n_tuned = 0

    def learn(
        self, features: FloatArray, codes: ClassCodes, groups: NDArray[np.intp] | None = None
    ) -> None:
        """Add examples, to be fitted when a prediction needs them.

        Parameters
        ----------
        features : ndarray of shape (n_examples, n_features)
            Rows.
        codes : ndarray of shape (n_examples,)
            Their class codes.
        groups : ndarray of shape (n_examples,), optional
            Their group numbers; an example's whole group is left out with it.
        """
        self._features.append(features)
        self._codes.append(codes)
        if groups is not None:
            self._groups.append(groups)
        self._n_rows += len(features)

    def predict(self, features: FloatArray) -> NDArray[np.intp]:
        """Return the class codes that examples learned earlier predict.

        Parameters
        ----------
        features : ndarray of shape (n_examples, n_features)
            Examples not learned yet.

        Returns
        -------
        ndarray of shape (n_examples,)
            Class codes.
        """
        if self._n_rows >= _REFIT * self._n_fitted:
            self._fit()
        standardized = standardize(features, self._mean, self._scale)
        decisions = standardized @ self._weights + self._intercept
        decisions[:, ~self._is_seen] = -np.inf
        return np.asarray(decisions.argmax(axis=1))

    def leave_one_out_accuracy(self) -> float:
        """Return the leave-one-out accuracy on all examples; groups are left out as a whole.

        Returns
        -------
        float
            Accuracy in [0, 1]; alpha is the one of smallest error.
        """
        basis, codes = self._gather()
        targets = one_hot(codes, self._n_classes)
        left_out = ridge_leave_one_out(basis, targets, groups=self._left_out())
        return float((left_out.decisions.argmax(axis=1) == codes).mean())

    def _gather(self) -> tuple[RidgeBasis, ClassCodes]:
        self._features = [np.concatenate(self._features)]
        self._codes = [np.concatenate(self._codes)]
        return ridge_basis(StandardizedRows.of(self._features[0])), self._codes[0]

    def _left_out(self) -> NDArray[np.intp] | None:
        """Return the groups; of a single one, which cannot be left out, its examples are."""
        if not self._groups:
            return None
        self._groups = [np.concatenate(self._groups)]
        groups = self._groups[0]
        return groups if (groups != groups[0]).any() else None

    def _fit(self) -> None:
        basis, codes = self._gather()
        targets = one_hot(codes, self._n_classes)
        if self._n_rows >= _RETUNE * self._n_tuned:
            left_out = ridge_leave_one_out(basis, targets, groups=self._left_out())
            self._alpha = left_out.alpha
            self._n_tuned = self._n_rows
        self._intercept = targets.mean(axis=0)
        self._weights = ridge_solution(basis, targets - self._intercept, self._alpha)
        self._mean, self._scale = basis.rows.mean, basis.rows.scale
        self._is_seen = targets.any(axis=0)
        self._n_fitted = self._n_rows
