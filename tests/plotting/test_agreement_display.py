import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.figure import Figure

from modtools.exceptions import ModtoolsError
from modtools.plotting import AgreementDisplay


@pytest.fixture
def points():
    return pd.DataFrame(
        {
            "task": ["digits"] * 4 + ["clothes"] * 4,
            "module": list("abcd") * 2,
            "predicted": [0.90, 0.80, 0.70, 0.60, 0.85, 0.75, 0.65, 0.55],
            "achieved": [0.90, 0.81, 0.78, 0.60, 0.85, 0.69, 0.65, 0.52],
        }
    )


@pytest.fixture
def agreement():
    rows = [("knn", 0.9, False), ("logme", 0.4, False), ("n_parameters", -0.3, True)]
    return pd.DataFrame(
        [
            {"score": score, "task": task, "weighted_tau": tau + shift, "is_baseline": is_baseline}
            for score, tau, is_baseline in rows
            for task, shift in (("digits", 0.05), ("clothes", -0.05))
        ]
    )


@pytest.fixture
def display(points, agreement):
    return AgreementDisplay(points=points, agreement=agreement, score="knn", accuracy=True)


def test_frame_gives_the_points_back(display, points):
    columns = ["task", "module", "predicted", "achieved"]
    pd.testing.assert_frame_equal(display.frame(), points[columns])


def test_left_panel_shows_every_point_in_percent_one_marker_a_task(display):
    left, _ = display.plot().ax_
    drawn = {line.get_label(): line for line in left.get_lines() if line.get_linestyle() == "None"}
    assert list(drawn) == ["digits", "clothes"]
    assert drawn["digits"].get_xdata().tolist() == pytest.approx([90, 80, 70, 60])
    assert drawn["clothes"].get_ydata().tolist() == pytest.approx([85, 69, 65, 52])
    assert len({line.get_marker() for line in drawn.values()}) == 2
    assert len({line.get_color() for line in drawn.values()}) == 2


def test_the_diagonal_spans_the_panel(display):
    left, _ = display.plot().ax_
    (line,) = [line for line in left.get_lines() if line.get_linestyle() == "--"]
    assert list(line.get_xdata()) == list(line.get_ydata()) == list(left.get_xlim())
    assert left.get_xlim() == left.get_ylim()


def test_the_three_points_furthest_off_are_named(display):
    left, _ = display.plot().ax_
    assert [text.get_text() for text in left.texts] == ["c", "b", "d"]


def test_a_score_with_another_unit_has_no_diagonal_and_its_outliers_are_judged_by_rank(
    points, agreement
):
    other = points.assign(predicted=[40.0, 10.0, 20.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    left, _ = AgreementDisplay(points=other, agreement=agreement, score="logme").plot().ax_
    assert not [line for line in left.get_lines() if line.get_linestyle() == "--"]
    assert [text.get_text() for text in left.texts] == ["b", "c"]
    assert left.get_xlabel() == "predicted by logme"


def test_bars_are_means_over_tasks_and_baselines_are_hatched(display):
    _, right = display.plot().ax_
    assert [bar.get_width() for bar in right.patches] == pytest.approx([0.9, 0.4, -0.3])
    assert [bool(bar.get_hatch()) for bar in right.patches] == [False, False, True]
    assert [label.get_text() for label in right.get_yticklabels()] == [
        "knn",
        "logme",
        "n_parameters",
    ]
    assert right.get_xlim()[0] < -0.35


def test_one_pair_of_axes_or_one_panel_can_be_given(display):
    figure = Figure()
    axes = figure.subplots(1, 2)
    assert display.plot(axes).ax_ == tuple(axes)
    one = Figure().subplots()
    assert display.plot(one).ax_ is one
    assert display.figure_ is one.figure
    assert not plt.get_fignums()


def test_three_axes_are_refused(display):
    with pytest.raises(ModtoolsError, match=r"ax must be one or two axes; got 3\."):
        display.plot(Figure().subplots(1, 3))


def test_drawing_changes_neither_the_data_nor_the_style(display, points, agreement):
    before, style = (points.copy(), agreement.copy()), dict(mpl.rcParams)
    first = display.frame()
    display.plot()
    pd.testing.assert_frame_equal(points, before[0])
    pd.testing.assert_frame_equal(agreement, before[1])
    pd.testing.assert_frame_equal(display.frame(), first)
    assert dict(mpl.rcParams) == style


def test_nothing_to_draw_is_said(points, agreement):
    with pytest.raises(ModtoolsError, match="cannot be drawn"):
        AgreementDisplay(points=points[:0], agreement=agreement, score="knn")
