"""The registry of proxy objectives."""

from collections.abc import Iterator, Mapping

from modtools._validation import check_choice
from modtools.exceptions import ModtoolsError
from modtools.proxies._base import Proxy
from modtools.proxies._contrastive import Contrastive, LogContrastive, SupCon
from modtools.proxies._heads import LocalClassifier, PredSim
from modtools.proxies._hsic import HSICBottleneck
from modtools.proxies._linear import Alignment, NegativeMSE, Raw, UpperTriangleAlignment

__all__ = ["PROXIES", "ProxyRegistry"]


class ProxyRegistry(Mapping[str, type[Proxy]]):
    """Proxy classes by name; `register` adds one of your own for this process.

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
        """Add a proxy class under a name; check it with `modtools.testing.check_proxy` first."""
        if name in self._proxies:
            raise ModtoolsError(f'proxy "{name}" is registered already; choose another name.')
        self._proxies[name] = proxy

    def unregister(self, name: str) -> type[Proxy]:
        """Remove a proxy class and return it."""
        proxy = self[name]
        del self._proxies[name]
        return proxy


PROXIES = ProxyRegistry()
for _name, _proxy in {
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
}.items():
    PROXIES.register(_name, _proxy)
