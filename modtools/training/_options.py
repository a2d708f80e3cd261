"""Options of modular and end-to-end training: limits, recipe, precision."""

import inspect
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import wraps
from typing import Any, Final, Literal, TypedDict, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import AdamW

from modtools._checks import (
    as_real,
    check_boolean,
    check_choice,
    check_integer,
    check_positive,
    did_you_mean,
)
from modtools.exceptions import ModtoolsError
from modtools.tasks import Task
from modtools.training._batches import Augmentation
from modtools.training._callbacks import Callback
from modtools.training._checkpoint import check_checkpoint_place

__all__ = [
    "GivenOptions",
    "Options",
    "Recipe",
    "as_network",
    "autocast",
    "check_task",
    "measured_precision",
    "takes_options",
]

Trains = TypeVar("Trains", bound=Callable[..., Any])

_START: Final = 1 / 25  # of the peak, as in torch's OneCycleLR
_EPOCHS = 10
_CHOICES: Final = ("float32", "bfloat16", "auto")
_ROUNDS: Final = 4
_LONG_ENOUGH: Final = 3.0  # seconds; slower steps are timed once each
_WORTHWHILE: Final = 0.9  # bfloat16 is less precise, so it must save a tenth of the time


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings that every learner of a training run shares.

    The optimiser is AdamW. The learning rate depends on the fraction of the epochs, or of the time,
    that has passed, so that runs of any length end at rate zero.

    Parameters
    ----------
    batch_size : int, default=128
        Examples per training step.
    learning_rate : float, default=3e-3
        Peak learning rate.
    weight_decay : float, default=0.05
        Decoupled weight decay of matrices and kernels; none for biases and norms.
    betas : tuple of float, default=(0.9, 0.98)
        Decay rates of the moment estimates of AdamW.
    curve : {"onecycle", "constant"}, default="onecycle"
        Linear warm-up from 1/25 of the peak and cosine decay to zero, or the peak throughout.
    warmup : float, default=0.2
        Fraction of the run that is the warm-up of ``"onecycle"``.
    augmentation : Augmentation, optional
        Augmentation of each batch of images; none by default.

    Examples
    --------
    >>> recipe = Recipe(learning_rate=0.01, augmentation=Augmentation(shift=1))
    >>> [round(recipe.learning_rate_at(progress), 4) for progress in (0, 0.2, 0.6, 1)]
    [0.0004, 0.01, 0.005, 0.0]
    """

    batch_size: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    curve: Literal["onecycle", "constant"] = "onecycle"
    warmup: float = 0.2
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        check_choice(self.curve, ["onecycle", "constant"], name="curve")
        if not isinstance(self.betas, Sequence) or len(self.betas) != 2:
            raise ModtoolsError(f"betas must be two numbers; got {self.betas!r}.")
        if not isinstance(self.augmentation, Augmentation | None):
            raise ModtoolsError(
                f"augmentation must be an Augmentation or None; got {self.augmentation!r}."
            )
        plain = {  # numpy numbers become Python's, so that the settings are JSON
            "batch_size": check_integer(self.batch_size, name="batch_size"),
            "learning_rate": check_positive(self.learning_rate, name="learning_rate"),
            "weight_decay": _at_least_zero(self.weight_decay, name="weight_decay"),
            "betas": tuple(_at_least_zero(beta, name="betas", below=1) for beta in self.betas),
            "warmup": _at_least_zero(self.warmup, name="warmup", below=1),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def learning_rate_at(self, progress: float) -> float:
        """Return the learning rate after a fraction of the run.

        Parameters
        ----------
        progress : float
            Fraction of the run that has passed; values are clipped to [0, 1].

        Returns
        -------
        float
            The learning rate, 0 at the end of a one-cycle curve.
        """
        if self.curve == "constant":
            return self.learning_rate
        progress = min(max(progress, 0.0), 1.0)
        if progress < self.warmup:
            return self.learning_rate * (_START + (1 - _START) * progress / self.warmup)
        angle = math.pi * (progress - self.warmup) / (1 - self.warmup)
        return self.learning_rate * (1 + math.cos(angle)) / 2

    def optimizer(self, parameters: Iterable[Tensor]) -> AdamW:
        """Return AdamW for the parameters of one learner, at the peak of the learning rate.

        Parameters
        ----------
        parameters : iterable of Tensor
            Parameters to train; only tensors with more than one axis are decayed.

        Returns
        -------
        AdamW
            One group with weight decay, then one without; an empty group is left out.
        """
        weights: list[Tensor] = []
        others: list[Tensor] = []
        for parameter in parameters:
            (weights if parameter.ndim > 1 else others).append(parameter)
        if not weights + others:
            raise ModtoolsError("there is nothing to train: the module has no parameters.")
        groups = [
            {"params": weights, "weight_decay": self.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        filled = [group for group in groups if group["params"]]
        return AdamW(filled, lr=self.learning_rate, betas=self.betas)

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON, equal after writing and reading.

        Returns
        -------
        dict
            Settings by name; the augmentation as a dict of its own, or None.
        """
        return {**asdict(self), "betas": list(self.betas)}


