"""Folders of class folders of images."""

import sys

import numpy as np
import pytest

from modtools.exceptions import ModtoolsError
from modtools.tasks import load_task

Image = pytest.importorskip("PIL.Image")

RNG = np.random.default_rng(0)


def write(path, array, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path)
    return path


def grey(side=6):
    return RNG.integers(256, size=(side, side + 2), dtype=np.uint8)


def colour(side=6):
    return RNG.integers(256, size=(side, side + 2, 3), dtype=np.uint8)


def refusal(*arguments, **options):
    with pytest.raises(ModtoolsError) as caught:
        load_task(*arguments, **options)
    return str(caught.value)


def test_grey_images_stay_grey_in_sorted_order(tmp_path):
    pictures = {name: grey() for name in ("dog/b.png", "cat/z.png", "cat/a.png")}
    for name, picture in pictures.items():
        write(tmp_path / name, picture)
    task = load_task(tmp_path)
    assert task.labels.tolist() == ["cat", "cat", "dog"]
    assert task.inputs.dtype == np.uint8
    expected = [pictures[name] for name in ("cat/a.png", "cat/z.png", "dog/b.png")]
    np.testing.assert_array_equal(task.inputs, expected)
    assert task.name == tmp_path.name


def test_one_colour_image_makes_all_rgb(tmp_path):
    flat, bright = grey(), colour()
    write(tmp_path / "a/1.png", flat)
    write(tmp_path / "b/1.png", bright)
    inputs = load_task(tmp_path).inputs
    np.testing.assert_array_equal(inputs[0], np.repeat(flat[..., None], 3, axis=2))
    np.testing.assert_array_equal(inputs[1], bright)


@pytest.mark.parametrize(("mode", "shape"), [("1", (6, 8)), ("LA", (6, 8)), ("P", (6, 8, 3))])
def test_other_eight_bit_modes_are_converted(tmp_path, mode, shape):
    write(tmp_path / "a/1.png", grey(), mode)
    assert load_task(tmp_path).inputs.shape == (1, *shape)


def test_hidden_files_are_left_out(tmp_path):
    write(tmp_path / "a/1.png", grey())
    (tmp_path / "a/.DS_Store").write_bytes(b"x")
    (tmp_path / ".git").mkdir()
    (tmp_path / "README.txt").write_text("about these images")
    assert len(load_task(tmp_path)) == 1


def test_a_split_is_a_folder_inside(tmp_path):
    write(tmp_path / "train/a/1.png", grey())
    write(tmp_path / "test/a/1.png", grey())
    write(tmp_path / "test/b/1.png", grey())
    assert load_task(tmp_path, split="test").labels.tolist() == ["a", "b"]
    assert refusal(tmp_path, split="valid") == (
        f'folder {tmp_path} has no split "valid": {tmp_path}/valid does not exist.'
    )
    assert refusal(tmp_path) == (
        f"class folder {tmp_path}/test must hold images only; it holds the folder a. Name the "
        "folder right above the classes, for example with split=."
    )


def test_sizes_that_differ_are_named(tmp_path):
    first = write(tmp_path / "a/1.png", grey(6))
    other = write(tmp_path / "b/1.png", grey(9))
    assert refusal(tmp_path) == (
        f"images must have one size; {first} is 8 x 6, {other} is 11 x 9. "
        "Give image_size= to resize them."
    )


@pytest.mark.parametrize(("size", "shape"), [(5, (2, 5, 5)), ((4, 7), (2, 4, 7))])
def test_image_size_resizes(tmp_path, size, shape):
    write(tmp_path / "a/1.png", np.full((6, 8), 40, dtype=np.uint8))
    write(tmp_path / "b/1.png", np.full((9, 9), 90, dtype=np.uint8))
    inputs = load_task(tmp_path, image_size=size).inputs
    assert inputs.shape == shape
    assert np.unique(inputs).tolist() == [40, 90]


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (0, "image_size must be a whole number of at least 1; got 0."),
        ((3, 2.5), "image_size must be a whole number of at least 1; got 2.5."),
        ((1, 2, 3), "image_size must be one side or (height, width); got (1, 2, 3)."),
    ],
)
def test_bad_image_sizes_are_named(tmp_path, size, message):
    write(tmp_path / "a/1.png", grey())
    assert refusal(tmp_path, image_size=size) == message


@pytest.mark.parametrize("keep", [slice(0, 0), slice(0, 60), slice(3, None)])
def test_unreadable_images_are_named(tmp_path, keep):
    path = write(tmp_path / "a/1.png", grey(30))
    path.write_bytes(path.read_bytes()[keep])
    assert refusal(tmp_path).startswith(f"image {path} cannot be read: ")


def test_sixteen_bit_images_are_refused_not_clipped(tmp_path):
    path = write(tmp_path / "a/1.png", np.full((4, 4), 40000, dtype=np.uint16))
    assert refusal(tmp_path) == (
        f"image {path} must have 8 bits per channel; its Pillow mode is I;16. Convert it."
    )


def test_folders_without_classes_are_named(tmp_path):
    assert refusal(tmp_path) == (
        f"folder {tmp_path} must hold one folder of images per class; it holds none."
    )
    (tmp_path / "a").mkdir()
    assert refusal(tmp_path) == (
        f"class folder {tmp_path}/a must hold images only; it holds no image. Name the folder "
        "right above the classes, for example with split=."
    )


def test_without_pillow_the_command_is_named(tmp_path, monkeypatch):
    write(tmp_path / "a/1.png", grey())
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert refusal(tmp_path) == (
        'a folder of images needs Pillow: pip install "modtools[demo]" or pip install pillow.'
    )
