"""The curves of a study, with their resamples: what every measure starts from."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from modtools._checks import did_you_mean
from modtools._intervals import Resamples
from modtools._types import FloatMatrix
from modtools.exceptions import ModtoolsError
from modtools.retraining import rising
from modtools.studies._cells import Line, Measured
from modtools.studies._from_scratch import FROM_SCRATCH
from modtools.studies._plan import Plan

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Curves", "deviation"]


class Curves:
    """All lines of a study.

    Parameters
    ----------
    lines : mapping of Line to sequence of Measured
        The draws of each line.
    plan : Plan
        What was measured.

    Attributes
    ----------
    lines : dict of Line to Measured
        The same, with an axis of draws before all others.
    """

    def __init__(self, lines: Mapping[Line, Sequence[Measured]], plan: Plan) -> None:
        self.lines = {
            line: Measured(*(np.stack(part) for part in zip(*draws, strict=True)))
            for line, draws in lines.items()
        }
        self._plan = plan

    @cached_property
    def resamples(self) -> Resamples:
        """The resamples, drawn when first asked for."""
        n_draws = [len(found.accuracy) for found in self.lines.values()]
        return Resamples.of(n_draws, n_test=len(self._plan.test_codes), seed=self._plan.seed)

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
                    values |= {"low": np.nan, "high": np.nan}  # one draw has no spread
                is_long = any(np.ndim(value) for value in values.values())
                tables.append(pd.DataFrame(values if is_long else [values]))
        if not tables:
            raise ModtoolsError(
                f"no output module of this study has a {needs}: it has "
                f'{", ".join(self._plan.outputs)}. Add "ridge" to outputs.'
            )
        return pd.concat(tables, ignore_index=True)

    def named(self, table: "pd.DataFrame") -> "pd.DataFrame":
        """Return the table with a column that names its lines as briefly as they differ."""
        rows = zip(table["module"], table["output"], table["strategy"], strict=True)
        return table.assign(line=[self._names.get(Line(*row), row[0]) for row in rows])

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
    """Return the standard deviation between draws; missing for a single one."""
    if len(values) == 1:
        return np.full(values.shape[1], np.nan)
    return np.asarray(values.std(axis=0, ddof=1))
