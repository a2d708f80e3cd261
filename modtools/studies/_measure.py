"""One draw of labels on the features of one module: which rows, and how each output module does."""

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from modtools._types import ClassCodes, FloatArray, FloatMatrix
from modtools.exceptions import ModtoolsError
from modtools.outputs import (
    ClassMeanOutput,
    LogisticOutput,
    StandardizedRows,
    column_moments,
    evaluate_ridge_path,
)
from modtools.retraining import choose_labels
from modtools.studies._cells import Measured

__all__ = ["OUTPUTS", "Pair", "Rows", "draw_seed", "draws_of", "label_order", "measure"]

Pair: TypeAlias = tuple[FloatArray, FloatArray]  # features of the pool and of the test rows
OUTPUTS: Final = ("ridge", "logistic", "class_mean")
# The same rows whatever the seed: a second draw would tell nothing.
_WITHOUT_RANDOMNESS: Final = ("k_center", "herding", "variance")
# Clusters are found for one number of labels: beyond the smallest budget they are planned anew with
# every doubling, without regard to what is labelled; rows labelled before come first.
_PLANNED: Final = ("typical", "cover")


@dataclass(frozen=True)
class Rows:
    """Features of one module, with the standardisation and the classes.

    Attributes
    ----------
    train, test : ndarray of shape (n_samples, n_features)
        The pool that labels are drawn from, and the test rows.
    mean, scale : ndarray of shape (n_features,)
        The standardisation, from the whole pool: it needs no labels.
    codes, test_codes : ndarray
        Class of each row; those of the pool are read where they are drawn only.
    n_classes : int
        Number of all classes.
    """

    train: FloatArray
    test: FloatArray
    mean: FloatMatrix
    scale: FloatMatrix
    codes: ClassCodes
    test_codes: ClassCodes
    n_classes: int

    @classmethod
    def of(
        cls, name: str, pair: Pair, codes: ClassCodes, test_codes: ClassCodes, n_classes: int
    ) -> "Rows":
        """Standardise, or raise if no output module can learn from these features."""
        mean, scale = column_moments(pair[0])
        if not scale.any():
            zero = "" if pair[0].any() else ", all zero,"
            raise ModtoolsError(
                f'the features of "{name}" are the same{zero} in all {len(pair[0])} rows, so no '
                "output module can learn from them. Leave it out, or choose another tap."
            )
        return cls(*pair, mean, scale, codes, test_codes, n_classes)


def draws_of(strategy: str, repeats: int) -> int:
    """Return how many draws of a strategy differ.

    >>> draws_of("random", 10), draws_of("k_center", 10)
    (10, 1)
    """
    return 1 if strategy in _WITHOUT_RANDOMNESS else repeats


def draw_seed(seed: int, draw: int) -> int:
    """Return the seed of one draw, the same for every module.

    >>> draw_seed(0, 1) == draw_seed(0, 1) != draw_seed(0, 2)
    True
    """
    return int(np.random.SeedSequence([seed, draw]).generate_state(1)[0])


def label_order(rows: Rows, strategy: str, counts: NDArray[np.intp], *, seed: int) -> ClassCodes:
    """Return which rows of the pool are labelled, in order: every budget is a first part.

    Parameters
    ----------
    rows : Rows
        Features; ``random`` and ``oracle_balanced`` do not read them, so their rows are the same
        for every module.
    strategy : str
        As in `choose_labels`.
    counts : ndarray of int
        Rising budgets.
    seed : int
        Seed of this draw.
    """
    n = int(counts[-1])
    if strategy in ("random", "oracle_balanced"):
        labels = rows.codes if strategy == "oracle_balanced" else None
        blank = np.zeros((len(rows.codes), 1))
        return choose_labels(blank, n, strategy=strategy, seed=seed, labels=labels)
    if strategy not in _PLANNED:
        return choose_labels(rows.train, n, strategy=strategy, seed=seed)
    order = np.empty(0, dtype=np.intp)
    budget = int(counts[0])
    while len(order) < n:
        chosen = choose_labels(rows.train, budget, strategy=strategy, seed=seed)
        order = np.concatenate([order, chosen[~np.isin(chosen, order)]])[:budget]
        budget = min(2 * budget, n)
    return order


def measure(rows: Rows, order: ClassCodes, counts: NDArray[np.intp], output: str) -> Measured:
    """Return how an output module does with the first labels of an order.

    Parameters
    ----------
    rows : Rows
        Features and classes.
    order : ndarray of shape (n_labels,)
        Rows that are labelled.
    counts : ndarray of int
        Rising label counts, the last one at most n_labels.
    output : str
        One of `OUTPUTS`.
    """
    order = order[: counts[-1]]
    codes = rows.codes[order]
    learned = StandardizedRows(rows.train[order], rows.mean, rows.scale)
    tests = StandardizedRows(rows.test, rows.mean, rows.scale)
    if output == "ridge":
        curve = evaluate_ridge_path(
            learned,
            codes,
            tests,
            rows.test_codes,
            n_classes=rows.n_classes,
            counts=counts,
            with_right=True,
        )
        assert curve.right is not None
        return Measured.of(curve.right, curve.log_loss, curve.codelength)
    dense, dense_tests = learned.dense(), tests.dense()
    right = np.empty((len(counts), len(rows.test)), dtype=np.bool_)
    log_loss = np.empty(len(counts))
    for position, count in enumerate(counts):
        winners, likely = _refit(output, dense[:count], codes[:count], dense_tests, rows)
        right[position] = winners == rows.test_codes
        share = 1 / (count + 1)  # as for the ridge classifier: an unseen class costs finitely much
        log_loss[position] = -np.log((1 - share) * likely + share / rows.n_classes).mean()
    return Measured.of(right, log_loss)


def _refit(
    output: str, learned: FloatMatrix, codes: ClassCodes, tests: FloatMatrix, rows: Rows
) -> tuple[ClassCodes, Any]:
    """Return the class predicted for each test row, and the probability of its own class."""
    present = np.unique(codes)
    if len(present) == 1:
        winners = np.full(len(tests), present[0])
        return winners, (winners == rows.test_codes).astype(np.float64)
    if output == "class_mean":
        winners = ClassMeanOutput(standardize=False).fit(learned, codes).predict(tests)
        return winners, np.nan
    fitted = LogisticOutput(standardize=False).fit(learned, codes)
    probabilities = np.zeros((len(tests), rows.n_classes))
    probabilities[:, fitted.classes_] = fitted.predict_proba(tests)
    own = probabilities[np.arange(len(tests)), rows.test_codes]
    return probabilities.argmax(axis=1), own
