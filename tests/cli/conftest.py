import os
import stat

import numpy as np
import pytest
from typer.testing import CliRunner

from modtools.cli import app


@pytest.fixture
def cli(monkeypatch):
    """Run ``modtools`` in this process; the result has exit_code, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "100")
    runner = CliRunner()
    return lambda *words: runner.invoke(app, list(map(str, words)), prog_name="modtools")


def make_device(path, minor):
    """Make a device of one's own, so that no test touches those of the system."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        path.write_bytes(b"")
    except (OSError, AttributeError):
        pytest.skip("needs the right to make devices")
    return path


@pytest.fixture
def null_device(tmp_path):
    """A device that takes everything and keeps nothing, as /dev/null."""
    return make_device(tmp_path / "null", 3)


@pytest.fixture
def full_device(tmp_path):
    """A device into which nothing goes, as a full disk; the check before cannot see it."""
    return make_device(tmp_path / "full", 7)


@pytest.fixture
def feature_files(tmp_path):
    """Write three files of cached features with labels, from noise to nearly perfect."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 20)
    paths = []
    for name, alpha in (("noise", 0.0), ("weak", 1.0), ("good", 4.0)):
        features = alpha * np.eye(3)[labels] + rng.normal(size=(60, 3))
        paths.append(tmp_path / f"{name}.npz")
        np.savez(paths[-1], features=features, labels=labels)
    return paths
