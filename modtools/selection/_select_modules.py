"""Choose several modules whose features together do best for a task."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from modtools._checks import (
    as_float,
    check_choice,
    check_integer,
    check_positive,
    raise_if_not_finite,
)
from modtools._progress import track
from modtools.exceptions import ModtoolsError
from modtools.modules import (
    Costs,
    ForwardOptions,
    ModuleCollection,
    ModuleFacts,
    ModulesLike,
    check_cost,
)
from modtools.selection._held_out_kernels import HeldOut, KernelJudge, unit_kernel
from modtools.selection._selection import Selection
from modtools.tasks import Labels, Task

__all__ = ["select_modules"]

# Kernels of more examples cost minutes, and a choice by two thousand is settled.
_MOST_EXAMPLES: Final = 2000
_USUAL_K: Final = 2
_NOTHING_VARIES: Final = "its features do not vary"


@dataclass
class _Pool:
    """The candidates as kernels, and everything that was tried with them."""

    judge: KernelJudge
    kernels: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)
    facts: dict[str, ModuleFacts] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    tried: dict[tuple[str, ...], HeldOut] = field(default_factory=dict)

    def with_one_more(
        self, chosen: Sequence[str], total: NDArray[Any], names: Sequence[str]
    ) -> str:
        """Judge what is chosen with each of the names, and return the best; ties to the first."""
        for name in track(names, f"Choose module {len(chosen) + 1}"):
            summed = total + self.kernels[name]
            self.tried[(*chosen, name)] = self.judge.judge(summed, total=len(chosen) + 1)
        return min(names, key=lambda name: self.tried[(*chosen, name)].loss)


def select_modules(
    modules: ModulesLike,
    task: Task | Any,
    *,
    k: int | None = _USUAL_K,
    max_cost: float | None = None,
    cost: "str | Mapping[str, float]" = "parameters",
    combine: Literal["greedy", "all"] = "greedy",
    device: str | None = None,
    precision: str = "float32",
    batch_size: int = 64,
    cache: bool | str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> Selection:
    """Choose modules whose features, side by side at equal energy, do best together.

    Equal energy makes the kernel of several modules the mean of their kernels, so a combination is
    judged by adding matrices: nothing is fitted anew for each. Modules join one by one, each time
    the one with which a ridge output module has the least log loss on held-out examples; that
    orders combinations better than accuracies, which are tied where labels are few.

    Parameters
    ----------
    modules : PretrainedModule, Zoo, path of a zoo, list of these, or dict
        The candidate modules, as for `rank_modules`. A dict ``{name: features}`` holds cached
        features of shape (n_samples, n_features), one row per label; ``network@layer`` is a layer
        of a network.
    task : Task, torch Dataset or array-like of shape (n_samples,)
        The labelled task, with classes. For cached features the labels alone are enough. Of more
        than 2,000 examples a stratified 2,000 decide. Groups (``Task(groups=)``) are held out as a
        whole.
    k : int or None, default=2
        How many modules to choose; fewer where there are no more, or no more fit in max_cost. With
        None, modules join as long as the held-out loss falls.
    max_cost : float, optional
        The most that the modules may cost together, in the unit of `cost`; no limit by default.
    cost : {"parameters", "milliseconds"} or dict, default="parameters"
        What a module costs: its parameters up to its layer, the measured milliseconds per example
        of its forward pass (the median of seven batches of `batch_size`, read for that), or numbers
        by name. Layers of one network cost together what the most expensive costs, as they share a
        pass.
    combine : {"greedy", "all"}, default="greedy"
        "all" takes every module, those first that do best alone; leave k and max_cost out.
    device : str, optional
        Where networks run, for example "cuda".
    precision : {"float32", "float16", "bfloat16"}, default="float32"
        Precision of the forward passes.
    batch_size : int, default=64
        Examples per forward pass.
    cache : bool, str or path, optional
        Where extracted features are kept, as for `extract`.
    seed : int, default=0
        Seed of the splits, the same for every module so that they compare in pairs; they are drawn
        by position, so another order of the examples gives other splits, as another seed does.

    Returns
    -------
    Selection
        `Selection.modules`, `frame`, `combined` (which `retrain` takes), `pareto`, `plot`.

    Raises
    ------
    ModtoolsError
        Fewer than two modules, labels that are no classes, a k or max_cost beside "all", a max_cost
        that no module fits, costs that are not known, how networks run where only features are
        given, or a network that fails (it is named).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(60) % 4
    >>> candidates = {
    ...     "parity": (labels % 2)[:, None] + 0.3 * rng.normal(size=(60, 3)),
    ...     "parity again": (labels % 2)[:, None] + 0.3 * rng.normal(size=(60, 3)),
    ...     "half": (labels // 2)[:, None] + 0.3 * rng.normal(size=(60, 3)),
    ... }
    >>> sorted(select_modules(candidates, labels).modules)
    ['half', 'parity again']
    """
    started = time.perf_counter()
    check_integer(seed, name="seed", minimum=0)
    cost = check_cost(cost)
    _check_wanted(k, max_cost, combine)
    task = Task.of(task)
    candidates = ModuleCollection.of(modules)
    forward: dict[str, Any] = {"device": device, "precision": precision, "batch_size": batch_size}
    candidates.check(task, cache=cache, **forward)
    candidates.check_one_network_a_name()
    is_timed = cost == "milliseconds"
    pool = _read(candidates, task, seed=seed, timed=is_timed, cache=cache, **forward)
    costs = candidates.costs(cost, facts=pool.facts, **forward)
    asked = {"combine": combine, "k": k, "max_cost": max_cost, "cost": cost, "seed": seed}
    chosen = _all_of(pool) if combine == "all" else _greedy(pool, k, max_cost, costs)
    return Selection(
        chosen,
        pool.tried,
        widths=pool.widths,
        costs=costs,
        candidates=candidates,
        skipped=pool.skipped,
        settings={**_facts(task, pool), **asked, **forward},
        seconds=time.perf_counter() - started,
    )


def _facts(task: Task, pool: _Pool) -> dict[str, Any]:
    """Return what was judged: the task, its size, and how many modules."""
    return {
        "task": task.name,
        "n_samples": len(task),
        "n_classes": len(np.flatnonzero(task.encoded.counts())),
        "n_modules": len(pool.kernels),
        "n_examples_judged": len(pool.judge.codes),
    }


def _check_wanted(k: Any, max_cost: Any, combine: Any) -> None:
    check_choice(combine, ["greedy", "all"], name="combine")
    if k is not None and check_integer(k, name="k") != _USUAL_K and combine == "all":
        raise ModtoolsError(f'combine="all" takes every module; leave k out; got {k}.')
    if max_cost is not None:
        check_positive(max_cost, name="max_cost")
        if combine == "all":
            raise ModtoolsError('combine="all" takes every module; leave max_cost out.')


def _read(
    candidates: ModuleCollection,
    task: Task,
    *,
    seed: int,
    timed: bool,
    **forward: Unpack[ForwardOptions],
) -> _Pool:
    """Return every module as a kernel; its features are let go."""
    examples, codes = _examples_to_judge(task.encoded, seed)
    pool = _Pool(KernelJudge(codes, seed, task.subset(examples).group_codes))
    found = candidates.features(task, with_source=False, timed=timed, **forward)
    # An extraction shows its own bar; two at a time would write over each other.
    shown = found if candidates.has_networks else track(found, "Score", total=len(candidates))
    for name, given, facts in shown:
        features = as_float(given)
        raise_if_not_finite(features, name=f'features of "{name}"')
        kernel = unit_kernel(features[examples])
        if kernel is None:
            pool.skipped[name] = _NOTHING_VARIES
            continue
        pool.kernels[name] = kernel
        pool.widths[name] = features.shape[1]
        pool.facts[name] = facts
    if len(pool.kernels) < 2:
        left_out = "".join(f"; {name}: {why}" for name, why in pool.skipped.items())
        raise ModtoolsError(
            f"to choose several modules takes at least two; got {len(pool.kernels)}{left_out}."
        )
    return pool


def _examples_to_judge(labels: Labels, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the examples that decide and the codes of their classes, each class present."""
    if labels.kind != "classification" or labels.codes is None:
        raise ModtoolsError(
            f"several modules are chosen for classes; these labels are {labels.kind}. Use "
            "rank_modules, or combine modules of your choice with CombinedModule."
        )
    examples = np.arange(len(labels))
    if len(examples) > _MOST_EXAMPLES:
        examples = _stratified_examples(labels.codes, _MOST_EXAMPLES, seed)
    classes, codes = np.unique(labels.codes[examples], return_inverse=True)
    if len(classes) < 2 or np.bincount(codes).max() < 2:
        raise ModtoolsError(
            f"to hold examples out takes two classes and a class of two examples; got "
            f"{len(classes)} classes in {len(examples)} examples. Label more."
        )
    return examples, codes.astype(np.intp)


def _stratified_examples(codes: NDArray[np.intp], n_examples: int, seed: int) -> NDArray[np.intp]:
    """Return so many examples, the same share of every class, but two of each where possible.

    >>> codes = np.repeat([0, 1, 2], [60, 30, 2])
    >>> np.bincount(codes[_stratified_examples(codes, 32, seed=0)]).tolist()
    [20, 10, 2]
    """
    shuffled = np.random.default_rng(seed).permutation(len(codes))
    by_class = np.argsort(codes[shuffled], kind="stable")
    counts = np.bincount(codes)
    starts, sizes = np.repeat(np.cumsum(counts) - counts, counts), np.repeat(counts, counts)
    # The second example of a class comes as early as the first: one alone cannot be predicted.
    share = np.maximum(np.arange(len(codes)) - starts - 1, 0) / sizes
    # Ties by the shuffled place, so that names of classes decide nothing.
    first = np.lexsort((by_class, share))[:n_examples]
    return np.sort(shuffled[by_class[first]])


def _greedy(pool: _Pool, k: int | None, max_cost: float | None, costs: Costs) -> list[str]:
    """Return modules in the order in which they joined."""
    chosen: list[str] = []
    total = np.zeros(2 * (len(pool.judge.codes),))
    while len(chosen) < min(k or len(pool.kernels), len(pool.kernels)):
        names = list(_affordable(pool, chosen, max_cost, costs))
        if not names:
            break
        best = pool.with_one_more(chosen, total, names)
        found = pool.tried[(*chosen, best)]
        if chosen and k is None and found.loss >= pool.tried[tuple(chosen)].loss:
            break
        chosen.append(best)
        total += pool.kernels[best]
    if not chosen and max_cost is not None:
        cheapest = min(costs.values, key=lambda name: costs.values[name])
        raise ModtoolsError(
            f"no module fits a max_cost of {costs.text(max_cost)}; the cheapest, "
            f"{cheapest}, costs {costs.text(costs.values[cheapest])}."
        )
    return chosen


def _affordable(
    pool: _Pool, chosen: Sequence[str], max_cost: float | None, costs: Costs
) -> Iterator[str]:
    for name in pool.kernels:
        if name in chosen:
            continue
        if max_cost is None:
            yield name
            continue
        together = costs.of([*chosen, name])
        if together is None:
            raise ModtoolsError(
                f'max_cost needs the cost of every module, and that of "{name}" is not known: '
                "cached features have no parameters. Give cost=, a number for each module."
            )
        if together <= max_cost:
            yield name


def _all_of(pool: _Pool) -> list[str]:
    """Return every module, the best alone first, and judge each beginning of that order."""
    nothing = np.zeros(2 * (len(pool.judge.codes),))
    pool.with_one_more([], nothing, list(pool.kernels))
    # sorted() keeps the order given among equals.
    order = sorted(pool.kernels, key=lambda name: pool.tried[(name,)].loss)
    total = nothing + pool.kernels[order[0]]
    for count in track(range(1, len(order)), "Add modules"):
        pool.with_one_more(order[:count], total, [order[count]])
        total += pool.kernels[order[count]]
    return order
