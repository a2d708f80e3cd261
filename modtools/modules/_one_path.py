"""Whether a forward pass takes the same path through its layers for all inputs of one shape."""

import inspect
import random
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any, Final

import numpy as np

__all__ = ["PathWatch", "can_be_watched", "own_to_torch", "shape_of", "watch_path"]

# What a network may read of a tensor without reading its values.
_ABOUT_SHAPE: Final = frozenset(
    (
        *("shape", "size", "ndim", "dim", "__len__", "numel", "nelement", "stride", "nbytes"),
        *("is_contiguous", "dtype", "type", "device", "get_device", "layout", "element_size"),
        *("is_cuda", "is_cpu", "is_meta", "is_mps", "is_sparse", "is_quantized", "is_nested"),
        *("is_floating_point", "is_complex", "is_signed", "is_tensor", "is_leaf", "is_inference"),
        *("requires_grad", "grad_fn", "storage_offset", "itemsize", "result_type"),
        *("__iter__", "__hash__"),
    )
)
_SHAPED_BY_VALUES: Final = frozenset(
    (
        *("nonzero", "argwhere", "masked_select", "unique", "unique_consecutive", "bincount"),
        *("repeat_interleave", "_pack_padded_sequence"),
    )
)
_MOST_ENTRIES, _DEEPEST = 1000, 8


class PathWatch:
    """Notes whether a forward pass read anything that depends on more than shapes.

    The path through the layers is decided by the shapes of the inputs, by values read from tensors
    (``if x.mean() > 1``) and by the state of the network (``self.step += 1``). If no value was read
    and no state changed, the shapes alone decide.

    Attributes
    ----------
    is_fixed : bool
        Whether the path depends on shapes alone, as far as was seen.
    """

    def __init__(self) -> None:
        self.is_fixed = True

    def note(self, func: Any, args: Any, result: Any) -> None:
        """Note the result of one function of torch."""
        name = getattr(func, "__name__", "")
        if name == "__get__":
            name = getattr(func.__self__, "__name__", "")
        if name not in _ABOUT_SHAPE:
            self.is_fixed &= _holds_tensors_only(result) and not _is_shaped_by_values(name, args)


def _holds_tensors_only(result: Any) -> bool:
    from torch import Tensor

    if isinstance(result, tuple | list):
        return all(map(_holds_tensors_only, result))
    return result is None or isinstance(result, Tensor)


def _is_shaped_by_values(name: str, args: Any) -> bool:
    import torch

    if name == "__getitem__":
        chosen = args[1] if isinstance(args[1], tuple) else (args[1],)
        masks = (torch.bool, torch.uint8)
        return any(isinstance(part, torch.Tensor) and part.dtype in masks for part in chosen)
    return name in _SHAPED_BY_VALUES or (name == "where" and len(args) == 1)


def can_be_watched(network: Any) -> bool:
    """Return whether watching a network does not change its outputs."""
    from torch import nn

    # These have a fast path that watching switches off, with slightly different outputs.
    unwatched = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)
    parts = network.modules() if isinstance(network, nn.Module) else ()
    return not any(
        isinstance(part, unwatched) or type(part).__name__ == "OptimizedModule" for part in parts
    )


@contextmanager
def watch_path(network: Any) -> Iterator[PathWatch]:
    """Watch a forward pass of a torch network; `is_fixed` is known when the block ends.

    >>> import torch
    >>> network = torch.nn.Linear(4, 3)
    >>> with watch_path(network) as watch:
    ...     _ = network(torch.ones(2, 4))
    >>> watch.is_fixed
    True
    """
    from torch.overrides import TorchFunctionMode

    watch, before = PathWatch(), _memory(network)

    class Noting(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = func(*args, **(kwargs or {}))
            watch.note(func, args, result)
            return result

    with Noting():
        yield watch
    watch.is_fixed &= _memory(network) == before


def _memory(network: Any) -> list[Any]:
    """Return the state that a network keeps between passes, other than its tensors."""
    import torch

    kept: list[Any] = [random.getstate(), torch.get_rng_state().numpy().tobytes()]
    kept.append(str(np.random.get_state(legacy=False)))  # noqa: NPY002 - whether it was drawn from
    for part in network.modules():
        own = {name: value for name, value in vars(part).items() if name not in own_to_torch()}
        kept.append(_plain(own))
    for kind in {type(part) for part in network.modules()}:
        try:
            seen = inspect.getclosurevars(kind.forward)
        except (TypeError, ValueError):  # not written in Python
            continue
        kept.append((kind.__qualname__, _plain(dict(seen.nonlocals)), _plain(dict(seen.globals))))
    return kept


@cache
def own_to_torch() -> frozenset[str]:
    """Return the attributes that torch gives every network: training flag, hooks, registries."""
    from torch import nn

    return frozenset(vars(nn.Module()))


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a comparable form of a value: numbers, texts, shapes, and containers of these."""
    from torch import Tensor, nn

    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return value
    if isinstance(value, Tensor):
        return tuple(value.shape)
    if type(value) is np.ndarray:
        return value.shape, value.tobytes() if value.size <= _MOST_ENTRIES else b""
    is_code = isinstance(value, ModuleType | type) or inspect.isroutine(value)
    if depth == _DEEPEST or is_code or isinstance(value, nn.Module):
        return None
    if isinstance(value, Mapping):
        value = list(value.items())
    if isinstance(value, list | tuple | set | frozenset):
        shown = list(value) if len(value) <= _MOST_ENTRIES else []
        return len(value), [_plain(part, depth + 1) for part in shown]
    try:
        own = vars(value)
    except TypeError:  # it has no __dict__
        return None
    return _plain(own, depth + 1)


def shape_of(inputs: Any) -> Hashable:
    """Return the shapes, layouts and types that decide a fixed path; None for unknown inputs.

    >>> import torch
    >>> shape_of(torch.ones(2, 3)) == shape_of(torch.zeros(2, 3)) != shape_of(torch.ones(3, 3))
    True
    """
    from torch import Tensor

    if isinstance(inputs, Tensor):
        return (tuple(inputs.shape), inputs.stride(), inputs.dtype, inputs.device)
    if isinstance(inputs, Mapping) and all(isinstance(v, Tensor) for v in inputs.values()):
        return tuple((str(name), shape_of(value)) for name, value in inputs.items())
    return None
