"""From stages to a trained network: order, time, checkpoints, clean stops."""

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from modtools.exceptions import ModtoolsError
from modtools.modules import one_line
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
from modtools.training._checkpoint import (
    Interrupt,
    check_state,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)
from modtools.training._held_out import HeldOut, codes_of
from modtools.training._loop import Learner, Phase, Trainer
from modtools.training._objective import Objective
from modtools.training._options import Options, Recipe, autocast, measured_precision

__all__ = ["Run", "Stage", "check_trainable"]

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
    deadline : float or None
        Seconds on the run's clock at which the phase ends.
    is_output : bool
        Whether this is an output module on frozen features: it needs neither augmentation nor small
        steps.
    """

    parts: Sequence[tuple[str, nn.Module, Objective]]
    prefix: Sequence[nn.Module]
    labels: Tensor | Pairs
    deadline: float | None
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
        # Convolutions on a processor take a third less time with channels innermost.
        network.to(options.device)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.task, self.options = task, options
        self.preprocess = options.preprocess or default_preprocess(task)
        self.codes = torch.as_tensor(codes_of(task, task.classes))
        rows = np.arange(min(len(task), options.recipe.batch_size))
        self.example = self._source(task).batch(rows).inputs
        self._check_outputs(task, self.example[:2])
        if options.validation is not None:
            codes_of(options.validation, task.classes)
            first = self._source(options.validation).batch(np.arange(1)).inputs
            self._check_outputs(options.validation, first)

    @torch.no_grad()
    def _check_outputs(self, task: Task, inputs: Tensor) -> None:
        """Raise unless the network reads a task's inputs and has an output for each class."""
        self.network.eval()
        try:
            outputs = self.network(inputs)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise ModtoolsError(
                f"the network cannot read inputs of shape {tuple(inputs.shape[1:])} and type "
                f"{inputs.dtype} of task {task.name}: {one_line(error)}."
            ) from error
        n_classes = len(self.task.classes)
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        if shape != (len(inputs), n_classes):
            raise ModtoolsError(
                f"the network must return one number a class, (n_samples, {n_classes}) for task "
                f"{task.name}; it returns {shape} for n_samples={len(inputs)}. Build it with "
                f"n_classes={n_classes}."
            )

    @torch.no_grad()
    def seconds_to_read(self) -> float:
        """Return about how long one forward pass over the whole task takes, after a first one."""
        rows = np.arange(len(self.example))
        self.network.eval()
        begin = time.perf_counter()
        self.network(self._source(self.task).batch(rows).inputs).cpu()
        return (time.perf_counter() - begin) * len(self.task) / len(rows)

    def train(self, stages: Sequence[Callable[[], Stage]], settings: dict[str, Any]) -> Trainer:
        """Train the stages in order, or what a checkpoint left of them; return the trainer."""
        options, path = self.options, self.options.checkpoint
        state = None if path is None else read_checkpoint(path, settings, options.device)
        if path is not None and state is not None:
            check_state(path, state)
        trainer = Trainer(
            self.network,
            n_rows=len(self.task),
            device=options.device,
            precision=options.precision if state is None else state["precision"],
            seed=options.seed,
            save=None if path is None else partial(write_checkpoint, path, settings),
        )
        if state is not None:
            trainer.resume(state)
        reached = 0 if state is None else state["phase"]
        cuda = [options.device] if options.device.type == "cuda" else []
        with torch.random.fork_rng(cuda), Interrupt(self._advice()) as interrupt:
            if trainer.precision == "auto":
                trainer.precision = self._measured_precision()
            for number, make_stage in enumerate(stages[reached:], start=reached):
                torch.manual_seed(derive_seed(options.seed, number, _HEADS))
                trainer.run(self._phase(number, make_stage()), interrupt, state)
                state = None
            self.network.eval()
            if path is not None:
                self._end_checkpoint(trainer, path, settings, n_phases=len(stages))
        return trainer

    def _end_checkpoint(
        self, trainer: Trainer, path: Path, settings: dict[str, Any], *, n_phases: int
    ) -> None:
        """Remove the checkpoint, or leave one of the finished network where it is to be kept.

        The network is trained: whether there is room for its checkpoint does not change that.
        """
        with suppress(ModtoolsError):
            if self.options.keep_checkpoint:
                write_checkpoint(path, settings, trainer.finished(n_phases))
            else:
                remove_checkpoint(path)

    def _advice(self) -> str:
        path = self.options.checkpoint
        if path is None:
            return "training stopped; nothing was kept (checkpoint= makes a run resumable)."
        return f"training stopped; the same call goes on from the checkpoint {path}."

    def _measured_precision(self) -> str:
        """Return the precision to train in, measured on a copy of the network."""
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
        if stage.is_output:
            rate = _OUTPUT_RATE * recipe.learning_rate
            recipe = replace(recipe, learning_rate=rate, augmentation=None)
        learners = [self._learner(*part, recipe=recipe) for part in stage.parts]
        return Phase(
            number=number,
            learners=learners,
            source=self._training_source(stage, recipe),
            labels=stage.labels,
            recipe=recipe,
            n_epochs=options.epochs,
            deadline=stage.deadline,
            held_out=self._held_out(stage),
            patience=options.patience,
            least_steps=_OUTPUT_STEPS if stage.is_output else 1,
        )

    def _learner(
        self, name: str, module: nn.Module, objective: Objective, *, recipe: Recipe
    ) -> Learner:
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
        source = self._source(validation, stage.prefix)
        if stage.is_output:  # its epochs take less time than a pass through the frozen modules
            source = CachedSource.of(source, len(validation)) or source
        return HeldOut(
            validation,
            source,
            training=self.task,
            training_source=self._source(self.task, stage.prefix),
        )


def check_trainable(name: str, module: nn.Module) -> None:
    """Raise, before anything is trained, where a module has nothing to train."""
    if not any(p.requires_grad for p in module.parameters()):
        raise ModtoolsError(f"module {name} has no parameters to train. Cut the network elsewhere.")
