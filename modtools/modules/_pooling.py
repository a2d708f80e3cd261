"""Pooling: from the output of a layer to one feature vector per example."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from modtools._checks import check_tensor
from modtools.exceptions import ModtoolsError, ModuleError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["POOLINGS", "first_tensor", "pool"]


@runtime_checkable
class HiddenStates(Protocol):
    """The output of networks of Hugging Face."""

    last_hidden_state: Any


def first_tensor(output: Any) -> "Tensor | None":
    """Return the tensor of an output, or None if there is none.

    A tensor is itself; an object or a mapping with `last_hidden_state` (Hugging Face) gives that;
    any other mapping, tuple or list gives the first tensor in it.
    """
    from torch import Tensor

    if isinstance(output, Tensor):
        return output
    parts: Iterable[Any]
    if isinstance(output, Mapping):
        parts = [output["last_hidden_state"]] if "last_hidden_state" in output else output.values()
    elif isinstance(output, tuple | list):
        parts = output
    else:
        parts = [output.last_hidden_state] if isinstance(output, HiddenStates) else []
    found = (first_tensor(part) for part in parts if part is not None)
    return next((tensor for tensor in found if tensor is not None), None)


def _positions(output: "Tensor") -> tuple[int, ...]:
    """Return the axes of tokens (B, T, D) or of positions (B, C, H, W, ...)."""
    return (1,) if output.ndim == 3 else tuple(range(2, output.ndim))


def _mean(output: "Tensor", mask: "Tensor | None") -> "Tensor":
    return output.mean(_positions(output))


def _max(output: "Tensor", mask: "Tensor | None") -> "Tensor":
    return output.amax(_positions(output))


def _cls(output: "Tensor", mask: "Tensor | None") -> "Tensor":
    if output.ndim != 3:
        raise ModtoolsError(f'pooling "cls" needs tokens (B, T, D); got {tuple(output.shape)}.')
    return output[:, 0]


def _flatten(output: "Tensor", mask: "Tensor | None") -> "Tensor":
    return output.flatten(1)


def _masked_mean(output: "Tensor", mask: "Tensor | None") -> "Tensor":
    if mask is None or output.ndim != 3 or output.shape[:2] != mask.shape:
        found = "no attention_mask" if mask is None else f"a mask of shape {tuple(mask.shape)}"
        raise ModtoolsError(
            'pooling "masked_mean" needs tokens (B, T, D) and a preprocess that returns '
            f'"attention_mask" (B, T); got {tuple(output.shape)} and {found}.'
        )
    weights = mask.unsqueeze(-1).to(output.dtype)
    return (output * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


POOLINGS: Final[dict[str, "Callable[[Tensor, Tensor | None], Tensor]"]] = {
    "mean": _mean,
    "max": _max,
    "cls": _cls,
    "flatten": _flatten,
    "masked_mean": _masked_mean,
}


def pool(output: Any, pooling: str, *, n_rows: int, mask: "Tensor | None", name: str) -> "Tensor":
    """Return float32 features (n_rows, d) that share no memory with the output of the module.

    An output that is already (n_rows, d) passes through whatever the pooling is.

    >>> import torch
    >>> pool(torch.ones(2, 3, 4, 4), "mean", n_rows=2, mask=None, name="net").shape
    torch.Size([2, 3])
    """
    import torch

    tensor = first_tensor(output)
    if tensor is None:
        raise ModuleError(f'module "{name}" returned {type(output).__name__}, no tensor in it.')
    try:
        check_tensor(tensor, name=f'the output of module "{name}"')
    except ModtoolsError as error:
        raise ModuleError(str(error)) from error
    if tensor.ndim < 2 or len(tensor) != n_rows:
        raise ModuleError(
            f'module "{name}" returned shape {tuple(tensor.shape)} for a batch of {n_rows}: its '
            "output must have the batch as first axis and at least one more. Choose another layer."
        )
    if tensor.is_complex() or tensor.shape[1] == 0:
        raise ModuleError(
            f'module "{name}" returned {tensor.dtype} of shape {tuple(tensor.shape)}: its output '
            "must be real numbers, at least one per example. Choose another layer."
        )
    if tensor.ndim > 2:
        # Half-precision outputs are averaged in float32.
        tensor = POOLINGS[pooling](tensor.float(), mask)
    # Copied because a later layer that works in place may overwrite what this one returned.
    return tensor.to(torch.float32, copy=True)
