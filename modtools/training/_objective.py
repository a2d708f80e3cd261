"""Losses that modules minimise, and their measurement on held-out examples."""

import copy
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from modtools._escape import one_line
from modtools.exceptions import ModtoolsError
from modtools.outputs import ClassMeanOutput
from modtools.proxies import PROXIES, Pairs, Proxy, check_required_labels
from modtools.tasks import Task, encode_labels
from modtools.training._batches import Source, iter_rows, running

__all__ = [
    "CrossEntropy",
    "HeldOut",
    "Learner",
    "Objective",
    "ProxyChoice",
    "ProxyObjective",
    "codes_of",
    "make_objective",
    "name_of",
]

ProxyChoice: TypeAlias = str | Proxy | Callable[[Tensor, Tensor], Tensor]

_PROJECTED = 128  # features of a projected map
_SIDE = 2  # its largest height and width
_N_REFERENCES: Final = 2000


class Objective(nn.Module):
    """A loss on the outputs of a module; its own parameters are discarded after training."""

    uses_inputs: bool = False

    @property
    @abstractmethod
    def required_labels(self) -> str:
        """The labels that it needs: "none", "pairs" or "classes"."""

    @abstractmethod
    def forward(
        self, outputs: Tensor, labels: Tensor | Pairs, inputs: Tensor | None = None
    ) -> Tensor:
        """Return the loss of a batch, a scalar.

        Parameters
        ----------
        outputs : Tensor of shape (n_samples, ...)
            Outputs of the module.
        labels : Tensor of shape (n_samples,), or Pairs
            Class codes, or the pairs of examples that are known.
        inputs : Tensor of shape (n_samples, ...), optional
            Inputs of the network; used by proxies with `uses_inputs`.
        """


class CrossEntropy(Objective):
    """Cross-entropy of logits: the objective of output modules and of end-to-end training.

    Examples
    --------
    >>> import torch
    >>> round(float(CrossEntropy()(torch.zeros(2, 4), torch.tensor([0, 3]))), 4)
    1.3863
    """

    @property
    def required_labels(self) -> str:
        """Classes."""
        return "classes"

    def forward(
        self, outputs: Tensor, labels: Tensor | Pairs, inputs: Tensor | None = None
    ) -> Tensor:
        """Return the mean loss of logits (n_samples, n_classes), in at least float32."""
        if isinstance(labels, Pairs):
            raise ModtoolsError("cross-entropy needs the class of each example; got Pairs.")
        logits = outputs if outputs.element_size() >= 4 else outputs.float()
        return functional.cross_entropy(logits, labels.to(outputs.device))


class ProxyObjective(Objective):
    """A proxy, after a projection if it cannot read the outputs of the module directly."""

    def __init__(self, proxy: Proxy, projection: nn.Module) -> None:
        super().__init__()
        self.projection = projection
        self.proxy = proxy
        self.uses_inputs = proxy.uses_inputs

    @property
    def required_labels(self) -> str:
        """The labels that the proxy needs."""
        return self.proxy.required_labels

    def forward(
        self, outputs: Tensor, labels: Tensor | Pairs, inputs: Tensor | None = None
    ) -> Tensor:
        """Return the proxy's loss on the projected outputs, a scalar."""
        with running(f"the projection of maps failed on outputs {tuple(outputs.shape)}"):
            features = self.projection(outputs)
        given = {"inputs": inputs} if self.uses_inputs else {}
        with running(self._failed(features, labels)):
            loss: Tensor = self.proxy(features, labels, **given)
        self._check_loss(loss, features)
        return loss

    def _failed(self, features: Tensor, labels: Tensor | Pairs) -> str:
        n_labels = f"{len(labels)} pairs"
        if not isinstance(labels, Pairs):
            n_labels = f"labels {tuple(labels.shape)}"
        name = name_of(self.proxy)
        return f"the proxy {name} failed on features {tuple(features.shape)} and {n_labels}"

    def _check_loss(self, loss: Any, features: Tensor) -> None:
        """Raise unless the loss is one number that depends on the features."""
        name = name_of(self.proxy)
        if not isinstance(loss, Tensor) or loss.ndim or not loss.is_floating_point():
            got = repr(loss)
            if isinstance(loss, Tensor):
                got = f"{loss.dtype} of shape {tuple(loss.shape)}"
            raise ModtoolsError(
                f"the proxy {name} must return a loss, a tensor with one number; got {got}."
            )
        if features.requires_grad and not loss.requires_grad:
            raise ModtoolsError(
                f"the loss of the proxy {name} has no gradient: compute it from the features by "
                "operations of torch."
            )


