"""How long a forward pass takes, measured."""

import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from modtools._checks import check_integer
from modtools._progress import quiet
from modtools.modules._combined import CombinedModule
from modtools.modules._extraction import iter_features
from modtools.modules._module import PretrainedModule
from modtools.modules._streaming import as_task

if TYPE_CHECKING:
    import torch

__all__ = ["milliseconds_per_example"]

# The first pass of a network runs to its end to find where to stop, the next ones fill caches.
_WARM_UP: Final = 2
_MEASURED: Final = 7


def milliseconds_per_example(
    module: PretrainedModule | CombinedModule,
    inputs: Any,
    *,
    device: "str | torch.device | None" = None,
    precision: str = "float32",
    batch_size: int = 64,
) -> float:
    """Measure the time that features take: preprocessing, forward pass and pooling.

    Parameters
    ----------
    module : PretrainedModule or CombinedModule
        The module; a tap within a network ends the pass there, unless the network decides by its
        inputs which layers run.
    inputs : Task, array, tensor or list of str
        Real inputs; their first rows are used, again and again where there are few.
    device : str or torch.device, optional
        Where to run; the network is moved there and back.
    precision : {"float32", "bfloat16", "float16"}, default="float32"
        Autocast precision of the forward pass.
    batch_size : int, default=64
        Inputs in one forward pass; small batches cost more an example.

    Returns
    -------
    float
        Milliseconds an example: the median over seven batches after two that warm up, over the
        size of a batch.

    Examples
    --------
    >>> from modtools.modules import pixels
    >>> from modtools.tasks import load_task
    >>> 0 < milliseconds_per_example(pixels(), load_task("digits")) < 10
    True
    """
    task, batch_size = as_task(inputs), check_integer(batch_size, name="batch_size")
    rows = np.arange((_WARM_UP + _MEASURED) * batch_size) % len(task)
    seconds = []
    with quiet():
        blocks = iter_features(
            module, task.subset(rows), device=device, precision=precision, batch_size=batch_size
        )
        started = time.perf_counter()
        for _ in blocks:
            now = time.perf_counter()
            seconds.append(now - started)
            started = now
    return float(1000 * np.median(seconds[_WARM_UP:]) / batch_size)
