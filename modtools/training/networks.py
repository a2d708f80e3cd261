"""Reference networks: sequences of named blocks that can be cut into modules anywhere.

The last block is ``output``, a linear layer; the one before is ``features``, which ends in a
feature map of the kernel proxies, so that the output module is a kernel machine. Initial
weights come from torch's global generator, as in any layer of torch.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from modtools._checks import check_choice, check_integer
from modtools._feature_maps import FEATURE_MAPS
from modtools._types import SupportsArray
from modtools.exceptions import ModtoolsError
from modtools.tasks import Task

__all__ = [
    "NETWORKS",
    "CompactConvNet",
    "FeatureMap",
    "MultilayerPerceptron",
    "ResNet18",
    "compact_convnet",
    "multilayer_perceptron",
    "network_maker",
    "resnet18",
]

_HIDDEN_UNITS: Final = (256, 128)
_UNIT_LENGTH: Final = ("relu_normalised", "unit")


class FeatureMap(nn.Module):
    """A feature map of `modtools.transferability.FEATURE_MAPS` as a layer without parameters.

    It computes in at least float32: in bfloat16 vectors would have length 1 only to two digits.

    Parameters
    ----------
    name : str, default="relu_normalised"
        Key of `modtools.transferability.FEATURE_MAPS`.

    Examples
    --------
    >>> FeatureMap("relu_normalised")(torch.tensor([[3.0, -1.0, 4.0]]))
    tensor([[0.6000, 0.0000, 0.8000]])
    """

    def __init__(self, name: str = "relu_normalised") -> None:
        super().__init__()
        self.name = check_choice(name, list(FEATURE_MAPS), name="feature_map")

    def forward(self, rows: Tensor) -> Tensor:
        """Return the mapped feature vectors (n_samples, n_features)."""
        precise = rows if rows.dtype == torch.float64 else rows.float()
        mapped: Tensor = FEATURE_MAPS[self.name](precise)
        return mapped

    def extra_repr(self) -> str:
        """Return the settings that `print` shows."""
        return repr(self.name)


class _BlockNetwork(nn.Sequential):
    """Named blocks that run one after the other; `arguments` rebuild the network."""

    def __init__(self, blocks: Mapping[str, nn.Module], arguments: dict[str, Any]) -> None:
        super().__init__(OrderedDict(blocks))
        self.arguments = arguments

    def __getitem__(self, index: slice | int) -> Any:
        # A slice is not another network of this class.
        if isinstance(index, slice):
            return nn.Sequential(OrderedDict(list(self._modules.items())[index]))
        return super().__getitem__(index)


def _convolution(n_in: int, n_out: int, *, pool: bool = False) -> nn.Sequential:
    """Return 3x3 convolution, batch norm and ReLU; pooling before the norm saves work."""
    layers: list[nn.Module] = [nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)]
    if pool:
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))


def _head(n_in: int, n_out: int, feature_map: str) -> list[nn.Module]:
    """Return the layers from feature vectors to mapped features.

    Batch norm comes before the map: without it a ReLU can give zero vectors, which get no gradient.
    """
    return [nn.Linear(n_in, n_out, bias=False), nn.BatchNorm1d(n_out), FeatureMap(feature_map)]


def _output(n_in: int, n_classes: int, feature_map: str) -> nn.Linear:
    """Return the output module; on vectors of length 1 its initial logits have variance 1.

    With torch's initialisation logits would start near 0, and the blocks before would get almost no
    gradient for most of an epoch.
    """
    layer = nn.Linear(n_in, n_classes)
    if feature_map in _UNIT_LENGTH:
        nn.init.normal_(layer.weight)
    return layer


class CompactConvNet(_BlockNetwork):
    """A convolutional network of 0.26 M parameters that trains well on a CPU.

    Blocks: ``block1`` to ``block4`` (32, 64, 128, 128 channels, halved in size by the first two),
    ``features`` (128 features), ``output``. For images of 8 to 64 pixels.

    Parameters
    ----------
    n_classes : int, default=10
        Number of outputs.
    in_channels : int, default=1
        Channels of the images: 1 for grey, 3 for colour.
    feature_map : str, default="relu_normalised"
        Feature map that ends the last block before the output: key of
        `modtools.transferability.FEATURE_MAPS`.

    Attributes
    ----------
    arguments : dict
        Arguments that rebuild the network: ``CompactConvNet(**network.arguments)``.

    Examples
    --------
    >>> network = CompactConvNet(n_classes=10)
    >>> network(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    >>> sum(parameter.numel() for parameter in network.parameters())
    258538
    """

    def __init__(
        self,
        n_classes: int = 10,
        in_channels: int = 1,
        *,
        feature_map: str = "relu_normalised",
    ) -> None:
        n_classes = check_integer(n_classes, name="n_classes", minimum=2)
        in_channels = check_integer(in_channels, name="in_channels")
        pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(
            {
                "block1": _convolution(in_channels, 32, pool=True),
                "block2": _convolution(32, 64, pool=True),
                "block3": _convolution(64, 128),
                "block4": _convolution(128, 128),
                "features": nn.Sequential(*pooled, *_head(128, 128, feature_map)),
                "output": _output(128, n_classes, feature_map),
            },
            {"n_classes": n_classes, "in_channels": in_channels, "feature_map": feature_map},
        )


class MultilayerPerceptron(_BlockNetwork):
    """Linear layers with batch norm and ReLU; inputs of any shape are flattened to vectors.

    Blocks: ``block1``, ``block2``, ... for all hidden layers but the last, which is ``features``;
    then ``output``.

    Parameters
    ----------
    sizes : sequence of int
        Number of inputs, of units of each hidden layer (at least one), and of classes.
    feature_map : str, default="relu_normalised"
        Feature map that ends the last block before the output: key of
        `modtools.transferability.FEATURE_MAPS`.

    Attributes
    ----------
    arguments : dict
        Arguments that rebuild the network: ``MultilayerPerceptron(**network.arguments)``.

    Examples
    --------
    >>> network = MultilayerPerceptron([64, 32, 16, 10])
    >>> [name for name, block in network.named_children()]
    ['block1', 'features', 'output']
    >>> network(torch.zeros(2, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(self, sizes: Sequence[int], *, feature_map: str = "relu_normalised") -> None:
        if isinstance(sizes, str) or not isinstance(sizes, Sequence) or len(sizes) < 3:
            raise ModtoolsError(
                "sizes must be the numbers of inputs, of units of at least one hidden layer, and "
                f"of classes, as [64, 128, 10]; got {sizes!r}."
            )
        sizes = [check_integer(size, name="each of sizes") for size in sizes]
        blocks: dict[str, nn.Module] = {}
        before: list[nn.Module] = [nn.Flatten()]
        for number, (n_in, n_out) in enumerate(pairwise(sizes[:-2]), start=1):
            layers = [nn.Linear(n_in, n_out, bias=False), nn.BatchNorm1d(n_out)]
            blocks[f"block{number}"] = nn.Sequential(*before, *layers, nn.ReLU(inplace=True))
            before = []
        blocks["features"] = nn.Sequential(*before, *_head(sizes[-3], sizes[-2], feature_map))
        blocks["output"] = _output(sizes[-2], sizes[-1], feature_map)
        super().__init__(blocks, {"sizes": sizes, "feature_map": feature_map})


class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, a 1x1 convolution where the shape changes."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of half the size where the stride is 2."""
        summed: Tensor = self.residual(maps) + self.shortcut(maps)
        return summed.relu_()


class ResNet18(_BlockNetwork):
    """ResNet-18 for small images: a 3x3 convolution first and no max-pooling; 11.2 M parameters.

    Blocks: ``stem``, ``layer1_0``, ``layer1_1``, ..., ``layer4_1``, ``features`` (512 features),
    ``output``. For images of 8 to 64 pixels.

    Parameters
    ----------
    n_classes : int, default=10
        Number of outputs.
    in_channels : int, default=1
        Channels of the images: 1 for grey, 3 for colour.
    feature_map : str, default="relu_normalised"
        Feature map that ends the last block before the output: key of
        `modtools.transferability.FEATURE_MAPS`.

    Attributes
    ----------
    arguments : dict
        Arguments that rebuild the network: ``ResNet18(**network.arguments)``.

    References
    ----------
    He et al., "Deep residual learning for image recognition", CVPR 2016.

    Examples
    --------
    >>> network = ResNet18(n_classes=10, in_channels=3)
    >>> network(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        n_classes: int = 10,
        in_channels: int = 1,
        *,
        feature_map: str = "relu_normalised",
    ) -> None:
        n_classes = check_integer(n_classes, name="n_classes", minimum=2)
        in_channels = check_integer(in_channels, name="in_channels")
        blocks: dict[str, nn.Module] = {"stem": _convolution(in_channels, 64)}
        n_in = 64
        for layer, n_out in enumerate((64, 128, 256, 512), start=1):
            for number in (0, 1):
                stride = 2 if n_out > n_in else 1
                blocks[f"layer{layer}_{number}"] = _ResidualBlock(n_in, n_out, stride)
                n_in = n_out
        blocks["features"] = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), FeatureMap(feature_map)
        )
        blocks["output"] = _output(512, n_classes, feature_map)
        super().__init__(
            blocks,
            {"n_classes": n_classes, "in_channels": in_channels, "feature_map": feature_map},
        )


# Names in commands; in Python each is an alias of its class.
compact_convnet = CompactConvNet
multilayer_perceptron = MultilayerPerceptron
resnet18 = ResNet18

NETWORKS: Final[Mapping[str, Callable[..., nn.Sequential]]] = MappingProxyType(
    {
        "compact_convnet": compact_convnet,
        "multilayer_perceptron": multilayer_perceptron,
        "resnet18": resnet18,
    }
)


def network_maker(task: Task, *, network: str = "compact_convnet") -> Callable[[], nn.Sequential]:
    """Return a function that makes a reference network for the inputs and classes of a task.

    Parameters
    ----------
    task : Task
        Images (n_samples, [n_channels,] height, width), or with the channels last; for a
        multilayer perceptron any numbers.
    network : {"compact_convnet", "multilayer_perceptron", "resnet18"}, default="compact_convnet"
        Which one; the perceptron gets 256 and 128 hidden units.

    Returns
    -------
    callable
        Returns a new network, as `label_efficiency` takes it.

    Raises
    ------
    ModtoolsError
        An unknown network, or one that does not read such inputs.

    Examples
    --------
    >>> from modtools.tasks import load_task
    >>> network_maker(load_task("digits"))()[-1]
    Linear(in_features=128, out_features=10, bias=True)
    """
    make = NETWORKS[check_choice(network, list(NETWORKS), name="network")]
    sample = task.batch([0])
    if not isinstance(sample, SupportsArray):
        raise ModtoolsError(
            f"the reference networks read images or vectors of numbers; {task.name} holds "
            f"{type(sample[0]).__name__}. In Python, train_modular takes a network and preprocess=."
        )
    shape, n_classes = np.shape(sample), len(task.classes)
    if network == "multilayer_perceptron":
        return partial(make, [math.prod(shape[1:]), *_HIDDEN_UNITS, n_classes])
    if len(shape) not in (3, 4):
        raise ModtoolsError(
            f"{network} reads images; the inputs of {task.name} have shape {shape[1:]}. "
            'Use network="multilayer_perceptron".'
        )
    return partial(make, n_classes, _n_channels(shape))


def _n_channels(shape: tuple[int, ...]) -> int:
    """Return the channels of images as `ImagePreprocess` finds them: first, else last."""
    if len(shape) == 3:
        return 1
    return shape[1] if shape[1] in (1, 3, 4) else shape[3]
