"""`check_score`: the contract of a transferability score, as a check for one's own."""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modtools.exceptions import ModtoolsError, ModtoolsWarning
from modtools.tasks import Kind
from modtools.transferability import SCORES, NotFiniteScoreError, Score, score

__all__ = ["check_score"]

_TOLERANCE = 1e-6


@dataclass(frozen=True)
class _Example:
    """Inputs of a score."""

    features: NDArray[np.float64]
    labels: NDArray[Any]
    probabilities: NDArray[np.float64]

    def value(self, name: str) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ModtoolsWarning)
            result = score(
                self.features, self.labels, [name], source_probabilities=self.probabilities
            )
        return result[name]

    def in_order(self, order: Any) -> "_Example":
        return _Example(self.features[order], self.labels[order], self.probabilities[order])

    def with_labels(self, labels: NDArray[Any]) -> "_Example":
        return _Example(self.features, labels, self.probabilities)


def _example(kind: Kind, n: int = 90, d: int = 6, signal: float = 1.5) -> _Example:
    rng = np.random.default_rng(0)
    codes = np.arange(n) % 3
    features = rng.normal(size=(n, d)) + signal * np.eye(3, d)[codes]
    logits = 2.0 * features[:, :4]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels: NDArray[Any] = codes
    if kind == "multilabel":
        labels = (features[:, :2] > 0.5).astype(int)
    if kind == "regression":
        labels = features[:, 0] + 0.1 * rng.normal(size=n)
    return _Example(features, labels, probabilities)


def _close(left: float, right: float) -> bool:
    return math.isclose(left, right, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


def _repeats(name: str, example: _Example) -> str:
    return "" if example.value(name) == example.value(name) else "two calls give two values"


def _keeps_inputs(name: str, example: _Example) -> str:
    copies = [array.copy() for array in vars(example).values()]
    example.value(name)
    same = all(
        np.array_equal(left, right)
        for left, right in zip(copies, vars(example).values(), strict=True)
    )
    return "" if same else "an input array was changed"


def _keeps_global_seed(name: str, example: _Example) -> str:
    before = np.random.get_state(legacy=False)  # noqa: NPY002 - the global state is under test
    example.value(name)
    after = np.random.get_state(legacy=False)  # noqa: NPY002
    return "" if str(before) == str(after) else "the global random state was touched"


def _ignores_order(name: str, example: _Example) -> str:
    order = np.random.default_rng(1).permutation(len(example.labels))
    value, expected = example.in_order(order).value(name), example.value(name)
    if _close(value, expected):
        return ""
    return f"another order of examples gives {value}, not {expected}"


def _ignores_label_names(name: str, example: _Example) -> str:
    if example.labels.ndim != 1 or example.labels.dtype.kind == "f":
        return ""
    expected = example.value(name)
    for names in (np.array([9, -4, 700]), np.array(["z", "a", "m"])):
        value = example.with_labels(names[example.labels]).value(name)
        if not _close(value, expected):
            return f"classes renamed to {names.tolist()} give {value}, not {expected}"
    return ""


def _is_finite_at_limits(name: str, example: _Example) -> str:
    features = example.features
    limits = {
        "all-zero features": np.zeros_like(features),
        "a constant column": np.column_stack([features, np.ones(len(features))]),
        "features of size 1e-9": features * 1e-9,
        "fewer examples than features": np.random.default_rng(2).normal(size=(len(features), 120)),
    }
    for what, changed in limits.items():
        try:
            _Example(changed, example.labels, example.probabilities).value(name)
        except NotFiniteScoreError as error:
            return f"{what}: {error}"
        except ModtoolsError:
            continue  # a score may reject what it is not defined for
    return ""


def _prefers_signal(name: str, example: _Example) -> str:
    order = np.random.default_rng(3).permutation(len(example.labels))
    value, noise = example.value(name), example.with_labels(example.labels[order]).value(name)
    if value > noise:
        return ""
    return f"shuffled labels score {noise}, true labels {value}; higher must be better"


_CHECKS: dict[str, Callable[[str, _Example], str]] = {
    "inputs stay as they are": _keeps_inputs,  # first: the others would hide a change
    "one input, one value": _repeats,
    "the global seed is left alone": _keeps_global_seed,
    "the order of rows does not matter": _ignores_order,
    "the names of classes do not matter": _ignores_label_names,
    "finite at the limits": _is_finite_at_limits,
    "true labels beat shuffled ones": _prefers_signal,
}


def _failures(entry: Score, except_for: set[str]) -> Iterator[str]:
    for kind in entry.kinds:
        example = _example(kind)
        for title, check in _CHECKS.items():
            reason = "" if title in except_for else check(entry.name, example)
            if reason:
                yield f"{title} ({kind}): {reason}"


def check_score(candidate: Score | str, *, except_for: dict[str, str] | None = None) -> None:
    """Check a transferability score against the contract of the built-in ones.

    For each kind of labels that the score is defined for:

    - Two calls agree; inputs and the global random state are not changed.
    - Neither the order of the examples nor the names of the classes matter.
    - The value is finite, or the score raises, for zero, constant, tiny and wide features.
    - True labels score higher than shuffled ones.

    Parameters
    ----------
    candidate : Score or str
        A registry entry, registered or not, or the name of a registered score.
    except_for : dict, optional
        Checks that are skipped, with the reason: ``{title of the check: reason}``.

    Raises
    ------
    ModtoolsError
        A check failed (the message lists all that failed, with reasons), or `except_for` names an
        unknown check.

    Examples
    --------
    >>> from modtools.transferability import Score
    >>> between = Score(
    ...     "between",
    ...     "moments",
    ...     lambda s: float((s.offsets**2).sum() / s.n**2),
    ...     range="[0, inf), squared units",
    ...     reference="own",
    ... )
    >>> check_score(between)
    """
    known = set(except_for or {})
    if known - set(_CHECKS):
        unknown = sorted(known - set(_CHECKS))[0]
        raise ModtoolsError(f'unknown check "{unknown}". Known: {"; ".join(_CHECKS)}.')
    entry = SCORES[candidate] if isinstance(candidate, str) else candidate
    if not isinstance(entry, Score):
        raise ModtoolsError(
            "check_score takes a modtools.transferability.Score or the name of a registered one; "
            f"got {type(entry).__name__}."
        )
    is_new = entry.name not in SCORES
    if is_new:
        SCORES.register(entry)
    try:
        failures = list(_failures(entry, known))
    finally:
        if is_new:
            SCORES.unregister(entry.name)
    if failures:
        raise ModtoolsError(f'score "{entry.name}" breaks its contract. ' + ". ".join(failures))
