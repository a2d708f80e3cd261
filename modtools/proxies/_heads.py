"""Proxies with a small auxiliary head, which is trained with the module and then discarded."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from modtools._checks import check_boolean, check_integer
from modtools._feature_maps import FEATURE_MAPS
from modtools.exceptions import ModtoolsError
from modtools.proxies._base import Proxy, ProxyLabels, RequiredLabels, check_codes, check_rows
from modtools.proxies._products import gram

__all__ = ["LocalClassifier", "PredSim"]

Shape = int | tuple[int, int, int]
_MAX_DECODED = 4096  # entries of a pooled map that a linear classifier reads
_VARIANCE_FLOOR = 1e-8  # keeps the gradient of a deviation finite where a channel is constant


class _HeadProxy(Proxy):
    """A proxy with heads for features of one shape and a fixed number of classes."""

    required_labels: ClassVar[RequiredLabels] = "classes"
    needs_shape: ClassVar[bool] = True
    _name: ClassVar[str]

    def __init__(self, shape: Shape, n_classes: int) -> None:
        super().__init__()
        sizes = tuple(shape) if isinstance(shape, Sequence) else (shape,)
        if len(sizes) not in (1, 3):
            raise ModtoolsError(
                "the shape of features must be a number of features or (channels, height, width); "
                f"got {shape!r}."
            )
        self.shape = tuple(check_integer(size, name="size of features") for size in sizes)
        self.n_classes = check_integer(n_classes, name="n_classes", minimum=2)

    def _checked(self, features: Tensor, labels: ProxyLabels) -> tuple[Tensor, Tensor]:
        rows = check_rows(features, maximum_dims=4, minimum_rows=1)
        if tuple(rows.shape[1:]) != self.shape:
            raise ModtoolsError(
                f"features must have shape (n_samples, {', '.join(map(str, self.shape))}), as "
                f"{self._name} was built for; got {tuple(rows.shape)}."
            )
        rows = rows.to(next(self.parameters()).dtype)
        return rows, check_codes(labels, rows, self.n_classes, proxy=self._name)

    def _classifier_loss(self, head: nn.Module, rows: Tensor, codes: Tensor) -> Tensor:
        logits = head(rows)
        return functional.cross_entropy(check_rows(logits), codes)

    def optimum(self, labels: ProxyLabels) -> float:
        """Return 0, a lower bound that is approached but not reached."""
        return 0.0

    def extra_repr(self) -> str:
        """Return the settings that `print` shows."""
        return f"shape={self.shape}, n_classes={self.n_classes}"


def _pooled_side(channels: int, height: int, width: int) -> tuple[int, int]:
    """Return the largest height and width at which a map has at most `_MAX_DECODED` entries."""
    factor = max(1, math.ceil(math.sqrt(channels * height * width / _MAX_DECODED)))
    return max(1, height // factor), max(1, width // factor)


class PredSim(_HeadProxy):
    """Local classification and similarity matching: (1 - beta) pred + beta sim.

    *pred* is the cross-entropy of a linear classifier. *sim* is a mean squared difference between
    two matrices of cosine similarities: that of the outputs of a linear head (for feature maps a
    3x3 convolution), each centred over its features, and that of the centred one-hot labels, which
    is 1 within a class and -1 / (C - 1) between classes. Outputs that are maps are first reduced to
    the spatial standard deviation of each channel. The loss has the lower bound 0. Registered as
    ``predsim``.

    Parameters
    ----------
    shape : int or tuple (channels, height, width)
        Shape of the features of one example.
    n_classes : int
        Number of classes, codes 0..n_classes-1.
    beta : float, default=0.99
        Weight of *sim*, in [0, 1].

    References
    ----------
    Nokland & Eidnes, "Training neural networks with local error signals", ICML 2019.

    Examples
    --------
    >>> proxy = PredSim(2, n_classes=2)
    >>> loss = proxy(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]), [0, 0, 1, 1])
    >>> loss.backward()
    """

    _name: ClassVar[str] = "predsim"

    def __init__(self, shape: Shape, n_classes: int, *, beta: float = 0.99) -> None:
        super().__init__(shape, n_classes)
        if isinstance(beta, bool) or not isinstance(beta, Real) or not 0 <= beta <= 1:
            raise ModtoolsError(f"beta must lie in [0, 1]; got {beta!r}.")
        self.beta: float = float(beta)
        self.similarity: nn.Module
        self.classifier: nn.Module
        if len(self.shape) == 1:
            self.similarity = nn.Linear(*self.shape, *self.shape)
            self.classifier = nn.Linear(*self.shape, n_classes)
        else:
            channels, height, width = self.shape
            side = _pooled_side(channels, height, width)
            self.similarity = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
            self.classifier = nn.Sequential(
                nn.AdaptiveAvgPool2d(side),
                nn.Flatten(),
                nn.Linear(channels * side[0] * side[1], n_classes),
            )

    def forward(self, features: Tensor, labels: ProxyLabels) -> Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        features : Tensor of shape (n_samples, *shape)
            Output of a module.
        labels : Tensor or array-like of shape (n_samples,)
            Class codes 0..n_classes-1.

        Returns
        -------
        Tensor of shape ()
            Loss, at least 0.

        Raises
        ------
        ModtoolsError
            Features of another shape, codes outside 0..n_classes-1, or `Pairs`.
        """
        rows, codes = self._checked(features, labels)
        pred = self._classifier_loss(self.classifier, rows, codes)
        projected = check_rows(self.similarity(rows), maximum_dims=4)
        with torch.autocast(rows.device.type, enabled=False):
            return (1 - self.beta) * pred + self.beta * self._similarity_loss(projected, codes)

    def _similarity_loss(self, projected: Tensor, codes: Tensor) -> Tensor:
        if projected.ndim == 4 and projected.shape[1] > 3 and projected[0, 0].numel() > 1:
            projected = (projected.var(dim=(2, 3), correction=0) + _VARIANCE_FLOOR).sqrt()
        rows = projected.flatten(start_dim=1)
        kernel = gram(FEATURE_MAPS["unit"](rows - rows.mean(dim=1, keepdim=True)))
        other = -1 / (self.n_classes - 1)
        ideal = (codes[:, None] == codes).to(kernel.dtype).mul_(1 - other).add_(other)
        return functional.mse_loss(kernel, ideal)


