"""The study must not rot: at toy size it goes through every step and says what it found."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

STUDY = Path(__file__).parents[2] / "case_studies" / "ten_labels"
KINDS = ("chosen", "refined", "random")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, run_study):
    folder = tmp_path_factory.mktemp("study")
    assert run_study("ten_labels", "--quick", "--json", folder / "figures.json") is None
    return folder


@pytest.fixture(scope="module")
def figures(folder):
    return json.loads((folder / "figures.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def record(folder, figures):
    path = folder / "modules" / f"{figures['module']}.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(STUDY)
    names = runpy.run_path(str(STUDY / "run.py"))
    for path in STUDY.glob("*.py"):  # another study has files of the same names
        sys.modules.pop(path.stem, None)
    return names


def test_it_gives_the_figures_that_are_asked_for(figures):
    names = ["full_label_accuracy", "ten_random_mean", "ten_random_worst"]
    names += ["ten_chosen_mean", "ten_refined_mean"]
    names += [f"end_to_end_{n_labels}" for n_labels in (10, 100, 1000)]
    assert all(0 <= figures[name] <= 100 for name in names)
    assert "torch" in figures["versions"]


@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_those_of_the_draws(figures, record, kind):
    draws = [draw["accuracy"] if kind == "chosen" else draw for draw in record[kind]]
    assert figures[f"ten_{kind}_mean"] == pytest.approx(np.mean(draws))
    assert figures[f"ten_{kind}_worst"] == min(draws)
    assert figures[f"ten_{kind}_draws"] == len(draws) == 2


def test_the_output_modules_are_those_that_held_out_rows_prefer(figures, record):
    decided = record["decided_on_held_out_rows"]
    assert {kind: max(found, key=found.get) for kind, found in decided.items()} == record["outputs"]
    assert figures["full_label_output"] == record["outputs"]["all"]


def test_the_best_module_is_that_of_the_best_record(study, tmp_path):
    for name, accuracy in (("modular_supcon_seed0", 93.1), ("modular_supcon_seed1", 93.2)):
        for path, content in (
            (tmp_path / "results" / "zoo" / name / "card.json", {}),
            (tmp_path / "results" / "runs" / f"{name}.json", {"validation_accuracy": accuracy}),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content))
    study["Place"].best.__globals__["TRAINING"] = tmp_path
    assert study["Place"](tmp_path, quick=False).best() == "modular_supcon_seed1"


def test_with_fewer_labels_than_classes_the_rest_is_nameless(figures):
    assert figures["half_n_labels"] == 5
    assert 0 < len(figures["half_named"]) <= 5
    if figures["half_uses_pool"]:
        assert len(figures["half_named"]) + figures["half_n_nameless_clusters"] == 10
    assert figures["half_accuracy_on_named"] >= figures["half_accuracy"]


def test_the_baseline_keeps_the_settings_that_held_out_rows_prefer(folder, figures):
    runs = [json.loads(path.read_text()) for path in (folder / "from_scratch").glob("10-*.json")]
    tried = [run for run in runs if run["held_out"]]
    best = max(tried, key=lambda run: run["accuracy"])
    final = [run for run in runs if not run["held_out"]]
    assert len(tried) > 5
    for name in ("steps", "learning_rate", "shift", "flip"):
        assert {run[name] for run in final} == {best[name]}
    assert figures["end_to_end_10"] == pytest.approx(np.mean([run["accuracy"] for run in final]))


def test_what_is_finished_is_not_repeated(folder, run_study):
    paths = [*(folder / "modules").iterdir(), *(folder / "from_scratch").iterdir()]
    before = {path: path.stat().st_mtime_ns for path in paths}
    assert run_study("ten_labels", "--quick", "--json", folder / "figures.json") is None
    assert before == {path: path.stat().st_mtime_ns for path in paths}


def test_tables_and_picture_are_written(folder):
    assert len(pd.read_csv(folder / "module.csv")) == 4
    assert len(pd.read_csv(folder / "scratch.csv")) == 3
    assert (folder / "ten_labels.png").stat().st_size > 0


def test_missing_modules_are_named_with_the_command_that_makes_them(study, tmp_path):
    study["Place"].best.__globals__["TRAINING"] = tmp_path
    with pytest.raises(SystemExit, match=r"run\.py --only modular_supcon_seed0 modular_supcon_see"):
        study["Place"](tmp_path, quick=False).best()


def test_the_page_keeps_its_text_and_gets_the_tables():
    with_table = runpy.run_path(str(STUDY / "report.py"))["with_table"]
    page = (STUDY / "README.md").read_text(encoding="utf-8")
    table = pd.DataFrame({"module": ["one"], "mean": ["91.80"]})
    for name in ("module", "scratch"):
        filled = with_table(page, name, table)
        assert "| module | mean |\n| --- | --- |\n| one | 91.80 |\n" in filled
        assert with_table(filled, name, table) == filled
        assert filled.endswith(page.partition(f"<!-- {name}:end -->")[2])
