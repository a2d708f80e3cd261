"""Normalisation of rows to length 1 as one torch operation; imported only if tensors are used."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

__all__ = ["unit_rows"]


class _UnitRows(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, positive_part: bool) -> Tensor:
        # Divided by the largest entry first, so that squares neither underflow nor overflow.
        unit = rows.relu() if positive_part else rows.clone()
        largest = (unit if positive_part else unit.abs()).amax(dim=1, keepdim=True)
        largest = largest.where(largest > 0, 1.0)
        unit.div_(largest)
        length = torch.linalg.vector_norm(unit, dim=1, keepdim=True)
        length = length.where(length > 0, 1.0)
        unit.div_(length)
        ctx.positive_part = positive_part
        ctx.save_for_backward(unit, length * largest)
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        unit, length = ctx.saved_tensors
        # Allocation costs more than arithmetic here, so one buffer is reused.
        slope = unit * gradient
        along = slope.sum(dim=1, keepdim=True)
        torch.addcmul(gradient, unit, along, value=-1, out=slope).div_(length)
        if ctx.positive_part:  # 0 where the input was not > 0
            torch.ops.aten.threshold_backward.grad_input(slope, unit, 0, grad_input=slope)
        return slope, None


def unit_rows(rows: Tensor, *, positive_part: bool = False) -> Tensor:
    """Divide each row by its length; a zero row stays zero.

    Parameters
    ----------
    rows : Tensor of shape (n_samples, n_features)
        Features; other types than floats become float64.
    positive_part : bool, default=False
        Whether negative entries are set to 0 first.

    Returns
    -------
    Tensor of shape (n_samples, n_features)
        Rows of length 1. The gradient treats the length of a zero row as 1.

    Examples
    --------
    >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    unit: Any = _UnitRows
    mapped: Tensor = unit.apply(rows if rows.is_floating_point() else rows.double(), positive_part)
    return mapped
