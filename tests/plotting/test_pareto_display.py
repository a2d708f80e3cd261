import pandas as pd
import pytest
from matplotlib.colors import to_hex

from modtools.exceptions import ModtoolsError
from modtools.plotting import ParetoDisplay
from modtools.plotting._display import BEST


@pytest.fixture
def results():
    return pd.DataFrame(
        {
            "modules": ["pixels", "large", "small", "small + pixels"],
            "n_modules": [1, 1, 1, 2],
            "value": [0.70, 0.82, 0.80, 0.86],
            "value_low": [0.65, 0.78, 0.75, 0.82],
            "value_high": [0.75, 0.86, 0.85, 0.90],
            "cost": [0.0, 9e6, 1e4, 1e4],
            "on_front": [True, False, False, True],
            "chosen": [False, False, False, True],
        }
    )


def front(display):
    lines = display.ax_.get_lines()
    (line,) = [
        line for line in lines if line.get_marker() == "o" and to_hex(line.get_color()) == BEST
    ]
    return list(zip(line.get_xdata(), line.get_ydata(), strict=True))


def test_frame_gives_the_drawn_numbers_back_the_cheapest_first(results):
    before = results.copy()
    frame = ParetoDisplay(results=results, cost="cost (parameters)").plot().frame()
    assert frame["modules"].tolist() == ["pixels", "small", "small + pixels", "large"]
    assert frame["value"].max() == 0.86
    assert results.equals(before)


def test_the_front_is_drawn_in_percent_and_named(results):
    display = ParetoDisplay(results=results, cost="cost (parameters)", title="digits").plot()
    assert front(display) == [(0.0, pytest.approx(70.0)), (1e4, pytest.approx(86.0))]
    names = {text.get_text() for text in display.ax_.texts}
    assert names == {"pixels", "small + pixels"}
    assert display.ax_.get_xlabel() == "cost (parameters)"
    assert "%" in display.ax_.get_ylabel()
    assert display.ax_.get_title(loc="left") == "digits"


@pytest.mark.parametrize(
    ("costs", "scale"),
    [([0.0, 9e6, 1e4, 1e4], "symlog"), ([10, 9e6, 1e4, 1e4], "log"), ([1, 2, 3, 4], "linear")],
    ids=str,
)
def test_the_axis_suits_the_costs(results, costs, scale):
    display = ParetoDisplay(results=results.assign(cost=costs), cost="cost (ms per example)").plot()
    assert display.ax_.get_xscale() == scale


def test_draws_on_given_axes_and_saves(results, tmp_path):
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    display = ParetoDisplay(results=results, cost="cost (parameters)").plot(ax)
    assert display.ax_ is ax
    assert [path.suffix for path in display.save(tmp_path / "front")] == [".png", ".svg"]


def test_nothing_to_draw_is_said(results):
    with pytest.raises(ModtoolsError, match="at least one combination"):
        ParetoDisplay(results=results[:0], cost="cost (parameters)")
