"""The result of `learning_curve`: accuracy, log loss and code length at each label count."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modtools._checks import check_fraction
from modtools._intervals import ROUNDED_95, MeasuredAccuracy, wilson
from modtools._results import Column, Result, percent, percent_interval
from modtools._types import FloatMatrix
from modtools._writing import versions
from modtools.exceptions import ModtoolsError
from modtools.outputs import log_spaced_counts
from modtools.plotting import LabelEfficiencyDisplay
from modtools.retraining._forecast import Forecast
from modtools.retraining._label_counts import LabelsToReach, first_reaching, rising

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["LearningCurve"]

_SHOWN = 20


@dataclass(frozen=True, eq=False, repr=False)
class LearningCurve(Result):
    """How well a ridge output module does with the first 1, ..., n labels of one order.

    Attributes
    ----------
    n_labels : ndarray of shape (n_counts,)
        Label counts: every one, or log-spaced ones where the labels are many.
    accuracy : ndarray of shape (n_counts,)
        Fraction of the test examples that are right, in [0, 1].
    log_loss : ndarray of shape (n_counts,)
        Mean log loss of the test examples in nats, right to 1e-6; lower is better.
    codelength : ndarray of shape (n_counts,)
        Bits that the labels so far cost when each is predicted from those before it, in all; lower
        is better.
    temperature : ndarray of shape (n_counts,)
        Divisor of the decision values before the softmax.
    alpha : float
        The absolute ridge penalty alpha, the same at every count.
    mean_, scale_ : ndarray of shape (n_features,)
        The standardisation; scale 0 marks a column that is ignored.
    classes : ndarray of shape (n_classes,)
        Sorted labels of all examples, test examples included.
    n_test : int
        Number of test examples.
    chance : float
        Share of the largest class of the test examples, in [0, 1].
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
    alpha: float
    mean_: FloatMatrix
    scale_: FloatMatrix
    classes: NDArray[Any]
    n_test: int
    chance: float
    decision_error: float
    settings: Mapping[str, Any]
    seconds: float
    versions: Mapping[str, str] = field(default_factory=versions)

    def interval(self) -> tuple[FloatMatrix, FloatMatrix]:
        """Return the 95 % Wilson interval of each accuracy: the test examples as a sample.

        It does not hold what another random subset of labels would change.

        Returns
        -------
        low, high : ndarray of shape (n_counts,)
            In [0, 1].
        """
        return wilson(self.accuracy, self.n_test, quantile=ROUNDED_95)

    def frame(self) -> "pd.DataFrame":
        """Return the curve as a table, one row per label count.

        Returns
        -------
        pandas.DataFrame
            Columns n_labels, metric ("accuracy"), value, value_low, value_high (95 % for the test
            examples), log_loss (nats), codelength (bits in all) and temperature.
        """
        import pandas as pd

        low, high = self.interval()
        return pd.DataFrame(
            {
                "n_labels": self.n_labels,
                "metric": "accuracy",
                "value": self.accuracy,
                "value_low": low,
                "value_high": high,
                "log_loss": self.log_loss,
                "codelength": self.codelength,
                "temperature": self.temperature,
            }
        )

    def labels_to_reach(
        self, accuracy: float, *, forecast: Forecast | None = None
    ) -> LabelsToReach:
        """Return with how many labels of this order the curve reaches an accuracy.

        Parameters
        ----------
        accuracy : float
            Strictly between 0 and 1.
        forecast : Forecast, optional
            What more labels would bring, by `extrapolate`; asked where the curve ends before.

        Returns
        -------
        LabelsToReach
            Labels, where the ends of `interval` reach it, and whether the curve does: (n_labels,
            n_labels_low, n_labels_high, status). Where it ends before, the status is "more_than"
            and n_labels its last count; ends are infinite beyond it. The interval holds what other
            test examples would change; for that of other labels, see `label_efficiency`. From a
            forecast, its 80 % interval.
        """
        accuracy = check_fraction(accuracy, name="accuracy")
        _check_forecast(forecast)
        low, high = self.interval()
        point, start, end = (
            first_reaching(self.n_labels, part, accuracy) for part in (self.accuracy, high, low)
        )
        if np.isfinite(point) or forecast is None or forecast.refused is not None:
            suffices = rising(self.accuracy)[0] > accuracy
            return LabelsToReach.of(0 if suffices else point, start, end, self.n_labels)
        measured = MeasuredAccuracy(float(self.accuracy[-1]), float(low[-1]), float(high[-1]))
        return forecast.labels_needed(accuracy, measured=measured).reach()

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        target: float | None = None,
        forecast: Forecast | None = None,
        name: str = "ridge output",
        others: Mapping[str, MeasuredAccuracy] | None = None,
        first: int = 1,
        title: str = "",
    ) -> LabelEfficiencyDisplay:
        """Draw accuracy against labels on `ax`, or on a new figure.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw.
        target : float, optional
            Accuracy that is marked where the curve reaches it, strictly between 0 and 1.
        forecast : Forecast, optional
            What more labels would bring, by `extrapolate`; drawn as a dashed continuation.
        name : str, default="ridge output"
            Name of the line.
        others : dict of str to MeasuredAccuracy, optional
            Accuracies of other output modules with all these labels by their names, as
            `ReusedModel.evaluate` returns them; a point each.
        first : int, default=1
            Smallest label count that is drawn, for example the number of classes.
        title : str, default=""
            Title of the picture; without one, what was measured.

        Returns
        -------
        LabelEfficiencyDisplay
            The picture, drawn; `save` writes it.
        """
        import pandas as pd

        _check_forecast(forecast)
        reached = ahead = None
        if target is not None:
            found = self.labels_to_reach(target, forecast=forecast)
            reached = pd.DataFrame([{"line": name, **found._asdict()}])
        if forecast is not None and forecast.refused is None:
            ahead = forecast.ahead(target).assign(line=name)
        table = self.frame().assign(line=name)
        rows = [
            {"line": other, "n_labels": self.n_labels[-1], **_limits(measured)}
            for other, measured in (others or {}).items()
        ]
        table = table[table["n_labels"] >= first]
        return LabelEfficiencyDisplay(
            pd.concat([table, pd.DataFrame(rows)]) if rows else table,
            target=target,
            reached=reached,
            forecast=ahead,
            chance=self.chance,
            title=title or self._measured_text(),
        ).plot(ax)

    def title(self) -> str:
        """Return one line that says what was measured.

        Returns
        -------
        str
            The line above the table.
        """
        return f"{self._measured_text()}, ridge alpha {self.alpha:.3g}"

    def _measured_text(self) -> str:
        return (
            f"Learning curve to {self.n_labels[-1]} labels, {len(self.classes)} classes, "
            f"{self.n_test} test examples"
        )

    def _columns(self) -> list[Column]:
        return [
            Column("labels", str, ("n_labels",)),
            Column("accuracy (%)", percent, ("value",)),
            Column("95 % interval", percent_interval, ("value_low", "value_high")),
            Column("log loss (nats)", "{:.3f}".format, ("log_loss",)),
            Column("code (bits/label)", _bits_per_label, ("codelength", "n_labels")),
        ]

    def _shown(self) -> "pd.DataFrame":
        """Return at most twenty rows, evenly on a logarithmic axis."""
        wanted = log_spaced_counts(int(self.n_labels[-1]))
        wanted = wanted[np.unique(np.linspace(0, len(wanted) - 1, _SHOWN).round().astype(int))]
        return self.frame()[np.isin(self.n_labels, wanted)]


def _check_forecast(forecast: Any) -> None:
    if not isinstance(forecast, Forecast | None):
        raise ModtoolsError(
            "forecast must be a Forecast, as extrapolate returns it; got "
            f"{type(forecast).__name__}."
        )


def _bits_per_label(bits: float, n_labels: int) -> str:
    return f"{bits / n_labels:.3f}"


def _limits(measured: MeasuredAccuracy) -> dict[str, float | None]:
    return {"value": measured.value, "value_low": measured.low, "value_high": measured.high}
