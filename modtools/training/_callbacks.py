"""Callbacks of training: the interface for users, and those that training adds."""

import io
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn

from modtools._progress import meter
from modtools.exceptions import ModtoolsError

__all__ = [
    "HISTORY_COLUMNS",
    "Callback",
    "EarlyStopping",
    "History",
    "ProgressBar",
    "TrainingState",
    "check_kept_state",
    "copy_weights",
]

HISTORY_COLUMNS: Final = (
    *("module", "epoch", "step", "seconds", "learning_rate", "loss"),
    *("validation_loss", "validation_accuracy"),
)
_NOT_VALIDATED: Final = {"validation_loss": math.nan, "validation_accuracy": math.nan}


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """The state of a training when a callback is called; read-only.

    Numbers are those of that moment; `network` and `optimizers` are the objects in training.

    Attributes
    ----------
    phase, n_phases : int
        Which phase is trained, from 0, and how many there are. A phase trains one module, or with
        ``schedule="simultaneous"`` all hidden modules at the same time.
    step : int
        Number of finished training steps of this phase.
    epoch : float
        The same in epochs; the last epoch of a phase may be cut short.
    progress : float
        Fraction of this phase that was finished when its last step began, of its epochs or time; 1
        when its last epoch ends incomplete.
    losses : dict of str to float
        Loss of each module that is trained: of the last batch, in `Callback.on_epoch_end` and
        `Callback.on_train_end` the mean of the last epoch.
    learning_rates : dict of str to float
        Learning rate of the last step of each module; that at the end of the curve when the last
        epoch ends incomplete.
    validation : dict of str to dict
        ``validation_loss`` and ``validation_accuracy`` of each module after an epoch; empty without
        ``validation=``.
    network : torch.nn.Module
        The whole network.
    optimizers : dict of str to torch.optim.Optimizer
        The optimizer of each module that is trained.
    is_finished : bool
        In `Callback.on_train_end`, whether the phase was completed; otherwise an error or Ctrl-C
        ended it.
    """

    phase: int
    n_phases: int
    step: int
    epoch: float
    progress: float
    losses: Mapping[str, float]
    learning_rates: Mapping[str, float]
    network: nn.Module = field(repr=False)
    optimizers: Mapping[str, torch.optim.Optimizer] = field(repr=False)
    validation: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    is_finished: bool = False
    _stop: Callable[[], None] = field(repr=False)

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules that are trained: their last block, or ``"network"``."""
        return tuple(self.optimizers)

    def stop(self) -> None:
        """End this phase after this step; the next one, if any, is trained."""
        self._stop()


class Callback:
    """Base class of callbacks of `train_modular` and `train_end_to_end`; override what you need.

    Each phase of a training begins with `on_train_begin` and ends with `on_train_end`: there are
    several in modular training, one end to end. A run that resumes from a checkpoint begins the
    phase in which it stopped again, with a `TrainingState.step` above 0; phases that were done are
    not called again. Callbacks that change the training must depend only on the state that they are
    given, or return in `state_dict` what they resume from: then a resumed run has the same result
    as one that was not stopped.

    The recipe's learning-rate curve sets the rate before every step. A scheduler of your own needs
    ``Recipe(curve="constant")``, which sets it once, when a phase begins.

    Examples
    --------
    >>> import modtools as mt
    >>> from modtools.training import Callback, networks
    >>> class Log(Callback):
    ...     def __init__(self):
    ...         self.lines = []
    ...
    ...     def on_epoch_end(self, state):
    ...         self.lines.append((state.modules, state.epoch))
    >>> log, task = Log(), mt.load_task("digits").few_labels(n=128, seed=0)
    >>> network = networks.multilayer_perceptron([64, 16, 10])
    >>> result = mt.train_end_to_end(network, task, epochs=2, callbacks=[log])
    >>> log.lines
    [(('network',), 1.0), (('network',), 2.0)]
    """

    def on_train_begin(self, state: TrainingState) -> None:
        """Act before the first step of a phase, and before a stopped phase is resumed.

        In a phase that is resumed, weights are restored already; the states of optimizers and
        callbacks are restored after this.

        Parameters
        ----------
        state : TrainingState
            The state of the training.
        """

    def on_batch_end(self, state: TrainingState) -> None:
        """Act after a training step.

        Parameters
        ----------
        state : TrainingState
            The state of the training.
        """

    def on_epoch_end(self, state: TrainingState) -> None:
        """Act after an epoch, when its validation is measured.

        Parameters
        ----------
        state : TrainingState
            The state of the training.
        """

    def on_train_end(self, state: TrainingState) -> None:
        """Act after a phase, also where an error or Ctrl-C ended it (`TrainingState.is_finished`).

        Parameters
        ----------
        state : TrainingState
            The state of the training; a completed phase has its final weights.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return the state of this callback for a checkpoint.

        Returns
        -------
        dict
            Numbers, text, tensors, and lists and dicts of these; empty by default.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned, in a run that resumes from a checkpoint.

        Parameters
        ----------
        state : dict
            The state that `state_dict` returned.
        """


class History(Callback):
    """Appends a row for each module to a list after every epoch.

    Parameters
    ----------
    lines : list of dict
        The list.
    seconds : callable
        Returns the seconds that the run has taken.
    """

    def __init__(self, lines: list[dict[str, Any]], seconds: Callable[[], float]) -> None:
        self._lines, self._seconds = lines, seconds

    def on_epoch_end(self, state: TrainingState) -> None:
        """Append the rows of the epoch."""
        for module, loss in state.losses.items():
            self._lines.append(
                {
                    "module": module,
                    "epoch": state.epoch,
                    "step": state.step,
                    "seconds": self._seconds(),
                    "learning_rate": state.learning_rates[module],
                    "loss": loss,
                    **state.validation.get(module, _NOT_VALIDATED),
                }
            )


class EarlyStopping(Callback):
    """Ends a phase after some epochs without a better validation loss; restores the best weights.

    Parameters
    ----------
    patience : int
        Number of epochs.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._best, self._n_worse = math.inf, 0
        self._weights: dict[str, Tensor] = {}

    def on_train_begin(self, state: TrainingState) -> None:
        """Reset the state of an earlier phase."""
        self._best, self._n_worse, self._weights = math.inf, 0, {}

    def on_epoch_end(self, state: TrainingState) -> None:
        """Store the weights if they are better, else count."""
        value = sum(measured["validation_loss"] for measured in state.validation.values())
        if value < self._best:
            self._best, self._n_worse = value, 0
            self._weights = copy_weights(state.network)
        else:
            self._n_worse += 1
        if self._n_worse >= self._patience:
            state.stop()

    def on_train_end(self, state: TrainingState) -> None:
        """Restore the best weights; after an error or Ctrl-C leave the network as it is."""
        if state.is_finished and self._weights:
            state.network.load_state_dict(self._weights)
        self._weights = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the smallest loss, the number of epochs since, and the weights."""
        return {"best": self._best, "n_worse": self._n_worse, "weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore these."""
        self._best, self._n_worse = state["best"], state["n_worse"]
        self._weights = state["weights"]


