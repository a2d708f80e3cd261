"""`learning_curve`: what each label is worth, from one factorisation."""

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modtools._validation import (
    FloatArray,
    check_features,
    check_integer,
    check_lengths,
    check_positive,
    raise_if_not_finite,
)
from modtools.exceptions import ModtoolsError
from modtools.outputs._base import ClassCodes, FloatMatrix
from modtools.outputs._chain import RidgeChain, prequential, strength_of_evidence
from modtools.outputs._ridge import one_hot, ridge_basis
from modtools.outputs._standardize import StandardizedRows, column_moments
from modtools.retraining._curve import LearningCurve
from modtools.retraining._every_count import DecisionBlock, EveryCount
from modtools.retraining._log_spaced import LogSpaced, log_spaced_counts
from modtools.tasks._labels import encode_labels

__all__ = ["learning_curve"]

_MOST_EVERY_COUNT = 5000  # rows whose kernel matrix is kept: 200 MB in float64


def learning_curve(
    features: ArrayLike,
    labels: ArrayLike,
    test_features: ArrayLike,
    test_labels: ArrayLike,
    *,
    strength: float | None = None,
    seed: int | None = None,
    pool: ArrayLike | None = None,
    dtype: Any = np.float64,
) -> LearningCurve:
    """Return accuracy, log loss and code length of the first m labels for every m, exactly.

    The output module is the ridge machine with intercept on one-hot targets, of one absolute
    strength and one standardisation for the whole curve; its decision values at m labels are those
    of `RidgeOutput(strength=strength, standardize=False)` fitted on the first m rows, standardised.
    One factorisation gives them all. A class without a label so far is never predicted.
    Probabilities are softmax(decision / T), T the one that would have suited the labels so far when
    each was predicted from those before it (1 for fewer labels than classes); after m labels the
    share 1/(m+1) is spread evenly over all classes, so that a class not yet seen costs finitely
    much. More than 5000 rows (and more rows than columns) are evaluated at log-spaced counts.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Features of the labelled rows, in the order in which they are labelled; not changed.
    labels : array-like of shape (n_samples,)
        Their classes, at least two.
    test_features : array-like of shape (n_test, n_features)
        Features that the curve is measured on; nothing is learned from them.
    test_labels : array-like of shape (n_test,)
        Their classes; a class that no label names counts as an error.
    strength : float, optional
        Penalty added to the scatter of the standardised rows. By default the one of n * 10^k,
        k = -6, -5.5, ..., 2, with the largest Gaussian evidence given all labels.
    seed : int, optional
        Seed of a random order; by default the order given.
    pool : array-like of shape (n_pool, n_features), optional
        Rows, labelled or not, that give the standardisation instead of `features`.
    dtype : {float64, float32}, default=float64
        Type of the products at every count. With float32 the largest error of a decision value is
        measured (`decision_error`). Log-spaced counts are computed in float64 always.

    Returns
    -------
    LearningCurve
        The curve.

    Raises
    ------
    ModtoolsError
        Bad features or labels, fewer than two classes, features that do not vary, or a strength too
        small for the precision.

    Examples
    --------
    >>> features = np.array([[0.0], [4.0], [1.0], [5.0]])
    >>> curve = learning_curve(features, ["a", "b", "a", "b"], [[0.5], [4.5]], ["a", "b"])
    >>> curve.n_labels.tolist(), curve.accuracy.tolist()
    ([1, 2, 3, 4], [0.5, 1.0, 1.0, 1.0])
    """
    started = time.perf_counter()
    learned, tests = _checked(features, "features", 2), _checked(test_features, "test_features", 1)
    classes, codes, test_codes = _encode(labels, test_labels)
    _check_lengths(learned, codes, tests, test_codes)
    rows, precision = _standardized(learned, tests, pool), _check_dtype(dtype)
    given = None if strength is None else check_positive(strength, name="strength")
    order = _order(len(codes), seed)
    codes, ordered = codes[order], StandardizedRows(learned[order], rows.mean, rows.scale)
    targets = one_hot(codes, len(classes))
    own = given or _evidence(ordered, targets)
    machines = _Machines.of(ordered, targets, own, tests, precision)
    chain, at = prequential(machines.ahead, codes), machines.counts - 1
    seen = np.cumsum(targets, axis=0)[at] > 0
    accuracy, log_loss = _evaluate(machines, chain.temperatures[at], seen, test_codes)
    return LearningCurve(
        n_labels=machines.counts,
        accuracy=accuracy,
        log_loss=log_loss,
        codelength=np.cumsum(chain.bits)[at],
        temperature=chain.temperatures[at],
        strength=own,
        mean_=rows.mean,
        scale_=rows.scale,
        classes=classes,
        n_test=len(tests),
        decision_error=machines.error,
        settings={"strength": strength, "seed": seed, "pool": pool is not None, "dtype": precision},
        seconds=time.perf_counter() - started,
    )


class _Machines(NamedTuple):
    """Label counts, one-step-ahead predictions, decisions on test rows, their measured error."""

    counts: NDArray[np.intp]
    ahead: FloatMatrix
    blocks: Iterable[DecisionBlock]
    error: float

    @classmethod
    def of(
        cls,
        rows: StandardizedRows,
        targets: FloatMatrix,
        strength: float,
        test_features: FloatArray,
        precision: str,
    ) -> "_Machines":
        order = np.arange(len(rows))
        tests = StandardizedRows(test_features, rows.mean, rows.scale)
        if len(rows) > max(_MOST_EVERY_COUNT, rows.n_features):
            counts = log_spaced_counts(len(rows))
            ahead = RidgeChain.of(rows, strength).predictions(targets, order)
            spaced = LogSpaced(rows, order, targets, strength, counts)
            return cls(counts, ahead, spaced.blocks(tests), 0.0)
        every = EveryCount.of(rows.dense(precision), targets, strength)
        error = 0.0
        if precision == "float32":
            error = _measured_error(every, rows, targets, strength, tests)
        ahead = every.whitened.predictions(targets)
        return cls(order + 1, ahead, every.blocks(tests), error)


