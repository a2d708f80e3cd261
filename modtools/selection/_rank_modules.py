"""Rank candidate modules for a task by the accuracy that they promise, or by a score."""

import os
import time
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from modtools._checks import as_float, check_integer
from modtools._metrics import check_accuracy
from modtools._progress import track
from modtools._workers import check_jobs, in_worker, starting_workers
from modtools.exceptions import ModtoolsError
from modtools.modules import ModuleCollection, ModuleFacts, ModulesLike
from modtools.selection._held_out import held_out_rates
from modtools.selection._prediction import Prediction, predict_accuracies
from modtools.selection._ranking import PREDICTED, Ranking
from modtools.tasks import Labels, Task
from modtools.transferability import SCORES, Scores, check_scorable, score

__all__ = ["rank_modules"]


# Entries of a feature matrix below which a second thread costs more time in waiting than it saves;
# on a shared machine it made the many small products of a probe a hundred times slower.
_SMALL = 1_000_000
_ABOUT_LABELS = "MT006"  # the same for every module, so said once


# What orders the modules by default, z-scores averaged: losses differ where the accuracies
# of few labels are tied, accuracies catch up when labels are many (docs/picking.md).
_EVIDENCE = ("half_split", "codelength", "logistic", "knn")


_Candidate: TypeAlias = tuple[str, NDArray[Any], ModuleFacts]


class _Request(NamedTuple):
    """What is computed of each module, and which scores predict (none where by= names a score)."""

    labels: Labels
    scores: list[str]
    evidence: list[str]
    groups: Any
    seed: int

    @property
    def reads_source(self) -> bool:
        """Whether a score reads what the heads of the modules say of their own classes."""
        return any(SCORES[name].needs == "source_probabilities" for name in self.scores)


class _Scored(NamedTuple):
    rows: list[dict[str, Any]]
    rates: Any
    skipped: dict[str, str]
    warned: list[Warning]


def rank_modules(
    modules: ModulesLike,
    task: Task | Any,
    *,
    metric: str = "accuracy",
    by: str = PREDICTED,
    scores: Sequence[str] | Literal["all"] | None = None,
    device: str | None = None,
    precision: str = "float32",
    batch_size: int = 64,
    cache: bool | str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
    seed: int = 0,
) -> Ranking:
    """Rank modules by how well a retrained output module on their features will do.

    Each network runs once over the task, whatever the number of its layers. By default modules are
    ordered by four scores together (`half_split`, `codelength`, `logistic` and `knn`), and the
    accuracy of an output module (a linear head) retrained on these labels is predicted, with its
    interval, the probability of being the best, and which modules are not distinguishable from the
    pick: `Ranking.predictions`. It is not the accuracy of full fine-tuning.

    Parameters
    ----------
    modules : PretrainedModule, Zoo, path of a zoo, list of these, or dict
        The candidate modules, in any form that `ModuleCollection.of` accepts. A dict ``{name:
        features}`` holds cached features of shape (n_samples, n_features), one row per label.
    task : Task, torch Dataset or array-like of shape (n_samples,)
        The labelled task. For cached features the labels alone are enough.
    metric : str, default="accuracy"
        What is predicted of the retrained output module; accuracy is the only one for now.
    by : str, default="predicted"
        What orders the modules: the prediction, for tasks with classes, or a name in `SCORES`.
        By the prediction, the module that is most probably the best comes first, and the order
        given does not matter; equal values of a score keep it.
    scores : sequence of str or "all", optional
        More scores to compute. A score that does not apply to a module is left out and listed in
        `Ranking.skipped`.
    device : str, optional
        Where networks run, for example "cuda".
    precision : {"float32", "float16", "bfloat16"}, default="float32"
        Precision of the forward passes.
    batch_size : int, default=64
        Examples per forward pass.
    cache : bool, str or path, optional
        True keeps extracted features in the default cache, a folder keeps them there; as for
        `extract`.
    n_jobs : int, optional
        Modules scored at the same time, through joblib; -1 uses all cores.
    seed : int, default=0
        Seed of the scores that draw at random; the same seed gives the same table.

    Returns
    -------
    Ranking
        Best module first: `frame`, `best`, `top`, `plot`.

    Raises
    ------
    ModtoolsError
        Unknown score, no modules, two of one name, lengths that differ, a score that applies to
        none of them, how networks run where only features are given, or a network that fails (it is
        named).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 20)
    >>> good = labels[:, None] + 0.1 * rng.normal(size=(40, 3))
    >>> ranking = rank_modules({"noise": rng.normal(size=(40, 3)), "good": good}, labels, by="knn")
    >>> ranking.best, ranking.top(2)
    ('good', ['good', 'noise'])
    """
    start = time.perf_counter()
    named = _check_scores(by, scores)
    check_integer(seed, name="seed", minimum=0)
    check_jobs(n_jobs)
    task = Task.of(task)
    _check_order(by, metric, task.encoded)
    candidates = ModuleCollection.of(modules)
    forward: dict[str, Any] = {"device": device, "precision": precision, "batch_size": batch_size}
    candidates.check(task, cache=cache, **forward)
    request = _request(named, task, seed)
    found = candidates.features(task, with_source=request.reads_source, cache=cache, **forward)
    # An extraction shows its own bar; two at a time would write over each other.
    shown = found if candidates.has_networks else track(found, "Score", total=len(candidates))
    scored, skipped = _score_all(shown, request, n_jobs=n_jobs)
    rows = [row for own in scored for row in own.rows]
    prediction = _predict(scored, request.evidence) if request.evidence else None
    if prediction is not None:
        rows = _rows_of_prediction(scored, prediction, request.evidence) + rows
    asked = {"metric": metric, "by": by, "scores": named, **forward}
    return Ranking(
        _tidy(rows, list(dict.fromkeys([*named, *request.scores])), skipped),
        settings={**_facts(task), **asked, "n_jobs": n_jobs, "seed": seed},
        skipped=skipped,
        seconds=time.perf_counter() - start,
        prediction=prediction,
    )


