"""Clusters of unlabelled examples, assigned to classes by few labels, and how well they fit.

Each class is assigned one cluster, so that ten labels assign ten clusters even where two labelled
examples lie in the same one; the other clusters stay unassigned. k-means stays fast with many
examples: its starts are compared on a sample of them.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning

from modtools._types import ClassCodes, FloatArray, FloatMatrix
from modtools.outputs._folds import RowContent, row_content, stratified_folds
from modtools.outputs._mean_decisions import unit_rows
from modtools.outputs._standardize import StandardizedRows

__all__ = ["HeldOutClusters", "assign_clusters", "find_clusters", "judge_clusters", "kmeans"]

_N_STARTS = 10
# The best of ten starts is as good when found on this many examples, and all refine it.
_MOST_ROWS_OF_STARTS = 10_000
# With more clusters, mini-batches move the centres, as in the code of TypiClust.
_MOST_EXACT_CLUSTERS = 50
_N_BATCH_STARTS = 3
# Up to this many labels each is left out on its own; more are left out in as many folds.
_LARGEST_LEAVE_ONE_OUT = 100


def kmeans(rows: FloatArray, n_clusters: int, *, seed: int = 0) -> tuple[FloatArray, ClassCodes]:
    """Return the centres of k-means and the cluster of each row.

    Up to 50 clusters, the best of ten starts; with more than 10,000 rows the starts are run on a
    random sample of as many, and the best one is continued with all rows. Beyond 50 clusters, the
    best of three starts of mini-batch k-means.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        Rows whose squares stay in the range of their type, which is that of the arithmetic; not
        changed.
    n_clusters : int
        Number of clusters, at most the number of rows.
    seed : int, default=0
        Seed of the sample and of the starts.

    Returns
    -------
    centres : ndarray of shape (n_clusters, n_features)
        Fewer are distinct where fewer rows are.
    clusters : ndarray of shape (n_samples,)
        Position of the nearest centre.

    Examples
    --------
    >>> centres, clusters = kmeans(np.array([[0.0], [1.0], [9.0], [10.0]]), 2)
    >>> np.sort(centres, axis=0).ravel().tolist()
    [0.5, 9.5]
    >>> np.flatnonzero(clusters == clusters[0]).tolist()
    [0, 1]
    """
    with warnings.catch_warnings():
        # Fewer distinct rows than clusters: some centres coincide, which callers allow for.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = _fit(rows, n_clusters, seed)
    return np.asarray(fitted.cluster_centers_), np.asarray(fitted.labels_, dtype=np.intp)


def _fit(rows: FloatArray, n_clusters: int, seed: int) -> KMeans | MiniBatchKMeans:
    if n_clusters > _MOST_EXACT_CLUSTERS:
        return MiniBatchKMeans(n_clusters, n_init=_N_BATCH_STARTS, random_state=seed).fit(rows)
    starts = KMeans(n_clusters, n_init=_N_STARTS, random_state=seed)
    if len(rows) <= _MOST_ROWS_OF_STARTS:
        return starts.fit(rows)
    sample: NDArray[np.intp] = np.random.default_rng(seed).permutation(len(rows))
    centres = starts.fit(rows[np.sort(sample[:_MOST_ROWS_OF_STARTS])]).cluster_centers_
    return KMeans(n_clusters, init=centres, n_init=1, random_state=seed).fit(rows)


def find_clusters(
    rows: StandardizedRows, n_clusters: int, *, metric: str = "euclidean", seed: int = 0
) -> FloatMatrix:
    """Return the centres that k-means finds (n_clusters, n_features).

    Parameters
    ----------
    rows : StandardizedRows
        Unlabelled examples, at least `n_clusters`.
    n_clusters : int
        Number of clusters.
    metric : {"euclidean", "cosine"}, default="euclidean"
        With "cosine" the rows are divided by their lengths first.
    seed : int, default=0
        Seed of the starts, which follow the content of the rows, not their order.

    Returns
    -------
    ndarray of shape (n_clusters, n_features)
        Centres; fewer than `n_clusters` are distinct where fewer rows are.

    Examples
    --------
    >>> rows = StandardizedRows.of(np.array([[0.0], [1.0], [9.0], [10.0]]), rescale=False)
    >>> np.sort(find_clusters(rows, 2), axis=0)
    array([[-4.5],
           [ 4.5]])
    """
    # In the type of the features: a float64 copy of many examples would be the largest array.
    dense: NDArray[Any] = np.empty_like(rows.features)
    places = np.argsort(row_content(rows).order(np.zeros(len(rows), dtype=np.intp)))
    for place, block in rows.blocks():
        dense[places[place]] = block
    # Divided by one number, squares of very small and very large float32 values stay in range.
    unit = max(float(dense.max()), -float(dense.min())) or 1.0
    dense /= unit
    if metric == "cosine":
        dense, unit = unit_rows(dense), 1.0
    centres, _ = kmeans(dense, n_clusters, seed=seed)
    return np.asarray(unit * centres.astype(np.float64))


def assign_clusters(decisions: FloatMatrix, codes: ClassCodes, n_classes: int) -> ClassCodes:
    """Return the cluster of each class, a different one each, that fits the labelled examples best.

    Parameters
    ----------
    decisions : ndarray of shape (n_samples, n_clusters)
        Nearness of each labelled example to each cluster.
    codes : ndarray of shape (n_samples,)
        Class of each example.
    n_classes : int
        Number of classes, at most the number of clusters.

    Returns
    -------
    ndarray of shape (n_classes,)
        Clusters with the largest sum of the decisions of all examples for that of their class.

    Examples
    --------
    >>> assign_clusters(np.array([[-1.0, -4.0], [-2.0, -3.0]]), np.array([0, 1]), 2)
    array([0, 1])
    """
    return _assign(_votes(decisions, codes, n_classes))


def _votes(decisions: FloatMatrix, codes: ClassCodes, n_classes: int) -> FloatMatrix:
    """Return the decisions summed over the examples of each class (n_classes, n_clusters)."""
    votes = np.zeros((n_classes, decisions.shape[1]))
    np.add.at(votes, codes, decisions)
    return votes


def _assign(votes: FloatMatrix) -> ClassCodes:
    return np.asarray(linear_sum_assignment(votes, maximize=True)[1])


class HeldOutClusters(NamedTuple):
    """How clusters that were assigned without an example predict it.

    Attributes
    ----------
    codes : ndarray of shape (n_samples,)
        Class of the nearest cluster that is assigned without the example.
    is_right : ndarray of shape (n_samples,)
        Whether the example lies in the cluster of its class; for a singleton class, whether it lies
        in a cluster that the other examples leave unassigned.
    evidence : float
        How far `is_right` exceeds what clusters without relation to the classes would give: 0 for
        such clusters, 1 where every example is right.
    """

    codes: ClassCodes
    is_right: NDArray[np.bool_]
    evidence: float


def judge_clusters(
    decisions: FloatMatrix,
    codes: ClassCodes,
    n_classes: int,
    *,
    seed: int = 0,
    content: RowContent | None = None,
) -> HeldOutClusters:
    """Assign the clusters without each example in turn, and see whether it lies in its own.

    Parameters
    ----------
    decisions : ndarray of shape (n_samples, n_clusters)
        Nearness of each labelled example to each cluster.
    codes : ndarray of shape (n_samples,)
        Class of each example.
    n_classes : int
        Number of classes, at least two and at most the number of clusters.
    seed : int, default=0
        Seed of the folds that replace leave-one-out where there are more than 100 examples.
    content : RowContent, optional
        What the folds follow; by default the order of the examples.

    Returns
    -------
    HeldOutClusters
        Held-out classes, which are right, and the evidence.

    Examples
    --------
    >>> judge_clusters(np.array([[0.0, -9.0], [-9.0, 0.0]]), np.array([0, 1]), 2).evidence
    1.0
    """
    n_clusters = decisions.shape[1]
    n_folds = min(len(codes), _LARGEST_LEAVE_ONE_OUT)
    folds = stratified_folds(codes, n_folds, seed, content=content)
    votes, counts = _votes(decisions, codes, n_classes), np.bincount(codes, minlength=n_classes)
    nearest, predicted = decisions.argmax(axis=1), np.empty_like(codes)
    is_right, chance = np.zeros(len(codes), dtype=bool), np.full(len(codes), 1 / n_clusters)
    for fold in range(folds.max() + 1):
        held = np.flatnonzero(folds == fold)
        true = codes[held]
        left = counts - np.bincount(true, minlength=n_classes)
        known = np.flatnonzero(left)
        clusters = _assign((votes - _votes(decisions[held], true, n_classes))[known])
        owners = np.full(n_clusters, -1)
        owners[clusters] = known
        predicted[held] = known[decisions[np.ix_(held, clusters)].argmax(axis=1)]
        expected = np.where(left[true] > 0, true, -1)
        is_right[held] = owners[nearest[held]] == expected
        # A singleton class is right in any unassigned cluster, so by chance in their share.
        chance[held[left[true] == 0]] = np.mean(owners < 0)
    # Agreement beyond chance, as a share of what chance leaves (Cohen's kappa, 1960).
    evidence = (is_right.mean() - chance.mean()) / (1 - chance.mean())
    return HeldOutClusters(predicted, is_right, float(evidence))
