"""Which examples to label: strategies that read features only, and an oracle named as one."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from modtools._checks import (
    check_choice,
    check_features,
    check_integer,
    check_lengths,
    check_positive,
    raise_if_not_finite,
)
from modtools._types import FloatArray
from modtools.exceptions import ModtoolsError
from modtools.retraining._clusters import choose_cover, choose_typical
from modtools.retraining._distances import SquaredDistances
from modtools.tasks import encode_labels

__all__ = ["STRATEGIES", "choose_labels"]

Rows: TypeAlias = NDArray[np.intp]
_ORACLE: Final = "oracle_balanced"
# The noise of a label beside the variance that the features explain, where none is given.
_NOISE: Final = 0.01


@runtime_checkable
class QueryStrategy(Protocol):
    """A query strategy of scikit-activeml, or one of its kind."""

    def query(self, X: Any, y: Any, *, batch_size: int) -> Any:
        """Return the rows to label."""


def choose_labels(
    features: Any,
    n: int,
    *,
    strategy: Any = "typical",
    seed: int = 0,
    normalize: bool = True,
    alpha: float | None = None,
    labels: Any = None,
    query_options: Mapping[str, Any] | None = None,
) -> NDArray[np.intp]:
    """Return which examples to label, in the order in which they should be labelled.

    No strategy sees a label, except ``oracle_balanced``, as its name says: it shows what balanced
    labels would give, and must not be compared with the others as if it were one of them.

    - ``random``: drawn without replacement; the first examples are those of a smaller `n`.
    - ``k_center``: begins nearest to the mean; the next example is farthest from those chosen.
    - ``herding``: keeps the mean of the chosen examples close to the mean of all.
    - ``typical``: one example of each of n clusters, that with the nearest neighbours (TypiClust).
    - ``cover``: balls around the chosen examples cover as many as possible (ProbCover); their
      radius is the largest that keeps 95 % of the balls within one of n clusters.
    - ``variance``: the next example has the largest predictive variance of the kernel ridge model
      on centred features, ties to the first.

    With few labels (some 10 per class) ``typical`` and ``cover`` usually serve best. The arithmetic
    has the type of the features, float32 or float64, and needs some copies of them, never a matrix
    of all pairs of examples.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Features of the unlabelled examples.
    n : int
        Number of examples to choose.
    strategy : str or query strategy, default="typical"
        A name, or a query strategy of scikit-activeml (extra ``active``): anything with a method
        ``query(X=, y=, batch_size=)``, which gets all labels as missing.
    seed : int, default=0
        Seed of ``random``, of the clusters of ``typical`` and ``cover``, and of the examples within
        a class of ``oracle_balanced``; the others have no randomness.
    normalize : bool, default=True
        Whether examples are scaled to length 1 first, as ``typical`` and ``cover`` were published.
    alpha : float, optional
        For ``variance``: the penalty of the model (noise of a label), an absolute number. By
        default a hundredth of the mean squared length of the centred examples.
    labels : array-like of shape (n_samples,), optional
        For ``oracle_balanced`` only.
    query_options : mapping, optional
        Further arguments of the ``query`` of a strategy of scikit-activeml.

    Returns
    -------
    ndarray of shape (n,)
        Row numbers in `features`, all different.

    Examples
    --------
    >>> features = [[0.0, 1.0], [0.1, 1.0], [0.0, 1.1], [1.0, 0.0], [1.0, 0.1], [1.1, 0.0]]
    >>> sorted((choose_labels(features, 2, strategy="k_center") // 3).tolist())
    [0, 1]
    """
    n = check_integer(n, name="n")
    seed = check_integer(seed, name="seed", minimum=0)
    unlabelled = check_features(features, minimum_rows=1)
    raise_if_not_finite(unlabelled)
    if n > len(unlabelled):
        raise ModtoolsError(
            f"n must be at most the {len(unlabelled)} unlabelled examples; got {n}."
        )
    is_oracle = isinstance(strategy, str) and strategy == _ORACLE
    if labels is not None and not is_oracle:
        raise ModtoolsError(f'labels= is for strategy="{_ORACLE}": no other may see a label.')
    if is_oracle:
        return _choose_balanced(labels, len(unlabelled), n, seed)
    rows = _comparable(unlabelled, unit_length=normalize)
    if isinstance(strategy, QueryStrategy):
        return _query(strategy, rows, n, query_options or {})
    name = check_choice(strategy, [*STRATEGIES, _ORACLE], name="strategy")
    if name == "variance":
        return _choose_variance(rows, n, alpha)
    return STRATEGIES[name](rows, n, seed)


def _comparable(features: FloatArray, *, unit_length: bool) -> FloatArray:
    """Return rows of length 1, or divided by one number, so that no unit matters; same dtype."""
    # By the largest entry first, so that squares of very small and very large values stay in range.
    largest = np.maximum(features.max(axis=1), -features.min(axis=1))[:, None]
    if not unit_length:
        return np.asarray(features / (largest.max() or 1))
    rows = features / np.where(largest > 0, largest, 1)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    rows /= np.where(lengths > 0, lengths, 1)
    return np.asarray(rows)


def _choose_random(rows: FloatArray, n: int, seed: int) -> Rows:
    return np.random.default_rng(seed).permutation(len(rows))[:n]


def _choose_k_center(rows: FloatArray, n: int, seed: int) -> Rows:
    chosen = np.empty(n, dtype=np.intp)
    distances = SquaredDistances(rows)
    chosen[0] = distances.squares.argmin()
    nearest = np.full(len(rows), np.inf)
    for position in range(1, n):
        last = chosen[position - 1]
        np.minimum(nearest, distances.to_row(last), out=nearest)
        nearest[last] = -np.inf  # a copy of a chosen example is still another one
        chosen[position] = nearest.argmax()
    return chosen


def _choose_herding(rows: FloatArray, n: int, seed: int) -> Rows:
    chosen = np.empty(n, dtype=np.intp)
    is_free = np.ones(len(rows), dtype=bool)
    mean = rows.mean(axis=0, dtype=np.float64)
    wanted = mean.copy()
    for position in range(n):
        along = rows @ wanted.astype(rows.dtype)
        chosen[position] = np.where(is_free, along, -np.inf).argmax()
        is_free[chosen[position]] = False
        wanted += mean - rows[chosen[position]]
    return chosen


def _choose_variance(rows: FloatArray, n: int, alpha: float | None = None) -> Rows:
    """Pivoted Cholesky of the centred kernel plus alpha, in the space of the features.

    The variance of an example given the chosen ones is its own minus the squares of its products
    with one direction per chosen example: a column of the factor, which need not be stored.
    """
    centred = rows - rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)
    variances = np.einsum("ij,ij->i", centred, centred).astype(np.float64)
    if alpha is None:
        alpha = _NOISE * float(variances.mean()) or 1.0
    alpha = check_positive(alpha, name="alpha")
    chosen = np.empty(n, dtype=np.intp)
    directions = np.zeros((n, rows.shape[1]))
    is_free = np.ones(len(rows), dtype=bool)
    for position in range(n):
        pick = int(np.where(is_free, variances, -np.inf).argmax())
        chosen[position], is_free[pick] = pick, False
        row = centred[pick].astype(np.float64)
        direction = row - directions[:position].T @ (directions[:position] @ row)
        direction /= np.sqrt(alpha + max(row @ direction, 0.0))
        directions[position] = direction
        variances -= np.square(centred @ direction.astype(rows.dtype))
    return chosen


def _choose_balanced(labels: Any, n_rows: int, n: int, seed: int) -> Rows:
    """Return examples in rounds of one of each class, shuffled within the class."""
    if labels is None:
        raise ModtoolsError(f'strategy="{_ORACLE}" needs labels=, the class of every example.')
    encoded = encode_labels(labels, kind="classification")
    check_lengths(features=range(n_rows), labels=encoded)
    order = np.random.default_rng(seed).permutation(n_rows)
    codes = np.asarray(encoded.codes)[order]
    rounds = np.empty(n_rows, dtype=np.intp)
    for code, count in enumerate(encoded.counts()):
        rounds[codes == code] = np.arange(count)
    return np.asarray(order[np.lexsort((codes, rounds))][:n])


def _query(strategy: QueryStrategy, rows: FloatArray, n: int, options: Mapping[str, Any]) -> Rows:
    """Ask a query strategy, which gets every label as missing."""
    missing = getattr(strategy, "missing_label", np.nan)
    unknown = np.full(len(rows), missing, dtype=None if isinstance(missing, float) else object)
    chosen = np.asarray(strategy.query(X=rows, y=unknown, batch_size=n, **options))
    whole = chosen.dtype.kind in "iu" and chosen.shape == (n,)
    if not whole or len(np.unique(chosen)) < n or not 0 <= chosen.min() <= chosen.max() < len(rows):
        raise ModtoolsError(
            f"{type(strategy).__name__}.query must return {n} different row numbers; "
            f"got {chosen!r}."
        )
    return chosen.astype(np.intp)


STRATEGIES: Final[dict[str, Callable[[FloatArray, int, int], Rows]]] = {
    "random": _choose_random,
    "k_center": _choose_k_center,
    "herding": _choose_herding,
    "typical": choose_typical,
    "cover": choose_cover,
    "variance": lambda rows, n, seed: _choose_variance(rows, n),
}
