"""Kernel products whose backward pass costs one matrix product instead of two.

Kernel and masks are symmetric. So is every gradient G with respect to the kernel, and the two terms
(G + G') X of its backward pass are a single product 2 G X.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

__all__ = ["class_sums", "gram", "of_kernel", "pair_sums"]

Evaluate: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]


class _Gram(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        return rows @ rows.T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (rows,) = ctx.saved_tensors
        product: Tensor = gradient @ rows
        return product.mul_(2)


class _ClassSums(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, codes: Tensor, n_classes: int, squares: bool) -> Tensor:
        n, d = rows.shape
        sums = rows.new_zeros(n_classes, d).index_add_(0, codes, rows)
        norms = torch.linalg.vector_norm(rows, dim=1).square_()
        product = rows.new_zeros(0)
        if squares:
            product = rows.T @ rows if n > d else rows @ rows.T
        ctx.save_for_backward(rows, codes, sums, norms, product)
        flat = product.view(-1)
        within = torch.linalg.vector_norm(sums).square()
        everything = torch.linalg.vector_norm(sums.sum(dim=0)).square()
        square = torch.dot(flat, flat)
        diagonal, diagonal_square = norms.sum(), torch.dot(norms, norms)
        positive, negative = within - diagonal, everything - within
        if squares:
            square = square - diagonal_square
        return torch.stack([positive, negative, square, diagonal, diagonal_square])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        rows, codes, sums, norms, product = ctx.saved_tensors
        positive, negative, square, norm, norm_square = gradient.tolist()
        if product.numel():
            norm_square -= square
        norm -= positive
        per_class = 2 * (positive - negative) * sums + 2 * negative * sums.sum(dim=0)
        slope = per_class.index_select(0, codes)
        slope.addcmul_(rows, (2 * norm + 4 * norm_square * norms)[:, None])
        if product.numel():
            left, right = (rows, product) if len(rows) > rows.shape[1] else (product, rows)
            slope.addmm_(left, right, alpha=4 * square)
        return slope, None, None, None


class _PairSums(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, signs: Tensor) -> Tensor:
        kernel = rows @ rows.T
        diagonal = kernel.diagonal().clone()
        flat = kernel.mul_(signs).view(-1)
        ctx.save_for_backward(rows, signs, kernel, diagonal)
        both, difference = torch.dot(flat, signs.view(-1)), flat.sum()
        positive, negative = (both + difference) / 2, (both - difference) / 2
        square, diagonal_square = torch.dot(flat, flat), torch.dot(diagonal, diagonal)
        return torch.stack([positive, negative, square, diagonal.sum(), diagonal_square])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        rows, signs, kernel, diagonal = ctx.saved_tensors
        positive, negative, square, norm, norm_square = gradient.tolist()
        slope = torch.mul(kernel, 2 * square).add_(signs, alpha=(positive + negative) / 2)
        slope.add_((positive - negative) / 2).mul_(signs)
        slope.diagonal().add_(2 * norm_square * diagonal + norm)
        return torch.addmm(rows, slope, rows, beta=0, alpha=2), None


class _OfKernel(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, evaluate: Evaluate, scale: float) -> Tensor:
        # With beta=0 the first argument is not read: product and factor in one pass.
        kernel = torch.addmm(rows.new_empty(()), rows, rows.T, beta=0, alpha=scale)
        value, gradient = evaluate(kernel)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(torch.addmm(rows, gradient, rows, beta=0, alpha=2 * scale))
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return slope * gradient, None, None


def _apply(function: Any, *arguments: Any) -> Tensor:
    result: Tensor = function.apply(*arguments)
    return result


def gram(rows: Tensor) -> Tensor:
    """Return the kernel matrix (n, n); its gradient must be symmetric, as it is for all proxies."""
    return _apply(_Gram, rows)


def class_sums(rows: Tensor, codes: Tensor, n_classes: int, *, squares: bool) -> Tensor:
    """Return five sums of kernel values, from class sums and the smaller of two products.

    The sums over ordered pairs of different examples are: kernel values within classes, kernel
    values between classes, and the squares of both (0 unless `squares`). The sums over the diagonal
    are: kernel values, and their squares. Since |X X'|^2 = |X' X|^2, more examples than features
    need the second moment (d, d) only, and no (n, n) matrix.
    """
    return _apply(_ClassSums, rows, codes, n_classes, squares)


def pair_sums(rows: Tensor, signs: Tensor) -> Tensor:
    """Return the sums of `class_sums` from the kernel matrix, over known pairs only.

    `signs` (n, n) is symmetric: 1 for same-class pairs, -1 for pairs of different classes, 0 for
    unknown pairs.
    """
    return _apply(_PairSums, rows, signs)


def of_kernel(rows: Tensor, evaluate: Evaluate, *, scale: float = 1.0) -> Tensor:
    """Return a scalar function of the kernel matrix times `scale`; no (n, n) matrix is kept.

    `evaluate` takes the kernel, which it may overwrite, and returns the value and its symmetric
    gradient with respect to the kernel.
    """
    return _apply(_OfKernel, rows, evaluate, scale)
