"""Fill the cells of a study: read what is kept, compute the rest, several draws at a time."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from modtools._progress import quiet, track
from modtools._workers import in_worker, starting_workers
from modtools.studies._cells import Cell, Line, Measured, Store
from modtools.studies._from_scratch import FROM_SCRATCH, Baseline
from modtools.studies._measure import Pair, Rows, draw_seed, label_order, measure
from modtools.studies._plan import Plan

if TYPE_CHECKING:
    from modtools.modules import ModuleCollection

__all__ = ["run_cells"]

_THREADED = frozenset(
    ("ridge", "class_mean", "random", "oracle_balanced", "k_center", "herding", "variance")
)
Read: TypeAlias = Callable[..., Iterator[tuple[str, Pair]]]
Found: TypeAlias = list[tuple[Line, int, Measured]]


class _Draw(NamedTuple):
    """One draw of labels for one module; its output modules share the rows that are chosen."""

    module: str
    identity: str
    strategy: str
    number: int


def run_cells(
    candidates: "ModuleCollection",
    read: Read,
    identities: Mapping[str, str],
    plan: Plan,
    store: Store,
    *,
    baseline: Baseline | None,
    n_jobs: int | None,
) -> dict[Line, list[Measured]]:
    """Return the draws of every line, in order; each cell is kept as soon as it is finished.

    Parameters
    ----------
    candidates : ModuleCollection
        What is compared; a network is read once for all its modules.
    read : callable
        Yields the features of the modules of some ``names``.
    identities : mapping from str to str
        What tells each module from others.
    plan : Plan
        What is measured.
    store : Store
        Where finished cells are.
    baseline : Baseline or None
        The network that is trained from scratch.
    n_jobs : int or None
        Draws measured at the same time.
    """
    work: Iterator[Found] = chain.from_iterable(
        _network_cells({name: identities[name] for name in names}, read, plan, store, n_jobs)
        for names in candidates.networks.values()
    )
    total = len(plan.draws()) * len(candidates)
    if baseline is not None:
        work = chain(work, _baseline_cells(baseline, plan, store))
        total += plan.repeats * len(plan.counts)
    # What is kept arrives before what is missing: lines are in the order of the definition.
    lines: dict[Line, dict[int, list[Measured]]] = {
        line: {} for line in _lines(candidates.names, plan, baseline)
    }
    for found in track(work, "Label efficiency", total=total):
        for line, draw, measured in found:
            lines[line].setdefault(draw, []).append(measured)
    return {
        line: [_join(draws[number]) for number in sorted(draws)] for line, draws in lines.items()
    }


def _lines(names: Sequence[str], plan: Plan, baseline: Baseline | None) -> list[Line]:
    lines = [Line(n, o, s) for n in names for s in plan.strategies for o in plan.outputs]
    return lines if baseline is None else [*lines, FROM_SCRATCH]


def _join(parts: Sequence[Measured]) -> Measured:
    return Measured(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _network_cells(
    identities: Mapping[str, str], read: Read, plan: Plan, store: Store, n_jobs: int | None
) -> Iterator[Found]:
    """Yield the draws of every module of a network; it is run only if a cell is missing."""
    from joblib import Parallel, delayed
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    missing: list[_Draw] = []
    for name, identity in identities.items():
        for strategy, number in plan.draws():
            draw = _Draw(name, identity, strategy, number)
            kept = [store.get(_cell(draw, output, plan)) for output in plan.outputs]
            if any(measured is None for measured in kept):
                missing.append(draw)
            else:
                yield [_entry(draw, o, m) for o, m in zip(plan.outputs, kept, strict=True) if m]
    if not missing:
        return
    with quiet():  # one bar at a time
        pairs = dict(read(names=dict.fromkeys(draw.module for draw in missing)))
    rows = {
        name: Rows.of(name, pair, plan.codes, plan.test_codes, len(plan.classes))
        for name, pair in pairs.items()
    }
    # Threads share the features and start at once; fits that silence warnings need processes.
    prefer = "threads" if _THREADED.issuperset([*plan.outputs, *plan.strategies]) else None
    parallel = Parallel(n_jobs=n_jobs, prefer=prefer, return_as="generator")
    work = delayed(in_worker)
    tasks = (
        work(os.getpid(), _measure_draw, rows[draw.module], draw, plan, store) for draw in missing
    )
    with threadpool_limits(None if n_jobs in (None, 1) else 1):
        with starting_workers(n_jobs):
            found = parallel(tasks)
        yield from found


def _cell(draw: _Draw, output: str, plan: Plan) -> Cell:
    return Cell(draw.identity, output, draw.strategy, draw.number, tuple(plan.counts.tolist()))


def _entry(draw: _Draw, output: str, measured: Measured) -> tuple[Line, int, Measured]:
    return Line(draw.module, output, draw.strategy), draw.number, measured


def _measure_draw(rows: Rows, draw: _Draw, plan: Plan, store: Store) -> Found:
    """Return the cells of a draw; those that are missing are measured and kept one by one."""
    found, order = [], None
    for output in plan.outputs:
        cell = _cell(draw, output, plan)
        measured = store.get(cell)
        if measured is None:
            if order is None:
                seed = draw_seed(plan.seed, draw.number)
                order = label_order(rows, draw.strategy, plan.counts, seed=seed)
            measured = measure(rows, order, plan.counts, output)
            store.put(cell, measured)
        found.append(_entry(draw, output, measured))
    return found


def _baseline_cells(baseline: Baseline, plan: Plan, store: Store) -> Iterator[Found]:
    """Yield the baseline's cells one by one: each is a training run."""
    line = FROM_SCRATCH
    for number in range(plan.repeats):
        seed = draw_seed(plan.seed, number)
        order = np.random.default_rng(seed).permutation(len(plan.codes))  # as strategy "random"
        for count in plan.counts.tolist():
            cell = Cell(line.module, line.output, line.strategy, number, (count,))
            measured = store.get(cell)
            if measured is None:
                n_classes = len(plan.classes)
                measured = baseline.measure(order[:count], seed=seed, n_classes=n_classes)
                store.put(cell, measured)
            yield [(line, number, measured)]
