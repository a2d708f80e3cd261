"""What a learning curve gives back: accuracy, log loss and code length at each label count."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modtools._tables import html_table, text_table
from modtools._writing import versions
from modtools.outputs._base import FloatMatrix
from modtools.retraining._log_spaced import log_spaced_counts

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LearningCurve"]

_NORMAL_95 = 1.96
_SHOWN = 20


@dataclass(frozen=True, eq=False, repr=False)
class LearningCurve:
    """How well a ridge output module does with the first 1, ..., n labels of one order.

    Attributes
    ----------
    n_labels : ndarray of shape (n_counts,)
        Label counts: every one, or log-spaced ones where the labels are many.
    accuracy : ndarray of shape (n_counts,)
        Share of the test rows that are right, in [0, 1].
    log_loss : ndarray of shape (n_counts,)
        Mean log loss of the test rows in nats; lower is better.
    codelength : ndarray of shape (n_counts,)
        Bits that the labels so far cost when each is predicted from those before it, in all; lower
        is better.
    temperature : ndarray of shape (n_counts,)
        Divisor of the decision values before the softmax.
    strength : float
        The absolute ridge strength, the same at every count.
    mean_, scale_ : ndarray of shape (n_features,)
        The standardisation; scale 0 marks a column that is ignored.
    classes : ndarray of shape (n_classes,)
        Sorted labels of all rows, test rows included.
    n_test : int
        Number of test rows.
    decision_error : float
        Largest error of a decision value at the last count that comes from float32 products, as
        measured; 0 for float64.
    settings : dict
        What was asked.
    seconds : float
        What it cost.
    versions : dict
        Versions of modtools and of what it stands on.
    """

    n_labels: NDArray[np.intp]
    accuracy: FloatMatrix
    log_loss: FloatMatrix
    codelength: FloatMatrix
    temperature: FloatMatrix
    strength: float
    mean_: FloatMatrix
    scale_: FloatMatrix
    classes: NDArray[Any]
    n_test: int
    decision_error: float
    settings: Mapping[str, Any]
    seconds: float
    versions: Mapping[str, str] = field(default_factory=versions)

    def interval(self) -> tuple[FloatMatrix, FloatMatrix]:
        """Return the 95 % Wilson interval of each accuracy: the test rows as a sample.

        It does not hold what another draw of labels would change.

        Returns
        -------
        low, high : ndarray of shape (n_counts,)
            In [0, 1].
        """
        spread = _NORMAL_95**2 / self.n_test
        centre = self.accuracy + spread / 2
        variance = self.accuracy * (1 - self.accuracy) / self.n_test
        half = _NORMAL_95 * np.sqrt(variance + spread / (4 * self.n_test))
        low, high = (centre - half) / (1 + spread), (centre + half) / (1 + spread)
        return np.maximum(low, 0.0), np.minimum(high, 1.0)

    def frame(self) -> "pd.DataFrame":
        """Return the curve as a table, one row a label count.

        Returns
        -------
        pandas.DataFrame
            Columns n_labels, accuracy, accuracy_low, accuracy_high (95 % for the test rows),
            log_loss (nats), codelength (bits in all) and temperature.
        """
        import pandas as pd

        low, high = self.interval()
        return pd.DataFrame(
            {
                "n_labels": self.n_labels,
                "accuracy": self.accuracy,
                "accuracy_low": low,
                "accuracy_high": high,
                "log_loss": self.log_loss,
                "codelength": self.codelength,
                "temperature": self.temperature,
            }
        )

    def _table(self) -> tuple[list[str], list[list[str]], str]:
        """Return header, at most twenty log-spaced rows, and title."""
        wanted = log_spaced_counts(int(self.n_labels[-1]))
        wanted = wanted[np.unique(np.linspace(0, len(wanted) - 1, _SHOWN).round().astype(int))]
        shown = np.flatnonzero(np.isin(self.n_labels, wanted))
        header = ["labels", "accuracy (%)", "95 % interval", "log loss (nats)", "code (bits/label)"]
        low, high = self.interval()
        rows = [
            [
                str(self.n_labels[i]),
                f"{100 * self.accuracy[i]:.1f}",
                f"[{100 * low[i]:.1f}, {100 * high[i]:.1f}]",
                f"{self.log_loss[i]:.3f}",
                f"{self.codelength[i] / self.n_labels[i]:.3f}",
            ]
            for i in shown
        ]
        title = (
            f"Learning curve to {self.n_labels[-1]} labels, {len(self.classes)} classes, "
            f"{self.n_test} test rows, ridge strength {self.strength:.3g}"
        )
        return header, rows, title

    def __repr__(self) -> str:
        header, rows, title = self._table()
        return text_table(header, rows, title=title)

    def _repr_html_(self) -> str:
        header, rows, title = self._table()
        return html_table(header, rows, title=title)
