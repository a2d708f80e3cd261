"""The baseline of a study: a network trained end to end from scratch with the same few labels."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np
from scipy.special import softmax

from modtools._progress import quiet
from modtools._types import ClassCodes
from modtools.exceptions import ModtoolsError
from modtools.modules import PretrainedModule, check_device, extract
from modtools.studies._measure import Line, Measured
from modtools.tasks import Task

if TYPE_CHECKING:
    from torch import nn

    from modtools.training import Recipe

__all__ = ["FROM_SCRATCH", "Baseline"]

FROM_SCRATCH: Final = Line("from scratch", "end to end", "random")
_LEAST_STEPS, _LEAST_EPOCHS = 500, 10
_ADDRESS = re.compile(r" at 0x[0-9a-f]+", re.IGNORECASE)


@runtime_checkable
class _Describing(Protocol):
    """An option of training that says what it is, such as a recipe."""

    def as_dict(self) -> dict[str, Any]: ...


@runtime_checkable
class _Network(Protocol):
    """A network (or its class), told from other callables without loading torch."""

    def parameters(self) -> Any: ...


def _plain(value: Any) -> Any:
    """Return a value as plain JSON, the same in every process."""
    if isinstance(value, _Describing):
        return value.as_dict()
    return getattr(value, "fingerprint", None) or _ADDRESS.sub("", str(value))


def _new_network(network: "Callable[[], nn.Module]", seed: int) -> "nn.Module":
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = network()
    if not isinstance(made, nn.Module):
        raise ModtoolsError(
            "network must be a function without arguments that returns a new torch.nn.Module; "
            f"it returned {type(made).__name__}."
        )
    return made


@dataclass(frozen=True)
class Baseline:
    """A network that is trained end to end with a random subset of labels.

    Attributes
    ----------
    network : callable
        Returns a new network.
    training : mapping
        Arguments of `train_end_to_end`. By default as many epochs as make 500 steps, ten at least.
    train, test : Task
        The pool and the test examples.
    device : str or None
        Where networks are trained and run, unless `training` says otherwise.
    """

    network: "Callable[[], nn.Module]"
    training: Mapping[str, Any]
    train: "Task"
    test: "Task"
    device: str | None = None

    @classmethod
    def checked(
        cls, network: Any, training: Any, train: Task, test: Task, *, device: str | None = None
    ) -> "Baseline | None":
        """Return the baseline of a study, None where no network is given, or raise."""
        if network is None:
            if training is not None:
                raise ModtoolsError("training= is for the baseline: give network= too.")
            return None
        if not callable(network) or isinstance(network, _Network):
            raise ModtoolsError(
                "network must be a function without arguments that returns a new torch.nn.Module, "
                f"so that each repeat starts from scratch; got {type(network).__name__}."
            )
        for name in sorted({"checkpoint", "seed"} & set(training or {})):
            raise ModtoolsError(
                f"training= must leave out {name}: each repeat and label count is a run of its own."
            )
        if not (train.has_inputs and test.has_inputs):
            raise ModtoolsError(
                "a network from scratch reads the inputs of tasks, and labels alone have none: "
                "pass Tasks, for example Task(inputs, labels)."
            )
        check_device(device, None)
        return cls(network, dict(training or {}), train, test, device)

    def describe(self) -> dict[str, Any]:
        """Return what defines the baseline, as plain JSON: all but where it runs."""
        plain = {name: _plain(value) for name, value in self.training.items() if name != "device"}
        network = _ADDRESS.sub("", str(_new_network(self.network, 0)))
        return {"network": network, "training": plain}

    def measure(self, order: ClassCodes, *, seed: int, n_classes: int) -> Measured:
        """Return how a network trained on some examples of the pool does, for that one label count.

        Parameters
        ----------
        order : ndarray of shape (n_labels,)
            Examples of the pool to learn from.
        seed : int
            Of the new network and of its training.
        n_classes : int
            Number of all classes, those that occur only in the test examples included.
        """
        from modtools.training import Recipe, train_end_to_end

        recipe = self.training.get("recipe") or Recipe()
        options = {"device": self.device, **self._epochs(len(order), recipe), **self.training}
        fresh = _new_network(self.network, seed)
        with quiet():
            result = train_end_to_end(fresh, self.train.subset(order), seed=seed, **options)
            prepare = result.modules[0].preprocess
            whole = PretrainedModule(result.network, name="scratch", preprocess=prepare)
            found = extract(whole, self.test, device=options["device"])
        logits = np.asarray(found, dtype=np.float64)
        classes, tested = self.train.classes, self.test.labels
        codes = np.minimum(np.searchsorted(classes, tested), len(classes) - 1)
        is_known = classes[codes] == tested
        own = softmax(logits, axis=1)[np.arange(len(codes)), codes] * is_known
        share = 1 / (len(order) + 1)  # as for output modules
        loss = -np.log((1 - share) * own + share / n_classes).mean()
        return Measured.of(((logits.argmax(axis=1) == codes) & is_known)[None], loss)

    def _epochs(self, n_labels: int, recipe: "Recipe") -> dict[str, int]:
        """Return the epochs that make enough steps, where the caller does not say."""
        if {"epochs", "max_seconds"} & set(self.training):
            return {}
        n_batches = -(-n_labels // recipe.batch_size)
        return {"epochs": max(_LEAST_EPOCHS, -(-_LEAST_STEPS // n_batches))}
