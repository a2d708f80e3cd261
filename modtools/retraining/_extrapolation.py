"""`extrapolate`: what more labels would be worth, from the labels there are, or why not to say."""

import time
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modtools._checks import (
    check_choice,
    check_features,
    check_integer,
    check_lengths,
    raise_if_not_finite,
)
from modtools._types import ClassCodes, FloatArray, FloatMatrix
from modtools.exceptions import ModtoolsError
from modtools.outputs import (
    KernelPath,
    RidgeLeaveOneOut,
    StandardizedRows,
    one_hot,
    ridge_basis,
    ridge_leave_one_out,
    row_content,
)
from modtools.retraining._choose import STRATEGIES
from modtools.retraining._error_law import ErrorLaw
from modtools.retraining._forecast import Forecast
from modtools.tasks import encode_labels

__all__ = ["extrapolate"]

_FEWEST = 30
_FEWEST_PER_CLASS = 4
_MOST_FACTORED = 2000  # examples in a kernel matrix: 32 MB
_N_COUNTS = 6
_ORDERS = (4, 50)  # at least and at most
_FACTORED_EXAMPLES = 10_000  # in all orders together
_SHARE_OF_PACE = 0.25


def extrapolate(
    features: ArrayLike, labels: ArrayLike, *, strategy: str = "random", seed: int = 0
) -> Forecast:
    """Return what accuracy more labels would give the ridge output module, with 80 % intervals.

    The exact leave-one-out error of the labels there are is extrapolated by one law for all modules
    and tasks, whose pace and spread were measured on other tasks (`ErrorLaw`; from 50 to 400
    labels, 2 to 10 classes, up to 2000 labels ahead). What the labels themselves say decides
    whether there is a forecast at all: it is refused, with a reason and never a number, for fewer
    than 30 labels or 4 per class, for labels that were not drawn at random, where the accuracy is
    not distinguishable from that of predicting the largest class, and where held-out errors become
    fewer at less than a quarter of the usual pace from a quarter to 85 % of the labels, as for a
    module that needs few labels.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Features of the labelled examples, a random sample of the task; not changed. For examples
        chosen otherwise the forecast is biased, in a direction that depends on the choice.
    labels : array-like of shape (n_samples,)
        Their classes, at least two.
    strategy : str, default="random"
        How the examples were chosen, as in `choose_labels`.
    seed : int, default=0
        Seed of the random orders; the order in which examples are given does not matter.

    Returns
    -------
    Forecast
        Accuracies of more labels, labels that an accuracy needs, or the reason for none.

    Raises
    ------
    ModtoolsError
        Bad features or labels, or a single class.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> features, labels = load_digits(return_X_y=True)
    >>> forecast = extrapolate(features[:200], labels[:200])
    >>> accuracy, low, high = forecast.accuracy(1000)
    >>> bool(0.85 < low < accuracy < high < 1), forecast.refused is None
    (True, True)
    """
    started = time.perf_counter()
    matrix = check_features(features)
    raise_if_not_finite(matrix)
    check_choice(strategy, list(STRATEGIES), name="strategy")
    codes, n_classes = _encode(labels)
    check_lengths(features=matrix, labels=codes)
    seed = check_integer(seed, name="seed", minimum=0)
    if strategy == "random" and n_classes < 2:
        raise ModtoolsError("labels must hold at least two classes; all examples are in one.")
    law, refused = None, _chosen(strategy) or _too_few(len(codes), n_classes)
    if refused is None:
        measured = measure(matrix, codes, seed=seed)
        law = ErrorLaw(len(codes), measured.error)
        refused = _not_learned(measured, codes) or _not_rising(measured, law)
    return Forecast(
        n_labels=len(codes),
        refused=refused,
        law=None if refused else law,
        settings={"seed": seed, "n_classes": n_classes},
        seconds=time.perf_counter() - started,
    )


class Measured(NamedTuple):
    """What is estimated from the labels there are.

    Attributes
    ----------
    error : float
        Leave-one-out error, with half an error and one example added.
    slope : float
        How fast held-out errors become fewer: minus their slope in logarithms of both.
    counts : ndarray of int
        Label counts at which held-out errors were counted.
    """

    error: float
    slope: float
    counts: NDArray[np.intp]


def measure(features: FloatArray, codes: ClassCodes, *, seed: int) -> Measured:
    """Return the leave-one-out error and the slope of the held-out errors.

    >>> measured = measure(np.arange(40.0)[:, None], np.arange(40) // 20, seed=0)
    >>> round(measured.error, 3), measured.counts.tolist()
    (0.012, [10, 13, 16, 21, 27, 34])
    """
    rows = StandardizedRows.of(features)
    targets = one_hot(codes, int(codes.max()) + 1)
    left_out = ridge_leave_one_out(ridge_basis(rows), targets)
    n_wrong = int(np.count_nonzero(left_out.decisions.argmax(axis=1) != codes))
    counts, errors = _held_out_errors(rows, targets, left_out, seed)
    return Measured(
        error=(n_wrong + 0.5) / (len(codes) + 1),
        slope=_slope(counts, errors),
        counts=counts,
    )


