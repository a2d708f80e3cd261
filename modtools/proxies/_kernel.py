"""Base class of losses that compare a module's kernel with the ideal kernel of the labels."""

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from modtools._checks import check_boolean, check_choice
from modtools._feature_maps import FEATURE_MAPS
from modtools.proxies._base import Proxy, ProxyLabels, RequiredLabels, check_rows, nothing
from modtools.proxies._relations import Pairs, Relations, as_codes, relate

__all__ = ["KernelProxy", "count_relations"]


def count_relations(labels: ProxyLabels) -> Relations:
    """Return the pairwise relations of all examples that the labels cover."""
    n = labels.n_rows if isinstance(labels, Pairs) else len(as_codes(labels))
    return relate(labels, n, torch.device("cpu"))


class KernelProxy(Proxy):
    """Base class of kernel proxies: compare k(x, x') = <phi(x), phi(x')> with the labels.

    A batch without a same-class pair or without a pair of different classes (`negatives_only`:
    without a pair of different classes) has loss 0 and zero gradient. On all examples of a data
    set, minus the loss is the score of the same name in `modtools.transferability`.

    Parameters
    ----------
    negatives_only : bool, default=False
        Use pairs of different classes only.
    feature_map : str, default="relu_normalised"
        Key of `modtools.transferability.FEATURE_MAPS`. It defines phi, and the ideal kernel values
        k_min of pairs of different classes and k_max of same-class pairs.

    Examples
    --------
    >>> from modtools.proxies import NegativeMSE
    >>> proxy = NegativeMSE(feature_map="unit")
    >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> round(float(proxy(features, [0, 0, 1, 1])), 4)
    0.6066
    """

    required_labels: ClassVar[RequiredLabels] = "pairs"

    def __init__(
        self, *, negatives_only: bool = False, feature_map: str = "relu_normalised"
    ) -> None:
        super().__init__()
        check_choice(feature_map, list(FEATURE_MAPS), name="feature_map")
        self.negatives_only = check_boolean(negatives_only, name="negatives_only")
        self.feature_map = feature_map

    def forward(self, features: Tensor, labels: ProxyLabels) -> Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        features : Tensor of shape (n_samples, n_features)
            Output of a module.
        labels : Tensor or array-like of shape (n_samples,), or Pairs
            Class codes, or the known pairs.

        Returns
        -------
        Tensor of shape ()
            Loss; lower is better.

        Raises
        ------
        ModtoolsError
            Features of another shape, lengths that differ, or pairs that contradict each other.
        """
        rows = check_rows(features)
        relations = relate(labels, len(rows), rows.device)
        if not self._compares(relations):
            return nothing(rows)
        with torch.autocast(rows.device.type, enabled=False):
            return -self._objective(FEATURE_MAPS[self.feature_map](rows), relations)

    def optimum(self, labels: ProxyLabels) -> float:
        """Return the loss at which every known pair has its ideal kernel value, a lower bound.

        The bound is not reached in three cases: by kernel values of -1 between more than two
        classes, by 0 between more classes than features, and by 0 with ``feature_map="sigmoid"``.

        Parameters
        ----------
        labels : Tensor or array-like of shape (n_samples,), or Pairs
            Labels as for `forward`.

        Returns
        -------
        float
            Lower bound of the loss.
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
        """Return the range of the kernel: the ideal values, but unbounded for the identity."""
        return (-math.inf, math.inf) if self.feature_map == "identity" else self._ideal()

    @abstractmethod
    def _objective(self, phi: Tensor, relations: Relations) -> Tensor:
        """Return the value to maximise."""

    @abstractmethod
    def _best(self, relations: Relations) -> float:
        """Return the largest value of the objective."""
