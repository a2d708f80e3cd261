import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from modtools.exceptions import ModtoolsError
from modtools.plotting import TrainingDisplay


@pytest.fixture
def runs():
    """Two methods, one with two seeds, and a third of which only the end is known."""
    rows = [
        ("slow", 0, 10.0, 0.50),
        ("slow", 0, 20.0, 0.90),
        ("good", 0, 5.0, 0.60),
        ("good", 0, 10.0, 0.94),
        ("good", 1, 6.0, 0.70),
        ("good", 1, 12.0, 0.96),
        ("once", 0, 8.0, np.nan),
        ("once", 0, 9.0, 0.80),
    ]
    return pd.DataFrame(rows, columns=["method", "seed", "seconds", "accuracy"])


@pytest.fixture
def memory():
    return {"good": 2_500_000, "slow": 40_000_000}


def lines_of(ax):
    return [line for line in ax.get_lines() if len(line.get_xdata()) > 1]


def test_frame_gives_the_numbers_back_best_method_first(runs, memory):
    table = TrainingDisplay(runs=runs, memory=memory).frame()
    assert table["method"].drop_duplicates().tolist() == ["good", "slow", "once"]
    assert table["accuracy"].tolist() == [0.60, 0.94, 0.70, 0.96, 0.50, 0.90, 0.80]
    assert table["seed"].tolist() == [0, 0, 1, 1, 0, 0, 0]
    peaks = table.groupby("method")["peak_activation_bytes"].first()
    assert peaks["good"] == 2_500_000
    assert np.isnan(peaks["once"])


def test_without_seeds_or_memory(runs):
    table = TrainingDisplay(runs=runs[runs["method"] == "slow"].drop(columns="seed")).frame()
    assert table["seed"].tolist() == [0, 0]
    assert table["peak_activation_bytes"].isna().all()


def test_one_line_a_run_in_percent_against_seconds_in_the_colour_of_its_method(runs):
    ax = TrainingDisplay(runs=runs).plot().ax_
    drawn = lines_of(ax)
    assert [line.get_xdata().tolist() for line in drawn] == [[5, 10], [6, 12], [10, 20]]
    assert drawn[2].get_ydata().tolist() == pytest.approx([50, 90])
    colors = [line.get_color() for line in drawn]
    assert colors[0] == colors[1] != colors[2]
    assert drawn[0].get_linestyle() != drawn[2].get_linestyle()
    assert ax.get_xlabel() == "seconds of training"
    assert ax.get_ylabel() == "accuracy on held-out examples (%)"
    assert ax.get_xlim()[0] == 0


def test_each_method_is_named_at_its_end_with_its_mean_last_accuracy(runs):
    ax = TrainingDisplay(runs=runs).plot().ax_
    assert [text.get_text() for text in ax.texts] == [
        "good  95.0 %",
        "slow  90.0 %",
        "once  80.0 %",
    ]
    assert ax.texts[0].xy == (11.0, pytest.approx(95.0))
    assert ax.get_legend() is None


def test_accuracies_on_test_rows_are_rings_apart_from_the_lines(runs):
    ends = runs.groupby(["method", "seed"], as_index=False).last().assign(on_test_rows=True)
    ends["accuracy"] -= 0.2
    both = pd.concat([runs.assign(on_test_rows=False), ends], ignore_index=True)
    display = TrainingDisplay(runs=both).plot()
    lines = [line.get_ydata()[-1] for line in lines_of(display.ax_)]
    assert lines == pytest.approx([94, 96, 90])
    rings = [line for line in display.ax_.get_lines() if line.get_marker() == "o"]
    assert [ring.get_ydata()[0] for ring in rings] == pytest.approx([74, 76, 70, 60])
    assert {ring.get_markerfacecolor() for ring in rings} == {"white"}
    assert display.ax_.texts[0].get_text() == "good  75.0 %"
    assert display.frame()["on_test_rows"].sum() == 4


def test_names_of_equal_accuracy_do_not_lie_on_each_other(runs):
    equal = runs.assign(accuracy=np.where(runs["seconds"] >= 9, 0.9, 0.5))
    heights = [text.get_position()[1] for text in TrainingDisplay(runs=equal).plot().ax_.texts]
    assert (np.diff(heights) < 0).all()


def test_memory_is_a_second_panel_in_megabytes(runs, memory):
    left, right = TrainingDisplay(runs=runs, memory=memory).plot().ax_
    assert [bar.get_width() for bar in right.patches] == [2.5, 40.0, 0.0]
    assert [text.get_text() for text in right.texts] == [
        "good", "2.5", "slow", "40", "once", "not known",
    ]  # fmt: skip
    assert right.patches[0].get_facecolor()[:3] == tuple(lines_of(left)[0].get_color())
    assert "(MB)" in right.get_xlabel()


def test_memory_may_be_a_series(runs, memory):
    display = TrainingDisplay(runs=runs, memory=pd.Series(memory))
    assert display.memory == memory


def test_axes_can_be_given(runs, memory):
    display = TrainingDisplay(runs=runs, memory=memory, title="digits")
    axes = Figure().subplots(1, 2)
    assert display.plot(axes).ax_ == tuple(axes)
    one = Figure().subplots()
    assert display.plot(one).ax_ is one
    assert display.figure_ is one.figure
    assert one.get_title(loc="left") == "digits"
    assert not plt.get_fignums()
    with pytest.raises(ModtoolsError, match=r"ax must be one or two axes; got 3\."):
        display.plot(Figure().subplots(1, 3))


def test_it_is_saved_as_png_and_svg(runs, memory, tmp_path):
    written = TrainingDisplay(runs=runs, memory=memory).plot().save(tmp_path / "training.png")
    assert [path.suffix for path in written] == [".png", ".svg"]


def test_drawing_changes_neither_the_data_nor_the_style(runs, memory):
    before, style = runs.copy(), dict(mpl.rcParams)
    display = TrainingDisplay(runs=runs, memory=memory)
    first = display.frame()
    display.plot()
    pd.testing.assert_frame_equal(runs, before)
    pd.testing.assert_frame_equal(display.frame(), first)
    assert dict(mpl.rcParams) == style


def test_a_run_without_accuracies_says_how_to_get_them(runs):
    with pytest.raises(
        ModtoolsError, match="cannot be drawn; train with validation= to measure one"
    ):
        TrainingDisplay(runs=runs.assign(accuracy=np.nan))
