"""Feature extraction: batch by batch, one forward pass, the network unchanged."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modtools._checks import check_probabilities
from modtools._progress import quiet, track
from modtools.exceptions import ModtoolsError, ModuleError, warn
from modtools.modules._cache import Cache, open_cache
from modtools.modules._combined import CombinedModule, networks_of
from modtools.modules._identity import extraction_keys, source_place
from modtools.modules._module import PretrainedModule
from modtools.modules._streaming import Block, Features, RunOptions, as_task, stream
from modtools.tasks import Task

if TYPE_CHECKING:
    import torch

__all__ = ["Extraction", "extract", "extract_members", "iter_features", "run"]


@dataclass(frozen=True)
class Extraction:
    """The result of one pass of a module over a task.

    Attributes
    ----------
    features : dict of str to ndarray
        Float32 features (n_samples, n_features) by name (``name@layer``).
    source_probabilities : ndarray or None
        Probabilities of the source classes (n_samples, n_source_classes) where the module has a
        source head.
    seconds : float
        Wall time of the pass.
    """

    features: dict[str, Features]
    source_probabilities: Features | None
    seconds: float


def _fill(stack: Features | None, part: Features, rows: slice, n_rows: int, name: str) -> Features:
    """Return the stack with one more block; it is allocated with the first block."""
    if stack is None:
        stack = np.empty((n_rows, part.shape[1]), dtype=np.float32)
    if part.shape[1] != stack.shape[1]:
        raise ModuleError(
            f'module "{name}" returned {part.shape[1]} features at example {rows.start}, '
            f"{stack.shape[1]} before; choose a pooling that does not depend on the input's size."
        )
    stack[rows] = part
    return stack


def _run_uncached(
    module: PretrainedModule, task: Task, options: RunOptions, *, with_source: bool
) -> tuple[dict[str | None, Features], Features | None]:
    """Stack the blocks of features of a module in arrays that are allocated once."""
    features: dict[str | None, Features] = {}
    source: Features | None = None
    for block in stream(module, task, options, with_source=with_source):
        for layer, part in block.features.items():
            features[layer] = _fill(features.get(layer), part, block.rows, len(task), module.name)
        if block.source_probabilities is not None:
            source = _fill(source, block.source_probabilities, block.rows, len(task), module.name)
    if source is not None:
        name = f'source probabilities of module "{module.name}"'
        try:
            check_probabilities(source, name=name)
        except ModtoolsError as error:
            raise ModuleError(str(error)) from error
    return features, source


def _place(layer: str | None) -> str:
    return "output" if layer is None else f"layer {layer}"


def _run_cached(
    module: PretrainedModule, task: Task, options: RunOptions, cache: Cache, *, with_source: bool
) -> tuple[dict[str | None, Features], Features | None]:
    """Read the layers in the cache, run the network for the others, and cache these."""
    try:
        key = extraction_keys(module, options.precision, task.fingerprint)
        source_key = key(source_place(module)) if with_source else ""
    except ModtoolsError as error:
        warn("MT007", str(error))
        return _run_uncached(module, task, options, with_source=with_source)
    found = {layer: cache.get(key(_place(layer))) for layer in module.layers}
    source = cache.get(source_key) if with_source else None
    needs_source = with_source and source is None
    missing = [layer for layer, features in found.items() if features is None]
    if missing or needs_source:
        reduced = module.at(missing or module.layers[0])
        fresh, computed = _run_uncached(reduced, task, options, with_source=needs_source)
        for layer in missing:
            cache.put(key(_place(layer)), fresh[layer])
            found[layer] = fresh[layer]
        if computed is not None:
            cache.put(source_key, computed)
            source = computed
    return {layer: features for layer, features in found.items() if features is not None}, source


def run(
    module: PretrainedModule | CombinedModule,
    task: Any,
    *,
    device: "str | torch.device | None" = None,
    precision: str = "float32",
    batch_size: int = 64,
    cache: bool | str | os.PathLike[str] | None = None,
    with_source: bool = True,
) -> Extraction:
    """Extract every layer of a module, and its source probabilities, in one pass over a task.

    Parameters
    ----------
    module : PretrainedModule or CombinedModule
        The module.
    task : Task, array, tensor or list of str
        The inputs.
    device : str or torch.device, optional
        Where to run; the network is moved there and back. None runs where the network is.
    precision : {"float32", "bfloat16", "float16"}, default="float32"
        Autocast precision of the forward pass; features are float32 always.
    batch_size : int, default=64
        Examples per forward pass.
    cache : bool, str or path, optional
        True caches features in the default folder, a path in that folder, None not at all.
        Keys cover the weights, code and settings of the network, layer, pooling,
        preprocessing, precision and the task; not the device and the batch size. Code counts with
        the values of everything that it reads (constants, helpers, attributes); if these cannot be
        identified, as of code that reads files, nothing is cached, with a warning.
    with_source : bool, default=True
        Whether to compute the source probabilities of a module with a source head.

    Returns
    -------
    Extraction
        Features by name, source probabilities and seconds.

    Examples
    --------
    >>> import numpy as np
    >>> from torch import nn
    >>> module = PretrainedModule(nn.Linear(4, 3), name="small")
    >>> run(module, np.ones((5, 4), dtype=np.float32)).features["small"].shape
    (5, 3)
    """
    started = time.perf_counter()
    if isinstance(module, CombinedModule):
        forward: dict[str, Any] = {"device": device, "precision": precision, "cache": cache}
        members = extract_members(module, task, batch_size=batch_size, **forward)
        joined = {module.name: module.join(members)}
        return Extraction(joined, None, time.perf_counter() - started)
    task, kept = as_task(task), open_cache(cache)
    options = RunOptions(device, precision, batch_size)
    with_source = with_source and module.source_head is not None
    if kept is None:
        features, source = _run_uncached(module, task, options, with_source=with_source)
    else:
        features, source = _run_cached(module, task, options, kept, with_source=with_source)
    by_name = {
        name: features[layer] for name, layer in zip(module.names, module.layers, strict=True)
    }
    return Extraction(by_name, source, time.perf_counter() - started)


def extract_members(
    module: PretrainedModule | CombinedModule, task: Any, **options: Any
) -> dict[str, Features]:
    """Return the features of each member of a combination, or of each layer of a module, by name.

    Parameters
    ----------
    module : CombinedModule or PretrainedModule
        The module.
    task : Task, array, tensor or list of str
        The inputs.
    **options
        device, precision, batch_size and cache, as in `extract`.

    Returns
    -------
    dict of str to ndarray
        Float32 features (n_samples, n_features) by name (``name@layer``), in the order of the
        members.

    Examples
    --------
    >>> import numpy as np
    >>> from torch import nn
    >>> module = PretrainedModule(nn.Linear(4, 3), name="small", layers=None)
    >>> {name: x.shape for name, x in extract_members(module, np.ones((5, 4), "f")).items()}
    {'small': (5, 3)}
    """
    found: dict[str, Features] = {}
    for network in networks_of(module):
        found |= run(network, task, with_source=False, **options).features
    order = module.members if isinstance(module, CombinedModule) else found
    return {name: found[name] for name in order}


def extract(
    module: PretrainedModule | CombinedModule,
    task: Any,
    *,
    device: "str | torch.device | None" = None,
    precision: str = "float32",
    batch_size: int = 64,
    cache: bool | str | os.PathLike[str] | None = None,
) -> Features | dict[str, Features]:
    """Return the features of a module on a task, float32 (n_samples, n_features).

    Parameters
    ----------
    module : PretrainedModule or CombinedModule
        The module.
    task : Task, array, tensor or list of str
        The inputs.
    device : str or torch.device, optional
        Where to run; the network is moved there and back. None runs where the network is.
    precision : {"float32", "bfloat16", "float16"}, default="float32"
        Autocast precision of the forward pass; features are float32 always.
    batch_size : int, default=64
        Examples per forward pass.
    cache : bool, str or path, optional
        True caches features in the default folder, a path in that folder, None not at all.
        Keys cover the weights, code and settings of the network, layer, pooling,
        preprocessing, precision and the task; not the device and the batch size. Code counts with
        the values of everything that it reads (constants, helpers, attributes); if these cannot be
        identified, as of code that reads files, nothing is cached, with a warning.

    Returns
    -------
    ndarray of shape (n_samples, n_features) or dict
        The features; of several layers always a dict ``{name@layer: features}``, which functions
        take that take modules.

    Examples
    --------
    >>> import numpy as np
    >>> from torch import nn
    >>> module = PretrainedModule(nn.Linear(4, 3), name="small")
    >>> extract(module, np.ones((5, 4), dtype=np.float32)).shape
    (5, 3)
    """
    done = run(
        module,
        task,
        device=device,
        precision=precision,
        batch_size=batch_size,
        cache=cache,
        with_source=False,
    )
    by_name = {name: done.features[name] for name in module.names}
    return by_name if len(by_name) > 1 else next(iter(by_name.values()))


def iter_features(
    module: PretrainedModule | CombinedModule,
    task: Any,
    *,
    device: "str | torch.device | None" = None,
    precision: str = "float32",
    batch_size: int = 64,
) -> Iterator[Features | dict[str, Features]]:
    """Iterate over the features batch by batch, so that they need not fit in memory.

    The network is in eval mode, on `device`, until the iteration ends.

    Parameters
    ----------
    module : PretrainedModule or CombinedModule
        The module.
    task : Task, array, tensor or list of str
        The inputs.
    device : str or torch.device, optional
        Where to run; the network is moved there and back. None runs where the network is.
    precision : {"float32", "bfloat16", "float16"}, default="float32"
        Autocast precision of the forward pass; features are float32 always.
    batch_size : int, default=64
        Examples per forward pass.

    Returns
    -------
    iterator of ndarray of shape (n_rows, n_features), or of dict
        The batches that `extract` would stack; of several layers each is a dict ``{name@layer:
        features}``. Arguments are checked before the first batch.

    Examples
    --------
    >>> import numpy as np
    >>> from torch import nn
    >>> module = PretrainedModule(nn.Linear(4, 3), name="small")
    >>> inputs = np.ones((5, 4), dtype=np.float32)
    >>> [block.shape for block in iter_features(module, inputs, batch_size=3)]
    [(3, 3), (2, 3)]
    """
    options, task = RunOptions(device, precision, batch_size), as_task(task)
    if isinstance(module, CombinedModule):
        streams = [stream(part, task, options, with_source=False) for part in module.networks]
        return _side_by_side(module, streams, -(-len(task) // batch_size))
    blocks = stream(module, task, options, with_source=False)
    if len(module.layers) == 1:
        return (part.features[module.layers[0]] for part in blocks)
    return (dict(zip(module.names, part.features.values(), strict=True)) for part in blocks)


def _side_by_side(
    module: CombinedModule, streams: Sequence[Iterator[Block]], n_batches: int
) -> Iterator[Features]:
    """Run all networks on one batch after the other, under one progress bar."""
    # Strict, so that every stream runs to its end and restores its network.
    rows = zip(*map(_quietly, streams), strict=True)
    for blocks in track(rows, f"Extract {module.name}", total=n_batches):
        found: dict[str, Features] = {}
        for network, block in zip(module.networks, blocks, strict=True):
            found |= dict(zip(network.names, block.features.values(), strict=True))
        yield module.join(found)


def _quietly(blocks: Iterator[Block]) -> Iterator[Block]:
    """Yield the blocks of a stream without its own progress bar."""
    while True:
        with quiet():
            block = next(blocks, None)
        if block is None:
            return
        yield block
