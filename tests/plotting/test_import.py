import subprocess
import sys


def test_importing_displays_loads_no_plotting_library():
    code = (
        "import sys, modtools.plotting, modtools.selection, modtools.studies;"
        "print([m for m in ('matplotlib', 'seaborn', 'pandas', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
