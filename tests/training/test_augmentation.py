"""Augmentation: the same as moving one image after the other, with the same draws."""

import random

import numpy as np
import pytest
import torch

from modtools import ModtoolsError
from modtools.training._batches import Augmentation

SHAPES = [(6, 1, 9, 9), (5, 3, 7, 11), (1, 2, 8, 5)]
FORMATS = [torch.contiguous_format, torch.channels_last]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(shape=(6, 3, 7, 9), layout=torch.contiguous_format, dtype=torch.float32):
    images = torch.randn(shape, generator=seeded(1)).to(dtype)
    return images.contiguous(memory_format=layout)


def draws(n, augmentation, generator):
    """Return what an augmentation draws for n images: moves down and right, and mirrorings."""
    moves = torch.randint(2 * augmentation.shift + 1, (2, n, 1), generator=generator)
    mirrored = torch.rand((n, 1), generator=generator) < 0.5 if augmentation.flip else None
    down, right = (moves - augmentation.shift).squeeze(2).tolist()
    return down, right, [False] * n if mirrored is None else mirrored.squeeze(1).tolist()


def one_by_one(images, augmentation, generator):
    """Return the augmented images, pixel after pixel of one image after the other."""
    n, channels, height, width = images.shape
    background = [float(images[:, channel].min()) for channel in range(channels)]
    down, right, mirrored = draws(n, augmentation, generator)
    result = torch.empty_like(images)
    for i in range(n):
        for row in range(height):
            for column in range(width):
                from_row = row + down[i]
                from_column = (width - 1 - column if mirrored[i] else column) + right[i]
                inside = 0 <= from_row < height and 0 <= from_column < width
                for channel in range(channels):
                    result[i, channel, row, column] = (
                        images[i, channel, from_row, from_column] if inside else background[channel]
                    )
    return result


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layout", FORMATS, ids=str)
@pytest.mark.parametrize(("shift", "flip"), [(2, True), (2, False), (0, True), (4, True)])
def test_it_equals_one_image_after_the_other(shape, layout, shift, flip):
    images = batch(shape, layout)
    augmentation = Augmentation(shift=shift, flip=flip)
    expected = one_by_one(images, augmentation, seeded(3))
    assert torch.equal(augmentation(images, seeded(3)), expected)


def test_it_is_numpy_roll_where_the_border_is_background():
    images = torch.zeros(40, 1, 8, 8)
    images[:, :, 3:5, 3:5] = torch.rand((40, 1, 2, 2), generator=seeded()) + 0.1
    augmentation = Augmentation(shift=3)
    moved = augmentation(images, seeded(5)).numpy()
    down, right, _ = draws(40, augmentation, seeded(5))
    for i in range(40):
        np.testing.assert_array_equal(
            moved[i, 0], np.roll(images[i, 0].numpy(), (-down[i], -right[i]), (0, 1))
        )


def test_every_move_is_equally_likely_and_half_are_mirrored():
    n, shift = 20_000, 1
    images = torch.zeros(n, 1, 7, 7)
    images[:, :, 3, 3] = 2
    images[:, :, 3, 4] = 1  # right of the brightest, or left of it once mirrored
    moved = Augmentation(shift=shift, flip=True)(images, seeded())
    brightest = moved.flatten(1).argmax(1)
    counts = torch.bincount(brightest, minlength=49).view(7, 7)[2:5, 2:5]
    assert int(counts.sum()) == n
    error = 5 * (n * 1 / 9 * 8 / 9) ** 0.5
    assert float((counts - n / 9).abs().max()) < error
    mirrored = int((moved.flatten(1).argmax(1) > (moved.flatten(1) == 1).int().argmax(1)).sum())
    assert abs(mirrored - n / 2) < 5 * (n / 4) ** 0.5


def test_the_background_is_the_least_of_each_channel_whatever_the_normalisation():
    images = torch.rand((3, 3, 6, 6), generator=seeded())
    images[0, :, 0, 0] = 0
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ([0.1, 0.5, 0.9], [1.0, 2.0, 3.0]))
    augmentation = Augmentation(shift=2, flip=True)
    normalised_last = (augmentation(images, seeded()) - mean) / std
    torch.testing.assert_close(augmentation((images - mean) / std, seeded()), normalised_last)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layout", FORMATS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_shape_type_and_memory_format_are_kept(shape, layout, dtype):
    images = batch(shape, layout, dtype)
    moved = Augmentation(flip=True)(images, seeded())
    assert (moved.shape, moved.dtype, moved.device) == (images.shape, dtype, images.device)
    assert moved.stride() == images.stride()
    assert moved.is_contiguous(memory_format=layout)


