"""Weights of a network as a safetensors file: shared tensors once, no pickle."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from safetensors import safe_open

from modtools._escape import one_line
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["axes_in_memory", "check_files", "file_digest", "load_weights", "save_weights"]

# In the metadata: the axes in memory of each tensor that does not lie row by row, as JSON.
_ORDERS: Final = "memory_orders"


def file_digest(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_files(folder: Path, digests: Mapping[str, str], *, needed: str) -> None:
    """Raise unless the files of a card exist, are no links and have the stated checksums."""
    if needed not in digests:
        raise ModtoolsError(f"it states no sha256 of {needed}.")
    for name, digest in digests.items():
        path = folder / name
        try:
            is_plain = Path(name).name == name and not path.is_symlink() and path.is_file()
            found = file_digest(path) if is_plain else None
        except OSError as error:
            raise ModtoolsError(f"{name} cannot be read: {one_line(error)}.") from error
        if found is None:
            raise ModtoolsError(f"{name} is missing, or not a plain file of this folder.")
        if found != digest:
            raise ModtoolsError(f"sha256 of {name} differs. It was changed or damaged.")


def save_weights(network: "nn.Module", path: Path) -> None:
    """Write parameters and buffers; a tensor under several names is stored under the first."""
    import torch
    from safetensors.torch import save_file

    kept: dict[tuple[object, ...], str] = {}
    tensors: dict[str, torch.Tensor] = {}
    metadata = {"format": "pt"}
    orders: dict[str, list[int]] = {}
    for name, tensor in network.state_dict().items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
        if tensor.numel() and kept.setdefault(place, name) != name:
            metadata[name] = kept[place]
        else:
            # Cloned, because safetensors refuses views into one larger piece of memory.
            tensors[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            axes = axes_in_memory(tensor.shape, tensor.stride())
            if axes != sorted(axes):
                orders[name] = axes
    if orders:
        metadata[_ORDERS] = json.dumps(orders)
    save_file(tensors, path, metadata=metadata)


def load_weights(network: "nn.Module", path: Path) -> None:
    """Load a file strictly into a network, which takes the number types of the file."""
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
        with safe_open(path, framework="pt") as file:
            aliases = dict(file.metadata() or {})
        aliases.pop("format", None)
        orders = json.loads(aliases.pop(_ORDERS, "{}"))
        tensors.update({name: tensors[kept] for name, kept in aliases.items()})
        for name, tensor in network.state_dict(keep_vars=True).items():
            if name in tensors:
                tensor.data = _laid_out(tensor.data, tensors[name].dtype, orders.get(name))
        network.load_state_dict(tensors, strict=True)
    except Exception as error:  # a network may define its own loading of weights
        raise ModtoolsError(
            f"{path} does not hold the weights of this network: {one_line(error)}."
        ) from error


def axes_in_memory(shape: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Return the axes of an array or tensor, the one with the largest step in memory first.

    An array without gaps, transposed to this order, lies row by row (C order).

    Parameters
    ----------
    shape, strides : sequence of int
        Lengths of the axes, and the step along each in any unit.

    Examples
    --------
    >>> axes_in_memory((2, 3), (24, 8)), axes_in_memory((2, 3), (8, 16))
    ([0, 1], [1, 0])
    """
    # Of two axes with the same step, the one of length 1 is the inner one.
    return sorted(range(len(shape)), key=lambda axis: (-strides[axis], shape[axis] == 1))


def _laid_out(tensor: "torch.Tensor", dtype: "torch.dtype", axes: Any) -> "torch.Tensor":
    """Return a tensor in a number type, its axes in memory in an order if one is given."""
    import torch

    if axes is None or axes == axes_in_memory(tensor.shape, tensor.stride()):
        return tensor.to(dtype)
    ordered = tensor.permute(axes).to(dtype).clone(memory_format=torch.contiguous_format)
    return ordered.permute([axes.index(axis) for axis in range(tensor.ndim)])
