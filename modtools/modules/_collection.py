"""Candidate modules from any accepted form of the argument `modules`."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Self, TypeAlias, TypeVar, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modtools._checks import did_you_mean
from modtools._types import FloatArray
from modtools.exceptions import ModtoolsError
from modtools.modules._candidates import (
    FORMS,
    PAIRS,
    Cached,
    Candidate,
    Given,
    Module,
    by_network,
    check_lengths,
    is_by_task,
    of_item,
    of_module,
    of_pair,
    of_zoo,
    on_task,
    open_zoo,
    read_at,
)
from modtools.modules._combined import CombinedModule, networks_of
from modtools.modules._identity import array_digest
from modtools.modules._module import PretrainedModule
from modtools.modules._module_facts import (
    COSTS,
    Costs,
    ForwardOptions,
    ModuleFacts,
    check_cost,
    check_forward,
    facts_of,
    identities_of,
    run_module,
)
from modtools.modules._zoo import UnknownModuleError, Zoo
from modtools.tasks import Task

__all__ = ["ModuleCollection", "ModulesLike"]

ModulesLike: TypeAlias = (
    "Module | Zoo | ModuleCollection | str | os.PathLike[str] | Sequence[ModulesLike] | "
    "Mapping[str, Module | ArrayLike | tuple[ArrayLike, ArrayLike]]"
)
Found = TypeVar("Found")


class ModuleCollection:
    """Candidate modules by their names in tables, loaded and run when needed.

    `ModuleCollection.of` makes one from any accepted form of ``modules``. A module read at
    several layers counts as several, called ``name@layer``. Layers of one network share its forward
    passes; networks of a zoo are loaded one at a time.

    Attributes
    ----------
    names : tuple of str
        Names of the modules, in the order given.
    networks : dict of str to tuple of str
        Names of the modules of each network. Another network of the same name gets a number;
        cached features called ``network@layer`` count as one network.
    has_networks : bool
        Whether features have to be extracted, for which a task needs inputs.

    Examples
    --------
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> module = PretrainedModule(network, name="small", layers=["0", "2"])
    >>> modules = ModuleCollection.of([module])
    >>> modules
    ModuleCollection(2 modules of 1 network: small@0, small@2)
    >>> modules["small@2"].names
    ('small@2',)
    >>> task = Task(np.ones((5, 4), dtype=np.float32), [0, 0, 1, 1, 1])
    >>> for name, features, facts in modules.features(task):
    ...     print(name, features.shape, facts.n_parameters)
    small@0 (5, 3) 15
    small@2 (5, 2) 23
    """

    def __init__(self, entries: Iterable[Candidate]) -> None:
        self._entries: dict[str, Candidate] = {}
        for entry in entries:
            if entry.name in self._entries:
                raise ModtoolsError(
                    f'two modules are named "{entry.name}"; give each PretrainedModule its own '
                    "name."
                )
            self._entries[entry.name] = entry
        if not self._entries:
            raise ModtoolsError("modules is empty; give at least one module or array of features.")
        self.names = tuple(self._entries)
        self.networks = by_network(self._entries.values())
        sources = [entry.source for entry in self._entries.values()]
        self.has_networks = any(not isinstance(source, Cached) for source in sources)
        self._network_of = {name: own for own, names in self.networks.items() for name in names}

    @classmethod
    def of(cls, modules: ModulesLike) -> "ModuleCollection":
        """Return the collection of modules of any accepted form; nothing is loaded or run.

        Parameters
        ----------
        modules : PretrainedModule, CombinedModule, Zoo, path, sequence, dict or ModuleCollection
            One module; a zoo or the path of its folder, whose cards give the names; a list of
            these; a dict of modules and of cached features ``{name: array of shape (n_samples,
            n_features)}``, whose keys are the names of both.

        Returns
        -------
        ModuleCollection
            A collection is returned as it is.

        Raises
        ------
        ModtoolsError
            Another form, nothing in it, two modules of one name, a folder that is no zoo.

        Examples
        --------
        >>> ModuleCollection.of({"raw": np.ones((6, 3)), "raw@2": np.ones((6, 2))}).networks
        {'raw': ('raw', 'raw@2')}
        """
        if isinstance(modules, ModuleCollection):
            return modules
        if isinstance(modules, Mapping) and not isinstance(modules, Zoo):
            return cls(chain.from_iterable(of_item(*item) for item in modules.items()))
        other = f"{FORMS}, or one module, or a zoo's folder; got {type(modules).__name__}."
        return cls(_entries_of(modules, other))

    @classmethod
    def of_pairs(cls, modules: ModulesLike) -> "ModuleCollection":
        """Return modules for a train and a test task; cached features come as pairs.

        Parameters
        ----------
        modules : PretrainedModule, CombinedModule, Zoo, path, sequence, dict or ModuleCollection
            As for `of`, but features in a dict come as pairs ``{name: (train_features,
            test_features)}``.

        Returns
        -------
        ModuleCollection
            For `train_and_test`.

        Raises
        ------
        ModtoolsError
            As for `of`, or features that are not finite or differ in their number of columns.

        Examples
        --------
        >>> ModuleCollection.of_pairs({"raw": (np.ones((6, 3)), np.ones((2, 3)))}).names
        ('raw',)
        """
        if isinstance(modules, ModuleCollection):
            return modules
        if isinstance(modules, Mapping) and not isinstance(modules, Zoo):
            return cls(chain.from_iterable(of_pair(*item) for item in modules.items()))
        return cls(_entries_of(modules, f"{PAIRS}; got {type(modules).__name__}."))

    @classmethod
    def of_task(
        cls, modules: "ModulesLike | Mapping[str, Mapping[str, ArrayLike]]", task: str
    ) -> "ModuleCollection":
        """Return modules for one of several tasks; cached features are given for each task.

        Parameters
        ----------
        modules : PretrainedModule, CombinedModule, Zoo, path, sequence, dict or ModuleCollection
            As for `of`, but a dict may hold features of several tasks ``{name: {task: features}}``.
        task : str
            Name of the task.

        Returns
        -------
        ModuleCollection
            Of the features of that task.

        Raises
        ------
        ModtoolsError
            As for `of`, or a module without features of the task.

        Examples
        --------
        >>> cached = {"raw": {"digits": np.ones((6, 3)), "letters": np.ones((8, 3))}}
        >>> ModuleCollection.of_task(cached, "letters").names
        ('raw',)
        """
        if not isinstance(modules, Mapping) or not any(map(is_by_task, modules.values())):
            return cls.of(modules)  # type: ignore[arg-type]  # no features of several tasks
        return cls.of({str(name): on_task(name, value, task) for name, value in modules.items()})

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __repr__(self) -> str:
        n_modules, n_networks = len(self), len(self.networks)
        shown = ", ".join(self.names[:3]) + (", ..." if n_modules > 3 else "")
        return (
            f"ModuleCollection({n_modules} module{'s' * (n_modules != 1)} of {n_networks} "
            f"network{'s' * (n_networks != 1)}: {shown})"
        )

    def __getitem__(self, name: str) -> Module:
        """Return the module of a name, or a network of the collection read at another layer."""
        name = str(name)
        if name in self._entries:
            return self._open([name])
        network, _, layer = name.partition("@")
        entries = [entry for entry in self._entries.values() if entry.network == network]
        entry = next((e for e in entries if not isinstance(e.source, Cached)), None)
        if entry is None:
            raise self._unknown(name)
        module = self._open(self.networks[self._network_of[entry.name]])
        return read_at(module, [layer]) if layer else module

    def _known(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return names, or raise if one is not in the collection."""
        names = tuple(map(str, names))
        unknown = next((name for name in names if name not in self._entries), None)
        if unknown is not None:
            raise self._unknown(unknown)
        return names

    def _unknown(self, name: str) -> UnknownModuleError:
        near = did_you_mean(name, self.names)
        return UnknownModuleError(
            f'there is no module "{name}"{near or "."} There are {", ".join(self.names)}.'
        )

    def check(self, *tasks: Task, **forward: Unpack[ForwardOptions]) -> None:
        """Raise, before anything runs, unless the modules can be read on a task, or on two.

        Parameters
        ----------
        *tasks : Task
            The task, or train and test.
        **forward
            device, precision, batch_size and cache, as in `extract`, where the caller has them.

        Raises
        ------
        ModtoolsError
            Networks and labels that came alone, cached features of another number of rows, options
            that no network can run with, or options for features alone, where nothing runs.
        """
        check_forward(runs=self.has_networks, **forward)
        self._check_lengths(self.names, tasks)
        if self.has_networks and not all(task.has_inputs for task in tasks):
            raise ModtoolsError(
                "networks read the inputs of a task, and labels alone have none: pass a Task, for "
                "example Task(inputs, labels)."
                if len(tasks) == 1
                else "networks read the inputs of tasks, and labels alone have none: pass Tasks, "
                "for example Task(inputs, labels)."
            )

    def _check_lengths(self, names: Iterable[str], tasks: Sequence[Task]) -> None:
        """Raise unless cached features are one array per task, one row per example."""
        for name in names:
            source = self._entries[name].source
            if isinstance(source, Cached):
                check_lengths(name, source.arrays, tasks)

    def check_one_network_a_name(self) -> None:
        """Raise if two different networks have the same name: their costs could not be added up."""
        namesakes: dict[str, list[Sequence[str]]] = {}
        for names in self.networks.values():
            entry = self._entries[names[0]]
            if not isinstance(entry.source, Cached):
                namesakes.setdefault(entry.network, []).append(names)
        for groups in namesakes.values():
            if len(groups) > 1:
                # Combining raises with the reason why they are not layers of one network.
                CombinedModule([p for names in groups for p in networks_of(self._open(names))])

    def loaded(self) -> Self:
        """Return the same modules with every network in memory, for repeated use.

        Returns
        -------
        ModuleCollection
            Each network of a zoo is loaded once.
        """
        held: dict[str, Given] = {}
        for network, names in self.networks.items():
            source = self._entries[names[0]].source
            if not isinstance(source, Cached):
                held[network] = Given(source.load())
        sources = {name: held.get(own) for name, own in self._network_of.items()}
        return type(self)(
            entry._replace(source=sources[entry.name] or entry.source)
            for entry in self._entries.values()
        )

    def combined(self, names: Sequence[str]) -> Module:
        """Return some modules combined into one, in the order given; a single one as it is.

        Parameters
        ----------
        names : sequence of str
            Names in the collection.

        Returns
        -------
        PretrainedModule or CombinedModule
            Each network is loaded once.

        Raises
        ------
        ModtoolsError
            An unknown name, or a module that was given as features.
        """
        opened: dict[str, Module] = {}
        for name in self._known(names):
            own = self._network_of[name]
            if own not in opened:
                opened[own] = self._open(
                    [other for other in names if self._network_of[other] == own]
                )
        found = [
            read_at(opened[self._network_of[name]], [self._entries[name].layer]) for name in names
        ]
        if len(found) == 1:
            return found[0]
        return CombinedModule([part for module in found for part in networks_of(module)])

    def features(
        self,
        task: Task,
        *,
        names: Iterable[str] | None = None,
        rows: NDArray[np.intp] | None = None,
        with_source: bool = True,
        timed: bool = False,
        **forward: Unpack[ForwardOptions],
    ) -> Iterator[tuple[str, NDArray[Any], ModuleFacts]]:
        """Yield the features of each module, with one forward pass per network.

        Parameters
        ----------
        task : Task
            Inputs of the networks; see `check`.
        names : iterable of str, optional
            Which modules; all of them by default.
        rows : ndarray of shape (n_rows,), optional
            Examples of the task to read; all of them by default.
        with_source : bool, default=True
            Whether to compute source probabilities.
        timed : bool, default=False
            Whether to measure the milliseconds per example of each module, while it is loaded.
        **forward
            device, precision, batch_size and cache, as in `extract`.

        Yields
        ------
        name : str
            Name of the module.
        features : ndarray of shape (n_rows, n_features)
            Its features.
        facts : ModuleFacts
            Its parameters, time and source probabilities.
        """
        wanted = self.names if names is None else self._known(names)
        self._check_lengths(wanted, (task,))
        part = task if rows is None or not self.has_networks else task.subset(rows)

        def read(module: Module) -> list[tuple[NDArray[Any], ModuleFacts]]:
            done = run_module(module, part, with_source=with_source, **forward)
            facts = facts_of(module, part if timed else None, forward)
            return [
                (
                    done.features[name],
                    known._replace(
                        source_probabilities=done.source_probabilities,
                        extraction_seconds=done.seconds,
                    ),
                )
                for name, known in zip(module.names, facts, strict=True)
            ]

        def recall(arrays: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ModuleFacts]:
            return arrays[0] if rows is None else arrays[0][rows], ModuleFacts()

        for name, (features, facts) in self._each(wanted, read, recall):
            yield name, features, facts

    def train_and_test(
        self,
        train: Task,
        test: Task,
        *,
        names: Iterable[str] | None = None,
        **forward: Unpack[ForwardOptions],
    ) -> Iterator[tuple[str, tuple[FloatArray, FloatArray]]]:
        """Yield the features of each module on train and test, one forward pass per network each.

        Parameters
        ----------
        train, test : Task
            Inputs of the networks; see `check`.
        names : iterable of str, optional
            Which modules; all of them by default.
        **forward
            device, precision, batch_size and cache, as in `extract`.

        Yields
        ------
        name : str
            Name of the module.
        features : tuple of (ndarray, ndarray)
            Its features on train and on test.
        """
        wanted = self.names if names is None else self._known(names)
        self._check_lengths(wanted, (train, test))

        def read(module: Module) -> list[tuple[FloatArray, FloatArray]]:
            done = [
                run_module(module, part, with_source=False, **forward) for part in (train, test)
            ]
            one, other = (extraction.features for extraction in done)
            return [(one[name], other[name]) for name in module.names]

        def recall(arrays: tuple[NDArray[Any], ...]) -> tuple[FloatArray, FloatArray]:
            return arrays[0], arrays[1]

        yield from self._each(wanted, read, recall)

    def identities(self, precision: str = "float32") -> dict[str, str]:
        """Return a digest that identifies the features of each module, for results kept on disk.

        Parameters
        ----------
        precision : str, default="float32"
            Precision of the forward passes.

        Returns
        -------
        dict of str to str
            A sha256 by name: of weights, code and settings, or of cached features.
        """
        found: dict[str, str] = {}
        for names in self.networks.values():
            sources = [self._entries[name].source for name in names]
            cached = [source for source in sources if isinstance(source, Cached)]
            if cached:
                digests = [array_digest(*source.arrays) for source in cached]
            else:
                digests = identities_of(self._open(names), precision)
            found |= zip(names, digests, strict=True)
        return {name: found[name] for name in self.names}

    def costs(
        self,
        cost: str | Mapping[str, float] = "parameters",
        task: Task | None = None,
        *,
        facts: Mapping[str, ModuleFacts] | None = None,
        **forward: Unpack[ForwardOptions],
    ) -> Costs:
        """Return the cost of each module.

        Parameters
        ----------
        cost : {"parameters", "milliseconds"} or dict, default="parameters"
            Parameters up to the layer, measured milliseconds per example, or numbers by name.
        task : Task, optional
            Inputs to measure time on.
        facts : mapping from str to ModuleFacts, optional
            The facts that `features` yielded for the modules to count; without them every network
            is opened.
        **forward
            How networks run; ``batch_size`` is part of the unit of time.

        Returns
        -------
        Costs
            The cost of each module, and of several together.

        Raises
        ------
        ModtoolsError
            A dict without a number for a module, or time without a task.

        Examples
        --------
        >>> from torch import nn
        >>> small = PretrainedModule(nn.Linear(4, 3), name="small")
        >>> ModuleCollection.of(small).costs().values
        {'small': 15.0}
        """
        cost = check_cost(cost)
        if isinstance(cost, Mapping):
            missing = [name for name in (facts or self.names) if name not in cost]
            if missing:
                raise ModtoolsError(
                    f'cost lacks a number for "{missing[0]}" ({len(missing)} such).'
                )
            return Costs("", cost)
        is_time = cost == "milliseconds"
        if facts is None:
            facts = self._all_facts(task, forward, timed=is_time)
        known = {n: own.milliseconds if is_time else own.n_parameters for n, own in facts.items()}
        values = {name: float(value) for name, value in known.items() if value is not None}
        batches = f", in batches of {forward.get('batch_size', 64)}" if is_time else ""
        return Costs(f"{COSTS[cost]}{batches}", values)

    def _all_facts(
        self, task: Task | None, forward: ForwardOptions, *, timed: bool
    ) -> dict[str, ModuleFacts]:
        """Open every network and return what is known without extracting features."""
        if timed and task is None:
            raise ModtoolsError('cost="milliseconds" is measured on a task; pass one.')
        found: dict[str, ModuleFacts] = {}
        for names in self.networks.values():
            if not isinstance(self._entries[names[0]].source, Cached):
                facts = facts_of(self._open(names), task if timed else None, forward)
                found |= zip(names, facts, strict=True)
        return found

    def _each(
        self,
        wanted: Sequence[str],
        read: Callable[[Module], list[Found]],
        recall: Callable[[tuple[NDArray[Any], ...]], Found],
    ) -> Iterator[tuple[str, Found]]:
        """Yield what is read of each module, in order; each network is opened once."""
        ahead: dict[str, Found] = {}
        asked = set(wanted)
        for name in wanted:
            source = self._entries[name].source
            if isinstance(source, Cached):
                yield name, recall(source.arrays)
                continue
            if name not in ahead:
                group = [n for n in self.networks[self._network_of[name]] if n in asked]
                ahead |= zip(group, read(self._open(group)), strict=True)
            yield name, ahead.pop(name)

    def _open(self, names: Sequence[str]) -> Module:
        """Return the network of some modules, read at their layers, or raise if there is none."""
        source = self._entries[names[0]].source
        if isinstance(source, Cached):
            raise ModtoolsError(
                f'"{names[0]}" was given as features, so there is no network to combine. Put '
                "features side by side with join(), and tell the output module "
                "blocks=selection.blocks."
            )
        return read_at(source.load(), [self._entries[name].layer for name in names])


def _entries_of(modules: Any, refusal: str) -> Iterator[Candidate]:
    """Yield the modules of one module, a zoo, a path, a collection or a list of these."""
    if isinstance(modules, PretrainedModule | CombinedModule):
        yield from of_module(modules)
    elif isinstance(modules, Zoo):
        yield from of_zoo(modules)
    elif isinstance(modules, str | os.PathLike):
        yield from of_zoo(open_zoo(modules))
    elif isinstance(modules, ModuleCollection):
        yield from modules._entries.values()
    elif isinstance(modules, Sequence) and not isinstance(modules, bytes):
        for place, part in enumerate(modules):
            yield from _entries_of(
                part,
                f"modules[{place}] is a {type(part).__name__}, not a PretrainedModule; pass cached "
                "features as a dict {name: features}.",
            )
    else:
        raise ModtoolsError(refusal)
