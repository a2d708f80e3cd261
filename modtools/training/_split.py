"""Cut a network into modules, by the names of blocks or by their activation memory."""

import copy
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef

from modtools._checks import check_choice, check_integer
from modtools._escape import one_line
from modtools.exceptions import ModtoolsError

__all__ = ["SavedBytes", "count_saved_bytes", "split"]

_StorageWeakRef: Any = StorageWeakRef  # torch gives it no types


def split(
    network: nn.Module | Sequence[nn.Module],
    *,
    at: int | Sequence[str],
    example: Tensor | None = None,
) -> list[nn.Sequential]:
    """Cut a network into modules, the last of which is the output module.

    The modules share the blocks of the network, which keep their names, so that a module's output
    is the layer named as its last block.

    Parameters
    ----------
    network : torch.nn.Sequential or sequence of torch.nn.Module
        Blocks that run one after the other; blocks given as a list are named "0", "1", ...
    at : int or sequence of str
        Names of the blocks after which to cut; or the number of modules. Then the output module
        is the last block, and the others are cut so that the largest activation memory of a
        hidden module is as small as possible.
    example : Tensor, optional
        A small batch of inputs of the network, on its device; needed to cut into three or more.

    Returns
    -------
    list of torch.nn.Sequential
        The modules in running order, the output module last.

    Examples
    --------
    >>> from modtools.training.networks import MultilayerPerceptron
    >>> network = MultilayerPerceptron([64, 32, 16, 16, 10])
    >>> [list(dict(module.named_children())) for module in split(network, at=["block2"])]
    [['block1', 'block2'], ['features', 'output']]
    >>> [len(module) for module in split(network, at=3, example=torch.zeros(2, 64))]
    [1, 2, 1]
    """
    if not isinstance(example, Tensor | None):
        raise ModtoolsError(f"example must be a tensor; got {type(example).__name__}.")
    blocks = _blocks(network)
    names = list(blocks)
    if isinstance(at, Sequence):
        ends = _ends_of_names(at, names)
    else:
        ends = _best_ends(
            blocks, check_integer(at, name="at=, the number of modules,", minimum=2), example
        )
    modules = [
        nn.Sequential(OrderedDict((name, blocks[name]) for name in names[start:end]))
        for start, end in zip([0, *ends], [*ends, len(names)], strict=True)
    ]
    _check_separate(modules)
    return modules


def _blocks(network: Any) -> dict[str, nn.Module]:
    """Return the blocks of a network by name, in running order."""
    if isinstance(network, nn.Sequential):
        if type(network).forward is not nn.Sequential.forward:
            raise _uncuttable(f"{type(network).__name__} has a forward pass of its own")
        # Not named_children, which leaves out a block that is used twice.
        blocks = {name: block for name, block in network._modules.items() if block is not None}
    elif isinstance(network, Sequence) and all(isinstance(b, nn.Module) for b in network):
        blocks = {str(number): block for number, block in enumerate(network)}
    else:
        raise _uncuttable(f"{type(network).__name__} is not a sequence of blocks")
    if len(blocks) < 2:
        raise _uncuttable(f"it has {len(blocks)} block{'' if len(blocks) == 1 else 's'}")
    return blocks


def _uncuttable(reason: str) -> ModtoolsError:
    return ModtoolsError(
        f"the network cannot be cut into modules: {reason}. Give a torch.nn.Sequential, or a list "
        "of at least two blocks that run one after the other: [stem, body, output]."
    )


def _ends_of_names(at: Sequence[str], names: list[str]) -> list[int]:
    """Return how many blocks come before each cut."""
    points = [at] if isinstance(at, str) else list(at)
    for point in points:
        check_choice(point, names, name="cut point", hint=f"The blocks are {', '.join(names)}.")
    if names[-1] in points:
        raise ModtoolsError(
            f'at must not name the last block: a cut after "{names[-1]}" leaves nothing to the '
            f"output module. Cut before it, at {names[-2]!r}."
        )
    if not points or len(set(points)) < len(points):
        raise ModtoolsError(f"at must name one or more different blocks; got {at!r}.")
    return sorted(names.index(point) + 1 for point in points)


