"""``modtools space``: tasks by name or by pairs of classes, what it prints, and how it fails."""

import numpy as np
import pandas as pd
import pytest

from modtools.tasks import load_task
from tests.documents import facts

PIXELS = ("--module", "modtools.modules:pixels")


@pytest.fixture
def candidates(tmp_path, monkeypatch):
    """Write a module of two factories, each of which sees half of an image."""
    (tmp_path / "halves.py").write_text(
        "import torch\n"
        "from modtools.modules import PretrainedModule\n"
        "def top():\n"
        "    return PretrainedModule(lambda x: x[:, :4].flatten(1).float(), name='top')\n"
        "def bottom():\n"
        "    return PretrainedModule(lambda x: x[:, 4:].flatten(1).float(), name='bottom')\n"
    )
    monkeypatch.chdir(tmp_path)
    return ("--module", "halves:top", "--module", "halves:bottom", *PIXELS)


def test_pairs_of_classes_are_related_and_files_written(cli, candidates, tmp_path):
    done = cli(
        "space", *candidates, "--task", "digits", "--pairs", "--classes", "0,1,7",
        "--per-class", "10", "--csv", tmp_path / "a.csv", "--json", tmp_path / "a.json",
        "--plot", tmp_path / "a.png",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("3 tasks by nmse of 3 modules")
    assert lines[1].split() == ["task", "nearest", "task", "distance"]
    assert lines[5].startswith("Nearest  ")
    table = pd.read_csv(tmp_path / "a.csv")
    assert set(table["task"]) == {"0 / 1", "0 / 7", "1 / 7"}
    assert set(table["module"]) == {"top", "bottom", "pixels"}
    content = facts((tmp_path / "a.json").read_text())
    assert content["settings"]["n_labels"] == {"0 / 1": 20, "0 / 7": 20, "1 / 7": 20}
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_tasks_by_name_and_the_nearest_two_alone(cli, candidates, tmp_path):
    digits = load_task("digits")
    for name, low in (("low", 0), ("high", 5)):
        rows = np.flatnonzero(np.isin(digits.labels, [low, low + 1]))[:60]
        np.savez(tmp_path / f"{name}.npz", inputs=digits.batch(rows), labels=digits.labels[rows])
    files = ("--task", tmp_path / "low.npz", "--task", tmp_path / "high.npz")
    done = cli("space", *candidates, *files, "--by", "lda", "-q")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.split() == ["low", "high"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--task", "digits"), "give at least two --task, or one --task with --pairs"),
        (("--task", "digits", "--task", "digits", "--pairs"), "; got 2 with --pairs."),
        (("--task", "digits", "--pairs", "--classes", "0,12"), 'unknown class of digits "12"'),
        (("--task", "digits", "--pairs", "--by", "nmsee"), 'unknown score "nmsee"; did you'),
    ],
)
def test_bad_input_is_one_line(cli, words, message):
    done = cli("space", *PIXELS, *words, "--per-class", "2")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_modules_are_needed_and_cached_features_refused(cli, feature_files):
    words = ("--task", "digits", "--pairs")
    assert "nothing to score: give a zoo folder" in cli("space", *words).stderr
    assert "holds cached features of one task" in cli("space", feature_files[0], *words).stderr


def test_help_teaches_with_examples(cli):
    done = cli("space", "--help")
    assert done.exit_code == 0
    assert "modtools space zoo/ --task digits --pairs" in done.stdout
