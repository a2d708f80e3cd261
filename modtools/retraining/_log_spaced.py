"""Decision values at log-spaced label counts, for more rows than a kernel matrix can hold."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve

from modtools._checks import rows_per_block
from modtools._types import FloatMatrix
from modtools.outputs import StandardizedRows, standardize
from modtools.retraining._every_count import DecisionBlock

__all__ = ["LogSpaced", "log_spaced_counts"]

_PER_DECADE = 16


def log_spaced_counts(n_samples: int) -> NDArray[np.intp]:
    """Return whole numbers from 1 to `n_samples`, sixteen a decade where they differ.

    >>> log_spaced_counts(1000)[[0, 1, 2, -2, -1]].tolist()
    [1, 2, 3, 866, 1000]
    """
    n_steps = int(np.ceil(_PER_DECADE * np.log10(n_samples))) + 1
    return np.unique(np.rint(np.geomspace(1, n_samples, n_steps))).astype(np.intp)


@dataclass(frozen=True)
class LogSpaced:
    """The ridge machines of the first rows at some label counts, from running scatters.

    Attributes
    ----------
    rows : StandardizedRows
        All labelled rows.
    order : ndarray of shape (n_samples,)
        Row numbers in the order in which they are learned.
    targets : ndarray of shape (n_samples, n_classes)
        One-hot targets in that order.
    strength : float
        Penalty added to the scatter.
    counts : ndarray of int
        Rising label counts.

    Examples
    --------
    >>> rows = StandardizedRows(np.array([[-1.0], [1.0]]), np.zeros(1), np.ones(1))
    >>> tests = StandardizedRows(np.array([[2.0]]), np.zeros(1), np.ones(1))
    >>> machines = LogSpaced(rows, np.arange(2), np.eye(2), 1e-9, np.array([1, 2]))
    >>> [decisions.ravel().round(6).tolist() for _, _, decisions in machines.blocks(tests)]
    [[1.0, 0.0], [-0.5, 1.5]]
    """

    rows: StandardizedRows
    order: NDArray[np.intp]
    targets: FloatMatrix
    strength: float
    counts: NDArray[np.intp]

    def blocks(self, tests: StandardizedRows) -> Iterator[DecisionBlock]:
        """Yield (position of the label count, test rows, decisions (n_classes, 1, n_rows)).

        Parameters
        ----------
        tests : StandardizedRows
            Test rows, standardised as the learned rows are.

        Yields
        ------
        tuple
            As `EveryCount.blocks`.
        """
        for position, (weights, intercepts) in enumerate(self._machines()):
            for place, block in tests.blocks():
                decisions = np.ascontiguousarray((block @ weights + intercepts).T)
                yield slice(position, position + 1), place, decisions[:, None, :]

    def _machines(self) -> Iterator[tuple[FloatMatrix, FloatMatrix]]:
        """Yield weights (n_features, n_classes) and intercepts (n_classes,) of each count."""
        d, n_classes = self.rows.n_features, self.targets.shape[1]
        products, cross = np.zeros((d, d)), np.zeros((d, n_classes))
        sums, class_sums, start = np.zeros(d), np.zeros(n_classes), 0
        for count in self.counts:
            for place in _pieces(start, int(count), rows_per_block(d, 8)):
                own = self.rows.features[self.order[place]]
                block = standardize(own, self.rows.mean, self.rows.scale)
                products += block.T @ block
                cross += block.T @ self.targets[place]
                sums += block.sum(axis=0)
                class_sums += self.targets[place].sum(axis=0)
            start = int(count)
            mean, class_mean = sums / count, class_sums / count
            scatter = products - np.outer(sums, mean)
            scatter[np.diag_indices_from(scatter)] += self.strength
            weights = solve(
                scatter,
                cross - np.outer(sums, class_mean),
                assume_a="pos",
                overwrite_a=True,
                check_finite=False,
            )
            yield weights, class_mean - mean @ weights


def _pieces(start: int, stop: int, step: int) -> Iterator[slice]:
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))
