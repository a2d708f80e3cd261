"""Base of the losses that compare a module's kernel with the ideal kernel of the labels."""

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from modtools._checks import check_choice
from modtools._feature_maps import FEATURE_MAPS
from modtools.proxies._base import Proxy, ProxyLabels, RequiredLabels, check_rows, nothing
from modtools.proxies._relations import Pairs, Relations, as_codes, relate

__all__ = ["KernelProxy", "count_relations"]


def count_relations(labels: ProxyLabels) -> Relations:
    """Return the relations of all rows that labels speak of."""
    n = labels.n_rows if isinstance(labels, Pairs) else len(as_codes(labels))
    return relate(labels, n, torch.device("cpu"))


class KernelProxy(Proxy):
    """Base of the kernel proxies: kernel k(x, x') = <phi(x), phi(x')> against the labels.

    A batch in which the objective has nothing to compare, no pair of one class or no pair of
    different classes (`negatives_only`: no pair of different classes), contributes 0 with zero
    gradient. On all rows of a data set, minus the loss is the score of the same name in
    `modtools.transferability`.

    Parameters
    ----------
    negatives_only : bool, default=False
        Use pairs of different classes only.
    feature_map : str, default="relu_normalised"
        Key of `modtools.transferability.FEATURE_MAPS`: what makes features into kernel rows, and
        the kernel values k_min and k_max wished for pairs of different classes and of one class.
    """

    required_labels: ClassVar[RequiredLabels] = "pairs"

    def __init__(
        self, *, negatives_only: bool = False, feature_map: str = "relu_normalised"
    ) -> None:
        super().__init__()
        check_choice(feature_map, list(FEATURE_MAPS), name="feature_map")
        self.negatives_only = negatives_only
        self.feature_map = feature_map

    def forward(self, features: Tensor, labels: ProxyLabels) -> Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        features : Tensor of shape (n_samples, n_features)
            Output of a module.
        labels : Tensor or array-like of shape (n_samples,), or Pairs
            Class codes, or the pairs that are known.
        """
        rows = check_rows(features)
        relations = relate(labels, len(rows), rows.device)
        if not self._compares(relations):
            return nothing(rows)
        with torch.autocast(rows.device.type, enabled=False):
            return -self._objective(FEATURE_MAPS[self.feature_map](rows), relations)

    def optimum(self, labels: ProxyLabels) -> float:
        """Return the loss at which every known pair has its ideal kernel value.

        No features do better. Kernel values of -1 between more than two classes, and 0 between
        more classes than features, cannot all be reached; nor can 0 with ``feature_map="sigmoid"``.
        """
        relations = count_relations(labels)
        return -self._best(relations) if self._compares(relations) else 0.0

    def extra_repr(self) -> str:
        """Return the settings that `print` shows."""
        return f"negatives_only={self.negatives_only}, feature_map={self.feature_map!r}"

    def _compares(self, relations: Relations) -> bool:
        return relations.n_different > 0 and (self.negatives_only or relations.n_same > 0)

    def _ideal(self) -> tuple[float, float]:
        feature_map = FEATURE_MAPS[self.feature_map]
        return feature_map.k_min, feature_map.k_max

    def _range(self) -> tuple[float, float]:
        """Return what the kernel can reach; the ideal values, but for the unbounded identity."""
        return (-math.inf, math.inf) if self.feature_map == "identity" else self._ideal()

    @abstractmethod
    def _objective(self, phi: Tensor, relations: Relations) -> Tensor:
        """Return the value to maximise."""

    @abstractmethod
    def _best(self, relations: Relations) -> float:
        """Return the largest value of the objective."""
