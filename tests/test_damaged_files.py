"""Whatever is wrong with a file, it loads or one line names it: bytes flipped, cut and crafted."""

import io
import json
import os
import re
import struct
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest
from torch import nn

from modtools._reading import as_path, read_arrays, read_json
from modtools.cli._inputs import read_features
from modtools.exceptions import ModtoolsError, ModtoolsWarning
from modtools.modules import PretrainedModule
from modtools.retraining import ReusedModel, retrain
from modtools.studies import label_efficiency
from modtools.studies._cells import Cell, Store, open_store
from modtools.studies._measure import Measured
from modtools.studies._tables import read_table
from modtools.tasks import Task, load_task
from modtools.training import train_end_to_end

LABELS = np.arange(12) % 2
FEATURES = np.random.default_rng(0).normal(size=(12, 3)) + LABELS[:, None]
N_DAMAGES = 40


def damages(content, seed):
    """Yield copies of a file: single bytes flipped, zeroed stretches, cut ends, a doubled part."""
    rng = np.random.default_rng(seed)
    for number in range(N_DAMAGES):
        changed = bytearray(content)
        place = int(rng.integers(len(changed)))
        if number % 4 == 0:
            del changed[place:]
        elif number % 4 == 1:
            changed[place : place + 8] = bytes(min(8, len(changed) - place))
        elif number % 4 == 2:
            changed[place] ^= 1 << int(rng.integers(8))
        else:
            changed[place:place] = changed[place : place + 16]
        yield bytes(changed)


def loads_or_names(load, path, seed=0):
    """Damage a file again and again: each time it loads, or one line names it."""
    content = path.read_bytes()
    for changed in damages(content, seed):
        path.write_bytes(changed)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                load()
        except ModtoolsError as error:
            text = str(error)
            if str(path.parent) not in text or "\n" in text:
                pytest.fail(f"{path} is not named in one line: {text!r}")
    path.write_bytes(content)
    load()


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_npz(write, tmp_path):
    path = tmp_path / "a.npz"
    write(path, features=FEATURES, labels=LABELS)
    loads_or_names(lambda: load_task(path), path)
    loads_or_names(lambda: read_features(path), path, seed=1)


def test_tables(tmp_path):
    table = pd.DataFrame(FEATURES, columns=list("abc")).assign(label=LABELS)
    texts = pd.DataFrame({"text": ["grün", "x, y", '"'] * 4, "label": LABELS})
    scores = pd.DataFrame({"task": "t", "module": ["a", "b"] * 6, "accuracy": 0.5})
    for number, frame in enumerate((table, texts)):
        csv, parquet = tmp_path / f"{number}.csv", tmp_path / f"{number}.parquet"
        frame.to_csv(csv, index=False)
        frame.to_parquet(parquet)
        loads_or_names(lambda path=csv: load_task(path), csv)
        loads_or_names(lambda path=parquet: load_task(path), parquet)
    scores.to_parquet(tmp_path / "s.parquet")
    loads_or_names(lambda: read_table(tmp_path / "s.parquet", name="truth"), tmp_path / "s.parquet")


@pytest.mark.parametrize("suffix", ["png", "tiff", "jpeg", "gif", "bmp"])
def test_pictures(suffix, tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 255, (9, 9), dtype=np.uint8)
    for name in "ab":
        (tmp_path / name).mkdir()
        image.fromarray(pixels).save(tmp_path / name / f"x.{suffix}")
    loads_or_names(lambda: load_task(tmp_path), tmp_path / "a" / f"x.{suffix}")


@pytest.mark.parametrize("file", ["card.json", "output.safetensors"])
def test_a_saved_model(file, tmp_path):
    module = PretrainedModule(nn.ReLU(), name="relu", build=("torch.nn:ReLU", {}))
    task = Task(FEATURES.astype(np.float32), LABELS)
    retrain(module, task).save(tmp_path / "model")
    loads_or_names(lambda: ReusedModel.load(tmp_path / "model"), tmp_path / "model" / file)


def study(folder):
    modules = {"a": (FEATURES, FEATURES[::-1] + 1.0)}
    return label_efficiency(
        modules, LABELS, LABELS[::-1], n_labels=[4, 8], repeats=2, folder=folder, allow_overlap=True
    )


def test_a_study_folder(tmp_path):
    expected = study(tmp_path).frame()
    loads_or_names(lambda: study(tmp_path), tmp_path / "study.json")
    cell = sorted((tmp_path / "cells").iterdir())[0]
    content = cell.read_bytes()
    for changed in damages(content, 0):
        cell.write_bytes(changed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ModtoolsWarning)
            pd.testing.assert_frame_equal(study(tmp_path).frame(), expected)


