"""Nearest class mean: fit, exact leave-one-out, and means from clusters of unlabelled examples."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import validate_data

from modtools._checks import check_choice, check_features, check_integer, raise_if_not_finite
from modtools._types import ClassCodes, FloatArray, FloatMatrix
from modtools.exceptions import ModtoolsError
from modtools.outputs._base import FLOATS, OutputModule, check_rows
from modtools.outputs._clusters import assign_clusters, find_clusters, judge_clusters
from modtools.outputs._folds import row_content
from modtools.outputs._mean_decisions import METRICS, mean_decisions, own_decisions_without
from modtools.outputs._standardize import StandardizedRows

__all__ = ["ClassMeanOutput", "class_mean_leave_one_out", "class_sums", "left_out_decisions"]

# Agreement beyond chance (Cohen's kappa) that the clusters must reach to be used.
_LEAST_EVIDENCE = 0.5


def class_sums(rows: StandardizedRows, codes: ClassCodes, n_classes: int) -> FloatMatrix:
    """Return the sum of the standardised examples of each class (n_classes, n_features).

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
    """Return the class whose mean, computed without the example, is nearest to it.

    A class that loses its only example is never predicted.

    Parameters
    ----------
    rows : StandardizedRows
        Features.
    codes : ndarray of shape (n_samples,)
        Class of each example, every class present.
    n_classes : int
        Number of classes.
    groups : ndarray of shape (n_samples,), optional
        Group of each example; its whole group is left out with it.
    metric : {"euclidean", "cosine"}, default="euclidean"
        How nearness is measured.

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
    """Yield (examples, their decision for each class), as `class_mean_leave_one_out` otherwise.

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
        # Without the example only the mean of its own class changes.
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
    """Return the decisions when the means are computed without the whole group of an example."""
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
    """The class whose mean is nearest as an output module, with or without unlabelled examples.

    With unlabelled examples, k-means finds clusters in them and each class is assigned one, so that
    few labels are as good as many where the clusters follow the classes. Whether they do is judged
    by leave-one-out: clusters are assigned without a labelled example, and its own is looked up.
    The means of the labelled examples are used instead where agreement beyond chance is less than
    one half, or where class means predict more of the examples that are not singletons of their
    class.

    Parameters
    ----------
    standardize : bool, default=True
        Whether columns are divided by their standard deviation; constant columns become 0.
    blocks : sequence of int, optional
        Widths of consecutive blocks of columns, one per module, that are given equal energy:
        columns are standardised, then each block divided by one number. By default all columns are
        one.
    metric : {"euclidean", "cosine"}, default="euclidean"
        Distance to the mean, or angle between example and mean, both of centred columns.
    n_classes : int, optional
        Number of all classes, and so of clusters among the unlabelled examples; by default that of
        the classes with labels. A larger number keeps apart the clusters of classes that have no
        labelled example.
    random_state : int, default=0
        Seed of the ten starts of k-means (beyond 10,000 examples on a random sample of as many; the
        best start is refined on all) and, beyond 100 labels, of the folds that judge it.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted labels of the classes with a labelled example.
    means_ : ndarray of shape (n_classes, n_features)
        Class means, or the centres of the clusters assigned to the classes, of the features as
        centred by `mean_` and divided by `scale_`.
    unassigned_means_ : ndarray of shape (n_unassigned, n_features)
        Centres of the clusters that are assigned to no class; empty unless the clusters are used.
    uses_clusters_ : bool
        Whether the clusters are used.
    evidence_ : float or None
        How far the clusters follow the classes, from held-out labels: 0 as by chance, 1 always;
        None without unlabelled examples.
    mean_, scale_ : ndarray of shape (n_features,)
        The standardisation; scale 0 marks a constant column, which is ignored.
    n_features_in_ : int
        Number of columns seen by `fit`.

    Examples
    --------
    >>> output = ClassMeanOutput().fit([[0.0], [1.0], [2.0], [3.0]], ["a", "a", "b", "b"])
    >>> output.predict([[0.9], [2.5]]).tolist()
    ['a', 'b']

    With two labels, two of three clusters are assigned; the third is known to be neither class.

    >>> unlabelled = [[0.0], [1.0], [2.0], [10.0], [11.0], [12.0], [20.0], [21.0]]
    >>> output = ClassMeanOutput(n_classes=3).fit([[2.0], [12.0]], ["a", "b"], unlabelled)
    >>> output.predict([[5.0], [8.0]]).tolist(), output.is_unassigned([[5.0], [19.0]]).tolist()
    (['a', 'b'], [False, True])
    """

    def __init__(
        self,
        *,
        standardize: bool = True,
        blocks: Sequence[int] | None = None,
        metric: str = "euclidean",
        n_classes: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.standardize = standardize
        self.blocks = blocks
        self.metric = metric
        self.n_classes = n_classes
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, unlabelled: ArrayLike | None = None) -> Self:
        """Compute the class means, or find clusters of the unlabelled examples and assign them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,)
            Class labels.
        unlabelled : array-like of shape (n_unlabelled, n_features), optional
            Features without labels; they also set the standardisation. Not kept.

        Returns
        -------
        self : ClassMeanOutput
            The fitted output module.
        """
        self._check_options(unlabelled)
        X, codes = self._check_fit(X, y)
        n_classes = len(self.classes_)
        rows, others = self._standardized(X, unlabelled)
        self.mean_, self.scale_ = rows.mean, rows.scale
        self.means_ = class_sums(rows, codes, n_classes) / np.bincount(codes)[:, None]
        self.unassigned_means_ = np.empty((0, rows.n_features))
        self.uses_clusters_, self.evidence_ = False, None
        if others is not None:
            found = self._assigned_clusters(rows, codes, n_classes, others)
            self.uses_clusters_, self.evidence_ = found.is_used, found.evidence
        if self.uses_clusters_:
            self.means_ = found.centres[found.clusters]
            self.unassigned_means_ = np.delete(found.centres, found.clusters, axis=0)
        return self

    def _decide(self, rows: FloatMatrix) -> FloatMatrix:
        return mean_decisions(rows, self.means_, self.metric)

    def unassigned_clusters(self, X: ArrayLike) -> ClassCodes:
        """Return which cluster without a labelled example each example is nearest to, if any.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples,)
            Position in `unassigned_means_`; -1 for an example that is nearest to one of `classes_`.
        """
        nearest = self.decision_values(X).max(axis=1)
        if not len(self.unassigned_means_):
            return np.full(len(nearest), -1)
        features = validate_data(self, X, dtype=FLOATS, reset=False)
        rows = StandardizedRows(features, self.mean_, self.scale_)
        nearness = self._nearness(rows, self.unassigned_means_)
        return np.where(nearness.max(axis=1) > nearest, nearness.argmax(axis=1), -1)

    def is_unassigned(self, X: ArrayLike) -> NDArray[np.bool_]:
        """Return whether each example is nearest to a cluster without a labelled example.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples,)
            True where the class that `predict` returns is probably wrong, for want of a label.
        """
        return np.asarray(self.unassigned_clusters(X) >= 0)

    def _nearness(self, rows: StandardizedRows, means: FloatMatrix) -> FloatMatrix:
        """Return the decision of each example for each mean (n_samples, n_means)."""
        return np.concatenate([mean_decisions(b, means, self.metric) for _, b in rows.blocks()])

    def leave_one_out(
        self, X: ArrayLike, y: ArrayLike, unlabelled: ArrayLike | None = None
    ) -> NDArray[Any]:
        """Return the nearest class mean of each example, computed without it, exactly.

        The standardisation with all examples is held fixed. Where clusters of unlabelled examples
        are used, they are assigned without the example, or beyond 100 labels without its fold of
        100. `fit` is not needed before, and nothing is stored.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,)
            Class labels.
        unlabelled : array-like of shape (n_unlabelled, n_features), optional
            Features without labels, as in `fit`.

        Returns
        -------
        ndarray of shape (n_samples,)
            Leave-one-out labels; that of a singleton class is always wrong.

        Examples
        --------
        >>> ClassMeanOutput().leave_one_out([[0.0], [1.0], [4.0], [6.0]], [0, 0, 1, 1]).tolist()
        [0, 0, 1, 1]
        """
        self._check_options(unlabelled)
        X, classes, codes = check_rows(X, y)
        rows, others = self._standardized(X, unlabelled)
        if others is None:
            return np.asarray(classes[self._mean_codes(rows, codes, len(classes))])
        found = self._assigned_clusters(rows, codes, len(classes), others)
        return np.asarray(classes[found.held_out])

    def _check_options(self, unlabelled: ArrayLike | None) -> None:
        check_choice(self.metric, METRICS, name="metric")
        check_integer(self.random_state, name="random_state", minimum=0)
        if self.n_classes is not None:
            check_integer(self.n_classes, name="n_classes", minimum=2)
            if unlabelled is None:
                raise ModtoolsError(
                    "n_classes needs unlabelled=, features without labels; got none."
                )

    def _standardized(
        self, X: FloatArray, unlabelled: ArrayLike | None
    ) -> tuple[StandardizedRows, StandardizedRows | None]:
        """Return both in one standardisation: that of the unlabelled rows, if there are any."""
        options: dict[str, Any] = {"rescale": self.standardize, "blocks": self.blocks}
        if unlabelled is None:
            return StandardizedRows.of(X, **options), None
        features = check_features(unlabelled, name="unlabelled")
        raise_if_not_finite(features, name="unlabelled")
        if features.shape[1] != X.shape[1]:
            raise ModtoolsError(
                f"unlabelled must have the columns of X, {X.shape[1]}; got {features.shape[1]}."
            )
        others = StandardizedRows.of(features, **options)
        return StandardizedRows(X, others.mean, others.scale), others

    def _mean_codes(self, rows: StandardizedRows, codes: ClassCodes, n_classes: int) -> ClassCodes:
        return class_mean_leave_one_out(rows, codes, n_classes, metric=self.metric)

    def _assigned_clusters(
        self, rows: StandardizedRows, codes: ClassCodes, n_classes: int, others: StandardizedRows
    ) -> "_AssignedClusters":
        """Find the clusters, assign them to classes, and judge them beside the class means."""
        n_clusters = self.n_classes or n_classes
        if not n_classes <= n_clusters <= len(others):
            raise ModtoolsError(
                f"n_classes must lie between the {n_classes} classes of y and the {len(others)} "
                f"examples in unlabelled; got {n_clusters}."
            )
        centres = find_clusters(others, n_clusters, metric=self.metric, seed=self.random_state)
        decisions = self._nearness(rows, centres)
        judged = judge_clusters(
            decisions, codes, n_classes, seed=self.random_state, content=row_content(rows)
        )
        means = self._mean_codes(rows, codes, n_classes)
        # Without its only example a class has no mean, so singleton classes cannot compare the two.
        compared = np.bincount(codes)[codes] > 1
        is_used = judged.evidence >= _LEAST_EVIDENCE and bool(
            np.sum(judged.is_right[compared]) >= np.sum((means == codes)[compared])
        )
        return _AssignedClusters(
            centres,
            assign_clusters(decisions, codes, n_classes),
            judged.codes if is_used else means,
            judged.evidence,
            is_used,
        )


class _AssignedClusters(NamedTuple):
    """Centres, the cluster of each class, held-out classes of the examples, and the judgement."""

    centres: FloatMatrix
    clusters: ClassCodes
    held_out: ClassCodes
    evidence: float
    is_used: bool
