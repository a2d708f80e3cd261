"""Random shifts and flips of a batch of images, in a few operations for the whole batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from modtools._checks import check_integer
from modtools.exceptions import ModtoolsError

__all__ = ["Augmentation"]


@dataclass(frozen=True)
class Augmentation:
    """Move each image by a few pixels and mirror it, at random.

    It reads preprocessed images. What a shift uncovers is filled with the background: the least
    value of each channel in the batch, which is black in photographs and drawings alike, however
    they were normalised. The memory format of the batch is kept.

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
        if not isinstance(self.flip, bool):
            raise ModtoolsError(f"flip must be True or False; got {self.flip!r}.")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return augmented images of the same shape, type, device and memory format.

        Parameters
        ----------
        images : Tensor of shape (n_samples, n_channels, height, width)
            Preprocessed images; they are not changed.
        generator : torch.Generator
            The only source of chance. One on the CPU gives the same draws for every device.

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
        # One channel fits both formats; convolutions choose by the strides, so these are kept too.
        return moved if moved.stride() == images.stride() else torch.empty_like(images).copy_(moved)

    def _check(self, images: Tensor) -> None:
        if not isinstance(images, Tensor) or not images.is_floating_point() or images.ndim != 4:
            kind = getattr(images, "dtype", type(images).__name__)
            raise ModtoolsError(
                "augmentation needs preprocessed images: floats of shape (n_samples, n_channels, "
                f"height, width); got {kind} {tuple(getattr(images, 'shape', ()))}. "
                "For other inputs leave augmentation=None."
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
        """Return for each pixel of the result which pixel of the padded images it shows."""
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
