"""The registry of proxy objectives."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from torch import nn

from modtools._checks import check_choice
from modtools.exceptions import ModtoolsError
from modtools.proxies._base import Proxy, check_required_labels
from modtools.proxies._contrastive import Contrastive, LogContrastive, SupCon
from modtools.proxies._heads import LocalClassifier, PredSim
from modtools.proxies._hsic import HSICBottleneck
from modtools.proxies._linear import Alignment, NegativeMSE, Raw, UpperTriangleAlignment

__all__ = ["PROXIES", "ProxyRegistry"]


class ProxyRegistry(Mapping[str, type[Proxy]]):
    """Proxy classes by name; `register` adds a user's own for this process.

    Examples
    --------
    >>> PROXIES["supcon"](temperature=0.2)
    SupCon(feature_map='unit', temperature=0.2)
    """

    def __init__(self) -> None:
        self._proxies: dict[str, type[Proxy]] = {}

    def __getitem__(self, name: str) -> type[Proxy]:
        return self._proxies[check_choice(name, list(self._proxies), name="proxy")]

    def __contains__(self, name: object) -> bool:
        return name in self._proxies

    def __iter__(self) -> Iterator[str]:
        return iter(self._proxies)

    def __len__(self) -> int:
        return len(self._proxies)

    def register(self, name: str, proxy: type[Proxy]) -> None:
        """Add a proxy class under a name; check it with `modtools.testing.check_proxy` first.

        Parameters
        ----------
        name : str
            Name in the registry.
        proxy : type
            Subclass of `Proxy` with `forward`, `optimum` and `required_labels`.

        Raises
        ------
        ModtoolsError
            The name is taken, or the class is no such subclass.
        """
        if not isinstance(name, str) or not name.strip():
            raise ModtoolsError(f"the name of a proxy must be a word; got {name!r}.")
        _check_class(name, proxy)
        if name in self._proxies:
            raise ModtoolsError(f'proxy "{name}" is registered already; choose another name.')
        self._proxies[name] = proxy

    def unregister(self, name: str) -> type[Proxy]:
        """Remove a proxy class and return it."""
        proxy = self[name]
        del self._proxies[name]
        return proxy


def _check_class(name: str, proxy: Any) -> None:
    """Raise if a class does not define what training needs."""
    if not isinstance(proxy, type) or not issubclass(proxy, Proxy):
        got = proxy.__name__ if isinstance(proxy, type) else f"an object {type(proxy).__name__}"
        raise ModtoolsError(
            f'proxy "{name}" must be a subclass of modtools.proxies.Proxy, the class itself; got '
            f"{got}."
        )
    missing = [part for part in ("forward", "optimum") if getattr(proxy, part) is _BARE[part]]
    if missing:
        raise ModtoolsError(f'proxy "{name}" must define {" and ".join(missing)}.')
    check_required_labels(proxy, name=name)


_BARE: Final = {"forward": nn.Module.forward, "optimum": Proxy.optimum}

_BUILT_IN: Final[dict[str, type[Proxy]]] = {
    "raw": Raw,
    "nmse": NegativeMSE,
    "alignment": Alignment,
    "upper_triangle_alignment": UpperTriangleAlignment,
    "contrastive": Contrastive,
    "log_contrastive": LogContrastive,
    "supcon": SupCon,
    "hsic_bottleneck": HSICBottleneck,
    "predsim": PredSim,
    "local_classifier": LocalClassifier,
}
PROXIES = ProxyRegistry()
for _name, _proxy in _BUILT_IN.items():
    PROXIES.register(_name, _proxy)
