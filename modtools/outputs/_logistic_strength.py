"""The strength of a logistic output module, chosen by the loss of rows that were held out."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from modtools._types import ClassCodes, FloatMatrix
from modtools.outputs._cold_folds import N_FOLDS, minimise_folds
from modtools.outputs._content import row_content
from modtools.outputs._fold_design import fold_design, fold_penalties, known_classes
from modtools.outputs._folds import stratified_folds
from modtools.outputs._standardize import StandardizedRows

__all__ = ["LOGISTIC_STRENGTHS", "choose_logistic_strength"]

LOGISTIC_STRENGTHS = 10.0 ** np.arange(-2, 4)
# Weak penalties converge slowly, and a fit that stopped early flatters them.
_N_ITERATIONS = 60
_WITHOUT_EVIDENCE = 1.0
# Losses come from float32 weights: nearer ones are tied.
_TIE = 1e-5


def choose_logistic_strength(
    rows: StandardizedRows, codes: ClassCodes, n_classes: int, *, seed: int = 0
) -> float:
    """Return the strength whose held-out log loss is the smallest, ties to the larger.

    The tried strengths are 10^k, k = -2, -1, ..., 3. All folds of all strengths are fitted side by
    side, each from zero. The loss decides, not the accuracy, which with few labels is the same for
    many strengths. A row whose class no training fold holds says nothing about the strength; if
    that is every row (one label a class), the strength is 1.

    Parameters
    ----------
    rows : StandardizedRows
        Features.
    codes : ndarray of shape (n_samples,)
        Class of each row.
    n_classes : int
        Number of classes.
    seed : int, default=0
        Seed of the five stratified folds, which follow the content of the rows, not their order.

    Returns
    -------
    float
        The strength.

    Examples
    --------
    >>> rows = StandardizedRows.of(np.array([[0.0], [1.0], [8.0], [9.0]]))
    >>> choose_logistic_strength(rows, np.array([0, 0, 1, 1]), 2)
    0.01
    """
    folds = stratified_folds(codes, N_FOLDS, seed, content=row_content(rows))
    training = folds[:, None] != np.arange(folds.max() + 1)
    is_known = _known_in_training(codes, folds, n_classes)
    if not is_known.any():
        return _WITHOUT_EVIDENCE
    n_folds, n_strengths = training.shape[1], len(LOGISTIC_STRENGTHS)
    design, penalty = fold_design(rows, 1.0)
    penalties = fold_penalties(penalty, known_classes(codes, n_classes, training))
    weights = minimise_folds(
        design,
        codes,
        n_classes,
        np.tile(training, (1, n_strengths)),
        np.hstack([np.float32(strength) * penalties for strength in LOGISTIC_STRENGTHS]),
        n_iterations=_N_ITERATIONS,
    ).reshape(len(penalty), n_strengths, n_folds, n_classes)
    losses = np.zeros(n_strengths)
    for fold in range(n_folds):
        judged = is_known & (folds == fold)
        if judged.any():
            losses += _summed_losses(design[judged], codes[judged], weights[:, :, fold])
    best = np.flatnonzero(losses <= losses.min() * (1 + _TIE))[-1]
    return float(LOGISTIC_STRENGTHS[best])


def _known_in_training(codes: ClassCodes, folds: ClassCodes, n_classes: int) -> NDArray[np.bool_]:
    """Return whether another fold than a row's own holds its class (n_samples,)."""
    counts = np.zeros((folds.max() + 1, n_classes), dtype=np.intp)
    np.add.at(counts, (folds, codes), 1)
    return np.asarray((counts.sum(axis=0) > counts)[folds, codes])


def _summed_losses(design: FloatMatrix, codes: ClassCodes, weights: FloatMatrix) -> FloatMatrix:
    """Return the log loss of each strength, summed over the rows (n_strengths,)."""
    logits = np.tensordot(design.astype(np.float64), weights.astype(np.float64), axes=1)
    own = logits[np.arange(len(codes)), :, codes]
    return np.asarray((logsumexp(logits, axis=2) - own).sum(axis=0))
