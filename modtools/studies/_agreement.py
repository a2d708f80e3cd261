"""Whether scores rank modules as the achieved accuracy does, beside rankers that never look."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from modtools._tables import html_table, text_table
from modtools._validation import check_choice
from modtools._writing import json_text, write_file
from modtools.exceptions import ModtoolsError
from modtools.plotting import AgreementDisplay
from modtools.selection import ACCURACIES
from modtools.studies._inputs import (
    Nested,
    Truth,
    pair_up,
    read_nested,
    read_static,
    read_truth,
)
from modtools.studies._rank_agreement import kendall, pearson, regret_of_pick, weighted_tau

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Agreement", "score_agreement"]

_MEASURES: Final = ["weighted_tau", "kendall", "pearson", "regret"]
_HEADER: Final = ["score", "weighted tau", "Kendall tau", "Pearson", "regret@1 (points)", "tasks"]


class Agreement:
    """How well each score ranks the modules of each task; returned by `score_agreement`.

    Attributes
    ----------
    best : str
        Score with the highest mean weighted tau; among equals the first one given.
    """

    def __init__(self, results: "pd.DataFrame", points: "pd.DataFrame") -> None:
        self._results = results
        self._points = points

    def frame(self) -> "pd.DataFrame":
        """Return one row a score and task, the most faithful score first.

        Returns
        -------
        pandas.DataFrame
            Columns score, task, weighted_tau, kendall, pearson, regret (regret@1 in points of
            accuracy), n_modules (modules that the score covers) and static.
        """
        return self._results.copy()

    def means(self) -> "pd.DataFrame":
        """Return the means over tasks, one row a score, highest mean weighted tau first.

        Returns
        -------
        pandas.DataFrame
            Columns score, weighted_tau, kendall, pearson, regret, n_tasks and static.
        """
        groups = self._results.groupby("score", sort=False)
        table = groups[_MEASURES].mean()
        table["n_tasks"] = groups["task"].nunique()
        table["static"] = groups["static"].first()
        return table.reset_index()

    @property
    def best(self) -> str:
        """Score with the highest mean weighted tau, static rankers left out."""
        scores = self._results.loc[~self._results["static"], "score"]
        return str(scores.iloc[0])

    def plot(self, ax: Any = None, *, score: str | None = None) -> AgreementDisplay:
        """Draw predicted against achieved, and the bars of weighted tau beside it.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or sequence of two, optional
            Where to draw; one pair of axes gets both panels, a single one the left panel.
        score : str, optional
            Score drawn on the left; the best by default.

        Returns
        -------
        AgreementDisplay
            The drawn display.
        """
        known = list(dict.fromkeys(self._points["score"]))
        score = self.best if score is None else check_choice(score, known, name="score")
        points = self._points[self._points["score"] == score]
        is_accuracy = score in ACCURACIES
        return AgreementDisplay(
            points=points, agreement=self._results, score=score, accuracy=is_accuracy
        ).plot(ax)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the frame and the means as JSON that names versions.

        Parameters
        ----------
        path : path-like, optional
            Also write the text there, whole or not at all.

        Returns
        -------
        str
            The JSON text: results (one row a score and task), means and versions.
        """
        text = json_text({"results": self._results, "means": self.means()})
        if path is not None:
            write_file(path, text)
        return text

    def _table(self) -> list[list[str]]:
        rows = self.means().to_dict("records")
        return [
            [
                f"{row['score']} (static)" if row["static"] else str(row["score"]),
                *(f"{row[name]:.3f}" for name in _MEASURES[:3]),
                f"{row['regret']:.2f}",
                str(row["n_tasks"]),
            ]
            for row in rows
        ]

    def __repr__(self) -> str:
        return text_table(_HEADER, self._table(), title="Agreement with achieved accuracy")

    def _repr_html_(self) -> str:
        return html_table(_HEADER, self._table(), title="Agreement with achieved accuracy")


