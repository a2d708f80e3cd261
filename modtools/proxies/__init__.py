"""Proxy objectives: losses that train one module from weak labels, without end-to-end gradients."""

from modtools.proxies._base import Proxy, check_required_labels as check_required_labels
from modtools.proxies._contrastive import Contrastive, LogContrastive, SupCon
from modtools.proxies._heads import LocalClassifier, PredSim
from modtools.proxies._hsic import HSICBottleneck
from modtools.proxies._kernel import KernelProxy
from modtools.proxies._linear import Alignment, NegativeMSE, Raw, UpperTriangleAlignment
from modtools.proxies._registry import PROXIES, ProxyRegistry
from modtools.proxies._relations import Pairs

__all__ = [
    "PROXIES",
    "Alignment",
    "Contrastive",
    "HSICBottleneck",
    "KernelProxy",
    "LocalClassifier",
    "LogContrastive",
    "NegativeMSE",
    "Pairs",
    "PredSim",
    "Proxy",
    "ProxyRegistry",
    "Raw",
    "SupCon",
    "UpperTriangleAlignment",
]