def _best_ends(
    blocks: Mapping[str, nn.Module], n_modules: int, example: Tensor | None
) -> list[int]:
    """Return the cuts that minimise the largest activation memory of a hidden module."""
    n_hidden = len(blocks) - 1
    if n_modules > len(blocks):
        raise ModtoolsError(
            f"at={n_modules} asks for more modules than the network has blocks ({len(blocks)}: "
            f"{', '.join(blocks)})."
        )
    if n_modules == 2:
        return [n_hidden]
    if example is None:
        raise ModtoolsError(
            f"at={n_modules} needs example=, a small batch of inputs, to measure the memory of "
            "each block; or name the blocks after which to cut."
        )
    n_bytes = _saved_bytes(dict(list(blocks.items())[:n_hidden]), example)
    # best[end]: (largest bytes of a module, cuts) for the blocks before `end`.
    best: dict[int, tuple[int, list[int]]] = {0: (0, [])}
    for _ in range(n_modules - 1):
        best = {
            end: min(
                (max(largest, n_bytes[start][end - start - 1]), [*cuts, end])
                for start, (largest, cuts) in best.items()
                if start < end
            )
            for end in range(min(best) + 1, n_hidden + 1)
        }
    return best[n_hidden][1]


def _saved_bytes(blocks: Mapping[str, nn.Module], example: Tensor) -> list[list[int]]:
    """Return the saved bytes of blocks `start` to `start + n` as one module: entry [start][n].

    Not the sum over blocks: a tensor that two neighbours save counts once.
    """
    # On a copy, because batch norms update their statistics in training mode.
    trained = copy.deepcopy(nn.ModuleList(blocks.values())).train().requires_grad_()
    devices = [example.device] if example.is_cuda else []
    table: list[list[int]] = []
    inputs = example.detach().clone()  # a view would count the whole data set
    with torch.random.fork_rng(devices=devices):  # for dropout
        for start in range(len(trained)):
            row: list[int] = []
            outputs = inputs
            with count_saved_bytes([*trained.parameters(), *trained.buffers()]) as saved:
                for name, block in list(zip(blocks, trained, strict=True))[start:]:
                    outputs = _run(name, block, outputs)
                    if not row:
                        inputs = outputs.detach().clone()
                    row.append(saved.n_bytes)
            table.append(row)
    return table


def _run(name: str, block: nn.Module, inputs: Tensor) -> Tensor:
    try:
        outputs = block(inputs)
    except Exception as error:  # a block may raise anything
        raise ModtoolsError(
            f'block "{name}" failed on the example, where it gets shape {tuple(inputs.shape)}: '
            f"{one_line(error)}."
        ) from error
    if not isinstance(outputs, Tensor):
        raise _uncuttable(f'block "{name}" returns {type(outputs).__name__}, not a tensor')
    return outputs


def _check_separate(modules: Sequence[nn.Module]) -> None:
    """Raise if two modules share a parameter: training one would change the other."""
    owners: dict[int, int] = {}
    for number, module in enumerate(modules):
        for name, parameter in module.named_parameters():
            if owners.setdefault(id(parameter), number) != number:
                raise _uncuttable(
                    f"modules {owners[id(parameter)]} and {number} share the parameter {name}"
                )


class SavedBytes:
    """The storages that autograd has saved so far, each counted once."""

    def __init__(self) -> None:
        # A weak reference holds no memory, but prevents that the id of a storage is reused.
        self._sizes: dict[Any, int] = {}

    @property
    def n_bytes(self) -> int:
        """Bytes of all storages saved so far."""
        return sum(self._sizes.values())

    def add(self, tensor: Tensor, *, excluded: bool = False) -> None:
        """Count the storage of a tensor once; an excluded one counts no bytes."""
        storage = tensor.untyped_storage()
        size = 0 if excluded else storage.nbytes()
        self._sizes.setdefault(_StorageWeakRef(storage), size)


@contextmanager
def count_saved_bytes(exclude: Iterable[Tensor]) -> Iterator[SavedBytes]:
    """Count the bytes that operations in this block save for their backward pass.

    This is the activation memory of a training step: the same number on every device. A storage
    counts once, however many operations save it, and as a whole, even if only a view is saved.
    The copies of the weights made by autocast count too.

    Parameters
    ----------
    exclude : iterable of Tensor
        Parameters, buffers and data, which are not activations.

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
        return tensor.detach()  # an output that held its own graph would never be freed

    def unpack(tensor: Tensor) -> Tensor:
        return tensor

    with saved_tensors_hooks(pack, unpack):
        yield saved
