"""``modtools select``: what it prints and writes, and how it fails."""

import numpy as np
import pandas as pd
import pytest

from modtools.selection import select_modules
from modtools.tasks import load_task
from tests.documents import facts

pytestmark = pytest.mark.floating_point


@pytest.fixture
def halves(tmp_path):
    """Write features of the upper and the lower half of the digits, and noise."""
    digits = load_task("digits").few_labels(per_class=15, seed=0)
    images = digits.inputs.astype(np.float32)
    noise = np.random.default_rng(0).normal(size=(len(digits), 5))
    found = {"top": images[:, :4], "bottom": images[:, 4:], "noise": noise}
    paths = []
    for name, rows in found.items():
        paths.append(tmp_path / f"{name}.npz")
        np.savez(paths[-1], features=rows.reshape(len(digits), -1), labels=digits.labels)
    return paths


def features_of(paths):
    return {path.stem: np.load(path)["features"] for path in paths}


def test_the_steps_the_pick_and_the_files(cli, halves, tmp_path):
    done = cli(
        "select", *halves, "--json", tmp_path / "a.json", "--csv", tmp_path / "a.csv",
        "--plot", tmp_path / "a.png", "--cost", "top=3, bottom=4,noise=1",
    )  # fmt: skip
    assert (done.exit_code, done.stderr) == (0, "")
    expected = select_modules(features_of(halves), np.load(halves[0])["labels"])
    lines = done.stdout.splitlines()
    assert lines[0].startswith("2 of 3 modules together on top")
    assert f"Pick     {' + '.join(expected.modules)}" in lines
    table = pd.read_csv(tmp_path / "a.csv")
    assert table["module"].tolist() == expected.modules
    assert table["value"].tolist() == pytest.approx(expected.frame()["value"].tolist())
    assert table["cost"].iloc[-1] == 7
    assert facts((tmp_path / "a.json").read_text())["settings"]["k"] == 2
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_quiet_prints_the_names_and_costs_are_kept(cli, halves):
    words = ("select", *halves, "-q", "--cost", "top=3,bottom=4,noise=9")
    assert sorted(cli(*words).stdout.split()) == ["bottom", "top"]
    assert cli(*words, "--max-cost", "3.5").stdout == "top\n"
    assert cli(*words, "-k", "1").stdout in ("top\n", "bottom\n")
    both = cli(*words, "--any-number").stdout.split()
    assert set(both) >= {"top", "bottom"}
    assert len(cli(*words, "--combine", "all").stdout.split()) == 3


def test_modules_are_run_on_the_task(cli, tmp_path, monkeypatch):
    (tmp_path / "own_halves.py").write_text(
        "from modtools.modules import PretrainedModule\n"
        "def top():\n"
        "    return PretrainedModule(lambda x: x[:, :4].flatten(1).float(), name='top')\n"
    )
    monkeypatch.chdir(tmp_path)
    words = ("--module", "own_halves:top", "--module", "modtools.modules:pixels")
    done = cli("select", *words, "--task", "digits", "--per-class", "6", "-k", "1", "-q")
    assert done.stdout == "pixels\n", done.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "nothing to select: give a zoo folder, --module PACKAGE:FACTORY or --features"),
        (["FILES", "-k", "1", "--any-number"], "give --k or --any-number, not both."),
        (["FILES", "-k", "1", "--combine", "all"], "give --k or --combine all, not both."),
        (["FILES", "-k", "0"], "--k must be a whole number of at least 1; got 0."),
        (["FILES", "--cost", "top=much"], "--cost must be a name, or numbers such as a=3,b=5; "),
        (["FILES", "--cost", "meters"], 'unknown cost "meters"'),
        (["FILES", "--max-cost", "3"], "cached features have no parameters."),
        (["FILES", "--combine", "al"], 'unknown combine "al"; did you mean "all"?'),
        (["FILES", "--plot", "a.gif"], "a picture is saved as .png and .svg, or as .pdf; got"),
    ],
)
def test_bad_input_is_one_line(cli, halves, words, text):
    given = [file for word in words for file in (halves if word == "FILES" else [word])]
    done = cli("select", *given)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_teaches_with_examples(cli):
    assert "modtools select zoo/ --task digits --per-class 20" in cli("select", "--help").stdout
