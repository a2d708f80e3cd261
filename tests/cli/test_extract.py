"""``modtools extract``: the files it writes, which other commands read, and how it fails."""

import numpy as np
import pandas as pd
import pytest

from modtools.modules import Zoo, extract, pixels
from modtools.tasks import load_task
from tests.documents import facts

PIXELS = ("--module", "modtools.modules:pixels")


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Go where a file of 40 images lies, named by words."""
    monkeypatch.chdir(tmp_path)
    digits = load_task("digits").subset(slice(0, 40))
    labels = np.where(digits.labels < 5, "low", "high")
    np.savez("few.npz", inputs=digits.inputs, labels=labels)
    return load_task("few.npz")


def test_features_of_every_module_are_written_and_scored(cli, images, tmp_path):
    done = cli("extract", *PIXELS, "--task", "few.npz", "--json", "a.json", "--csv", "a.csv")
    assert (done.exit_code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "Features of 1 module on few, 40 examples"
    assert lines[2].split() == ["pixels", "64", "features/pixels.npz"]
    with np.load("features/pixels.npz") as stored:
        assert np.array_equal(stored["features"], extract(pixels(), images))
        assert stored["labels"].tolist() == images.labels.tolist()
    content = facts((tmp_path / "a.json").read_text())
    assert content["n_samples"] == 40
    assert content["rows"][0]["file"] == pd.read_csv("a.csv")["file"][0] == "features/pixels.npz"
    assert cli("score", "features/pixels.npz", "--by", "class_mean", "-q").stdout == "pixels\n"


def test_a_zoo_has_a_file_for_each_layer(cli, images, tmp_path):
    made = cli("train", "--task", "few.npz", "--network", "multilayer_perceptron", "--epochs", "1",
               "--at", "block1", "--at", "features", "--batch-size", "8", "--zoo", "zoo",
               "--name", "net", "-q")  # fmt: skip
    assert made.exit_code == 0, made.stderr
    done = cli("extract", "zoo", "--task", "few.npz", "--folder", "out", "-q")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.split() == [f"out/{name}.npz" for name in Zoo("zoo")]
    for name in Zoo("zoo"):
        with np.load(f"out/{name}.npz") as stored:
            assert np.array_equal(stored["features"], extract(Zoo("zoo")[name], images))


def test_strange_letters_do_not_reach_the_names_of_files(cli, images, tmp_path):
    (tmp_path / "own_strange.py").write_text(
        "from modtools.modules import PretrainedModule\n"
        "def odd():\n"
        "    return PretrainedModule(lambda x: x.flatten(1).float(), name='a b+c')\n"
    )
    done = cli("extract", "--module", "own_strange:odd", "--task", "few.npz", "-q")
    assert done.stdout == "features/a-b+c.npz\n", done.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "nothing to extract: give a zoo folder, --module PACKAGE:FACTORY"),
        ([*PIXELS], "modules need a task: add --task digits, "),
        (["few.npz", "--task", "few.npz"], "few.npz holds features already; give modules."),
        ([*PIXELS, *PIXELS, "--task", "few.npz"], 'two modules are named "pixels"; '),
        ([*PIXELS, "--task", "few.npz", "--folder", "few.npz"], "few.npz cannot be written"),
        ([*PIXELS, "--task", "gone.npz"], "file or folder gone.npz does not exist."),
    ],
)
def test_bad_input_is_one_line(cli, images, words, text):
    done = cli("extract", *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_teaches_with_examples(cli):
    assert "modtools score features/*.npz" in cli("extract", "--help").stdout
