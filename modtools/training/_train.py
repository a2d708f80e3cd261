"""Training of a network: module by module with proxy objectives, or end to end."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, Final, Literal, Unpack

import torch
from torch import Tensor, nn

from modtools._checks import check_choice
from modtools.exceptions import ModtoolsError
from modtools.proxies import Pairs
from modtools.tasks import Task
from modtools.training._objective import (
    CrossEntropy,
    ProxyChoice,
    ProxyObjective,
    make_objective,
    name_of,
)
from modtools.training._options import (
    GivenOptions,
    Options,
    as_network,
    check_task,
    takes_options,
)
from modtools.training._result import TrainingResult, describe
from modtools.training._split import split
from modtools.training._trainer import Phase, Trainer

__all__ = ["train_end_to_end", "train_modular"]

_OUTPUT_SHARE: Final = 0.01  # of the time, when its features are there: the module is small
_LARGEST_SHARE: Final = 0.5  # with the time for its features
_SLOWER: Final = 1.1  # than one batch promised


@takes_options
def train_modular(
    network: nn.Module | Sequence[nn.Module],
    task: Task,
    *,
    proxy: ProxyChoice | Sequence[ProxyChoice] = "supcon",
    schedule: Literal["sequential", "simultaneous"] = "sequential",
    at: int | Sequence[str] = 2,
    pairs: Pairs | None = None,
    **options: Unpack[GivenOptions],
) -> TrainingResult:
    """Train a network module by module, with no backward pass between modules.

    The network is cut into hidden modules and an output module. Each hidden module minimises a
    proxy objective (a local loss): one after the other, each frozen before the next begins
    (``"sequential"``, strictly modular), or in one shared forward pass whose gradients stop between
    modules (``"simultaneous"``, weakly modular). The output module is trained last, with
    cross-entropy on frozen features. Projections and heads of the objectives are discarded.

    Parameters
    ----------
    network : torch.nn.Sequential or list of torch.nn.Module
        Blocks that run one after the other, the output module last, with one output per class. It
        is trained in place.
    task : Task
        Labelled training examples; classification.
    proxy : str, Proxy, callable or sequence of these, default="supcon"
        Proxy objective of all hidden modules, or one for each. A function takes the features
        (n_samples, n_features) and the class codes of a batch, and returns a loss.
    schedule : {"sequential", "simultaneous"}, default="sequential"
        Whether hidden modules are trained one after the other or at the same time.
    at : int or sequence of str, default=2
        Number of modules, the output module included, or names of the blocks after which to cut.
    pairs : Pairs, optional
        Pairs of examples known to be of the same class or of different classes. With these, hidden
        modules use no class label; only the output module does.
    epochs : int, optional
        Epochs of each phase: each hidden module in the sequential schedule, all of them together in
        the simultaneous one, and the output module (at least 300 steps). 10 if `max_seconds` is
        not given either.
    max_seconds : float, optional
        Wall-clock time of the whole training, in seconds; learning rates follow it. The output
        module gets 1 % of it plus the time to compute its features once, at most half; hidden
        modules share the rest equally. A hidden module takes a step at least, and the output module
        300 once its features are computed: a time too short for that is exceeded.
    recipe : Recipe, optional
        Batch size, learning rate, augmentation and so on.
    preprocess : callable, optional
        Maps a batch of the task to a tensor. By default uint8 images are scaled and normalised by
        the mean and standard deviation of the task, other arrays are used as they are.
    validation : Task, optional
        Held-out examples, measured after every epoch; nothing is trained on them.
    patience : int, optional
        Early stopping: ends a phase after so many epochs without a better validation loss, and
        restores the best weights.
    device : str or torch.device, optional
        Device to train on; by default that of the network.
    precision : {"float32", "bfloat16", "auto"}, default="float32"
        Precision of forward passes (autocast); losses and weights stay float32. ``"auto"`` measures
        which is faster, so that two runs may differ.
    checkpoint : path-like, optional
        File for the state of the run, written every 20 seconds and at Ctrl-C. If it exists the run
        resumes from it, to the same result; it is removed at the end.
    keep_checkpoint : bool, default=False
        Whether the file stays and holds the trained network: the same call then returns it at once.
        Delete it when the result is saved.
    seed : int, default=0
        Seed of order, augmentation and heads. The initial weights are those of `network`.
    callbacks : sequence of Callback, default=()
        Called at the start and end of each phase and after every step and epoch: loggers,
        schedulers, your own early stopping (see `modtools.training.Callback`).

    Returns
    -------
    TrainingResult
        The network, its hidden modules ready to be scored or saved, and the history.

    Raises
    ------
    ModtoolsError
        An unknown proxy or cut point, a network that cannot be cut, labels of the wrong kind, a
        checkpoint of other settings, or a loss that is not finite (which module, step and learning
        rate; the network then has its last good weights).

    References
    ----------
    Duan, Yu & Principe, "Modularizing Deep Learning via Pairwise Learning With Kernels", IEEE
    TNNLS 2022; Duan & Principe, "Training Deep Architectures Without End-to-End Backpropagation",
    IEEE CIM 2022.

    Examples
    --------
    >>> import modtools as mt
    >>> from modtools.training import networks
    >>> train, test = mt.load_task("digits").split(seed=0)
    >>> _ = torch.manual_seed(0)
    >>> result = train_modular(networks.multilayer_perceptron([64, 64, 10]), train, epochs=3)
    >>> result.labels_needed, result.accuracy(test) > 0.8
    ('pairs', True)
    """
    check_choice(schedule, ["sequential", "simultaneous"], name="schedule")
    task, network = check_task(task), as_network(network)
    trainer = Trainer(network, task, Options(**options))
    plan = _Plan(trainer, split(network, at=at, example=trainer.example), proxy, pairs)
    settings = {
        **describe(trainer, schedule=schedule, proxy=plan.proxy_names, at=plan.names[:-1]),
        "pairs": None if pairs is None else _describe_pairs(pairs),
    }
    trainer.train(plan.phases(schedule), settings)
    return TrainingResult(trainer, settings, plan.names[:-1], labels_needed=plan.labels_needed)


@takes_options
def train_end_to_end(
    network: nn.Module | Sequence[nn.Module], task: Task, **options: Unpack[GivenOptions]
) -> TrainingResult:
    """Train a network end to end with cross-entropy: the baseline of modular training.

    Batches, optimiser, schedules, augmentation, checkpoints and time limit are those of
    `train_modular`, so that the two are compared at equal cost.

    Parameters
    ----------
    network : torch.nn.Module or list of torch.nn.Module
        Any network with one output per class. It is trained in place.
    task : Task
        Labelled training examples; classification.
    epochs : int, optional
        10 if `max_seconds` is not given either.
    max_seconds : float, optional
        Wall-clock time in seconds; the learning rate follows it.
    recipe, preprocess, validation, patience
        As in `train_modular`.
    device, precision, checkpoint, keep_checkpoint, seed, callbacks
        As in `train_modular`.

    Returns
    -------
    TrainingResult
        The network, its hidden part ready to be scored or saved, and the history.

    Raises
    ------
    ModtoolsError
        As `train_modular`.

    Examples
    --------
    >>> import modtools as mt
    >>> from modtools.training import networks
    >>> train, test = mt.load_task("digits").split(seed=0)
    >>> _ = torch.manual_seed(0)
    >>> result = train_end_to_end(networks.multilayer_perceptron([64, 64, 10]), train, epochs=3)
    >>> result.labels_needed, result.accuracy(test) > 0.8
    ('classes', True)
    """
    task, network, checked = check_task(task), as_network(network), Options(**options)
    _check_trainable("the network", network)
    trainer = Trainer(network, task, checked)
    settings = describe(trainer, schedule="end_to_end", proxy=[], at=[])
    whole = [("network", network, CrossEntropy())]
    deadline = checked.max_seconds
    trainer.train(
        [lambda number: trainer.phase(number, whole, trainer.codes, deadline=deadline)], settings
    )
    blocks = list(network._modules)
    is_sequence = isinstance(network, nn.Sequential) and len(blocks) > 1
    layers = [blocks[-2]] if is_sequence else [None]
    return TrainingResult(trainer, settings, layers, labels_needed="classes")


class _Plan:
    """The phases of modular training: modules, objectives and order."""

    def __init__(
        self,
        trainer: Trainer,
        modules: Sequence[nn.Sequential],
        proxy: ProxyChoice | Sequence[ProxyChoice],
        pairs: Pairs | None,
    ) -> None:
        self._trainer, self._modules, self._pairs = trainer, modules, pairs
        self.names = [list(module._modules)[-1] for module in modules]
        for name, module in zip(self.names, modules, strict=True):
            _check_trainable(f"module {name}", module, way_out=" Cut the network elsewhere.")
        self._proxies = _one_each(proxy, len(modules) - 1)
        self._shapes = _shapes(modules[:-1], trainer.example)
        with torch.random.fork_rng(devices=[]):  # for the weights of heads
            needs = [self._objective(place).required_labels for place in range(len(modules) - 1)]
        self.proxy_names = [name_of(one) for one in self._proxies]
        self.labels_needed = max(needs, key=["none", "pairs", "classes"].index)
        if pairs is not None:
            _check_pairs(pairs, len(trainer.task), dict(zip(self.proxy_names, needs, strict=True)))

    def phases(self, schedule: str) -> list[Callable[[int], Phase]]:
        """Return the phases in order; each is made when it begins."""
        n_hidden = len(self._modules) - 1
        groups = [[place] for place in range(n_hidden)]
        if schedule == "simultaneous":
            groups = [list(range(n_hidden))]
        deadlines = self._deadlines(len(groups))
        timed = zip(groups, deadlines, strict=True)
        return [*(partial(self._hidden, *one) for one in timed), self._output]

    def _deadlines(self, n_phases: int) -> list[float | None]:
        """Divide the time among the hidden phases, after the time for the output module."""
        seconds = self._trainer.options.max_seconds
        if seconds is None:
            return [None] * n_phases
        needed = _SLOWER * self._trainer.seconds_to_read() + _OUTPUT_SHARE * seconds
        left = seconds - min(needed, _LARGEST_SHARE * seconds)
        return [left * (k + 1) / n_phases for k in range(n_phases)]

    def _hidden(self, places: list[int], deadline: float | None, number: int) -> Phase:
        parts = [(self.names[k], self._modules[k], self._objective(k)) for k in places]
        labels = self._trainer.codes if self._pairs is None else self._pairs
        prefix = self._modules[: places[0]]
        return self._trainer.phase(number, parts, labels, deadline=deadline, prefix=prefix)

    def _output(self, number: int) -> Phase:
        trainer = self._trainer
        return trainer.phase(
            number,
            [(self.names[-1], self._modules[-1], CrossEntropy())],
            trainer.codes,
            deadline=trainer.options.max_seconds,
            prefix=self._modules[:-1],
            is_output=True,
        )

    def _objective(self, place: int) -> ProxyObjective:
        n_classes = len(self._trainer.task.classes)
        return make_objective(self._proxies[place], self._shapes[place], n_classes)


def _check_trainable(what: str, module: nn.Module, *, way_out: str = "") -> None:
    """Raise, before anything is trained, if a module has nothing to train."""
    if not any(p.requires_grad for p in module.parameters()):
        raise ModtoolsError(
            f"{what} has no parameters to train: there are none, or all are frozen.{way_out}"
        )


def _check_pairs(pairs: Any, n_rows: int, needs: Mapping[str, str]) -> None:
    """Raise unless pairs join examples of the task and every proxy can use them."""
    if not isinstance(pairs, Pairs) or not len(pairs):
        raise ModtoolsError(f"pairs must be Pairs(i, j, same), one pair or more; got {pairs!r}.")
    if pairs.n_rows > n_rows:
        raise ModtoolsError(
            f"pairs must join examples of the task, 0..{n_rows - 1}; got {pairs.n_rows - 1}."
        )
    _check_consistent(pairs)
    for name, needed in needs.items():
        if needed == "classes":
            raise ModtoolsError(
                f"pairs= cannot train {name}: it needs the class of each example. Leave pairs out, "
                'or use a proxy that needs only pairs, such as "supcon".'
            )


def _check_consistent(pairs: Pairs) -> None:
    """Raise if two examples are given both as of the same class and of different classes.

    A batch notices this too, but only the one that contains them, by its own row numbers.
    """
    low, high = torch.minimum(pairs.i, pairs.j), torch.maximum(pairs.i, pairs.j)
    keys, order = torch.sort(low * pairs.n_rows + high)
    clash = (keys[1:] == keys[:-1]) & (pairs.same[order][1:] != pairs.same[order][:-1])
    if bool(clash.any()):
        i, j = divmod(int(keys[1:][clash][0]), pairs.n_rows)
        raise ModtoolsError(
            f"pairs must not contradict each other: examples {i} and {j} are given as of the same "
            "class and of different classes."
        )


def _describe_pairs(pairs: Pairs) -> str:
    """Return number and hash of the pairs, so that a run cannot resume with other pairs."""
    columns = torch.stack([pairs.i, pairs.j, pairs.same.long()]).cpu().numpy()
    return f"{len(pairs)} pairs, sha256 {sha256(columns.tobytes()).hexdigest()[:16]}"


def _one_each(proxy: Any, n_hidden: int) -> list[ProxyChoice]:
    is_one = isinstance(proxy, str) or (callable(proxy) and not isinstance(proxy, type))
    if not is_one and not isinstance(proxy, Sequence):
        raise ModtoolsError(
            'proxy must be a name, as "supcon", a Proxy, a function, or a list of these; got '
            f"{proxy!r}."
        )
    listed = [proxy] * n_hidden if is_one else list(proxy)
    if len(listed) != n_hidden:
        each = f"or one for each of the {n_hidden} hidden modules"
        why = each if n_hidden > 1 else "for there is 1 hidden module"
        raise ModtoolsError(f"proxy must be one objective, {why}; got {len(listed)}.")
    return listed


@torch.no_grad()
def _shapes(modules: Sequence[nn.Module], example: Tensor) -> list[tuple[int, ...]]:
    """Return the shape of each module's output for one example."""
    features, shapes = example[:2], []
    for module in modules:
        features = module.eval()(features)
        if not isinstance(features, Tensor):
            raise ModtoolsError(
                f"each module must return a tensor; one returns {type(features).__name__}. Cut the "
                "network elsewhere."
            )
        shapes.append(tuple(features.shape[1:]))
    return shapes
