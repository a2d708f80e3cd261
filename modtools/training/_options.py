"""What both ways of training are asked for, checked once at the public door."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modtools._checks import check_integer, check_positive
from modtools.exceptions import ModtoolsError
from modtools.modules import check_device
from modtools.tasks import Task
from modtools.training._checkpoint import check_checkpoint_place
from modtools.training._precision import check_precision
from modtools.training._recipe import Recipe

__all__ = ["Options", "as_network", "check_task"]

_EPOCHS = 10


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options that `train_modular` and `train_end_to_end` share; they document them."""

    epochs: int | None
    max_seconds: float | None
    recipe: Recipe
    preprocess: Callable[[Any], Tensor] | None
    validation: Task | None
    patience: int | None
    device: torch.device
    precision: str
    checkpoint: Path | None
    keep_checkpoint: bool
    seed: int

    @classmethod
    def checked(
        cls,
        *,
        network: nn.Module,
        epochs: int | None,
        max_seconds: float | None,
        recipe: Recipe | None,
        patience: int | None,
        validation: Task | None,
        device: str | torch.device | None,
        precision: str,
        checkpoint: str | os.PathLike[str] | None,
        keep_checkpoint: bool,
        seed: int,
        preprocess: Callable[[Any], Tensor] | None,
    ) -> "Options":
        """Return the options, or raise with the one that is wrong."""
        if epochs is None and max_seconds is None:
            epochs = _EPOCHS
        _check_validation(validation, patience)
        if recipe is not None and not isinstance(recipe, Recipe):
            raise ModtoolsError(f"recipe must be a Recipe; got {type(recipe).__name__}.")
        return cls(
            epochs=None if epochs is None else check_integer(epochs, name="epochs"),
            max_seconds=None
            if max_seconds is None
            else check_positive(max_seconds, name="max_seconds"),
            recipe=recipe or Recipe(),
            preprocess=preprocess,
            validation=validation,
            patience=None if patience is None else check_integer(patience, name="patience"),
            device=check_device(device, network),
            precision=check_precision(precision),
            checkpoint=None if checkpoint is None else check_checkpoint_place(checkpoint),
            keep_checkpoint=keep_checkpoint,
            seed=check_integer(seed, name="seed", minimum=0),
        )


def _check_validation(validation: Task | None, patience: int | None) -> None:
    if patience is not None and validation is None:
        raise ModtoolsError(
            "patience= counts epochs without a better validation loss; give validation=, a task "
            "held out from training."
        )
    if not isinstance(validation, Task | None):
        raise ModtoolsError(f"validation must be a Task; got {type(validation).__name__}.")


def check_task(task: Any) -> Task:
    """Return a task that networks can be trained on: classes, at least two of them."""
    if not isinstance(task, Task):
        raise ModtoolsError(
            f"task must be a modtools Task; got {type(task).__name__}. Make one with "
            "Task(inputs, labels) or load_task."
        )
    if task.kind != "classification":
        raise ModtoolsError(
            f"training needs one class label a row; the labels of task {task.name} are of kind "
            f"{task.kind}."
        )
    present = int((task.encoded.counts() > 0).sum())
    if present < 2:
        raise ModtoolsError(
            f"task {task.name} has rows of {present} class, and nothing can be told apart in it: "
            "proxy objectives need pairs of different classes. Give rows of at least 2 classes."
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
    return network
