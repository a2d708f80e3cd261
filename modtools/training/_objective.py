"""What a module is trained to minimise: a loss with parameters of its own, then discarded."""

import copy
import inspect
from abc import abstractmethod

from torch import Tensor, nn
from torch.nn import functional

from modtools.exceptions import ModtoolsError
from modtools.proxies import PROXIES, Pairs, Proxy

__all__ = ["CrossEntropy", "Objective", "ProxyObjective", "make_objective"]

_PROJECTED = 128  # features that a projection makes of maps
_SIDE = 2  # places in height and width that it keeps


class Objective(nn.Module):
    """A loss on what a module returns; its own parameters are discarded after training."""

    uses_inputs: bool = False

    @property
    @abstractmethod
    def required_labels(self) -> str:
        """The least it must know: "none", "pairs" or "classes"."""

    @abstractmethod
    def forward(
        self, outputs: Tensor, labels: Tensor | Pairs, inputs: Tensor | None = None
    ) -> Tensor:
        """Return the loss of a batch, a scalar.

        Parameters
        ----------
        outputs : Tensor of shape (n_samples, ...)
            What the module returned.
        labels : Tensor of shape (n_samples,), or Pairs
            Class codes, or the pairs of rows that are known.
        inputs : Tensor of shape (n_samples, ...), optional
            What the network was given; read by proxies with `uses_inputs`.
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
            raise ModtoolsError("cross-entropy needs the class of each row; got Pairs.")
        logits = outputs if outputs.element_size() >= 4 else outputs.float()
        return functional.cross_entropy(logits, labels.to(outputs.device))


class ProxyObjective(Objective):
    """A proxy, behind a projection where the module returns what the proxy cannot read."""

    def __init__(self, proxy: Proxy, projection: nn.Module) -> None:
        super().__init__()
        self.projection = projection
        self.proxy = proxy
        self.uses_inputs = proxy.uses_inputs

    @property
    def required_labels(self) -> str:
        """What the proxy must know."""
        return self.proxy.required_labels

    def forward(
        self, outputs: Tensor, labels: Tensor | Pairs, inputs: Tensor | None = None
    ) -> Tensor:
        """Return the proxy's loss on the projected outputs."""
        features = self.projection(outputs)
        if self.uses_inputs:
            loss: Tensor = self.proxy(features, labels, inputs=inputs)
        else:
            loss = self.proxy(features, labels)
        return loss


def make_objective(proxy: str | Proxy, shape: tuple[int, ...], n_classes: int) -> ProxyObjective:
    """Return the objective that trains a module with a proxy.

    Rows pass to the proxy unchanged. Maps do so where the proxy has a head for them (predsim,
    local_classifier); for every other proxy they pass a projection: average pooling to at most 2x2
    places, a linear layer to 128 features, batch norm.

    Parameters
    ----------
    proxy : str or Proxy
        Name in `modtools.proxies.PROXIES`, or a proxy, of which a copy is used.
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
            "a proxy reads rows (n_features,) or maps (channels, height, width) of each example; "
            f"the module returns {tuple(shape)}. Cut elsewhere, or end the module with a layer "
            "that pools or flattens."
        )
    made = _make_proxy(proxy, shape, n_classes)
    if len(shape) == 1 or hasattr(made, "shape"):
        return ProxyObjective(made, nn.Identity())
    return ProxyObjective(made, _projection(*shape))


def _make_proxy(proxy: str | Proxy, shape: tuple[int, ...], n_classes: int) -> Proxy:
    if isinstance(proxy, Proxy):
        return copy.deepcopy(proxy)
    if not isinstance(proxy, str):
        raise ModtoolsError(f'proxy must be a name, as "supcon", or a Proxy; got {proxy!r}.')
    made: type[Proxy] = PROXIES[proxy]
    if "shape" not in inspect.signature(made).parameters:
        return made()
    arguments = (shape[0] if len(shape) == 1 else shape, n_classes)
    return made(*arguments)


def _projection(channels: int, height: int, width: int) -> nn.Sequential:
    side = (min(_SIDE, height), min(_SIDE, width))
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(side),
        nn.Flatten(),
        nn.Linear(channels * side[0] * side[1], _PROJECTED, bias=False),
        nn.BatchNorm1d(_PROJECTED),
    )