def test_a_checkpoint(tmp_path):
    path = tmp_path / "run.ckpt"

    def train():
        network = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
        return train_end_to_end(network, Task(FEATURES.astype("f"), LABELS), epochs=1)

    train()
    for content in (b"", b"PK\x03\x04", b"\x80\x02}q\x00.", os.urandom(300)):
        path.write_bytes(content)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
        task = Task(FEATURES.astype("f"), LABELS)
        with pytest.raises(ModtoolsError, match=re.escape(str(path))):
            train_end_to_end(network, task, epochs=1, checkpoint=path)


# crafted archives


def npy(shape, dtype="<f8", data=b"", order="False"):
    header = f"{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}, }}"
    header += " " * (63 - (len(header) + 10) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def archive(path, how=zipfile.ZIP_DEFLATED, **members):
    with zipfile.ZipFile(path, "w", how) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def refusal(path):
    with pytest.raises(ModtoolsError) as caught:
        load_task(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        npy("(1000000000000000000, 3)"),
        npy("(2, 3)", data=bytes(8)),
        npy("(2, 3)", data=bytes(800)),
        npy("(-2, -3)", data=bytes(48)),
        npy("(1000000000000000000,)", dtype="<U0"),
    ],
    ids=["huge", "too few", "too many", "negative", "no size"],
)
def test_a_header_that_disagrees_with_the_archive_is_named_as_that(tmp_path, content):
    text = refusal(archive(tmp_path / "a.npz", x=content, y=npy("(2,)", data=bytes(16))))
    assert "header" in text
    assert "object array" not in text


@pytest.mark.parametrize(
    "header",
    [
        npy("(2"),
        npy("((((" * 900),
        npy("(2, 0x)"),
        npy("(2,)", dtype="nonsense"),
        npy("(2,)", dtype="|O", data=b"."),
        b"\x93NUMPY\x09\x00",
        b"",
    ],
    ids=["syntax", "nested", "number", "type", "object", "version", "empty"],
)
def test_headers_that_are_none(tmp_path, header):
    text = refusal(archive(tmp_path / "a.npz", x=header, y=npy("(2,)", data=bytes(16))))
    assert ("object array" in text) == (b"|O" in header)


def test_an_archive_that_would_fill_the_memory_is_not_unpacked(tmp_path):
    n_zeros = 80 << 20
    path = archive(tmp_path / "a.npz", x=npy(f"({n_zeros >> 3},)", data=bytes(n_zeros)))
    assert path.stat().st_size < 200_000
    with pytest.raises(ModtoolsError, match=r"would unpack to .* more than 100 times its size"):
        read_arrays(path, lambda names: names)
    few = archive(tmp_path / "b.npz", x=npy("(131072,)", data=bytes(1 << 20)))
    assert read_arrays(few, lambda names: names)[0].nbytes == 1 << 20


def test_other_packings_and_encryption_are_named(tmp_path):
    array = npy("(2, 1)", data=bytes(16))
    y = npy("(2,)", "<i8", data=bytes(8) + bytes([1]) + bytes(7))
    packed = archive(tmp_path / "a.npz", zipfile.ZIP_BZIP2, x=array, y=y)
    assert "packed in a way" in refusal(packed)
    path = archive(tmp_path / "b.npz", zipfile.ZIP_STORED, x=array, y=y)
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(bytes(content))
    assert "it is encrypted" in refusal(path)
    shape = load_task(archive(tmp_path / "c.npz", x=array, y=y)).inputs.shape
    assert shape == (2, 1)


# paths


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("~nosuchuser/x.npz", "home folder of a user who does not exist"),
        ("a\0b.npz", "must not hold a null byte"),
        ("\ud800.npz", "lone surrogates"),
        (f"{300 * 'a'}.npz", "at most 255 bytes"),
        ("a/" * 3000, "4095 in all"),
        (b"a.npz", "must be a name or a path"),
    ],
    ids=["user", "null", "surrogate", "name", "path", "bytes"],
)
def test_paths_that_cannot_be(path, message):
    with pytest.raises(ModtoolsError, match=message):
        load_task(path)


def test_a_long_name_that_the_system_takes_is_read(tmp_path):
    path = tmp_path / f"{251 * 'a'}.npz"
    np.savez(path, x=FEATURES, y=LABELS)
    assert len(load_task(path)) == 12
    assert as_path("~/x").is_absolute()


def test_a_pipe_is_not_waited_for_and_a_folder_is_no_file(tmp_path):
    for suffix in (".npz", ".csv", ".parquet"):
        os.mkfifo(tmp_path / f"pipe{suffix}")
        assert "a pipe" in refusal(tmp_path / f"pipe{suffix}")
        (tmp_path / f"folder{suffix}").mkdir()
        assert "one folder of images per class" in refusal(tmp_path / f"folder{suffix}")
    with pytest.raises(ModtoolsError, match="is a folder; a regular file is needed"):
        read_table(tmp_path / "folder.csv", name="truth")
    (tmp_path / "images" / "a").mkdir(parents=True)
    os.mkfifo(tmp_path / "images" / "a" / "x.png")
    assert "a pipe" in refusal(tmp_path / "images")


