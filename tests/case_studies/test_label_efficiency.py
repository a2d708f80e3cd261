"""The study must not rot: at toy size it goes through every step and says what it found."""

import json
import runpy
from pathlib import Path

import pandas as pd
import pytest

STUDY = Path(__file__).parents[2] / "case_studies" / "label_efficiency"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, run_study):
    folder = tmp_path_factory.mktemp("study")
    assert run_study("label_efficiency", "--quick", "--json", folder / "figures.json") is None
    return folder


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(STUDY)
    return runpy.run_path(str(STUDY / "run.py"))


def test_it_gives_accuracies_and_labels_to_reach_of_each_module(folder):
    figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    for module in ("pixels", "pixels again"):
        assert 10 < figures[f"digits_{module}_30_labels"] < 100
        assert figures[f"digits_{module}_target"] == 90
        assert f"digits_{module}_labels_to_reach" in figures
    assert "torch" in figures["versions"]


def test_modules_that_are_the_same_have_the_same_curve(folder):
    curves = pd.read_csv(folder / "curves.csv")
    first, second = (group["value"].tolist() for _, group in curves.groupby("module"))
    assert first == second
    assert curves["n_labels"].min() == 10


def test_the_picture_is_drawn(folder):
    assert (folder / "digits.png").stat().st_size > 0


def test_the_same_command_resumes_from_finished_cells(folder, run_study):
    paths = [path for path in (folder / "checkpoints").rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in paths}
    figures = (folder / "figures.json").read_text(encoding="utf-8")
    assert before
    assert run_study("label_efficiency", "--quick", "--json", folder / "figures.json") is None
    assert before == {path: path.stat().st_mtime_ns for path in paths}
    assert (folder / "figures.json").read_text(encoding="utf-8") == figures


def test_missing_modules_are_named_with_the_command_that_makes_them(study, tmp_path):
    study["Place"].modules.__globals__["TRAINING"] = tmp_path
    with pytest.raises(SystemExit, match=r"run\.py --only modular_supcon_seed0 end_to_end_seed0"):
        study["Place"](tmp_path, quick=False).modules()


@pytest.mark.parametrize(
    ("censored", "said"),
    [
        ("", "80 %: 200 [150, 260]"),
        ("above", "80 %: more than 200"),
        ("below", "80 %: at most 200"),
    ],
)
def test_a_target_that_is_not_crossed_gives_a_bound(study, censored, said):
    row = {"target": 80.0, "labels_to_reach": 200, "low": 150, "high": 260, "censored": censored}
    assert study["labels"](row) == said


def test_the_page_keeps_its_text_and_gets_the_table(study):
    page = (STUDY / "README.md").read_text(encoding="utf-8")
    filled = study["with_table"](page, pd.DataFrame({"module": ["one"], "10 labels": ["61.2"]}))
    assert "| module | 10 labels |\n| --- | --- |\n| one | 61.2 |\n" in filled
    assert filled.endswith(page.partition("<!-- labels:end -->")[2])