def _request(named: list[str], task: Task, seed: int) -> _Request:
    """Return what is computed of each module: the named scores, and the evidence that predicts."""
    groups = task.group_codes
    evidence: list[str] = []
    if PREDICTED in named:
        # Copies of an example would flatter a score that does not hold them out together.
        evidence = [name for name in _EVIDENCE if groups is None or SCORES[name].knows_groups]
    wanted = [*evidence, *(name for name in named if name != PREDICTED)]
    return _Request(task.encoded, list(dict.fromkeys(wanted)), evidence, groups, seed)


def _predict(scored: Sequence[_Scored], scores: list[str]) -> Prediction:
    """Predict accuracies from all modules at once: none can be judged without the others."""
    evidence = [[_value(found, name) for name in scores] for found in scored]
    modules = [found.rows[0]["module"] for found in scored]
    rates = np.stack([found.rates for found in scored])
    return predict_accuracies(modules, rates, np.array(evidence))


def _value(found: _Scored, score: str) -> float:
    return float(next(row["value"] for row in found.rows if row["score"] == score))


def _rows_of_prediction(
    scored: Sequence[_Scored], prediction: Prediction, scores: list[str]
) -> list[dict[str, Any]]:
    """Return one row per module, in their order; seconds are those of the scores it rests on."""
    rows = []
    for place in prediction.order():
        found = scored[place]
        seconds = sum(row["seconds"] for row in found.rows if row["score"] in scores)
        own = {
            "score": PREDICTED,
            "value": float(prediction.accuracy[place]),
            "standard_error": float(prediction.standard_error[place]),
            "seconds": seconds,
        }
        rows.append({**found.rows[0], **own})
    return rows


def _facts(task: Task) -> dict[str, Any]:
    """Return what was scored: the task, its size, and the accuracy of naming its largest class."""
    labels = task.encoded
    is_classes = labels.kind == "classification"
    return {
        "task": task.name,
        "kind": labels.kind,
        "n_samples": len(labels),
        "n_classes": labels.n_classes,
        "chance": float(labels.counts().max() / len(labels)) if is_classes else None,
    }


def _check_order(by: str, metric: str, labels: Labels) -> None:
    """Raise before anything runs if `by` or the metric is not defined for these labels."""
    check_scorable(labels, kinds=(labels.kind,), score="a score")
    check_accuracy(metric, kind=labels.kind, where="rank_modules")
    # The prediction rests on scores, `logistic` among them, that are defined for the same labels.
    entry = SCORES["logistic" if by == PREDICTED else by]
    reason = entry.why_not(labels.kind, has_source=True)
    if reason:
        fitting = [
            n for n, entry in SCORES.items() if not entry.why_not(labels.kind, has_source=True)
        ]
        raise ModtoolsError(
            f'the modules cannot be ranked by "{by}": {reason}. '
            f"Choose by= among {', '.join(fitting)}."
        )