# tables, pictures, JSON


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "No columns to parse"),
        (b"a,label\n", "holds no row below its header"),
        (b"a,label\n1,0\n2,0,5\n", "Expected 2 fields in line 3, saw 3"),
        (b"a,label\n1,0,7\n2,1,5\n", "Length of header or names does not match"),
        (b"a,label\n\0,0\n", "null bytes"),
        (b"a,label\n\xff,0\n", "codec can't decode"),
        ("a,label\n1,0\n".encode("utf-16"), "null bytes|codec can't decode"),
    ],
)
def test_tables_that_are_none(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    assert re.search(message, refusal(path))


@pytest.mark.parametrize("size", [0, -1, True, 2.5, 10**6, (10, 10**6), (10,), "a", (8192, 0)])
def test_sizes_of_pictures_that_cannot_be(tmp_path, size):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "a").mkdir()
    image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a" / "x.png")
    with pytest.raises(ModtoolsError, match="image_size must be"):
        load_task(tmp_path, image_size=size)


def test_pictures_that_need_more_memory_than_there_is(tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "a").mkdir()
    image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a" / "x.png")
    monkeypatch.setattr("modtools._reading._available_memory", lambda: 1000)
    with pytest.raises(ModtoolsError, match=r"GB are available\. Give a smaller image_size="):
        load_task(tmp_path, image_size=100)
    monkeypatch.setattr(image, "MAX_IMAGE_PIXELS", 10)  # a bomb, in small
    with pytest.raises(ModtoolsError, match=r"x\.png cannot be read: DecompressionBomb"):
        load_task(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "must hold a JSON object"),
        ("null", "must hold a JSON object"),
        ("", "Expecting value"),
        ("[" * 100_000, "Recursion"),
        ('{"a":' * 300 + "1" + "}" * 300, "nested more than 100 times"),
        ('{"seed": 1, "seed": 2}', "'seed' occurs twice"),
        ('{"seed": NaN}', "NaN is no JSON"),
        ('{"seed": ' + "9" * 5000 + "}", "4300"),
        ('{"seed": "\\ud800"}', "holds a study of another definition"),
        ('{"seed": 1e999, "modules": {"a": []}}', "holds a study of another definition"),
        ('{"modules": 3}', "holds a study of another definition"),
    ],
)
def test_definitions_of_a_study_that_are_none(tmp_path, content, message):
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(ModtoolsError, match=message):
        open_store(tmp_path, {"seed": 0, "modules": {"a": ["x"]}})
    assert (tmp_path / "study.json").read_text() == content


def test_json_that_is_a_pipe_or_no_text(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "latin.json").write_bytes('{"a": "ü"}'.encode("latin-1"))
    for name, message in (("pipe", "is a pipe"), ("latin", "codec can't decode")):
        with pytest.raises(ModtoolsError, match=message):
            read_json(tmp_path / f"{name}.json")
    (tmp_path / "good.json").write_text(json.dumps({"a": [1, {"b": None}]}))
    assert read_json(tmp_path / "good.json") == {"a": [1, {"b": None}]}


CELL = Cell("a", "ridge", "random", 0, (2, 4))
GOOD = Measured.of(np.array([[True, False, True], [True, True, True]]), log_loss=[0.2, 0.1])


@pytest.mark.parametrize(
    "changed",
    [
        {"right": GOOD.right[:1]},
        {"right": GOOD.right.astype(float)},
        {"right": np.repeat(GOOD.right, 2, axis=1)},
        {"right": GOOD.right[:, 0]},
        {"accuracy": GOOD.accuracy + 0.5},
        {"accuracy": np.full(2, np.nan)},
        {"accuracy": GOOD.accuracy[:, None]},
        {"log_loss": np.array(["a", "b"])},
        {"codelength": np.zeros(3)},
        {"extra": np.zeros(2)},
        {"log_loss": None},
    ],
    ids=lambda changed: "-".join(changed),
)
def test_crafted_cells_are_computed_again(tmp_path, changed):
    store = Store(tmp_path, "", n_test=3)
    store.put(CELL, GOOD)
    (path,) = (tmp_path / "cells").iterdir()
    assert store.get(CELL).accuracy.tolist() == pytest.approx([2 / 3, 1.0])
    arrays = {name: a for name, a in {**GOOD._asdict(), **changed}.items() if a is not None}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path.write_bytes(buffer.getvalue())
    with pytest.warns(ModtoolsWarning, match="MT002"):
        assert store.get(CELL) is None


def test_a_cell_that_is_a_folder_or_a_pipe_is_named(tmp_path):
    store = Store(tmp_path, "")
    store.put(CELL, GOOD)
    (path,) = (tmp_path / "cells").iterdir()
    for make, message in ((os.mkfifo, "is a pipe"), (os.mkdir, "is a folder")):
        path.rmdir() if path.is_dir() else path.unlink()
        make(path)
        with pytest.raises(ModtoolsError, match=message):
            store.get(CELL)
