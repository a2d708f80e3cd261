"""A pretrained network, the layers to read, and the preprocessing of its inputs."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from modtools._checks import check_choice, did_you_mean
from modtools._escape import terminal_text
from modtools._types import SupportsArray
from modtools.exceptions import ModtoolsError
from modtools.modules._pooling import POOLINGS

if TYPE_CHECKING:
    from torch import nn

__all__ = ["PretrainedModule", "check_module_name"]

_NAME = re.compile(r"\w[\w .+\-]{0,99}")


def check_module_name(name: Any) -> str:
    """Return `name` if it can name a module and its folder, else raise.

    >>> check_module_name("lite0")
    'lite0'
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name[-1] in " .":
        raise ModtoolsError(
            f"a module's name starts with a letter or digit, has at most 100 letters, digits, "
            f'blanks or any of "._+-", and ends with neither blank nor dot; got {name!r}.'
        )
    return name


def _tuple_of_layers(layers: str | Sequence[str | None] | None) -> tuple[str | None, ...]:
    names: tuple[Any, ...] = ()
    if layers is None or isinstance(layers, str):
        names = (layers,)
    elif isinstance(layers, Iterable) and not isinstance(layers, SupportsArray):  # no array
        names = tuple(layers)
    are_texts = all(part is None or isinstance(part, str) for part in names)
    if not names or not are_texts or len(set(names)) < len(names):
        raise ModtoolsError(
            f"layers must name one or more different inner modules; got {layers!r}."
        )
    return names


def _check_parts(preprocess: Any, source_head: Any, build: Any) -> None:
    """Raise unless these are what a module may have beside its network, or are left out."""
    if preprocess is not None and not callable(preprocess):
        raise ModtoolsError(f"preprocess must be callable; got {type(preprocess).__name__}.")
    is_head = source_head is None or isinstance(source_head, bool | str) or callable(source_head)
    if not is_head:
        raise ModtoolsError(
            "source_head must be True, the name of an inner module or callable; got "
            f"{source_head!r}."
        )
    is_pair = isinstance(build, tuple | list) and len(build) == 2
    if build is not None and not is_pair:
        raise ModtoolsError(f'build must be ("package:Class", {{arguments}}); got {build!r}.')


def _nearest_layers(layer: str, known: Sequence[str]) -> str:
    """Return as text the layers at the depth of an unknown one, the nearest three."""
    parent, _, last = layer.rpartition(".")
    siblings = [name for name in known if name and name.rpartition(".")[0] == parent]
    if not siblings:
        tops = [name for name in known if name and "." not in name]
        if not tops:
            return "; it has no parts: leave its layers out."
        return did_you_mean(layer, known) or f"; its parts are: {', '.join(tops)}."
    if last.isdigit():
        numbered = [name for name in siblings if name.rpartition(".")[2].isdigit()]
        numbered.sort(key=lambda name: abs(int(name.rpartition(".")[2]) - int(last)))
        siblings = [name for name in siblings if name in numbered[:3]] or siblings
    listed = f"; layers at that depth: {', '.join(siblings[:12])}."
    return listed if last.isdigit() else did_you_mean(layer, siblings) or listed


