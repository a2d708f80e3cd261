"""``modtools choose``: which rows it prints and writes, and how it fails."""

import numpy as np
import pandas as pd
import pytest

from modtools.modules import extract, pixels
from modtools.retraining import choose_labels
from modtools.tasks import load_task
from tests.documents import facts

PIXELS = ("--module", "modtools.modules:pixels")


@pytest.fixture
def unlabelled(tmp_path):
    """Write a file of features without labels."""
    rows = np.random.default_rng(0).normal(size=(60, 4))
    np.savez(tmp_path / "rows.npz", features=rows)
    return tmp_path / "rows.npz"


def test_rows_are_those_of_the_function_and_need_no_labels(cli, unlabelled, tmp_path):
    done = cli(
        "choose", "--features", unlabelled, "--labels", "5", "--seed", "3",
        "--json", tmp_path / "a.json", "--csv", tmp_path / "a.csv",
    )  # fmt: skip
    assert (done.exit_code, done.stderr) == (0, "")
    expected = choose_labels(np.load(unlabelled)["features"], 5, strategy="typical", seed=3)
    said, rows, wrote = done.stdout.splitlines()
    assert said.startswith("5 of 60 examples to label, chosen by typical from the features of rows")
    assert rows == f"Rows     {', '.join(map(str, expected))}"
    assert wrote.split() == ["Wrote", str(tmp_path / "a.json"), str(tmp_path / "a.csv")]
    table = pd.read_csv(tmp_path / "a.csv")
    assert table["row"].tolist() == expected.tolist()
    assert table["order"].tolist() == [1, 2, 3, 4, 5]
    content = facts((tmp_path / "a.json").read_text())
    assert [row["row"] for row in content["rows"]] == expected.tolist()
    assert (content["strategy"], content["n_samples"], content["seed"]) == ("typical", 60, 3)


def test_a_module_is_run_on_the_task(cli):
    words = ("choose", *PIXELS, "--task", "digits", "--classes", "0,1", "--strategy", "k_center")
    done = cli(*words, "--labels", "4", "-q")
    features = extract(pixels(), load_task("digits").of_classes([0, 1]))
    expected = choose_labels(features, 4, strategy="k_center")
    assert done.stdout.split() == [str(row) for row in expected], done.stderr


def test_many_rows_are_counted(cli, unlabelled):
    done = cli("choose", unlabelled, "--labels", "55", "--strategy", "random")
    assert done.stdout.splitlines()[1].endswith(", and 5 more: add --csv FILE")


def test_list_shows_every_strategy(cli):
    assert cli("choose", "--list").stdout == cli("retrain", "--list").stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "no module: give a zoo folder, --module PACKAGE:FACTORY or --features FILE.npz."),
        ([*PIXELS], "a module needs examples: add --task digits"),
        (["FILE", *PIXELS], "give one file of cached features alone, or a module and --task."),
        (
            ["FILE", "--labels", "99"],
            "--labels must be at most the 60 unlabelled examples; got 99.",
        ),
        (["FILE", "--strategy", "tipical"], 'unknown strategy "tipical"; did you mean "typical"?'),
        (["gone.npz"], "file gone.npz does not exist."),
    ],
)
def test_bad_input_is_one_line(cli, unlabelled, words, text):
    done = cli("choose", *(unlabelled if word == "FILE" else word for word in words))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_teaches_with_examples(cli):
    assert "modtools choose --features a.npz --labels 50" in cli("choose", "--help").stdout
