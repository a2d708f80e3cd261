"""The task space must not rot: at toy size all of it runs and every figure is there."""

import json

import pandas as pd
import pytest


@pytest.mark.slow
def test_it_trains_scores_retrains_and_draws(tmp_path, run_study):
    assert run_study("task_space", "--quick", "--json", tmp_path / "figures.json") is None
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert figures["n_tasks"] == 6
    assert -1 <= figures["task_space_spearman_low"] <= figures["task_space_spearman"] <= 1
    assert figures["task_space_seconds"] > 0
    assert "spearman_nmse_with_own" in figures
    table = pd.read_csv(tmp_path / "matrix.csv")
    assert len(table) == 36
    assert table["achieved"].between(0, 1).all()
    assert (tmp_path / "task_space.png").stat().st_size > 0
