"""Nearest class mean: fit, exact leave-one-out, and means that an unlabelled pool gives."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import validate_data

from modtools._checks import check_choice, check_features, check_integer, raise_if_not_finite
from modtools._types import ClassCodes, FloatArray, FloatMatrix
from modtools.exceptions import ModtoolsError
from modtools.outputs._base import OutputModule, check_rows
from modtools.outputs._clusters import find_clusters, held_out_names, name_clusters
from modtools.outputs._folds import row_content
from modtools.outputs._mean_decisions import METRICS, mean_decisions, own_decisions_without
from modtools.outputs._standardize import StandardizedRows

__all__ = ["ClassMeanOutput", "class_mean_leave_one_out", "class_sums", "left_out_decisions"]

# Share of the rows that chance leaves which the clusters must have right.
_LEAST_EVIDENCE = 0.5


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


def class_mean_leave_one_out(
    rows: StandardizedRows,
    codes: ClassCodes,
    n_classes: int,
    groups: ClassCodes | None = None,
    *,
    metric: str = "euclidean",
) -> ClassCodes:
    """Return the class whose mean, computed without the row, is nearest to it.

    A class that loses its only row is never predicted.

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
    metric : {"euclidean", "cosine"}, default="euclidean"
        What is near.

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
    predicted = np.empty(len(codes), dtype=np.intp)
    for place, decisions in left_out_decisions(rows, codes, n_classes, groups, metric=metric):
        predicted[place] = decisions.argmax(axis=1)
    return predicted


def left_out_decisions(
    rows: StandardizedRows,
    codes: ClassCodes,
    n_classes: int,
    groups: ClassCodes | None = None,
    *,
    metric: str = "euclidean",
) -> Iterator[tuple[slice, FloatMatrix]]:
    """Yield (rows, their decision for each class); as `class_mean_leave_one_out` otherwise.

    >>> rows = StandardizedRows.of(np.array([[0.0], [1.0], [4.0], [5.0]]), rescale=False)
    >>> next(left_out_decisions(rows, np.array([0, 0, 1, 1]), 2))[1][0]
    array([ -1.  , -20.25])
    """
    sums, counts = class_sums(rows, codes, n_classes), np.bincount(codes, minlength=n_classes)
    if groups is not None:
        yield slice(0, len(codes)), _leave_groups_out(rows, codes, sums, groups, metric)
        return
    means = sums / counts[:, None]
    for block_rows, block in rows.blocks():
        decisions, true = mean_decisions(block, means, metric), codes[block_rows]
        # Without the row only the mean of its own class is another.
        without = own_decisions_without(block, sums[true], counts[true], metric)
        decisions[np.arange(len(block)), true] = without
        yield block_rows, decisions


