"""Signals end the command at any moment: its exit code, one line, no traceback, no orphans.

Nothing waits for a time: the command sends the signal to itself when it comes to a certain place,
or the test waits until a condition holds.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from modtools.tasks import load_task

ROOT = Path(__file__).parents[2]
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
STOPPED = "stopped; a file that was being written is left as it was.\n"

# Sends a signal when a module is looked for, then runs the command; argv: module, signal, words.
AT_IMPORT = """
import os, sys
name, number = sys.argv[1], int(sys.argv[2])
class Finder:
    @staticmethod
    def find_spec(found, path=None, target=None):
        if found == name:
            sys.meta_path.remove(Finder)
            os.kill(os.getpid(), number)
sys.meta_path.insert(0, Finder)
sys.argv[1:] = sys.argv[3:]
from modtools.cli import main
main()
"""
# The same when a function is called: argv: module:Class.function, signals, words. Further signals
# come when the interrupt has come to the printing of its line.
AT_CALL = """
import importlib, os, sys
place, numbers = sys.argv[1], [int(number) for number in sys.argv[2].split(",")]
sys.argv[1:] = sys.argv[3:]
module, names = place.split(":")
*owner, name = names.split(".")
from modtools import _stopping
def patch(owner, name, numbers, *, is_before):
    real = getattr(owner, name)
    def patched(*arguments, **options):
        if is_before and numbers:
            os.kill(os.getpid(), numbers.pop(0))
        result = real(*arguments, **options)
        if not is_before and numbers:
            os.kill(os.getpid(), numbers.pop(0))
        return result
    setattr(owner, name, patched)
home = importlib.import_module(module)
for part in owner:
    home = getattr(home, part)
patch(home, name, numbers[:1], is_before=True)
patch(_stopping.Stop, "begin_to_end", numbers[1:], is_before=False)
from modtools.cli import main
main()
"""
# In a finaliser, where Python prints a traceback and goes on; or in code executed from a text,
# after which Python kills itself in the end. argv: signal, which of the two.
IN_STRANGE_PLACES = """
import os, sys
from modtools.cli import _main
KILL = "os.kill(os.getpid(), int(sys.argv[1]))\\nsum(range(1000))"
class Swallowing:
    def __del__(self):
        exec(compile(KILL, "here", "exec"))
def running(stop):
    stop.begin()
    if sys.argv[2] == "finaliser":
        Swallowing()
    else:
        exec(KILL)
    return 0
