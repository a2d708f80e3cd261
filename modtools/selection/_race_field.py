"""Who runs in a race: modules, the networks whose forward passes they share, and how they fare."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from modtools._checks import as_float, check_matrix, raise_if_not_finite
from modtools._types import ClassCodes, FloatArray
from modtools.exceptions import ModtoolsError
from modtools.selection._candidates import extract_taps, is_module
from modtools.selection._race_output import LearningOutput

__all__ = ["Field", "Runner", "enter"]

_NO_OVERFLOW = 690.0  # the exponential of more is no float


class CachedSource:
    """Features in memory of the taps of one network.

    Parameters
    ----------
    matrices : dict of str to ndarray
        Features (n_samples, n_features) by name.
    """

    def __init__(self, matrices: Mapping[str, NDArray[Any]]) -> None:
        self._matrices = matrices

    def read(self, names: Sequence[str], rows: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        """Return the features of some taps at some rows, by name."""
        return {name: self._matrices[name][rows] for name in names}


class NetworkSource:
    """A network with a task to run on, read at several taps in one forward pass.

    Parameters
    ----------
    module : PretrainedModule
        The network and what belongs to it.
    task : Task
        Its inputs.
    taps : dict of str to (str or None)
        Where to read, by name.
    options : mapping
        How it runs: device, precision, cache.
    """

    def __init__(
        self, module: Any, task: Any, taps: Mapping[str, str | None], options: Mapping[str, Any]
    ) -> None:
        self._module, self._task, self._taps, self._options = module, task, taps, options

    def is_of(self, module: Any) -> bool:
        """Return whether one forward pass gives the taps of this module too."""
        parts = ("network", "preprocess", "pooling")
        return self._module.name == module.name and all(
            getattr(self._module, part) is getattr(module, part, None) for part in parts
        )

    def read(self, names: Sequence[str], rows: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        """Run the network on some rows and return the features of some taps, by name."""
        reduced = self._module.at([self._taps[name] for name in names])
        part = self._task.subset(rows)
        found = extract_taps(reduced, part, with_source=False, **self._options)
        return {candidate.name: candidate.features for candidate in found}


Source: TypeAlias = CachedSource | NetworkSource


@dataclass(eq=False)
class Runner:
    """One module at one tap, from the start to where it was dropped.

    Attributes
    ----------
    place : int
        Its number in the order given.
    name, network : str
        Its name, and that of the network whose passes it shares.
    status : {"in", "dropped", "failed"}
        Whether it still runs.
    rows : int
        Rows that it has run on.
    right, scored : int
        Rows predicted before they were learned, and how many of them correctly.
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
    rows: int = 0
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
        left = self.rows if self.status != "in" else None
        sound = [name for name in self.beaten_by if name not in failed]
        winner = next(iter(sound or self.beaten_by), None)
        log_e = self.log_e_value if winner is None else self.beaten_by[winner]
        return {
            "module": self.name,
            "network": self.network,
            "status": self.status,
            "rows": self.rows,
            "accuracy": self.accuracy,
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
    sources : dict
        Network name to what gives its features.
    codes : ndarray of shape (n_samples,)
        Class codes of all labels.
    groups : ndarray of shape (n_samples,) or None
        Group number of each row, where rows belong together.
    passes : int
        Rows that networks have run on, each network counted for itself.
    """

    runners: list[Runner]
    sources: dict[str, Source]
    codes: ClassCodes
    groups: NDArray[np.intp] | None = None
    passes: int = field(default=0)

    @property
    def running(self) -> list[Runner]:
        """Runners still in, in the order given."""
        return [runner for runner in self.runners if runner.status == "in"]

    @property
    def n_networks(self) -> int:
        """Networks that still run."""
        return len({runner.network for runner in self.running})

    def read(self, rows: NDArray[np.intp]) -> Iterator[tuple[Runner, FloatArray]]:
        """Yield every runner still in with its features; one that fails leaves, with its reason.

        Parameters
        ----------
        rows : ndarray of shape (n_rows,)
            Row numbers of the task.

        Yields
        ------
        runner : Runner
            A runner whose network gave finite features.
        features : ndarray of shape (n_rows, n_features)
            Its features.
        """
        for network, source in self.sources.items():
            taps = [runner for runner in self.running if runner.network == network]
            if not taps:
                continue
            self.passes += len(rows)
            try:
                found = source.read([runner.name for runner in taps], rows)
            except ModtoolsError as error:
                _fail(taps, error)
                continue
            for runner in taps:
                try:
                    features = _check_rows(found[runner.name], runner.name, rows)
                except ModtoolsError as error:
                    _fail([runner], error)
                    continue
                runner.rows += len(rows)
                yield runner, features

    def groups_of(self, rows: NDArray[np.intp]) -> NDArray[np.intp] | None:
        """Return the group numbers of some rows, None where rows stand for themselves."""
        return None if self.groups is None else self.groups[rows]

    def check_anyone(self) -> None:
        """Raise if nobody is left because all failed."""
        if not self.running:
            first = next(runner for runner in self.runners if runner.status == "failed")
            raise ModtoolsError(f"no module is left in the race: {first.reason}")


def _check_rows(features: Any, name: str, rows: NDArray[np.intp]) -> FloatArray:
    """Return features that are finite; the rows named are those of the task, not of the batch."""
    array = as_float(features)
    bad = rows[~np.isfinite(array).all(axis=1)]
    if bad.size:
        raise ModtoolsError(
            f'features of "{name}" must be finite: NaN or infinite in {bad.size} of {len(rows)} '
            f"rows run together, first in row {bad.min()} of the task. Drop these rows or check "
            "the module's precision (float16 overflows above 65504)."
        )
    raise_if_not_finite(array, name=f'features of "{name}"')  # too large ones are left
    return array


def _fail(runners: Sequence[Runner], error: ModtoolsError) -> None:
    for runner in runners:
        runner.reason = str(error)
        runner.leave("failed")


def enter(modules: Any, task: Any, codes: ClassCodes, n_classes: int, **options: Any) -> Field:
    """Return the field of checked modules; networks of a zoo are loaded and kept.

    Parameters
    ----------
    modules : Zoo, sequence of PretrainedModule, or dict
        As `check_modules` lets them through.
    task : Task or array-like
        The labelled task.
    codes : ndarray of shape (n_samples,)
        Class codes of its labels.
    n_classes : int
        Number of classes.
    **options : object
        How networks run: device, precision, cache.

    Returns
    -------
    Field
        Nothing has run yet.

    Examples
    --------
    >>> field = enter({"a@1": np.eye(2), "a@2": np.eye(2)}, [0, 1], np.array([0, 1]), 2)
    >>> field.n_networks, [runner.name for runner in field.running]
    (1, ['a@1', 'a@2'])
    """
    sources: dict[str, Source] = {}
    cached: dict[str, str] = {}  # what stands before the @ of cached features, to the network
    pairs: list[tuple[str, str]] = []  # network and name of each tap, in the order given
    taps: dict[str, dict[str, Any]] = {}  # network to its taps: where to read, or features
    for key, value in _iter_modules(modules):
        if is_module(value):
            network = _network_name(value, sources)
            found = dict(zip(value.names, value.taps, strict=True))
            held = taps.setdefault(network, {})
            held.update(found)
            sources[network] = NetworkSource(value, task, held, options)
        else:
            prefix, found = key.partition("@")[0], {key: check_matrix(value)}
            network = cached.setdefault(prefix, _free_name(prefix, sources))
            held = taps.setdefault(network, {})
            held.update(found)
            sources[network] = CachedSource(held)
        pairs.extend((network, name) for name in found)
    _check_names([name for _, name in pairs])
    runners = [
        Runner(place, name, network, LearningOutput(n_classes))
        for place, (network, name) in enumerate(pairs)
    ]
    return Field(runners, sources, codes)


def _iter_modules(modules: Any) -> Iterator[tuple[str, Any]]:
    if hasattr(modules, "load"):
        yield from ((name, modules.load(name)) for name in modules.names)
    elif isinstance(modules, Mapping):
        yield from ((str(name), value) for name, value in modules.items())
    else:
        yield from ((module.name, module) for module in modules)


def _network_name(module: Any, sources: Mapping[str, Source]) -> str:
    """Return the name under which a network is known, or a free one for another network."""
    for name, source in sources.items():
        if isinstance(source, NetworkSource) and source.is_of(module):
            return name
    return _free_name(module.name, sources)


def _free_name(name: str, sources: Mapping[str, Source]) -> str:
    """Return a name no network has: another network of the same name gets a number."""
    numbered = (f"{name} ({number})" for number in count(2))
    return next(free for free in chain([name], numbered) if free not in sources)


def _check_names(names: Sequence[str]) -> None:
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise ModtoolsError(f'two modules are named "{twice}"; give each its own name.')
    if len(names) < 2:
        raise ModtoolsError(
            f"a race needs at least two modules; got {len(names)} ({', '.join(names)})."
        )
