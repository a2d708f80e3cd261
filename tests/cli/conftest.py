import numpy as np
import pytest
from typer.testing import CliRunner

from modtools.cli import app


@pytest.fixture
def cli(monkeypatch):
    """Run ``modtools`` in this process; the result has exit_code, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "100")
    runner = CliRunner()
    return lambda *words: runner.invoke(app, [str(word) for word in words])


@pytest.fixture
def feature_files(tmp_path):
    """Write three files of cached features with labels, from noise to nearly perfect."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 20)
    paths = []
    for name, strength in (("noise", 0.0), ("weak", 1.0), ("good", 4.0)):
        features = strength * np.eye(3)[labels] + rng.normal(size=(60, 3))
        paths.append(tmp_path / f"{name}.npz")
        np.savez(paths[-1], features=features, labels=labels)
    return paths
