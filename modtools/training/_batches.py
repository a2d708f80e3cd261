"""Where the batches of a phase come from: a task, or what a frozen prefix makes of it."""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from modtools.exceptions import ModtoolsError
from modtools.modules import ImagePreprocess, image_preprocess, to_tensor
from modtools.tasks import Task
from modtools.training._augmentation import Augmentation

__all__ = [
    "Batch",
    "CachedSource",
    "FrozenSource",
    "Source",
    "TaskSource",
    "default_preprocess",
    "derive_seed",
    "iter_rows",
    "rows_of_step",
]

_CACHE_BYTES: Final = 1 << 30
_READ_ROWS: Final = 512
_MEASURED_ROWS: Final = 2048
_LEAST_STD: Final = 1e-3  # images of one colour


class Batch(NamedTuple):
    """One batch: what the network reads, and what the module in training reads."""

    inputs: Tensor
    features: Tensor


class Source(Protocol):
    """Gives the batch of some rows; the generator decides the augmentation."""

    def batch(self, rows: NDArray[Any], generator: torch.Generator | None = None) -> Batch:
        """Return the rows in the order given; without a generator nothing is augmented."""


class TaskSource:
    """Batches of a task as tensors on a device, prepared and augmented one at a time."""

    def __init__(
        self,
        task: Task,
        preprocess: Callable[[Any], Any] | None,
        *,
        device: torch.device,
        augmentation: Augmentation | None = None,
    ) -> None:
        self._task, self._preprocess = task, preprocess
        self._device, self._augmentation = device, augmentation

    def batch(self, rows: NDArray[Any], generator: torch.Generator | None = None) -> Batch:
        """Return the inputs of these rows, as inputs and as features."""
        batch = self._task.batch(rows)
        inputs = to_tensor(batch) if self._preprocess is None else self._preprocess(batch)
        if not isinstance(inputs, Tensor):
            raise ModtoolsError(
                f"preprocess= must return a tensor for training; got {type(inputs).__name__}."
            )
        inputs = inputs.float() if inputs.is_floating_point() else inputs
        inputs = inputs.to(self._device)
        if generator is not None and self._augmentation is not None:
            inputs = self._augmentation(inputs, generator)
        return Batch(inputs, inputs)


class FrozenSource:
    """What a frozen prefix makes of another source, batch by batch, without a graph."""

    def __init__(self, source: Source, prefix: nn.Module) -> None:
        self._source, self._prefix = source, prefix

    def batch(self, rows: NDArray[Any], generator: torch.Generator | None = None) -> Batch:
        """Return the inputs, and the prefix's output for them as features."""
        inputs, features = self._source.batch(rows, generator)
        with torch.no_grad():
            return Batch(inputs, self._prefix(features).float())


class CachedSource:
    """The features of all rows, computed once; the inputs of the network are not kept."""

    def __init__(self, features: Tensor) -> None:
        self._features = features

    def batch(self, rows: NDArray[Any], generator: torch.Generator | None = None) -> Batch:
        """Return the kept features of these rows."""
        features = self._features[torch.as_tensor(rows, device=self._features.device)]
        return Batch(features, features)

    @classmethod
    def of(cls, source: Source, n_rows: int) -> "CachedSource | None":
        """Return a cache of a source, or None where it would take more than 1 GiB."""
        blocks: list[Tensor] = []
        for rows in iter_rows(n_rows):
            blocks.append(source.batch(rows).features)
            if blocks[0].nbytes / len(blocks[0]) * n_rows > _CACHE_BYTES:
                return None
        return cls(torch.cat(blocks))


def iter_rows(n_rows: int) -> Iterator[NDArray[Any]]:
    """Yield the row numbers 0..n_rows-1 in blocks, for reading without training.

    >>> [len(rows) for rows in iter_rows(1000)]
    [512, 488]
    """
    for start in range(0, n_rows, _READ_ROWS):
        yield np.arange(start, min(start + _READ_ROWS, n_rows))


def derive_seed(seed: int, *place: int) -> int:
    """Return a seed for one place of a run, so that a resumed run draws what it would have drawn.

    >>> derive_seed(0, 1, 2) == derive_seed(0, 1, 2), derive_seed(0, 1, 2) == derive_seed(0, 2, 1)
    (True, False)
    """
    return int(np.random.SeedSequence((seed, *place)).generate_state(1, np.uint64)[0]) >> 1


def rows_of_step(order: NDArray[Any], step: int, batch_size: int) -> NDArray[Any]:
    """Return the rows of a step within an epoch; rows that fill no batch wait for another epoch.

    >>> rows_of_step(np.arange(10), 1, 4)
    array([4, 5, 6, 7])
    """
    return order[step * batch_size : (step + 1) * batch_size]


def default_preprocess(task: Task) -> ImagePreprocess | None:
    """Return how a task's inputs are prepared when the caller does not say.

    Images (uint8 with 3 or 4 axes) are scaled and normalised by the mean and the standard
    deviation of their pixels; other arrays are used as they are.
    """
    rows = np.linspace(0, len(task) - 1, min(len(task), _MEASURED_ROWS)).astype(int)
    sample = to_tensor(task.batch(rows))
    if sample.dtype != torch.uint8 or sample.ndim not in (3, 4):
        return None
    scaled = image_preprocess(channels=None)(sample)
    _, channels, height, width = scaled.shape
    mean, std = round(float(scaled.mean()), 4), round(float(scaled.std()), 4)
    return image_preprocess((height, width), mean, max(std, _LEAST_STD), channels)
