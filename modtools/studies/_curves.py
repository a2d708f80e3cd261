"""The curves of a study, with their resamples, and the numbers that are read from a curve."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modtools._checks import did_you_mean
from modtools._intervals import Resamples, percentile_interval
from modtools._types import FloatMatrix
from modtools.exceptions import ModtoolsError
from modtools.retraining import LabelsToReach, labels_at, rising
from modtools.studies._from_scratch import FROM_SCRATCH
from modtools.studies._measure import Line, Measured, Plan

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Curves",
    "description_length",
    "deviation",
    "factors",
    "interval",
    "mean_area",
    "reach",
]


class Curves:
    """All lines of a study.

    Parameters
    ----------
    lines : mapping of Line to sequence of Measured
        The repeats of each line.
    plan : Plan
        What was measured.

    Attributes
    ----------
    lines : dict of Line to Measured
        The same, with an axis of repeats before all others.
    """

    def __init__(self, lines: Mapping[Line, Sequence[Measured]], plan: Plan) -> None:
        self.lines = {
            line: Measured(*(np.stack(part) for part in zip(*repeats, strict=True)))
            for line, repeats in lines.items()
        }
        self._plan = plan

    @cached_property
    def resamples(self) -> Resamples:
        """The resamples, drawn when first asked for."""
        n_repeats = [len(found.accuracy) for found in self.lines.values()]
        return Resamples.of(n_repeats, n_test=len(self._plan.test_codes), seed=self._plan.seed)

    @cached_property
    def resampled(self) -> dict[Line, FloatMatrix]:
        """Accuracies (n_resamples, n_counts) of every line."""
        return {line: self.resamples.accuracies(found.right) for line, found in self.lines.items()}

    @cached_property
    def rising(self) -> dict[Line, tuple[FloatMatrix, FloatMatrix]]:
        """Monotone accuracies of every line: their mean, and every resample."""
        return {
            line: (rising(found.accuracy.mean(axis=0)), rising(self.resampled[line]))
            for line, found in self.lines.items()
        }

    def tidy(
        self, columns: Callable[[Line, Measured], Mapping[str, Any]], needs: str = "accuracy"
    ) -> "pd.DataFrame":
        """Return the tables of all lines that have what is needed, one below the other."""
        import pandas as pd

        tables = []
        for line, found in self.lines.items():
            if not np.isnan(getattr(found, needs)).any():
                values = {**line._asdict(), **columns(line, found)}
                if needs != "accuracy" and len(found.accuracy) == 1:
                    # One repeat has no spread.
                    ends = [name for name in values if name.endswith(("low", "high"))]
                    values |= dict.fromkeys(ends, np.nan)
                is_long = any(np.ndim(value) for value in values.values())
                tables.append(pd.DataFrame(values if is_long else [values]))
        if not tables:
            raise ModtoolsError(
                f"no output module of this study has a {needs}: it has "
                f'{", ".join(self._plan.outputs)}. Add "ridge" to outputs.'
            )
        return pd.concat(tables, ignore_index=True)

    def named(self, table: "pd.DataFrame") -> "pd.DataFrame":
        """Return the table as pictures read it, its lines named as briefly as they differ."""
        rows = zip(table["module"], table["output"], table["strategy"], strict=True)
        lines = [self._names.get(Line(*row), row[0]) for row in rows]
        return table.assign(line=lines)

    @cached_property
    def _names(self) -> dict[Line, str]:
        own = [line for line in self.lines if line.module != FROM_SCRATCH.module]
        parts = [0, *(part for part in (1, 2) if len({line[part] for line in own}) > 1)]
        return {line: ", ".join(line[part] for part in parts) for line in own}

    def cells(self, line: Line, places: Sequence[int]) -> list[str]:
        """Return mean and deviation of a line at some label counts, in percent, as text."""
        accuracy = 100 * self.lines[line].accuracy
        means, spread = accuracy.mean(axis=0), deviation(accuracy)
        if len(accuracy) == 1:
            return [f"{means[place]:.1f}" for place in places]
        return [f"{means[place]:.1f} ± {spread[place]:.1f}" for place in places]

    def pairs(self, module: str, baseline: str) -> list[tuple[Line, Line]]:
        """Return the lines of a module, each with the line of the baseline it is compared with."""
        ours, theirs = self._lines_of(module), self._lines_of(baseline)
        pairs = [(a, b) for a in ours for b in theirs if a[1:] == b[1:] or len(theirs) == 1]
        if not pairs:
            raise ModtoolsError(
                f'"{module}" and "{baseline}" have no output module and strategy in common.'
            )
        return pairs

    def _lines_of(self, module: str) -> list[Line]:
        lines = [line for line in self.lines if line.module == module]
        if not lines:
            names = list(dict.fromkeys(line.module for line in self.lines))
            near = did_you_mean(str(module), names) or "."
            raise ModtoolsError(f'this study holds no module "{module}"{near} It holds {names}.')
        return lines


def deviation(values: FloatMatrix) -> FloatMatrix:
    """Return the standard deviation between repeats; missing for a single one."""
    if len(values) == 1:
        return np.full(values.shape[1], np.nan)
    return np.asarray(values.std(axis=0, ddof=1))


def interval(name: str, resampled: FloatMatrix) -> dict[str, Any]:
    """Return the 95 % interval of a number over its resamples, in the columns <name>_low and _high.

    >>> {name: float(end) for name, end in interval("area", np.arange(101.0)).items()}
    {'area_low': 2.0, 'area_high': 98.0}
    """
    low, high = percentile_interval(resampled)
    return {f"{name}_low": low[()], f"{name}_high": high[()]}


def reach(
    curve: FloatMatrix, resampled: FloatMatrix, level: float, counts: NDArray[np.intp]
) -> LabelsToReach:
    """Return label count, 95 % interval and status of one level.

    Parameters
    ----------
    curve : ndarray of shape (n_counts,)
        A curve that never falls.
    resampled : ndarray of shape (n_resamples, n_counts)
        The same of every resample.
    level : float
        What is to be reached.
    counts : ndarray of shape (n_counts,)
        Rising label counts.

    Returns
    -------
    LabelsToReach
        An end of the interval is 0 or infinite where it lies beyond the counts.
    """
    found = float(labels_at(curve[None], np.array([level]), counts)[0])
    low, high = percentile_interval(labels_at(resampled, np.full(len(resampled), level), counts))
    return LabelsToReach.of(found, float(low), float(high), counts)


def factors(
    ours: tuple[FloatMatrix, FloatMatrix],
    theirs: tuple[FloatMatrix, FloatMatrix],
    counts: NDArray[np.intp],
) -> dict[str, Any]:
    """Return how many labels of a baseline each label count is worth.

    Parameters
    ----------
    ours, theirs : tuple of ndarray
        Monotone mean curve (n_counts,) and resampled curves (n_resamples, n_counts) of the method
        and of the baseline; resamples are paired.
    counts : ndarray of shape (n_counts,)
        Rising label counts.

    Returns
    -------
    dict of str to ndarray
        n_labels, value, equivalent, factor, factor_low, factor_high, saved, status.
    """
    (curve, resampled), (other, others) = ours, theirs
    found = np.array([_worth(other[None], curve[[at]], counts, at)[0] for at in range(len(counts))])
    beyond = np.where(np.isinf(found), "more_than", "reached")
    equivalent = np.clip(found, counts[0], counts[-1])
    ratios = [_worth(others, resampled[:, at], counts, at) / n for at, n in enumerate(counts)]
    low, high = percentile_interval(np.array(ratios).T)
    return {
        "n_labels": counts,
        "value": curve,
        "equivalent": equivalent,
        "factor": equivalent / counts,
        "factor_low": low,
        "factor_high": high,
        "saved": 1 - counts / equivalent,
        "status": np.where(found == 0, "below_first", beyond),
    }


def _worth(
    curves: FloatMatrix, levels: FloatMatrix, counts: NDArray[np.intp], place: int
) -> FloatMatrix:
    """Return where each curve reaches its level; at the count of this place if it does so there."""
    found = labels_at(curves, levels, counts)
    # On a level stretch of the curve, too: what is as accurate is worth as many labels.
    return np.where(curves[:, place] == levels, counts[place], found)


def mean_area(curves: FloatMatrix, counts: NDArray[np.intp]) -> FloatMatrix:
    """Return the mean of curves (..., n_counts) over the logarithm of the label count.

    >>> float(mean_area(np.array([0.2, 0.4, 0.4]), np.array([1, 10, 100])).round(12))
    0.35
    """
    logs = np.log(counts)
    return np.asarray(_trapezoids(curves, logs) / float(logs[-1] - logs[0]))


def _trapezoids(curves: FloatMatrix, places: FloatMatrix) -> FloatMatrix:
    heights = (curves[..., 1:] + curves[..., :-1]) / 2
    return np.asarray((heights * np.diff(places)).sum(axis=-1))


def description_length(
    losses: FloatMatrix, counts: NDArray[np.intp], eps: float, uniform: float
) -> FloatMatrix:
    """Return the nats that the labels cost beyond `eps` each: trapezoids between label counts.

    Parameters
    ----------
    losses : ndarray of shape (..., n_counts)
        Test loss in nats at each label count.
    counts : ndarray of shape (n_counts,)
        Rising label counts.
    eps : float
        Loss that costs nothing; 0 gives the whole description length.
    uniform : float
        Loss of guessing, which the labels before the first count are charged.

    Examples
    --------
    >>> float(description_length(np.array([2.0, 1.0]), np.array([2, 4]), 0.5, 3.0))
    7.0
    """
    surplus = np.maximum(losses - eps, 0.0)
    first = counts[0] * max(uniform - eps, 0.0)
    return np.asarray(first + _trapezoids(surplus, counts.astype(np.float64)))
