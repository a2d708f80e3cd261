"""Tasks by name and from files, and every refusal by its text."""

import gzip
import io
import re
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from modtools.exceptions import ModtoolsError
from modtools.tasks import load_task
from modtools.tasks._fashion_mnist import has_fashion_mnist

ACCEPTED = "Accepted: digits, fashion-mnist, a folder of class folders, .npz, .csv, .parquet."


def idx(array):
    """Encode a uint8 array as IDX, byte by byte."""
    sizes = b"".join(int(side).to_bytes(4, "big") for side in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


@pytest.fixture
def clothes(tmp_path):
    """A folder like Debian's, with 3 train and 2 test images."""
    rng = np.random.default_rng(0)
    for prefix, n in (("train", 3), ("t10k", 2)):
        images = rng.integers(256, size=(n, 28, 28))
        for kind, array in (("images-idx3", images), ("labels-idx1", np.arange(n) + 7)):
            (tmp_path / f"{prefix}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(array)))
    return tmp_path


def refusal(*arguments, **options):
    with pytest.raises(ModtoolsError) as caught:
        load_task(*arguments, **options)
    return str(caught.value)


# digits


def test_digits_spread_their_levels_over_uint8(digits):
    original = load_digits()
    assert digits.inputs.dtype == np.uint8
    assert digits.inputs.shape == (1797, 8, 8)
    np.testing.assert_array_equal(np.round(digits.inputs / 255 * 16), original.images)
    assert np.unique(digits.inputs).size == 17
    assert digits.inputs.max() == 255
    np.testing.assert_array_equal(digits.labels, original.target)
    assert digits.name == "digits"


def test_digits_have_the_same_fingerprint_each_time(digits):
    assert load_task("digits").fingerprint == digits.fingerprint


# Fashion-MNIST


def test_fashion_mnist_is_read_from_a_folder(clothes):
    train = load_task("fashion-mnist", folder=clothes)
    assert (len(train), train.inputs.dtype, train.inputs.shape) == (3, np.uint8, (3, 28, 28))
    assert train.labels.tolist() == [7, 8, 9]
    assert train.name == "fashion-mnist"
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(train.inputs, rng.integers(256, size=(3, 28, 28)))
    assert len(load_task("fashion-mnist", split="train", folder=str(clothes))) == 3


def test_the_environment_can_name_the_folder(clothes, monkeypatch):
    monkeypatch.setenv("MODTOOLS_FASHION_MNIST", str(clothes))
    assert len(load_task("fashion-mnist", split="test")) == 2
    assert has_fashion_mnist()


def test_a_machine_without_the_files_is_told_from_one_with_them(clothes, monkeypatch):
    monkeypatch.delenv("MODTOOLS_FASHION_MNIST", raising=False)
    monkeypatch.setattr("modtools.tasks._fashion_mnist._DEBIAN_FOLDER", clothes)
    assert has_fashion_mnist()
    monkeypatch.setenv("MODTOOLS_FASHION_MNIST", str(clothes / "none"))
    assert not has_fashion_mnist()


def test_fashion_mnist_refuses_unknown_splits(clothes):
    assert refusal("fashion-mnist", split="trian", folder=clothes) == (
        'unknown split of fashion-mnist "trian"; did you mean "train"? Known: train, test.'
    )


def test_a_missing_file_is_named_with_the_ways_out(tmp_path):
    assert refusal("fashion-mnist", folder=tmp_path) == (
        f"Fashion-MNIST file {tmp_path}/train-images-idx3-ubyte.gz does not exist. Install the "
        "Debian package dataset-fashion-mnist, or give folder= (or the environment variable "
        "MODTOOLS_FASHION_MNIST) with the four .gz files."
    )


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(idx(np.zeros((3, 28, 28)))[:-1]),
        gzip.compress(idx(np.zeros((3, 28)))),
        gzip.compress(b""),
        gzip.compress(b"\0\0\x0d\3" + idx(np.zeros((3, 28, 28)))[4:]),
    ],
    ids=["short", "two axes", "empty", "floats"],
)
def test_damaged_content_is_named(clothes, content):
    path = clothes / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    assert refusal("fashion-mnist", folder=clothes) == (
        f"Fashion-MNIST file {path} is damaged: not an IDX file of its length."
    )


@pytest.mark.parametrize("keep", [slice(4, None), slice(-20)], ids=["not gzip", "cut short"])
def test_files_that_do_not_unpack_are_named(clothes, keep):
    path = clothes / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[keep])
    assert refusal("fashion-mnist", folder=clothes).startswith(
        f"Fashion-MNIST file {path} cannot be read: "
    )


