"""Cells of a study: the measures of one output module on one random subset of labels, kept."""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from modtools._places import check_folder
from modtools._progress import quiet, track
from modtools._reading import check_is_file, kind_of, read_arrays, read_json, reading
from modtools._workers import in_worker, starting_workers
from modtools._writing import write_file
from modtools.exceptions import ModtoolsError, warn
from modtools.modules import ModuleCollection
from modtools.studies._from_scratch import FROM_SCRATCH, Baseline
from modtools.studies._measure import (
    Examples,
    Line,
    Measured,
    Pair,
    Plan,
    label_order,
    measure,
    repeat_seed,
)

__all__ = ["Cell", "Store", "check_study_folder", "open_store", "run_cells"]

_CELLS = "cells"
_CELL_NAME = f"{64 * '0'}.npz"  # as long as the name of any cell
_THREADED = frozenset(
    ("ridge", "class_mean", "random", "oracle_balanced", "k_center", "herding", "variance")
)
Read: TypeAlias = Callable[..., Iterator[tuple[str, Pair]]]
Found: TypeAlias = list[tuple[Line, int, Measured]]


class Cell(NamedTuple):
    """The unit that is kept, by all that identifies it in its study.

    Attributes
    ----------
    identity : str
        Digest of what the module is: its features, or its network and settings.
    output, strategy : str
        As in `Line`.
    repeat : int
        Number of the random subset of labels.
    counts : tuple of int
        Its label counts.
    """

    identity: str
    output: str
    strategy: str
    repeat: int
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Store:
    """Finished cells in a folder; without a folder nothing is kept.

    Attributes
    ----------
    folder : Path or None
        The folder of the study.
    definition : str
        The definition of the study as text; it is part of the name of each cell.
    n_test : int or None
        Number of test examples, where a cell must have been measured on as many.

    Examples
    --------
    >>> import tempfile
    >>> store, cell = Store(Path(tempfile.mkdtemp()), ""), Cell("a", "ridge", "random", 0, (2,))
    >>> store.put(cell, Measured.of(np.array([[True, False]]), log_loss=[0.25]))
    >>> found = store.get(cell)
    >>> found.accuracy.tolist(), found.log_loss.tolist()
    ([0.5], [0.25])
    """

    folder: Path | None
    definition: str
    n_test: int | None = None

    def get(self, cell: Cell) -> Measured | None:
        """Return a finished cell, or None; a damaged one is reported and counts as missing."""
        path = self._path(cell)
        if path is None or not kind_of(path):
            return None
        check_is_file(path, what="the cell")
        with reading(f"the cell {path} cannot be read", "Mend its rights, or give another folder."):
            content = path.read_bytes()
        try:
            found = Measured(*read_arrays(io.BytesIO(content), _all_fields, what=str(path)))
            _check_measured(found, len(cell.counts), self.n_test)
        except ModtoolsError:
            warn("MT002", f"{path} is damaged; this cell of the study is computed again.")
            return None
        return found

    def put(self, cell: Cell, measured: Measured) -> None:
        """Keep a finished cell; it is written atomically."""
        path = self._path(cell)
        if path is not None:
            content = io.BytesIO()
            np.savez(content, **measured._asdict())
            write_file(path, content.getvalue())

    def _path(self, cell: Cell) -> Path | None:
        if self.folder is None:
            return None
        key = hashlib.sha256(json.dumps([self.definition, *cell]).encode()).hexdigest()
        return self.folder / _CELLS / f"{key}.npz"


def check_study_folder(folder: Path) -> Path:
    """Return the folder if a study can be kept in it, else raise; nothing is left behind.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> check_study_folder(folder / "study") == folder / "study"
    True
    >>> list(folder.iterdir())
    []
    """
    check_folder(folder)
    check_folder(folder / _CELLS, holds=_CELL_NAME)
    return folder


def _all_fields(present: list[str]) -> Sequence[str]:
    if set(present) != set(Measured._fields):
        raise ModtoolsError(f"a cell must hold {', '.join(Measured._fields)}.")
    return Measured._fields


