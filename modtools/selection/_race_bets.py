"""Bets on which of two modules predicts better, valid whenever the race looks at them.

A bet on module i against module j multiplies what it holds by 1 + share * (d + margin) at every
example that both predicted, where d is 1 if only i was right, -1 if only j was, and 0 otherwise. If
i was not better than j minus the margin, on average over the examples so far, then what the bet
holds is never above a non-negative martingale that starts at 1, whatever the share, so the chance
that it ever reaches c is at most 1/c. Nobody knows the best share: an even mixture of shares is
held.

Modules learn at different speeds, so one that is behind over all examples may have caught up.
Evidence is therefore the smaller of two: of the bet over all examples, and of the same bet begun at
the more recent half. What is at most a valid e-value is one.
"""

import numpy as np
from numpy.typing import NDArray

from modtools._types import FloatMatrix

__all__ = ["PairedBets", "log_e_value"]

# A finite mixture is as valid as an integral, and exact. Shares below 1 keep every bet positive.
_SHARES = (np.arange(128) + 0.5) / 128


def log_e_value(
    won: NDArray[np.int64], lost: NDArray[np.int64], scored: NDArray[np.int64], margin: float = 0.0
) -> FloatMatrix:
    """Return the logarithm of what a mixture of bets holds: evidence for the first module.

    Parameters
    ----------
    won, lost : ndarray of int
        Examples that only the first module, or only the second, predicted correctly.
    scored : ndarray of int
        Examples that both predicted.
    margin : float, default=0.0
        By how much accuracy (in [0, 1)) the first module may be worse: evidence is against it
        being worse by this much, or by more.

    Returns
    -------
    ndarray of float
        Of the shape of the counts; 0 is no evidence.

    Examples
    --------
    >>> counts = (np.array(30), np.array(5), np.array(100))
    >>> round(float(np.exp(log_e_value(*counts))))
    5880
    """
    alike = scored - won - lost
    logs = (
        won[..., None] * np.log1p(_SHARES * (1 + margin))
        + lost[..., None] * np.log1p(-_SHARES * (1 - margin))
        + alike[..., None] * np.log1p(_SHARES * margin)
    )
    largest = logs.max(axis=-1)
    mean = np.exp(logs - largest[..., None]).mean(axis=-1)
    return np.asarray(largest + np.log(mean))


class PairedBets:
    """Bets of every module against every other one, on the examples that both have predicted.

    Parameters
    ----------
    n_modules : int
        How many modules start.

    Examples
    --------
    >>> bets = PairedBets(2)
    >>> bets.add(np.array([0, 1]), np.array([[True] * 9, [False] * 9]))
    >>> bets.log_e_values()[0, 1] > np.log(20)
    np.True_
    """

    def __init__(self, n_modules: int) -> None:
        nothing = np.zeros((n_modules, n_modules), dtype=np.int64)
        self._won, self._scored = [nothing], [nothing]  # so far, after each batch

    def add(self, running: NDArray[np.intp], right: NDArray[np.bool_]) -> None:
        """Count a batch of examples.

        Parameters
        ----------
        running : ndarray of shape (n_running,)
            Places of the modules that predicted it; the bets of the others stay as they are.
        right : ndarray of shape (n_running, n_examples)
            Which examples each of them predicted correctly.
        """
        pairs = np.ix_(running, running)
        correct = right.astype(np.int64)
        won, scored = self._won[-1].copy(), self._scored[-1].copy()
        won[pairs] += correct @ (1 - correct).T
        scored[pairs] += right.shape[1]
        self._won.append(won)
        self._scored.append(scored)

    def log_e_values(self, margin: float = 0.0) -> FloatMatrix:
        """Return the logarithms of the e-values, rows for the module that is better.

        Parameters
        ----------
        margin : float, default=0.0
            As for `log_e_value`.

        Returns
        -------
        ndarray of shape (n_modules, n_modules)
            Evidence that the module of the row is not worse than that of the column by the margin:
            over all batches, or over the more recent half of them where that says less.
        """
        return np.minimum(self._since(0, margin), self._since((len(self._won) - 1) // 2, margin))

    def _since(self, batch: int, margin: float) -> FloatMatrix:
        won = self._won[-1] - self._won[batch]
        scored = self._scored[-1] - self._scored[batch]
        return log_e_value(won, won.T, scored, margin)
