"""Run a case study as its command does, but in this process: a fresh one takes seconds to start."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

STUDIES = Path(__file__).parents[2] / "case_studies"


@pytest.fixture(scope="session")
def run_study():
    """Return a function that runs a study with arguments and returns what it exits with."""

    def run(study, *arguments):
        folder = STUDIES / study
        before, n_threads = set(sys.modules), torch.get_num_threads()
        with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
            patch.setattr(sys, "argv", ["run.py", *map(str, arguments)])
            patch.syspath_prepend(folder)
            try:
                runpy.run_path(str(folder / "run.py"), run_name="__main__")
            except SystemExit as stop:
                return stop.code
            finally:
                torch.set_num_threads(n_threads)
                own = {path.stem for path in folder.glob("*.py")} - before
                for name in own & set(sys.modules):  # two studies may name their files alike
                    del sys.modules[name]
        return None

    return run
