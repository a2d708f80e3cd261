"""Several frozen modules as one: their features side by side, each network run once."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from modtools._escape import terminal_text
from modtools._types import SupportsArray
from modtools.exceptions import ModtoolsError
from modtools.modules._identity import network_digest
from modtools.modules._module import PretrainedModule
from modtools.modules._streaming import Features

__all__ = ["CombinedModule", "networks_of"]

_MOST_SHOWN: Final = 3


class CombinedModule:
    """Several frozen modules as one, whose features are theirs side by side.

    The features are concatenated in the order given, without scaling. The output module balances
    the modules: it gets the columns of each one (``blocks=``), as `retrain` does. Layers of one
    network share a forward pass.

    Parameters
    ----------
    modules : sequence of PretrainedModule
        Two or more modules; one with several layers counts as several.

    Attributes
    ----------
    networks : tuple of PretrainedModule
        Each network once, with all layers that are read.
    members : tuple of str
        Names of the modules (``name@layer``), in the order of their columns.
    name : str
        Name of the combination in tables.

    Examples
    --------
    >>> import numpy as np
    >>> from torch import nn
    >>> from modtools.modules import extract
    >>> network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> both = CombinedModule([PretrainedModule(network, name="small", layers=["0", "2"])])
    >>> both
    CombinedModule(small@0 + small@2: 1 network, 23 parameters)
    >>> extract(both, np.ones((6, 4), dtype=np.float32)).shape
    (6, 5)
    """

    # The attributes that extraction and tables read of any module; it is read as a whole.
    layers: tuple[None] = (None,)
    source_head = None

    def __init__(self, modules: Sequence[PretrainedModule]) -> None:
        if not isinstance(modules, Iterable) or isinstance(modules, SupportsArray):
            raise ModtoolsError(
                f"modules must be a list of PretrainedModule; got {type(modules).__name__}."
            )
        modules = list(modules)
        strange = [m for m in modules if not isinstance(m, PretrainedModule)]
        if strange:
            raise ModtoolsError(
                f"modules must be PretrainedModule; got {type(strange[0]).__name__}."
            )
        self.members = tuple(name for module in modules for name in module.names)
        if len(set(self.members)) < max(2, len(self.members)):
            raise ModtoolsError(
                "a combination needs two or more modules of different names; got "
                f"{', '.join(self.members) or 'none'}."
            )
        groups: dict[str, list[PretrainedModule]] = {}
        for module in modules:
            groups.setdefault(module.name, []).append(module)
        self.networks = tuple(_one_network(group) for group in groups.values())
        more = len(self.members) - 1
        is_long = len(self.members) > _MOST_SHOWN
        self.name = f"{self.members[0]} and {more} more" if is_long else " + ".join(self.members)

    @property
    def names(self) -> tuple[str, ...]:
        """The single name of the combination."""
        return (self.name,)

    def join(self, features: Mapping[str, Features]) -> Features:
        """Return the features of all members side by side.

        Parameters
        ----------
        features : mapping from str to ndarray
            Features (n_samples, n_features) of each member.

        Returns
        -------
        ndarray of shape (n_samples, n_columns)
            Their columns in the order of `members`.
        """
        return np.hstack([features[name] for name in self.members])

    def n_parameters(self, layer: None = None) -> int:
        """Return the number of parameters up to the deepest layer of each network.

        Parameters
        ----------
        layer : None
            A combination has no layers of its own.

        Returns
        -------
        int
            Number of parameters, those of each network counted once.
        """
        return sum(max(map(part.n_parameters, part.layers)) for part in self.networks)

    def __repr__(self) -> str:
        count = len(self.networks)
        networks = "1 network" if count == 1 else f"{count} networks"
        name = terminal_text(self.name)
        return f"CombinedModule({name}: {networks}, {self.n_parameters():,} parameters)"


def networks_of(module: Any) -> tuple[PretrainedModule, ...]:
    """Return each network of a module once, with all layers that are read.

    >>> from torch import nn
    >>> networks_of(PretrainedModule(nn.ReLU(), name="relu"))
    (PretrainedModule(relu: ReLU, pooling=mean, 0 parameters),)
    """
    return module.networks if isinstance(module, CombinedModule) else (module,)


def _one_network(modules: Sequence[PretrainedModule]) -> PretrainedModule:
    """Return modules of one name as one with all their layers, or raise if networks differ."""
    first = modules[0]
    for other in modules[1:]:
        if not _is_same(first, other):
            raise ModtoolsError(
                f'two different modules are named "{first.name}"; give each network (and each '
                "pooling or preprocessing of it) its own name."
            )
    return first.at([layer for module in modules for layer in module.layers])


def _is_same(first: PretrainedModule, other: PretrainedModule) -> bool:
    """Return whether modules differ only in their layers; a zoo loads a new copy each time."""
    from torch import nn

    if (first.pooling, first.preprocess) != (other.pooling, other.preprocess):
        return False
    one, two = first.network, other.network
    return one is two or (
        isinstance(one, nn.Module)
        and isinstance(two, nn.Module)
        and network_digest(one) == network_digest(two)
    )
