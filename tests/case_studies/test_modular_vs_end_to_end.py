"""The study must not rot: at toy size it goes through every step and says what it found."""

import json
import runpy
from pathlib import Path

import pandas as pd
import pytest

STUDIES = Path(__file__).parents[2] / "case_studies"
STUDY = "modular_vs_end_to_end"
# Each run trains networks: half a minute.
pytestmark = pytest.mark.slow
NAMES = ("end_to_end_seed0", "modular_supcon_seed1", "weakly_modular_supcon_180s")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, run_study):
    folder = tmp_path_factory.mktemp("study")
    assert run_study(STUDY, "--quick", "--json", folder / "figures.json") == 0
    return folder


@pytest.fixture(scope="module")
def figures(folder):
    return json.loads((folder / "figures.json").read_text(encoding="utf-8"))


def read(folder, name):
    return json.loads((folder / "runs" / f"{name}.json").read_text(encoding="utf-8"))


def test_it_gives_the_figures_that_are_asked_for(figures):
    assert figures["modular_proxy"] == "supcon"
    for name in ("end_to_end_accuracy", "modular_accuracy", "weakly_modular_accuracy"):
        assert 0 <= figures[name] <= 100
    assert figures["end_to_end_accuracy_seeds"] == figures["modular_accuracy_seeds"] == 2
    assert 0 < figures["memory_ratio"] < 1
    assert {"end_to_end", "modular_supcon"} <= set(figures["seconds_per_method"])
    assert "torch" in figures["versions"]


def test_differences_lie_in_their_intervals(figures):
    name = "modular_minus_end_to_end"
    means = figures["modular_accuracy"] - figures["end_to_end_accuracy"]
    assert figures[name] == pytest.approx(means)
    assert figures[f"{name}_low"] <= figures[name] <= figures[f"{name}_high"]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_keeps_what_it_reached_and_cost(folder, name):
    kept = read(folder, name)
    n_correct = bytes.fromhex(kept["correct"])
    share = sum(byte.bit_count() for byte in n_correct) / kept["n_test"]
    assert kept["accuracy"] == pytest.approx(100 * share)
    assert kept["accuracy_low"] < kept["accuracy"] < kept["accuracy_high"]
    assert kept["labels_needed"] == ("classes" if "end_to_end" in name else "pairs")
    assert kept["seconds_used"] > 0
    assert kept["peak_activation_mb"] > 0
    assert kept["history"]


def test_the_table_has_a_row_for_each_run(folder):
    table = pd.read_csv(folder / "runs.csv").set_index("name")
    assert len(table) == len(list((folder / "runs").glob("*.json")))
    assert table["difference"].notna().equals(table["method"] != "end-to-end")


def test_the_pictures_are_drawn(folder):
    for name in ("training", "proxies"):
        assert (folder / f"{name}.png").stat().st_size > 0


def test_a_finished_run_is_not_repeated(folder, run_study):
    before = {path: path.stat().st_mtime_ns for path in (folder / "runs").iterdir()}
    run_study(STUDY, "--quick", "--json", folder / "figures.json", "--only", NAMES[0])
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "runs").iterdir()}


def test_a_run_made_with_other_settings_is_not_taken_for_finished(folder, tmp_path, run_study):
    other = read(folder, NAMES[0])
    other["settings"]["precision"] = "another"
    path = tmp_path / "runs" / f"{NAMES[0]}.json"
    path.parent.mkdir()
    path.write_text(json.dumps(other), encoding="utf-8")
    said = run_study(STUDY, "--quick", "--json", tmp_path / "figures.json")
    assert said == f"{path} was made with another precision: remove it to repeat the run."


def test_the_page_keeps_its_text_and_gets_the_table():
    with_table = runpy.run_path(str(STUDIES / STUDY / "report.py"))["with_table"]
    page = (STUDIES / STUDY / "README.md").read_text(encoding="utf-8")
    table = pd.DataFrame({"run": ["one", "two"], "accuracy (%)": ["93.10", "92.00"]})
    filled = with_table(page, table)
    assert "| run | accuracy (%) |\n| --- | --- |\n| one | 93.10 |\n| two | 92.00 |\n" in filled
    assert with_table(filled, table) == filled
    assert filled.startswith("# Modular against end-to-end training")
    assert filled.endswith(page.partition("<!-- runs:end -->")[2])