def _order(n_samples: int, seed: int | None) -> NDArray[np.intp]:
    """Return the row numbers in the order in which they are learned."""
    if seed is None:
        return np.arange(n_samples)
    seed = check_integer(seed, name="seed", minimum=0)
    return np.random.default_rng(seed).permutation(n_samples)


def _checked(features: Any, name: str, minimum_rows: int) -> FloatArray:
    matrix = check_features(features, name=name, minimum_rows=minimum_rows)
    raise_if_not_finite(matrix, name=name)
    return matrix


def _check_lengths(
    learned: FloatArray, codes: ClassCodes, tests: FloatArray, test_codes: ClassCodes
) -> None:
    check_lengths(features=learned, labels=codes)
    check_lengths(test_features=tests, test_labels=test_codes)


def _check_dtype(dtype: Any) -> str:
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = np.dtype(object)
    if found not in (np.float32, np.float64):
        raise ModtoolsError(f"dtype must be float64 or float32; got {dtype!r}.")
    return str(found)


def _encode(labels: Any, test_labels: Any) -> tuple[NDArray[Any], ClassCodes, ClassCodes]:
    """Return the classes of both, and the codes of each."""
    learned, tested = encode_labels(labels), encode_labels(test_labels)
    for found in (learned, tested):
        if found.kind != "classification":
            raise ModtoolsError(
                f"learning_curve is defined for classification labels; these are {found.kind}."
            )
    if (learned.classes.dtype.kind in "US") != (tested.classes.dtype.kind in "US"):
        raise ModtoolsError(
            "labels and test_labels must be of one type; got "
            f"{learned.classes.dtype} and {tested.classes.dtype}."
        )
    if np.count_nonzero(learned.counts()) < 2:
        raise ModtoolsError("labels must hold at least two classes; all rows are in one.")
    classes = np.union1d(learned.classes, tested.classes)
    codes = [np.searchsorted(classes, found.classes)[found.codes] for found in (learned, tested)]
    return classes, codes[0], codes[1]


def _standardized(learned: FloatArray, tests: FloatArray, pool: Any) -> StandardizedRows:
    """Return the labelled rows with their standardisation, all checked against each other."""
    source = learned if pool is None else _checked(pool, "pool", 2)
    for name, matrix in (("test_features", tests), ("pool", source)):
        if matrix.shape[1] != learned.shape[1]:
            raise ModtoolsError(
                f"{name} must have the {learned.shape[1]} columns of features; "
                f"got {matrix.shape[1]}."
            )
    rows = StandardizedRows(learned, *column_moments(source))
    if rows.n_varying == 0:
        raise ModtoolsError(
            "features must vary; every column is constant, so no label can teach anything. "
            "Check the module and its tap."
        )
    return rows


def _evidence(rows: StandardizedRows, targets: FloatMatrix) -> float:
    """Return the strength of the largest evidence given all labels."""
    # The flat prior of the intercept needs rows centred by their own mean, not by the pool's.
    centred = StandardizedRows(rows.features, column_moments(rows.features)[0], rows.scale)
    return strength_of_evidence(ridge_basis(centred), targets[:, targets.any(axis=0)])


def _measured_error(
    every: EveryCount,
    learned: StandardizedRows,
    targets: FloatMatrix,
    strength: float,
    tests: StandardizedRows,
) -> float:
    """Return the largest error of a decision value at the last label count."""
    weights, intercepts = every.refined(learned, targets, strength)
    error = 0.0
    for counts, place, decisions in every.blocks(tests):
        if counts.stop == len(learned):
            own = StandardizedRows(tests.features[place], tests.mean, tests.scale)
            exact = own.dense() @ weights + intercepts
            error = max(error, float(np.abs(decisions[:, -1].T - exact).max()))
    return error


def _evaluate(
    machines: _Machines,
    temperatures: FloatMatrix,
    seen: NDArray[np.bool_],
    codes: ClassCodes,
) -> tuple[FloatMatrix, FloatMatrix]:
    """Return accuracy and log loss at each label count."""
    hits, nats = np.zeros(len(seen)), np.zeros(len(seen))
    shares = 1 / (machines.counts + 1)
    for at, place, decisions in machines.blocks:
        decisions[~seen[at].T] = -np.inf
        best, winners = _largest(decisions)
        own = codes[place]
        hits[at] += (winners == own).sum(axis=1)
        decisions -= best
        decisions /= temperatures[at][:, None].astype(decisions.dtype)
        np.exp(decisions, out=decisions)
        right = decisions[own, :, np.arange(len(own))].T / decisions.sum(axis=0)
        share = shares[at][:, None]
        nats[at] -= np.log((1 - share) * right + share / seen.shape[1]).sum(axis=1)
    return hits / len(codes), nats / len(codes)


def _largest(decisions: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return the largest value over the first axis and where it is, ties to the first.

    Class by class over whole blocks: argmax along so short an axis is several times slower.
    """
    best, winners = decisions[0].copy(), np.zeros(decisions.shape[1:], dtype=np.intp)
    for code in range(1, len(decisions)):
        np.copyto(winners, code, where=decisions[code] > best)
        np.maximum(best, decisions[code], out=best)
    return best, winners
