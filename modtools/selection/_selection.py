"""The result of choosing several modules: what joined when, what it gained and what it costs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from modtools._checks import check_lengths, check_matrix
from modtools._results import Column, Result, percent, percent_interval, where_known
from modtools.exceptions import ModtoolsError
from modtools.modules import CombinedModule, Costs, ModuleCollection, PretrainedModule
from modtools.plotting import ParetoDisplay
from modtools.selection._held_out_kernels import HeldOut

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["Selection"]

_JOIN: Final = " + "


class Selection(Result):
    """Modules that do best together, in the order in which they joined; see `select_modules`.

    The extra of its JSON is modules, blocks and skipped.

    Attributes
    ----------
    modules : list of str
        Names of the chosen modules.
    blocks : list of int
        Number of features of each, which an output module takes as ``blocks=``.
    settings : dict
        What was asked: task, number of labels, max_cost, cost, precision, seed and so on.
    skipped : dict
        ``{module: reason}`` for modules that could not be judged.
    seconds : float
        Wall time of the whole choice, extraction included.
    versions : dict
        Versions of modtools, torch, scikit-learn, numpy and Python.
    """

    def __init__(
        self,
        modules: Sequence[str],
        tried: Mapping[tuple[str, ...], HeldOut],
        *,
        widths: Mapping[str, int],
        costs: Costs,
        candidates: ModuleCollection,
        skipped: Mapping[str, str],
        settings: Mapping[str, Any],
        seconds: float,
    ) -> None:
        super().__init__(settings=settings, seconds=seconds)
        self.modules = list(modules)
        self.blocks = [widths[name] for name in modules]
        self.skipped = dict(skipped)
        self._tried = dict(tried)
        self._costs = costs
        self._candidates = candidates

    def __len__(self) -> int:
        return len(self.modules)

    @property
    def combined(self) -> CombinedModule | PretrainedModule:
        """The chosen modules as one, for `retrain`; a single one as it is."""
        return self._candidates.combined(self.modules)

    def join(self, features: Mapping[str, Any]) -> NDArray[Any]:
        """Return the features of the chosen modules side by side, for examples of any task.

        ``LogisticOutput(blocks=selection.blocks)`` gives them equal energy when it is fitted, with
        the standardisation of its own training examples.

        Parameters
        ----------
        features : mapping from str to array of shape (n_samples, n_features)
            Features of each chosen module; others are not read.

        Returns
        -------
        ndarray of shape (n_samples, n_columns)
            Columns in the order of `modules`.

        Raises
        ------
        ModtoolsError
            A chosen module is missing, or its features are not those it was chosen by.
        """
        if not isinstance(features, Mapping):
            raise ModtoolsError(
                f"features must be {{module: features}}; got {type(features).__name__}."
            )
        missing = [name for name in self.modules if name not in features]
        if missing:
            raise ModtoolsError(f'features lack the chosen module "{missing[0]}".')
        parts = {
            name: check_matrix(features[name], name=f'features of "{name}"', minimum_rows=1)
            for name in self.modules
        }
        check_lengths(**parts)
        for (name, part), width in zip(parts.items(), self.blocks, strict=True):
            if part.shape[1:] != (width,):
                raise ModtoolsError(
                    f'features of "{name}" must have shape (n_samples, {width}), as when it was '
                    f"chosen; got {part.shape}."
                )
        return np.hstack(list(parts.values()))

    def frame(self) -> "pd.DataFrame":
        """Return one row per step: the module that joined, and what is chosen by then.

        Returns
        -------
        pandas.DataFrame
            Columns step, module, metric ("accuracy"), value, value_low, value_high
            (cross-validated, of a ridge output module on what is chosen by then, with its 95 %
            interval), gain, gain_low, gain_high (gained by the step and its 95 % interval, paired),
            loss (of held-out halves, nats; it orders the combinations), n_features and cost (both
            of all so far; a cost that is not known is missing).
        """
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for step in range(1, len(self.modules) + 1):
            names = tuple(self.modules[:step])
            found = self._tried[names]
            low, high = found.interval()
            gains: tuple[float | None, ...] = (None, None, None)
            if step > 1:
                gains = found.gain(self._tried[names[:-1]])
            rows.append(
                {
                    "step": step,
                    "module": names[-1],
                    "metric": "accuracy",
                    "value": found.accuracy,
                    "value_low": low,
                    "value_high": high,
                    **dict(zip(("gain", "gain_low", "gain_high"), gains, strict=True)),
                    "loss": found.loss,
                    "n_features": sum(self.blocks[:step]),
                    "cost": self._costs.of(names),
                }
            )
        table = pd.DataFrame(rows)
        numbers = ["gain", "gain_low", "gain_high", "cost"]
        return table.astype(dict.fromkeys(numbers, float))

    def pareto(self) -> "pd.DataFrame":
        """Return every combination that was tried, with its cost; the cheapest first.

        Returns
        -------
        pandas.DataFrame
            Columns modules (their names, joined by " + "), n_modules, metric ("accuracy"), value,
            value_low, value_high, cost, on_front (no other one tried is at least as accurate for no
            more, and better in one of the two) and chosen.

        Raises
        ------
        ModtoolsError
            The cost of a module is not known.
        """
        import pandas as pd

        rows = [
            {
                "modules": _JOIN.join(names),
                "n_modules": len(names),
                "metric": "accuracy",
                "value": found.accuracy,
                "value_low": found.interval()[0],
                "value_high": found.interval()[1],
                "cost": self._known_cost(names),
                "chosen": names == tuple(self.modules),
            }
            for names, found in self._tried.items()
        ]
        table = pd.DataFrame(rows)
        table.insert(7, "on_front", _on_front(table["cost"], table["value"]))
        order = ["cost", "value"]
        return table.sort_values(order, ascending=[True, False], kind="stable", ignore_index=True)

    def _known_cost(self, names: Sequence[str]) -> float:
        cost = self._costs.of(names)
        if cost is None:
            raise ModtoolsError(
                f'the cost of "{_JOIN.join(names)}" is not known: cached features have no '
                "parameters. Select with cost=, a number for each module."
            )
        return cost

    def display(self) -> ParetoDisplay:
        """Return the picture of accuracy against cost, not yet drawn.

        Returns
        -------
        ParetoDisplay
            Its `frame` has the drawn numbers.
        """
        return ParetoDisplay(
            results=self.pareto(),
            cost=self._costs.label,
            title=f"{self.settings['task']}: {self._labels_text()}",
        )

    def plot(self, ax: "Axes | None" = None) -> ParetoDisplay:
        """Draw accuracy against cost: every combination tried, and the front of the best.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        ParetoDisplay
            The drawn display.
        """
        return self.display().plot(ax)

    def _extra(self) -> dict[str, Any]:
        return {
            "modules": self.modules,
            "blocks": self.blocks,
            "skipped": self.skipped,
        }

    def _columns(self) -> list[Column]:
        return [
            Column("    module", "{:>2}  {}".format, ("sign", "module")),
            Column("accuracy (%)", percent, ("value",)),
            Column("95 % interval", percent_interval, ("value_low", "value_high")),
            Column("gain (points)", where_known(_points), ("gain",)),
            Column("95 % interval", where_known(_points_interval), ("gain_low", "gain_high")),
            Column("features", "{:,}".format, ("n_features",)),
            Column(self._costs.label, where_known("{:,.4g}".format), ("cost",)),
        ]

    def _shown(self) -> "pd.DataFrame":
        table = self.frame()
        return table.assign(sign=["", *"+" * (len(table) - 1)])

    def _labels_text(self) -> str:
        return f"{self.settings['n_samples']} labels, {self.settings['n_classes']} classes"

    def notes(self) -> list[str]:
        """Return what a reader of the table should know: doubtful gains, what was left out.

        Returns
        -------
        list of str
            Sentences.
        """
        last = self.frame().iloc[-1]
        notes = ["Accuracies are cross-validated on the examples that chose: a little too high."]
        if len(self) > 1 and last["gain_low"] <= 0:
            notes.append(
                f"With these labels it is not certain that {last['module']} adds anything."
            )
        n_judged = self.settings["n_examples_judged"]
        if n_judged < self.settings["n_samples"]:
            notes.append(f"{n_judged} of the examples, stratified, decided.")
        notes.extend(f"Left out: {name} ({reason})." for name, reason in self.skipped.items())
        return notes

    def title(self) -> str:
        """Return one line that says what was chosen, from how many, for what.

        Returns
        -------
        str
            The line above the table.
        """
        count = f"{len(self)} of {self.settings['n_modules']} modules"
        return f"{count} together on {self.settings['task']} ({self._labels_text()})"


def _points(gain: float) -> str:
    return f"{100 * gain:+.1f}"


def _points_interval(low: float, high: float) -> str:
    return f"[{_points(low)}, {_points(high)}]"


def _on_front(cost: "pd.Series[float]", accuracy: "pd.Series[float]") -> list[bool]:
    """Return whether nothing else is at least as accurate and cheap, and better in one of both."""
    costs, values = cost.to_numpy(), accuracy.to_numpy()
    no_worse = (costs[:, None] <= costs) & (values[:, None] >= values)
    better = (costs[:, None] < costs) | (values[:, None] > values)
    return [not beaten.any() for beaten in (no_worse & better).T]