class ProgressBar(Callback):
    """Shows a progress bar of a phase, with the loss."""

    def __init__(self) -> None:
        self._shown = ExitStack()
        self._show: Callable[[float, str], None]

    def on_train_begin(self, state: TrainingState) -> None:
        """Show the bar."""
        self._show = self._shown.enter_context(meter(f"training {', '.join(state.modules)}"))

    def on_batch_end(self, state: TrainingState) -> None:
        """Update it."""
        self._show(state.progress, f"loss {sum(state.losses.values()):.4g}")

    def on_train_end(self, state: TrainingState) -> None:
        """Remove it."""
        self._shown.close()


def check_kept_state(callback: Callback) -> None:
    """Raise if a checkpoint with the state of a callback could not be read again."""
    state, content = callback.state_dict(), io.BytesIO()
    try:
        torch.save(state, content)
        content.seek(0)
        torch.load(content, weights_only=True)
    except Exception as error:  # pickling a foreign object may raise anything
        raise ModtoolsError(
            f"state_dict() of the callback {type(callback).__name__} must return a dict of "
            "numbers, text, tensors, and lists and dicts of these, which a checkpoint can keep; "
            f"got what cannot be read again ({type(error).__name__})."
        ) from error


def copy_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the parameters and buffers of a network."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}
