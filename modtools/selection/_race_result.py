"""The result of a race: who was in after how many examples, and what it cost."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modtools._checks import check_integer
from modtools._results import Column, Result, percent, where_known
from modtools.plotting import RaceDisplay

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["Race"]

_N_NAMED = 5


class Race(Result):
    """Modules in the order in which a race leaves them, best first; returned by `race_modules`.

    The extra of its JSON is best, remaining, pass_fraction and failed.

    Attributes
    ----------
    pass_fraction : float
        Forward passes made, as a fraction of running every network on every labelled example. A
        network is counted once per example however many of its layers are read, and as a whole pass
        even where only a layer near its input still runs; features read from a cache count too.
    failed : dict
        ``{module: reason}`` of modules that failed and left the race.
    settings : dict
        What was asked: task, number of labels, mode, error and tolerance or passes, and so on.
    seconds : float
        Wall time.
    versions : dict
        Versions of modtools, torch, scikit-learn, numpy and Python.
    """

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        settings: Mapping[str, Any],
        failed: Mapping[str, str],
        pass_fraction: float,
        seconds: float,
    ) -> None:
        import pandas as pd

        super().__init__(settings=settings, seconds=seconds)
        table = pd.DataFrame(list(rows))
        numbers = table[["value", "e_value"]].astype("float64")
        self._results = table.assign(**numbers, dropped_at=table["dropped_at"].astype("Int64"))
        self.failed = dict(failed)
        self.pass_fraction = pass_fraction

    def frame(self) -> "pd.DataFrame":
        """Return one row per module: those still in, best first, then the dropped, the last first.

        Returns
        -------
        pandas.DataFrame
            Columns module, network, status (in, dropped or failed), examples (that it ran on),
            metric ("accuracy"), value (certified: fraction of examples predicted correctly before
            they were learned; halving: leave-one-out on all examples so far; missing where nothing
            was predicted),
            dropped_at (after how many examples), dropped_by (certified: the module that beat it)
            and e_value (certified: evidence with which it was dropped, or the most there was
            against it, at most 1e299).
        """
        return self._results.copy()

    @property
    def best(self) -> str:
        """Name of the module of highest accuracy among those still in; of equals the first."""
        return self.remaining[0]

    @property
    def remaining(self) -> list[str]:
        """Names of the modules still in, best first."""
        table = self._results
        return [str(name) for name in table.loc[table["status"] == "in", "module"]]

    def top(self, k: int) -> list[str]:
        """Return the names of the k best modules: those still in, then the last ones dropped.

        Parameters
        ----------
        k : int
            How many; fewer are returned if fewer did not fail.

        Returns
        -------
        list of str
            Module names.
        """
        table = self._results[self._results["status"] != "failed"]
        return [str(name) for name in table["module"][: check_integer(k, name="k")]]

    def __len__(self) -> int:
        return len(self._results)

    def display(self) -> RaceDisplay:
        """Return the display of this race, not yet drawn.

        Returns
        -------
        RaceDisplay
            How long each module ran.
        """
        return RaceDisplay(
            results=self._results, n_labels=self.settings["n_samples"], title=self._short_title()
        )

    def plot(self, ax: "Axes | None" = None) -> RaceDisplay:
        """Draw how many examples each module ran on, best on top.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        RaceDisplay
            The drawn display.
        """
        return self.display().plot(ax)

    def _extra(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "remaining": self.remaining,
            "pass_fraction": self.pass_fraction,
            "failed": self.failed,
        }

    def _columns(self) -> list[Column]:
        return [
            Column("    module", "{:>2}  {}".format, ("place", "module")),
            Column("accuracy (%)", where_known(percent), ("value",)),
            Column("examples run", "{:,}".format, ("examples",)),
            Column("status", str, ("status",)),
            Column("beaten by", where_known(str), ("dropped_by",)),
            Column("e-value", where_known("{:.3g}".format), ("e_value",)),
        ]

    def _shown(self) -> "pd.DataFrame":
        table = self._results
        evidence = table["e_value"].where(table["status"] == "dropped")
        return table.assign(place=range(1, len(table) + 1), e_value=evidence)

    def notes(self) -> list[str]:
        """Return what a reader of the table should know: what is certified, ties, failures.

        Returns
        -------
        list of str
            Sentences.
        """
        notes = [self._undecided()] if len(self.remaining) > 1 else []
        notes.append(self._guarantee())
        table = self._results
        within = table[table["status"] == "in"]
        tied = within.loc[within["value"].duplicated(keep=False), "module"].tolist()
        if tied:
            notes.append(f"Equal accuracies keep the order given: {', '.join(tied)}.")
        notes.extend(f"Failed and left the race: {n} ({why})" for n, why in self.failed.items())
        notes.extend(self._unsettled())
        return notes

    def _unsettled(self) -> list[str]:
        """Return a note for each failed module that alone beat others: they may be the best."""
        table = self._results
        lost = table[table["dropped_by"].isin(list(self.failed))].groupby("dropped_by")["module"]
        return [
            f"Only {winner}, which failed later, beat {', '.join(names)}: what is left may be "
            f"worse than that. Race without {winner} to judge."
            for winner, names in lost
        ]

    def _undecided(self) -> str:
        names, n_labels = self.remaining, self.settings["n_samples"]
        rest = f" and {len(names) - _N_NAMED} more" if len(names) > _N_NAMED else ""
        return (
            f"{n_labels:,} labels do not distinguish {len(names)} modules: "
            f"{', '.join(names[:_N_NAMED])}{rest}."
        )

    def _guarantee(self) -> str:
        asked = self.settings
        if asked["mode"] == "halving":
            return "No guarantee: each round dropped the worse half on the examples so far."
        within = f" by {asked['tolerance']:g} points or more" if asked["tolerance"] else ""
        grouped = ""
        if "n_groups" in asked:
            grouped = f" The tests count one example of each of {asked['n_groups']:,} groups."
        return (
            "Accuracy is that of an output module that learns along the race. The chance that the "
            f"best module was dropped{' for worse ones' + within if within else ' wrongly'} is at "
            f"most {100 * asked['error']:g} %.{grouped}"
        )

    def _short_title(self) -> str:
        task, mode = self.settings["task"], self.settings["mode"]
        return f"{task}: {mode} race, {100 * self.pass_fraction:.0f} % of the forward passes"

    def title(self) -> str:
        """Return one line that says what raced, on what, and at what cost.

        Returns
        -------
        str
            The line above the table.
        """
        asked = self.settings
        return (
            f"{asked['n_modules']} modules raced on {asked['task']} ({asked['mode']}, "
            f"{asked['n_samples']:,} labels): {100 * self.pass_fraction:.0f} % of the forward "
            "passes"
        )
