"""What a study is asked to measure, checked once, and what tells it from other studies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modtools._checks import check_choice, check_integer, to_numpy
from modtools._types import ClassCodes
from modtools.exceptions import ModtoolsError
from modtools.retraining import STRATEGIES, encode_both
from modtools.studies._measure import OUTPUTS, draws_of
from modtools.tasks import Task

__all__ = ["Plan"]

_FORMAT: Final = 1
_N_BUDGETS: Final = 30
_LARGEST_BUDGET: Final = 2000


@dataclass(frozen=True)
class Plan:
    """What every cell of a study shares.

    Attributes
    ----------
    counts : ndarray of int
        Rising label counts.
    repeats : int
        Draws of labels.
    outputs, strategies : tuple of str
        Output modules, and how labelled rows are chosen.
    seed : int
        Seed of the draws.
    classes : ndarray of shape (n_classes,)
        Sorted labels of pool and test rows.
    codes, test_codes : ndarray
        Class of each row of the pool, and of each test row.
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
    def checked(
        cls,
        train: Task,
        test: Task,
        budgets: Any,
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
            counts=_check_budgets(budgets, len(codes), len(classes)),
            repeats=check_integer(repeats, name="repeats"),
            outputs=_check_names(outputs, OUTPUTS, "output"),
            strategies=_check_names(strategies, [*STRATEGIES, "oracle_balanced"], "strategy"),
            seed=check_integer(seed, name="seed", minimum=0),
            classes=classes,
            codes=codes,
            test_codes=test_codes,
            task=(test.name if isinstance(test, Task) else "") or "the task",
        )

    def draws(self) -> list[tuple[str, int]]:
        """Return (strategy, draw) of all draws of labels that differ."""
        return [
            (strategy, draw)
            for strategy in self.strategies
            for draw in range(draws_of(strategy, self.repeats))
        ]

    def settings(self) -> dict[str, Any]:
        """Return what was asked, as plain JSON."""
        return {
            "budgets": self.counts.tolist(),
            "repeats": self.repeats,
            "outputs": list(self.outputs),
            "strategies": list(self.strategies),
            "seed": self.seed,
        }

    def definition(self, train: Task, test: Task, **more: Any) -> dict[str, Any]:
        """Return all that decides the numbers of a study, as plain JSON."""
        from modtools.modules import array_digest

        inputs = [part.fingerprint for part in (train, test) if part.has_inputs]
        classes = [str(value) for value in self.classes.tolist()]
        labels = array_digest(self.codes, self.test_codes)
        data = {"format": _FORMAT, "inputs": inputs, "classes": classes, "labels": labels}
        return {**data, **self.settings(), **more}


def _check_budgets(budgets: Any, n_pool: int, n_classes: int) -> NDArray[np.intp]:
    """Return rising label counts that the pool can give."""
    if budgets is None:
        largest = min(_LARGEST_BUDGET, n_pool)
        spaced = np.geomspace(min(n_classes, largest), largest, _N_BUDGETS)
        return np.unique(np.rint(spaced)).astype(np.intp)
    array = to_numpy(budgets, name="budgets")
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iu" or array.min() < 1:
        raise ModtoolsError(
            f"budgets must be whole numbers of at least 1, labels in all; got {budgets!r}."
        )
    if array.max() > n_pool:
        raise ModtoolsError(
            f"budgets must be at most the {n_pool} rows of train; got {array.max()}. "
            "Label more rows, or leave that budget out."
        )
    return np.unique(array).astype(np.intp)


def _check_names(given: Any, known: Sequence[str], name: str) -> tuple[str, ...]:
    """Return different names of those known, from one or several."""
    names = (given,) if isinstance(given, str) else tuple(given)
    if not names:
        raise ModtoolsError(f"a study needs at least one {name}. Known: {', '.join(known)}.")
    return tuple(dict.fromkeys(check_choice(one, known, name=name) for one in names))
