import numpy as np
import pytest
import torch

from modtools.exceptions import ModtoolsError
from modtools.modules import ImagePreprocess, image_preprocess
from modtools.modules._preprocessing import to_tensor

pytestmark = pytest.mark.floating_point

GREY = np.random.default_rng(0).integers(0, 256, (3, 5, 4), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (3, 5, 4, 3), dtype=np.uint8)


def bilinear(image, size):
    """Resize one grey image by the definition, half-pixel centres, edges held."""
    height, width = image.shape
    result = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            y = np.clip((i + 0.5) * height / size - 0.5, 0, height - 1)
            x = np.clip((j + 0.5) * width / size - 0.5, 0, width - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            top = image[y0, x0] * (1 - (x - x0)) + image[y0, x1] * (x - x0)
            bottom = image[y1, x0] * (1 - (x - x0)) + image[y1, x1] * (x - x0)
            result[i, j] = top * (1 - (y - y0)) + bottom * (y - y0)
    return result


@pytest.mark.parametrize("size", [3, 11])
def test_resize_and_normalise_by_the_definition(size):
    found = image_preprocess(size, mean=0.4, std=0.3)(GREY)
    expected = np.stack([(bilinear(g / 255, size) - 0.4) / 0.3 for g in GREY])
    assert found.shape == (3, 3, size, size)
    for channel in range(3):
        np.testing.assert_allclose(found[:, channel], expected, atol=1e-5)


def test_layouts_and_number_types_agree():
    preprocess = image_preprocess(mean=(0.1, 0.2, 0.3), std=(1, 2, 3))
    first = preprocess(COLOUR)
    for same in (
        COLOUR.transpose(0, 3, 1, 2),
        torch.from_numpy(COLOUR),
        COLOUR.astype(np.float32) / np.float32(255),
        (COLOUR / 255),
    ):
        torch.testing.assert_close(preprocess(same), first, atol=1e-6, rtol=0)
    assert first.dtype == torch.float32
    expected = (COLOUR[:, :, :, 2] / 255 - 0.3) / 3
    np.testing.assert_allclose(first[:, 2], expected, atol=1e-6)


def test_grey_is_repeated_and_channels_none_keeps_them():
    assert image_preprocess()(GREY).shape == (3, 3, 5, 4)
    assert image_preprocess(channels=1)(GREY).shape == (3, 1, 5, 4)
    assert image_preprocess(channels=None)(GREY).shape == (3, 1, 5, 4)
    assert image_preprocess(channels=None)(COLOUR).shape == (3, 3, 5, 4)


def test_inputs_never_change():
    for batch in (COLOUR.copy(), COLOUR / 255, torch.from_numpy(COLOUR / 255)):
        before = np.asarray(batch).copy()
        image_preprocess(channels=None)(batch).zero_()
        np.testing.assert_array_equal(np.asarray(batch), before)


def test_read_only_arrays_are_read_without_a_warning():
    frozen = GREY.copy()
    frozen.flags.writeable = False
    assert image_preprocess()(frozen).shape == (3, 3, 5, 4)


def test_it_is_plain_data():
    preprocess = image_preprocess(32, mean=0.5, std=[0.1, 0.2, 0.3])
    assert preprocess == ImagePreprocess((32, 32), (0.5,), (0.1, 0.2, 0.3), 3)
    assert hash(preprocess) == hash(image_preprocess((32, 32), 0.5, (0.1, 0.2, 0.3)))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (GREY / 16.0, r"float images must lie in \[0, 1\]; got 0.25 to 15.5\. Divide them"),
        (GREY / 255 - 1, r"must lie in \[0, 1\]"),
        (np.full((2, 3, 3), np.nan), r"must lie in \[0, 1\]"),
        (GREY.astype(np.int64), "must be uint8 or float"),
        (GREY[0], "images must have shape"),
        (np.zeros((2, 5, 4, 2), np.uint8), r"with 1 or 3 channels; got \(2, 5, 4, 2\)"),
        ([object()], "inputs must be arrays or tensors"),
    ],
)
def test_bad_images(batch, message):
    with pytest.raises(ModtoolsError, match=message):
        image_preprocess()(batch)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size must be a whole number"),
        ({"size": (3, 4, 5)}, "one side or"),
        ({"channels": 0}, "channels must be"),
        ({"mean": (0.1, 0.2)}, "mean must be one number or one per channel"),
        ({"std": 0.0}, "std must be above 0"),
        ({"mean": "grey"}, "mean must be"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ModtoolsError, match=message):
        image_preprocess(**arguments)


def test_arrays_are_copied_and_tensors_kept():
    array, tensor = np.zeros(3), torch.zeros(3)
    to_tensor(array).add_(1)
    assert array.sum() == 0
    assert to_tensor(tensor) is tensor


@pytest.mark.parametrize("size", [0, -3, True, 2.5, "a", 10**6, (10, 10**6), (10, 0), (1, 2, 3)])
def test_sizes_that_cannot_be(size):
    with pytest.raises(ModtoolsError, match="size must be"):
        image_preprocess(size)


@pytest.mark.parametrize("shape", [(0, 8, 8), (2, 0, 8), (2, 8, 0, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_without_pixels_are_refused(shape, dtype):
    with pytest.raises(ModtoolsError, match=r"^images must have pixels; got shape "):
        image_preprocess(4)(np.zeros(shape, dtype=dtype))
