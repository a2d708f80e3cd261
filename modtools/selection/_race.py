"""Race modules: stop the forward passes of a module as soon as a test decides against it."""

import os
import time
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from modtools._checks import as_real, check_choice, check_fraction, check_integer
from modtools._progress import meter, quiet
from modtools.exceptions import ModtoolsError, warns_once
from modtools.modules import ModuleCollection, ModulesLike
from modtools.selection._race_field import Field, enter
from modtools.selection._race_result import Race
from modtools.selection._race_rules import Certified, Halving
from modtools.tasks import Task
from modtools.transferability import check_scorable

__all__ = ["race_modules"]

_POINTS = 100.0  # of accuracy, in one


@warns_once
def race_modules(
    modules: ModulesLike,
    task: Task | Any,
    *,
    mode: Literal["certified", "halving"] = "certified",
    error: float = 0.05,
    tolerance: float = 0.0,
    passes: float = 0.15,
    look_every: int = 100,
    seed: int = 0,
    cache: bool | str | os.PathLike[str] | None = None,
    device: str | None = None,
    precision: str = "float32",
) -> Race:
    """Find the best module with a fraction of the forward passes of running all of them.

    Labelled examples stream through all modules in one random order. Every module has a ridge
    output module (a linear head) that predicts each batch before it learns it.

    ``mode="certified"`` drops a module once a paired test on the examples where exactly one of two
    modules was right, valid however often it is looked at, decides against it. For any one module,
    the chance that it is ever dropped in favour of one that predicted no better (on average over
    the examples both ran on, each predicted by an output module that learned the examples before
    it) is at most `error`. The more recent half of the examples must decide the same, which guards
    modules that start slowly; nothing is said about those that would overtake with more labels
    still. Groups of a task are predicted before any of their examples is learned, and the test
    counts one example of each.

    ``mode="halving"`` spends a fixed fraction of the forward passes: in rounds of equal cost, the
    worse half by leave-one-out accuracy on the examples so far is dropped. It gives no guarantee.

    Parameters
    ----------
    modules : PretrainedModule, Zoo, path of a zoo, list of these, or dict
        The candidate modules, as for `rank_modules`. Layers of one network share its passes; cached
        features ``{"network@layer": features}`` do too. All networks are kept in memory.
    task : Task, torch Dataset or array-like of shape (n_samples,)
        The labelled task, with classes. For cached features the labels alone are enough.
    mode : {"certified", "halving"}, default="certified"
        When a module is dropped.
    error : float, default=0.05
        Certified: accepted chance of dropping a module wrongly.
    tolerance : float, default=0.0
        Certified: points of accuracy that you would give up for fewer passes. With the chance 1 -
        error a module stays that is at most this much worse than any given one.
    passes : float, default=0.15
        Halving: fraction of the forward passes to spend.
    look_every : int, default=100
        Examples between two looks, and per forward pass. The first batch is only learned from.
    seed : int, default=0
        Seed of the order of the examples.
    cache : bool, str or path, optional
        Where features are kept: a race that was stopped resumes from there. They are kept batch by
        batch, so only a race with the same task, seed and look_every finds them.
    device : str, optional
        Where networks run, for example "cuda".
    precision : {"float32", "float16", "bfloat16"}, default="float32"
        Precision of the forward passes.

    Returns
    -------
    Race
        `best`, `remaining`, `pass_fraction`, `frame`, `plot`. Equal accuracies keep the order
        given. A module that fails leaves the race and is listed in `Race.failed`.

    Raises
    ------
    ModtoolsError
        Fewer than two modules, labels that are no classes, too few examples, how networks run where
        only features are given, or no module left.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(0, 2, 1000)
    >>> good = labels[:, None] + 0.5 * rng.normal(size=(1000, 3))
    >>> race = race_modules({"noise": rng.normal(size=(1000, 3)), "good": good}, labels)
    >>> race.best, race.remaining, race.pass_fraction
    ('good', ['good'], 0.2)
    """
    started = time.perf_counter()
    rule, chosen = _check_rule(mode, error, tolerance, passes, look_every)
    seed = check_integer(seed, name="seed", minimum=0)
    task = Task.of(task)
    check_scorable(task.encoded, kinds=("classification",), score="a race")
    candidates = ModuleCollection.of(modules)
    forward: dict[str, Any] = {"device": device, "precision": precision}
    candidates.check(task, cache=cache, **forward)
    field = enter(candidates, task, cache=cache, batch_size=look_every, **forward)
    order = _order(len(task), field.groups if mode == "certified" else None, seed)
    facts = _facts(task, field)
    _run(rule, field, order, is_kept=cache is not None)
    failed = {runner.name: runner.reason for runner in field.runners if runner.reason}
    return Race(
        [runner.facts(failed) for runner in _final_order(field)],
        settings={**facts, **chosen, **forward, "look_every": look_every, "seed": seed},
        failed=failed,
        pass_fraction=field.passes / (facts["n_networks"] * len(task)),
        seconds=time.perf_counter() - started,
    )


def _check_rule(
    mode: Any, error: Any, tolerance: Any, passes: Any, look_every: Any
) -> tuple[Certified | Halving, dict[str, Any]]:
    """Return the rule of the race, and what of it is reported."""
    check_choice(mode, ["certified", "halving"], name="mode")
    look_every = check_integer(look_every, name="look_every", minimum=2)
    error = check_fraction(error, name="error")
    passes = check_fraction(passes, name="passes")
    if not 0 <= as_real(tolerance) < _POINTS:
        raise ModtoolsError(
            f"tolerance must be points of accuracy, from 0 to below 100; got {tolerance!r}."
        )
    if mode == "certified":
        rule = Certified(error, float(tolerance) / _POINTS, look_every)
        return rule, {"mode": mode, "error": error, "tolerance": float(tolerance)}
    if tolerance:
        raise ModtoolsError('tolerance= belongs to mode="certified"; halving makes no test.')
    return Halving(passes, look_every), {"mode": mode, "passes": passes}


def _facts(task: Task, field: Field) -> dict[str, Any]:
    facts = {
        "task": task.name,
        "n_samples": len(task),
        "n_classes": task.encoded.n_classes,
        "n_modules": len(field.runners),
        "n_networks": field.n_networks,
    }
    if field.groups is not None:
        facts["n_groups"] = len(np.unique(field.groups))
    return facts


def _order(n_examples: int, groups: NDArray[np.intp] | None, seed: int) -> NDArray[np.intp]:
    """Return the examples in random order, groups too; those of a group are next to each other."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(n_examples)
    if groups is None:
        return order
    turns = rng.permutation(groups.max() + 1)
    return order[np.argsort(turns[groups[order]], kind="stable")]


def _run(rule: Certified | Halving, field: Field, order: Any, *, is_kept: bool) -> None:
    """Run the race under one bar; the bars of single extractions would write over it."""
    try:
        with meter("Race") as show, quiet():
            rule.run(field, order, show)
    except KeyboardInterrupt as stop:
        advice = (
            "run it again with the same cache to resume it"
            if is_kept
            else "with a cache it could be resumed"
        )
        raise KeyboardInterrupt(f"the race was stopped; {advice}.") from stop


def _final_order(field: Field) -> list[Any]:
    """Return those still in, best first, then the dropped, the last one first, then the failed."""
    stages = {"in": 0, "dropped": 1, "failed": 2}
    return sorted(field.runners, key=lambda r: (stages[r.status], -r.examples, r.standing()))