class _FunctionProxy(Proxy):
    """A proxy made of a function of the features and the class codes of a batch."""

    required_labels: ClassVar[Literal["none", "pairs", "classes"]] = "classes"

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function  # a torch module is trained, moved and saved with this one

    def forward(self, features: Tensor, labels: Tensor | Pairs) -> Tensor:
        """Return the loss of the function, a scalar."""
        if isinstance(labels, Pairs):
            raise ModtoolsError(
                f"{name_of(self.function)} needs the class of each example; got Pairs."
            )
        return self.function(features, labels.to(features.device))

    def optimum(self, labels: Any) -> float:
        """Return minus infinity: there is no known bound."""
        return -float("inf")


def name_of(proxy: ProxyChoice) -> str:
    """Return the name of a proxy in settings, with its own settings if it shows them.

    >>> name_of("supcon"), name_of(functional.mse_loss), name_of(PROXIES["supcon"]())
    ('supcon', 'mse_loss', "SupCon(feature_map='unit', temperature=0.1)")
    """
    if isinstance(proxy, str):
        return proxy
    if isinstance(proxy, _FunctionProxy):
        return name_of(proxy.function)
    if isinstance(proxy, nn.Module):
        return f"{type(proxy).__name__}({proxy.extra_repr()})"
    if isinstance(proxy, partial):
        given = [f"{value!r}" for value in proxy.args]
        given += [f"{key}={value!r}" for key, value in proxy.keywords.items()]
        return f"{name_of(proxy.func)}({', '.join(given)})"
    return str(getattr(proxy, "__name__", type(proxy).__name__))


def make_objective(proxy: ProxyChoice, shape: tuple[int, ...], n_classes: int) -> ProxyObjective:
    """Return the objective that trains a module with a proxy.

    Feature vectors go to the proxy unchanged, and so do feature maps if the proxy has a head for
    them (predsim, local_classifier); for every other proxy maps go through a projection: average
    pooling to at most 2x2 positions, a linear layer to 128 features, batch norm.

    Parameters
    ----------
    proxy : str, Proxy or callable
        Name in `modtools.proxies.PROXIES`, a proxy, of which a copy is used, or a function of
        features and class codes that returns a loss.
    shape : tuple of int
        Shape of the module's output for one example: (n_features,) or (channels, height, width).
    n_classes : int
        Number of classes, for proxies that classify.

    Examples
    --------
    >>> import torch
    >>> objective = make_objective("supcon", (8, 7, 7), n_classes=2)
    >>> objective.projection(torch.rand(4, 8, 7, 7)).shape
    torch.Size([4, 128])
    >>> objective(torch.rand(4, 8, 7, 7), torch.tensor([0, 1, 0, 1])).shape
    torch.Size([])
    """
    if len(shape) not in (1, 3):
        raise ModtoolsError(
            "a proxy reads vectors (n_features,) or maps (channels, height, width) per example; "
            f"the module returns {tuple(shape)}. Cut elsewhere, or end the module with a layer "
            "that pools or flattens."
        )
    made = _make_proxy(proxy, shape, n_classes)
    if len(shape) == 1 or made.needs_shape:
        return ProxyObjective(made, nn.Identity())
    return ProxyObjective(made, _projection(*shape))


def _make_proxy(proxy: ProxyChoice, shape: tuple[int, ...], n_classes: int) -> Proxy:
    if isinstance(proxy, Proxy):
        check_required_labels(proxy, name=type(proxy).__name__)
        return copy.deepcopy(proxy)
    if callable(proxy) and not isinstance(proxy, type):
        return _FunctionProxy(copy.deepcopy(proxy) if isinstance(proxy, nn.Module) else proxy)
    if not isinstance(proxy, str):
        raise ModtoolsError(
            f'proxy must be a name, as "supcon", a function, or a Proxy; got {proxy!r}.'
        )
    kind = PROXIES[proxy]
    arguments: tuple[Any, ...] = ()
    if kind.needs_shape:
        arguments = (shape[0] if len(shape) == 1 else shape, n_classes)
    try:
        return kind(*arguments)
    except TypeError as error:
        what = "of shape and n_classes" if arguments else "without arguments"
        raise ModtoolsError(
            f'proxy "{proxy}" cannot be made {what}: {one_line(error)}. A class with a head for '
            "features of one shape declares needs_shape = True; give an object of any other class."
        ) from error


def _projection(channels: int, height: int, width: int) -> nn.Sequential:
    side = (min(_SIDE, height), min(_SIDE, width))
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(side),
        nn.Flatten(),
        nn.Linear(channels * side[0] * side[1], _PROJECTED, bias=False),
        nn.BatchNorm1d(_PROJECTED),
    )


