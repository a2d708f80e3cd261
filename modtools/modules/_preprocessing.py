"""Preprocessing of a batch of a task for a network, as plain data that a zoo can save."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from modtools._checks import LARGEST_SIDE, as_real, check_integer
from modtools._escape import one_line
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ImagePreprocess", "image_preprocess", "to_tensor"]


def to_tensor(batch: Any) -> "Tensor":
    """Return a copy of an array, or the tensor itself; lists of arrays are stacked."""
    import torch

    if isinstance(batch, torch.Tensor):
        return batch
    try:
        return torch.tensor(np.asarray(batch))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModtoolsError(
            f"inputs must be arrays or tensors for a module without preprocess=; {one_line(error)}."
        ) from error


@dataclass(frozen=True)
class ImagePreprocess:
    """Resize, scale and normalise a batch of images in torch, on the device of the batch.

    Use `image_preprocess`, which checks the arguments.

    Attributes
    ----------
    size : tuple of int or None
        Height and width after bilinear resizing (``align_corners=False``); None keeps the size.
    mean, std : tuple of float
        Subtracted, then divided by, after scaling to [0, 1]: one value or one per channel.
    channels : int or None
        Channels that the network reads; a grey image is repeated. None keeps them.
    """

    size: tuple[int, int] | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channels: int | None = 3

    def __call__(self, batch: Any) -> "Tensor":
        """Return float32 images (n, channels, height, width)."""
        import torch

        images = self._channels_first(to_tensor(batch))
        if not images.numel():
            raise ModtoolsError(f"images must have pixels; got shape {tuple(images.shape)}.")
        images = self._scaled(images)
        if self.size is not None and tuple(images.shape[2:]) != self.size:
            images = torch.nn.functional.interpolate(
                images, size=self.size, mode="bilinear", align_corners=False
            )
        if self.channels is not None and images.shape[1] == 1:
            images = images.expand(-1, self.channels, -1, -1)
        mean, std = (images.new_tensor(v).view(1, -1, 1, 1) for v in (self.mean, self.std))
        # On the CPU convolutions run up to twice as fast with the channels innermost.
        layout = torch.channels_last if images.device.type == "cpu" else torch.contiguous_format
        # A copy, because one channel fits both layouts and only fresh strides tell which is meant.
        return ((images - mean) / std).clone(memory_format=layout)

    def _channels_first(self, images: "Tensor") -> "Tensor":
        allowed = {1, self.channels} if self.channels else {1, 3, 4}
        if images.ndim == 3:
            return images.unsqueeze(1)
        if images.ndim == 4 and images.shape[1] in allowed:
            return images
        if images.ndim == 4 and images.shape[3] in allowed:
            return images.permute(0, 3, 1, 2)
        wanted = " or ".join(map(str, sorted(allowed)))
        raise ModtoolsError(
            "images must have shape (n, height, width), (n, channels, height, width) or "
            f"(n, height, width, channels) with {wanted} channels; got {tuple(images.shape)}."
        )

    @staticmethod
    def _scaled(images: "Tensor") -> "Tensor":
        import torch

        if images.dtype == torch.uint8:
            return images.float() / 255
        if not images.is_floating_point():
            raise ModtoolsError(f"images must be uint8 or float in [0, 1]; got {images.dtype}.")
        images = images.float()
        low, high = float(images.min()), float(images.max())
        if not (low >= 0 and high <= 1):  # NaN too
            raise ModtoolsError(
                f"float images must lie in [0, 1]; got {low:.4g} to {high:.4g}. "
                "Divide them by their largest possible value, or give uint8."
            )
        return images


def _per_channel(values: Any, channels: int | None, *, name: str) -> tuple[float, ...]:
    listed = values if isinstance(values, Sequence) and not isinstance(values, str) else [values]
    if not all(isfinite(as_real(value)) for value in listed):
        raise ModtoolsError(f"{name} must be a finite number, or one per channel; got {values!r}.")
    numbers = tuple(float(v) for v in listed)
    if len(numbers) not in (1, channels):
        raise ModtoolsError(f"{name} must be one number or one per channel; got {values!r}.")
    if name == "std" and min(numbers) <= 0:
        raise ModtoolsError(f"std must be above 0; got {values!r}.")
    return numbers


def image_preprocess(
    size: int | tuple[int, int] | None = None,
    mean: float | tuple[float, ...] = 0.0,
    std: float | tuple[float, ...] = 1.0,
    channels: int | None = 3,
) -> ImagePreprocess:
    """Return the preprocessing of an image network: resize, scale to [0, 1], normalise.

    Images are uint8 or float in [0, 1], of shape (n, height, width), (n, channels, height, width)
    or (n, height, width, channels). Resizing is bilinear without anti-aliasing.

    Parameters
    ----------
    size : int or tuple of int, optional
        Side, or height and width, that the network reads; None keeps the size of the images.
    mean, std : float or tuple of float, default=0.0 and 1.0
        Subtracted, then divided by, after scaling to [0, 1]; one number, or one per channel.
    channels : int or None, default=3
        Channels that the network reads; grey images are repeated. None keeps the channels.

    Returns
    -------
    ImagePreprocess
        A frozen dataclass that is called with a batch.

    Examples
    --------
    >>> import numpy as np
    >>> preprocess = image_preprocess(size=32, mean=0.5, std=0.5)
    >>> preprocess(np.zeros((2, 8, 8), dtype=np.uint8)).shape
    torch.Size([2, 3, 32, 32])
    """
    sides = size if size is None or isinstance(size, tuple | list) else (size, size)
    if sides is not None:
        if len(sides) != 2:
            raise ModtoolsError(f"size must be one side or (height, width); got {size!r}.")
        height, width = (check_integer(side, name="size", maximum=LARGEST_SIDE) for side in sides)
        sides = (height, width)
    if channels is not None:
        channels = check_integer(channels, name="channels", maximum=LARGEST_SIDE)
    return ImagePreprocess(
        size=sides,
        mean=_per_channel(mean, channels, name="mean"),
        std=_per_channel(std, channels, name="std"),
        channels=channels,
    )
