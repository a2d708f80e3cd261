"""How a label-efficiency study looks at a terminal and in files."""

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import typer

from modtools._escape import csv_text
from modtools._results import interval_text
from modtools._writing import json_text
from modtools.cli._outputs import Writing, write_outputs
from modtools.cli._say import say
from modtools.cli._show import echo_table

if TYPE_CHECKING:
    import pandas as pd

    from modtools.cli._study_run import Studied

__all__ = ["report"]

Line: TypeAlias = tuple[str, str, str]
_KEYS: Final = ["module", "output", "strategy"]
_N_SHOWN: Final = 5  # label counts in the table; --csv has all
_MOST_LINES: Final = 20
_NICE: Final = np.array([1, 2, 5])


def report(done: "Studied") -> None:
    """Print what came of it, or the best name alone where quiet, and write the files asked for.

    With ``--json -`` the JSON is all that is printed. Files come last, so that one that cannot be
    written does not hide the result.
    """
    wanted, result = done.wanted, _Result(done)
    is_shown = wanted.json != "-" and not wanted.quiet
    if wanted.json == "-":
        typer.echo(json_text(result.content()), nl=False)
    elif wanted.quiet:
        say(result.lines[0][0])
    else:
        result.show()
    writing = Writing()
    write_outputs(
        writing,
        wanted,
        json=lambda: json_text(result.content()),
        csv=lambda: csv_text(result.table),
        plot=result.draw,
    )
    if is_shown and writing.written:
        say(f"Wrote     {'  '.join(map(str, writing.written))}")
    writing.end()


class _Result:
    """The tables of a study, best line first, and what is said about them."""

    def __init__(self, done: "Studied") -> None:
        self.done = done
        self.counts: list[int] = done.study.settings["budgets"]
        self.table = done.study.frame()

    @cached_property
    def area(self) -> "pd.DataFrame":
        """The area under each curve, or where there is one label count the accuracy there."""
        if len(self.counts) > 1:
            return self.done.study.area()
        return self.table[_KEYS].assign(area=self.table["accuracy"])

    @cached_property
    def _names(self) -> dict[Line, str]:
        """The name of each curve by its module, output module and strategy, the best first."""
        table = self.done.study.standings()
        lines = [(module, output, how) for module, output, how in table[_KEYS].to_numpy().tolist()]
        return dict(zip(lines, table["line"], strict=True))

    @property
    def lines(self) -> list[Line]:
        """Module, output module and strategy of each curve, the largest area first."""
        return list(self._names)

    def name(self, line: Line) -> str:
        """Return the module, with output module and strategy where several are compared."""
        return self._names[line]

    @cached_property
    def target(self) -> float | None:
        """The accuracy asked for, else the last round one that half of the lines reach."""
        wanted = self.done.wanted.target
        return self.done.study.round_target() if wanted is None else wanted

    @cached_property
    def reached(self) -> "pd.DataFrame | None":
        """With how many labels each line reaches the target."""
        return None if self.target is None else self.done.study.labels_to_reach(self.target)

    def show(self) -> None:
        """Print the task, the table, who is best, and what it saves."""
        done, counts = self.done, self.counts
        labels = f"{counts[0]} to {counts[-1]} of {len(done.train)} labels"
        say(
            f"Study     {done.train.name}: {labels}, {done.study.settings['repeats']} draws, "
            f"{len(done.test)} test rows, {len(done.test.classes)} classes, "
            f"{done.study.seconds:.1f} s"
        )
        hidden = echo_table(*self._cells(), bold=[0])
        if hidden:
            say(f"Too narrow for {', '.join(hidden)}: widen the window, or add --csv FILE.")
        if len(self.lines) > _MOST_LINES:
            say(f"{len(self.lines) - _MOST_LINES} more lines: add --csv FILE.")
        for name, text in self._sentences():
            say(f"{name:<10}{text}")

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        counts = _shown_counts(self.counts)
        header = ["    module", *(f"{count} labels" for count in counts)]
        if self.reached is not None:
            header += [f"labels for {100 * (self.target or 0):.4g} %", "95 % interval"]
        header += ["area"]
        rows = []
        for place, line in enumerate(self.lines[:_MOST_LINES]):
            accuracies = _of(self.table, line).set_index("n_labels")["accuracy"]
            rows.append(
                [
                    f"{place + 1:>2}  {self.name(line)}",
                    *(f"{100 * accuracies[count]:.1f} %" for count in counts),
                    *self._reach_cells(line),
                    f"{100 * _of(self.area, line)['area'].iloc[0]:.1f} %",
                ]
            )
        return header, rows

    def _reach_cells(self, line: Line) -> list[str]:
        if self.reached is None:
            return []
        row = _of(self.reached, line).iloc[0]
        sign = {"above": "> ", "below": "≤ "}.get(row["censored"], "")
        if math.isinf(row["low"]):  # no resample reaches it within the budgets
            return [f"{sign}{row['n_labels']:.0f}", ""]
        return [f"{sign}{row['n_labels']:.0f}", interval_text(row["low"], row["high"], "{:.0f}")]

    def _sentences(self) -> list[tuple[str, str]]:
        """Say which line is best, and what it saves beside the next module."""
        said = [("Best", self.done.study.verdict())]
        saved = self.done.study.savings_text()
        return [*said, ("Saves", saved)] if saved else said

    def content(self) -> dict[str, Any]:
        """Return what JSON holds; null is what lies beyond the budgets."""
        done = self.done
        return {
            "task": done.train.name,
            "n_pool": len(done.train),
            "n_test": len(done.test),
            "best": self.lines[0][0],
            "target": self.target,
            "labels_to_reach": None if self.reached is None else _finite(self.reached),
            "area": self.area,
            "results": self.table,
            "settings": done.study.settings,
            "seconds": done.study.seconds,
        }

    def draw(self, path: Path) -> list[Path]:
        """Draw the curves and return the files written."""
        from matplotlib.figure import Figure

        height = max(4.4, 1.6 + 0.26 * len(self.lines))
        ax = Figure(figsize=(8.2, height), layout="constrained").subplots()
        return self.done.study.plot(ax, target=self.target).save(path)


def _of(table: "pd.DataFrame", line: Line) -> "pd.DataFrame":
    """Return the rows of one line."""
    return table[(table[_KEYS] == list(line)).all(axis=1)]


def _shown_counts(counts: Sequence[int]) -> list[int]:
    """Return a few label counts: both ends, and real ones near 1, 2, 5, 10, ... between them.

    >>> _shown_counts([10, 12, 20, 31, 52, 95, 200, 480, 1000])
    [10, 20, 95, 480, 1000]
    """
    known = np.asarray(counts)
    if len(known) <= _N_SHOWN:
        return [int(count) for count in known]
    wanted = np.geomspace(known[0], known[-1], _N_SHOWN)
    nice = np.outer(10.0 ** np.arange(7), _NICE).ravel()
    rounded = nice[np.abs(np.log(nice)[:, None] - np.log(wanted)).argmin(axis=0)]
    near = known[np.abs(np.log(known)[:, None] - np.log(rounded)).argmin(axis=0)]
    return sorted({int(known[0]), *(int(count) for count in near[1:-1]), int(known[-1])})


def _finite(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table whose infinite numbers, which JSON does not have, are missing."""
    return table.replace([math.inf, -math.inf], math.nan)