def score_agreement(
    scores: "Nested | pd.DataFrame",
    truth: "Truth | pd.DataFrame",
    *,
    static: "Truth | Nested | pd.DataFrame | None" = None,
) -> Agreement:
    """Measure how well scores rank modules by the accuracy that was really achieved.

    Per score and task: the weighted tau (``scipy.stats.weightedtau(scores, truth)``, where the top
    counts most), Kendall's tau-b, the Pearson correlation, and regret@1: how many points of
    accuracy the picked module lies below the best one (the mean over modules that share the highest
    score). Means are taken over tasks. With M modules and no relation at all, tau varies by about
    0.23 for M=11, so differences below 0.3 on one task are noise.

    Parameters
    ----------
    scores : dict or pandas.DataFrame
        ``{task: {score: {module: value}}}``, or a frame with columns task, score, module, value.
        Higher is better. A score may leave modules out: it is measured on those it covers, and its
        regret is still against the best of all.
    truth : dict or pandas.DataFrame
        Achieved accuracies in [0, 1]: ``{task: {module: accuracy}}``, or a frame with columns task,
        module, accuracy.
    static : dict or pandas.DataFrame, optional
        Rankers that never look at the labels, such as the number of parameters:
        ``{ranker: {module: value}}`` for every task, or in a form that `scores` may take.

    Returns
    -------
    Agreement
        One row a score and task in `frame`, means over tasks in `means`. A constant score, or a
        task on which all modules achieve the same, counts as 0 in all three correlations.

    Raises
    ------
    ModtoolsError
        An unknown task or module, fewer than two modules, a value that is not finite, or accuracies
        outside [0, 1].

    Examples
    --------
    >>> truth = {"digits": {"a": 0.9, "b": 0.8, "c": 0.7}}
    >>> scores = {"digits": {"ridge": {"a": 0.88, "b": 0.81, "c": 0.7}}}
    >>> agreement = score_agreement(scores, truth, static={"size": {"a": 1, "b": 2, "c": 3}})
    >>> agreement.means()[["score", "weighted_tau", "regret"]].round(2).values.tolist()
    [['ridge', 1.0, 0.0], ['size', -1.0, 20.0]]
    """
    import pandas as pd

    achieved = read_truth(truth)
    given = [(read_nested(scores, name="scores"), False)]
    if static is not None:
        given.append((read_static(static, achieved), True))
    results: list[dict[str, Any]] = []
    points: list[dict[str, Any]] = []
    for nested, is_static in given:
        for task, by_score in nested.items():
            for score, values in by_score.items():
                pairs = pair_up(values, achieved, task=task, score=score)
                labelled = {"score": score, "task": task}
                measures = _measure(pairs, best=max(achieved[task].values()))
                results.append({**labelled, **measures, "static": is_static})
                if not is_static:
                    points.extend({**labelled, **point} for point in pairs.values())
    if not points:
        raise ModtoolsError("scores is empty: give at least one score of two modules on one task.")
    return Agreement(_sort_by_mean(pd.DataFrame(results)), pd.DataFrame(points))


def _measure(pairs: Mapping[str, Mapping[str, Any]], *, best: float) -> dict[str, float]:
    predicted = np.array([pair["predicted"] for pair in pairs.values()], dtype=np.float64)
    truth = np.array([pair["achieved"] for pair in pairs.values()], dtype=np.float64)
    return {
        "weighted_tau": weighted_tau(predicted, truth),
        "kendall": kendall(predicted, truth),
        "pearson": pearson(predicted, truth),
        "regret": regret_of_pick(predicted, truth, best),
        "n_modules": len(pairs),
    }


def _sort_by_mean(results: "pd.DataFrame") -> "pd.DataFrame":
    means = results.groupby("score", sort=False)["weighted_tau"].mean()
    order = means.sort_values(ascending=False, kind="stable").index
    places = {score: place for place, score in enumerate(order)}
    return results.sort_values(
        "score", key=lambda names: names.map(places), kind="stable", ignore_index=True
    )
