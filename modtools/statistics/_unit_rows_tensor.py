"""Rows of length 1 as one torch operation: loaded only where tensors are mapped."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

__all__ = ["unit_rows"]


class _UnitRows(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        # The largest entry is divided out first, so that no square vanishes or overflows.
        largest = rows.abs().amax(dim=1, keepdim=True)
        largest = largest.where(largest > 0, 1.0)
        unit = rows / largest
        length = torch.linalg.vector_norm(unit, dim=1, keepdim=True)
        length = length.where(length > 0, 1.0)
        unit.div_(length)
        ctx.save_for_backward(unit, length * largest)
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        unit, length = ctx.saved_tensors
        along = torch.linalg.vecdot(unit, gradient)[:, None]
        return torch.addcmul(gradient, unit, along, value=-1).div_(length)


def unit_rows(rows: Tensor) -> Tensor:
    """Divide each row by its length; a zero row stays zero, and its length counts as 1.

    Examples
    --------
    >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    unit: Any = _UnitRows
    mapped: Tensor = unit.apply(rows)
    return mapped
