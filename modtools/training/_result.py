"""The result of training: the network, its modules and the history; saving to a zoo."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from modtools._intervals import MeasuredAccuracy
from modtools._results import Column, Result, percent, where_known
from modtools.exceptions import ModtoolsError
from modtools.modules import PretrainedModule, Zoo
from modtools.plotting import TrainingDisplay
from modtools.tasks import Task
from modtools.training._batches import TaskSource, iter_rows
from modtools.training._callbacks import HISTORY_COLUMNS
from modtools.training._objective import codes_of
from modtools.training._trainer import Trainer

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["TrainingResult", "describe"]


def describe(
    trainer: Trainer, *, schedule: str, proxy: Sequence[str], at: Sequence[str]
) -> dict[str, Any]:
    """Return all settings that determine the result of a run, as plain JSON."""
    options, task = trainer.options, trainer.task
    settings = {
        "schedule": schedule,
        "proxy": list(proxy),
        "at": list(at),
        "epochs": options.epochs,
        "max_seconds": options.max_seconds,
        "recipe": trainer.recipe.as_dict(),
        "preprocess": _described(trainer.preprocess),
        "patience": options.patience,
        "precision": options.precision,
        "seed": options.seed,
        "source_task": task.name,
        "source_classes": task.classes.tolist(),
        "n_rows": len(task),
        "task_fingerprint": task.fingerprint,
        "validation_fingerprint": options.validation and options.validation.fingerprint,
        "network": type(trainer.network).__name__,
        "n_parameters": sum(p.numel() for p in trainer.network.parameters()),
    }
    if options.callbacks:
        settings["callbacks"] = [type(callback).__qualname__ for callback in options.callbacks]
    return settings


def _described(preprocess: Any) -> str | None:
    """Return a text of the preprocessing that is the same in every process."""
    if preprocess is None:
        return None
    name = getattr(preprocess, "__qualname__", type(preprocess).__qualname__)
    return repr(preprocess) if is_dataclass(preprocess) else str(name)


class TrainingResult(Result):
    """A trained network, its modules and history: the result of training.

    `train_modular` and `train_end_to_end` return it.

    Attributes
    ----------
    network : torch.nn.Module
        The trained network, in eval mode.
    modules : tuple of PretrainedModule
        The hidden modules: the same network, read after the last block of each. They can be scored
        and ranked as they are.
    history : pandas.DataFrame
        One row per epoch and module: module, epoch, step, seconds (since the start, of the whole
        run), learning_rate, loss, validation_loss, validation_accuracy (fractions; missing without
        `validation=`).
    settings : dict
        All settings that determine the result, as plain JSON.
    seconds : float
        Wall-clock time of the training itself.
    peak_activation_bytes : int
        Largest number of bytes that one training step saves for its backward pass, without
        parameters and buffers: the same on every device.
    labels_needed : {"none", "pairs", "classes"}
        Labels that the hidden modules need. All pairs of a data set determine its classes up to
        their names, so all pairs and one label per class are full label information.
    versions : dict
        Versions of modtools, torch, scikit-learn, numpy and Python.
    """

    def __init__(
        self,
        trainer: Trainer,
        settings: dict[str, Any],
        layers: Sequence[str | None],
        *,
        labels_needed: str,
    ) -> None:
        import pandas as pd

        super().__init__(settings=settings, seconds=trainer.clock.seconds())
        self._task, self._device = trainer.task, trainer.device
        self._preprocess = trainer.preprocess
        self.network = trainer.network
        self.history: pd.DataFrame = pd.DataFrame(trainer.history, columns=list(HISTORY_COLUMNS))
        self.peak_activation_bytes = trainer.peak_bytes
        self.labels_needed = labels_needed
        self._layers = list(layers)
        self.modules = tuple(self._module(self._name()).at(layer) for layer in layers)

    def _name(self) -> str:
        proxies = dict.fromkeys(proxy.partition("(")[0] for proxy in self.settings["proxy"])
        how = "-".join(proxies) or self.settings["schedule"]
        # A function may be called <lambda>.
        return re.sub(r"[^\w .+-]", "", f"{self.settings['network'].lower()}-{how}")

    def _module(self, name: str, build: tuple[str, Mapping[str, Any]] | None = None) -> Any:
        kind = type(self.network)
        arguments = getattr(self.network, "arguments", None)
        if build is None and arguments is not None:
            build = (f"{kind.__module__}:{kind.__qualname__}", arguments)
        return PretrainedModule(
            self.network,
            name=name,
            layers=self._layers,
            preprocess=self._preprocess,
            source_head=True,
            build=build,
        )

    def predict(self, task: Task) -> NDArray[Any]:
        """Return the predicted label value of every example of a task.

        Parameters
        ----------
        task : Task
            Examples like those of the training task; its labels are not read.

        Returns
        -------
        ndarray of shape (n_samples,)
            Label values of the training task.
        """
        return self._task.classes[self._predicted_codes(task)]

    def accuracy(self, task: Task) -> float:
        """Return the fraction of examples whose label the network predicts.

        Parameters
        ----------
        task : Task
            Examples with labels of the training task.

        Returns
        -------
        float
            Accuracy in [0, 1].
        """
        codes = codes_of(task, self._task.classes)
        return float(np.mean(self._predicted_codes(task) == codes))

    def evaluate(self, task: Task) -> MeasuredAccuracy:
        """Return the accuracy with its 95 % Wilson interval: the examples as a sample.

        Parameters
        ----------
        task : Task
            Examples with labels of the training task.

        Returns
        -------
        MeasuredAccuracy
            (value, low, high), each in [0, 1].
        """
        return MeasuredAccuracy.of(self.accuracy(task), len(task))

    @torch.no_grad()
    def _predicted_codes(self, task: Task) -> NDArray[np.intp]:
        source = TaskSource(task, self._preprocess, device=self._device)
        self.network.eval()
        blocks = [
            self.network(source.batch(rows).inputs).argmax(dim=1).cpu().numpy()
            for rows in iter_rows(len(task))
        ]
        return np.concatenate(blocks)

    def save(
        self,
        zoo: Zoo | str | os.PathLike[str],
        *,
        name: str | None = None,
        test: Task | None = None,
        build: tuple[str, Mapping[str, Any]] | None = None,
        description: str = "",
        overwrite: bool = False,
    ) -> Path:
        """Save the network to a zoo, with all its hidden modules as layers.

        The card states source task and classes, proxies, schedule, seed, labels needed, recipe and,
        with `test`, the accuracy.

        Parameters
        ----------
        zoo : Zoo or path-like
            Where to write; a folder becomes a zoo.
        name : str, optional
            Name of the module; by default made of the network and the proxies.
        test : Task, optional
            Held-out examples of the source task; their accuracy is stated in the card.
        build : tuple of (str, dict), optional
            How the network is rebuilt, ``("package:Class", arguments)``; reference networks know.
        description : str, default=""
            A sentence for the model card.
        overwrite : bool, default=False
            Whether a module of the same name is replaced.

        Returns
        -------
        Path
            The folder of the module.

        Raises
        ------
        ModtoolsError
            `build` is missing, or the preprocessing cannot be saved.
        """
        zoo = zoo if isinstance(zoo, Zoo) else Zoo(zoo)
        training = {**self.settings, "labels_needed": self.labels_needed, "seconds": self.seconds}
        if test is not None:
            training["accuracy"] = self.accuracy(test)
            training["n_test_rows"] = len(test)
        return zoo.save(
            self._module(name or self._name(), build),
            source_task=self.settings["source_task"],
            proxy=", ".join(dict.fromkeys(self.settings["proxy"])) or None,
            description=description,
            overwrite=overwrite,
            training=training,
        )

    def display(self) -> TrainingDisplay:
        """Return the plot of this run: validation accuracy against seconds.

        Returns
        -------
        TrainingDisplay
            Not yet drawn.
        """
        runs = self.history.rename(columns={"validation_accuracy": "accuracy"})
        runs = runs.assign(method=self.settings["schedule"] + ": " + runs["module"])
        if runs["accuracy"].isna().all():
            raise ModtoolsError(
                "there is no accuracy to draw: train with validation=, a held-out task."
            )
        memory = dict.fromkeys(runs["method"].unique(), self.peak_activation_bytes)
        return TrainingDisplay(runs=runs, memory=memory if len(memory) == 1 else None)

    def plot(self, ax: "Axes | None" = None) -> TrainingDisplay:
        """Draw validation accuracy against seconds.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default on a new figure.

        Returns
        -------
        TrainingDisplay
            The picture, drawn.
        """
        return self.display().plot(ax)

    def frame(self) -> "pd.DataFrame":
        """Return the history: one row per epoch and module.

        Returns
        -------
        pandas.DataFrame
            A copy of `history`.
        """
        return self.history.copy()

    def title(self) -> str:
        """Return as one line what was trained, how, and at what cost.

        Returns
        -------
        str
            The line above the table.
        """
        settings = self.settings
        proxies = ", ".join(dict.fromkeys(settings["proxy"]))
        how = f"{settings['schedule']}{f' ({proxies})' if proxies else ''}"
        noun = "module" if len(self.modules) == 1 else "modules"
        return (
            f"{settings['network']} on {settings['source_task']}, {how}, "
            f"{len(self.modules)} hidden {noun}, {self.seconds:.0f} s, peak activations "
            f"{self.peak_activation_bytes / 1e6:.0f} MB"
        )

    def _columns(self) -> list[Column]:
        return [
            Column("module", str, ("module",)),
            Column("epoch", str, ("epoch",)),
            Column("loss", "{:.4g}".format, ("loss",)),
            Column("validation loss", where_known("{:.4g}".format), ("validation_loss",)),
            Column("validation accuracy (%)", where_known(percent), ("validation_accuracy",)),
        ]

    def _shown(self) -> "pd.DataFrame":
        """Return the last epoch of each module."""
        return self.history.groupby("module", sort=False).tail(1)

    def _extra(self) -> dict[str, Any]:
        return {
            "peak_activation_bytes": self.peak_activation_bytes,
            "labels_needed": self.labels_needed,
        }

    def __repr__(self) -> str:
        return f"TrainingResult({self.title()})"