def _leave_groups_out(
    rows: StandardizedRows,
    codes: ClassCodes,
    sums: FloatMatrix,
    groups: ClassCodes,
    metric: str,
) -> FloatMatrix:
    """Return the decisions when the means are computed without the row's whole group."""
    dense = rows.dense()
    counts = np.bincount(codes, minlength=len(sums))
    decisions = mean_decisions(dense, sums / counts[:, None], metric)
    order = np.argsort(groups, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        for code in np.unique(codes[members]):
            removed = members[codes[members] == code]
            left = counts[code] - len(removed)
            mean = (sums[code] - dense[removed].sum(axis=0)) / max(left, 1)
            away = mean_decisions(dense[members], mean[None], metric)[:, 0]
            decisions[members, code] = away if left else -np.inf
    return decisions


class ClassMeanOutput(OutputModule):
    """The class whose mean is nearest as an output module, with or without an unlabelled pool.

    With a pool, k-means finds clusters in it without labels and each class takes one of them, so
    that few labels are as good as many where the clusters follow the classes. Whether they do is
    judged by the labels themselves: each cluster is named without a row, and the row is looked up.
    The means of the labelled rows are used instead where less than half of what chance leaves is
    right, or where they are right for more of the rows that are not alone in their class.

    Parameters
    ----------
    standardize : bool, default=True
        Whether columns are divided by their standard deviation; constant columns become 0.
    blocks : sequence of int, optional
        Widths of consecutive blocks of columns, one a module, that are given equal energy: columns
        are standardised, then each block divided by one number. By default all columns are one.
    metric : {"euclidean", "cosine"}, default="euclidean"
        Distance to the mean, or angle between row and mean, both of centred columns.
    pool : array-like of shape (n_pool, n_features), optional
        Features without labels; they also set the standardisation.
    n_classes : int, optional
        Number of all classes and so of clusters in the pool, by default that of the classes with
        labels. A larger number keeps apart the clusters whose class has no label yet.
    random_state : int, default=0
        Seed of the ten starts of k-means (beyond 10,000 rows on as many, drawn at random; all rows
        refine the best) and, beyond 100 labels, of the folds that judge it.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted labels of the classes with a label.
    means_ : ndarray of shape (n_classes, n_features)
        Class means, or the centres of the clusters that the classes took, of the features as
        centred by `mean_` and divided by `scale_`.
    nameless_means_ : ndarray of shape (n_nameless, n_features)
        Centres of the clusters that no class took; empty unless the clusters are used.
    uses_pool_ : bool
        Whether the clusters are used.
    evidence_ : float or None
        How far the clusters follow the classes, from held-out labels: 0 as if by chance, 1 always;
        None without a pool.
    mean_, scale_ : ndarray of shape (n_features,)
        The standardisation; scale 0 marks a constant column, which is ignored.
    n_features_in_ : int
        Number of columns seen by `fit`.

    Examples
    --------
    >>> output = ClassMeanOutput().fit([[0.0], [1.0], [2.0], [3.0]], ["a", "a", "b", "b"])
    >>> output.predict([[0.9], [2.5]]).tolist()
    ['a', 'b']

    Two labels name two of three clusters; the third is known to be neither.

    >>> pool = [[0.0], [1.0], [2.0], [10.0], [11.0], [12.0], [20.0], [21.0]]
    >>> output = ClassMeanOutput(pool=pool, n_classes=3).fit([[2.0], [12.0]], ["a", "b"])
    >>> output.predict([[5.0], [8.0]]).tolist(), output.is_nameless([[5.0], [19.0]]).tolist()
    (['a', 'b'], [False, True])
    """

    def __init__(
        self,
        *,
        standardize: bool = True,
        blocks: Sequence[int] | None = None,
        metric: str = "euclidean",
        pool: Any = None,
        n_classes: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.standardize = standardize
        self.blocks = blocks
        self.metric = metric
        self.pool = pool
        self.n_classes = n_classes
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Compute the class means, or find the clusters of the pool and name them.

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
        self._check_options()
        X, codes = self._check_fit(X, y)
        n_classes = len(self.classes_)
        rows, pool = self._standardized(X)
        self.mean_, self.scale_ = rows.mean, rows.scale
        self.means_ = class_sums(rows, codes, n_classes) / np.bincount(codes)[:, None]
        self.nameless_means_ = np.empty((0, rows.n_features))
        self.uses_pool_, self.evidence_ = False, None
        if pool is not None:
            named = self._named_clusters(rows, codes, n_classes, pool)
            self.uses_pool_, self.evidence_ = named.is_used, named.evidence
        if self.uses_pool_:
            self.means_ = named.centres[named.clusters]
            self.nameless_means_ = np.delete(named.centres, named.clusters, axis=0)
        return self

    def _decide(self, rows: FloatMatrix) -> FloatMatrix:
        return mean_decisions(rows, self.means_, self.metric)

    def nameless_clusters(self, X: ArrayLike) -> ClassCodes:
        """Return the cluster without a name that is nearest to each row, where one is.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples,)
            Position in `nameless_means_`; -1 for a row that is nearest to a named class.
        """
        named = self.decision_values(X).max(axis=1)
        if not len(self.nameless_means_):
            return np.full(len(named), -1)
        features = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        rows = StandardizedRows(features, self.mean_, self.scale_)
        nearness = self._nearness(rows, self.nameless_means_)
        return np.where(nearness.max(axis=1) > named, nearness.argmax(axis=1), -1)

    def is_nameless(self, X: ArrayLike) -> NDArray[np.bool_]:
        """Return whether the cluster nearest to each row is one that no class took.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples,)
            True where `predict` names the nearest class for want of the right one.
        """
        return np.asarray(self.nameless_clusters(X) >= 0)

    def _nearness(self, rows: StandardizedRows, means: FloatMatrix) -> FloatMatrix:
        """Return the decision of each row for each mean (n_samples, n_means), block by block."""
        return np.concatenate([mean_decisions(b, means, self.metric) for _, b in rows.blocks()])

    def leave_one_out(self, X: ArrayLike, y: ArrayLike) -> NDArray[Any]:
        """Return the nearest class mean of each row, computed without that row, exactly.

        The standardisation with all rows is held fixed. Where the clusters of a pool are used, they
        are named without the row, or beyond 100 labels without the row's fold of 100. `fit` is not
        needed before, and nothing is stored.

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
        self._check_options()
        X, classes, codes = check_rows(X, y)
        rows, pool = self._standardized(X)
        if pool is None:
            return np.asarray(classes[self._mean_codes(rows, codes, len(classes))])
        named = self._named_clusters(rows, codes, len(classes), pool)
        return np.asarray(classes[named.held_out])

    def _check_options(self) -> None:
        check_choice(self.metric, METRICS, name="metric")
        check_integer(self.random_state, name="random_state", minimum=0)
        if self.n_classes is not None:
            check_integer(self.n_classes, name="n_classes", minimum=2)
            if self.pool is None:
                raise ModtoolsError("n_classes needs pool=, features without labels; got none.")

    def _standardized(self, X: FloatArray) -> tuple[StandardizedRows, StandardizedRows | None]:
        """Return labelled rows and pool in one standardisation, the pool's if it is there."""
        options: dict[str, Any] = {"rescale": self.standardize, "blocks": self.blocks}
        if self.pool is None:
            return StandardizedRows.of(X, **options), None
        features = check_features(self.pool, name="pool")
        raise_if_not_finite(features, name="pool")
        if features.shape[1] != X.shape[1]:
            raise ModtoolsError(
                f"pool must have the columns of X, {X.shape[1]}; got {features.shape[1]}."
            )
        pool = StandardizedRows.of(features, **options)
        return StandardizedRows(X, pool.mean, pool.scale), pool

    def _mean_codes(self, rows: StandardizedRows, codes: ClassCodes, n_classes: int) -> ClassCodes:
        return class_mean_leave_one_out(rows, codes, n_classes, metric=self.metric)

    def _named_clusters(
        self, rows: StandardizedRows, codes: ClassCodes, n_classes: int, pool: StandardizedRows
    ) -> "_NamedClusters":
        """Find the clusters, name them, and judge them beside the class means."""
        n_clusters = self.n_classes or n_classes
        if not n_classes <= n_clusters <= len(pool):
            raise ModtoolsError(
                f"n_classes must lie between the {n_classes} classes of y and the {len(pool)} rows"
                f" of pool; got {n_clusters}."
            )
        centres = find_clusters(pool, n_clusters, metric=self.metric, seed=self.random_state)
        decisions = self._nearness(rows, centres)
        held_out = held_out_names(
            decisions, codes, n_classes, seed=self.random_state, content=row_content(rows)
        )
        means = self._mean_codes(rows, codes, n_classes)
        # Without its only row a class has no mean, so lone rows cannot compare the two.
        compared = np.bincount(codes)[codes] > 1
        is_used = held_out.evidence >= _LEAST_EVIDENCE and bool(
            np.sum(held_out.is_right[compared]) >= np.sum((means == codes)[compared])
        )
        return _NamedClusters(
            centres,
            name_clusters(decisions, codes, n_classes),
            held_out.codes if is_used else means,
            held_out.evidence,
            is_used,
        )


class _NamedClusters(NamedTuple):
    """Centres, the cluster of each class, held-out classes of the rows, and the judgement."""

    centres: FloatMatrix
    clusters: ClassCodes
    held_out: ClassCodes
    evidence: float
    is_used: bool
