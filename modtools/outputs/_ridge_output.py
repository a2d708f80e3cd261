"""Ridge regression as an output module: on classes, on several labels, or on real targets."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils import check_X_y, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from modtools._checks import check_positive
from modtools._types import FloatArray, FloatMatrix
from modtools.exceptions import ModtoolsError
from modtools.outputs._base import FLOATS, OutputModule, decide, encode_classes
from modtools.outputs._ridge import (
    RidgeBasis,
    RidgeLeaveOneOut,
    one_hot,
    ridge_basis,
    ridge_leave_one_out,
    ridge_weights,
)
from modtools.outputs._standardize import StandardizedRows, column_moments
from modtools.tasks import encode_labels

__all__ = ["RidgeOutput", "RidgeRegressionOutput"]

# A 0/1 target is regressed on its mean given the features: its probability, as far as that is
# linear. From one half on the label is the likelier answer.
_LIKELIER = 0.5
_CHECKS: dict[str, Any] = {"dtype": FLOATS, "ensure_min_samples": 2, "multi_output": True}


class RidgeModule:
    """The options of both ridge output modules, and the fit of target columns at an alpha."""

    alpha_: float
    coef_: FloatMatrix
    intercept_: FloatMatrix
    mean_: FloatMatrix
    scale_: FloatMatrix

    def __init__(
        self,
        *,
        alpha: float | None = None,
        standardize: bool = True,
        blocks: Sequence[int] | None = None,
    ) -> None:
        self.alpha = alpha
        self.standardize = standardize
        self.blocks = blocks

    def _basis(self, features: FloatArray) -> RidgeBasis:
        rows = StandardizedRows.of(features, rescale=self.standardize, blocks=self.blocks)
        return ridge_basis(rows)

    def _given_alpha(self) -> float | None:
        return None if self.alpha is None else check_positive(self.alpha, name="alpha")

    def _solve(self, basis: RidgeBasis, targets: FloatMatrix, alpha: float) -> None:
        self.alpha_ = alpha
        self.coef_, self.intercept_ = ridge_weights(basis, targets, alpha)
        self.mean_, self.scale_ = basis.rows.mean, basis.rows.scale

    def _decide(self, rows: FloatMatrix) -> FloatMatrix:
        return np.asarray(rows @ self.coef_.T + self.intercept_)


class RidgeOutput(RidgeModule, OutputModule):
    """Ridge regression on one-hot targets as an output module.

    Columns are standardised with the training examples (constant ones become 0), the intercept has
    no penalty, and an example belongs to the class of the largest decision value, ties to the
    first. With several labels per example (a 0/1 matrix), every label has its own classifier, all
    of one alpha; the labels whose decision values exceed one half are predicted.

    Parameters
    ----------
    alpha : float, optional
        Penalty added to the scatter of the standardised features, an absolute number. By default it
        is chosen by the exact leave-one-out error (PRESS) from n * 10^k, k = -6, -5.5, ..., 2.
    standardize : bool, default=True
        Whether columns are divided by their standard deviation.
    blocks : sequence of int, optional
        Widths of consecutive blocks of columns, one per module, that are given equal energy:
        columns are standardised, then each block divided by one number. By default all columns are
        one.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted class labels, or the numbers of the label columns.
    is_multilabel_ : bool
        Whether examples have several labels.
    alpha_ : float
        Alpha used.
    coef_ : ndarray of shape (n_classes, n_features)
        Weights of the features as centred by `mean_` and divided by `scale_`.
    intercept_ : ndarray of shape (n_classes,)
        Decision value at `mean_`.
    mean_, scale_ : ndarray of shape (n_features,)
        The standardisation; scale 0 marks a constant column, which is ignored.
    n_features_in_ : int
        Number of columns seen by `fit`.

    Examples
    --------
    >>> features = [[0.0], [1.0], [2.0], [3.0]]
    >>> RidgeOutput().fit(features, ["a", "a", "b", "b"]).predict([[0.5], [2.5]]).tolist()
    ['a', 'b']
    >>> RidgeOutput().fit(features, [[1, 0], [1, 0], [1, 1], [1, 1]]).predict([[0.5]]).tolist()
    [[1, 0]]
    """

    is_multilabel_: bool

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit the output module.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels, or a 0/1 matrix.

        Returns
        -------
        self : RidgeOutput
            The fitted output module.
        """
        features, labels = validate_data(self, X, y, **_CHECKS)
        self.classes_, targets, self.is_multilabel_ = _targets(labels)
        basis, alpha = self._basis(features), self._given_alpha()
        if alpha is None:
            alpha = ridge_leave_one_out(basis, targets).alpha
        self._solve(basis, targets, alpha)
        return self

    def decision_function(self, X: ArrayLike) -> FloatMatrix:
        """Return decision values in scikit-learn's shape.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Decision values; for two classes, that of the second minus that of the first; for
            several labels per example, positive where the label is predicted.
        """
        check_is_fitted(self)
        if self.is_multilabel_:
            return self.decision_values(X) - _LIKELIER
        return super().decision_function(X)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the class of the largest decision value, or all labels above one half.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Predicted labels, or a 0/1 matrix.
        """
        values = self.decision_values(X)
        return self._labels(values, self.classes_, is_multilabel=self.is_multilabel_)

    def leave_one_out(self, X: ArrayLike, y: ArrayLike) -> NDArray[Any]:
        """Return what the output module fitted without an example predicts for it, exactly.

        The standardisation with all examples and alpha are held fixed; weights and intercept
        are re-estimated. `fit` is not needed before, and nothing is stored.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels, or a 0/1 matrix.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Leave-one-out labels; that of a singleton class is always wrong.

        Examples
        --------
        >>> RidgeOutput().leave_one_out([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]).tolist()
        [0, 0, 1, 1]
        """
        features, labels = check_X_y(X, y, **_CHECKS)
        classes, targets, is_multilabel = _targets(labels)
        result = ridge_leave_one_out(self._basis(features), targets, self._given_alpha())
        return self._labels(result.decisions, classes, is_multilabel=is_multilabel)

    @staticmethod
    def _labels(values: FloatMatrix, classes: NDArray[Any], *, is_multilabel: bool) -> NDArray[Any]:
        if is_multilabel:
            return (values > _LIKELIER).astype(np.intp)
        return np.asarray(classes[values.argmax(axis=1)])


def _targets(labels: NDArray[Any] | FloatArray) -> tuple[NDArray[Any], FloatMatrix, bool]:
    """Return classes, 0/1 target columns, and whether examples may have several labels."""
    if labels.ndim == 2 and labels.shape[1] > 1:
        encoded = encode_labels(labels, kind="multilabel")
        return encoded.classes, encoded.target_matrix(), True
    classes, codes = encode_classes(column_or_1d(labels, warn=True))
    return classes, one_hot(codes, len(classes)), False


class RidgeRegressionOutput(RidgeModule, MultiOutputMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """`RidgeOutput` for tasks whose labels are numbers, one or several per example.

    Columns are standardised with the training examples (constant ones become 0) and the intercept
    has no penalty.

    Parameters
    ----------
    alpha : float, optional
        Penalty added to the scatter of the standardised features, an absolute number, the same for
        all targets. By default it is chosen by the exact leave-one-out error (PRESS) of the
        targets, each divided by its standard deviation, from n * 10^k, k = -6, -5.5, ..., 2.
    standardize : bool, default=True
        Whether columns are divided by their standard deviation.
    blocks : sequence of int, optional
        Widths of consecutive blocks of columns, one per module, that are given equal energy:
        columns are standardised, then each block divided by one number. By default all columns are
        one.

    Attributes
    ----------
    alpha_ : float
        Alpha used.
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

    is_flat_: bool

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
        features, values = validate_data(self, X, y, **_CHECKS, y_numeric=True)
        basis, targets = self._basis(features), _columns(values)
        self._solve(basis, targets, self._leave_one_out(basis, targets).alpha)
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
        values = decide(self, X)
        return np.asarray(values[:, 0] if self.is_flat_ else values)

    def leave_one_out(self, X: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Return what the output module fitted without an example predicts for it, exactly.

        The standardisation with all examples and alpha are held fixed; weights and intercept
        are re-estimated. `fit` is not needed before, and nothing is stored.

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
        features, values = check_X_y(X, y, **_CHECKS, y_numeric=True)
        decisions = self._leave_one_out(self._basis(features), _columns(values)).decisions
        return np.asarray(decisions[:, 0] if values.ndim == 1 else decisions)

    def _leave_one_out(self, basis: RidgeBasis, targets: FloatMatrix) -> RidgeLeaveOneOut:
        mean, deviation = column_moments(targets)
        # In units of their deviation, no target outweighs the others in the choice of alpha.
        unit = np.where(deviation > 0, deviation, 1.0)
        result = ridge_leave_one_out(basis, (targets - mean) / unit, self._given_alpha())
        return result._replace(decisions=result.decisions * unit + mean)


def _columns(values: NDArray[Any]) -> FloatMatrix:
    """Return real targets as float64 columns, or raise where an object among them is no number."""
    columns = values.reshape(len(values), -1).astype(np.float64)
    missing = np.count_nonzero(~np.isfinite(columns))
    if missing:  # scikit-learn looks for NaN in numbers, not in objects
        raise ModtoolsError(f"y must be finite numbers; {missing} are missing or infinite.")
    return columns
