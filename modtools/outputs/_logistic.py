"""Multinomial logistic regression as an output module."""

import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from modtools._checks import check_integer, check_positive
from modtools._types import ClassCodes, FloatMatrix
from modtools.exceptions import warn
from modtools.outputs._base import OutputModule, check_rows
from modtools.outputs._logistic_folds import choose_logistic_alpha, cold_fold_codes
from modtools.outputs._newton import log_loss_gradient, newton_weights
from modtools.outputs._ridge import ridge_basis
from modtools.outputs._standardize import StandardizedRows

__all__ = ["LogisticOutput"]

# Largest slope of the mean log loss at the solution, scikit-learn's default. A weaker penalty than
# this leaves the loss so flat that the slope must be smaller.
_TOLERANCE, _WEAK = 1e-4, 0.1


class LogisticOutput(OutputModule):
    """Multinomial logistic regression on standardised features as an output module.

    The penalty is alpha/2 |W|^2 beside the summed log loss, the intercept free: scikit-learn's
    `LogisticRegression` (which fits it) with C = 1 / alpha. Where that stops too early, Newton's
    method resumes.

    Parameters
    ----------
    alpha : float, optional
        L2 penalty, an absolute number. By default it is chosen from 10^k, k = -2, -1,
        ..., 3, by the held-out log loss in the five folds of `leave_one_out`, ties to the larger;
        with one label per class nothing can be held out, and it is 1.
    standardize : bool, default=True
        Whether columns are divided by their standard deviation; constant columns become 0.
    blocks : sequence of int, optional
        Widths of consecutive blocks of columns, one per module, that are given equal energy:
        columns are standardised, then each block divided by one number. By default all columns are
        one.
    max_iter : int, default=2000
        Largest number of iterations; a fit that stops there warns with MT005.
    random_state : int, default=0
        Seed of the five folds, which do not follow the order of the examples; with a given alpha
        `fit` has no randomness.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted class labels.
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
    n_iter_ : int
        Iterations used.

    Examples
    --------
    >>> output = LogisticOutput().fit([[0.0], [1.0], [2.0], [3.0]], ["a", "a", "b", "b"])
    >>> output.predict([[0.5], [2.5]]).tolist()
    ['a', 'b']
    >>> output.predict_proba([[1.5]]).round(3)
    array([[0.5, 0.5]])
    """

    def __init__(
        self,
        *,
        alpha: float | None = None,
        standardize: bool = True,
        blocks: Sequence[int] | None = None,
        max_iter: int = 2000,
        random_state: int = 0,
    ) -> None:
        self.alpha = alpha
        self.standardize = standardize
        self.blocks = blocks
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit the output module.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,)
            Class labels.

        Returns
        -------
        self : LogisticOutput
            The fitted output module.
        """
        self._check_options()
        X, codes = self._check_fit(X, y)
        rows = StandardizedRows.of(X, rescale=self.standardize, blocks=self.blocks)
        self.alpha_ = self._alpha_for(rows, codes, len(self.classes_))
        # Principal coordinates leave fewer weights where examples are fewer than features.
        basis = ridge_basis(rows) if len(rows) < rows.n_features else None
        design = rows.dense() if basis is None else basis.dense()
        weights, self.n_iter_ = self._solve(design, codes, int(self.max_iter))
        weights = np.ascontiguousarray(weights)  # so that a saved output module computes the same
        coefficients = weights[:-1] if basis is None else basis.weights(weights[:-1])
        self.coef_, self.intercept_ = coefficients.T, weights[-1]
        self.mean_, self.scale_ = rows.mean, rows.scale
        return self

    def _solve(
        self, design: FloatMatrix, codes: ClassCodes, max_iter: int
    ) -> tuple[FloatMatrix, int]:
        """Return the weights of the columns and of the intercept, and the iterations used."""
        tolerance = _TOLERANCE * (1.0 if self.alpha_ >= _WEAK else self.alpha_)
        solver = LogisticRegression(C=1 / self.alpha_, max_iter=max_iter, tol=tolerance)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            solver.fit(design, codes)
        n_iterations = int(solver.n_iter_[0])
        has_converged = not any(issubclass(w.category, ConvergenceWarning) for w in caught)
        # scikit-learn keeps one weight vector for two classes: half of it belongs to each class.
        is_binary = len(self.classes_) == 2
        halves = np.array([-0.5, 0.5]) if is_binary else np.ones(len(self.classes_))
        weights = np.vstack([solver.coef_.T * halves, solver.intercept_ * halves])
        if n_iterations < max_iter:
            rows = np.column_stack([design, np.ones(len(design))])
            penalty = np.full(len(weights), self.alpha_ * (2 if is_binary else 1))
            penalty[-1] = 0
            slope = np.abs(log_loss_gradient(rows, codes, penalty, weights)).max()
            has_converged = bool(slope <= 2 * tolerance * len(rows))
            if not has_converged:
                weights, has_converged = newton_weights(rows, codes, penalty, weights)
            if not has_converged:
                warn("MT005", "the logistic fit did not converge; check the scale of the features.")
        elif not has_converged:
            warn("MT005", f"the logistic fit stopped at max_iter={max_iter}; increase it.")
        return weights, n_iterations

    def _decide(self, rows: FloatMatrix) -> FloatMatrix:
        return np.asarray(rows @ self.coef_.T + self.intercept_)

    def predict_proba(self, X: ArrayLike) -> FloatMatrix:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities; rows sum to 1.
        """
        return np.asarray(softmax(self.decision_values(X), axis=1))

    def leave_one_out(self, X: ArrayLike, y: ArrayLike) -> NDArray[Any]:
        """Return about what the output module fitted without an example predicts for it.

        Examples are held out a fifth at a time (five stratified folds). Every fold is fitted from
        zero, never from a fit on its held-out examples: to convergence where examples and weights
        are few, else for 20 iterations of all folds at once, or more until the loss is within about
        a hundredth of its minimum. The standardisation with all examples and alpha are held
        fixed. `fit` is not needed before, nothing is stored.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,)
            Class labels.

        Returns
        -------
        ndarray of shape (n_samples,)
            Held-out labels; that of a singleton class is always wrong.

        Examples
        --------
        >>> LogisticOutput().leave_one_out([[0.0], [1.0], [8.0], [9.0]], [0, 0, 1, 1]).tolist()
        [0, 0, 1, 1]
        """
        self._check_options()
        X, classes, codes = check_rows(X, y)
        rows = StandardizedRows.of(X, rescale=self.standardize, blocks=self.blocks)
        alpha = self._alpha_for(rows, codes, len(classes))
        held_out = cold_fold_codes(rows, codes, len(classes), alpha=alpha, seed=self.random_state)
        return np.asarray(classes[held_out])

    def _check_options(self) -> None:
        if self.alpha is not None:
            check_positive(self.alpha, name="alpha")
        check_integer(self.max_iter, name="max_iter")
        check_integer(self.random_state, name="random_state", minimum=0)

    def _alpha_for(self, rows: StandardizedRows, codes: ClassCodes, n_classes: int) -> float:
        if self.alpha is not None:
            return float(self.alpha)
        return choose_logistic_alpha(rows, codes, n_classes, seed=self.random_state)
