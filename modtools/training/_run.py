"""From stages to a trained network: order, time, checkpoints, clean stops."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from modtools.exceptions import ModtoolsError
from modtools.proxies import Pairs
from modtools.tasks import Task
from modtools.training._batches import (
    CachedSource,
    FrozenSource,
    Source,
    TaskSource,
    default_preprocess,
    derive_seed,
)
from modtools.training._checkpoint import read_checkpoint, remove_checkpoint, write_checkpoint
from modtools.training._held_out import HeldOut, codes_of
from modtools.training._interrupt import Interrupt
from modtools.training._loop import Learner, Phase, Trainer
from modtools.training._objective import Objective
from modtools.training._options import Options
from modtools.training._precision import autocast, measured_precision
from modtools.training._recipe import Recipe

__all__ = ["Run", "Stage"]

_HEADS: Final = 2  # what a derived seed is for, beside those of the loop
_OUTPUT_RATE: Final = 5.0  # times the learning rate of the recipe: features are of length 1
_OUTPUT_STEPS: Final = 300


@dataclass(frozen=True)
class Stage:
    """What one phase trains.

    Attributes
    ----------
    parts : sequence of (str, nn.Module, Objective)
        Name, module and objective of each learner, in the order of the forward pass.
    prefix : sequence of nn.Module
        The modules before, frozen.
    labels : Tensor or Pairs
        What the objectives are told of the rows.
    share : float
        Share of `max_seconds` at which the phase ends, counted from the start of the run.
    is_output : bool
        Whether this is an output module on frozen features: it needs neither augmentation nor small
        steps.
    """

    parts: Sequence[tuple[str, nn.Module, Objective]]
    prefix: Sequence[nn.Module]
    labels: Tensor | Pairs
    share: float
    is_output: bool = False


class Run:
    """One training run of a network on a task.

    Parameters
    ----------
    network : torch.nn.Module
        Trained in place.
    task : Task
        What it learns from.
    options : Options
        The checked options.
    """

    def __init__(self, network: nn.Module, task: Task, options: Options) -> None:
        self.network, self.task, self.options = network.to(options.device), task, options
        self.preprocess = options.preprocess or default_preprocess(task)
        self.codes = torch.as_tensor(codes_of(task, task.classes))
        rows = np.arange(min(len(task), options.recipe.batch_size))
        self.example = self._source(task).batch(rows).inputs
        self._check_outputs()

    def _check_outputs(self) -> None:
        """Raise unless the network reads the task's inputs and has an output for each class."""
        self.network.eval()
        try:
            with torch.no_grad():
                outputs = self.network(self.example[:2])
        except (RuntimeError, ValueError, IndexError) as error:
            raise ModtoolsError(
                f"the network cannot read inputs of shape {tuple(self.example.shape[1:])}: "
                f"{str(error).splitlines()[0]}"
            ) from error
        n_classes = len(self.task.classes)
        if outputs.ndim != 2 or outputs.shape[1] != n_classes:
            raise ModtoolsError(
                f"the network must return one number a class, (n_samples, {n_classes}) for task "
                f"{self.task.name}; it returns {tuple(outputs.shape)} for 2 rows. Build it with "
                f"n_classes={n_classes}."
            )

    def train(self, stages: Sequence[Callable[[], Stage]], settings: dict[str, Any]) -> Trainer:
        """Train the stages in order, or what a checkpoint left of them; return the trainer."""
        options, path = self.options, self.options.checkpoint
        state = None if path is None else read_checkpoint(path, settings, options.device)
        trainer = Trainer(
            self.network,
            n_rows=len(self.task),
            device=options.device,
            precision=self._precision() if state is None else state["precision"],
            seed=options.seed,
            save=None if path is None else partial(write_checkpoint, path, settings),
        )
        if state is not None:
            trainer.resume(state)
        reached = 0 if state is None else state["phase"]
        cuda = [options.device] if options.device.type == "cuda" else []
        with torch.random.fork_rng(cuda), Interrupt(self._advice()) as interrupt:
            for number, make_stage in enumerate(stages[reached:], start=reached):
                torch.manual_seed(derive_seed(options.seed, number, _HEADS))
                trainer.run(self._phase(number, make_stage()), interrupt, state)
                state = None
        self.network.eval()
        if path is not None:
            remove_checkpoint(path)
        return trainer

    def _advice(self) -> str:
        path = self.options.checkpoint
        if path is None:
            return "training stopped; nothing was kept (checkpoint= makes a run resumable)."
        return f"training stopped; the same call goes on from the checkpoint {path}."

    def _precision(self) -> str:
        """Return the precision to train in, measured on a copy where that is asked for."""
        if self.options.precision != "auto":
            return self.options.precision
        network = copy.deepcopy(self.network).train()

        def step(precision: str) -> None:
            with autocast(self.options.device, precision):
                outputs = network(self.example)
            outputs.float().square().mean().backward()

        return measured_precision(step)

    def _source(self, task: Task, prefix: Sequence[nn.Module] = (), **how: Any) -> Source:
        source: Source = TaskSource(task, self.preprocess, device=self.options.device, **how)
        return FrozenSource(source, nn.Sequential(*prefix).eval()) if prefix else source

    def _phase(self, number: int, stage: Stage) -> Phase:
        options, recipe = self.options, self.options.recipe
        n_epochs = options.epochs
        if stage.is_output:
            recipe = replace(
                recipe, learning_rate=_OUTPUT_RATE * recipe.learning_rate, augmentation=None
            )
            steps_per_epoch = max(1, len(self.task) // recipe.batch_size)
            if n_epochs is not None:
                n_epochs = max(n_epochs, -(-_OUTPUT_STEPS // steps_per_epoch))
        deadline = None if options.max_seconds is None else stage.share * options.max_seconds
        learners = [self._learner(*part, recipe=recipe) for part in stage.parts]
        return Phase(
            number=number,
            learners=learners,
            source=self._training_source(stage, recipe),
            labels=stage.labels,
            recipe=recipe,
            n_epochs=n_epochs,
            deadline=deadline,
            held_out=self._held_out(stage),
            patience=options.patience,
        )

    def _learner(
        self, name: str, module: nn.Module, objective: Objective, *, recipe: Recipe
    ) -> Learner:
        if not any(p.requires_grad for p in module.parameters()):
            raise ModtoolsError(
                f"module {name} has no parameters to train. Cut the network elsewhere."
            )
        objective.to(self.options.device)
        trained = [p for part in (module, objective) for p in part.parameters() if p.requires_grad]
        return Learner(name, module, objective, recipe.optimizer(trained))

    def _training_source(self, stage: Stage, recipe: Recipe) -> Source:
        """Return what the first learner reads: kept where it is the same in every epoch."""
        source = self._source(self.task, stage.prefix, augmentation=recipe.augmentation)
        reads_inputs = any(objective.uses_inputs for _, _, objective in stage.parts)
        if not stage.prefix or recipe.augmentation is not None or reads_inputs:
            return source
        return CachedSource.of(source, len(self.task)) or source

    def _held_out(self, stage: Stage) -> HeldOut | None:
        validation = self.options.validation
        if validation is None:
            return None
        return HeldOut(
            validation,
            self._source(validation, stage.prefix),
            training=self.task,
            training_source=self._source(self.task, stage.prefix),
        )
