"""Ridge regression on real targets as an output module: one machine for all targets."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils import check_X_y
from sklearn.utils.validation import check_is_fitted, validate_data

from modtools._checks import check_positive
from modtools._types import FloatArray, FloatMatrix
from modtools.outputs._base import FLOATS
from modtools.outputs._ridge import RidgeBasis, ridge_basis, ridge_leave_one_out, ridge_weights
from modtools.outputs._standardize import StandardizedRows, column_moments

__all__ = ["RidgeRegressionOutput"]

_CHECKS: dict[str, Any] = {"dtype": FLOATS, "ensure_min_samples": 2}
_TARGETS: dict[str, Any] = {"multi_output": True, "y_numeric": True}


class RidgeRegressionOutput(MultiOutputMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """`RidgeOutput` for tasks whose labels are numbers, one or several an example.

    Columns are standardised with the training rows (constant ones become 0) and the intercept
    carries no penalty.

    Parameters
    ----------
    strength : float, optional
        Penalty added to the scatter of the standardised rows, an absolute number, for all targets
        alike. By default it is chosen by the exact leave-one-out error (PRESS) of the targets, each
        divided by its standard deviation, from n * 10^k, k = -6, -5.5, ..., 2.
    standardize : bool, default=True
        Whether columns are divided by their standard deviation.
    blocks : sequence of int, optional
        Widths of consecutive blocks of columns, one a module, that are given equal energy: columns
        are standardised, then each block divided by one number. By default all columns are one.

    Attributes
    ----------
    strength_ : float
        The strength used.
    coef_ : ndarray of shape (n_targets, n_features)
        Weights of the features as centred by `mean_` and divided by `scale_`.
    intercept_ : ndarray of shape (n_targets,)
        Value at `mean_`.
    mean_, scale_ : ndarray of shape (n_features,)
        The standardisation; scale 0 marks a constant column, which is ignored.
    is_flat_ : bool
        Whether the targets had shape (n_samples,), as predictions then have.
    n_features_in_ : int
        Number of columns seen by `fit`.

    Examples
    --------
    >>> output = RidgeRegressionOutput().fit([[0.0], [1.0], [2.0], [3.0]], [0.0, 2.0, 4.0, 6.0])
    >>> output.predict([[1.5], [4.0]]).round(3).tolist()
    [3.0, 8.0]
    """

    strength_: float
    coef_: FloatMatrix
    intercept_: FloatMatrix
    mean_: FloatMatrix
    scale_: FloatMatrix
    is_flat_: bool

    def __init__(
        self,
        *,
        strength: float | None = None,
        standardize: bool = True,
        blocks: Sequence[int] | None = None,
    ) -> None:
        self.strength = strength
        self.standardize = standardize
        self.blocks = blocks

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit the output module.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Real targets.

        Returns
        -------
        self : RidgeRegressionOutput
            The fitted output module.
        """
        features, values = validate_data(self, X, y, **_CHECKS, **_TARGETS)
        basis, targets, self.strength_, _ = self._left_out(features, values)
        self.coef_, self.intercept_ = ridge_weights(basis, targets, self.strength_)
        self.mean_, self.scale_ = basis.rows.mean, basis.rows.scale
        self.is_flat_ = values.ndim == 1
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the predicted targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
            Predictions, shaped as the targets of `fit`.
        """
        check_is_fitted(self)
        features = validate_data(self, X, dtype=FLOATS, reset=False)
        rows = StandardizedRows(features, self.mean_, self.scale_)
        values = np.concatenate([b @ self.coef_.T for _, b in rows.blocks()]) + self.intercept_
        return np.asarray(values[:, 0] if self.is_flat_ else values)

    def leave_one_out(self, X: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Return what the output module fitted without a row predicts for it, exactly.

        The standardisation with all rows and the strength are held fixed; weights and intercept are
        re-estimated. `fit` is not needed before, and nothing is stored.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Real targets.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
            Leave-one-out predictions, shaped as `y`.

        Examples
        --------
        >>> features, targets = [[0.0], [1.0], [2.0], [3.0]], [0.0, 2.0, 4.0, 6.0]
        >>> RidgeRegressionOutput().leave_one_out(features, targets).round(3).tolist()
        [0.0, 2.0, 4.0, 6.0]
        """
        features, values = check_X_y(X, y, **_CHECKS, **_TARGETS)
        decisions = self._left_out(features, values)[-1]
        return np.asarray(decisions[:, 0] if values.ndim == 1 else decisions)

    def _left_out(
        self, features: FloatArray, values: NDArray[Any]
    ) -> tuple[RidgeBasis, FloatMatrix, float, FloatMatrix]:
        """Return the decomposition, target columns, strength and leave-one-out predictions."""
        given = None
        if self.strength is not None:
            given = check_positive(self.strength, name="strength")
        targets = values.reshape(len(values), -1).astype(np.float64)
        mean, deviation = column_moments(targets)
        # In units of their deviation, no target outweighs the others in the choice of the strength.
        unit = np.where(deviation > 0, deviation, 1.0)
        basis = ridge_basis(self._rows(features))
        left_out = ridge_leave_one_out(basis, (targets - mean) / unit, given)
        return basis, targets, left_out.strength, left_out.decisions * unit + mean

    def _rows(self, features: FloatArray) -> StandardizedRows:
        return StandardizedRows.of(features, rescale=self.standardize, blocks=self.blocks)
