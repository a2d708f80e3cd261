"""One training run: its phases, their steps, checkpoints and interruption."""

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from modtools._escape import one_line
from modtools.exceptions import ModtoolsError
from modtools.modules import check_device
from modtools.proxies import Pairs
from modtools.tasks import Task
from modtools.training._batches import (
    Batch,
    CachedSource,
    FrozenSource,
    Source,
    TaskSource,
    default_preprocess,
    derive_seed,
    rows_of_step,
    running,
)
from modtools.training._callbacks import (
    Callback,
    EarlyStopping,
    History,
    ProgressBar,
    TrainingState,
    check_kept_state,
    copy_weights,
)
from modtools.training._checkpoint import (
    Interrupt,
    check_state,
    only_if_it_fits,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)
from modtools.training._objective import HeldOut, Learner, Objective, codes_of
from modtools.training._options import Options, Recipe, autocast, measured_precision
from modtools.training._split import count_saved_bytes

__all__ = ["Clock", "Phase", "Trainer"]

_ORDER, _STEP, _HEADS = 0, 1, 2  # purpose of a derived seed
_SAVE_SECONDS: Final = 20.0
_OUTPUT_RATE: Final = 5.0  # times the learning rate of the recipe, because features have length 1
_OUTPUT_STEPS: Final = 300


@dataclass
class Phase:
    """Learners trained at the same time, each on the detached output of the one before.

    Attributes
    ----------
    number : int
        Place in the run, from 0.
    learners : list of Learner
        In the order of the forward pass.
    source : Source
        Batches for the first learner.
    labels : Tensor or Pairs
        Class codes of all examples, or the known pairs.
    recipe : Recipe
        Batch size, learning rates, augmentation.
    n_epochs, deadline : int or None, float or None
        End of the phase: a number of epochs, or of seconds on the run's clock.
    held_out : HeldOut or None
        Measures validation_loss and validation_accuracy of each learner.
    least_steps : int
        Smallest number of steps, whatever the epochs or seconds.
    """

    number: int
    learners: list[Learner]
    source: Source
    labels: Tensor | Pairs
    recipe: Recipe
    n_epochs: int | None
    deadline: float | None
    held_out: HeldOut | None = None
    least_steps: int = 1


@dataclass
class Clock:
    """Seconds of a run, including those before it was resumed."""

    before: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def seconds(self) -> float:
        """Return the seconds so far."""
        return self.before + time.perf_counter() - self.started


@dataclass
class _Position:
    """Progress of a phase; saved in the checkpoint."""

    step: int = 0
    began: float = 0.0
    sums: list[float] = field(default_factory=list)
    n_summed: int = 0
    is_stopped: bool = False

    def stop(self) -> None:
        """End the phase here."""
        self.is_stopped = True


