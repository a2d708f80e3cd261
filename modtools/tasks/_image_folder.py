"""A folder with one folder of images per class, read into one uint8 array."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from modtools._checks import LARGEST_SIDE, check_integer
from modtools._progress import track
from modtools._reading import check_is_file, check_memory, kind_of, reading
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ImageSize", "read_image_folder"]

ImageSize: TypeAlias = int | tuple[int, int]
_SMALLER = "Give a smaller image_size=."
_GREY_MODES = ("1", "L", "LA", "La")
_COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV")


def read_image_folder(
    folder: Path, image_size: ImageSize | None
) -> tuple[NDArray[np.uint8], list[str]]:
    """Return images (n, height, width) or (n, height, width, 3) and the names of their folders."""
    files = _list_files(folder)
    width_height = _target_size(image_size)
    colour = False
    sizes: dict[tuple[int, int], Path] = {}
    for path in files:
        with _open(path) as image:
            colour |= _is_colour(image, path)
            sizes.setdefault(image.size, path)
    if width_height is None and len(sizes) > 1:
        (first, path), (second, other) = list(sizes.items())[:2]
        raise ModtoolsError(
            f"images must have one size; {path} is {first[0]} x {first[1]}, {other} is "
            f"{second[0]} x {second[1]}. Give image_size= to resize them."
        )
    width, height = width_height or next(iter(sizes))
    n_bytes = len(files) * height * width * (3 if colour else 1)
    check_memory(
        f"reading {len(files)} images of {width} x {height} pixels", n_bytes, advice=_SMALLER
    )
    shape = (len(files), height, width, 3) if colour else (len(files), height, width)
    images = np.empty(shape, dtype=np.uint8)
    for row, path in enumerate(track(files, "reading images")):
        images[row] = _pixels(path, "RGB" if colour else "L", (width, height))
    return images, [path.parent.name for path in files]


def _list_files(folder: Path) -> list[Path]:
    """Return the files of every class folder, sorted by class and name; hidden ones left out."""
    classes = sorted(path for path in _visible(folder) if path.is_dir())
    if not classes:
        raise ModtoolsError(
            f"folder {folder} must hold one folder of images per class; it holds none."
        )
    files: list[Path] = []
    for place in classes:
        inside = sorted(_visible(place))
        nested = next((path for path in inside if path.is_dir()), None)
        for path in inside:
            if kind_of(path) == "special":
                check_is_file(path, what="image")
        if nested is not None or not inside:
            what = "no image" if nested is None else f"the folder {nested.name}"
            raise ModtoolsError(
                f"class folder {place} must hold images only; it holds {what}. "
                "Name the folder right above the classes, for example with split=."
            )
        files += inside
    return files


def _visible(folder: Path) -> list[Path]:
    with reading(f"folder {folder} cannot be listed"):
        return [path for path in folder.iterdir() if not path.name.startswith(".")]


def _target_size(image_size: ImageSize | None) -> tuple[int, int] | None:
    """Return (width, height), Pillow's order, from one side or (height, width)."""
    if image_size is None:
        return None
    sides = image_size if isinstance(image_size, tuple | list) else (image_size, image_size)
    if len(sides) != 2:
        raise ModtoolsError(f"image_size must be one side or (height, width); got {image_size!r}.")
    height, width = (check_integer(side, name="image_size", maximum=LARGEST_SIDE) for side in sides)
    return width, height


def _open(path: Path) -> "Image.Image":
    try:
        from PIL import Image
    except ImportError:
        raise ModtoolsError(
            'a folder of images needs Pillow: pip install "modtools[demo]" or pip install pillow.'
        ) from None
    with reading(f"image {path} cannot be read"), warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(path)


def _is_colour(image: "Image.Image", path: Path) -> bool:
    if image.mode not in _GREY_MODES + _COLOUR_MODES:
        raise ModtoolsError(
            f"image {path} must have 8 bits per channel; its Pillow mode is {image.mode}. "
            "Convert it."
        )
    return image.mode in _COLOUR_MODES


def _pixels(path: Path, mode: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    from PIL import Image

    with _open(path) as image, reading(f"image {path} cannot be read"):
        converted = image.convert(mode)
    if converted.size != size:
        converted = converted.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(converted, dtype=np.uint8)
