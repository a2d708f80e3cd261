"""What a study measures: its plan, and each output module on one random subset of labels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modtools._checks import check_choice, check_integer, to_numpy
from modtools._types import ClassCodes, FloatArray, FloatMatrix
from modtools.exceptions import ModtoolsError
from modtools.modules import array_digest
from modtools.outputs import (
    ClassMeanOutput,
    LogisticOutput,
    StandardizedRows,
    column_moments,
    evaluate_ridge_path,
)
from modtools.retraining import STRATEGIES, choose_labels, encode_both
from modtools.tasks import Task

__all__ = [
    "Examples",
    "Line",
    "Measured",
    "Pair",
    "Plan",
    "label_order",
    "measure",
    "repeat_seed",
]

Pair: TypeAlias = tuple[FloatArray, FloatArray]  # features of the pool and of the test examples
OUTPUTS: Final = ("ridge", "logistic", "class_mean")
# The same examples whatever the seed: a second repeat would add nothing.
_WITHOUT_RANDOMNESS: Final = ("k_center", "herding", "variance")
# Clusters are found for one number of labels: beyond the smallest one they are planned anew with
# every doubling, without regard to what is labelled; examples labelled before come first.
_PLANNED: Final = ("typical", "cover")
_FORMAT: Final = 1
_N_COUNTS: Final = 30
_LARGEST_COUNT: Final = 2000


class Line(NamedTuple):
    """One curve of a study.

    Attributes
    ----------
    module, output, strategy : str
        Names of the module, of its output module, and of how its labelled examples are chosen.
    """

    module: str
    output: str
    strategy: str


@dataclass(frozen=True)
class Plan:
    """What every cell of a study shares.

    Attributes
    ----------
    counts : ndarray of int
        Rising label counts.
    repeats : int
        Number of random subsets of labels.
    outputs, strategies : tuple of str
        Output modules, and how labelled examples are chosen.
    seed : int
        Seed of the random subsets.
    classes : ndarray of shape (n_classes,)
        Sorted labels of pool and test examples.
    codes, test_codes : ndarray
        Class of each example of the pool, and of each test example.
    task : str
        Name of the task that is tested.
    """

    counts: NDArray[np.intp]
    repeats: int
    outputs: tuple[str, ...]
    strategies: tuple[str, ...]
    seed: int
    classes: NDArray[Any]
    codes: ClassCodes
    test_codes: ClassCodes
    task: str = "the task"

    @classmethod
    def of(
        cls,
        train: Task,
        test: Task,
        n_labels: Any,
        repeats: int,
        seed: int,
        *,
        outputs: Any,
        strategies: Any,
    ) -> "Plan":
        """Return the plan of a study, or raise if an argument is off."""
        labels, tested = train.encoded, test.encoded
        classes, codes, test_codes = encode_both(labels, tested, what="label_efficiency")
        return cls(
            counts=_check_counts(n_labels, len(codes), len(classes)),
            repeats=check_integer(repeats, name="repeats"),
            outputs=_check_names(outputs, OUTPUTS, "output"),
            strategies=_check_names(strategies, [*STRATEGIES, "oracle_balanced"], "strategy"),
            seed=check_integer(seed, name="seed", minimum=0),
            classes=classes,
            codes=codes,
            test_codes=test_codes,
            task=(test.name if isinstance(test, Task) else "") or "the task",
        )

    def subsets(self) -> list[tuple[str, int]]:
        """Return (strategy, repeat) of all random subsets of labels that differ."""
        return [
            (strategy, repeat)
            for strategy in self.strategies
            for repeat in range(repeats_of(strategy, self.repeats))
        ]

    def settings(self) -> dict[str, Any]:
        """Return what was asked, as plain JSON."""
        return {
            "n_labels": self.counts.tolist(),
            "repeats": self.repeats,
            "outputs": list(self.outputs),
            "strategies": list(self.strategies),
            "seed": self.seed,
        }

    def definition(self, train: Task, test: Task, **more: Any) -> dict[str, Any]:
        """Return all that decides the numbers of a study, as plain JSON."""
        inputs = [part.fingerprint for part in (train, test) if part.has_inputs]
        classes = [str(value) for value in self.classes.tolist()]
        labels = array_digest(self.codes, self.test_codes)
        data = {"format": _FORMAT, "inputs": inputs, "classes": classes, "labels": labels}
        return {**data, **self.settings(), **more}


def _check_counts(n_labels: Any, n_pool: int, n_classes: int) -> NDArray[np.intp]:
    """Return rising label counts that the pool can give."""
    if n_labels is None:
        largest = min(_LARGEST_COUNT, n_pool)
        spaced = np.geomspace(min(n_classes, largest), largest, _N_COUNTS)
        return np.unique(np.rint(spaced)).astype(np.intp)
    array = to_numpy(n_labels, name="n_labels")
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iu" or array.min() < 1:
        raise ModtoolsError(
            f"n_labels must be whole numbers of at least 1, labels in all; got {n_labels!r}."
        )
    if array.max() > n_pool:
        raise ModtoolsError(
            f"n_labels must be at most the {n_pool} examples of train; got {array.max()}. "
            "Label more examples, or leave that number out."
        )
    return np.unique(array).astype(np.intp)


def _check_names(given: Any, known: Sequence[str], name: str) -> tuple[str, ...]:
    """Return different names of those known, from one or several."""
    if not isinstance(given, Iterable):
        raise ModtoolsError(
            f"each {name} must be a name; got {given!r}. Known: {', '.join(known)}."
        )
    names = (given,) if isinstance(given, str) else tuple(given)
    if not names:
        raise ModtoolsError(f"a study needs at least one {name}. Known: {', '.join(known)}.")
    return tuple(dict.fromkeys(check_choice(one, known, name=name) for one in names))


def repeats_of(strategy: str, repeats: int) -> int:
    """Return how many random subsets of a strategy differ.

    >>> repeats_of("random", 10), repeats_of("k_center", 10)
    (10, 1)
    """
    return 1 if strategy in _WITHOUT_RANDOMNESS else repeats


def repeat_seed(seed: int, repeat: int) -> int:
    """Return the seed of one repeat, the same for every module.

    >>> repeat_seed(0, 1) == repeat_seed(0, 1) != repeat_seed(0, 2)
    True
    """
    return int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0])


class Measured(NamedTuple):
    """What a cell holds, one entry per label count.

    Attributes
    ----------
    right : ndarray of shape (n_counts, n_bytes)
        Which test examples are right, eight to a byte.
    accuracy : ndarray of shape (n_counts,)
        Fraction of the test examples that are right.
    log_loss : ndarray of shape (n_counts,)
        Nats; NaN where the output module gives no probabilities.
    codelength : ndarray of shape (n_counts,)
        Bits of the labels so far, one step ahead; NaN but for the ridge classifier.
    """

    right: NDArray[np.uint8]
    accuracy: FloatMatrix
    log_loss: FloatMatrix
    codelength: FloatMatrix

    @classmethod
    def of(
        cls, right: NDArray[np.bool_], log_loss: ArrayLike = np.nan, codelength: ArrayLike = np.nan
    ) -> "Measured":
        """Return the content of a cell from which test examples are right (n_counts, n_test)."""
        columns = [np.broadcast_to(part, len(right)) for part in (log_loss, codelength)]
        accuracy, packed = right.mean(axis=1), np.packbits(right, axis=1)
        return cls(packed, accuracy, *(column.astype(np.float64) for column in columns))


@dataclass(frozen=True)
class Examples:
    """Features of one module, with the standardisation and the classes.

    Attributes
    ----------
    train, test : ndarray of shape (n_samples, n_features)
        The pool whose labels are used, and the test examples.
    mean, scale : ndarray of shape (n_features,)
        The standardisation, from the whole pool: it needs no labels.
    codes, test_codes : ndarray
        Class of each example; those of the pool are read only where they are labelled.
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
    ) -> "Examples":
        """Standardise, or raise if no output module can learn from these features."""
        mean, scale = column_moments(pair[0])
        if not scale.any():
            zero = "" if pair[0].any() else ", all zero,"
            raise ModtoolsError(
                f'the features of "{name}" are the same{zero} in all {len(pair[0])} examples, so '
                "no output module can learn from them. Leave it out, or choose another layer."
            )
        return cls(*pair, mean, scale, codes, test_codes, n_classes)