class Trainer:
    """One training run of a network on a task.

    Parameters
    ----------
    network : torch.nn.Module
        Trained in place; checkpoints hold its weights.
    task : Task
        Training examples.
    options : Options
        The checked options.
    """

    def __init__(self, network: nn.Module, task: Task, options: Options) -> None:
        self.device = check_device(options.device, network)
        # Convolutions on a CPU take a third less time with channels innermost.
        network.to(self.device)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.task, self.options, self.recipe = task, options, options.recipe or Recipe()
        self._place = None if options.checkpoint is None else Path(options.checkpoint)
        self.preprocess = options.preprocess or default_preprocess(task)
        self.codes = torch.as_tensor(codes_of(task, task.classes))
        rows = np.arange(min(len(task), self.recipe.batch_size))
        self.example = self._source(task).batch(rows).inputs
        self._check_outputs(task, self.example[:2])
        if options.validation is not None:
            codes_of(options.validation, task.classes)
            first = self._source(options.validation).batch(np.arange(1)).inputs
            self._check_outputs(options.validation, first)
        self.precision: str = options.precision
        self.clock = Clock()
        self.history: list[dict[str, Any]] = []
        self.peak_bytes = 0
        self._save: Callable[[dict[str, Any]], None] | None = None
        self._saved_at = 0.0
        self._good: dict[str, Tensor] = {}
        self._good_since = ""
        self._callbacks: list[Callback] = []
        self._shown: TrainingState
        self._n_phases = 0
        self._order: tuple[tuple[int, int], Any] | None = None

    @torch.no_grad()
    def _check_outputs(self, task: Task, inputs: Tensor) -> None:
        """Raise unless the network reads the inputs of a task and has one output per class."""
        self.network.eval()
        try:
            outputs = self.network(inputs)
        except Exception as error:  # a network may raise anything
            raise ModtoolsError(
                f"the network cannot read inputs of shape {tuple(inputs.shape[1:])} and type "
                f"{inputs.dtype} of task {task.name}: {type(error).__name__}: {one_line(error)}."
            ) from error
        n_classes = len(self.task.classes)
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        if shape != (len(inputs), n_classes):
            raise ModtoolsError(
                f"the network must return one number per class, (n_samples, {n_classes}) for task "
                f"{task.name}; it returns {shape} for n_samples={len(inputs)}. Build it with "
                f"n_classes={n_classes}."
            )

    @torch.no_grad()
    def seconds_to_read(self) -> float:
        """Return an estimate of the time of one forward pass over the whole task."""
        rows = np.arange(len(self.example))
        self.network.eval()
        begin = time.perf_counter()
        self.network(self._source(self.task).batch(rows).inputs).cpu()
        return (time.perf_counter() - begin) * len(self.task) / len(rows)

    def train(self, phases: Sequence[Callable[[int], Phase]], settings: dict[str, Any]) -> None:
        """Train the phases in order, or the rest of them if there is a checkpoint.

        Each phase is made from its number when it begins, with random weights of its heads.
        """
        path = self._place
        state = None if path is None else read_checkpoint(path, settings, self.device)
        self.clock = Clock()
        if path is not None:
            self._save = partial(write_checkpoint, path, settings)
        if path is not None and state is not None:
            check_state(path, state)
            self.resume(state)
        self._callbacks, self._n_phases = self._all_callbacks(), len(phases)
        reached = 0 if state is None else state["phase"]
        cuda = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(cuda), Interrupt(self._advice()) as interrupt:
            if self.precision == "auto":
                self.precision = self._measured_precision()
            for number, make_phase in enumerate(phases[reached:], start=reached):
                torch.manual_seed(derive_seed(self.options.seed, number, _HEADS))
                self.run(make_phase(number), interrupt, state)
                state = None
            self.network.eval()
            if path is not None:
                self._end_checkpoint(path, settings)

    def _all_callbacks(self) -> list[Callback]:
        """Return the callbacks of the caller, then those of training; they end in reverse order."""
        callbacks = [*self.options.callbacks, History(self.history, self.clock.seconds)]
        if self.options.patience is not None:
            callbacks.append(EarlyStopping(self.options.patience))
        return [*callbacks, ProgressBar()]

    def _end_checkpoint(self, path: Path, settings: dict[str, Any]) -> None:
        """Remove the checkpoint, or with `keep_checkpoint` write that of the finished network.

        Errors are ignored: the network is trained, even if its checkpoint cannot be written.
        """
        with suppress(ModtoolsError):
            if self.options.keep_checkpoint:
                write_checkpoint(path, settings, self.finished())
            else:
                remove_checkpoint(path)

    def _advice(self) -> str:
        path = self._place
        if path is None:
            return "training stopped; nothing was saved (checkpoint= makes a run resumable)."
        return f"training stopped; the same call resumes from the checkpoint {path}."

    def _measured_precision(self) -> str:
        """Return the precision to train in, measured on a copy of the network."""
        network = copy.deepcopy(self.network).train()

        def step(precision: str) -> None:
            with running("the network failed in training mode"):
                with autocast(self.device, precision):
                    outputs = network(self.example)
                outputs.float().square().mean().backward()

        return measured_precision(step)

    def _source(self, task: Task, prefix: Sequence[nn.Module] = (), **how: Any) -> Source:
        source: Source = TaskSource(task, self.preprocess, device=self.device, **how)
        return FrozenSource(source, nn.Sequential(*prefix).eval()) if prefix else source

    def phase(
        self,
        number: int,
        parts: Sequence[tuple[str, nn.Module, Objective]],
        labels: Tensor | Pairs,
        *,
        deadline: float | None,
        prefix: Sequence[nn.Module] = (),
        is_output: bool = False,
    ) -> Phase:
        """Return the phase that trains some modules after frozen ones.

        Parameters
        ----------
        number : int
            Place in the run, from 0.
        parts : sequence of (str, nn.Module, Objective)
            Name, module and objective of each learner, in the order of the forward pass.
        labels : Tensor or Pairs
            Labels that the objectives get.
        deadline : float or None
            Seconds on the run's clock at which the phase ends.
        prefix : sequence of nn.Module
            The modules before, frozen.
        is_output : bool
            Whether this is an output module on frozen features, which is trained without
            augmentation and with a larger learning rate.
        """
        recipe = self.recipe
        if is_output:
            rate = _OUTPUT_RATE * recipe.learning_rate
            recipe = replace(recipe, learning_rate=rate, augmentation=None)
        learners = [self._learner(*part, recipe=recipe) for part in parts]
        return Phase(
            number=number,
            learners=learners,
            source=self._training_source(learners, prefix, recipe),
            labels=labels,
            recipe=recipe,
            n_epochs=self.options.epochs,
            deadline=deadline,
            held_out=self._held_out(prefix, is_output=is_output),
            least_steps=_OUTPUT_STEPS if is_output else 1,
        )

    def _learner(
        self, name: str, module: nn.Module, objective: Objective, *, recipe: Recipe
    ) -> Learner:
        objective.to(self.device)
        trained = [p for part in (module, objective) for p in part.parameters() if p.requires_grad]
        return Learner(name, module, objective, recipe.optimizer(trained))

    def _training_source(
        self, learners: Sequence[Learner], prefix: Sequence[nn.Module], recipe: Recipe
    ) -> Source:
        """Return the source of the first learner: cached if it is the same in every epoch."""
        source = self._source(self.task, prefix, augmentation=recipe.augmentation)
        reads_inputs = any(learner.objective.uses_inputs for learner in learners)
        if not prefix or recipe.augmentation is not None or reads_inputs:
            return source
        return CachedSource.of(source, len(self.task)) or source

    def _held_out(self, prefix: Sequence[nn.Module], *, is_output: bool) -> HeldOut | None:
        validation = self.options.validation
        if validation is None:
            return None
        source = self._source(validation, prefix)
        if is_output:  # an epoch takes less time than a pass through the frozen modules
            source = CachedSource.of(source, len(validation)) or source
        return HeldOut(
            validation,
            source,
            training=self.task,
            training_source=self._source(self.task, prefix),
        )

    def resume(self, state: dict[str, Any]) -> None:
        """Restore weights, history and clock from a checkpoint."""
        try:
            self.network.load_state_dict(state["network"])
        except (RuntimeError, TypeError, AttributeError) as error:
            raise ModtoolsError(
                f"the checkpoint belongs to another network: {one_line(error)}. Give the same "
                "network, or another checkpoint file."
            ) from error
        self.precision = state["precision"]
        self.history = list(state["history"])
        self.peak_bytes = state["peak_bytes"]
        self.clock = Clock(before=state["seconds"])
        self._saved_at = state["seconds"]

    def finished(self) -> dict[str, Any]:
        """Return the state of a finished run, for `resume`."""
        return {
            "phase": self._n_phases,
            "network": self.network.state_dict(),
            "history": self.history,
            "peak_bytes": self.peak_bytes,
            "precision": self.precision,
            "seconds": self.clock.seconds(),
        }

    def run(self, phase: Phase, interrupt: Interrupt, state: dict[str, Any] | None = None) -> None:
        """Train the learners of a phase until it ends; `state` is that of a checkpoint."""
        position = _Position(began=self.clock.seconds(), sums=[0.0] * len(phase.learners))
        if state is not None:
            position = self._position(phase, state)
        self._shown = self._show(phase, position)
        with ExitStack() as ends:
            for callback in self._callbacks:
                callback.on_train_begin(self._shown)
                ends.callback(self._end, callback)
                if self._save is not None:
                    check_kept_state(callback)
            if state is not None:
                self._take_over(phase, state)
                self._shown = self._show(
                    phase, position
                )  # with the learning rates of its optimizers
            self._good = copy_weights(self.network)
            self._good_since = "the start of this phase" if state is None else "the checkpoint"
            self._train(phase, position, interrupt)
            self._shown = replace(self._shown, is_finished=True)
        for learner in phase.learners:
            learner.optimizer.zero_grad(set_to_none=True)  # free the gradients of frozen modules

    def _train(self, phase: Phase, position: _Position, interrupt: Interrupt) -> None:
        """Train until the phase ends, and end its last epoch, complete or not."""
        while (progress := self._progress(phase, position)) < 1:
            losses = self._step(phase, position, progress)
            position.sums = [a + b for a, b in zip(position.sums, losses, strict=True)]
            position.n_summed += 1
            position.step += 1
            self._shown = self._show(phase, position, progress=progress, losses=losses)
            for callback in self._callbacks:
                callback.on_batch_end(self._shown)
            if position.step % self._steps_per_epoch(phase) == 0:
                self._end_epoch(phase, position)
            self._maybe_save(phase, position, interrupt)
        if position.n_summed:
            self._shown = replace(self._shown, progress=1.0)
            if phase.recipe.curve != "constant":
                rates = dict.fromkeys(self._shown.modules, phase.recipe.learning_rate_at(1.0))
                self._shown = replace(self._shown, learning_rates=rates)
            self._end_epoch(phase, position)
            self._maybe_save(phase, position, interrupt)

    def _end(self, callback: Callback) -> None:
        callback.on_train_end(self._shown)

    def _show(
        self,
        phase: Phase,
        position: _Position,
        *,
        progress: float = 0.0,
        losses: Sequence[float] = (),
    ) -> TrainingState:
        """Return the state for callbacks."""
        names = [learner.name for learner in phase.learners]
        return TrainingState(
            phase=phase.number,
            n_phases=self._n_phases,
            step=position.step,
            epoch=position.step / self._steps_per_epoch(phase),
            progress=progress,
            losses=dict(zip(names, losses, strict=False)),
            learning_rates={learner.name: learner.rate for learner in phase.learners},
            network=self.network,
            optimizers={learner.name: learner.optimizer for learner in phase.learners},
            _stop=position.stop,
        )

    @staticmethod
    def _position(phase: Phase, state: Mapping[str, Any]) -> _Position:
        """Return the progress of a phase from a checkpoint."""
        with only_if_it_fits():
            position = _Position(**state["position"])
            if len(position.sums) != len(phase.learners):
                raise ValueError(f"it has {len(position.sums)} losses")
        return position

    def _take_over(self, phase: Phase, state: Mapping[str, Any]) -> None:
        """Restore learners and callbacks from a checkpoint."""
        with only_if_it_fits():
            for learner, parts in zip(phase.learners, state["learners"], strict=True):
                learner.restore(parts)
            for callback, kept in zip(self._callbacks, state["callbacks"], strict=True):
                callback.load_state_dict(kept)

    def _steps_per_epoch(self, phase: Phase) -> int:
        return max(1, len(self.task) // phase.recipe.batch_size)

    def _progress(self, phase: Phase, position: _Position) -> float:
        """Return the finished fraction of a phase: of its steps or of its time, the larger one."""
        if position.is_stopped:
            return 1.0
        shares = []
        if phase.n_epochs is not None:
            shares.append(position.step / (phase.n_epochs * self._steps_per_epoch(phase)))
        if phase.deadline is not None:
            span = phase.deadline - position.began
            spent = self.clock.seconds() - position.began
            shares.append(spent / span if span > 0 else 1.0)
        # If time is short, the learning rate follows the smallest number of steps.
        return min(1.0, max(shares), position.step / phase.least_steps)

    def _step(self, phase: Phase, position: _Position, progress: float) -> list[float]:
        """Train every learner on one batch; each graph is freed before the next is built."""
        rows = self._rows(phase, position.step)
        seed = derive_seed(self.options.seed, phase.number, _STEP, position.step)
        generator = torch.Generator().manual_seed(seed)
        _seed(self.device, seed)
        batch = phase.source.batch(rows, generator)
        labels = phase.labels
        chosen = labels.take(rows) if isinstance(labels, Pairs) else labels[torch.as_tensor(rows)]
        self._set_rates(phase, progress)
        features, losses = batch.features, []
        for learner in phase.learners:
            learner.module.train()
            learner.objective.train()
            learner.optimizer.zero_grad(set_to_none=True)
            with self._counted(learner, position.step) as counted:
                features, loss = self._forward(learner, batch._replace(features=features), chosen)
            self.peak_bytes = max(self.peak_bytes, 0 if counted is None else counted.n_bytes)
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                what = f"the loss of module {learner.name} became {losses[-1]}"
                raise self._diverged(what, position.step, learner.rate)
            with running(f"the backward pass of module {learner.name} failed"):
                loss.backward()  # type: ignore[no-untyped-call]
            learner.optimizer.step()
            features = features.detach()
        return losses

    @staticmethod
    def _set_rates(phase: Phase, progress: float) -> None:
        """Set the learning rates, unless they are constant.

        A constant rate is set when the optimizer is made; a callback may have changed it since.
        """
        if phase.recipe.curve != "constant":
            rate = phase.recipe.learning_rate_at(progress)
            for learner in phase.learners:
                for group in learner.optimizer.param_groups:
                    group["lr"] = rate

    def _rows(self, phase: Phase, step: int) -> Any:
        epoch, within = divmod(step, self._steps_per_epoch(phase))
        key = (phase.number, epoch)
        if self._order is None or self._order[0] != key:
            rng = np.random.default_rng(derive_seed(self.options.seed, phase.number, _ORDER, epoch))
            self._order = (key, rng.permutation(len(self.task)))
        return rows_of_step(self._order[1], within, phase.recipe.batch_size)

    def _forward(
        self, learner: Learner, batch: Batch, labels: Tensor | Pairs
    ) -> tuple[Tensor, Tensor]:
        with autocast(self.device, self.precision):
            outputs = learner.outputs(batch.features)
        return outputs, learner.objective(outputs, labels, batch.inputs)

    def _counted(self, learner: Learner, step: int) -> AbstractContextManager[Any]:
        """Count the bytes that the first step of a phase saves for its backward pass."""
        if step:
            return nullcontext()
        parts = (learner.module, learner.objective)
        kept = [t for part in parts for t in (*part.parameters(), *part.buffers())]
        return count_saved_bytes(exclude=kept)

    def _end_epoch(self, phase: Phase, position: _Position) -> None:
        """Measure an epoch, store its weights as good and call the callbacks."""
        self._check_weights(phase, position)
        means = [total / position.n_summed for total in position.sums]
        losses = dict(zip(self._shown.modules, means, strict=True))
        measured = {} if phase.held_out is None else phase.held_out.measure(phase.learners)
        self._shown = replace(self._shown, losses=losses, validation=measured)
        position.sums, position.n_summed = [0.0] * len(phase.learners), 0
        self._good = copy_weights(self.network)
        self._good_since = f"step {position.step} of this phase"
        for callback in self._callbacks:
            callback.on_epoch_end(self._shown)

    def _maybe_save(self, phase: Phase, position: _Position, interrupt: Interrupt) -> None:
        now = self.clock.seconds()
        if self._save is not None and (interrupt.asked or now - self._saved_at > _SAVE_SECONDS):
            self._check_weights(phase, position)
            self._save(self._state(phase, position))
            self._saved_at = now
        interrupt.raise_if_asked()

    def _state(self, phase: Phase, position: _Position) -> dict[str, Any]:
        return {
            "phase": phase.number,
            "position": vars(position).copy(),
            "network": self.network.state_dict(),
            "learners": [learner.parts() for learner in phase.learners],
            "callbacks": [callback.state_dict() for callback in self._callbacks],
            "history": self.history,
            "peak_bytes": self.peak_bytes,
            "precision": self.precision,
            "seconds": self.clock.seconds(),
        }

    def _check_weights(self, phase: Phase, position: _Position) -> None:
        """Raise if weights became non-finite in the last step although its loss was finite."""
        for learner in phase.learners:
            state = learner.module.state_dict()
            if not all(bool(part.isfinite().all()) for part in state.values()):
                what = f"the weights of module {learner.name} are no longer finite"
                raise self._diverged(what, position.step - 1, learner.rate)

    def _diverged(self, what: str, step: int, rate: float) -> ModtoolsError:
        """Restore the last good weights; return the error to raise."""
        self.network.load_state_dict(self._good)
        kept = "; the last checkpoint is kept" if self._save else ""
        return ModtoolsError(
            f"{what} at step {step} with learning rate {rate:.3g}. The network has its weights "
            f"from {self._good_since}{kept}. Lower the learning rate, or check the inputs."
        )


def _seed(device: torch.device, seed: int) -> None:
    """Seed the generator of layers such as dropout."""
    if device.type == "cpu":
        # torch.manual_seed also prepares absent accelerators: up to a millisecond a step.
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
