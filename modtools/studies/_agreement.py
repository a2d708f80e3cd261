"""Whether scores rank modules as the achieved accuracy does, beside rankers that never look."""

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from modtools._checks import check_integer
from modtools.studies._agreement_concordance import concordances
from modtools.studies._agreement_pairs import Pairs, pair_up
from modtools.studies._agreement_resampled import resample
from modtools.studies._agreement_result import Agreement
from modtools.studies._agreement_static import mean_rank_elsewhere, shared_classes
from modtools.studies._inputs import Nested, Table, Truth, read_scores, read_static, read_truth
from modtools.studies._rank_agreement import MEASURES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["score_agreement"]


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
