"""The baseline: one backward pass through the whole network."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from modtools.tasks import Task
from modtools.training._objective import CrossEntropy
from modtools.training._options import Options, Recipe, as_network, check_task
from modtools.training._result import TrainingResult, describe
from modtools.training._run import Run, Stage, check_trainable

__all__ = ["train_end_to_end"]


def train_end_to_end(
    network: nn.Module | Sequence[nn.Module],
    task: Task,
    *,
    epochs: int | None = None,
    max_seconds: float | None = None,
    recipe: Recipe | None = None,
    preprocess: Callable[[Any], Tensor] | None = None,
    validation: Task | None = None,
    patience: int | None = None,
    device: str | torch.device | None = None,
    precision: Literal["float32", "bfloat16", "auto"] = "float32",
    checkpoint: str | os.PathLike[str] | None = None,
    keep_checkpoint: bool = False,
    seed: int = 0,
) -> TrainingResult:
    """Train a network end to end with cross-entropy: the baseline of modular training.

    Batches, optimiser, schedules, augmentation, checkpoints and budget are those of
    `train_modular`, so that the two are compared at equal cost.

    Parameters
    ----------
    network : torch.nn.Module or list of torch.nn.Module
        Any network with one output a class. It is trained in place.
    task : Task
        Labelled rows to learn from; classification.
    epochs : int, optional
        10 where `max_seconds` is not given either.
    max_seconds : float, optional
        Wall-clock budget in seconds; the learning rate reaches its end with it.
    recipe, preprocess, validation, patience
        As in `train_modular`.
    device, precision, checkpoint, keep_checkpoint, seed
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
    task, network = check_task(task), as_network(network)
    options = Options.checked(
        network=network,
        epochs=epochs,
        max_seconds=max_seconds,
        recipe=recipe,
        preprocess=preprocess,
        validation=validation,
        patience=patience,
        device=device,
        precision=precision,
        checkpoint=checkpoint,
        keep_checkpoint=keep_checkpoint,
        seed=seed,
    )
    check_trainable("network", network)
    run = Run(network, task, options)
    settings = describe(run, method="end_to_end", proxy=[], at=[])
    whole = ("network", network, CrossEntropy())
    trainer = run.train([lambda: Stage([whole], [], run.codes, max_seconds)], settings)
    blocks = list(network._modules)
    is_sequence = isinstance(network, nn.Sequential) and len(blocks) > 1
    taps = [blocks[-2]] if is_sequence else [None]
    return TrainingResult(run, trainer, settings, taps, labels_needed="classes")
