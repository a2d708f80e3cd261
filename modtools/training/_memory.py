"""How many bytes a forward pass keeps for its backward pass."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef

__all__ = ["SavedBytes", "count_saved_bytes"]


_StorageWeakRef: Any = StorageWeakRef  # torch gives it no types


class SavedBytes:
    """The storages that autograd has saved so far, each counted once."""

    def __init__(self) -> None:
        # A weak reference keeps no memory, but the identity of a storage from being used again.
        self._sizes: dict[Any, int] = {}

    @property
    def n_bytes(self) -> int:
        """Bytes of all storages saved so far."""
        return sum(self._sizes.values())

    def add(self, tensor: Tensor, *, excluded: bool = False) -> None:
        """Count the storage of a tensor unless it is known; one that is excluded has no bytes."""
        storage = tensor.untyped_storage()
        size = 0 if excluded else storage.nbytes()
        self._sizes.setdefault(_StorageWeakRef(storage), size)


@contextmanager
def count_saved_bytes(exclude: Iterable[Tensor]) -> Iterator[SavedBytes]:
    """Count the bytes that operations in this block save for their backward pass.

    This is the activation memory of a training step: the same number on every device. A storage
    counts once, however many operations save it, and as a whole, also where only a view is saved.
    The copies of the weights that autocast makes count too.

    Parameters
    ----------
    exclude : iterable of Tensor
        Parameters, buffers and data, which are there anyway.

    Examples
    --------
    >>> import torch
    >>> weight = torch.ones(3, 2, requires_grad=True)
    >>> with count_saved_bytes(exclude=[weight]) as saved:
    ...     loss = (torch.ones(5, 3) @ weight).relu().sum()
    >>> saved.n_bytes  # 15 inputs and 10 outputs of the ReLU, 4 bytes each
    100
    """
    saved = SavedBytes()
    for tensor in exclude:
        saved.add(tensor, excluded=True)

    def pack(tensor: Tensor) -> Tensor:
        saved.add(tensor)
        return tensor.detach()  # an output that kept its own graph would never be freed

    def unpack(tensor: Tensor) -> Tensor:
        return tensor

    with saved_tensors_hooks(pack, unpack):
        yield saved