def _check_measured(found: Measured, n_counts: int, n_test: int | None) -> None:
    """Raise where arrays are not those of a cell, or its accuracies not those of its examples."""
    n_bytes = found.right.shape[1] if found.right.ndim == 2 else 0
    columns = (found.accuracy, found.log_loss, found.codelength)
    right_form = found.right.dtype == np.uint8 and len(found.right) == n_counts and n_bytes
    if not right_form or any(c.dtype != np.float64 or c.shape != (n_counts,) for c in columns):
        raise ModtoolsError("its arrays have other shapes or types than those of a cell.")
    least, most = (n_test, n_test) if n_test else (8 * n_bytes - 7, 8 * n_bytes)
    n_right = np.unpackbits(found.right, axis=1).sum(axis=1)
    fits = (found.accuracy * least <= n_right + 1e-6) & (found.accuracy * most >= n_right - 1e-6)
    if n_bytes != -(-most // 8) or not fits.all():
        raise ModtoolsError("its accuracies are not those of its test examples.")


def open_store(folder: Path, definition: Mapping[str, Any], n_test: int | None = None) -> Store:
    """Return the store of a study, or raise if its folder holds one of another definition.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = open_store(folder, {"seed": 0})
    >>> open_store(folder, {"seed": 1})  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    modtools.exceptions.ModtoolsError: ... another definition: seed was 0, now 1. ...
    """
    store = Store(folder, json.dumps(definition, sort_keys=True), n_test)
    path = folder / "study.json"
    if not kind_of(path):
        write_file(path, json.dumps(definition, indent=1, sort_keys=True) + "\n")
        return store
    try:
        kept = read_json(path, what="the study")
    except ModtoolsError as error:
        raise ModtoolsError(
            f"{path} cannot be read ({error}), so it is not known which study {folder} holds. "
            "Give another folder; nothing was changed."
        ) from error
    if changed := _differences(kept, definition):
        raise ModtoolsError(
            f"{folder} holds a study of another definition: {changed}. Call it as before to resume "
            "it, or give another folder; its finished cells are kept."
        )
    return store


def _differences(kept: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Return what differs between two definitions as text, empty where nothing does."""
    plain = json.loads(json.dumps(asked))
    return "; ".join(
        _difference(name, kept.get(name), plain.get(name))
        for name in sorted({*kept, *plain})
        if kept.get(name) != plain.get(name)
    )


def _difference(name: str, before: Any, now: Any) -> str:
    if name in ("inputs", "labels"):
        return f"{name} differ"
    if name == "modules" and isinstance(before, dict):
        if sorted(before) != sorted(now):
            return f"{name} were {', '.join(sorted(before))}, now {', '.join(sorted(now))}"
        other = [f'"{key}"' for key in now if before[key] != now[key]]
        return f"{name}: the features of {', '.join(other)} differ"
    return f"{name} was {_short(before)}, now {_short(now)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:60]} ... {text[-16:]}"


class _Repeat(NamedTuple):
    """One random subset of labels for one module; its output modules share the examples."""

    module: str
    identity: str
    strategy: str
    number: int


def run_cells(
    candidates: ModuleCollection,
    read: Read,
    identities: Mapping[str, str],
    plan: Plan,
    store: Store,
    *,
    baseline: Baseline | None,
    n_jobs: int | None,
) -> dict[Line, list[Measured]]:
    """Return the repeats of every line, in order; each cell is kept as soon as it is finished.

    Parameters
    ----------
    candidates : ModuleCollection
        What is compared; a network is read once for all its modules.
    read : callable
        Yields the features of the modules of some ``names``.
    identities : mapping from str to str
        What identifies each module.
    plan : Plan
        What is measured.
    store : Store
        Where finished cells are.
    baseline : Baseline or None
        The network that is trained from scratch.
    n_jobs : int or None
        Repeats measured at the same time.
    """
    work: Iterator[Found] = chain.from_iterable(
        _network_cells({name: identities[name] for name in names}, read, plan, store, n_jobs)
        for names in candidates.networks.values()
    )
    total = len(plan.subsets()) * len(candidates)
    if baseline is not None:
        work = chain(work, _baseline_cells(baseline, plan, store))
        total += plan.repeats * len(plan.counts)
    # What is kept arrives before what is missing: lines are in the order of the definition.
    lines: dict[Line, dict[int, list[Measured]]] = {
        line: {} for line in _lines(candidates.names, plan, baseline)
    }
    for found in track(work, "Label efficiency", total=total):
        for line, repeat, measured in found:
            lines[line].setdefault(repeat, []).append(measured)
    return {
        line: [_join(repeats[number]) for number in sorted(repeats)]
        for line, repeats in lines.items()
    }


def _lines(names: Sequence[str], plan: Plan, baseline: Baseline | None) -> list[Line]:
    lines = [Line(n, o, s) for n in names for s in plan.strategies for o in plan.outputs]
    return lines if baseline is None else [*lines, FROM_SCRATCH]


def _join(parts: Sequence[Measured]) -> Measured:
    return Measured(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _network_cells(
    identities: Mapping[str, str], read: Read, plan: Plan, store: Store, n_jobs: int | None
) -> Iterator[Found]:
    """Yield the repeats of every module of a network; it is run only if a cell is missing."""
    from joblib import Parallel, delayed
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    missing: list[_Repeat] = []
    for name, identity in identities.items():
        for strategy, number in plan.subsets():
            repeat = _Repeat(name, identity, strategy, number)
            kept = [store.get(_cell(repeat, output, plan)) for output in plan.outputs]
            if any(measured is None for measured in kept):
                missing.append(repeat)
            else:
                yield [_entry(repeat, o, m) for o, m in zip(plan.outputs, kept, strict=True) if m]
    if not missing:
        return
    with quiet():  # one bar at a time
        pairs = dict(read(names=dict.fromkeys(repeat.module for repeat in missing)))
    examples = {
        name: Examples.of(name, pair, plan.codes, plan.test_codes, len(plan.classes))
        for name, pair in pairs.items()
    }
    # Threads share the features and start at once; fits that silence warnings need processes.
    prefer = "threads" if _THREADED.issuperset([*plan.outputs, *plan.strategies]) else None
    parallel = Parallel(n_jobs=n_jobs, prefer=prefer, return_as="generator")
    work = delayed(in_worker)
    tasks = (
        work(os.getpid(), _measure_repeat, examples[repeat.module], repeat, plan, store)
        for repeat in missing
    )
    with threadpool_limits(None if n_jobs in (None, 1) else 1):
        with starting_workers(n_jobs):
            found = parallel(tasks)
        yield from found


def _cell(repeat: _Repeat, output: str, plan: Plan) -> Cell:
    return Cell(
        repeat.identity, output, repeat.strategy, repeat.number, tuple(plan.counts.tolist())
    )


def _entry(repeat: _Repeat, output: str, measured: Measured) -> tuple[Line, int, Measured]:
    return Line(repeat.module, output, repeat.strategy), repeat.number, measured


def _measure_repeat(examples: Examples, repeat: _Repeat, plan: Plan, store: Store) -> Found:
    """Return the cells of a repeat; those that are missing are measured and kept one by one."""
    found, order = [], None
    for output in plan.outputs:
        cell = _cell(repeat, output, plan)
        measured = store.get(cell)
        if measured is None:
            if order is None:
                seed = repeat_seed(plan.seed, repeat.number)
                order = label_order(examples, repeat.strategy, plan.counts, seed=seed)
            measured = measure(examples, order, plan.counts, output)
            store.put(cell, measured)
        found.append(_entry(repeat, output, measured))
    return found


def _baseline_cells(baseline: Baseline, plan: Plan, store: Store) -> Iterator[Found]:
    """Yield the baseline's cells one by one: each is a training run."""
    line = FROM_SCRATCH
    for number in range(plan.repeats):
        seed = repeat_seed(plan.seed, number)
        order = np.random.default_rng(seed).permutation(len(plan.codes))  # as strategy "random"
        for count in plan.counts.tolist():
            cell = Cell(line.module, line.output, line.strategy, number, (count,))
            measured = store.get(cell)
            if measured is None:
                n_classes = len(plan.classes)
                measured = baseline.measure(order[:count], seed=seed, n_classes=n_classes)
                store.put(cell, measured)
            yield [(line, number, measured)]
