import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("rooms", "heavy"),
    [
        ("modtools.plotting", ("matplotlib", "seaborn", "pandas", "torch")),
        # These stand on scikit-learn, which loads pandas itself where it is installed.
        (
            "modtools.selection, modtools.retraining, modtools.studies",
            ("matplotlib", "seaborn", "torch"),
        ),
    ],
)
def test_importing_displays_loads_no_plotting_library(rooms, heavy):
    code = f"import sys, {rooms}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
