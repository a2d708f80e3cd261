"""Accuracy, log loss and code length at label counts: what one curve and whole studies share.

The code length is prequential: each label is coded by what the labels before it predict, so that
its sum is a description length of the labels given the features (Dawid, J. R. Statist. Soc. A 147,
1984; Blier & Ollivier, "The description length of deep learning models", NeurIPS 2018).
Probabilities are those of temperature scaling (Guo, Pleiss, Sun & Weinberger, "On calibration of
modern neural networks", ICML 2017), the temperature chosen one step ahead, too.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modtools._types import ClassCodes, FloatMatrix
from modtools.outputs._ridge import alpha_of_evidence, one_hot, ridge_basis
from modtools.outputs._ridge_path import (
    DecisionBlock,
    KernelPath,
    ScatterPath,
    log_spaced_counts,
)
from modtools.outputs._standardize import StandardizedRows, column_moments

__all__ = ["PrequentialCoder", "RidgeCurve", "evaluate_ridge_path", "prequential"]

_ROWS_AT_ONCE = 1024  # times temperatures: what is kept of their losses at a time
_ROUNDING = 1e-12
_TEMPERATURES = 10.0 ** (np.arange(-32, 17) / 16)  # from 0.01 to 10
_NO_TEMPERATURE = 32  # the position of 1
_MOST_EVERY_COUNT = 5000  # examples whose kernel matrix is kept: 200 MB in float64


class RidgeCurve(NamedTuple):
    """How good the ridge classifiers of the first examples are, one entry per label count.

    Attributes
    ----------
    n_labels : ndarray of shape (n_counts,)
        Label counts.
    accuracy, log_loss : ndarray of shape (n_counts,)
        On the test examples; log loss in nats.
    codelength : ndarray of shape (n_counts,)
        Bits of all labels so far.
    temperature : ndarray of shape (n_counts,)
        Divisor of the decision values before the softmax.
    alpha : float
        The absolute ridge penalty alpha.
    decision_error : float
        Largest error of a decision value that comes from float32 products.
    right : ndarray of shape (n_counts, n_test), or None
        Whether each test example is right, where asked for.
    """

    n_labels: NDArray[np.intp]
    accuracy: FloatMatrix
    log_loss: FloatMatrix
    codelength: FloatMatrix
    temperature: FloatMatrix
    alpha: float
    decision_error: float
    right: NDArray[np.bool_] | None


def evaluate_ridge_path(
    rows: StandardizedRows,
    codes: ClassCodes,
    tests: StandardizedRows,
    test_codes: ClassCodes,
    *,
    n_classes: int,
    counts: NDArray[np.intp] | None = None,
    alpha: float | None = None,
    precision: str = "float64",
    with_right: bool = False,
) -> RidgeCurve:
    """Return how good the ridge classifiers of the first examples are at label counts.

    Parameters
    ----------
    rows, tests : StandardizedRows
        Labelled examples in the order in which they are learned, and test examples; one
        standardisation.
    codes, test_codes : ndarray
        Class of each example.
    n_classes : int
        Number of all classes.
    counts : ndarray of int, optional
        Rising label counts; by default every one, or log-spaced ones of many examples.
    alpha : float, optional
        Penalty alpha; by default the one of the largest evidence given all labels.
    precision : {"float64", "float32"}
        Type of the products at every count.
    with_right : bool, default=False
        Whether to return which test examples are right.

    Returns
    -------
    RidgeCurve
        Accuracy, log loss, code length and temperature at each count.

    Examples
    --------
    >>> rows = StandardizedRows.of(np.array([[0.0], [4.0], [1.0], [5.0]]))
    >>> tests = StandardizedRows(np.array([[0.5], [4.5]]), rows.mean, rows.scale)
    >>> counts = np.array([1, 3])
    >>> evaluate_ridge_path(
    ...     rows, np.array([0, 1, 0, 1]), tests, np.array([0, 1]), n_classes=2, counts=counts
    ... ).accuracy.tolist()
    [0.5, 1.0]
    """
    targets = one_hot(codes, n_classes)
    if alpha is None:
        alpha = _alpha_of_labels(rows, targets)
    solved = _solve(rows, targets, alpha, tests, counts=counts, precision=precision)
    # Position m - 1 is after m labels.
    code, at = prequential(solved.one_step_ahead, codes), solved.counts - 1
    is_seen = np.cumsum(targets, axis=0)[at] > 0
    right = np.empty((len(at), len(test_codes)), dtype=np.bool_) if with_right else None
    accuracy, log_loss = _evaluate(solved, code.temperatures[at], is_seen, test_codes, right)
    return RidgeCurve(
        n_labels=solved.counts,
        accuracy=accuracy,
        log_loss=log_loss,
        codelength=np.cumsum(code.bits)[at],
        temperature=code.temperatures[at],
        alpha=alpha,
        decision_error=solved.decision_error,
        right=right,
    )


class _Solved(NamedTuple):
    """Label counts, one-step-ahead predictions, decisions on test examples, their largest error."""

    counts: NDArray[np.intp]
    one_step_ahead: FloatMatrix
    blocks: Iterable[DecisionBlock]
    decision_error: float


def _solve(
    rows: StandardizedRows,
    targets: FloatMatrix,
    alpha: float,
    tests: StandardizedRows,
    *,
    counts: NDArray[np.intp] | None,
    precision: str,
) -> _Solved:
    """Solve through the kernel of all examples, or through scatters of too many of them."""
    if len(rows) > max(_MOST_EVERY_COUNT, rows.n_features):
        counts = log_spaced_counts(len(rows)) if counts is None else counts
        scatters = ScatterPath(rows, np.arange(len(rows)), targets, alpha)
        ahead = np.concatenate([predictions for _, predictions in scatters.one_step_ahead()])
        return _Solved(counts, ahead, scatters.decision_blocks(tests, counts), 0.0)
    dense, error = rows.dense(precision), 0.0
    path = KernelPath.of(dense @ dense.T, targets, alpha)
    if precision == "float32":
        weights = path.refined_weights(rows, targets, alpha)
        error = _largest_error(path.decision_blocks(dense, tests), len(rows), tests, *weights)
    blocks = path.decision_blocks(dense, tests, counts)
    counts = np.arange(1, len(rows) + 1) if counts is None else counts
    return _Solved(counts, path.whitened.one_step_ahead(targets), blocks, error)


def _alpha_of_labels(rows: StandardizedRows, targets: FloatMatrix) -> float:
    """Return the alpha of the largest evidence given all labels."""
    present = targets.any(axis=0)
    if np.count_nonzero(present) == 1:
        return float(len(rows))  # the classifier is its intercept, whatever alpha
    # The flat prior of the intercept needs features centred by their own mean, not by another one.
    centred = StandardizedRows(rows.features, column_moments(rows.features)[0], rows.scale)
    return alpha_of_evidence(ridge_basis(centred), targets[:, present])


def _largest_error(
    blocks: Iterable[DecisionBlock],
    n_learned: int,
    tests: StandardizedRows,
    weights: FloatMatrix,
    intercepts: FloatMatrix,
) -> float:
    """Return the largest error of a decision value at the last label count."""
    error = 0.0
    for counts, places, decisions in blocks:
        if counts.stop == n_learned:
            block = StandardizedRows(tests.features[places], tests.mean, tests.scale).dense()
            exact = block @ weights + intercepts
            error = max(error, float(np.abs(decisions[:, -1].T - exact).max()))
    return error


def _evaluate(
    solved: _Solved,
    temperatures: FloatMatrix,
    is_seen: NDArray[np.bool_],
    codes: ClassCodes,
    right: NDArray[np.bool_] | None,
) -> tuple[FloatMatrix, FloatMatrix]:
    """Return accuracy and log loss at each count, and fill in which test examples are right."""
    hits, nats = np.zeros(len(is_seen)), np.zeros(len(is_seen))
    shares = 1 / (solved.counts + 1)
    for at, places, decisions in solved.blocks:
        # A class without a label so far is never predicted.
        if not is_seen[at].all():
            decisions[~is_seen[at].T] = -np.inf
        true, best = codes[places], decisions.max(axis=0)
        of_true = decisions[true, :, np.arange(len(true))].T
        is_right = of_true == best
        _lose_ties(is_right, decisions, best, true)
        hits[at] += is_right.sum(axis=1)
        if right is not None:
            right[at, places] = is_right
        likelihoods = _likelihoods(of_true, decisions, best, 1 / temperatures[at][:, None])
        share = shares[at][:, None].astype(np.float32)
        # The share of all classes keeps the loss of one without a label finite.
        likelihoods *= 1 - share
        likelihoods += share / is_seen.shape[1]
        nats[at] -= np.log(likelihoods, out=likelihoods).sum(axis=1, dtype=np.float64)
    return hits / len(codes), nats / len(codes)


def _lose_ties(
    is_right: NDArray[np.bool_], decisions: NDArray[Any], best: NDArray[Any], codes: ClassCodes
) -> None:
    """Count as wrong where an earlier class has the same value: the first one wins."""
    is_best = decisions == best
    if np.count_nonzero(is_best) == best.size:
        return
    for code in range(len(decisions) - 1):
        is_right &= ~is_best[code] | (codes <= code)


def _likelihoods(
    of_true: NDArray[Any], decisions: NDArray[Any], best: NDArray[Any], coldness: FloatMatrix
) -> NDArray[np.float32]:
    """Return the softmax of the true class among the decisions, which are overwritten.

    In single precision exponentials take a quarter of the time. The decisions have been compared
    already, and the log loss moves by less than 1e-6.
    """
    decisions -= best
    decisions *= coldness
    exponents = (of_true - best) * coldness
    with np.errstate(over="ignore"):  # minus infinity is right for a class of tiny probability
        terms, part = decisions.astype(np.float32), exponents.astype(np.float32)
    return np.asarray(np.exp(part, out=part) / np.exp(terms, out=terms).sum(axis=0))


class Prequential(NamedTuple):
    """How well labels were predicted one step ahead.

    Attributes
    ----------
    bits : ndarray of shape (n_samples,)
        Code length of each label given the labels before it.
    temperatures : ndarray of shape (n_samples,)
        Temperature after 1, ..., n labels.
    """

    bits: FloatMatrix
    temperatures: FloatMatrix


def prequential(predictions: FloatMatrix, codes: ClassCodes) -> Prequential:
    """Return code lengths and temperatures of one-step-ahead predictions.

    Probabilities are softmax(prediction / T) over the classes seen so far, T the one of smallest
    loss on the labels before (1 for fewer labels than classes); after m labels the share 1/(m+1)
    is spread evenly over all classes, so that a new class costs finitely many bits.

    Parameters
    ----------
    predictions : ndarray of shape (n_samples, n_classes)
        One-step-ahead decision values.
    codes : ndarray of shape (n_samples,)
        Class codes in the same order.

    Returns
    -------
    Prequential
        Bits of each label and the temperature after it.

    Examples
    --------
    >>> prequential(np.zeros((2, 2)), np.array([0, 0])).bits
    array([1.   , 0.4150...])
    """
    parts, coder = [], PrequentialCoder(predictions.shape[1])
    for start in range(0, len(codes), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        parts.append(coder.encode(predictions[rows], codes[rows]))
    return Prequential(*(np.concatenate(kind) for kind in zip(*parts, strict=True)))


class PrequentialCoder:
    """What `prequential` returns, block by block; it keeps the code length of the labels so far.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    """

    def __init__(self, n_classes: int) -> None:
        self._counts = np.zeros(n_classes, dtype=np.intp)
        self._losses = np.zeros(len(_TEMPERATURES))

    def encode(self, predictions: FloatMatrix, codes: ClassCodes) -> Prequential:
        """Return bits and temperatures of the next labels, as `prequential` does.

        >>> coder = PrequentialCoder(2)
        >>> blocks = [coder.encode(np.zeros((1, 2)), np.array([0])) for _ in range(2)]
        >>> [float(block.bits[0].round(4)) for block in blocks]
        [1.0, 0.415]
        """
        n_known, n_classes = int(self._counts.sum()), len(self._counts)
        losses = self._losses_of(predictions, codes)
        running = np.cumsum(np.vstack([self._losses, losses]), axis=0)
        # Losses that differ by rounding are ties, which the smallest temperature wins.
        smallest = running.min(axis=1, keepdims=True)
        best = (running <= smallest * (1 + _ROUNDING)).argmax(axis=1)
        best[np.arange(n_known, n_known + len(best)) < n_classes] = _NO_TEMPERATURE
        self._losses = running[-1]
        self._counts += np.bincount(codes, minlength=n_classes)
        # Each label is coded at the temperature that was best before it.
        bits = losses[np.arange(len(codes)), best[:-1]]
        return Prequential(bits, _TEMPERATURES[best[1:]])

    def _losses_of(self, predictions: FloatMatrix, codes: ClassCodes) -> FloatMatrix:
        """Return the code length of each label at each temperature."""
        counts = np.vstack([self._counts, one_hot(codes, len(self._counts))[:-1]])
        decisions = np.where(np.cumsum(counts, axis=0) > 0, predictions, -np.inf)
        if not self._counts.any():
            decisions[0] = 0  # before any label all classes are equal
        decisions = np.ascontiguousarray(decisions.T)  # sums over few classes are slow along rows
        decisions -= decisions.max(axis=0)
        of_true = decisions[codes, np.arange(len(codes))]
        share = 1 / (self._counts.sum() + np.arange(1, len(codes) + 1))
        right, powers = np.empty((len(_TEMPERATURES), len(codes))), np.empty_like(decisions)
        for row, temperature in zip(right, _TEMPERATURES, strict=True):
            np.exp(np.divide(decisions, temperature, out=powers), out=powers)
            np.divide(np.exp(of_true / temperature), powers.sum(axis=0), out=row)
        return np.asarray(-np.log2((1 - share) * right + share / len(self._counts)).T)