def test_a_batch_that_is_a_view_gives_the_same():
    images = batch((6, 3, 14, 9))[::2, :, ::2]
    augmentation = Augmentation(flip=True)
    expected = augmentation(images.contiguous(), seeded())
    assert torch.equal(augmentation(images, seeded()), expected)
    grey = batch((6, 1, 8, 8))
    expanded = grey.expand(-1, 3, -1, -1)
    assert torch.equal(
        augmentation(expanded, seeded()), augmentation(expanded.contiguous(), seeded())
    )


def test_the_images_given_are_not_changed():
    images = batch()
    before = images.clone()
    Augmentation(flip=True)(images, seeded())
    assert torch.equal(images, before)


def test_nothing_to_do_gives_the_same_images_and_draws_nothing():
    images, generator = batch(), seeded()
    before = generator.get_state()
    assert Augmentation(shift=0)(images, generator) is images
    assert torch.equal(generator.get_state(), before)


def test_chance_comes_from_the_generator_alone():
    images, augmentation = batch(), Augmentation(flip=True)
    torch.manual_seed(0)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = augmentation(images, seeded(7))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    np.testing.assert_array_equal(np.random.get_state()[1], states[2])  # noqa: NPY002
    torch.manual_seed(1)
    generator = seeded(7)
    assert torch.equal(augmentation(images, generator), first)
    assert not torch.equal(augmentation(images, generator), first)


@pytest.mark.gpu
def test_a_generator_on_the_cpu_draws_the_same_for_a_gpu():
    images, augmentation = batch(layout=torch.channels_last), Augmentation(flip=True)
    moved = augmentation(images.cuda(), seeded())
    assert moved.is_cuda
    assert moved.stride() == images.stride()
    assert torch.equal(moved.cpu(), augmentation(images, seeded()))
    own = torch.Generator("cuda").manual_seed(0)
    assert augmentation(images.cuda(), own).shape == images.shape


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), r"got torch\.uint8 \(2, 1, 8, 8\)"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.int64), r"got torch\.int64"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.bool), r"got torch\.bool"),
        (torch.zeros(2, 8, 8), r"got torch\.float32 \(2, 8, 8\)"),
        (torch.zeros(2, 64), r"got torch\.float32 \(2, 64\)"),
        (np.zeros((2, 1, 8, 8), dtype=np.float32), r"got float32 \(2, 1, 8, 8\)"),
        (["a text", "another"], r"got list \(\)\. For other inputs leave augmentation out"),
        (torch.zeros(2, 1, 2, 8), r"larger than the shift of 2 pixels; got \(2, 1, 2, 8\)"),
        (torch.zeros(2, 1, 8, 2), "larger than the shift of 2 pixels"),
        (torch.zeros(0, 1, 8, 8), r"got \(0, 1, 8, 8\)"),
    ],
)
def test_what_is_not_a_batch_of_images_gives_one_clear_line(images, message):
    with pytest.raises(ModtoolsError, match=message) as caught:
        Augmentation()(images, seeded())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shift": -1}, "shift must be a whole number of at least 0; got -1"),
        ({"shift": 1.5}, "shift must be a whole number"),
        ({"shift": True}, "shift must be a whole number"),
        ({"flip": 1}, "flip must be True or False; got 1"),
        ({"flip": "yes"}, "flip must be True or False; got 'yes'"),
    ],
)
def test_senseless_settings_are_refused(settings, message):
    with pytest.raises(ModtoolsError, match=message):
        Augmentation(**settings)


def test_it_cannot_be_changed_and_compares_by_value():
    augmentation = Augmentation(shift=1)
    assert augmentation == Augmentation(shift=1, flip=False)
    assert augmentation != Augmentation()
    with pytest.raises(AttributeError):
        augmentation.shift = 3