_main._run = running
_main.main()
"""
# At exit, when the work is done: in the clean-up of the interpreter.
AT_EXIT = """
import atexit, os, sys
number = int(sys.argv.pop(1))
atexit.register(lambda: os.kill(os.getpid(), number))
from modtools.cli import main
main()
"""


def run(code, *words, **options):
    words = [sys.executable, "-c", code, *(str(word) for word in words)]
    options = {"env": {**os.environ, "PYTHONPATH": str(ROOT)}, **options}
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)


@pytest.fixture
def images(tmp_path):
    """A file of 64 images of the digits 0 to 3."""
    digits = load_task("digits")
    rows = np.flatnonzero(digits.labels < 4)[:64]
    np.savez(tmp_path / "four.npz", inputs=digits.batch(rows), labels=digits.labels[rows])
    return tmp_path / "four.npz"


@pytest.mark.parametrize(
    ("module", "number"),
    [
        pytest.param("typer", signal.SIGINT, marks=pytest.mark.slow),
        ("modtools.cli._app", signal.SIGTERM),
        pytest.param("numpy", signal.SIGHUP, marks=pytest.mark.slow),
        ("torch.nn", signal.SIGINT),
    ],
)
def test_while_modules_are_imported(module, number, images):
    words = ("train", "--task", images, "--epochs", "1", "--network", "multilayer_perceptron")
    done = run(AT_IMPORT, module, int(number), *words)
    assert (done.returncode, done.stdout, done.stderr) == (CODES[number], "", STOPPED)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)]
)
def test_a_training_ends_its_step_and_leaves_its_checkpoint(number, images, tmp_path):
    checkpoint = tmp_path / "run.pt"
    words = ("train", "--task", images, "--epochs", "2", "--network", "multilayer_perceptron")
    words = (*words, "--batch-size", "16", "--checkpoint", checkpoint)
    place = "modtools.training._trainer:Trainer._step"
    done = run(AT_CALL, place, int(number), *words)
    assert (done.returncode, done.stdout) == (CODES[number], "")
    assert done.stderr == (
        f"training stopped; the same call resumes from the checkpoint {checkpoint}.\n"
    )
    assert checkpoint.is_file()


def test_between_the_training_and_the_zoo_the_checkpoint_is_there(images, tmp_path):
    checkpoint = tmp_path / "run.pt"
    words = ("train", "--task", images, "--epochs", "1", "--network", "multilayer_perceptron")
    words = (*words, "--checkpoint", checkpoint, "--zoo", tmp_path / "zoo")
    done = run(AT_CALL, "modtools.modules._zoo:Zoo.save", int(signal.SIGTERM), *words)
    assert done.returncode == 143
    assert done.stderr == (
        f"training stopped; the same command resumes from the checkpoint {checkpoint}.\n"
    )
    assert checkpoint.is_file()


@pytest.mark.parametrize(
    ("place", "numbers", "code"),
    [
        ("modtools.selection._rank_modules:_score_one", (15, 2, 1), 143),
        pytest.param("modtools.cli._output:emit", (1, 15), 129, marks=pytest.mark.slow),
        pytest.param(
            "modtools.selection._ranking:Ranking.to_json", (15,), 143, marks=pytest.mark.slow
        ),
    ],
)
def test_while_it_works_and_again_while_it_ends(place, numbers, code, feature_files, tmp_path):
    numbers = ",".join(map(str, numbers))
    words = ("score", *feature_files, "--by", "knn", "--json", tmp_path / "a.json")
    done = run(AT_CALL, place, numbers, *words)
    assert (done.returncode, done.stderr) == (code, STOPPED)
    assert not (tmp_path / "a.json").exists()


def test_in_strange_places_and_at_the_exit(tmp_path):
    (tmp_path / "strange.py").write_text(IN_STRANGE_PLACES)
    for place in ("finaliser", "text"):
        for number in (signal.SIGINT, signal.SIGTERM):
            words = [sys.executable, "-m", "strange", str(int(number)), place]
            done = subprocess.run(
                words,
                capture_output=True,
                text=True,
                check=False,
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            assert (done.returncode, done.stderr) == (CODES[number], STOPPED), place
    done = run(AT_EXIT, int(signal.SIGTERM), "score", "--list")
    assert (done.returncode, done.stderr) == (143, STOPPED)
    assert "logme" in done.stdout


def test_signals_that_are_ignored_stay_ignored(feature_files):
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"  # as nohup does
    place = "modtools.selection._rank_modules:_score_one"
    words = ("score", *feature_files, "--by", "knn", "-q")
    done = run(ignoring + AT_CALL, place, int(signal.SIGHUP), *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "good\n", "")


def test_only_the_command_answers_signals():
    code = (
        "import signal, sys, threading\n"
        "def own(*_): pass\n"
        "signal.signal(signal.SIGTERM, own)\n"
        "hooks = (sys.unraisablehook, threading.excepthook)\n"
        "import modtools, modtools.cli, modtools.cli._app, modtools.training, modtools.studies\n"
        "import modtools.selection\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "assert signal.getsignal(signal.SIGTERM) is own\n"
        "assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL\n"
        "assert (sys.unraisablehook, threading.excepthook) == hooks\n"
    )
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("number", "to_all", "code"),
    [
        (signal.SIGTERM, False, 143),
        pytest.param(signal.SIGINT, True, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, True, 129, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, False, -signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_the_workers_of_a_study_end_with_it(number, to_all, code, tmp_path):
    rng, labels = np.random.default_rng(0), np.repeat([0, 1, 2], 200)
    features = rng.normal(size=(600, 40)) + labels[:, None]
    np.savez(tmp_path / "many.npz", features=features, labels=labels)
    words = ["study", "many.npz", "--outputs", "logistic", "--repeats", "999", "--n-jobs", "2"]
    words += ["--n-labels", "30,90,270", "--resume", "kept"]
    study = subprocess.Popen(
        [sys.executable, "-m", "modtools", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    while not list(tmp_path.glob("kept/cells/*.npz")):
        assert study.poll() is None
        time.sleep(0.02)
    (os.killpg if to_all else os.kill)(study.pid, number)
    try:
        # The pipes end when the last process that holds them does, so this waits for all workers.
        out, error = study.communicate(timeout=120)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(study.pid, signal.SIGKILL)
    advice = "study stopped; what is finished is in kept. The same command resumes.\n"
    assert (study.returncode, out) == (code, "")
    assert error == ("" if number == signal.SIGKILL else advice)
    assert not list(tmp_path.glob("kept/cells/.*"))
