"""Benchmarks must not rot: each runs at toy size and gives finite figures."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Figures of versions are compared by name: a name stays when the words of the library change.
NAMES = json.loads((HERE.parent / "recorded/figure_names.json").read_text(encoding="utf-8"))


SLOW = (
    *("rows", "label_efficiency", "prediction", "moments", "extraction", "training", "retraining"),
    *("curve", "race", "extrapolation"),
)
QUICK = ("proxies",)


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_the_benchmark_runs(name, tmp_path):
    out = tmp_path / "benchmarks.json"
    command = [sys.executable, str(HERE / "run.py"), "--quick", "--only", name, "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert figures
    assert set(figures) >= set(NAMES["benchmarks"].get(name, ()))
    assert all(math.isfinite(value) for value in figures.values())
