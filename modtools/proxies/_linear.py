"""Kernel proxies that depend on sums of kernel values and of their squares only."""

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
    """Return a weighted sum: positive, negative, square, diagonal, square of the diagonal."""
    return torch.dot(sums, sums.new_tensor(weights))


class _LinearProxy(KernelProxy):
    """A kernel proxy that depends on sums of kernel values and of their squares only.

    With class codes, the squares come from the smaller of Phi' Phi and Phi Phi', and all other sums
    from class sums. Only `Pairs`, and squares over negatives alone, need the kernel matrix.
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
    """Minus the mean signed kernel value: same-class pairs count +1, pairs of other classes -1.

    Optimum: -(k_max n_same - k_min n_different) / (n_same + n_different), with the numbers of
    ordered pairs. With `negatives_only` the loss is the mean kernel value over pairs of different
    classes, and the optimum k_min. Parameters as in `KernelProxy`. Registered as ``raw``.

    References
    ----------
    Duan, Yu & Principe, "Modularizing deep learning via pairwise learning with kernels", IEEE TNNLS
    2022 (arXiv 2005.05541).

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

    The pair of an example with itself is always known, so the n diagonal entries count in addition
    to the known pairs. With `negatives_only`, only pairs of different classes count. Optimum: 0.
    Parameters as in `KernelProxy`. Registered as ``nmse``.

    References
    ----------
    Duan, Yu & Principe, "Modularizing deep learning via pairwise learning with kernels", IEEE TNNLS
    2022 (arXiv 2005.05541).

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
    """Minus the kernel alignment: the cosine between the kernel and the ideal kernel.

    The diagonal is included. Optimum: -1. A common factor of all kernel values changes nothing; a
    constant kernel reaches minus the square root of the fraction of same-class pairs.
    `negatives_only` needs a feature map whose k_min is not 0: ``tanh`` or ``unit``. Parameters as
    in `KernelProxy`. Registered as ``alignment``.

    References
    ----------
    Cristianini et al., "On kernel-target alignment", NIPS 2001; Duan, Yu & Principe, "Modularizing
    deep learning via pairwise learning with kernels", IEEE TNNLS 2022 (arXiv 2005.05541).

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
        # Of a kernel without off-diagonal part only rounding errors remain.
        rounding = 8 * torch.finfo(phi.dtype).eps * sums[4].detach()
        is_nonzero = square > rounding
        return cross.where(is_nonzero, cross * 0) * square.where(is_nonzero, 1.0).rsqrt()

    def _best(self, relations: Relations) -> float:
        return 1.0


class UpperTriangleAlignment(Alignment):
    """Minus the kernel alignment over pairs of different examples, without the diagonal.

    Otherwise as `Alignment`. Optimum: -1, reached by any positive multiple of the ideal kernel.
    Registered as ``upper_triangle_alignment``.

    References
    ----------
    Duan, Yu & Principe, "Modularizing deep learning via pairwise learning with kernels", IEEE TNNLS
    2022 (arXiv 2005.05541).

    Examples
    --------
    >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> round(float(UpperTriangleAlignment()(features, [0, 0, 1, 1])), 3)
    -0.985
    """

    _diagonal: ClassVar[bool] = False
