"""Who runs in a race: modules, the networks whose forward passes they share, and how they fare."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Unpack, cast

import numpy as np
from numpy.typing import NDArray

from modtools._checks import as_float, raise_if_not_finite
from modtools._types import ClassCodes, FloatArray
from modtools.exceptions import ModtoolsError
from modtools.modules import ForwardOptions, ModuleCollection
from modtools.selection._race_output import LearningOutput
from modtools.tasks import Task

__all__ = ["Field", "Runner", "enter"]

_NO_OVERFLOW = 690.0  # the exponential of more is no float


@dataclass(eq=False)
class Runner:
    """One module at one layer, from the start to where it was dropped.

    Attributes
    ----------
    place : int
        Its number in the order given.
    name, network : str
        Its name, and that of the network whose passes it shares.
    status : {"in", "dropped", "failed"}
        Whether it still runs.
    examples : int
        Examples that it has run on.
    right, scored : int
        Examples predicted before they were learned, and how many of them correctly.
    accuracy : float or None
        What the race orders by: the share predicted correctly, or leave-one-out.
    beaten_by : dict of str to float
        Modules that beat it in a certified race, the best first, and their logarithmic evidence.
    log_e_value : float or None
        The most evidence there was against it while it was in.
    reason : str
        Why it failed.
    output : LearningOutput or None
        Its output module while it runs.
    """

    place: int
    name: str
    network: str
    output: LearningOutput | None
    status: str = "in"
    examples: int = 0
    right: int = 0
    scored: int = 0
    accuracy: float | None = None
    beaten_by: dict[str, float] = field(default_factory=dict)
    log_e_value: float | None = None
    reason: str = ""

    def leave(self, status: str) -> None:
        """Stop running, and let go of what was learned."""
        self.status, self.output = status, None

    def standing(self) -> tuple[float, int]:
        """Return a key that puts the better first, and among equals the one given first."""
        return (-1.0 if self.accuracy is None else -self.accuracy, self.place)

    def facts(self, failed: Mapping[str, str]) -> dict[str, Any]:
        """Return its row of the frame: it names a winner that did not fail, where there is one."""
        left = self.examples if self.status != "in" else None
        sound = [name for name in self.beaten_by if name not in failed]
        winner = next(iter(sound or self.beaten_by), None)
        log_e = self.log_e_value if winner is None else self.beaten_by[winner]
        return {
            "module": self.name,
            "network": self.network,
            "status": self.status,
            "examples": self.examples,
            "metric": "accuracy",
            "value": self.accuracy,
            "dropped_at": left,
            "dropped_by": winner,
            "e_value": None if log_e is None else math.exp(min(log_e, _NO_OVERFLOW)),
        }


@dataclass
class Field:
    """All runners, and the passes their networks have made.

    Attributes
    ----------
    runners : list of Runner
        In the order given.
    candidates : ModuleCollection
        Their modules, every network in memory.
    task : Task
        The labelled task, which networks read.
    forward : dict
        How they run: device, precision, batch_size, cache.
    passes : int
        Examples that networks have run on, each network counted for itself.
    codes : ndarray of shape (n_samples,)
        Class codes of all labels.
    groups : ndarray of shape (n_samples,) or None
        Group number of each example, where examples belong together.
    """

    runners: list[Runner]
    candidates: ModuleCollection
    task: Task
    forward: "ForwardOptions" = field(default_factory=lambda: cast("ForwardOptions", {}))
    passes: int = 0
    codes: ClassCodes = field(init=False)
    groups: NDArray[np.intp] | None = field(init=False)

    def __post_init__(self) -> None:
        self.codes = np.asarray(self.task.encoded.codes)
        self.groups = self.task.group_codes

    @property
    def running(self) -> list[Runner]:
        """Runners still in, in the order given."""
        return [runner for runner in self.runners if runner.status == "in"]

    @property
    def n_networks(self) -> int:
        """Networks that still run."""
        return len({runner.network for runner in self.running})

    def read(self, examples: NDArray[np.intp]) -> Iterator[tuple[Runner, FloatArray]]:
        """Yield every runner still in with its features; one that fails leaves, with its reason.

        Parameters
        ----------
        examples : ndarray of shape (n_examples,)
            Row numbers of the task.

        Yields
        ------
        runner : Runner
            A runner whose network gave finite features.
        features : ndarray of shape (n_examples, n_features)
            Its features.
        """
        for network in self.candidates.networks:
            layers = [runner for runner in self.running if runner.network == network]
            if not layers:
                continue
            self.passes += len(examples)
            try:
                found = self._features([runner.name for runner in layers], examples)
            except ModtoolsError as error:
                _fail(layers, error)
                continue
            for runner in layers:
                try:
                    features = _check_features(found[runner.name], runner.name, examples)
                except ModtoolsError as error:
                    _fail([runner], error)
                    continue
                runner.examples += len(examples)
                yield runner, features

    def _features(
        self, names: Sequence[str], examples: NDArray[np.intp]
    ) -> dict[str, NDArray[Any]]:
        """Return the features of modules of one network at some examples, by name."""
        read = self.candidates.features(
            self.task, names=names, rows=examples, with_source=False, **self.forward
        )
        return {name: features for name, features, _ in read}

    def groups_of(self, examples: NDArray[np.intp]) -> NDArray[np.intp] | None:
        """Return the group numbers of some examples, None where examples stand for themselves."""
        return None if self.groups is None else self.groups[examples]

    def check_anyone(self) -> None:
        """Raise if nobody is left because all failed."""
        if not self.running:
            first = next(runner for runner in self.runners if runner.status == "failed")
            raise ModtoolsError(f"no module is left in the race: {first.reason}")


def _check_features(features: Any, name: str, examples: NDArray[np.intp]) -> FloatArray:
    """Return features that are finite; errors number examples of the task, not of the batch."""
    array = as_float(features)
    bad = examples[~np.isfinite(array).all(axis=1)]
    if bad.size:
        raise ModtoolsError(
            f'features of "{name}" must be finite: NaN or infinite in {bad.size} of '
            f"{len(examples)} examples run together, first in example {bad.min()} of the task. "
            "Drop these examples or check the module's precision (float16 overflows above 65504)."
        )
    raise_if_not_finite(array, name=f'features of "{name}"')  # too large ones are left
    return array


def _fail(runners: Sequence[Runner], error: ModtoolsError) -> None:
    for runner in runners:
        runner.reason = str(error)
        runner.leave("failed")


def enter(candidates: ModuleCollection, task: Task, **forward: "Unpack[ForwardOptions]") -> Field:
    """Return the field of modules on a task with classes; networks of a zoo are loaded and kept.

    Parameters
    ----------
    candidates : ModuleCollection
        At least two modules, checked.
    task : Task
        The labelled task.
    **forward : object
        How networks run: device, precision, batch_size, cache.

    Returns
    -------
    Field
        Nothing has run yet.

    Examples
    --------
    >>> candidates = ModuleCollection.of({"a@1": np.eye(2), "a@2": np.eye(2)})
    >>> field = enter(candidates, Task.of([0, 1]))
    >>> field.n_networks, [runner.name for runner in field.running]
    (1, ['a@1', 'a@2'])
    """
    if len(candidates) < 2:
        raise ModtoolsError(
            f"a race needs at least two modules; got {len(candidates)} "
            f"({', '.join(candidates.names)})."
        )
    network_of = {name: own for own, names in candidates.networks.items() for name in names}
    runners = [
        Runner(place, name, network_of[name], LearningOutput(task.encoded.n_classes))
        for place, name in enumerate(candidates.names)
    ]
    return Field(runners, candidates.loaded(), task, forward)
