"""Modules of any accepted form, by the names that tables give them."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    from modtools.modules import PretrainedModule

__all__ = ["Shelf"]


class Shelf:
    """A zoo, a list or a dict of modules, from which modules are taken by name.

    Parameters
    ----------
    modules : Zoo, sequence of PretrainedModule, or dict
        As `select_modules` takes it; cached features among them have no network.

    Raises
    ------
    ModtoolsError
        Two different networks have one name: their costs and taps could not be told apart.
    """

    def __init__(self, modules: Any) -> None:
        from modtools.modules import CombinedModule

        self._modules = modules
        if hasattr(modules, "load"):
            return
        by_name: dict[str, list[PretrainedModule]] = {}
        for module in self:
            by_name.setdefault(module.name, []).append(module)
        for namesakes in by_name.values():
            if len(namesakes) > 1:
                # Combining says what keeps modules of one name from being taps of one network.
                CombinedModule(namesakes)

    def __iter__(self) -> Iterator["PretrainedModule"]:
        """Yield every network with its taps; a zoo's are loaded one after the other."""
        if hasattr(self._modules, "load"):
            yield from map(self._modules.load, self._modules.names)
            return
        is_dict = isinstance(self._modules, Mapping)
        for module in self._modules.values() if is_dict else self._modules:
            if hasattr(module, "taps"):
                yield module

    def take(self, name: str) -> "PretrainedModule":
        """Return the module of a name (``name@tap``), read there.

        >>> from torch import nn
        >>> from modtools.modules import PretrainedModule
        >>> net = PretrainedModule(nn.Sequential(nn.ReLU()), name="net", tap=["0", None])
        >>> Shelf([net]).take("net@0").names
        ('net@0',)
        """
        if hasattr(self._modules, "load"):
            network, _, tap = name.partition("@")
            return self._modules.load(network).at(tap or None)  # type: ignore[no-any-return]
        for module in self:
            if name in module.names:
                return module.at(module.taps[module.names.index(name)])
        raise ModtoolsError(
            f'"{name}" was given as features, so there is no network to combine. Put features side '
            "by side with join(), and tell the output module blocks=selection.blocks."
        )
