"""The exact words of every command: help, a small run of each, lists and typical errors.

They are kept in ``__snapshots__/test_snapshots.ambr``; CONTRIBUTING.md says how to renew it.
"""

import re
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from modtools.cli import app
from modtools.tasks import load_task

pytestmark = pytest.mark.floating_point

CONSTRAINTS = (Path(__file__).parents[2] / "constraints.txt").read_text().splitlines()
HELP = {"modtools": "--help"} | {
    command.callback.__name__: f"{command.callback.__name__} --help"
    for command in app.registered_commands
}
FILES = "noise.npz weak.npz good.npz"
MODULES = "--module modtools.modules:pixels --module snapshot_modules:top"
RUNS = {
    "version": "--version",
    "score": f"score {FILES} --by ridge --scores logme,knn",
    "score of predicted accuracy": f"score {FILES}",
    "race": f"score {FILES} --race --look-every 10",
    "retrain": "retrain good.npz --per-class 5 --output ridge",
    "study": f"study {FILES} --n-labels 6,12,24,45 --repeats 3 --target 0.8",
    "space": f"space {MODULES} --module snapshot_modules:left --task four.npz --pairs",
    "agree": "agree table.csv --unit percent --against bad",
    "train": "train --task four.npz --network multilayer_perceptron --epochs 1 --batch-size 32",
    "select": f"select {FILES} --cost noise=1,weak=2,good=3",
    "choose": "choose good.npz --labels 5 --csv rows.csv",
    "extract": f"extract {MODULES} --task four.npz",
    "list of scores": "score --list",
    "list of proxies": "train --list",
    "list of strategies": "choose --list",
}
PIXELS = "score --module modtools.modules:pixels"
ERRORS = {
    "nothing to score": "score",
    "no task": PIXELS,
    "no zoo": "score nowhere --task digits",
    "empty zoo": "score empty --task digits",
    "no factory": "score --module pixels --task digits",
    "missing package": "score --module no_such_package:a --task digits",
    "missing factory": "score --module modtools.modules:pixel --task digits",
    "factory of a number": "score --module snapshot_modules:number --task digits",
    "layer of a zoo": "score empty --layer 0 --task digits",
    "layer of features": "score --features good.npz --layer 0",
    "two kinds of counts": f"{PIXELS} --task digits --per-class 3 --labels 9",
    "unknown score": f"{PIXELS} --task digits --by log_me",
    "missing file": "score gone.npz",
    "features and modules": "score --features a.npz --module modtools.modules:pixels",
    "one class": f"score {FILES} --classes 1",
    "too few examples": f"score {FILES} --per-class 90",
    "number out of range": f"score {FILES} --race --passes 7",
    "fractions expected": "agree table.csv",
    "missing class": "retrain good.npz --labels 2 --output ridge",
    "several modules": f"retrain {FILES}",
    "rows of numbers": "train --task numbers.npz",
    "wrong kind of picture": "study good.npz --plot a.gif",
}
PERCENT = r"[\d.]+ %, 95 % interval \[[\d.]+, [\d.]+\]"
# What differs between runs, versions and processors, and what stands in its place: seconds,
# versions and the device, and accuracies of a single output module, which may be that of a network.
MASKS = {
    r"\d+\.\d s$": "<seconds>",
    r"^modtools \S+ \(torch \S+, device: .+\)": "modtools <version> (torch <version>, <device>)",
    rf"^Accuracy  {PERCENT}": "Accuracy  <percent>, 95 % interval <percent>",
}


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch):
    """Give the commands one width and no colour, whatever terminal or service runs the tests."""
    for name, value in {"COLUMNS": 100, "LINES": 50, "TERM": "dumb", "NO_COLOR": 1}.items():
        monkeypatch.setenv(name, str(value))
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def inputs(feature_files, tmp_path, monkeypatch):
    """Write small inputs for every command and go there, so that no path stands in an output."""
    digits = load_task("digits")
    rows = np.flatnonzero(digits.labels < 4)[:64]
    np.savez(tmp_path / "four.npz", inputs=digits.batch(rows), labels=digits.labels[rows])
    np.savez(tmp_path / "numbers.npz", inputs=np.eye(8, 5, dtype=np.float32), labels=[0, 1] * 4)
    achieved = np.array([55.5, 71.0, 80.2, 62.3, 90.5, 48.1, 66.7, 59.4, 75.6])
    table = {"task": list("aaabbbccc"), "module": list("xyz") * 3, "accuracy": achieved}
    table = pd.DataFrame({**table, "good": achieved / 100, "bad": -achieved})
    table.to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "snapshot_modules.py").write_text(
        "from modtools.modules import PretrainedModule\n"
        "def top():\n"
        "    return PretrainedModule(lambda x: x[:, :4].flatten(1).float(), name='top')\n"
        "def left():\n"
        "    return PretrainedModule(lambda x: x[:, :, :4].flatten(1).float(), name='left')\n"
        "def number():\n"
        "    return 3\n"
    )
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("snapshot_modules", None)


def masked(text):
    """Return an output with what `MASKS` finds replaced."""
    for pattern, instead in MASKS.items():
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    return text


def transcript(cli, line):
    """Run a command and return what a terminal would show, with its exit code."""
    done = cli(*shlex.split(line))
    parts = [f"$ modtools {line}", done.stdout.rstrip("\n")]
    if done.stderr:
        parts += ["[standard error]", done.stderr.rstrip("\n")]
    parts.append(f"[exit code {done.exit_code}]")
    return re.sub(" +$", "", "\n".join(parts), flags=re.MULTILINE)


@pytest.mark.skipif(
    any(f"{name}=={version(name)}" not in CONSTRAINTS for name in ("rich", "typer")),
    reason="needs rich and typer of constraints.txt, which lay out the help",
)
@pytest.mark.parametrize("name", HELP)
def test_help(cli, snapshot, name):
    assert transcript(cli, HELP[name]) == snapshot


@pytest.mark.parametrize("name", RUNS)
def test_small_run(cli, inputs, snapshot, name):
    assert masked(transcript(cli, RUNS[name])) == snapshot


@pytest.mark.parametrize("name", ERRORS)
def test_error(cli, inputs, snapshot, name):
    assert transcript(cli, ERRORS[name]) == snapshot
