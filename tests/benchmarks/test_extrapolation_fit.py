"""The calibration of forecasts is found again in data that follow it, and judged on other tasks."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from modtools.retraining._error_law import Calibration, ErrorLaw

KNOWN = Calibration(pace=7.0, level_variance=1.5, drift=0.03)


@pytest.fixture(scope="module")
def bench():
    path = Path(__file__).parent / "bench_extrapolation.py"
    spec = importlib.util.spec_from_file_location("bench_extrapolation", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def table():
    """Return forecasts of six tasks whose levels and slopes vary as the calibration says."""
    rng, rows = np.random.default_rng(0), []
    for place in range(3000):
        n, ahead = int(rng.choice([50, 100, 200])), int(rng.choice([400, 1000, 2000]))
        truth = float(rng.uniform(0.05, 0.3))
        of_one_row = np.sqrt((1 - truth) / truth)
        level = truth * np.exp(of_one_row * np.sqrt(KNOWN.level_variance / n) * rng.normal())
        drift = of_one_row * KNOWN.drift * np.log(ahead / n) * rng.normal()
        error = (1 - ErrorLaw(n, truth, KNOWN).accuracies([ahead])[0, 0]) * np.exp(drift)
        rows.append((f"images{place % 2}", f"task{place % 6}", "m", n, ahead, level, error))
    found = pd.DataFrame(rows, columns=["images", "task", "module", "n", "ahead", "level", "error"])
    return found[found["level"] < 0.9].reset_index(drop=True)


def test_the_calibration_is_found_again(bench, table):
    found = bench.fit(table)
    assert found.pace == pytest.approx(KNOWN.pace, rel=0.15)
    # Small errors are seen too small as often as too large, and count as more uncertain then.
    assert 0.6 < found.level_variance < 2
    assert 0.5 < found.drift / KNOWN.drift < 2


@pytest.mark.parametrize("by", ["task", "images"])
def test_intervals_hold_their_share_on_tasks_left_out(bench, table, by):
    judged = bench.judged(table, by)
    assert len(judged) == len(table)
    figures = bench.summary(judged, "x")
    assert figures["x: share held by the 80 % interval"] == pytest.approx(0.8, abs=0.05)
    assert abs(figures["x: bias, points"]) < 1


def test_groups_name_every_class_of_their_images(bench):
    for groups in bench.GROUPS.values():
        assert all(len(found) == 10 for found in groups.values())
        assert all(len(np.unique(found[found >= 0])) > 1 for found in groups.values())
