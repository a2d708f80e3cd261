"""A forecast as rows of a picture."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from modtools._intervals import MeasuredAccuracy
    from modtools.retraining import Forecast

__all__ = ["forecast_rows", "reached_row"]


def forecast_rows(
    forecast: "Forecast", line: str, target: float | None = None
) -> "pd.DataFrame | None":
    """Return the rows of a line's dashed continuation, None where the forecast is refused."""
    return None if forecast.refused else forecast.ahead(target).assign(line=line)


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
    reached = forecast.labels_needed(target, measured=measured).reach()
    return pd.DataFrame([{"line": line, **reached._asdict()}])
