"""Whether scores rank modules as the achieved accuracy does, beside rankers that never look."""

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modtools._checks import check_choice, check_integer
from modtools._results import Column, Result, where_known
from modtools.exceptions import ModtoolsError
from modtools.plotting import AgreementDisplay
from modtools.selection import is_accuracy
from modtools.studies._fidelity import fidelity
from modtools.studies._rank_agreement import (
    MEASURES,
    Resampled,
    concordances,
    resample,
    with_interval,
)
from modtools.studies._tables import (
    Key,
    Nested,
    Pairs,
    Table,
    Truth,
    mean_rank_elsewhere,
    pair_up,
    read_scores,
    read_static,
    read_truth,
    shared_classes,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Agreement", "score_agreement"]


class Agreement(Result):
    """How well each score ranks the modules of each task; returned by `score_agreement`.

    All intervals are 95 % intervals for other tasks and other modules at once (two-way bootstrap,
    the same resamples for every score, so that differences stay paired); with a single task they
    are for other modules only. Where there are draws of labels, each task counts by the mean over
    its draws.

    Its JSON holds results (rows of `frame`), means, differences (to the static rankers),
    concordance, settings, seconds and versions.

    Attributes
    ----------
    settings : dict
        What was asked.
    seconds : float
        What it cost.
    versions : dict
        Versions of modtools and of what it stands on.
    """

    def __init__(
        self,
        pairs: Pairs,
        results: "pd.DataFrame",
        resampled: Resampled,
        concordances: "pd.DataFrame",
        *,
        settings: Mapping[str, Any],
        seconds: float,
    ) -> None:
        super().__init__(settings=settings, seconds=seconds)
        self._pairs = pairs
        self._resampled = resampled
        self._concordances = concordances
        self._results = _sort_by_mean(results)
        self._scores = [str(name) for name in self._results["score"].unique()]

    @property
    def _budgets(self) -> list[Any]:
        has_budgets = "budget" in self._results
        return sorted(self._results["budget"].unique().tolist()) if has_budgets else []

    def frame(self) -> "pd.DataFrame":
        """Return one row a score and task (and label budget and draw), the most faithful first.

        Returns
        -------
        pandas.DataFrame
            Columns score, task, budget and draw where they are given, weighted_tau (both rankings
            weigh in turn), weighted_tau_by_score (only the ranking by score does), kendall, pearson
            (correlations in [-1, 1], higher is better), regret, regret_3 and regret_5 (regret@1, @3
            and @5 in points of accuracy, lower is better), n_modules (that the score covers) and
            static.
        """
        return self._results.copy()

    def means(self) -> "pd.DataFrame":
        """Return the means over tasks, one row a score (and budget), the most faithful score first.

        Returns
        -------
        pandas.DataFrame
            Columns score, budget where it is given, each measure of `frame` with its 95 % interval
            in <measure>_low and <measure>_high, n_tasks and static.
        """
        return self._means.copy()

    @cached_property
    def _means(self) -> "pd.DataFrame":
        import pandas as pd

        rows = []
        for score in self._scores:
            static = {"static": score in self._pairs.static}
            for key, budget in self._keys(score):
                measures = _columns(self._resampled.mean(key))
                tasks = {"n_tasks": len(self._resampled.measures[key])}
                rows.append({"score": score, **budget, **measures, **tasks, **static})
        return pd.DataFrame(rows)

    def _keys(self, score: str) -> list[tuple[Key, dict[str, Any]]]:
        """Return the key of a score at each of its budgets, and the columns that say so."""
        if not self._budgets:
            return [((score,), {})]
        keys = [((score, budget), {"budget": budget}) for budget in self._budgets]
        return [key for key in keys if key[0] in self._resampled.measures]

    def differences(self, baselines: str | Sequence[str] | None = None) -> "pd.DataFrame":
        """Return how much better each score is than each baseline, in pairs over their tasks.

        Parameters
        ----------
        baselines : str or sequence of str, optional
            Scores or static rankers to compare with; all static rankers by default.

        Returns
        -------
        pandas.DataFrame
            Columns score, baseline, budget where it is given, each measure of `frame` as the mean
            over tasks of score minus baseline with its 95 % interval in <measure>_low and
            <measure>_high, and n_tasks. Above 0 the score ranks better; regrets are better below 0.
        """
        import pandas as pd

        chosen = [baselines] if isinstance(baselines, str) else baselines
        if chosen is None:
            chosen = [name for name in self._scores if name in self._pairs.static]
        others = [check_choice(name, self._scores, name="score") for name in chosen]
        rows = []
        for score in self._scores:
            for other in others:
                for key, budget in self._keys(score) if score != other else ():
                    against = (other, *key[1:])
                    if score in self._pairs.static or against not in self._resampled.measures:
                        continue
                    spread, n_tasks = self._resampled.difference(key, against)
                    named = {"score": score, "baseline": other, **budget}
                    if n_tasks:
                        rows.append({**named, **_columns(spread), "n_tasks": n_tasks})
        return pd.DataFrame(rows)

    def fidelity(self, sizes: Mapping[str, float] | None = None) -> "pd.DataFrame":
        """Return whether gaps between scores say how far apart the modules really are.

        Parameters
        ----------
        sizes : dict, optional
            Number of parameters of each module; modules within a factor of 1.5 are of one size.

        Returns
        -------
        pandas.DataFrame
            One row a score (and budget), each number with its 95 % interval in <name>_low and
            <name>_high: gap_pearson and gap_spearman (gaps of the score against gaps of the
            accuracy, all pairs of all tasks), ordered (share of pairs in the right order, ties of
            the score count half), ordered_q1 to ordered_q4 (the same by quarter of the score gap,
            the largest last), same_size (the same among modules of one size), error (points: mean
            absolute error of the accuracy predicted on a task left out, after a rising calibration
            on the others), coverage and band (share held by, and mean width in points of, its 80 %
            band). What cannot be measured is missing: the last three with fewer than three tasks.
        """
        import pandas as pd

        found = fidelity(self._pairs, self._resampled, sizes)
        rows = []
        for score in self._scores:
            static = {"static": score in self._pairs.static}
            for key, budget in self._keys(score):
                rows.append({"score": score, **budget, **found[key], **static})
        return pd.DataFrame(rows)

    def concordance(self) -> "pd.DataFrame":
        """Return Kendall's W of the achieved accuracies, one row (a budget).

        W is 1 where every task orders the modules alike: then one static order serves all tasks and
        no score is needed. It is about 1 over the number of tasks where tasks have nothing in
        common.

        Returns
        -------
        pandas.DataFrame
            Columns budget where it is given, concordance (W, in [0, 1]), low, high (95 % interval),
            n_tasks and n_modules (that were tried on every task). No row with fewer than two tasks.
        """
        return self._concordances.copy()

    @property
    def best(self) -> str:
        """Score with the highest mean weighted tau, the first given among equals.

        Static rankers are left out, unless there is nothing else.
        """
        scores = [name for name in self._scores if name not in self._pairs.static]
        return (scores or self._scores)[0]

    def plot(
        self, ax: Any = None, *, score: str | None = None, budget: float | None = None
    ) -> AgreementDisplay:
        """Draw predicted against achieved, and the bars of weighted tau beside it.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or sequence of two, optional
            Where to draw; one pair of axes gets both panels, a single one the left panel.
        score : str, optional
            Score drawn on the left; the best by default.
        budget : float, optional
            Label budget that is drawn; the largest by default.

        Returns
        -------
        AgreementDisplay
            The drawn display.
        """
        score = self.best if score is None else check_choice(score, self._scores, name="score")
        points, results, means = self._pairs.points(), self._results, self.means()
        points = points[points["score"] == score]
        if self._budgets:
            budget = self._budgets[-1] if budget is None else budget
            if budget not in self._budgets:
                known = ", ".join(map(str, self._budgets))
                raise ModtoolsError(f"unknown budget {budget}. Known: {known}.")
            points, results, means = (
                table[table["budget"] == budget] for table in (points, results, means)
            )
        return AgreementDisplay(
            points=_mean_over(points, ["task", "module"], ["predicted", "achieved"]),
            agreement=_mean_over(results, ["score", "task"], ["weighted_tau", "static"]),
            intervals=means,
            score=score,
            accuracy=is_accuracy(score),
        ).plot(ax)

    def _content(self) -> dict[str, Any]:
        return {
            "results": self._results,
            "means": self.means(),
            "differences": self.differences(),
            "concordance": self._concordances,
        }

    def _columns(self) -> list[Column]:
        score = Column("score", _named, ("score", "static"))
        if self._budgets:
            shown = [("weighted_tau", "weighted tau", 2), ("regret", "regret@1 (points)", 1)]
            return [score] + [
                _mean_column(f"{heading}, budget {budget}", measure, digits, f" {budget}")
                for measure, heading, digits in shown
                for budget in self._budgets
            ]
        return [
            score,
            _mean_column("weighted tau", "weighted_tau", 3),
            Column("Kendall tau", "{:.3f}".format, ("kendall",)),
            Column("Pearson", "{:.3f}".format, ("pearson",)),
            _mean_column("regret@1 (points)", "regret", 2),
            Column("regret@3 (points)", "{:.2f}".format, ("regret_3",)),
            Column("tasks", str, ("n_tasks",)),
        ]

    def _shown(self) -> "pd.DataFrame":
        """Return the means, one row a score; those of several budgets side by side."""
        if not self._budgets:
            return self._means
        wide = self._means.pivot(index=["score", "static"], columns="budget").reset_index()
        wide.columns = [" ".join(map(str, key)).strip() for key in wide.columns]
        return wide.iloc[wide["score"].map(self._scores.index).argsort()]

    def title(self) -> str:
        """Return what stands above the printed table: what it shows, and Kendall's W.

        Returns
        -------
        str
            One line.
        """
        parts = [
            f"{row['concordance']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
            + (f" at budget {row['budget']}" if self._budgets else "")
            for row in self._concordances.to_dict("records")
        ]
        said = f"; Kendall's W of the truth {', '.join(parts)}" if parts else ""
        return f"Agreement with achieved accuracy, 95 % intervals{said}"


def _sort_by_mean(results: "pd.DataFrame") -> "pd.DataFrame":
    """Order the scores by mean weighted tau, every task and budget alike; ties as they came."""
    axes = [axis for axis in ("task", "budget") if axis in results]
    by_cell = results.groupby(["score", *axes], sort=False)["weighted_tau"].mean()
    means = by_cell.groupby(level="score", sort=False).mean()
    order = means.sort_values(ascending=False, kind="stable").index
    places = {score: place for place, score in enumerate(order)}
    return results.sort_values(
        "score", key=lambda names: names.map(places), kind="stable", ignore_index=True
    )


def _columns(spread: Any) -> dict[str, float]:
    """Return mean, low and high of every measure under the names of their columns."""
    found: dict[str, float] = {}
    for name, numbers in zip(MEASURES, spread.T, strict=True):
        found |= with_interval(name, *numbers)
    return found


def _mean_over(table: "pd.DataFrame", keys: list[str], values: list[str]) -> "pd.DataFrame":
    """Return means over draws, in the order of the rows."""
    means = table.groupby(keys, sort=False)[values].mean().reset_index()
    return means.assign(static=means["static"] > 0) if "static" in values else means


def _named(score: str, static: bool) -> str:
    return f"{score} (static)" if static else score


def _mean_column(heading: str, measure: str, digits: int, of: str = "") -> Column:
    """Return the column of a mean with its interval; `of` ends the names of its columns."""
    number = f"{{:.{digits}f}}"
    text = f"{number} [{number}, {number}]".format
    names = tuple(f"{measure}{end}{of}" for end in ("", "_low", "_high"))
    # Where budgets stand side by side, a score may lack one.
    return Column(heading, where_known(text) if of else text, names)


def score_agreement(
    scores: "Nested | Table",
    truth: "Truth | Table",
    *,
    static: "Truth | Nested | Table | None" = None,
    module_classes: Mapping[str, Iterable[Any]] | None = None,
    task_classes: Mapping[str, Iterable[Any]] | None = None,
    unit: str = "fraction",
    seed: int = 0,
) -> Agreement:
    """Measure how well scores rank modules by the accuracy that was really achieved.

    Per score and task: the weighted tau in both conventions, Kendall's tau-b, the Pearson
    correlation, and regret@k: how many points of accuracy the best of the k modules picked lies
    below the best of all (the mean over the orders of modules that share a score). Means are taken
    over tasks, with 95 % intervals for other tasks and other modules. With M modules and no
    relation at all, tau varies by about 0.23 for M=11, so differences below 0.3 on one task are
    noise.

    Beside the scores stand static rankers that never look at the labels: those that are given, the
    mean rank of each module on the other tasks wherever there are two tasks, and the number of
    classes that source and target share where these are given. A score is worth its cost only
    where it beats them: see `Agreement.differences`.

    Parameters
    ----------
    scores : dict, pandas.DataFrame or path
        ``{task: {score: {module: value}}}``; or a frame (or a CSV or Parquet file) with columns
        task, module and either score and value, or one column a score. Higher is better. Columns
        budget and draw (numbers) say with which labels a score was computed. A score may leave
        modules out: it is measured on those it covers, and its regret is still against the best of
        all. May be empty: then static rankers are judged alone.
    truth : dict, pandas.DataFrame or path
        Achieved accuracies: ``{task: {module: accuracy}}``, or a frame or file with columns task,
        module, accuracy, and budget and draw where output modules were retrained on those labels.
        Where truth lacks them it serves all budgets and draws.
    static : dict, pandas.DataFrame or path, optional
        Rankers such as the number of parameters: ``{ranker: {module: value}}`` for every task, or
        in a form that `scores` may take, with or without a task.
    module_classes : dict, optional
        ``{module: classes}`` that the module was trained on.
    task_classes : dict, optional
        ``{task: classes}``; with `module_classes` the number of shared classes is a static ranker.
    unit : {"fraction", "percent"}, default="fraction"
        Unit of the accuracies in `truth`; it is asked for, never guessed.
    seed : int, default=0
        Of the bootstrap.

    Returns
    -------
    Agreement
        One row a score and task in `frame`, means over tasks with intervals in `means`, paired
        differences to the static rankers in `differences`, Kendall's W of the truth in
        `concordance`. A constant score, or a task on which all modules achieve the same, counts as
        0 in all correlations.

    Raises
    ------
    ModtoolsError
        An unknown task, budget, draw or module, fewer than two modules, a value that is not finite
        or is given twice, or accuracies outside [0, 1] (of percent: outside [0, 100], or none above
        1).

    Examples
    --------
    >>> truth = {"digits": {"a": 0.9, "b": 0.8, "c": 0.7}}
    >>> scores = {"digits": {"ridge": {"a": 0.88, "b": 0.81, "c": 0.7}}}
    >>> agreement = score_agreement(scores, truth, static={"size": {"a": 1, "b": 2, "c": 3}})
    >>> agreement.means()[["score", "weighted_tau", "regret"]].round(2).values.tolist()
    [['ridge', 1.0, 0.0], ['size', -1.0, 20.0]]
    """
    import pandas as pd

    started = time.perf_counter()
    seed = check_integer(seed, name="seed", minimum=0)
    achieved = read_truth(truth, unit=unit)
    table = read_scores(scores, name="scores")
    given = [] if static is None else [read_static(static)]
    shared = shared_classes(module_classes, task_classes, achieved)
    built = [ranker for ranker in (shared, mean_rank_elsewhere(achieved)) if ranker is not None]
    rankers = [*given, *(ranker for ranker in built if len(ranker))]
    pairs = pair_up(table if len(table) else None, achieved, rankers)
    resampled, own = resample(pairs, seed=seed)
    return Agreement(
        pairs,
        _results(pairs, own),
        resampled,
        pd.DataFrame(concordances(achieved, seed=seed)),
        settings={"unit": unit, "seed": seed, "tasks": achieved["task"].unique().tolist()},
        seconds=time.perf_counter() - started,
    )


def _results(pairs: Pairs, measures: Any) -> "pd.DataFrame":
    """Return one row a score and cell: its measures, how many modules it covers, static or not."""
    table = pairs.predicted.index.to_frame(index=False)
    table[list(MEASURES)] = measures
    table["n_modules"] = pairs.predicted.notna().sum(axis=1).to_numpy()
    table["static"] = table["score"].isin(pairs.static)
    return table
