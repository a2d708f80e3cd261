"""The two ways to run a race: certified by tests, or halving the field at a fixed cost."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modtools._types import ClassCodes
from modtools.exceptions import ModtoolsError
from modtools.selection._race_bets import PairedBets
from modtools.selection._race_field import Field, Runner

__all__ = ["Certified", "Halving"]

# Takes the fraction of the examples seen and a note on who is still in.
Show = Callable[[float, str], None]


class Certified(NamedTuple):
    """Drop a module once a paired test, valid at every look, decides against it.

    Attributes
    ----------
    error : float
        Level of the tests together, for any one module.
    tolerance : float
        Accuracy in [0, 1) that a module may lose against the one that stands for it.
    look_every : int
        Examples between two looks.
    """

    error: float
    tolerance: float
    look_every: int

    def run(self, field: Field, order: NDArray[np.intp], show: Show) -> None:
        """Race until one module is left or all examples are used.

        Parameters
        ----------
        field : Field
            Who runs; changed in place.
        order : ndarray of shape (n_samples,)
            Row numbers in the order in which they are run.
        show : callable
            Shows progress.
        """
        batches = list(_batches(order, field.groups_of(order), self.look_every))
        if len(batches) == 1:
            whole = "" if field.groups is None else " and a group is never divided"
            raise ModtoolsError(
                f"look_every must leave examples to predict: it is {self.look_every}, and there "
                f"are {len(order)} labels{whole}. Look more often, with a smaller number."
            )
        bets, keepers, seen = PairedBets(len(field.runners)), set[int](), 0
        for examples in batches:
            places, right = _predict_and_learn(field, examples, is_first=seen == 0)
            if places:
                bets.add(np.array(places), np.array(right)[:, _independent(field, examples)])
                self._drop(field, bets, keepers)
            field.check_anyone()
            seen += len(examples)
            show(seen / len(order), _note(field))
            if len(field.running) == 1:
                return

    def _drop(self, field: Field, bets: PairedBets, keepers: set[int]) -> None:
        """Let every runner leave that another one still in has beaten, the worst first.

        With a tolerance, whoever stands for a module that may be slightly better becomes a keeper.
        Only a test without tolerance, at a level for all pairs, lets a keeper go: so losses within
        the tolerance never add up.
        """
        opponents = len(field.runners) - 1
        halves = 2 if self.tolerance else 1
        usual = math.log(halves * opponents / self.error)
        of_keepers = math.log(halves * opponents * len(field.runners) / self.error)
        evidence = bets.log_e_values(self.tolerance)
        strict = bets.log_e_values() if self.tolerance else evidence
        for runner in sorted(field.running, key=Runner.standing, reverse=True):
            is_keeper = runner.place in keepers
            against = (strict if is_keeper else evidence)[:, runner.place]
            others = [other for other in field.running if other is not runner]
            if not others:
                return
            needed = of_keepers if is_keeper else usual
            winners = [other for other in others if against[other.place] >= needed]
            runner.log_e_value = max(float(against[other.place]) for other in others)
            if winners:
                winners.sort(key=Runner.standing)
                runner.beaten_by = {other.name: float(against[other.place]) for other in winners}
                runner.leave("dropped")
                if self.tolerance:
                    keepers.add(winners[0].place)


def _batches(
    order: NDArray[np.intp], groups: NDArray[np.intp] | None, look_every: int
) -> Iterator[NDArray[np.intp]]:
    """Yield the examples batch by batch; a group, in one piece here, is not divided."""
    is_end = np.ones(len(order), dtype=bool)
    if groups is not None:
        is_end[:-1] = groups[1:] != groups[:-1]
    ends, start = np.flatnonzero(is_end) + 1, 0
    while start < len(order):
        wanted = min(start + look_every, len(order))
        stop = int(ends[np.searchsorted(ends, wanted)])
        yield order[start:stop]
        start = stop


def _independent(field: Field, examples: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the places of examples that bets may count: the first of each group.

    Examples of a group go wrong together, so a bet on each would win too much by luck alone.
    """
    groups = field.groups_of(examples)
    if groups is None:
        return np.arange(len(examples))
    return np.sort(np.unique(groups, return_index=True)[1])


def _predict_and_learn(
    field: Field, examples: NDArray[np.intp], *, is_first: bool
) -> tuple[list[int], list[NDArray[np.bool_]]]:
    """Return the places of those that predicted, and which examples each predicted right."""
    places, right = [], []
    codes: ClassCodes = field.codes[examples]
    for runner, features in field.read(examples):
        output = runner.output
        if output is None:
            continue
        if not is_first:
            correct = output.predict(features) == codes
            runner.right += int(correct.sum())
            runner.scored += len(examples)
            runner.accuracy = runner.right / runner.scored
            places.append(runner.place)
            right.append(correct)
        output.learn(features, codes, field.groups_of(examples))
    return places, right


class Halving(NamedTuple):
    """Spend a fixed fraction of the forward passes: the better half runs on, round by round.

    Attributes
    ----------
    passes : float
        Fraction of the forward passes that running every network on every example would take.
    look_every : int
        Examples read at a time.
    """

    passes: float
    look_every: int

    def run(self, field: Field, order: NDArray[np.intp], show: Show) -> None:
        """Race until one module is left.

        Parameters
        ----------
        field : Field
            Who runs; changed in place.
        order : ndarray of shape (n_samples,)
            Row numbers in the order in which they are run.
        show : callable
            Shows progress.
        """
        n_rounds = math.ceil(math.log2(len(field.runners)))
        allowed = self.passes * field.n_networks * len(order)
        self._check(allowed / n_rounds / field.n_networks, field, len(order))
        seen = 0
        for number in range(1, n_rounds + 1):
            left = allowed * number / n_rounds - field.passes
            until = min(seen + max(int(left // field.n_networks), 0), len(order))
            for start in range(seen, until, self.look_every):
                self._learn(field, order[start : min(start + self.look_every, until)])
                field.check_anyone()
                show(min(field.passes / allowed, 1.0), _note(field))
            seen = until
            _halve(field)
            if len(field.running) == 1:
                return

    def _check(self, n_first: float, field: Field, n_examples: int) -> None:
        n_classes = len(np.unique(field.codes))
        if n_first < n_classes:
            needed = self.passes * n_classes / n_first
            advice = f"use passes={math.ceil(100 * needed) / 100:g} or more" * (needed < 1)
            raise ModtoolsError(
                f"passes={self.passes:g} of {n_examples} labels lets the first round see "
                f"{int(n_first)} examples, fewer than the {n_classes} classes; "
                f"{advice or 'give more labels'}."
            )

    @staticmethod
    def _learn(field: Field, examples: NDArray[np.intp]) -> None:
        for runner, features in field.read(examples):
            if runner.output is not None:
                runner.output.learn(features, field.codes[examples], field.groups_of(examples))


def _halve(field: Field) -> None:
    """Score everyone on the examples so far, and let the worse half leave."""
    for runner in field.running:
        if runner.output is not None:
            runner.accuracy = runner.output.leave_one_out_accuracy()
            runner.scored = runner.examples
    ordered = sorted(field.running, key=Runner.standing)
    for runner in ordered[math.ceil(len(ordered) / 2) :]:
        runner.leave("dropped")


def _note(field: Field) -> str:
    names = [runner.name for runner in sorted(field.running, key=Runner.standing)]
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} in: {', '.join(names[:3])}{rest}"
