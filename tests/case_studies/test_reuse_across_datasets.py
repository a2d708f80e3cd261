"""The study must not rot: at toy size it measures, reports, and measures nothing twice."""

import json

import pandas as pd
import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory, run_study):
    folder = tmp_path_factory.mktemp("study")
    assert run_study("reuse_across_datasets", "--quick", "--json", folder / "figures.json") is None
    return folder


def test_every_figure_of_both_label_counts_is_there(folder):
    figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    names = ("regret", "tau", "mae", "coverage", "picked_coverage", "tau_lead_over_parameters")
    assert {f"{name}_{count}" for name in names for count in (5, 20)} <= set(figures)
    assert {"pair_gain_20", "all_gain_20", "pair_hurts_fraction"} <= set(figures)
    assert 0 < figures["race_pass_fraction"] <= 1
    assert 0 < figures["halving_pass_fraction"] < 0.3
    assert figures["halving_regret"] >= 0
    assert figures["n_modules"] == 3
    assert figures["n_tasks"] == 2
    assert figures["study_minutes"] > 0


def test_the_table_compares_every_score_with_label_free_baselines(folder):
    table = pd.read_csv(folder / "scores.csv")
    assert {"predicted", "logme", "knn", "probe, 3 folds"} <= set(table["score"])
    baselines = table[table["is_baseline"]]
    known = {"parameters", "depth", "features", "mean rank on other tasks"}
    assert set(baselines["score"]) == known
    assert baselines["seconds"].isna().all()
    assert (folder / "agreement_20.png").stat().st_size > 0
    assert (folder / "predicted.png").stat().st_size > 0


def test_what_was_measured_is_kept(folder, run_study):
    cells = {path: path.stat().st_mtime_ns for path in folder.glob("checkpoints/*/*.csv")}
    assert len(cells) == 3 * 2 * 2 - 2 + 2  # truth and scores at both counts, pairs at one; races
    (folder / "checkpoints" / "truth" / "digits-5-0.csv").unlink()
    assert run_study("reuse_across_datasets", "--quick", "--json", folder / "figures.json") is None
    after = {path: path.stat().st_mtime_ns for path in folder.glob("checkpoints/*/*.csv")}
    changed = {path.name for path, time in after.items() if cells[path] != time}
    assert changed == {"digits-5-0.csv"}
