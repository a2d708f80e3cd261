"""Pictures need no window system, and drawing them leaves the plotting libraries as they were."""

import os
import subprocess
import sys
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import _pylab_helpers, pyplot
from matplotlib.figure import Figure

from modtools.plotting import (
    AgreementDisplay,
    LabelEfficiencyDisplay,
    ParetoDisplay,
    RaceDisplay,
    RankingDisplay,
    TaskSpaceDisplay,
    TrainingDisplay,
)


def displays():
    """One display of each kind."""
    modules = ["deep", "shallow", "raw"]
    ranked = pd.DataFrame({"module": modules, "value": [0.9, 0.8, 0.6]})
    ranked["standard_error"] = 0.02
    points = pd.DataFrame({"task": "digits", "module": modules, "predicted": ranked["value"]})
    tau = pd.DataFrame(
        [{"score": "knn", "task": "digits", "weighted_tau": 0.9, "is_baseline": False}]
    )
    counts = [10, 100, 1000]
    curve = pd.DataFrame({"line": "deep", "n_labels": counts, "value": [0.5, 0.8, 0.9]})
    curve = curve.assign(value_low=curve["value"] - 0.1, value_high=curve["value"])
    race = ranked.assign(status=["in", "dropped", "failed"], examples=[900, 300, 10])
    race["value"] = [0.9, 0.6, np.nan]
    front = pd.DataFrame({"modules": modules, "n_modules": 1, "value": ranked["value"]})
    front = front.assign(value_low=0.5, value_high=0.95, cost=[9.0, 3.0, 1.0])
    front = front.assign(on_front=True, chosen=True)
    runs = pd.DataFrame({"method": "end to end", "seed": 0, "seconds": [1.0, 2.0]})
    matrix = pd.DataFrame([[0.9, 0.5], [0.5, 0.9]], index=list("ab"), columns=["ma", "mb"])
    tree = np.array([[0.0, 1.0, 0.1, 2.0]])
    return [
        RankingDisplay(results=ranked, score="knn", accuracy=True, chance=0.1),
        AgreementDisplay(
            points=points.assign(achieved=points["predicted"]), agreement=tau, score="knn"
        ),
        LabelEfficiencyDisplay(curve),
        RaceDisplay(results=race, n_labels=900),
        ParetoDisplay(results=front, cost="cost (parameters)"),
        TrainingDisplay(runs=runs.assign(accuracy=[0.5, 0.9]), memory={"end to end": 1000}),
        TaskSpaceDisplay(matrix=matrix, linkage=tree, score="lda", achieved=matrix),
    ]


def test_drawing_and_saving_leave_the_libraries_and_their_figures_alone(tmp_path):
    own = pyplot.figure()
    settings = {name: mpl.rcParams[name] for name in mpl.rcParams}
    filters, variables = list(warnings.filters), dict(os.environ)
    for display in displays():
        display.plot().save(tmp_path / "picture")
    assert {name: mpl.rcParams[name] for name in mpl.rcParams} == settings
    assert list(warnings.filters) == filters
    assert dict(os.environ) == variables
    assert pyplot.get_fignums() == [own.number]
    assert pyplot.gcf() is own


@pytest.mark.parametrize("display", displays(), ids=lambda display: type(display).__name__)
def test_a_notebook_shows_a_figure_once(display):
    assert display._repr_png_() is None  # nothing is drawn yet
    assert display.plot()._repr_png_().startswith(b"\x89PNG")
    assert not _pylab_helpers.Gcf.get_num_fig_managers()


@pytest.mark.parametrize("display", displays(), ids=lambda display: type(display).__name__)
def test_a_display_prints_its_numbers_until_it_is_drawn(display):
    assert type(display).__name__ in repr(display)
    assert str(display.frame().columns[0]) in repr(display)
    assert display._repr_html_().startswith("<pre>")
    assert display.plot()._repr_html_() is None


def test_a_figure_of_pyplot_is_shown_by_pyplot_alone():
    display = displays()[0]
    _, ax = pyplot.subplots()
    assert display.plot(ax)._repr_png_() is None
    assert display.plot(Figure().subplots())._repr_png_() is not None


DRAW_ALL = """
import os, sys
sys.path.insert(0, {folder!r})
variables = dict(os.environ)
import modtools.plotting
from modtools.plotting._display import new_axes
new_axes(2, 1)
from test_without_a_window import displays
from matplotlib import _pylab_helpers
for place, display in enumerate(displays()):
    files = display.plot().save(f"{{place}}")
    assert all(file.stat().st_size > 2000 for file in files)
assert dict(os.environ) == variables
assert not _pylab_helpers.Gcf.get_num_fig_managers()
print("drawn")
"""


@pytest.mark.parametrize(
    "backend", ["TkAgg", pytest.param("no-such-backend", marks=pytest.mark.slow)]
)
def test_pictures_are_saved_whatever_backend_the_environment_names(backend, tmp_path):
    variables = {**os.environ, "MPLBACKEND": backend}
    variables.pop("DISPLAY", None)
    code = DRAW_ALL.format(folder=os.path.dirname(__file__))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=variables
    )
    assert done.stdout == "drawn\n", done.stderr