class TestOpenML:
    """The way without files: the download is replaced, everything else is real."""

    @pytest.fixture(autouse=True)
    def _no_files(self, monkeypatch, tmp_path):
        monkeypatch.delenv("MODTOOLS_FASHION_MNIST", raising=False)
        monkeypatch.setenv("MODTOOLS_CACHE", str(tmp_path))
        monkeypatch.setattr("modtools.tasks._fashion_mnist._DEBIAN_FOLDER", tmp_path / "none")
        monkeypatch.setattr("modtools.tasks._fashion_mnist._N_TRAIN", 3)

    def test_it_is_fetched_into_the_cache_and_said_aloud(self, monkeypatch, tmp_path, capsys):
        asked = {}

        def fetch(name, **options):
            asked.update(options, name=name)
            data = pd.DataFrame(np.arange(5 * 784).reshape(5, 784) % 256)
            target = pd.Series(list("01234"), dtype="category")
            return type("Bunch", (), {"data": data, "target": target})

        monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
        train, test = (load_task("fashion-mnist", split=split) for split in ("train", "test"))
        assert train.labels.tolist() == [0, 1, 2]
        assert test.labels.tolist() == [3, 4]
        assert test.inputs[0, 0, 0] == 3 * 784 % 256
        assert test.inputs.dtype == np.uint8
        assert asked["name"] == "Fashion-MNIST"
        assert asked["data_home"] == str(tmp_path / "openml")
        assert capsys.readouterr().err.startswith(
            "Fashion-MNIST is not installed; reading it from OpenML (30 MB), cached in "
            f"{tmp_path}/openml\n"
        )

    def test_without_network_the_ways_out_are_named(self, monkeypatch):
        def fetch(*_, **__):
            raise OSError("no route to host")

        monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
        assert refusal("fashion-mnist") == (
            "Fashion-MNIST cannot be fetched from OpenML: no route to host. Install the Debian "
            "package dataset-fashion-mnist, or give folder= (or the environment variable "
            "MODTOOLS_FASHION_MNIST) with the four .gz files."
        )


@pytest.mark.real_data
def test_the_real_files():
    train, test = (load_task("fashion-mnist", split=split) for split in ("train", "test"))
    assert (len(train), len(test)) == (60000, 10000)
    assert train.encoded.counts().tolist() == [6000] * 10
    assert test.encoded.counts().tolist() == [1000] * 10
    assert train.labels[:5].tolist() == [9, 0, 0, 3, 0]
    assert train.inputs.max() == 255
    assert train.few_labels(per_class=5, seed=0).encoded.counts().tolist() == [5] * 10
    assert len(test.subset(slice(500)).overlap(test.subset(slice(500, 1000)))) == 0


# .npz


@pytest.mark.parametrize("inputs_key", ["inputs", "X", "x", "features"])
@pytest.mark.parametrize("labels_key", ["labels", "y"])
def test_npz_keys(tmp_path, inputs_key, labels_key):
    path = tmp_path / "mine.npz"
    np.savez(path, **{inputs_key: np.eye(3, dtype=np.float32), labels_key: ["a", "b", "a"]})
    task = load_task(path)
    assert task.name == "mine"
    assert task.inputs.dtype == np.float32
    assert task.labels.tolist() == ["a", "b", "a"]


def test_npz_label_and_kind(tmp_path):
    np.savez(tmp_path / "m.npz", x=np.eye(2), age=[30, 40], y=[0, 1])
    task = load_task(str(tmp_path / "m.npz"), label="age", kind="regression")
    assert task.kind == "regression"
    assert task.labels.tolist() == [30, 40]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"y": [0]},
            "must hold exactly one array called inputs or X or x or features; it holds y.",
        ),
        ({"x": [[1]], "z": [0]}, "must hold exactly one array called labels or y; it holds x, z."),
        (
            {"x": [[1]], "X": [[1]], "y": [0]},
            "must hold exactly one array called inputs or X or x or features; it holds x, X, y.",
        ),
    ],
)
def test_npz_without_its_arrays(tmp_path, arrays, message):
    path = tmp_path / "m.npz"
    np.savez(path, **arrays)
    assert refusal(path) == f"file {path} {message}"


def test_npz_is_never_unpickled(tmp_path):
    path = tmp_path / "m.npz"
    np.savez(path, x=np.eye(2), y=np.array(["a", None], dtype=object))
    assert refusal(path) == (
        f"file {path} holds an object array, which is not loaded because that could run code; "
        "save plain numbers or strings."
    )


def npy_bytes():
    buffer = io.BytesIO()
    np.save(buffer, np.eye(2))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 nonsense", npy_bytes()], ids=["empty", "cut", "npy"]
)
def test_damaged_npz_is_named(tmp_path, content):
    path = tmp_path / "m.npz"
    path.write_bytes(content)
    assert refusal(path).startswith(f"file {path} cannot be read as .npz: ")