class LocalClassifier(_HeadProxy):
    """Cross-entropy of a small auxiliary classifier on top of the module.

    The classifier has one hidden layer; feature maps first pass a 1x1 convolution and are pooled to
    2x2. It is small on purpose, because a strong classifier hides poor features. The loss has the
    lower bound 0. Registered as ``local_classifier``.

    Parameters
    ----------
    shape : int or tuple (channels, height, width)
        Shape of the features of one example.
    n_classes : int
        Number of classes, codes 0..n_classes-1.
    n_hidden : int, default=128
        Units of the hidden layer.
    fixed : bool, default=False
        Keep the head at its random initial weights, so that only the module is trained.

    References
    ----------
    Belilovsky, Eickenberg & Oyallon, "Greedy layerwise learning can scale to ImageNet", ICML 2019,
    and "Decoupled greedy learning of CNNs", ICML 2020; Mostafa, Ramesh & Cauwenberghs, "Deep
    supervised learning using local errors", Frontiers in Neuroscience 2018 (fixed heads).

    Examples
    --------
    >>> proxy = LocalClassifier((8, 7, 7), n_classes=3)
    >>> proxy(torch.ones(4, 8, 7, 7), [0, 1, 2, 0]).shape
    torch.Size([])
    """

    _name: ClassVar[str] = "local_classifier"

    def __init__(
        self, shape: Shape, n_classes: int, *, n_hidden: int = 128, fixed: bool = False
    ) -> None:
        super().__init__(shape, n_classes)
        check_integer(n_hidden, name="n_hidden")
        layers: list[nn.Module] = []
        n_features = self.shape[0]
        if len(self.shape) == 3:
            channels, height, width = self.shape
            side = (min(2, height), min(2, width))
            layers += [nn.Conv2d(channels, channels, kernel_size=1), nn.ReLU()]
            layers += [nn.AdaptiveAvgPool2d(side), nn.Flatten()]
            n_features = channels * side[0] * side[1]
        layers += [nn.Linear(n_features, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_classes)]
        self.classifier = nn.Sequential(*layers)
        self.requires_grad_(not check_boolean(fixed, name="fixed"))

    def forward(self, features: Tensor, labels: ProxyLabels) -> Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        features : Tensor of shape (n_samples, *shape)
            Output of a module.
        labels : Tensor or array-like of shape (n_samples,)
            Class codes 0..n_classes-1.

        Returns
        -------
        Tensor of shape ()
            Loss, at least 0.

        Raises
        ------
        ModtoolsError
            Features of another shape, codes outside 0..n_classes-1, or `Pairs`.
        """
        rows, codes = self._checked(features, labels)
        return self._classifier_loss(self.classifier, rows, codes)