def _at_least_zero(value: Any, *, name: str, below: float = math.inf) -> float:
    """Return a number of [0, below) as a float."""
    if not 0 <= as_real(value) < below:
        raise ModtoolsError(f"{name} must lie in [0, {below:g}); got {value!r}.")
    return float(value)


class GivenOptions(TypedDict, total=False):
    """The keyword arguments that `train_modular` and `train_end_to_end` share."""

    epochs: int | None
    max_seconds: float | None
    recipe: Recipe | None
    preprocess: Callable[[Any], Tensor] | None
    validation: Task | None
    patience: int | None
    device: str | torch.device | None
    precision: Literal["float32", "bfloat16", "auto"]
    checkpoint: str | os.PathLike[str] | None
    keep_checkpoint: bool
    seed: int
    callbacks: Sequence[Callback]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The same with defaults, checked once; `train_modular` documents them."""

    epochs: int | None = None
    max_seconds: float | None = None
    recipe: Recipe | None = None
    preprocess: Callable[[Any], Tensor] | None = None
    validation: Task | None = None
    patience: int | None = None
    device: str | torch.device | None = None
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    checkpoint: str | os.PathLike[str] | None = None
    keep_checkpoint: bool = False
    seed: int = 0
    callbacks: Sequence[Callback] = ()

    def __post_init__(self) -> None:
        self._check_kinds()
        epochs, seconds, place = self.epochs, self.max_seconds, self.checkpoint
        if epochs is None and seconds is None:
            epochs = _EPOCHS
        checked = {
            "epochs": None if epochs is None else check_integer(epochs, name="epochs"),
            "max_seconds": None if seconds is None else check_positive(seconds, name="max_seconds"),
            "precision": check_choice(self.precision, _CHOICES, name="precision"),
            "checkpoint": None if place is None else check_checkpoint_place(place),
            "seed": check_integer(self.seed, name="seed", minimum=0),
        }
        if self.patience is not None:
            checked["patience"] = check_integer(self.patience, name="patience")
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def _check_kinds(self) -> None:
        if self.patience is not None and self.validation is None:
            raise ModtoolsError(
                "patience= counts epochs without a better validation loss; give validation=, a "
                "task held out from training."
            )
        if not isinstance(self.validation, Task | None):
            raise ModtoolsError(f"validation must be a Task; got {type(self.validation).__name__}.")
        if self.preprocess is not None and not callable(self.preprocess):
            raise ModtoolsError(
                "preprocess must be a function from a batch of inputs to a tensor; got "
                f"{self.preprocess!r}."
            )
        if check_boolean(self.keep_checkpoint, name="keep_checkpoint") and self.checkpoint is None:
            raise ModtoolsError("keep_checkpoint=True needs checkpoint=, the file that stays.")
        if not isinstance(self.recipe, Recipe | None):
            raise ModtoolsError(f"recipe must be a Recipe; got {type(self.recipe).__name__}.")
        if not isinstance(self.callbacks, Sequence):
            raise ModtoolsError(f"callbacks must be a list; got {type(self.callbacks).__name__}.")
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                raise ModtoolsError(
                    "callbacks must be objects of subclasses of modtools.training.Callback; got "
                    f"{callback!r}."
                )


def takes_options(function: Trains) -> Trains:
    """Replace ``**options`` in the signature of a function by the options themselves.

    >>> @takes_options
    ... def train(network, **options): ...
    >>> list(inspect.signature(train).parameters)[:3]
    ['network', 'epochs', 'max_seconds']
    """
    signature = inspect.signature(function)
    own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    shown = [*own, *inspect.signature(Options).parameters.values()]
    names = [one.name for one in shown]

    @wraps(function)
    def train(*given: Any, **options: Any) -> Any:
        for name in options:
            if name not in names:
                hint = did_you_mean(name, names)
                raise TypeError(f"{function.__name__}() has no argument {name!r}{hint}")
        return function(*given, **options)

    train.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
    return cast(Trains, train)


def check_task(task: Any) -> Task:
    """Return a task that networks can be trained on: classes, at least two of them."""
    if not isinstance(task, Task):
        raise ModtoolsError(
            f"task must be a modtools Task; got {type(task).__name__}. Make one with "
            "Task(inputs, labels) or load_task."
        )
    if task.kind != "classification":
        raise ModtoolsError(
            f"training needs one class label per example; the labels of task {task.name} are of "
            f"kind {task.kind}."
        )
    present = int((task.encoded.counts() > 0).sum())
    if present < 2:
        raise ModtoolsError(
            f"task {task.name} has examples of {present} class only: "
            "proxy objectives need pairs of different classes. Give examples of at least 2 classes."
        )
    return task


def as_network(network: Any) -> nn.Module:
    """Return the network; a list of blocks becomes a sequence of them."""
    if isinstance(network, list | tuple) and all(isinstance(b, nn.Module) for b in network):
        return nn.Sequential(*network)
    if not isinstance(network, nn.Module):
        raise ModtoolsError(
            f"network must be a torch.nn.Module or a list of blocks; got {type(network).__name__}."
        )
    if any(is_lazy(parameter) for parameter in network.parameters()):
        raise ModtoolsError(
            "the network has layers without weights yet (such as LazyLinear); run it on one batch "
            "first."
        )
    return network


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context for a forward pass; parameters and optimiser states stay float32.

    In float32 it switches off a surrounding autocast, so that numbers can be compared.

    >>> with autocast(torch.device("cpu"), "bfloat16"):
    ...     torch.nn.Linear(2, 3)(torch.ones(1, 2)).dtype
    torch.bfloat16
    """
    bfloat16 = precision == "bfloat16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16)


def measured_precision(step: Callable[[str], None]) -> str:
    """Return the precision in which a step is faster; float32 unless bfloat16 saves a tenth.

    Each is timed a few times in turn and judged by its best time, so that neither the slow first
    call nor a busy moment decides.

    Parameters
    ----------
    step : callable
        Called with ``"float32"`` or ``"bfloat16"``: one forward and backward pass that does not
        change the parameters.

    Returns
    -------
    {"float32", "bfloat16"}
        The precision to train in.

    Examples
    --------
    >>> measured_precision(lambda precision: time.sleep(0.02 if precision == "float32" else 0))
    'bfloat16'
    """
    best = {"float32": float("inf"), "bfloat16": float("inf")}
    begin = time.perf_counter()
    for _ in range(_ROUNDS):
        for precision, least in best.items():
            best[precision] = min(least, _seconds(step, precision))
        if time.perf_counter() - begin > _LONG_ENOUGH:
            break
    return "bfloat16" if best["bfloat16"] < _WORTHWHILE * best["float32"] else "float32"


def _seconds(step: Callable[[str], None], precision: str) -> float:
    """Return how long one step takes, on a GPU until its work is done."""
    begin = time.perf_counter()
    step(precision)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
    return time.perf_counter() - begin
