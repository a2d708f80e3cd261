"""What more labels would bring: one line of text, numbers for JSON, rows for a picture."""

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from modtools._intervals import MeasuredAccuracy
    from modtools.retraining import Forecast
    from modtools.retraining._labels_needed import LabelsNeeded

__all__ = ["forecast_content", "forecast_rows", "forecast_text", "next_target", "reached_row"]

_ROUND: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
_MARGIN: Final = 0.01  # a target nearer than that is reached already, for all that is known
_N_MORE: Final = 10
_MULTIPLE: Final = 5  # how many times the labels a picture looks ahead
_FURTHEST: Final = 20  # a forecast says nothing beyond
_N_DRAWN: Final = 12


def next_target(accuracy: float) -> float | None:
    """Return the next round accuracy that is worth asking for, None where none is left.

    >>> next_target(0.84), next_target(0.895), next_target(0.99)
    (0.9, 0.95, None)
    """
    return next((level for level in _ROUND if level > accuracy + _MARGIN), None)


def _needed(
    forecast: "Forecast", target: float, measured: "MeasuredAccuracy | None"
) -> "LabelsNeeded":
    """Return what the target needs: one result for the line, the JSON and the picture."""
    from modtools.retraining._forecast import FURTHEST
    from modtools.retraining._label_counts import Reach
    from modtools.retraining._labels_needed import labels_needed

    n_there = forecast.n_labels
    reached = Reach(*forecast.labels_to_reach(target))
    limits = {"n_there": n_there, "furthest": FURTHEST * n_there}
    return labels_needed(target, reached, **limits, measured=measured)


def forecast_text(
    forecast: "Forecast", target: float | None, measured: "MeasuredAccuracy | None" = None
) -> str:
    """Return how many labels the target needs and what the next ten bring, or why nobody knows.

    What was measured with the labels there are is never contradicted.
    """
    if forecast.refused:
        return f"what more would bring cannot be said: {forecast.refused.rstrip('.')}."
    gain = f"{_N_MORE} more labels now are worth about {100 * forecast.gain(_N_MORE):+.1f} points."
    if target is None:
        return gain
    return f"{_needed(forecast, target, measured).text()}; {gain}"


def forecast_content(
    forecast: "Forecast", target: float | None, measured: "MeasuredAccuracy | None" = None
) -> dict[str, Any]:
    """Return the same as numbers for JSON; null is what is refused or not known."""
    refused = forecast.refused or None
    content: dict[str, Any] = {"refused": refused, "target": target}
    names = ("", "_low", "_high")
    numbers: dict[str, Any] = {f"labels_to_reach{name}": None for name in names}
    if not refused and target is not None:
        numbers = _needed(forecast, target, measured).content()
    gain = None if refused else 100 * float(forecast.gain(_N_MORE))
    return {**content, **numbers, f"points_of_{_N_MORE}_more_labels": gain}


def forecast_rows(
    forecast: "Forecast", line: str, target: float | None = None
) -> "pd.DataFrame | None":
    """Return the rows of a line's dashed continuation, None where the forecast is refused.

    It looks five times ahead, or as far as the target, from the labels that there are.
    """
    import pandas as pd

    if forecast.refused:
        return None
    furthest = _MULTIPLE * forecast.n_labels
    reached = math.inf if target is None else forecast.labels_to_reach(target)[0]
    if math.isfinite(reached):
        furthest = min(max(furthest, int(1.3 * reached)), _FURTHEST * forecast.n_labels)
    counts = _round_counts(forecast.n_labels, furthest)
    values = [forecast.accuracy(count) for count in counts]
    table = pd.DataFrame(values, columns=["accuracy", "accuracy_low", "accuracy_high"])
    return table.assign(line=line, n_labels=counts)


def _round_counts(first: int, last: int) -> list[int]:
    """Return counts evenly on a log axis, both ends and all of 1, 2, 5, 10, ... between them.

    >>> _round_counts(180, 900)
    [180, 200, 210, 240, 280, 320, 370, 430, 500, 580, 670, 780, 900]
    """
    evenly = np.geomspace(first, last, _N_DRAWN)
    units = 10.0 ** np.maximum(np.floor(np.log10(evenly)) - 1, 0)
    nice = np.outer(10.0 ** np.arange(8), [1, 2, 5]).ravel()
    counts = np.concatenate([[first], np.round(evenly / units) * units, nice, [last]])
    kept = np.unique(counts[(counts >= first) & (counts <= last)])
    return [int(count) for count in kept]


def reached_row(
    forecast: "Forecast",
    line: str,
    target: float | None,
    measured: "MeasuredAccuracy | None" = None,
) -> "pd.DataFrame | None":
    """Return with how many labels a line reaches the target, None where nobody knows."""
    import pandas as pd

    if forecast.refused or target is None:
        return None
    reached = _needed(forecast, target, measured).reach()
    return pd.DataFrame([{"line": line, **reached._asdict()}])
