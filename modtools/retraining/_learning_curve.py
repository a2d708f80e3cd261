"""`learning_curve`: what each label is worth, from one factorisation."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from modtools._checks import (
    check_features,
    check_integer,
    check_lengths,
    check_positive,
    raise_if_not_finite,
)
from modtools._types import ClassCodes, FloatArray
from modtools.exceptions import ModtoolsError
from modtools.outputs import StandardizedRows, column_moments, evaluate_ridge_path
from modtools.retraining._curve import LearningCurve
from modtools.retraining._overlap import encode_both, raise_if_shared, rows_also_in

__all__ = ["learning_curve"]


def learning_curve(
    features: ArrayLike,
    labels: ArrayLike,
    test_features: ArrayLike,
    test_labels: ArrayLike,
    *,
    alpha: float | None = None,
    seed: int | None = None,
    unlabelled: ArrayLike | None = None,
    dtype: Any = np.float64,
    allow_overlap: bool = False,
) -> LearningCurve:
    """Return accuracy, log loss and code length of the first m labels for every m, exactly.

    The output module is the ridge classifier with intercept on one-hot targets, of one absolute
    alpha and one standardisation for the whole curve; its decision values at m labels are those
    of `RidgeOutput(alpha=alpha, standardize=False)` fitted on the first m, standardised.
    One factorisation gives them all. A class without a label so far is never predicted.
    Probabilities are softmax(decision / T), T the one that would have suited the labels so far when
    each was predicted from those before it (1 for fewer labels than classes); after m labels the
    share 1/(m+1) is spread evenly over all classes, so that a class not yet seen costs finitely
    much. More than 5000 examples (and more examples than columns) are evaluated at log-spaced
    counts.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Features of the labelled examples, in the order in which they are labelled; not changed.
    labels : array-like of shape (n_samples,)
        Their classes, at least two.
    test_features : array-like of shape (n_test, n_features)
        Features that the curve is measured on; nothing is trained on them.
    test_labels : array-like of shape (n_test,)
        Their classes; a class without a labelled example counts as an error.
    alpha : float, optional
        Penalty added to the scatter of the standardised features. By default the one of n * 10^k,
        k = -6, -5.5, ..., 2, with the largest Gaussian evidence given all labels.
    seed : int, optional
        Seed of a random order; by default the order given.
    unlabelled : array-like of shape (n_unlabelled, n_features), optional
        Features that set the standardisation instead of `features`; they need no labels.
    dtype : {float64, float32}, default=float64
        Type of the products at every count. With float32 the largest error of a decision value is
        measured (`decision_error`). Log-spaced counts are computed in float64 always.
    allow_overlap : bool, default=False
        Whether test examples may equal labelled ones, as in free-form data where inputs repeat by
        nature. Otherwise a shared one raises: accuracy on training examples says little.

    Returns
    -------
    LearningCurve
        The curve.

    Raises
    ------
    ModtoolsError
        Bad features or labels, fewer than two classes, features that do not vary, examples
        that are both labelled and tested, or an alpha too small for the precision.

    Examples
    --------
    >>> features = np.array([[0.0], [4.0], [1.0], [5.0]])
    >>> curve = learning_curve(features, ["a", "b", "a", "b"], [[0.5], [4.5]], ["a", "b"])
    >>> curve.n_labels.tolist(), curve.accuracy.tolist()
    ([1, 2, 3, 4], [0.5, 1.0, 1.0, 1.0])
    """
    started = time.perf_counter()
    learned, tests = _checked(features, "features", 2), _checked(test_features, "test_features", 1)
    classes, codes, test_codes = encode_both(labels, test_labels, what="learning_curve")
    _check_lengths(learned, codes, tests, test_codes)
    rows, precision = _standardized(learned, tests, unlabelled), _check_dtype(dtype)
    given = None if alpha is None else check_positive(alpha, name="alpha")
    if not allow_overlap:
        raise_if_shared(rows_also_in(tests, learned), tests="test_features", learned="features")
    rows, codes = _in_order(rows, codes, seed)
    how: dict[str, Any] = {"alpha": given, "precision": precision, "n_classes": len(classes)}
    tested = replace(rows, features=tests)
    result = evaluate_ridge_path(rows, codes, tested, test_codes, **how)
    asked = {"alpha": alpha, "seed": seed, "unlabelled": unlabelled is not None}
    return LearningCurve(
        **{name: value for name, value in result._asdict().items() if name != "right"},
        mean_=rows.mean,
        scale_=rows.scale,
        classes=classes,
        n_test=len(tests),
        chance=float(np.bincount(test_codes).max() / len(tests)),
        settings={**asked, "dtype": precision},
        seconds=time.perf_counter() - started,
    )


def _in_order(
    rows: StandardizedRows, codes: ClassCodes, seed: int | None
) -> tuple[StandardizedRows, ClassCodes]:
    """Return the examples and their classes in the order in which they are labelled."""
    if seed is None:
        return rows, codes
    rng = np.random.default_rng(check_integer(seed, name="seed", minimum=0))
    order = rng.permutation(len(codes))
    return replace(rows, features=rows.features[order]), codes[order]


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
        precision = np.dtype(dtype)
    except TypeError:
        precision = np.dtype(object)
    if precision not in (np.float32, np.float64):
        raise ModtoolsError(f"dtype must be float64 or float32; got {dtype!r}.")
    return str(precision)


def _standardized(learned: FloatArray, tests: FloatArray, unlabelled: Any) -> StandardizedRows:
    """Return the labelled examples with their standardisation, all checked with each other."""
    source = learned if unlabelled is None else _checked(unlabelled, "unlabelled", 2)
    for name, matrix in (("test_features", tests), ("unlabelled", source)):
        if matrix.shape[1] != learned.shape[1]:
            raise ModtoolsError(
                f"{name} must have the {learned.shape[1]} columns of features; "
                f"got {matrix.shape[1]}."
            )
    rows = StandardizedRows(learned, *column_moments(source))
    if rows.n_varying == 0:
        raise ModtoolsError(
            "features must vary; every column is constant, so no output module can be "
            "trained. Check the module and its layer."
        )
    return rows