class PretrainedModule:
    """A pretrained network (a backbone) with the layers where its features are read.

    Parameters
    ----------
    network : torch.nn.Module or callable
        The network. It is used as it is; extraction leaves its weights, statistics, device and
        training flags as they were.
    name : str
        Name of the module in tables and in a zoo.
    layers : str, sequence of str or None, default=None
        Dotted name of the inner module whose output is read, or several of them, read in one
        forward pass; None reads the output of the network. An inner module that runs several times
        in a forward pass gives its last output.
    pooling : {"mean", "max", "cls", "flatten", "masked_mean"}, default="mean"
        How an output with more than two axes becomes one row per example. (B, T, D) are tokens,
        (B, C, H, W, ...) are channels and positions; "cls" is the first token, "masked_mean" the
        mean over tokens under the attention mask. An output (B, d) passes through.
    preprocess : callable, optional
        Maps a batch of the task to the input of the network: a tensor, or a dict of tensors given
        as keyword arguments. None turns arrays into tensors of the same type.
    source_head : True, str or callable, optional
        How the probabilities of the source classes are computed: True is the softmax of the
        network's output, a dotted name the softmax of an inner module's output, a callable maps
        the network's output to probabilities. Outputs that already are probabilities are kept.
    build : tuple of (str, dict), optional
        How a zoo rebuilds the network from its configuration: ``("package:Class", arguments)``.

    Attributes
    ----------
    layers : tuple of (str or None)
        The layers in the order given.
    names : tuple of str
        Names of the layers in tables and files: ``name@layer``, or ``name`` for the output.

    Examples
    --------
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> module = PretrainedModule(network, name="small", layers=["0", "1"])
    >>> module.names
    ('small@0', 'small@1')
    >>> module.at("2").n_parameters()
    23
    """

    def __init__(
        self,
        network: "nn.Module | Callable[..., Any]",
        *,
        name: str,
        layers: str | Sequence[str | None] | None = None,
        pooling: str = "mean",
        preprocess: Callable[[Any], Any] | None = None,
        source_head: bool | str | Callable[[Any], Any] | None = None,
        build: tuple[str, Mapping[str, Any]] | None = None,
    ) -> None:
        if not callable(network):
            raise ModtoolsError(f"network must be callable; got {type(network).__name__}.")
        _check_parts(preprocess, source_head, build)
        self.network = network
        self.name = check_module_name(name)
        self.layers = _tuple_of_layers(layers)
        self.pooling = check_choice(pooling, list(POOLINGS), name="pooling")
        self.preprocess = preprocess
        self.source_head = source_head or None
        self.build = build
        for inner in (*self.layers, source_head):
            if isinstance(inner, str):
                self.inner_module(inner)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each layer: ``name@layer``, or ``name`` for the output of the network."""
        return tuple(self.name if name is None else f"{self.name}@{name}" for name in self.layers)

    def inner_module(self, layer: str) -> "nn.Module":
        """Return the inner module of a dotted name, or raise and name the nearest ones.

        Parameters
        ----------
        layer : str
            Dotted name, as in ``network.named_modules()``.

        Returns
        -------
        torch.nn.Module
            The inner module itself.

        Examples
        --------
        >>> from torch import nn
        >>> PretrainedModule(nn.Sequential(nn.ReLU()), name="small").inner_module("0")
        ReLU()
        """
        import torch
        from torch import nn

        if not isinstance(self.network, nn.Module):
            raise ModtoolsError(
                f'layer "{layer}" needs a torch.nn.Module; {self.name} is a plain callable; '
                "read its output (layers=None)."
            )
        known: dict[str, nn.Module] = dict(self.network.named_modules(remove_duplicate=False))
        if not layer or layer not in known:
            nearest = _nearest_layers(str(layer), list(known))
            raise ModtoolsError(f'layer "{layer}" does not exist in {self.name}{nearest}')
        if isinstance(known[layer], torch.jit.ScriptModule):
            raise ModtoolsError(
                f'layer "{layer}" of {self.name} lies in a ScriptModule, whose layers cannot be '
                "read. Give the network as it was before torch.jit, or read its output."
            )
        return known[layer]

    def at(self, layers: str | Sequence[str | None] | None) -> Self:
        """Return the same network read at other layers; weights are shared, not copied.

        Parameters
        ----------
        layers : str, sequence of str or None
            As for the class.

        Returns
        -------
        PretrainedModule
            A new module of the same name.

        Examples
        --------
        >>> from torch import nn
        >>> module = PretrainedModule(nn.Sequential(nn.Linear(4, 3)), name="small")
        >>> module.at("0").names
        ('small@0',)
        """
        return type(self)(
            self.network,
            name=self.name,
            layers=layers,
            pooling=self.pooling,
            preprocess=self.preprocess,
            source_head=self.source_head,
            build=self.build,
        )

    def n_parameters(self, layer: str | None = None) -> int:
        """Return the number of parameters up to a layer, or of the whole network.

        Parameters
        ----------
        layer : str, optional
            Counts the parameters registered up to the end of this inner module, which are those
            that its features depend on where a network registers its parts in running order.

        Returns
        -------
        int
            Number of parameters, each counted once; 0 for a plain callable, and for a lazy layer
            that has not run.

        Examples
        --------
        >>> from torch import nn
        >>> module = PretrainedModule(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), name="small")
        >>> module.n_parameters("0")
        15
        """
        from torch import nn
        from torch.nn.parameter import is_lazy

        if not isinstance(self.network, nn.Module):
            return 0
        parts = list(self.network.modules())
        if layer is not None:
            inside = {id(part) for part in self.inner_module(layer).modules()}
            last = max(i for i, part in enumerate(parts) if id(part) in inside)
            parts = parts[: last + 1]
        found = {id(p): p for part in parts for p in part.parameters(recurse=False)}
        return sum(p.numel() for p in found.values() if not is_lazy(p))

    def __repr__(self) -> str:
        network = type(self.network).__name__
        names = list(map(terminal_text, self.names))
        layers = ", ".join(names)
        if len(names) > 3:
            layers = f"{names[0]} ... {names[-1]} ({len(names)} layers)"
        return (
            f"PretrainedModule({layers}: {network}, pooling={self.pooling}, "
            f"{self.n_parameters():,} parameters)"
        )
