"""The one training loop: a phase trains its learners behind a frozen prefix."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from modtools._progress import meter
from modtools.exceptions import ModtoolsError
from modtools.modules import one_line
from modtools.proxies import Pairs
from modtools.training._batches import Batch, Source, derive_seed, rows_of_step
from modtools.training._checkpoint import Interrupt
from modtools.training._objective import Objective
from modtools.training._options import Recipe, autocast
from modtools.training._split import count_saved_bytes

__all__ = ["Clock", "Learner", "Phase", "Trainer"]

_ORDER, _STEP = 0, 1  # what a derived seed is for
_SAVE_SECONDS: Final = 20.0


@dataclass
class Learner:
    """A module in training: its name, its own objective and its own optimizer."""

    name: str
    module: nn.Module
    objective: Objective
    optimizer: torch.optim.Optimizer

    def parts(self) -> dict[str, Any]:
        """Return what a checkpoint keeps beside the network's weights."""
        return {
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, parts: dict[str, Any]) -> None:
        """Take over what `parts` returned."""
        self.objective.load_state_dict(parts["objective"])
        self.optimizer.load_state_dict(parts["optimizer"])


class HeldOutRows(Protocol):
    """Measures learners on rows that they do not learn from."""

    def measure(self, learners: list[Learner]) -> dict[str, dict[str, float]]:
        """Return validation_loss and validation_accuracy of each learner by name."""


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
        Gives the batches that the first learner reads.
    labels : Tensor or Pairs
        Class codes of all rows, or the known pairs.
    recipe : Recipe
        Batch size, learning rates, augmentation.
    n_epochs, deadline : int or None, float or None
        Where it ends: after so many epochs, or when the run's clock shows so many seconds.
    held_out : object with `measure`, or None
        Gives validation_loss and validation_accuracy of each learner.
    patience : int or None
        Ends it after so many epochs without a better validation loss.
    least_steps : int
        Steps that it takes however few epochs or seconds it was given.
    """

    number: int
    learners: list[Learner]
    source: Source
    labels: Tensor | Pairs
    recipe: Recipe
    n_epochs: int | None
    deadline: float | None
    held_out: "HeldOutRows | None" = None
    patience: int | None = None
    least_steps: int = 1


@dataclass
class Clock:
    """Seconds that a run has taken, those before it was resumed included."""

    before: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def seconds(self) -> float:
        """Return the seconds so far."""
        return self.before + time.perf_counter() - self.started


@dataclass
class _Position:
    """Where a phase stands; all of it goes into the checkpoint."""

    step: int = 0
    began: float = 0.0
    sums: list[float] = field(default_factory=list)
    n_summed: int = 0
    best: float = math.inf
    n_worse: int = 0


class Trainer:
    """Runs phases on one network: steps, history, checkpoints, stops.

    Parameters
    ----------
    network : torch.nn.Module
        The whole network; its weights are what checkpoints keep.
    n_rows : int
        Rows of the task.
    device, precision
        Where and how forward passes run.
    seed : int
        Decides order, augmentation and dropout, step by step.
    save : callable, optional
        Keeps a state; None keeps nothing.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        n_rows: int,
        device: torch.device,
        precision: str,
        seed: int,
        save: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        self.network, self.n_rows = network, n_rows
        self._device, self.precision, self._seed = device, precision, seed
        self._save = save
        self.clock = Clock()
        self.history: list[dict[str, Any]] = []
        self.peak_bytes = 0
        self._saved_at = 0.0
        self._good: dict[str, Tensor] = {}
        self._good_since = ""
        self._best: dict[str, Tensor] = {}
        self._order: tuple[tuple[int, int], Any] | None = None

    def resume(self, state: dict[str, Any]) -> None:
        """Take over weights, history and clock of a checkpoint."""
        try:
            self.network.load_state_dict(state["network"])
        except (RuntimeError, TypeError, AttributeError) as error:
            raise ModtoolsError(
                f"the checkpoint belongs to another network: {one_line(error)}. Give the same "
                "network, or another checkpoint file."
            ) from error
        self._best = state["best"]
        self.history = list(state["history"])
        self.peak_bytes = state["peak_bytes"]
        self.clock = Clock(before=state["seconds"])
        self._saved_at = state["seconds"]

    def finished(self, n_phases: int) -> dict[str, Any]:
        """Return the state of a run whose phases are all done, for `resume`."""
        return {
            "phase": n_phases,
            "network": self.network.state_dict(),
            "best": {},
            "history": self.history,
            "peak_bytes": self.peak_bytes,
            "precision": self.precision,
            "seconds": self.clock.seconds(),
        }

    def run(self, phase: Phase, interrupt: Interrupt, state: dict[str, Any] | None = None) -> None:
        """Train the learners of a phase until it ends; `state` is where it stood."""
        position = _Position(began=self.clock.seconds(), sums=[0.0] * len(phase.learners))
        if state is not None:
            position = self._take_over(phase, state)
        self._good = _copy(self.network)
        self._good_since = "the start of this phase" if state is None else "the checkpoint"
        names = ", ".join(learner.name for learner in phase.learners)
        with meter(f"training {names}") as show:
            while (progress := self._progress(phase, position)) < 1:
                losses = self._step(phase, position, progress)
                position.sums = [a + b for a, b in zip(position.sums, losses, strict=True)]
                position.n_summed += 1
                position.step += 1
                show(progress, f"loss {sum(losses):.4g}")
                if position.step % self._steps_per_epoch(phase) == 0:
                    self._end_epoch(phase, position, progress)
                self._maybe_save(phase, position, interrupt)
        if position.n_summed:
            self._end_epoch(phase, position, 1.0)
            self._maybe_save(phase, position, interrupt)
        self._restore_best(phase)
        for learner in phase.learners:
            learner.optimizer.zero_grad(set_to_none=True)  # a frozen module keeps no gradient

    @staticmethod
    def _take_over(phase: Phase, state: dict[str, Any]) -> _Position:
        """Return where a phase stood, its learners as they were."""
        try:
            position = _Position(**state["position"])
            for learner, parts in zip(phase.learners, state["learners"], strict=True):
                learner.restore(parts)
            if len(position.sums) != len(phase.learners):
                raise ValueError(f"it has {len(position.sums)} losses")
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise ModtoolsError(
                f"the checkpoint does not fit this run: {one_line(error)}. Give another checkpoint "
                "file, or remove this one."
            ) from error
        return position

    def _steps_per_epoch(self, phase: Phase) -> int:
        return max(1, self.n_rows // phase.recipe.batch_size)

    def _progress(self, phase: Phase, position: _Position) -> float:
        """Return the share of a phase that is done: of its steps or of its seconds, the larger."""
        if phase.patience is not None and position.n_worse >= phase.patience:
            return 1.0
        shares = []
        if phase.n_epochs is not None:
            shares.append(position.step / (phase.n_epochs * self._steps_per_epoch(phase)))
        if phase.deadline is not None:
            span = phase.deadline - position.began
            spent = self.clock.seconds() - position.began
            shares.append(spent / span if span > 0 else 1.0)
        # The learning rate reaches its end in these steps where there is time for no more.
        return min(1.0, max(shares), position.step / phase.least_steps)

    def _step(self, phase: Phase, position: _Position, progress: float) -> list[float]:
        """Train every learner on one batch; each one's graph is gone before the next is built."""
        rows = self._rows(phase, position.step)
        seed = derive_seed(self._seed, phase.number, _STEP, position.step)
        generator = torch.Generator().manual_seed(seed)
        _seed(self._device, seed)
        batch = phase.source.batch(rows, generator)
        labels = phase.labels
        chosen = labels.take(rows) if isinstance(labels, Pairs) else labels[torch.as_tensor(rows)]
        rate = phase.recipe.learning_rate_at(progress)
        features, losses = batch.features, []
        for learner in phase.learners:
            for group in learner.optimizer.param_groups:
                group["lr"] = rate
            learner.module.train()
            learner.objective.train()
            learner.optimizer.zero_grad(set_to_none=True)
            with self._counted(learner, position.step) as counted:
                features, loss = self._forward(learner, batch._replace(features=features), chosen)
            self.peak_bytes = max(self.peak_bytes, 0 if counted is None else counted.n_bytes)
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                what = f"the loss of module {learner.name} became {losses[-1]}"
                raise self._diverged(what, position.step, rate)
            loss.backward()  # type: ignore[no-untyped-call]
            learner.optimizer.step()
            features = features.detach()
        return losses

    def _rows(self, phase: Phase, step: int) -> Any:
        epoch, within = divmod(step, self._steps_per_epoch(phase))
        key = (phase.number, epoch)
        if self._order is None or self._order[0] != key:
            rng = np.random.default_rng(derive_seed(self._seed, phase.number, _ORDER, epoch))
            self._order = (key, rng.permutation(self.n_rows))
        return rows_of_step(self._order[1], within, phase.recipe.batch_size)

    def _forward(
        self, learner: Learner, batch: Batch, labels: Tensor | Pairs
    ) -> tuple[Tensor, Tensor]:
        with autocast(self._device, self.precision):
            outputs = learner.module(batch.features)
        outputs = outputs.float()
        return outputs, learner.objective(outputs, labels, batch.inputs)

    def _counted(self, learner: Learner, step: int) -> AbstractContextManager[Any]:
        """Count what the first step of a phase keeps for its backward pass."""
        if step:
            return nullcontext()
        parts = (learner.module, learner.objective)
        kept = [t for part in parts for t in (*part.parameters(), *part.buffers())]
        return count_saved_bytes(exclude=kept)

    def _end_epoch(self, phase: Phase, position: _Position, progress: float) -> None:
        """Add an epoch to the history, and keep its weights as good, and best where they are."""
        self._check_weights(phase, position)
        measured = {}
        if phase.held_out is not None:
            measured = phase.held_out.measure(phase.learners)
        for learner, total in zip(phase.learners, position.sums, strict=True):
            self.history.append(
                {
                    "module": learner.name,
                    "epoch": position.step / self._steps_per_epoch(phase),
                    "step": position.step,
                    "seconds": self.clock.seconds(),
                    "learning_rate": phase.recipe.learning_rate_at(progress),
                    "loss": total / position.n_summed,
                    **measured.get(learner.name, _NOT_VALIDATED),
                }
            )
        position.sums, position.n_summed = [0.0] * len(phase.learners), 0
        self._good = _copy(self.network)
        self._good_since = f"step {position.step} of this phase"
        if phase.patience is None:
            return
        value = sum(part["validation_loss"] for part in measured.values())
        if value < position.best:
            position.best, position.n_worse = value, 0
            self._best = _copy(self.network)
        else:
            position.n_worse += 1

    def _restore_best(self, phase: Phase) -> None:
        """Go back to the weights with the least validation loss, where that was asked for."""
        if phase.patience is not None and self._best:
            self.network.load_state_dict(self._best)
        self._best = {}

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
            "best": self._best,
            "learners": [learner.parts() for learner in phase.learners],
            "history": self.history,
            "peak_bytes": self.peak_bytes,
            "precision": self.precision,
            "seconds": self.clock.seconds(),
        }

    def _check_weights(self, phase: Phase, position: _Position) -> None:
        """Raise where the last step spoilt a module although its loss was finite."""
        for learner in phase.learners:
            state = learner.module.state_dict()
            if not all(bool(part.isfinite().all()) for part in state.values()):
                rate = learner.optimizer.param_groups[0]["lr"]
                what = f"the weights of module {learner.name} are no longer finite"
                raise self._diverged(what, position.step - 1, rate)

    def _diverged(self, what: str, step: int, rate: float) -> ModtoolsError:
        """Go back to the last good weights; return an error that says so."""
        self.network.load_state_dict(self._good)
        kept = "; a checkpoint that was written is kept" if self._save else ""
        return ModtoolsError(
            f"{what} at step {step} with learning rate {rate:.3g}. The network has its weights "
            f"from {self._good_since}{kept}. Lower the learning rate, or look at the inputs."
        )


_NOT_VALIDATED: Final = {"validation_loss": math.nan, "validation_accuracy": math.nan}


def _seed(device: torch.device, seed: int) -> None:
    """Seed what layers such as dropout draw from."""
    if device.type == "cpu":
        # torch.manual_seed also prepares absent accelerators: up to a millisecond a step.
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}