def test_damaged_entries_of_npz_are_named(tmp_path):
    path = tmp_path / "m.npz"
    np.savez(path, x=np.arange(200), y=np.arange(200))
    content = bytearray(path.read_bytes())
    content[300] ^= 255
    path.write_bytes(bytes(content))
    assert refusal(path).startswith(f"file {path} cannot be read as .npz: ")


# tables


@pytest.fixture(params=["csv", "parquet"])
def save(request, tmp_path):
    """Write a frame in either form and return its path."""
    if request.param == "parquet":
        pytest.importorskip("pyarrow")

    def write(**columns):
        path = tmp_path / f"table.{request.param}"
        frame = pd.DataFrame(columns)
        frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
        return path

    return write


def test_one_text_column_is_a_list_of_str(save):
    task = load_task(save(label=["spam", "ham"], text=["Buy, now", 'he said "no"\nbye']))
    assert task.inputs == ["Buy, now", 'he said "no"\nbye']
    assert task.labels.tolist() == ["spam", "ham"]
    assert task.name == "table"


def test_numbers_are_a_float_matrix(save):
    task = load_task(save(a=[1, 2], label=[1, 0], b=[0.5, np.nan]))
    assert task.inputs.dtype == np.float64
    np.testing.assert_array_equal(task.inputs, [[1, 0.5], [2, np.nan]])
    assert task.kind == "classification"


def test_the_label_column_can_be_named(save):
    task = load_task(save(price=[1.5, 2.5], text=["hut", "house"]), label="price")
    assert task.kind == "regression"


def test_words_that_look_missing_are_words(save):
    task = load_task(save(text=["null", "NA"], label=["None", "n/a"]))
    assert task.inputs == ["null", "NA"]
    assert task.labels.tolist() == ["None", "n/a"]


def test_an_absent_label_column_is_named(save):
    path = save(text=["a"], labels=[1])
    assert refusal(path) == (
        f'file {path} has no label column "label"; did you mean "labels"? Name it with label=; '
        "columns: text, labels."
    )


@pytest.mark.parametrize("labels", [["a", None, "b"], [1, np.nan, 2]])
def test_missing_labels_are_located(save, labels):
    path = save(text=["a", "b", "c"], label=labels)
    assert refusal(path) == (
        f'file {path}: column "label" lacks a label in 1 row, first at row 1 below the header '
        "(counted from 0). Drop the unlabelled rows."
    )


def test_missing_texts_are_located(save):
    path = save(text=["a", None, None], label=[0, 1, 1])
    assert refusal(path) == (
        f'file {path}: column "text" must hold text; row 1 below the header (counted from 0) is '
        "empty (2 such)."
    )


def test_mixed_columns_are_named(save):
    path = save(text=["a", "b"], age=[1, 2], label=[0, 1])
    assert refusal(path) == (
        f"file {path} must have one text column or numeric columns only beside the label; "
        "text: text, of 2 columns. Drop or encode the others."
    )


def test_a_table_of_labels_alone_is_refused(save):
    path = save(label=[0, 1])
    assert refusal(path) == f"file {path} has no column other than the label."


def test_damaged_tables_are_named(tmp_path):
    for name, content in (("empty.csv", b""), ("bad.parquet", b"PAR1")):
        (tmp_path / name).write_bytes(content)
        path = re.escape(str(tmp_path / name))
        assert re.match(rf"file {path} cannot be read as \.\w+: ", refusal(tmp_path / name))


def test_parquet_without_pyarrow_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "a.parquet"
    path.write_bytes(b"")
    assert refusal(path) == f"file {path} needs pyarrow: pip install pyarrow."


# names


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("digit", f'unknown task "digit"; did you mean "digits"? {ACCEPTED}'),
        (
            "fashion_mnist",
            f'unknown task "fashion_mnist"; did you mean "fashion-mnist"? {ACCEPTED}',
        ),
        ("qqq", f'unknown task "qqq". {ACCEPTED}'),
        ("no/such/place", f"file or folder no/such/place does not exist. {ACCEPTED}"),
        ("none.csv", f"file or folder none.csv does not exist. {ACCEPTED}"),
    ],
)
def test_unknown_sources_get_help(source, message):
    assert refusal(source) == message


def test_unknown_forms_get_help(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("x")
    assert refusal(path) == f"file {path} has an unknown format. {ACCEPTED}"


@pytest.mark.parametrize(
    ("source", "options", "name"),
    [
        ("digits", {"split": "train"}, "split"),
        ("digits", {"label": "x"}, "label"),
        ("digits", {"folder": "x"}, "folder"),
        ("fashion-mnist", {"image_size": 8}, "image_size"),
        ("a.csv", {"split": "test"}, "split"),
        (".", {"label": "x"}, "label"),
    ],
)
def test_options_that_do_not_apply_are_refused(source, options, name):
    assert refusal(source, **options) == (
        f'{name}= does not apply to the task "{source}"; leave it out.'
    )
