"""Held-out predictions of ridge classifiers on sums of kernels: one inverse per sum, no refits."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modtools._intervals import NORMAL_95, agresti_coull
from modtools._types import FloatArray, FloatMatrix
from modtools.outputs import HeldOutJudge, KernelInverse, StandardizedRows, one_hot

__all__ = ["HeldOut", "KernelJudge", "unit_kernel"]

Kernel = NDArray[np.float32]
# Penalty in units of a kernel's mean diagonal; the choice hardly depends on it.
_ALPHA: Final = 1.0
_N_FOLDS: Final = 5
# Fewer divisions than the score `half_split` makes (4 to 30): many sums of kernels are tried, and
# all of them on the same divisions.
_FEWEST_SPLITS, _MOST_SPLITS = 3, 20
# Folds share most of their training examples: their errors vary more than independent ones would.
_INFLATION: Final = 1.4


def unit_kernel(features: FloatArray) -> Kernel | None:
    """Return the kernel of standardised features, its mean diagonal 1; None without variance.

    >>> unit_kernel(np.array([[0.0], [2.0]]))
    array([[ 1., -1.],
           [-1.,  1.]], dtype=float32)
    """
    rows = StandardizedRows.of(features)
    if not rows.n_varying:
        return None
    dense = rows.dense(np.float32)
    return np.asarray(dense @ dense.T / np.float32(rows.n_varying))


class HeldOut(NamedTuple):
    """What the held-out predictions of one kernel are worth, example by example.

    Attributes
    ----------
    right : ndarray of shape (n_samples,)
        Share of the five-fold splits in which an example's class was predicted.
    losses : ndarray of shape (n_samples,)
        Log loss of an example where half of them were held out, in nats, the mean over splits.
    """

    right: FloatMatrix
    losses: FloatMatrix

    @property
    def accuracy(self) -> float:
        """Cross-validated accuracy, in [0, 1]."""
        return float(self.right.mean())

    @property
    def loss(self) -> float:
        """Mean log loss of held-out halves, in nats per label."""
        return float(self.losses.mean())

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the accuracy.

        >>> low, high = HeldOut(np.ones(100), np.zeros(100)).interval()
        >>> round(low, 3), high
        (0.949, 1.0)
        """
        n = len(self.right)
        centre = agresti_coull(self.accuracy, n)
        half = NORMAL_95 * np.sqrt(_INFLATION * centre * (1 - centre) / n)
        return max(0.0, float(centre - half)), min(1.0, float(centre + half))

    def gain(self, other: "HeldOut") -> tuple[float, float, float]:
        """Return the difference of the accuracies and its 95 % interval, examples paired.

        >>> HeldOut(np.ones(4), np.zeros(4)).gain(HeldOut(np.ones(4), np.zeros(4)))
        (0.0, 0.0, 0.0)
        """
        difference = self.right - other.right
        middle = float(difference.mean())
        half = float(NORMAL_95 * np.sqrt(_INFLATION * difference.var() / len(difference)))
        return middle, middle - half, middle + half


@dataclass(frozen=True)
class KernelJudge:
    """Judges kernels by ridge classifiers on held-out examples, in divisions common to all kernels.

    One inverse gives the held-out predictions of every division, so a sum of kernels costs one
    factorisation, whatever the divisions.

    Attributes
    ----------
    codes : ndarray of shape (n_samples,)
        Class of each example, every class present.
    seed : int
        Seed of the splits.
    groups : ndarray of shape (n_samples,), optional
        Group of each example, at least two; a group is never split.
    """

    codes: NDArray[np.intp]
    seed: int
    groups: NDArray[np.intp] | None = None

    @cached_property
    def _targets(self) -> FloatMatrix:
        return one_hot(self.codes, int(self.codes.max()) + 1)

    @cached_property
    def _judge(self) -> HeldOutJudge:
        return HeldOutJudge(
            self.codes,
            self._targets.shape[1],
            self.seed,
            fewest=_FEWEST_SPLITS,
            most=_MOST_SPLITS,
            groups=self.groups,
        )

    @cached_property
    def _halves(self) -> list[NDArray[np.intp]]:
        return self._judge.divisions(2)

    @cached_property
    def _folds(self) -> list[NDArray[np.intp]]:
        return self._judge.divisions(_N_FOLDS)

    def judge(self, kernel: NDArray[Any], *, total: float = 1.0) -> HeldOut:
        """Return what a kernel is worth, or a sum of as many unit kernels as `total` says.

        Parameters
        ----------
        kernel : ndarray of shape (n_samples, n_samples)
            Symmetric; not changed.
        total : float, default=1.0
            The mean of its diagonal.

        Returns
        -------
        HeldOut
            Right predictions and losses of each example.

        Examples
        --------
        >>> codes = np.arange(20) % 2
        >>> kernel = unit_kernel(codes[:, None] + 0.1 * np.sin(np.arange(20.0))[:, None])
        >>> KernelJudge(codes, seed=0).judge(kernel).accuracy
        1.0
        """
        inverse = KernelInverse.of(kernel, self._targets, _ALPHA * total)
        return HeldOut(
            self._judge.accuracies(inverse.decisions(self._folds)),
            self._judge.log_losses(inverse.decisions(self._halves)),
        )
