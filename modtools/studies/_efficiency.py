"""The result of a label-efficiency study: tables with intervals, and the picture."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from modtools._checks import check_fraction, check_integer, check_positive
from modtools._intervals import percentile_interval
from modtools._results import Column, Result, interval_text
from modtools.exceptions import ModtoolsError
from modtools.plotting import LabelEfficiencyDisplay
from modtools.retraining import next_target, rising
from modtools.studies._curves import (
    Curves,
    description_length,
    deviation,
    factors,
    interval,
    mean_area,
    reach,
)
from modtools.studies._extrapolated import extrapolate_curve
from modtools.studies._from_scratch import FROM_SCRATCH
from modtools.studies._measure import Line, Measured, Plan

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LabelEfficiency"]

_SHOWN: Final = 5
_DASHES: Final = 12


class LabelEfficiency(Result):
    """How accurate each module is with few labels; returned by `label_efficiency`.

    A line is one module with one output module and one way to choose labels. All intervals are
    95 % intervals for other random subsets of labels and other test examples at once (two-way
    bootstrap, the same resamples for every line); those of losses and code lengths are for other
    subsets only, and missing for a single repeat.

    Attributes
    ----------
    settings : dict
        What was asked.
    seconds : float
        Wall time this time; what was finished before is not counted.
    versions : dict
        Versions of modtools, torch, scikit-learn, numpy and Python.
    """

    def __init__(
        self,
        lines: Mapping[Line, Sequence[Measured]],
        plan: Plan,
        *,
        settings: Mapping[str, Any],
        seconds: float,
    ) -> None:
        super().__init__(settings=settings, seconds=seconds)
        self._curves = Curves(lines, plan)
        self._plan = plan

    def frame(self) -> "pd.DataFrame":
        """Return one row per line and label count, the mean over repeats.

        Returns
        -------
        pandas.DataFrame
            Columns module, output, strategy, n_labels (in all), per_class (n_labels over the number
            of classes), metric ("accuracy"), value (mean over repeats, in [0, 1]), value_sd
            (between repeats; missing for one), value_low, value_high, log_loss (nats, lower is
            better; missing where the output module gives no probabilities) and n_repeats.
        """
        return self._curves.tidy(self._value_columns)

    def _value_columns(self, line: Line, found: Measured) -> dict[str, Any]:
        low, high = percentile_interval(self._curves.resampled[line])
        return {
            "n_labels": self._plan.counts,
            "per_class": self._plan.counts / len(self._plan.classes),
            "metric": "accuracy",
            "value": found.accuracy.mean(axis=0),
            "value_sd": deviation(found.accuracy),
            "value_low": low,
            "value_high": high,
            "log_loss": found.log_loss.mean(axis=0),
            "n_repeats": len(found.accuracy),
        }

    def repeats(self) -> "pd.DataFrame":
        """Return the single repeats, one row per line, repeat and label count.

        Returns
        -------
        pandas.DataFrame
            Columns module, output, strategy, repeat, n_labels, per_class, metric ("accuracy"),
            value, log_loss (nats) and codelength (bits of all labels so far, ridge only).
        """
        import pandas as pd

        return pd.DataFrame(
            {
                **line._asdict(),
                "repeat": repeat,
                "n_labels": count,
                "per_class": count / len(self._plan.classes),
                "metric": "accuracy",
                "value": found.accuracy[repeat, place],
                "log_loss": found.log_loss[repeat, place],
                "codelength": found.codelength[repeat, place],
            }
            for line, found in self._curves.lines.items()
            for repeat in range(len(found.accuracy))
            for place, count in enumerate(self._plan.counts.tolist())
        )

    def labels_to_reach(self, accuracy: float) -> "pd.DataFrame":
        """Return with how many labels each line reaches an accuracy.

        The mean curve is made monotone (isotonic regression) and read backwards, linear in the
        logarithm of the label count; nothing is extrapolated.

        Parameters
        ----------
        accuracy : float
            In (0, 1).

        Returns
        -------
        pandas.DataFrame
            Columns module, output, strategy, n_labels, n_labels_low, n_labels_high and status:
            "reached" where it is within the label counts, "below_first" where the smallest count
            lies above it (n_labels is that count, at most so many are needed), "more_than" where
            the largest does not reach it (n_labels is that count, more are needed). An infinite
            n_labels_high, or an n_labels_low of 0, says that the interval goes beyond the counts.
        """
        level = check_fraction(accuracy, name="accuracy")
        counts = self._plan.counts
        return self._curves.tidy(
            lambda line, _: reach(*self._curves.rising[line], level, counts)._asdict()
        )

    def savings(self, module: str, baseline: str) -> "pd.DataFrame":
        """Return how many labels of a baseline each number of labels of a module is worth.

        Where a study holds several output modules or strategies, equal ones are compared; a
        baseline of one line, such as "from scratch", is compared with all.

        Parameters
        ----------
        module, baseline : str
            Names of modules of this study.

        Returns
        -------
        pandas.DataFrame
            Columns module, baseline, output, strategy, n_labels, value (accuracy of the
            module, monotone), equivalent (labels that the baseline needs for it), factor
            (equivalent / n_labels, above 1 is good), factor_low, factor_high (0 or infinite beyond
            the label counts), saved (1 - 1/factor) and status: "more_than" where the baseline does
            not reach that accuracy with its largest count (it needs more than equivalent),
            "below_first" where its smallest count lies above it, else "reached".
        """
        import pandas as pd

        tables, curves = [], self._curves.rising
        for line, other in self._curves.pairs(module, baseline):
            found = factors(curves[line], curves[other], self._plan.counts)
            named = {"module": module, "baseline": baseline}
            how = {"output": line.output, "strategy": line.strategy}
            tables.append(pd.DataFrame({**named, **how, **found}))
        return pd.concat(tables, ignore_index=True)

    def area(self) -> "pd.DataFrame":
        """Return the area under each curve over the logarithm of the label count.

        It is the mean accuracy over the label counts, in which every doubling counts alike; compare
        areas only over the same counts.

        Returns
        -------
        pandas.DataFrame
            Columns module, output, strategy, area (in [0, 1], higher is better), area_low,
            area_high, n_first and n_last (the label counts).
        """
        counts = self._plan.counts
        if len(counts) == 1:
            raise ModtoolsError(
                f"an area needs at least two label counts; it has {counts[0]} only."
            )

        def columns(line: Line, found: Measured) -> dict[str, Any]:
            area = float(mean_area(found.accuracy.mean(axis=0), counts))
            resampled = mean_area(self._curves.resampled[line], counts)
            ends = {"n_first": int(counts[0]), "n_last": int(counts[-1])}
            return {"area": area, **interval("area", resampled), **ends}

        return self._curves.tidy(columns)

    def standings(self) -> "pd.DataFrame":
        """Return the lines, the best first: by the area under the curve.

        Returns
        -------
        pandas.DataFrame
            Columns line (its name, as brief as lines differ), module, output, strategy and area; of
            a single label count, the area is the accuracy there.
        """
        return self._standings.copy()

    @cached_property
    def _standings(self) -> "pd.DataFrame":
        keys = list(Line._fields)
        if len(self._plan.counts) > 1:
            table = self.area()[[*keys, "area"]]
        else:
            table = self.frame()[[*keys, "value"]].rename(columns={"value": "area"})
        table = table.sort_values("area", ascending=False, kind="stable", ignore_index=True)
        return self._curves.named(table)[["line", *keys, "area"]]

    @property
    def best(self) -> str:
        """Name of the module of the best line, as in `standings`."""
        return str(self._standings["module"][0])

    def round_target(self) -> float | None:
        """Return the highest round accuracy that half of the lines reach.

        Returns
        -------
        float or None
            From 0.5 to 0.99; None where half of the lines do not reach 0.5.
        """
        highest = self.frame().groupby(list(Line._fields))["value"].max()
        level, middle = None, float(highest.median())
        while (further := next_target(level or 0.0)) is not None and further <= middle:
            level = further
        return level

    def verdict(self) -> str:
        """Return in words which line is best, and by what.

        Returns
        -------
        str
            The name of the line, and what orders the lines where there are several label counts.
        """
        name = str(self._standings["line"][0])
        by = ", by the area under its curve, in which every doubling of the labels counts alike"
        return name + (by if len(self._plan.counts) > 1 else "")

    def savings_text(self) -> str:
        """Return in words what the labels of the best line are worth in those of the next module.

        Returns
        -------
        str
            For example "with 20 labels it is as accurate as pixels with 61: 3.0 x, 95 % interval
            [2.1, 4.4]"; empty where there is a single label count, or no module to compare with.
        """
        best, *others = (Line(*row) for row in self._standings[list(Line._fields)].to_numpy())
        other = next((line for line in others if self._is_compared(best, line)), None)
        if other is None or len(self._plan.counts) == 1:
            return ""
        table = self.savings(best.module, other.module)
        table = table[(table["output"] == best.output) & (table["strategy"] == best.strategy)]
        known = table[table["status"] == "reached"]
        rows = table if known.empty else known
        # Where the labels are neither the fewest nor the most, on a logarithmic axis.
        first, *_, last = self._plan.counts.tolist()
        middle = math.log(first * last) / 2
        row = rows.loc[(np.log(rows["n_labels"]) - middle).abs().idxmin()]
        start = f"with {row['n_labels']:.0f} labels it is"
        end = f"than {other.module} with {row['equivalent']:.0f}"
        if row["status"] != "reached":
            return f"{start} {'more' if row['status'] == 'more_than' else 'less'} accurate {end}"
        interval = interval_text(row["factor_low"], row["factor_high"], "{:.1f}")
        return (
            f"{start} as accurate as {other.module} with {row['equivalent']:.0f}: "
            f"{row['factor']:.1f} x, 95 % interval {interval}"
        )

    def _is_compared(self, best: Line, other: Line) -> bool:
        """Return whether two lines differ in their module, and `savings` compares them."""
        is_alone = sum(line.module == other.module for line in self._curves.lines) == 1
        return best.module != other.module and (best[1:] == other[1:] or is_alone)

    def codelength(self) -> "pd.DataFrame":
        """Return the prequential code length: bits of the labels, each predicted from those before.

        It is defined for lines of the ridge classifier, which predicts one step ahead at no cost.

        Returns
        -------
        pandas.DataFrame
            Columns module, output, strategy, n_labels, bits (mean over repeats, lower is better),
            bits_sd (between repeats), bits_low, bits_high, bits_per_label and compression (n log2 C
            / bits, higher is better).
        """
        uniform = self._plan.counts * np.log2(len(self._plan.classes))

        def columns(_: Line, found: Measured) -> dict[str, Any]:
            bits = found.codelength.mean(axis=0)
            return {
                "n_labels": self._plan.counts,
                "bits": bits,
                "bits_sd": deviation(found.codelength),
                **interval("bits", self._curves.resamples.means(found.codelength)),
                "bits_per_label": bits / self._plan.counts,
                "compression": uniform / bits,
            }

        return self._curves.tidy(columns, needs="codelength")

    def surplus_description_length(self, eps: float) -> "pd.DataFrame":
        """Return what learning down to a loss costs beyond that loss, in nats.

        The sum over labels of how far the test loss lies above `eps` before each (Whitney et al.
        2020): trapezoids between label counts, and the first count charged as if it were guessed
        uniformly.

        Parameters
        ----------
        eps : float
            Log loss in nats that is good enough.

        Returns
        -------
        pandas.DataFrame
            Columns module, output, strategy, surplus (nats, lower is better), surplus_low,
            surplus_high and status: "more_than" where the loss at the largest count is above `eps`
            still, so that the surplus is larger, else "reached".
        """
        eps, counts = check_positive(eps, name="eps"), self._plan.counts
        uniform = float(np.log(len(self._plan.classes)))

        def columns(_: Line, found: Measured) -> dict[str, Any]:
            losses = found.log_loss.mean(axis=0)
            resampled = self._curves.resamples.means(found.log_loss)
            return {
                "surplus": float(description_length(losses, counts, eps, uniform)),
                **interval("surplus", description_length(resampled, counts, eps, uniform)),
                "status": "more_than" if losses[-1] > eps else "reached",
            }

        return self._curves.tidy(columns, needs="log_loss")

    def sample_complexity(self, eps: float) -> "pd.DataFrame":
        """Return with how many labels the test loss falls to `eps`.

        Parameters
        ----------
        eps : float
            Log loss in nats that is good enough.

        Returns
        -------
        pandas.DataFrame
            Columns module, output, strategy, n_labels (lower is better), n_labels_low,
            n_labels_high and status, as in `labels_to_reach`.
        """
        eps, counts = check_positive(eps, name="eps"), self._plan.counts

        def columns(_: Line, found: Measured) -> dict[str, Any]:
            resampled = self._curves.resamples.means(found.log_loss)
            mean = found.log_loss.mean(axis=0)
            return reach(rising(-mean), rising(-resampled), -eps, counts)._asdict()

        return self._curves.tidy(columns, needs="log_loss")

    def extrapolate(self, n_labels: int | Sequence[int]) -> "pd.DataFrame":
        """Return how the curves continue beyond the label counts, or the reason not to extrapolate.

        The law of `extrapolate` (modtools.retraining) continues from the mean at the largest label
        count, at the pace of the curve over the last doubling of the labels. What the interval
        cannot hold is a curve that changes its shape.

        Parameters
        ----------
        n_labels : int or sequence of int
            Label counts, at most ten times the largest of the study.

        Returns
        -------
        pandas.DataFrame
            Columns module, output, strategy, n_labels, value, value_low, value_high (80 %
            interval) and refused: the reason why there is no number, else "".
        """
        import pandas as pd

        given = (
            n_labels if isinstance(n_labels, Iterable) and not isinstance(n_labels, str) else None
        )
        wanted = [
            check_integer(n, name="n_labels") for n in ([n_labels] if given is None else given)
        ]
        if not wanted:
            raise ModtoolsError("n_labels must be at least one label count; got none.")
        means = {line: found.accuracy.mean(axis=0) for line, found in self._curves.lines.items()}
        return pd.DataFrame(
            {
                **line._asdict(),
                **extrapolate_curve(mean, self._curves.resampled[line], self._plan.counts, n),
            }
            for line, mean in means.items()
            for n in wanted
        )

    def plot(
        self,
        ax: Any = None,
        *,
        target: float | None = 0.9,
        ceiling: Any = None,
        extrapolate_to: int | None = None,
    ) -> LabelEfficiencyDisplay:
        """Draw accuracy against labels, one line per module, and mark where the target is reached.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default on a new figure.
        target : float or None, default=0.9
            Accuracy that is asked for, in (0, 1).
        ceiling : float or mapping of str to float, optional
            Accuracy with all labels, where it is known: one for all lines, or one per line.
        extrapolate_to : int, optional
            Label count to which lines continue, dashed, where the data support it.

        Returns
        -------
        LabelEfficiencyDisplay
            The drawn display.
        """
        counts = np.bincount(self._plan.test_codes)
        table = self._curves.named(self.frame())
        table["baseline"] = table["module"] == FROM_SCRATCH.module
        n_repeats, n_test = self._plan.repeats, len(self._plan.test_codes)
        return LabelEfficiencyDisplay(
            table,
            repeats=self._curves.named(self.repeats()),
            target=target,
            reached=None if target is None else self._curves.named(self.labels_to_reach(target)),
            ceiling=ceiling,
            forecast=None if extrapolate_to is None else self._forecast(extrapolate_to),
            chance=float(counts.max() / counts.sum()),
            title=f"Mean of {n_repeats} random subsets of labels, {n_test} test examples of "
            f"{self._plan.task}",
        ).plot(ax)

    def _forecast(self, n_labels: int) -> "pd.DataFrame":
        last = self._plan.counts[-1]
        check_integer(n_labels, name="extrapolate_to", minimum=int(last) + 1)
        further = np.geomspace(last, max(n_labels, last + 1), _DASHES + 1)[1:]
        table = self._curves.named(self.extrapolate(np.unique(further.astype(int)).tolist()))
        return table[table["refused"] == ""]

    def title(self) -> str:
        """Return one line that says what the numbers of the table are.

        Returns
        -------
        str
            The line above the table.
        """
        return (
            f"Accuracy (%) on {len(self._plan.test_codes)} test examples, mean ± standard "
            f"deviation of {self._plan.repeats} random subsets of labels"
        )

    def _columns(self) -> list[Column]:
        counts = [f"{self._plan.counts[place]} labels" for place in self._places()]
        return [Column(name, str, (name,)) for name in (*Line._fields, *counts)]

    def _shown(self) -> "pd.DataFrame":
        import pandas as pd

        names = [column.heading for column in self._columns()]
        return pd.DataFrame(
            [[*line, *self._curves.cells(line, self._places())] for line in self._curves.lines],
            columns=names,
        )

    def _places(self) -> list[int]:
        """Return the places of the label counts that are printed, evenly from first to last."""
        steps = np.linspace(0, len(self._plan.counts) - 1, _SHOWN)
        return [int(place) for place in np.unique(steps.round())]
