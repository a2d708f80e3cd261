"""What each label is worth to the demo's pick: predicted from few labels, and achieved."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from modtools._intervals import MeasuredAccuracy
from modtools.cli._demo_tasks import Outcome, new_output
from modtools.cli._forecast import forecast_rows, reached_row
from modtools.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

    from modtools.retraining import Forecast

__all__ = [
    "LabelWorth",
    "decision_text",
    "draw_labels",
    "labels_lines",
    "value_labels",
    "worth_figures",
]

PER_CLASS_SHOWN: Final = (1, 2, 5, 10, 20)
_N_DRAWS: Final = 5
_LEAST_PREDICTED: Final = 5  # labels a class: one for each fold of the score
_BASELINE: Final = "pixels"
_PREDICTED: Final = "predicted from the labels"
_FORECAST: Final = "forecast (ridge)"


@dataclass(frozen=True)
class LabelWorth:
    """Accuracy of the pick with more and more labels.

    Attributes
    ----------
    outcome : Outcome
        The ranking, whose pick this is about.
    table : pandas.DataFrame
        Columns line, per_class, n_labels, accuracy, accuracy_low, accuracy_high and baseline.
    draws : pandas.DataFrame
        Columns line, draw, n_labels and accuracy, of the pick.
    forecast : Forecast
        What more labels than there are would bring, from those alone.
    """

    outcome: Outcome
    table: "pd.DataFrame"
    draws: "pd.DataFrame"
    forecast: "Forecast"

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.outcome.task.whole.name

    @property
    def target(self) -> float | None:
        """The next round accuracy above the one predicted with all labels that there are."""
        from modtools.retraining import next_target

        return next_target(self.outcome.ranking.display().frame()["value"][0])

    def achieved(self) -> dict[int, float]:
        """Return the accuracy of the pick by labels a class, the mean over draws."""
        rows = self.table[self.table["line"] == _achieved(self.outcome.ranking.best)]
        return dict(zip(rows["per_class"].tolist(), rows["accuracy"].tolist(), strict=True))

    def measured(self) -> MeasuredAccuracy:
        """Return the accuracy of the pick with all labels that there are."""
        return MeasuredAccuracy(list(self.achieved().values())[-1])


def _achieved(module: str) -> str:
    return f"{module}, retrained"


def value_labels(outcome: Outcome, *, seed: int) -> LabelWorth:
    """Retrain the pick, and the pixels beside it, with 1, 2, 5, ... labels a class."""
    import pandas as pd

    from modtools.retraining import extrapolate

    pick = outcome.ranking.best
    task = outcome.task
    draws = _retrained(outcome, pick, seed)
    parts = [_means(draws), _predicted(outcome, seed=seed)]
    if pick != _BASELINE and _BASELINE in outcome.features:
        parts.append(_means(_retrained(outcome, _BASELINE, seed)).assign(baseline=True))
    table = pd.concat(parts, ignore_index=True)
    table["baseline"] = table["baseline"].eq(True)
    few, labels = outcome.features[pick][task.few], task.whole.labels[task.few]
    return LabelWorth(outcome, table, draws, extrapolate(few, labels, seed=seed))


def _retrained(outcome: Outcome, module: str, seed: int) -> "pd.DataFrame":
    """Return the accuracy on the rows kept aside of each draw of few labels, nested in a draw."""
    import pandas as pd

    task, features = outcome.task, outcome.features[module]
    labels, classes = task.whole.labels, len(task.whole.classes)
    numbers = Task(np.arange(len(task.few)), labels[task.few])
    counts = _shown(len(numbers) // classes)
    rows = []
    for draw in range(_N_DRAWS):
        order = task.few[numbers.few_labels(per_class=counts[-1], seed=seed + draw).rows]
        for per_class in counts:
            chosen = order[: per_class * classes]
            output = new_output().fit(features[chosen], labels[chosen])
            accuracy = float(output.score(features[task.kept], labels[task.kept]))
            rows.append((_achieved(module), draw, per_class, len(chosen), accuracy))
    return pd.DataFrame(rows, columns=["line", "draw", "per_class", "n_labels", "accuracy"])


def _shown(most: int) -> list[int]:
    return [count for count in PER_CLASS_SHOWN if count < most] + [most]


def _means(draws: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    keys = ["line", "per_class", "n_labels"]
    means = draws.groupby(keys, as_index=False)["accuracy"].mean()
    return pd.DataFrame(means).assign(baseline=False)


def _predicted(outcome: Outcome, *, seed: int) -> "pd.DataFrame":
    """Return what is predicted of the pick from these labels alone, with its 95 % interval."""
    import pandas as pd

    from modtools.selection import rank_modules

    task, pick = outcome.task, outcome.ranking.best
    labels, classes = task.whole.labels, len(task.whole.classes)
    rows: list[dict[str, Any]] = []
    for per_class in _shown(len(task.few) // classes):
        if per_class < _LEAST_PREDICTED:
            continue
        chosen = task.few[: per_class * classes]  # in rounds of one row a class
        few = {name: whole[chosen] for name, whole in outcome.features.items()}
        found = rank_modules(few, labels[chosen], seed=seed).predictions().set_index("module")
        numbers = {"per_class": per_class, "n_labels": len(chosen)}
        known = found[["predicted", "low", "high"]].to_numpy(dtype=float)
        own = known[found.index == pick][0].tolist()
        names = ("accuracy", "accuracy_low", "accuracy_high")
        rows.append({**numbers, **dict(zip(names, own, strict=True))})
    return pd.DataFrame(rows).assign(line=_PREDICTED, baseline=False)


def labels_lines(worth: LabelWorth) -> list[str]:
    """Say what each label was worth, and what more would bring."""
    parts = [f"{count}: {100 * value:.1f} %" for count, value in worth.achieved().items()]
    return [
        f"Retrain  {worth.outcome.ranking.best} with so many labels a class: {', '.join(parts)}",
        f"Labels   {worth.forecast.verdict(worth.target, measured=worth.measured())}",
    ]


def decision_text(worth: LabelWorth) -> str:
    """Return the answer in one sentence: which module, how sure, how many labels, what it costs."""
    from modtools.selection._ranking_notes import odds_text

    outcome, pick = worth.outcome, worth.outcome.ranking.best
    best = outcome.ranking.predictions().iloc[0]
    known = f"{100 * best['predicted']:.0f} % [{100 * best['low']:.0f}, {100 * best['high']:.0f}]"
    n_labels = len(outcome.task.few)
    return (
        f"reuse {pick} for {worth.name}: {known} is predicted with the {n_labels} labels, "
        f"and the odds that none of the {len(outcome.achieved)} modules does better are "
        f"{odds_text(100 * best['probability_best'])} %; "
        f"{worth.forecast.verdict(worth.target, measured=worth.measured())} "
        f"It costs {outcome.milliseconds[pick]:.2f} ms an image and "
        f"{outcome.n_parameters[pick] / 1e6:.2g} million parameters."
    )


def draw_labels(worths: Sequence[LabelWorth], path: Path) -> list[Path]:
    """Draw a panel for each task: achieved beside predicted accuracy, and the forecast."""
    from matplotlib.figure import Figure

    from modtools.plotting import LabelEfficiencyDisplay

    figure = Figure(figsize=(8.2 * len(worths), 4.6), layout="constrained")
    panels = figure.subplots(1, len(worths), squeeze=False)[0]
    for worth, ax in zip(worths, panels, strict=True):
        display = LabelEfficiencyDisplay(
            worth.table,
            draws=worth.draws,
            target=worth.target,
            reached=reached_row(worth.forecast, _FORECAST, worth.target, worth.measured()),
            forecast=forecast_rows(worth.forecast, _FORECAST, worth.target),
            title=f"{worth.name}: what each label is worth",
        ).plot(ax)
    return display.save(path)


def worth_figures(worth: LabelWorth) -> dict[str, Any]:
    """Return the numbers by name; accuracies in percent, null where nothing can be said."""
    figures: dict[str, Any] = {
        f"accuracy_of_pick_{count}_a_class_{worth.name}": 100 * value
        for count, value in worth.achieved().items()
    }
    said = worth.forecast.figures(worth.target, measured=worth.measured())
    return {**figures, **{f"{name}_{worth.name}": value for name, value in said.items()}}
