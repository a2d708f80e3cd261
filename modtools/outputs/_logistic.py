"""Multinomial logistic regression as an output module."""

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from modtools._validation import check_integer, check_positive
from modtools.exceptions import warn
from modtools.outputs._base import FloatMatrix, OutputModule, check_rows
from modtools.outputs._cold_folds import cold_fold_codes
from modtools.outputs._standardize import StandardizedRows

__all__ = ["LogisticOutput"]


class LogisticOutput(OutputModule):
    """Multinomial logistic regression on standardised features as an output module.

    The penalty is strength/2 |W|^2 beside the summed log loss, the intercept free: scikit-learn's
    `LogisticRegression` (which fits it) with C = 1 / strength.

    Parameters
    ----------
    strength : float, default=1.0
        Strength of the penalty, an absolute number.
    standardize : bool, default=True
        Whether columns are divided by their standard deviation; constant columns become 0.
    max_iter : int, default=2000
        Largest number of iterations; a fit that stops there warns with MT005.
    random_state : int, default=0
        Seed of the folds of `leave_one_out`; `fit` has no randomness.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted class labels.
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
        strength: float = 1.0,
        standardize: bool = True,
        max_iter: int = 2000,
        random_state: int = 0,
    ) -> None:
        self.strength = strength
        self.standardize = standardize
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
        strength = check_positive(self.strength, name="strength")
        max_iter = check_integer(self.max_iter, name="max_iter")
        X, codes = self._check_fit(X, y)
        rows = StandardizedRows.of(X, rescale=self.standardize)
        solver = LogisticRegression(C=1 / strength, max_iter=max_iter)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            solver.fit(rows.dense(), codes)
        if any(issubclass(w.category, ConvergenceWarning) for w in caught):
            warn("MT005", f"the logistic fit stopped at max_iter={max_iter}; increase it.")
        # scikit-learn keeps one row of weights for two classes: half of it belongs to each class.
        is_binary = len(self.classes_) == 2
        halves = np.array([-0.5, 0.5]) if is_binary else np.ones(len(self.classes_))
        self.coef_ = halves[:, None] * solver.coef_
        self.intercept_ = halves * solver.intercept_
        self.mean_, self.scale_ = rows.mean, rows.scale
        self.n_iter_ = int(solver.n_iter_[0])
        return self

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
        """Return an approximation of what the output module fitted without a row predicts for it.

        Rows are held out a fifth at a time (five stratified folds). Every fold is fitted from zero,
        never from a fit that saw its rows, in 20 iterations of all folds at once; the
        standardisation with all rows is held fixed. `fit` is not needed before, nothing is stored.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,)
            Class labels.

        Returns
        -------
        ndarray of shape (n_samples,)
            Held-out labels; a row that is alone in its class is always wrong.

        Examples
        --------
        >>> LogisticOutput().leave_one_out([[0.0], [1.0], [8.0], [9.0]], [0, 0, 1, 1]).tolist()
        [0, 0, 1, 1]
        """
        strength = check_positive(self.strength, name="strength")
        seed = check_integer(self.random_state, name="random_state", minimum=0)
        X, classes, codes = check_rows(X, y)
        rows = StandardizedRows.of(X, rescale=self.standardize)
        held_out = cold_fold_codes(rows, codes, len(classes), strength=strength, seed=seed)
        return np.asarray(classes[held_out])
