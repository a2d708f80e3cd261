"""Stratified splits, group-wise splits and few-label subsets, as pure functions."""

import numpy as np
from numpy.typing import NDArray

from modtools.exceptions import ModtoolsError
from modtools.tasks._labels import Labels

__all__ = ["choose_few", "choose_test"]

Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]
_PASSES = 3


def choose_test(
    labels: Labels, groups: NDArray[np.intp] | None, fraction: float, seed: int
) -> Mask:
    """Return a mask of the test examples (n_samples,)."""
    rng = np.random.default_rng(seed)
    if groups is None and labels.kind != "multilabel":
        return _choose_stratified(labels, fraction, rng)
    units = np.arange(len(labels)) if groups is None else groups
    return _choose_units(labels, units, fraction, rng)


def _choose_stratified(labels: Labels, fraction: float, rng: np.random.Generator) -> Mask:
    """Take the same fraction of every class, rounded so that the total is correct."""
    codes = labels.codes if labels.codes is not None else np.zeros(len(labels), dtype=np.intp)
    counts = np.bincount(codes)
    share = fraction * np.where(counts > 1, counts, 0)
    least = np.floor(share)
    capacity = np.minimum(least + 1, np.maximum(counts - 1, 0)).astype(np.int64)
    total = min(max(round(share.sum()), 1), int(capacity.sum()))
    if total == 0:
        raise ModtoolsError(
            "split needs a class with at least two examples, because every class keeps one to "
            f"train on; got {len(codes)} examples in {np.count_nonzero(counts)} classes."
        )
    wanted = _apportion(share, total, least, capacity, rng)
    return _first_of_each_class(codes, rng)[0] < wanted[codes]


def _choose_units(
    labels: Labels, units: NDArray[np.intp], fraction: float, rng: np.random.Generator
) -> Mask:
    """Move whole units to the test set, and back, while classes get nearer to their fraction.

    Units come in random order: the largest first would leave only small ones to train on. The last
    unit of a class is never moved.
    """
    held = _held_by_units(labels, units)
    left = (held > 0).sum(axis=0)  # units of each class left in the training set
    relative = held / np.maximum(held.sum(axis=0), 1)
    gap = np.where(left > 0, fraction, 0.0)
    order = rng.permutation(len(held))
    test = np.zeros(len(held), dtype=bool)
    for unit in np.tile(order, _PASSES):
        share = -relative[unit] if test[unit] else relative[unit]
        if 2 * gap @ share > share @ share and (left[share > 0] > 1).all():
            test[unit] ^= True
            gap, left = gap - share, left - np.sign(share).astype(left.dtype)
    if not test.any():
        spare = [unit for unit in order if (left[relative[unit] > 0] > 1).all()]
        if not spare:
            raise ModtoolsError(
                f"split needs groups that share classes: each of the {len(held)} groups is the "
                "only one that holds some class, and must stay to train on. Use more groups, or "
                "none."
            )
        test[spare[-1]] = True
    return test[units]


def _held_by_units(labels: Labels, units: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the number of examples of each class, and in total, of each unit."""
    held = np.zeros((int(units.max()) + 1, labels.n_classes + 1))
    held[:, -1] = np.bincount(units)
    if labels.codes is not None:
        np.add.at(held, (units, labels.codes), 1)
    elif labels.kind == "multilabel":
        np.add.at(held[:, :-1], units, labels.target_matrix())
    return held


def choose_few(
    labels: Labels, *, per_class: int | None, n: int | None, seed: int
) -> NDArray[np.intp]:
    """Return the chosen examples, in rounds: one of every class, then a second one, ..."""
    rng = np.random.default_rng(seed)
    if labels.codes is None:
        if per_class is not None:
            raise ModtoolsError(
                "few_labels(per_class=) needs one class per example; this task is of kind "
                f"{labels.kind}. Use n=."
            )
        return rng.permutation(len(labels))[:n]
    rank, position = _first_of_each_class(labels.codes, rng)
    counts = labels.counts()
    if per_class is None:
        wanted = _wanted_of(counts, int(n or 0), rng)
    else:
        _check_enough(labels, counts, per_class)
        wanted = np.full(len(counts), per_class)
    chosen = np.flatnonzero(rank < wanted[labels.codes])
    return chosen[np.lexsort((position[chosen], rank[chosen]))]


def _check_enough(labels: Labels, counts: Counts, per_class: int) -> None:
    short = np.flatnonzero(counts < per_class)
    if short.size == 0:
        return
    name, count = labels.classes[short[0]], int(counts[short[0]])
    more = f" ({short.size - 1} more such)" if short.size > 1 else ""
    way_out = f"Use per_class={counts.min()} or n=." if counts.min() else "Use n=."
    raise ModtoolsError(
        f'class "{name}" has {count} labelled example{"" if count == 1 else "s"}, '
        f"few_labels(per_class={per_class}) needs {per_class}{more}. {way_out}"
    )


def _wanted_of(counts: Counts, n: int, rng: np.random.Generator) -> Counts:
    """Return examples per class: proportional, at least one per class if n allows it."""
    share = n * counts / counts.sum()
    present = counts > 0
    least = present & (n >= np.count_nonzero(present))
    start = np.maximum(np.floor(share), least)
    while start.sum() > n:  # the classes raised to one example may exceed the total
        start[np.argmax(np.where(start > 1, start - share, -np.inf))] -= 1
    return _apportion(share, n, start, counts, rng)


def _apportion(
    share: NDArray[np.float64],
    total: int,
    start: NDArray[np.float64],
    capacity: Counts,
    rng: np.random.Generator,
) -> Counts:
    """Raise `start` to `total` by largest remainder; the seed decides ties."""
    wanted = start.astype(np.int64)
    tie = rng.random(len(share)) * 1e-9
    while wanted.sum() < total:
        room = np.where(wanted < capacity, share - wanted + tie, -np.inf)
        wanted[np.argmax(room)] += 1
    return wanted


def _first_of_each_class(
    codes: NDArray[np.intp], rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return each example's rank within its class, and its position, in one random order."""
    position = rng.permutation(len(codes))
    order = np.lexsort((position, codes))
    starts = np.searchsorted(codes[order], codes[order])
    rank = np.empty(len(codes), dtype=np.intp)
    rank[order] = np.arange(len(codes)) - starts
    return rank, position