def label_order(
    examples: Examples, strategy: str, counts: NDArray[np.intp], *, seed: int
) -> ClassCodes:
    """Return which examples of the pool are labelled, in order: every count is a first part.

    Parameters
    ----------
    examples : Examples
        Features; ``random`` and ``oracle_balanced`` do not read them, so their examples are
        the same for every module.
    strategy : str
        As in `choose_labels`.
    counts : ndarray of int
        Rising label counts.
    seed : int
        Seed of this repeat.
    """
    n = int(counts[-1])
    if strategy in ("random", "oracle_balanced"):
        labels = examples.codes if strategy == "oracle_balanced" else None
        blank = np.zeros((len(examples.codes), 1))
        return choose_labels(blank, n, strategy=strategy, seed=seed, labels=labels)
    if strategy not in _PLANNED:
        return choose_labels(examples.train, n, strategy=strategy, seed=seed)
    order = np.empty(0, dtype=np.intp)
    count = int(counts[0])
    while len(order) < n:
        chosen = choose_labels(examples.train, count, strategy=strategy, seed=seed)
        order = np.concatenate([order, chosen[~np.isin(chosen, order)]])[:count]
        count = min(2 * count, n)
    return order


def measure(
    examples: Examples, order: ClassCodes, counts: NDArray[np.intp], output: str
) -> Measured:
    """Return how an output module does with the first labels of an order.

    Parameters
    ----------
    examples : Examples
        Features and classes.
    order : ndarray of shape (n_labels,)
        Examples that are labelled.
    counts : ndarray of int
        Rising label counts, the last one at most n_labels.
    output : str
        One of `OUTPUTS`.
    """
    order = order[: counts[-1]]
    codes = examples.codes[order]
    learned = StandardizedRows(examples.train[order], examples.mean, examples.scale)
    tests = StandardizedRows(examples.test, examples.mean, examples.scale)
    if output == "ridge":
        curve = evaluate_ridge_path(
            learned,
            codes,
            tests,
            examples.test_codes,
            n_classes=examples.n_classes,
            counts=counts,
            with_right=True,
        )
        assert curve.right is not None
        return Measured.of(curve.right, curve.log_loss, curve.codelength)
    dense, dense_tests = learned.dense(), tests.dense()
    right = np.empty((len(counts), len(examples.test)), dtype=np.bool_)
    log_loss = np.empty(len(counts))
    for position, count in enumerate(counts):
        winners, likely = _refit(output, dense[:count], codes[:count], dense_tests, examples)
        right[position] = winners == examples.test_codes
        share = 1 / (count + 1)  # as for the ridge classifier: an unseen class costs finitely much
        log_loss[position] = -np.log((1 - share) * likely + share / examples.n_classes).mean()
    return Measured.of(right, log_loss)


def _refit(
    output: str, learned: FloatMatrix, codes: ClassCodes, tests: FloatMatrix, examples: Examples
) -> tuple[ClassCodes, Any]:
    """Return the class predicted for each test example, and the probability of its own class."""
    present = np.unique(codes)
    if len(present) == 1:
        winners = np.full(len(tests), present[0])
        return winners, (winners == examples.test_codes).astype(np.float64)
    if output == "class_mean":
        winners = ClassMeanOutput(standardize=False).fit(learned, codes).predict(tests)
        return winners, np.nan
    fitted = LogisticOutput(standardize=False).fit(learned, codes)
    probabilities = np.zeros((len(tests), examples.n_classes))
    probabilities[:, fitted.classes_] = fitted.predict_proba(tests)
    own = probabilities[np.arange(len(tests)), examples.test_codes]
    return probabilities.argmax(axis=1), own
