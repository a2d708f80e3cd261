"""Cross-validated logistic probe with its strength chosen inside the training folds."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from modtools._types import FloatArray
from modtools.exceptions import warn
from modtools.outputs import (
    RowContent,
    StandardizedRows,
    ridge_basis,
    row_content,
    stratified_folds,
)
from modtools.tasks import Labels
from modtools.transferability._declare import register_score
from modtools.transferability._held_out import (
    present_codes,
    standardized,
    warn_about_lone_rows,
    without_features,
)
from modtools.transferability._registry import Estimate

__all__ = ["linear_probe"]

_N_FOLDS = 5
_N_INNER_FOLDS = 3
_INVERSE_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
_MAX_ITERATIONS = 2000


@register_score(
    needs="features",
    passes="iterative",
    is_accuracy=True,
    range="[0, 1], held-out accuracy",
    reference="5-fold, strength chosen inside",
)
def linear_probe(
    features: FloatArray, labels: Labels, *, groups: Any = None, seed: int = 0
) -> Estimate:
    """Five-fold accuracy of a logistic probe, its strength chosen inside the training folds.

    The dearest score and the yardstick for the others: C of {1e-3, 1e-2, 0.1, 1, 10} by three inner
    folds, ties to the smaller, features standardised with the training rows alone. A row that is
    alone in its class is wrong, with warning MT006.

    Returns
    -------
    float
        Accuracy in [0, 1], the mean over folds; higher is better.

    References
    ----------
    Nadeau & Bengio, "Inference for the generalization error", Machine Learning 2003, for the
    standard error that `score` reports.

    Examples
    --------
    >>> linear_probe([[0.0], [1.0], [2.0], [7.0], [8.0], [9.0]], [0, 0, 0, 1, 1, 1])
    1.0
    """
    rows = standardized(features, score="linear_probe")
    if rows.n_varying == 0:
        return without_features(labels)
    codes, _ = present_codes(labels)
    warn_about_lone_rows(codes, score="linear_probe")
    content = row_content(rows)
    folds = stratified_folds(codes, _N_FOLDS, seed, groups, content=content)
    accuracies = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ConvergenceWarning)
        for fold in range(folds.max() + 1):
            held_out = folds == fold
            training, own = features[~held_out], codes[~held_out]
            inner = _inner_folds(own, ~held_out, seed, groups, content)
            best = _choose_inverse_strength(training, own, inner)
            (predicted,) = _predictions(training, own, features[held_out], (best,))
            accuracies.append(float(np.mean(predicted == codes[held_out])))
    if caught:
        warn("MT005", f"{len(caught)} probe fits stopped at {_MAX_ITERATIONS} iterations.")
    return Estimate(float(np.mean(accuracies)), _corrected_standard_error(accuracies))


def _corrected_standard_error(accuracies: list[float]) -> float:
    """Return the standard error of Nadeau & Bengio: folds share rows, the plain one is too small.

    >>> round(_corrected_standard_error([0.8, 0.9, 0.7, 0.8]), 6)
    0.062361
    """
    n_folds = len(accuracies)
    inflation = 1 / n_folds + 1 / (n_folds - 1)
    return float(np.sqrt(inflation * np.var(accuracies, ddof=1)))


def _inner_folds(
    codes: NDArray[np.intp],
    training: NDArray[np.bool_],
    seed: int,
    groups: NDArray[np.intp] | None,
    content: RowContent,
) -> NDArray[np.intp]:
    """Return the folds of the training rows, whose codes are given."""
    units = None if groups is None else groups[training]
    return stratified_folds(codes, _N_INNER_FOLDS, seed, units, content=content.take(training))


def _choose_inverse_strength(
    features: FloatArray, codes: NDArray[np.intp], folds: NDArray[np.intp]
) -> float:
    """Return the C with most right predictions over the inner folds, ties to the smaller."""
    if not folds.any():  # a single row or group cannot be divided further
        return _INVERSE_STRENGTHS[0]
    right = np.zeros(len(_INVERSE_STRENGTHS))
    for fold in range(folds.max() + 1):
        held_out = folds == fold
        predictions = _predictions(
            features[~held_out], codes[~held_out], features[held_out], _INVERSE_STRENGTHS
        )
        right += [np.count_nonzero(predicted == codes[held_out]) for predicted in predictions]
    return _INVERSE_STRENGTHS[int(right.argmax())]


def _predictions(
    training: FloatArray,
    codes: NDArray[np.intp],
    held_out: FloatArray,
    inverse_strengths: tuple[float, ...],
) -> list[NDArray[np.intp]]:
    """Return the predicted codes of the held-out rows for each C, weakest first.

    Each fit starts from the one before it on the same training rows, which saves iterations and
    shows it no held-out row.
    """
    if len(np.unique(codes)) == 1:
        return [np.full(len(held_out), codes[0]) for _ in inverse_strengths]
    own = StandardizedRows.of(training)
    others = StandardizedRows(held_out, own.mean, own.scale).dense()
    if len(own) < own.n_features:
        # Few rows are turned into their principal coordinates: a rotation, and fewer weights.
        basis = ridge_basis(own)
        rows, others = basis.dense(), others @ basis.weights(np.eye(len(own)))
    else:
        rows = own.dense()
    probe = LogisticRegression(max_iter=_MAX_ITERATIONS, warm_start=True)
    return [probe.set_params(C=c).fit(rows, codes).predict(others) for c in inverse_strengths]
