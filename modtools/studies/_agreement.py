"""Whether scores rank modules as the achieved accuracy does, beside label-free baselines."""

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from modtools._checks import check_choice, check_integer
from modtools._results import Column, Result, where_known
from modtools.exceptions import ModtoolsError
from modtools.plotting import AgreementDisplay
from modtools.selection import PREDICTED, is_accuracy
from modtools.studies._fidelity import fidelity
from modtools.studies._rank_agreement import (
    MEASURES,
    Resampled,
    concordances,
    resample,
    with_interval,
)
from modtools.studies._tables import (
    Accuracies,
    Key,
    Nested,
    Pairs,
    Table,
    mean_rank_elsewhere,
    pair_up,
    read_achieved,
    read_baselines,
    read_scores,
    shared_classes,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Agreement", "score_agreement"]

_MEASURED: Final = ["measure", "value", "value_low", "value_high"]
_INTERVAL_OF_TAU: Final = {"value_low": "weighted_tau_low", "value_high": "weighted_tau_high"}


class Agreement(Result):
    """How well each score ranks the modules of each task; returned by `score_agreement`.

    All intervals are 95 % intervals for other tasks and other modules at once (two-way bootstrap,
    the same resamples for every score, so that differences stay paired); with a single task they
    are for other modules only. Where there are several random subsets of labels, each task counts
    by the mean over these repeats.

    The extra of its JSON is means, differences (to the label-free baselines) and concordance.

    Attributes
    ----------
    settings : dict
        What was asked.
    seconds : float
        Wall time.
    versions : dict
        Versions of modtools, torch, scikit-learn, numpy and Python.
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
    def _counts(self) -> list[Any]:
        """The label counts, where they are given."""
        has_counts = "n_labels" in self._results
        return sorted(self._results["n_labels"].unique().tolist()) if has_counts else []

    def frame(self) -> "pd.DataFrame":
        """Return one row per score and task (and label count and repeat), the best score first.

        Returns
        -------
        pandas.DataFrame
            Columns score, task, n_labels and repeat where they are given, weighted_tau (both
            rankings weigh in turn), weighted_tau_by_score (only the ranking by score does),
            kendall, pearson (correlations in [-1, 1], higher is better), regret, regret_3 and
            regret_5 (regret@1, @3 and @5 in points of accuracy, lower is better), n_modules (that
            the score covers) and is_baseline (whether it is a label-free baseline).
        """
        return self._results.copy()

    def means(self) -> "pd.DataFrame":
        """Return the means over tasks, one row per score (and label count) and measure.

        Returns
        -------
        pandas.DataFrame
            Columns score (the best first), n_labels where it is given, measure (those of `frame`),
            value, value_low and value_high (95 % interval), n_tasks and is_baseline.
        """
        return self._means.copy()

    @cached_property
    def _means(self) -> "pd.DataFrame":
        import pandas as pd

        rows = []
        for score in self._scores:
            is_baseline = {"is_baseline": score in self._pairs.baselines}
            for key, counted in self._keys(score):
                tasks = {"n_tasks": len(self._resampled.measures[key])}
                rows += [
                    {"score": score, **counted, **measured, **tasks, **is_baseline}
                    for measured in _by_measure(self._resampled.mean(key))
                ]
        return pd.DataFrame(rows)

    def _keys(self, score: str) -> list[tuple[Key, dict[str, Any]]]:
        """Return the key of a score at each of its label counts, and the column of the count."""
        if not self._counts:
            return [((score,), {})]
        keys = [((score, count), {"n_labels": count}) for count in self._counts]
        return [key for key in keys if key[0] in self._resampled.measures]

    def differences(self, baselines: str | Sequence[str] | None = None) -> "pd.DataFrame":
        """Return how much better each score is than each baseline, in pairs over their tasks.

        Parameters
        ----------
        baselines : str or sequence of str, optional
            Scores or label-free baselines to compare with; all label-free baselines by default.

        Returns
        -------
        pandas.DataFrame
            Columns score, baseline, n_labels where it is given, measure (those of `frame`), value
            (the mean over tasks of score minus baseline), value_low and value_high (95 % interval)
            and n_tasks. Above 0 the score ranks better; regrets are better below 0.
        """
        import pandas as pd

        chosen = [baselines] if isinstance(baselines, str) else baselines
        if not isinstance(chosen, Iterable | None):
            raise ModtoolsError(f"baselines must be names of scores; got {baselines!r}.")
        if chosen is None:
            chosen = [name for name in self._scores if name in self._pairs.baselines]
        others = [check_choice(name, self._scores, name="score") for name in chosen]
        rows = []
        for score in self._scores:
            for other in others:
                for key, counted in self._keys(score) if score != other else ():
                    against = (other, *key[1:])
                    if score in self._pairs.baselines or against not in self._resampled.measures:
                        continue
                    spread, n_tasks = self._resampled.difference(key, against)
                    named = {"score": score, "baseline": other, **counted}
                    if n_tasks:
                        measured = _by_measure(spread)
                        rows += [{**named, **one, "n_tasks": n_tasks} for one in measured]
        counts = ["n_labels"] if self._counts else []
        return pd.DataFrame(rows, columns=["score", "baseline", *counts, *_MEASURED, "n_tasks"])

    def fidelity(self, sizes: Mapping[str, float] | None = None) -> "pd.DataFrame":
        """Return whether gaps between scores say how far apart the modules really are.

        Parameters
        ----------
        sizes : dict, optional
            Number of parameters of each module; modules within a factor of 1.5 are of one size.

        Returns
        -------
        pandas.DataFrame
            One row per score (and label count), each number with its 95 % interval in <name>_low
            and <name>_high: gap_pearson and gap_spearman (gaps of the score against gaps of the
            accuracy, all pairs of all tasks), ordered (fraction of pairs in the right order, ties
            of the score count half), ordered_q1 to ordered_q4 (the same by quarter of the score
            gap, the largest last), same_size (the same among modules of one size), error (points:
            mean absolute error of the accuracy predicted on a task left out, after a monotone
            calibration on the others), coverage and band (fraction held by, and mean width in
            points of, its 80 % band). What cannot be measured is missing: the last three with
            fewer than three tasks.
        """
        import pandas as pd

        found = fidelity(self._pairs, self._resampled, sizes)
        rows = []
        for score in self._scores:
            is_baseline = {"is_baseline": score in self._pairs.baselines}
            for key, counted in self._keys(score):
                rows.append({"score": score, **counted, **found[key], **is_baseline})
        return pd.DataFrame(rows)

    def concordance(self) -> "pd.DataFrame":
        """Return Kendall's W of the achieved accuracies, one row (per label count).

        W is 1 where every task orders the modules alike: then one fixed order serves all tasks and
        no score is needed. It is about 1 over the number of tasks where tasks have nothing in
        common.

        Returns
        -------
        pandas.DataFrame
            Columns n_labels where it is given, concordance (W, in [0, 1]), concordance_low,
            concordance_high (95 % interval), n_tasks and n_modules (that were tried on every task).
            No row with fewer than two tasks.
        """
        return self._concordances.copy()

    @property
    def best(self) -> str:
        """Score with the highest mean weighted tau, the first given among equals.

        Label-free baselines are left out, unless there is nothing else.
        """
        scores = [name for name in self._scores if name not in self._pairs.baselines]
        return (scores or self._scores)[0]

    def verdicts(self, against: Sequence[str] = ()) -> list[str]:
        """Return in words whether the best score ranks better than others, by its weighted tau.

        Parameters
        ----------
        against : sequence of str, optional
            Scores or baselines; by default the best label-free baseline, if there is one.

        Returns
        -------
        list of str
            One sentence for each and for each label count.
        """
        baselines = self._means.loc[self._means["is_baseline"], "score"].unique().tolist()
        lines = []
        for name in against or baselines[:1]:
            table = self.differences(name)
            is_shown = (table["score"] == self.best) & (table["measure"] == "weighted_tau")
            for row in table[is_shown].to_dict("records"):
                mean, low, high = (row[f"value{end}"] for end in ("", "_low", "_high"))
                verdict = "ranks better" if low > 0 else "ranks worse"
                verdict = "not distinguishable" if low <= 0 <= high else verdict
                tau = f"weighted tau {mean:+.2f} [{low:+.2f}, {high:+.2f}]"
                lines.append(f"{name}{_at(row)}: {verdict}, {tau}")
        return lines

    def notes(self) -> list[str]:
        """Return in words how much the tasks agree with each other on the order of the modules.

        Returns
        -------
        list of str
            One sentence for each label count.
        """
        return [
            f"{row['n_tasks']} tasks order {row['n_modules']} modules with Kendall's W "
            f"{row['concordance']:.2f} "
            f"[{row['concordance_low']:.2f}, {row['concordance_high']:.2f}]{_at(row)}; at 1 one "
            "fixed order serves all tasks"
            for row in self.concordance().to_dict("records")
        ]

    def plot(
        self, ax: Any = None, *, score: str | None = None, n_labels: float | None = None
    ) -> AgreementDisplay:
        """Draw predicted against achieved, and the bars of weighted tau beside it.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or sequence of two, optional
            Where to draw; one pair of axes gets both panels, a single one the left panel.
        score : str, optional
            Score drawn on the left; the best by default.
        n_labels : float, optional
            Label count that is drawn; the largest by default.

        Returns
        -------
        AgreementDisplay
            The drawn display.
        """
        score = self.best if score is None else check_choice(score, self._scores, name="score")
        points, results, means = self._pairs.points(), self._results, self._means
        points, means = points[points["score"] == score], means[means["measure"] == "weighted_tau"]
        if n_labels is not None and not self._counts:
            raise ModtoolsError("n_labels is for scores with several label counts; leave it out.")
        if self._counts:
            n_labels = self._counts[-1] if n_labels is None else n_labels
            if n_labels not in self._counts:
                known = ", ".join(map(str, self._counts))
                raise ModtoolsError(f"unknown n_labels {n_labels}. Known: {known}.")
            points, results, means = (
                table[table["n_labels"] == n_labels] for table in (points, results, means)
            )
        return AgreementDisplay(
            points=_mean_over(points, ["task", "module"], ["predicted", "achieved"]),
            agreement=_mean_over(results, ["score", "task"], ["weighted_tau", "is_baseline"]),
            intervals=means.rename(columns=_INTERVAL_OF_TAU),
            score=score,
            accuracy=is_accuracy(score),
            label=PREDICTED if score == PREDICTED else "",
        ).plot(ax)

    def _extra(self) -> dict[str, Any]:
        return {
            "means": self.means(),
            "differences": self.differences(),
            "concordance": self._concordances,
        }

    def _columns(self) -> list[Column]:
        score = Column("score", _named, ("score", "is_baseline"))
        if self._counts:
            shown = [("weighted_tau", "weighted tau", 2), ("regret", "regret@1 (points)", 1)]
            return [score] + [
                _mean_column(f"{heading}, {count} labels", measure, digits, f" {count}")
                for measure, heading, digits in shown
                for count in self._counts
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
        """Return the means, one row per score; those of several label counts side by side."""
        import pandas as pd

        by_score: dict[str, dict[str, Any]] = {}
        for row in self._means.to_dict("records"):
            shown = by_score.setdefault(row["score"], {str(key): row[key] for key in row})
            at = f" {row['n_labels']}" if self._counts else ""
            shown |= {
                f"{row['measure']}{end}{at}": row[f"value{end}"] for end in ("", "_low", "_high")
            }
        return pd.DataFrame(by_score.values())

    def title(self) -> str:
        """Return what stands above the printed table: what it shows, and Kendall's W.

        Returns
        -------
        str
            One line.
        """
        parts = [
            f"{row['concordance']:.2f} [{row['concordance_low']:.2f}, "
            f"{row['concordance_high']:.2f}]"
            + (f" with {row['n_labels']} labels" if self._counts else "")
            for row in self._concordances.to_dict("records")
        ]
        said = f"; Kendall's W of the accuracies {', '.join(parts)}" if parts else ""
        return f"Agreement with achieved accuracy, 95 % intervals{said}"


def _sort_by_mean(results: "pd.DataFrame") -> "pd.DataFrame":
    """Order the scores by mean weighted tau, every task and label count alike; ties as given."""
    axes = [axis for axis in ("task", "n_labels") if axis in results]
    by_cell = results.groupby(["score", *axes], sort=False)["weighted_tau"].mean()
    means = by_cell.groupby(level="score", sort=False).mean()
    order = means.sort_values(ascending=False, kind="stable").index
    places = {score: place for place, score in enumerate(order)}
    return results.sort_values(
        "score", key=lambda names: names.map(places), kind="stable", ignore_index=True
    )


def _by_measure(spread: Any) -> list[dict[str, Any]]:
    """Return mean, low and high of every measure, one row per measure."""
    return [
        {"measure": name, **with_interval("value", *numbers)}
        for name, numbers in zip(MEASURES, spread.T, strict=True)
    ]


def _mean_over(table: "pd.DataFrame", keys: list[str], values: list[str]) -> "pd.DataFrame":
    """Return means over repeats, in the order of the rows."""
    means = table.groupby(keys, sort=False)[values].mean().reset_index()
    return means.assign(is_baseline=means["is_baseline"] > 0) if "is_baseline" in values else means


def _named(score: str, is_baseline: bool) -> str:
    return f"{score} (label-free)" if is_baseline else score


def _mean_column(heading: str, measure: str, digits: int, of: str = "") -> Column:
    """Return the column of a mean with its interval; `of` ends the names of its columns."""
    number = f"{{:.{digits}f}}"
    text = f"{number} [{number}, {number}]".format
    names = tuple(f"{measure}{end}{of}" for end in ("", "_low", "_high"))
    # Where label counts stand side by side, a score may lack one.
    return Column(heading, where_known(text) if of else text, names)


def score_agreement(
    scores: "Nested | Table",
    achieved: "Accuracies | Table",
    *,
    baselines: "Accuracies | Nested | Table | None" = None,
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

    Beside the scores stand label-free baselines, which rank modules without the labels: those that
    are given, the mean rank of each module on the other tasks wherever there are two tasks, and the
    number of classes that source and target share where these are given. A score is worth its cost
    only where it beats them: see `Agreement.differences`.

    Parameters
    ----------
    scores : dict, pandas.DataFrame or path
        ``{task: {score: {module: value}}}``; or a frame (or a CSV or Parquet file) with columns
        task, module and either score and value, or one column per score. Higher is better. Columns
        n_labels and repeat (numbers) say with how many labels, and with which random subset of
        them, a score was computed. A score may leave modules out: it is measured on those it
        covers, and its regret is still against the best of all. May be empty: then label-free
        baselines are judged alone.
    achieved : dict, pandas.DataFrame or path
        Achieved accuracies: ``{task: {module: accuracy}}``, or a frame or file with columns task,
        module, accuracy, and n_labels and repeat where output modules were retrained on those
        labels. Accuracies without them serve all label counts and repeats.
    baselines : dict, pandas.DataFrame or path, optional
        Label-free baselines such as the number of parameters: ``{name: {module: value}}`` for
        every task, or in a form that `scores` may take, with or without a task.
    module_classes : dict, optional
        ``{module: classes}`` that the module was trained on.
    task_classes : dict, optional
        ``{task: classes}``; with `module_classes` the number of shared classes is a baseline.
    unit : {"fraction", "percent"}, default="fraction"
        Unit of the accuracies in `achieved`; it is asked for, never guessed.
    seed : int, default=0
        Of the bootstrap.

    Returns
    -------
    Agreement
        One row per score and task in `frame`, means over tasks with intervals in `means`, paired
        differences to the label-free baselines in `differences`, Kendall's W of the accuracies in
        `concordance`. A constant score, or a task on which all modules achieve the same, counts as
        0 in all correlations.

    Raises
    ------
    ModtoolsError
        An unknown task, label count, repeat or module, fewer than two modules, a value that is not
        finite or is given twice, or accuracies outside [0, 1] (of percent: outside [0, 100], or
        none above 1).

    Examples
    --------
    >>> achieved = {"digits": {"a": 0.9, "b": 0.8, "c": 0.7}}
    >>> scores = {"digits": {"ridge": {"a": 0.88, "b": 0.81, "c": 0.7}}}
    >>> agreement = score_agreement(scores, achieved, baselines={"size": {"a": 1, "b": 2, "c": 3}})
    >>> means = agreement.means()
    >>> means.loc[means["measure"] == "regret", ["score", "value"]].round(2).values.tolist()
    [['ridge', 0.0], ['size', 20.0]]
    """
    import pandas as pd

    started = time.perf_counter()
    seed = check_integer(seed, name="seed", minimum=0)
    accuracies = read_achieved(achieved, unit=unit)
    table = read_scores(scores, name="scores")
    given = [] if baselines is None else [read_baselines(baselines)]
    shared = shared_classes(module_classes, task_classes, accuracies)
    built = [one for one in (shared, mean_rank_elsewhere(accuracies)) if one is not None]
    label_free = [*given, *(one for one in built if len(one))]
    pairs = pair_up(table if len(table) else None, accuracies, label_free)
    resampled, own = resample(pairs, seed=seed)
    return Agreement(
        pairs,
        _results(pairs, own),
        resampled,
        pd.DataFrame(concordances(accuracies, seed=seed)),
        settings={"unit": unit, "seed": seed, "tasks": accuracies["task"].unique().tolist()},
        seconds=time.perf_counter() - started,
    )


def _results(pairs: Pairs, measures: Any) -> "pd.DataFrame":
    """Return one row per score and cell: its measures, the modules it covers, baseline or not."""
    table = pairs.predicted.index.to_frame(index=False)
    table[list(MEASURES)] = measures
    table["n_modules"] = pairs.predicted.notna().sum(axis=1).to_numpy()
    table["is_baseline"] = table["score"].isin(pairs.baselines)
    return table


def _at(row: Mapping[Any, Any]) -> str:
    return f" with {row['n_labels']} labels" if "n_labels" in row else ""
