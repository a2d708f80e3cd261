"""Kernel proxies that are functions of sums of kernel values and of their squares."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from modtools.exceptions import ModtoolsError
from modtools.proxies._kernel import KernelProxy
from modtools.proxies._products import class_sums, pair_sums
from modtools.proxies._relations import Relations

__all__ = ["Alignment", "NegativeMSE", "Raw", "UpperTriangleAlignment"]


def _weigh(sums: Tensor, *weights: float) -> Tensor:
    """Return the weighted sum of positive, negative, square, diagonal and diagonal square."""
    return torch.dot(sums, sums.new_tensor(weights))


class _LinearProxy(KernelProxy):
    """A kernel proxy that is a function of sums of kernel values and of their squares.

    With classes, squares come from the smaller of Phi' Phi and Phi Phi', and all other sums from
    class sums. Only known pairs, and squares over negatives alone, need the kernel matrix.
    """

    _squares: ClassVar[bool] = True

    def _sums(self, phi: Tensor, relations: Relations) -> Tensor:
        if self.negatives_only and (self._squares or relations.codes is None):
            return pair_sums(phi, relations.mask("different", phi.dtype).neg_())
        if relations.codes is None:
            return pair_sums(phi, relations.signs(phi.dtype))
        n_classes = len(relations.sizes)
        return class_sums(phi, relations.codes, n_classes, squares=self._squares)


class Raw(_LinearProxy):
    """Mean kernel value over pairs, pairs of different classes counted negative.

    Optimum: -(k_max n_same - k_min n_different) / (n_same + n_different) over ordered pairs;
    `negatives_only`: k_min. Registered as ``raw``.

    Examples
    --------
    >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> round(float(Raw()(features, [0, 0, 1, 1])), 3)
    -0.266
    """

    _squares: ClassVar[bool] = False

    def _objective(self, phi: Tensor, relations: Relations) -> Tensor:
        sums = self._sums(phi, relations)
        if self.negatives_only:
            return _weigh(sums, 0, -1 / relations.n_different, 0, 0, 0)
        each = 1 / (relations.n_same + relations.n_different)
        return _weigh(sums, each, -each, 0, 0, 0)

    def _best(self, relations: Relations) -> float:
        low, high = self._range()
        if self.negatives_only:
            return -low
        n_same, n_different = relations.n_same, relations.n_different
        return (high * n_same - low * n_different) / (n_same + n_different)


class NegativeMSE(_LinearProxy):
    """Mean squared difference between the kernel and the ideal kernel, the diagonal included.

    A row's pair with itself is always known, so n diagonal entries count beside the known pairs;
    `negatives_only`: pairs of different classes alone. Optimum: 0. Registered as ``nmse``.

    Examples
    --------
    >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> round(float(NegativeMSE()(features, [0, 0, 1, 1])), 4)
    0.0074
    """

    def _objective(self, phi: Tensor, relations: Relations) -> Tensor:
        low, high = self._ideal()
        sums, n, n_same = self._sums(phi, relations), relations.n, relations.n_same
        ideal = low**2 * relations.n_different
        if self.negatives_only:
            return -(_weigh(sums, 0, -2 * low, 1, 0, 0) + ideal) / relations.n_different
        ideal += high**2 * (n + n_same)
        squares = _weigh(sums, -2 * high, -2 * low, 1, -2 * high, 1) + ideal
        return -squares / (n + n_same + relations.n_different)

    def _best(self, relations: Relations) -> float:
        return 0.0


class Alignment(_LinearProxy):
    """Minus the cosine between the kernel and the ideal kernel, the diagonal included.

    Optimum: -1. It ignores a common factor of the kernel except through the diagonal, and a
    constant kernel reaches the square root of the fraction of pairs of one class.
    `negatives_only` needs a feature map whose k_min is not 0: ``tanh`` or ``unit``. Registered as
    ``alignment``.

    Examples
    --------
    >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> round(float(Alignment()(features, [0, 0, 1, 1])), 3)
    -0.993
    """

    _diagonal: ClassVar[bool] = True

    def __init__(
        self, *, negatives_only: bool = False, feature_map: str = "relu_normalised"
    ) -> None:
        super().__init__(negatives_only=negatives_only, feature_map=feature_map)
        if negatives_only and self._ideal()[0] == 0:
            raise ModtoolsError(
                "an alignment over negatives only needs a feature map whose k_min is not 0, or "
                f'the ideal kernel is zero; got feature_map="{feature_map}". Use "tanh" or "unit".'
            )

    def _objective(self, phi: Tensor, relations: Relations) -> Tensor:
        low, high = self._ideal()
        sums = self._sums(phi, relations)
        on_diagonal = self._diagonal and not self.negatives_only
        ideal = low**2 * relations.n_different
        if not self.negatives_only:
            ideal += high**2 * (relations.n_same + on_diagonal * relations.n)
        positive = 0.0 if self.negatives_only else high
        scale = 1 / math.sqrt(ideal)
        cross = _weigh(sums, scale * positive, scale * low, 0, scale * high * on_diagonal, 0)
        square = _weigh(sums, 0, 0, 1, 0, on_diagonal)
        # What is left of a kernel that has no off-diagonal part is rounding.
        rounding = 8 * torch.finfo(phi.dtype).eps * sums[4].detach()
        some = square > rounding
        return cross.where(some, cross * 0) * square.where(some, 1.0).rsqrt()

    def _best(self, relations: Relations) -> float:
        return 1.0


class UpperTriangleAlignment(Alignment):
    """Minus the cosine between kernel and ideal kernel over pairs of different rows.

    As `Alignment`, without the diagonal. Optimum: -1, also at any common factor of the ideal
    kernel. Registered as ``upper_triangle_alignment``.

    Examples
    --------
    >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> round(float(UpperTriangleAlignment()(features, [0, 0, 1, 1])), 3)
    -0.985
    """

    _diagonal: ClassVar[bool] = False
