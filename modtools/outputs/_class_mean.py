"""Nearest class mean: fit and exact leave-one-out."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modtools.outputs._base import ClassCodes, FloatMatrix, OutputModule, check_rows
from modtools.outputs._standardize import StandardizedRows

__all__ = ["ClassMeanOutput", "class_mean_leave_one_out", "class_sums"]


def class_sums(rows: StandardizedRows, codes: ClassCodes, n_classes: int) -> FloatMatrix:
    """Return the sum of the standardised rows of each class (n_classes, n_features).

    >>> class_sums(StandardizedRows.of(np.array([[0.0], [1.0], [5.0]]), rescale=False),
    ...            np.array([0, 0, 1]), 2)
    array([[-3.],
           [ 3.]])
    """
    sums = np.zeros((n_classes, rows.n_features))
    for block_rows, block in rows.blocks():
        members = np.zeros((len(block), n_classes))
        members[np.arange(len(block)), codes[block_rows]] = 1
        sums += members.T @ block
    return sums


def _squared_distances(block: FloatMatrix, means: FloatMatrix) -> FloatMatrix:
    squares = np.einsum("ij,ij->i", block, block)[:, None] + np.square(means).sum(axis=1)
    return np.asarray(np.maximum(squares - 2 * block @ means.T, 0.0))


def class_mean_leave_one_out(
    rows: StandardizedRows,
    codes: ClassCodes,
    n_classes: int,
    groups: ClassCodes | None = None,
) -> ClassCodes:
    """Return the class whose mean, computed without the row, is nearest to it.

    Leaving a row out moves its own class mean away from it: the squared distance is multiplied by
    (m / (m - 1))^2 for a class of m rows. A class that loses its only row is never predicted.

    Parameters
    ----------
    rows : StandardizedRows
        Features.
    codes : ndarray of shape (n_samples,)
        Class of each row, every class present.
    n_classes : int
        Number of classes.
    groups : ndarray of shape (n_samples,), optional
        Group of each row; a row's whole group is left out with it.

    Returns
    -------
    ndarray of shape (n_samples,)
        Predicted class codes; ties go to the first class.

    Examples
    --------
    >>> rows = StandardizedRows.of(np.array([[0.0], [1.0], [4.0], [6.0]]))
    >>> class_mean_leave_one_out(rows, np.array([0, 0, 1, 1]), 2).tolist()
    [0, 0, 1, 1]
    """
    sums, counts = class_sums(rows, codes, n_classes), np.bincount(codes, minlength=n_classes)
    if groups is not None:
        return _leave_groups_out(rows, codes, sums, groups)
    means, factors = sums / counts[:, None], np.square(counts / np.maximum(counts - 1, 1))
    predicted = np.empty(len(codes), dtype=np.intp)
    for block_rows, block in rows.blocks():
        distances = _squared_distances(block, means)
        own = codes[block_rows]
        away = distances[np.arange(len(block)), own] * factors[own]
        distances[np.arange(len(block)), own] = np.where(counts[own] > 1, away, np.inf)
        predicted[block_rows] = distances.argmin(axis=1)
    return predicted


def _leave_groups_out(
    rows: StandardizedRows,
    codes: ClassCodes,
    sums: FloatMatrix,
    groups: ClassCodes,
) -> ClassCodes:
    """Return the nearest class when the means are computed without the row's whole group."""
    dense = rows.dense()
    counts = np.bincount(codes, minlength=len(sums))
    distances = _squared_distances(dense, sums / counts[:, None])
    order = np.argsort(groups, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        for code in np.unique(codes[members]):
            removed = members[codes[members] == code]
            left = counts[code] - len(removed)
            mean = (sums[code] - dense[removed].sum(axis=0)) / max(left, 1)
            away = np.square(dense[members] - mean).sum(axis=1)
            distances[members, code] = away if left else np.inf
    return np.asarray(distances.argmin(axis=1))


class ClassMeanOutput(OutputModule):
    """The class whose mean is nearest (Euclidean) as an output module.

    Parameters
    ----------
    standardize : bool, default=True
        Whether columns are divided by their standard deviation; constant columns become 0.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted class labels.
    means_ : ndarray of shape (n_classes, n_features)
        Class means of the features as centred by `mean_` and divided by `scale_`.
    mean_, scale_ : ndarray of shape (n_features,)
        The standardisation; scale 0 marks a constant column, which is ignored.
    n_features_in_ : int
        Number of columns seen by `fit`.

    Examples
    --------
    >>> output = ClassMeanOutput().fit([[0.0], [1.0], [2.0], [3.0]], ["a", "a", "b", "b"])
    >>> output.predict([[0.9], [2.5]]).tolist()
    ['a', 'b']
    """

    def __init__(self, *, standardize: bool = True) -> None:
        self.standardize = standardize

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Compute the class means.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,)
            Class labels.

        Returns
        -------
        self : ClassMeanOutput
            The fitted output module.
        """
        X, codes = self._check_fit(X, y)
        rows = StandardizedRows.of(X, rescale=self.standardize)
        sums = class_sums(rows, codes, len(self.classes_))
        self.means_ = sums / np.bincount(codes)[:, None]
        self.mean_, self.scale_ = rows.mean, rows.scale
        return self

    def _decide(self, rows: FloatMatrix) -> FloatMatrix:
        return -_squared_distances(rows, self.means_)

    def leave_one_out(self, X: ArrayLike, y: ArrayLike) -> NDArray[Any]:
        """Return the nearest class mean of each row, computed without that row, exactly.

        The standardisation with all rows is held fixed. `fit` is not needed before, and nothing is
        stored.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,)
            Class labels.

        Returns
        -------
        ndarray of shape (n_samples,)
            Leave-one-out labels; a row that is alone in its class is always wrong.

        Examples
        --------
        >>> ClassMeanOutput().leave_one_out([[0.0], [1.0], [4.0], [6.0]], [0, 0, 1, 1]).tolist()
        [0, 0, 1, 1]
        """
        X, classes, codes = check_rows(X, y)
        rows = StandardizedRows.of(X, rescale=self.standardize)
        return np.asarray(classes[class_mean_leave_one_out(rows, codes, len(classes))])