@dataclass
class Learner:
    """A module in training: its name, its own objective and its own optimizer."""

    name: str
    module: nn.Module
    objective: Objective
    optimizer: torch.optim.Optimizer

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def outputs(self, features: Tensor) -> Tensor:
        """Return the outputs of the module for a batch, in float32."""
        mode = "training" if self.module.training else "evaluation"
        what = f"module {self.name} failed on a batch of shape {tuple(features.shape)}"
        with running(f"{what} in {mode} mode"):
            outputs = self.module(features)
        if not isinstance(outputs, Tensor):
            raise ModtoolsError(
                f"module {self.name} must return a tensor; in {mode} mode it returns "
                f"{type(outputs).__name__}."
            )
        return outputs.float()

    def parts(self) -> dict[str, Any]:
        """Return the state for a checkpoint, other than the network's weights."""
        return {
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, parts: dict[str, Any]) -> None:
        """Restore the state that `parts` returned."""
        self.objective.load_state_dict(parts["objective"])
        self.optimizer.load_state_dict(parts["optimizer"])


class HeldOut:
    """Measures the learners of a phase on a validation task.

    The accuracy of an output module is its own; that of a hidden module is the accuracy of class
    means on its features (averaged over positions), fitted on at most 2000 training examples.

    Parameters
    ----------
    task : Task
        The validation task.
    source : Source
        Inputs of the first learner for its examples.
    training : Task
        The training task.
    training_source : Source
        Inputs of the first learner for its examples.
    """

    def __init__(
        self, task: Task, source: Source, *, training: Task, training_source: Source
    ) -> None:
        self._source, self._training_source = source, training_source
        # Shuffled: blocks sorted by class would contain no pairs of different classes.
        self._rows = np.random.default_rng(0).permutation(len(task))
        self._codes = codes_of(task, training.classes)[self._rows]
        n_rows = len(training)
        self._references = np.linspace(0, n_rows - 1, min(n_rows, _N_REFERENCES)).astype(int)
        self._reference_codes = codes_of(training, training.classes)[self._references]

    def measure(self, learners: list[Learner]) -> dict[str, dict[str, float]]:
        """Return validation_loss and validation_accuracy of each learner by name."""
        for learner in learners:
            learner.module.eval()
            learner.objective.eval()
        sums, outputs = _outputs_of(learners, self._source, self._rows, self._codes)
        needs_means = any(not isinstance(one.objective, CrossEntropy) for one in learners)
        chosen = self._references[: len(self._references) if needs_means else 0]
        references = _outputs_of(learners, self._training_source, chosen, self._reference_codes)[1]
        found = {}
        for place, learner in enumerate(learners):
            read: list[NDArray[Any]] = [np.array(sums[place]), outputs[place], references[place]]
            if not all(np.isfinite(values).all() for values in read):
                raise ModtoolsError(
                    f"module {learner.name} gives outputs or a loss that are not finite on the "
                    "validation examples, although its weights are. Check their inputs."
                )
            if isinstance(learner.objective, CrossEntropy):
                predicted: NDArray[Any] = outputs[place].argmax(axis=1)
            else:
                means = ClassMeanOutput().fit(references[place], self._reference_codes)
                predicted = means.predict(outputs[place])
            found[learner.name] = {
                "validation_loss": sums[place] / len(self._codes),
                "validation_accuracy": float(np.mean(predicted == self._codes)),
            }
        return found


def codes_of(task: Task, classes: NDArray[Any]) -> NDArray[np.intp]:
    """Return the position of each label of a task in `classes`; an unknown label raises."""
    codes = encode_labels(task.labels, kind="classification", classes=list(classes)).codes
    assert codes is not None  # classification always has codes
    return codes


@torch.no_grad()
def _outputs_of(
    learners: list[Learner], source: Source, rows: NDArray[Any], codes: NDArray[np.intp]
) -> tuple[list[float], list[NDArray[Any]]]:
    """Return each learner's summed loss and its outputs, one row per example."""
    sums = [0.0] * len(learners)
    outputs: list[list[NDArray[Any]]] = [[] for _ in learners]
    for block in iter_rows(len(rows)):
        inputs, features = source.batch(rows[block])
        labels = torch.as_tensor(codes[block])
        for place, learner in enumerate(learners):
            features = learner.outputs(features)
            loss = float(learner.objective(features, labels, inputs))
            sums[place] += loss * len(block)
            # Copied, because the next module may work in place.
            outputs[place].append(_to_rows(features).cpu().numpy().copy())
    return sums, [np.concatenate(blocks) if blocks else np.empty((0, 1)) for blocks in outputs]


def _to_rows(features: Tensor) -> Tensor:
    return features.flatten(2).mean(dim=2) if features.ndim > 2 else features
