"""Sources of batches: a task with augmentation, or the outputs of frozen modules."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from modtools._checks import check_boolean, check_integer
from modtools._escape import one_line
from modtools.exceptions import ModtoolsError
from modtools.modules import ImagePreprocess, image_preprocess, to_tensor
from modtools.tasks import Task

__all__ = [
    "Augmentation",
    "Batch",
    "CachedSource",
    "FrozenSource",
    "Source",
    "TaskSource",
    "default_preprocess",
    "derive_seed",
    "iter_rows",
    "rows_of_step",
    "running",
]

_CACHE_BYTES: Final = 1 << 30
_READ_ROWS: Final = 512
_MEASURED_ROWS: Final = 2048
_LEAST_STD: Final = 1e-3  # images of one colour


@dataclass(frozen=True)
class Augmentation:
    """Move each image by a few pixels and mirror it, at random.

    It reads preprocessed images. Uncovered pixels are filled with the background: the smallest
    value of each channel in the batch, which is black, however the images were normalised.
    The memory format of the batch is kept.

    Parameters
    ----------
    shift : int, default=2
        Largest move in pixels, in either direction of each axis; all moves are equally likely.
    flip : bool, default=False
        Whether half of the images are mirrored left to right. Wrong for digits and letters.

    Examples
    --------
    >>> images = torch.zeros(2, 1, 4, 4)
    >>> images[:, :, 1:3, 1:3] = 1
    >>> moved = Augmentation(shift=1)(images, torch.Generator().manual_seed(0))
    >>> moved.shape, moved.sum((1, 2, 3))
    (torch.Size([2, 1, 4, 4]), tensor([4., 4.]))
    """

    shift: int = 2
    flip: bool = False

    def __post_init__(self) -> None:
        check_integer(self.shift, name="shift", minimum=0)
        check_boolean(self.flip, name="flip")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return augmented images of the same shape, type, device and memory format.

        Parameters
        ----------
        images : Tensor of shape (n_samples, n_channels, height, width)
            Preprocessed images; they are not changed.
        generator : torch.Generator
            The only source of randomness. One on the CPU gives the same numbers for every device.

        Returns
        -------
        Tensor of shape (n_samples, n_channels, height, width)
            The moved and mirrored images.
        """
        self._check(images)
        if not (self.shift or self.flip):
            return images
        padded = self._padded(images)
        pixels = padded.flatten(0, 2).squeeze(1)  # a flat index is fastest where one channel allows
        moved = pixels.index_select(0, self._sources(images, generator))
        n, channels, height, width = images.shape
        moved = moved.view(n, height, width, channels).permute(0, 3, 1, 2)
        # One channel fits both formats; convolutions decide by the strides, so these are kept too.
        return moved if moved.stride() == images.stride() else torch.empty_like(images).copy_(moved)

    def _check(self, images: Tensor) -> None:
        if not isinstance(images, Tensor) or not images.is_floating_point() or images.ndim != 4:
            kind = getattr(images, "dtype", type(images).__name__)
            raise ModtoolsError(
                "augmentation needs preprocessed images: floats of shape (n_samples, n_channels, "
                f"height, width); got {kind} {tuple(getattr(images, 'shape', ()))}. "
                "For other inputs leave augmentation out."
            )
        if not images.numel() or min(images.shape[2:]) <= self.shift:
            raise ModtoolsError(
                f"images must be larger than the shift of {self.shift} pixels; got "
                f"{tuple(images.shape)}."
            )

    def _padded(self, images: Tensor) -> Tensor:
        """Return the images on a larger background, channels innermost."""
        n, channels, height, width = images.shape
        border = 2 * self.shift
        background = images.amin((0, 2, 3))
        padded = background.expand(n, height + border, width + border, channels).contiguous()
        inside = padded[:, self.shift : self.shift + height, self.shift : self.shift + width]
        inside.copy_(images.permute(0, 2, 3, 1))
        return padded

    def _sources(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return for each pixel of the result the index of its source in the padded images."""
        n, _, height, width = images.shape
        drawn_on, device, border = generator.device, images.device, 2 * self.shift
        starts = torch.randint(border + 1, (2, n, 1), generator=generator, device=drawn_on)
        down, right = starts.to(device)
        column = torch.arange(width, device=device).expand(n, -1)
        if self.flip:
            mirrored = torch.rand((n, 1), generator=generator, device=drawn_on) < 0.5
            column = torch.where(mirrored.to(device), width - 1 - column, column)
        image = torch.arange(n, device=device).unsqueeze(1)
        row = image * (height + border) + torch.arange(height, device=device) + down
        row_start: Tensor = row * (width + border) + right
        return (row_start.unsqueeze(2) + column.unsqueeze(1)).flatten()


class Batch(NamedTuple):
    """One batch: the inputs of the network, and those of the module that is trained."""

    inputs: Tensor
    features: Tensor


class Source(Protocol):
    """Returns batches of examples; the generator decides the augmentation."""

    def batch(self, rows: NDArray[Any], generator: torch.Generator | None = None) -> Batch:
        """Return the examples in the order given; without a generator none is augmented."""


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
        """Return the inputs of these examples, as inputs and as features."""
        batch = self._task.batch(rows)
        with running(f"preprocess= failed on a batch of {len(rows)} inputs"):
            inputs = to_tensor(batch) if self._preprocess is None else self._preprocess(batch)
        if not isinstance(inputs, Tensor):
            raise ModtoolsError(
                f"preprocess= must return a tensor for training; got {type(inputs).__name__}."
            )
        if inputs.ndim == 0 or len(inputs) != len(rows):
            raise ModtoolsError(
                f"preprocess= must return one row per example, here {len(rows)}; got shape "
                f"{tuple(inputs.shape)}."
            )
        inputs = inputs.float() if inputs.is_floating_point() else inputs
        inputs = inputs.to(self._device)
        if generator is not None and self._augmentation is not None:
            inputs = self._augmentation(inputs, generator)
        return Batch(inputs, inputs)


class FrozenSource:
    """The outputs of a frozen prefix on another source, batch by batch, without gradient."""

    def __init__(self, source: Source, prefix: nn.Module) -> None:
        self._source, self._prefix = source, prefix

    def batch(self, rows: NDArray[Any], generator: torch.Generator | None = None) -> Batch:
        """Return the inputs, and the prefix's output for them as features."""
        inputs, features = self._source.batch(rows, generator)
        if any(module.training for module in self._prefix.modules()):
            self._prefix.eval()  # a callback may have put the whole network in training mode
        with torch.no_grad():
            return Batch(inputs, self._prefix(features).float())


class CachedSource:
    """The features of all examples, computed once; the inputs of the network are not stored."""

    def __init__(self, features: Tensor) -> None:
        self._features = features

    def batch(self, rows: NDArray[Any], generator: torch.Generator | None = None) -> Batch:
        """Return the stored features of these examples."""
        features = self._features[torch.as_tensor(rows, device=self._features.device)]
        return Batch(features, features)

    @classmethod
    def of(cls, source: Source, n_rows: int) -> "CachedSource | None":
        """Return a cache of a source, or None if it would take more than 1 GiB."""
        blocks: list[Tensor] = []
        for rows in iter_rows(n_rows):
            blocks.append(source.batch(rows).features)
            if blocks[0].nbytes / len(blocks[0]) * n_rows > _CACHE_BYTES:
                return None
        return cls(torch.cat(blocks))


@contextmanager
def running(what: str) -> Iterator[None]:
    """Turn whatever code of the user raises into one error that says what failed.

    >>> with running("the network failed"):
    ...     1 / 0
    Traceback (most recent call last):
    modtools.exceptions.ModtoolsError: the network failed: ZeroDivisionError: division by zero.
    """
    try:
        yield
    except ModtoolsError:
        raise
    except Exception as error:
        raise ModtoolsError(f"{what}: {type(error).__name__}: {one_line(error)}.") from error


def iter_rows(n_rows: int) -> Iterator[NDArray[Any]]:
    """Yield the row numbers 0..n_rows-1 in blocks, for reading without training.

    >>> [len(rows) for rows in iter_rows(1000)]
    [512, 488]
    """
    for start in range(0, n_rows, _READ_ROWS):
        yield np.arange(start, min(start + _READ_ROWS, n_rows))


def derive_seed(seed: int, *place: int) -> int:
    """Return a seed for one step of a run, so that a resumed run draws the same numbers.

    >>> derive_seed(0, 1, 2) == derive_seed(0, 1, 2), derive_seed(0, 1, 2) == derive_seed(0, 2, 1)
    (True, False)
    """
    return int(np.random.SeedSequence((seed, *place)).generate_state(1, np.uint64)[0]) >> 1


def rows_of_step(order: NDArray[Any], step: int, batch_size: int) -> NDArray[Any]:
    """Return the examples of a step within an epoch; an incomplete last batch is left out.

    >>> rows_of_step(np.arange(10), 1, 4)
    array([4, 5, 6, 7])
    """
    return order[step * batch_size : (step + 1) * batch_size]


def default_preprocess(task: Task) -> ImagePreprocess | None:
    """Return the default preprocessing of the inputs of a task.

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