def _check_scores(by: str, scores: Sequence[str] | Literal["all"] | None) -> list[str]:
    """Return the names of the scores to compute, the one that orders the modules first."""
    if not isinstance(by, str):
        raise ModtoolsError(f"by must be the name of a score; got {by!r}.")
    if isinstance(scores, str) and scores != "all":
        raise ModtoolsError(f'scores must be a list of names or "all"; got {scores!r}.')
    others = (
        list(SCORES) if isinstance(scores, str) else SCORES.names(() if scores is None else scores)
    )
    names = SCORES.names([name for name in [by, *others] if name != PREDICTED])
    return [PREDICTED, *names] if by == PREDICTED else names


def _score_all(
    candidates: Iterator[_Candidate], request: _Request, *, n_jobs: int | None
) -> tuple[list[_Scored], dict[str, dict[str, str]]]:
    """Score as many candidates at a time as there are workers, so that few features are held."""
    from joblib import Parallel, delayed, effective_n_jobs

    results: list[_Scored] = []
    skipped: dict[str, dict[str, str]] = {}
    said: set[str] = set()
    width = effective_n_jobs(n_jobs)
    work, parent = delayed(in_worker), os.getpid()
    with Parallel(n_jobs=n_jobs, return_as="generator") as pool:
        while batch := list(islice(candidates, width)):
            with starting_workers(n_jobs):
                scored = pool(work(parent, _score_one, item, request) for item in batch)
            for item, result in zip(batch, scored, strict=True):
                results.append(result)
                if result.skipped:
                    skipped[item[0]] = result.skipped
                for warning in result.warned:
                    if str(warning) not in said:  # one about the labels comes with every module
                        warnings.warn(warning, stacklevel=3)
                    said.add(str(warning))
    return results, skipped


def _score_one(item: _Candidate, request: _Request) -> _Scored:
    """Score one module; warnings are returned, because those of a worker process are lost."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    labels, names = request.labels, request.scores
    module, features, facts = item
    source = facts.source_probabilities
    has_source = source is not None
    reasons = {name: SCORES[name].why_not(labels.kind, has_source=has_source) for name in names}
    skipped = {name: reason for name, reason in reasons.items() if reason}
    # All scores at once: then one that cannot be computed is a reason, not an error.
    wanted = None if len(names) == len(SCORES) else [n for n in names if n not in skipped]
    own: dict[str, Any] = {"groups": request.groups, "seed": request.seed}
    threads = 1 if features.size < _SMALL else None
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(threads):
        warnings.simplefilter("always")
        try:
            found = score(features, labels, wanted, source_probabilities=source, **own)
        except ModtoolsError as error:
            raise ModtoolsError(f'module "{module}": {error}') from error
        rates = None
        if request.evidence:
            rates = held_out_rates(as_float(features), labels, **own)
    rows = _rows_of(item, found)
    skipped = {**found.skipped, **skipped}
    return _Scored(rows, rates, skipped, [_with_name(w, module) for w in caught])


def _rows_of(item: _Candidate, found: Scores) -> list[dict[str, Any]]:
    """Return one row per score of a module."""
    module, features, facts = item
    milliseconds = 1000 * facts.extraction_seconds / len(features)
    known = {
        "n_features": features.shape[1],
        "n_parameters": facts.n_parameters,
        "milliseconds": milliseconds or None,  # features that were given took no pass
    }
    return [
        {
            "module": module,
            "score": name,
            "value": value,
            "standard_error": found.standard_errors.get(name),
            "seconds": found.seconds[name],
            **known,
        }
        for name, value in found.items()
    ]


def _with_name(caught: warnings.WarningMessage, name: str) -> Warning:
    """Return the warning with the module's name after its code, unless it is about the labels."""
    code, _, text = str(caught.message).partition(": ")
    if code == _ABOUT_LABELS:
        return caught.category(str(caught.message))
    named = f"{code}: {name}: {text}" if text else f"{name}: {code}"
    return caught.category(named)


def _tidy(rows: list[dict[str, Any]], names: list[str], skipped: dict[str, dict[str, str]]) -> Any:
    import pandas as pd

    by = names[0]
    if not any(row["score"] == by for row in rows):
        reason = next(iter(skipped.values()))[by]
        raise ModtoolsError(f'the modules cannot be ranked by "{by}": {reason}.')
    table = pd.DataFrame(rows)
    numbers = ["standard_error", "milliseconds"]
    table[numbers] = table[numbers].astype(float)
    table["n_parameters"] = table["n_parameters"].astype("Int64")
    # The rows of a prediction are in their order already; equal values keep the order given.
    values = table["value"].where(table["score"] != PREDICTED, 0.0)
    places = table["score"].map({name: place for place, name in enumerate(names)})
    return table.iloc[np.lexsort((-values, places))].reset_index(drop=True)
