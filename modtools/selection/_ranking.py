"""The result of ranking modules: scores, predicted accuracies, and how sure the pick is."""

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from numbers import Real
from typing import TYPE_CHECKING, Any, Final

from modtools._checks import check_integer
from modtools._results import Column, Result, percent, where_known
from modtools.exceptions import ModtoolsError
from modtools.plotting import RankingDisplay
from modtools.selection._ranking_notes import higher_notes, probability_text, skipped_notes, some
from modtools.transferability import SCORES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from modtools.selection._prediction import Prediction

__all__ = ["PREDICTED", "Ranking", "is_accuracy"]

PREDICTED: Final = "predicted"

_METRIC: Final = "accuracy"
_OTHER_SCORES_SHOWN: Final = 3


def is_accuracy(score: str) -> bool:
    """Return whether a score, built in or of one's own, estimates an accuracy for classes."""
    return score == PREDICTED or (score in SCORES and SCORES[score].is_accuracy)


class Ranking(Result):
    """Modules in the order of one score, best first; returned by `rank_modules`.

    The extra of its JSON is best, verdict, predictions and skipped.

    Attributes
    ----------
    by : str
        What orders the modules: the prediction, or a score. By the prediction, the module that is
        most probably the best comes first, then the others by their predicted accuracy, equal ones
        by their probability of being the best and then by name: the order in which modules were
        given does not matter. Equal values of a score keep that order.
    settings : dict
        What was asked: task, number of labels and classes, scores, precision, seed and so on.
    skipped : dict
        ``{module: {score: reason}}`` for scores that do not apply; they have no row in the frame.
    seconds : float
        Wall time of the whole ranking, extraction included.
    versions : dict
        Versions of modtools, torch, scikit-learn, numpy and Python.
    """

    def __init__(
        self,
        results: "pd.DataFrame",
        *,
        settings: Mapping[str, Any],
        skipped: Mapping[str, Mapping[str, str]],
        seconds: float,
        prediction: "Prediction | None" = None,
    ) -> None:
        super().__init__(settings=settings, seconds=seconds)
        self._results = results
        self.skipped = {module: dict(reasons) for module, reasons in skipped.items()}
        self.by: str = self.settings["by"]
        self._prediction = prediction

    def frame(self) -> "pd.DataFrame":
        """Return one row per module and score, ranked best first by `by`; other scores follow.

        Returns
        -------
        pandas.DataFrame
            Columns module, score, value (higher is better), standard_error (missing where none is
            defined), seconds (for this score), n_features, n_parameters (up to the layer) and
            milliseconds (per example, of the forward pass that gave the features, which all layers
            of a network share); the last two are missing for cached features.
        """
        return self._results.copy()

    def predictions(self, *, n_test: int | None = None) -> "pd.DataFrame":
        """Return what an output module retrained on these labels will reach, best first.

        Parameters
        ----------
        n_test : int, optional
            Number of held-out examples on which the accuracy will be measured; intervals then
            cover what those examples add. By default they are those of the accuracy itself.

        Returns
        -------
        pandas.DataFrame
            One row per module. metric: what is predicted, "accuracy". predicted, predicted_low and
            predicted_high: the accuracy and its 95 % interval, in [0, 1], shrunk so that the pick
            is not flattered by having been picked. probability_best: the probability of being the
            most accurate, highest for the pick; it is about the accuracy itself, whatever n_test.
            gap, gap_low and gap_high: how far the pick is ahead of the module, paired on the same
            examples, with the 95 % interval. distinguishable: whether that interval is above 0.
            All follow from one joint normal distribution: of two modules, the probability is that
            their difference is positive.

        Raises
        ------
        ModtoolsError
            The ranking is by a score, which predicts no accuracy.

        Examples
        --------
        >>> import numpy as np
        >>> from modtools.selection import rank_modules
        >>> rng = np.random.default_rng(0)
        >>> labels = np.arange(60) % 2
        >>> candidates = {name: rng.normal(size=(60, 3)) for name in ("noise", "good")}
        >>> candidates["good"] += 3 * labels[:, None]
        >>> ranking = rank_modules(candidates, labels)
        >>> ranking.predictions()[["module", "distinguishable"]].values.tolist()
        [['good', False], ['noise', True]]
        """
        return self._predicted.copy() if n_test is None else self._predictions(n_test)

    @cached_property
    def _predicted(self) -> "pd.DataFrame":
        return self._predictions(None)

    def _predictions(self, n_test: int | None) -> "pd.DataFrame":
        import pandas as pd

        found = self._prediction
        if found is None:
            raise ModtoolsError(
                f'this ranking is by "{self.by}", which predicts no accuracy; leave by= out '
                "of rank_modules to have it predicted."
            )
        n_test = None if n_test is None else check_integer(n_test, name="n_test")
        order = [found.modules.index(name) for name in self._ranked()["module"]]
        half = found.half_widths(n_test)[order]
        gap, width = (values[order] for values in found.differences(order[0], n_test))
        predicted = found.accuracy[order]
        return pd.DataFrame(
            {
                "module": self._ranked()["module"],
                "metric": _METRIC,
                "predicted": predicted,
                "predicted_low": (predicted - half).clip(0.0, 1.0),
                "predicted_high": (predicted + half).clip(0.0, 1.0),
                "probability_best": found.probability_best()[order],
                "gap": gap,
                "gap_low": gap - width,
                "gap_high": gap + width,
                "distinguishable": gap > width,
            }
        )

    @property
    def best(self) -> str:
        """Name of the pick: most probably the best, or by a score the first of highest value."""
        return self.top(1)[0]

    def top(self, k: int) -> list[str]:
        """Return the names of the k best modules, best first, or of all if there are fewer.

        Parameters
        ----------
        k : int
            How many.

        Returns
        -------
        list of str
            Module names.
        """
        return [str(name) for name in self._ranked()["module"][: check_integer(k, name="k")]]

    def __len__(self) -> int:
        return len(self._ranked())

    def _ranked(self) -> "pd.DataFrame":
        return self._results[self._results["score"] == self.by].reset_index(drop=True)

    def display(self, *, achieved: Mapping[str, float] | None = None) -> RankingDisplay:
        """Return the display of this ranking, not yet drawn.

        Parameters
        ----------
        achieved : dict, optional
            Accuracy really achieved by a module, in [0, 1], where it is known.

        Returns
        -------
        RankingDisplay
            Its `frame` has the 95 % intervals.
        """
        table = self._ranked()
        if self._prediction is not None:
            table["distinguishable"] = self.predictions()["distinguishable"]
        if achieved is not None:
            table["achieved"] = _achieved(achieved, table["module"].tolist())
        return RankingDisplay(
            results=table,
            score="" if self.by == PREDICTED else self.by,
            accuracy=self._is_accuracy(self.by),
            chance=self.settings["chance"],
            title=f"{self.settings['task']}: {self._labels_text()}",
        )

    def plot(
        self, ax: "Axes | None" = None, *, achieved: Mapping[str, float] | None = None
    ) -> RankingDisplay:
        """Draw the modules with 95 % intervals, best on top.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.
        achieved : dict, optional
            Accuracy really achieved by a module, in [0, 1], drawn as an open ring.

        Returns
        -------
        RankingDisplay
            The drawn display.
        """
        return self.display(achieved=achieved).plot(ax)

    def _extra(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "verdict": self.verdict(),
            "predictions": None if self._prediction is None else self.predictions(),
            "skipped": self.skipped,
        }

    def _columns(self) -> list[Column]:
        number = self._number(self.by)
        columns = [
            Column("    module", "{:>2}  {}".format, ("place", "module")),
            Column(self._with_unit(self.by), number, ("value",)),
            Column("95 % interval", partial(_interval, number), ("value_low", "value_high")),
        ]
        if self._prediction is not None:
            heading = "probability of being best (%)"
            columns.append(Column(heading, self._probability, ("probability_best",)))
        columns += [
            Column("features", "{:,}".format, ("n_features",)),
            Column("parameters", where_known("{:,}".format), ("n_parameters",)),
        ]
        return columns + [
            Column(self._with_unit(score), where_known(self._number(score)), (_column_of(score),))
            for score in self._others()[:_OTHER_SCORES_SHOWN]
        ]

    def _shown(self) -> "pd.DataFrame":
        table = self._ranked().join(self.display().frame()[["value_low", "value_high"]])
        table["place"] = range(1, len(table) + 1)
        if self._prediction is not None:
            table["probability_best"] = self._predicted["probability_best"]
        for score in self._others()[:_OTHER_SCORES_SHOWN]:
            rows = self._results[self._results["score"] == score]
            table[_column_of(score)] = table["module"].map(rows.set_index("module")["value"])
        return table

    def _probability(self, probability: float) -> str:
        return probability_text(100 * probability) if len(self) > 1 else "100"

    def _others(self) -> list[str]:
        computed = set(self._results["score"])
        return [name for name in self.settings["scores"][1:] if name in computed]

    def _is_accuracy(self, score: str) -> bool:
        return is_accuracy(score) and self.settings["kind"] == "classification"

    def _with_unit(self, score: str) -> str:
        name = self._name(score) if score == PREDICTED else score
        return f"{name} (%)" if self._is_accuracy(score) else name

    @staticmethod
    def _name(score: str) -> str:
        return f"predicted {_METRIC}" if score == PREDICTED else score.replace("_", " ")

    def _number(self, score: str) -> Callable[[float], str]:
        return percent if self._is_accuracy(score) else "{:.4g}".format

    def _labels_text(self) -> str:
        n_samples, n_classes = self.settings["n_samples"], self.settings["n_classes"]
        kind = self.settings["kind"]
        what = {"classification": "classes", "multilabel": "label columns", "regression": "target"}
        plural = "s" if kind == "regression" and n_classes > 1 else ""
        return f"{n_samples} labels, {n_classes} {what[kind]}{plural}"

    def verdict(self) -> str:
        """Return the decision in words: the pick, its probability, and what may be as good.

        Returns
        -------
        str
            One or two sentences.
        """
        table = self.display().frame()
        alike = table.loc[~table["distinguishable"], "module"].tolist()[1:]
        n_labels, n_modules = self.settings["n_samples"], len(self)
        text = self.best
        if self._prediction is not None and n_modules > 1:
            probability = self._probability(self._predicted["probability_best"][0])
            text += f", the best of {n_modules} with probability {probability} %"
        if not alike:
            return f"{text}."
        return f"{text}; with {n_labels} labels not distinguishable from {some(alike)}."

    def notes(self) -> list[str]:
        """Return what a reader of the table should know: ties, scores left out, scores not shown.

        Returns
        -------
        list of str
            Sentences; empty where there is nothing to say.
        """
        values = self._ranked()
        tied = values.loc[values["value"].duplicated(keep=False), "module"]
        notes = []
        if len(tied) and self._prediction is None:
            notes.append(f"Equal values keep the order given: {', '.join(tied)}.")
        elif len(tied):
            order = "by their probability of being the best, then by name"
            notes.append(f"Equal predictions, {order}: {', '.join(tied)}.")
        notes.extend(higher_notes(values))
        notes.extend(skipped_notes(self.skipped))
        hidden = self._others()[_OTHER_SCORES_SHOWN:]
        if hidden:
            notes.append(f"In frame(), not shown here: {', '.join(hidden)}.")
        return notes

    def title(self) -> str:
        """Return one line that says what was ranked, on what, by what.

        Returns
        -------
        str
            The line above the table.
        """
        modules = "1 module" if len(self) == 1 else f"{len(self)} modules"
        by = self._name(self.by)
        return f"{modules} on {self.settings['task']} by {by} ({self._labels_text()})"

    def _lines_below(self) -> list[str]:
        return [f"Pick: {self.verdict()}", *self.notes()]