def _held_out_errors(
    rows: StandardizedRows, targets: FloatMatrix, left_out: RidgeLeaveOneOut, seed: int
) -> tuple[NDArray[np.intp], FloatMatrix]:
    """Return label counts, and the error on the rest at each, the mean over several orders."""
    rng = np.random.default_rng(seed)
    alpha = left_out.alpha
    in_place = row_content(rows).order(targets.argmax(axis=1))
    if len(rows) > _MOST_FACTORED:
        # The grid of alphas grows with the examples, so alpha shrinks with them.
        alpha *= _MOST_FACTORED / len(rows)
        in_place = in_place[rng.choice(len(rows), _MOST_FACTORED, replace=False)]
    rows, targets = replace(rows, features=rows.features[in_place]), targets[in_place]
    n_samples = len(rows)
    steps = np.geomspace(n_samples / 4, 0.85 * n_samples, _N_COUNTS)
    counts = np.unique(np.rint(steps)).astype(np.intp)
    dense = rows.dense()
    kernel = dense @ dense.T
    n_orders = int(np.clip(_FACTORED_EXAMPLES // n_samples, *_ORDERS))
    orders = [rng.permutation(n_samples) for _ in range(n_orders)]
    errors = [_errors_ahead(kernel, targets, alpha, order, counts) for order in orders]
    return counts, np.mean(errors, axis=0)


def _errors_ahead(
    kernel: FloatMatrix,
    targets: FloatMatrix,
    alpha: float,
    order: NDArray[np.intp],
    counts: NDArray[np.intp],
) -> list[float]:
    """Return the error on the examples after each count, trained on the examples before it."""
    learned = targets[order]
    path = KernelPath.of(kernel[np.ix_(order, order)], learned, alpha)
    is_seen = np.cumsum(learned, axis=0) > 0
    codes = learned.argmax(axis=1)
    errors = []
    for count in counts:
        decisions = path.later_decisions(count)
        decisions[:, ~is_seen[count - 1]] = -np.inf
        errors.append(float(np.mean(decisions.argmax(axis=1) != codes[count:])))
    return errors


def _slope(counts: NDArray[np.intp], errors: FloatMatrix) -> float:
    """Return minus the least-squares slope of log error on log count."""
    x = np.log(counts)
    x = x - x.mean()
    floor = 0.5 / (counts[-1] + 1)  # no error counts as half an error
    return float(-np.log(np.maximum(errors, floor)) @ x / (x @ x))


def _encode(labels: Any) -> tuple[ClassCodes, int]:
    encoded = encode_labels(labels)
    if encoded.kind != "classification":
        raise ModtoolsError(
            f"extrapolate is defined for classification labels; these are {encoded.kind}."
        )
    present, codes = np.unique(np.asarray(encoded.codes), return_inverse=True)
    return codes.astype(np.intp), len(present)


def _chosen(strategy: str) -> str | None:
    if strategy == "random":
        return None
    return f"examples chosen by {strategy} are no random sample of the task."


def _too_few(n_labels: int, n_classes: int) -> str | None:
    needed = max(_FEWEST, _FEWEST_PER_CLASS * n_classes)
    if n_labels >= needed:
        return None
    return (
        f"{n_labels} labels are too few to extrapolate: {n_classes} classes need {needed}, "
        f"at least {_FEWEST} in all and {_FEWEST_PER_CLASS} per class."
    )


def _not_learned(measured: Measured, codes: ClassCodes) -> str | None:
    """Refuse where the accuracy is within 1.645 standard errors of the largest class alone."""
    largest = float(np.bincount(codes).max() / len(codes))
    margin = 1.645 * np.sqrt(measured.error * (1 - measured.error) / len(codes))
    if 1 - measured.error - margin > largest:
        return None
    return (
        f"the leave-one-out accuracy of {100 * (1 - measured.error):.1f} % is not distinguishable "
        f"from the {100 * largest:.1f} % of always predicting the largest class: there is no rise "
        "to extrapolate. Get more labels or another module."
    )


def _not_rising(measured: Measured, law: ErrorLaw) -> str | None:
    """Refuse where the labels themselves show no more than a fraction of what the law says."""
    first, last = (int(count) for count in measured.counts[[0, -1]])
    usual = law.slope(np.sqrt(first * last))
    if measured.slope >= _SHARE_OF_PACE * usual:
        return None
    slopes = (max(measured.slope, 0.0), usual)
    fall, usual_fall = (100 * (1 - 2.0**-slope) for slope in slopes)
    return (
        f"twice the labels took away {fall:.0f} % of the held-out errors, from {first} to {last} "
        f"labels, where {usual_fall:.0f} % are usual: more of the same kind may not help."
    )
