"""Accuracy, log loss and code length at label counts: what one curve and whole studies share."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modtools._types import ClassCodes, FloatMatrix
from modtools.outputs._ridge import one_hot, ridge_basis, strength_of_evidence
from modtools.outputs._ridge_path import (
    DecisionBlock,
    EveryCount,
    LogSpaced,
    RidgeChain,
    log_spaced_counts,
)
from modtools.outputs._standardize import StandardizedRows, column_moments

__all__ = ["CodeTeller", "Prequential", "Trace", "prequential", "trace"]

_ROWS_AT_ONCE = 1024
_ROUNDING = 1e-12
_TEMPERATURES = 10.0 ** (np.arange(-32, 17) / 16)
_NO_TEMPERATURE = 32  # the position of 1
_MOST_EVERY_COUNT = 5000  # rows whose kernel matrix is kept: 200 MB in float64


class Trace(NamedTuple):
    """How the ridge machines of the first rows do, one entry a label count.

    Attributes
    ----------
    n_labels : ndarray of shape (n_counts,)
        Label counts.
    accuracy, log_loss : ndarray of shape (n_counts,)
        On the test rows; log loss in nats.
    codelength : ndarray of shape (n_counts,)
        Bits of all labels so far.
    temperature : ndarray of shape (n_counts,)
        Divisor of the decision values before the softmax.
    strength : float
        The absolute ridge strength.
    decision_error : float
        Largest error of a decision value that comes from float32 products.
    right : ndarray of shape (n_counts, n_test), or None
        Whether each test row is right, where asked for.
    """

    n_labels: NDArray[np.intp]
    accuracy: FloatMatrix
    log_loss: FloatMatrix
    codelength: FloatMatrix
    temperature: FloatMatrix
    strength: float
    decision_error: float
    right: NDArray[np.bool_] | None


def trace(
    rows: StandardizedRows,
    codes: ClassCodes,
    tests: StandardizedRows,
    test_codes: ClassCodes,
    *,
    n_classes: int,
    counts: NDArray[np.intp] | None = None,
    strength: float | None = None,
    precision: str = "float64",
    with_right: bool = False,
) -> Trace:
    """Return how the machines of the first 1, ..., n rows do, or of the first `counts` rows.

    Parameters
    ----------
    rows, tests : StandardizedRows
        Labelled rows in the order in which they are learned, and test rows; one standardisation.
    codes, test_codes : ndarray
        Class of each row.
    n_classes : int
        Number of all classes.
    counts : ndarray of int, optional
        Rising label counts; by default every one, or log-spaced ones of many rows.
    strength : float, optional
        Ridge strength; by default the one of the largest evidence given all labels.
    precision : {"float64", "float32"}
        Type of the products at every count.
    with_right : bool, default=False
        Whether to return which test rows are right.

    Examples
    --------
    >>> rows = StandardizedRows.of(np.array([[0.0], [4.0], [1.0], [5.0]]))
    >>> tests = StandardizedRows(np.array([[0.5], [4.5]]), rows.mean, rows.scale)
    >>> codes, test_codes = np.array([0, 1, 0, 1]), np.array([0, 1])
    >>> found = trace(rows, codes, tests, test_codes, n_classes=2, counts=np.array([1, 3]))
    >>> found.accuracy.tolist()
    [0.5, 1.0]
    """
    targets = one_hot(codes, n_classes)
    own = strength or _evidence(rows, targets)
    machines = _Machines.of(rows, targets, own, tests, counts=counts, precision=precision)
    chain, at = prequential(machines.ahead, codes), machines.counts - 1
    seen = np.cumsum(targets, axis=0)[at] > 0
    right = np.empty((len(at), len(test_codes)), dtype=np.bool_) if with_right else None
    accuracy, log_loss = _evaluate(machines, chain.temperatures[at], seen, test_codes, right)
    return Trace(
        n_labels=machines.counts,
        accuracy=accuracy,
        log_loss=log_loss,
        codelength=np.cumsum(chain.bits)[at],
        temperature=chain.temperatures[at],
        strength=own,
        decision_error=machines.error,
        right=right,
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
        tests: StandardizedRows,
        *,
        counts: NDArray[np.intp] | None,
        precision: str,
    ) -> "_Machines":
        order = np.arange(len(rows))
        if len(rows) > max(_MOST_EVERY_COUNT, rows.n_features):
            counts = log_spaced_counts(len(rows)) if counts is None else counts
            ahead = RidgeChain.of(rows, strength).predictions(targets, order)
            spaced = LogSpaced(rows, order, targets, strength, counts)
            return cls(counts, ahead, spaced.blocks(tests), 0.0)
        every = EveryCount.of(rows.dense(precision), targets, strength)
        error = 0.0
        if precision == "float32":
            error = _measured_error(every, rows, targets, strength, tests)
        ahead = every.whitened.predictions(targets)
        if counts is None:
            return cls(order + 1, ahead, every.blocks(tests), error)
        return cls(counts, ahead, every.chosen_blocks(tests, counts), error)


def _evidence(rows: StandardizedRows, targets: FloatMatrix) -> float:
    """Return the strength of the largest evidence given all labels."""
    present = targets.any(axis=0)
    if np.count_nonzero(present) == 1:
        return float(len(rows))  # the machine is its intercept, whatever the strength
    # The flat prior of the intercept needs rows centred by their own mean, not by the pool's.
    centred = StandardizedRows(rows.features, column_moments(rows.features)[0], rows.scale)
    return strength_of_evidence(ridge_basis(centred), targets[:, present])


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
    right: NDArray[np.bool_] | None,
) -> tuple[FloatMatrix, FloatMatrix]:
    """Return accuracy and log loss at each label count, and fill in which test rows are right."""
    hits, nats = np.zeros(len(seen)), np.zeros(len(seen))
    shares = 1 / (machines.counts + 1)
    for at, place, decisions in machines.blocks:
        if not seen[at].all():
            decisions[~seen[at].T] = -np.inf
        own, best = codes[place], decisions.max(axis=0)
        mine = decisions[own, :, np.arange(len(own))].T
        is_right = mine == best
        _lose_ties(is_right, decisions, best, own)
        hits[at] += is_right.sum(axis=1)
        if right is not None:
            right[at, place] = is_right
        likely = _likelihoods(mine, decisions, best, 1 / temperatures[at][:, None])
        share = shares[at][:, None].astype(np.float32)
        likely *= 1 - share
        likely += share / seen.shape[1]
        nats[at] -= np.log(likely, out=likely).sum(axis=1, dtype=np.float64)
    return hits / len(codes), nats / len(codes)


def _lose_ties(
    is_right: NDArray[np.bool_], decisions: NDArray[Any], best: NDArray[Any], own: ClassCodes
) -> None:
    """Take back what is right where an earlier class has the same value: the first one wins."""
    is_best = decisions == best
    if np.count_nonzero(is_best) == best.size:
        return
    for code in range(len(decisions) - 1):
        is_right &= ~is_best[code] | (own <= code)


def _likelihoods(
    mine: NDArray[Any], decisions: NDArray[Any], best: NDArray[Any], coldness: FloatMatrix
) -> NDArray[np.float32]:
    """Return the softmax of `mine` among the decisions, which are overwritten.

    In single precision exponentials take a quarter of the time. The decisions have been compared
    already, and the log loss moves by less than 1e-6.
    """
    decisions -= best
    decisions *= coldness
    own = (mine - best) * coldness
    with np.errstate(over="ignore"):  # minus infinity is what a class far behind deserves
        terms, part = decisions.astype(np.float32), own.astype(np.float32)
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
        As returned by `RidgeChain.predictions`.
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
    parts, teller = [], CodeTeller(predictions.shape[1])
    for start in range(0, len(codes), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        parts.append(teller.tell(predictions[rows], codes[rows]))
    return Prequential(*(np.concatenate(kind) for kind in zip(*parts, strict=True)))


class CodeTeller:
    """What `prequential` returns, told block by block; it keeps what the labels so far have cost.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    """

    def __init__(self, n_classes: int) -> None:
        self._counts = np.zeros(n_classes, dtype=np.intp)
        self._losses = np.zeros(len(_TEMPERATURES))

    def tell(self, predictions: FloatMatrix, codes: ClassCodes) -> Prequential:
        """Return bits and temperatures of the next labels, as `prequential` does.

        >>> teller = CodeTeller(2)
        >>> [float(teller.tell(np.zeros((1, 2)), np.array([0])).bits[0].round(4)) for _ in range(2)]
        [1.0, 0.415]
        """
        n_known, n_classes = int(self._counts.sum()), len(self._counts)
        losses = self._losses_of(predictions, codes)
        running = np.cumsum(np.vstack([self._losses, losses]), axis=0)
        # Losses that differ by rounding are equal, and the smallest temperature has them.
        smallest = running.min(axis=1, keepdims=True)
        best = (running <= smallest * (1 + _ROUNDING)).argmax(axis=1)
        best[np.arange(n_known, n_known + len(best)) < n_classes] = _NO_TEMPERATURE
        self._losses = running[-1]
        self._counts += np.bincount(codes, minlength=n_classes)
        bits = losses[np.arange(len(codes)), best[:-1]]
        return Prequential(bits, _TEMPERATURES[best[1:]])

    def _losses_of(self, predictions: FloatMatrix, codes: ClassCodes) -> FloatMatrix:
        """Return the code length of each label at each temperature."""
        counts = np.vstack([self._counts, one_hot(codes, len(self._counts))[:-1]])
        decisions = np.where(np.cumsum(counts, axis=0) > 0, predictions, -np.inf)
        if not self._counts.any():
            decisions[0] = 0
        decisions = np.ascontiguousarray(decisions.T)  # sums over few classes are slow along rows
        decisions -= decisions.max(axis=0)
        own = decisions[codes, np.arange(len(codes))]
        share = 1 / (self._counts.sum() + np.arange(1, len(codes) + 1))
        right, powers = np.empty((len(_TEMPERATURES), len(codes))), np.empty_like(decisions)
        for one, temperature in zip(right, _TEMPERATURES, strict=True):
            np.exp(np.divide(decisions, temperature, out=powers), out=powers)
            np.divide(np.exp(own / temperature), powers.sum(axis=0), out=one)
        return np.asarray(-np.log2((1 - share) * right + share / len(self._counts)).T)