def _achieved(given: Any, modules: list[str]) -> list[float]:
    """Return the achieved accuracy of each module, NaN where it is not known, or raise."""
    from pandas import Series

    if not isinstance(given, Mapping | Series):
        raise ModtoolsError(f"achieved must be {{module: accuracy}}; got {type(given).__name__}.")
    known = {str(module): accuracy for module, accuracy in given.items()}
    if strange := known.keys() - set(modules):
        raise ModtoolsError(
            f'achieved names "{min(strange)}", which is no module of this ranking; they are '
            f"{some(modules)}."
        )
    known = {module: value for module, value in known.items() if value is not None}
    found = [known.get(module, float("nan")) for module in modules]
    for module, value in zip(modules, found, strict=True):
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if not is_number or not (0 <= value <= 1 or value != value):
            hint = " Divide percent by 100." if is_number and 1 < value <= 100 else ""
            raise ModtoolsError(
                f'achieved of "{module}" must be an accuracy in [0, 1]; got {value!r}.{hint}'
            )
    return [float(value) for value in found]


def _column_of(score: str) -> str:
    """Return the column of a further score beside those of the frame."""
    return f"score {score}"


def _interval(number: Callable[[float], str], low: float, high: float) -> str:
    return f"[{number(low)}, {number(high)}]" if low < high else ""
