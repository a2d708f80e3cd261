"""What a reader of a picture could take for something else, and frames that users make."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from modtools.exceptions import ModtoolsError
from modtools.plotting import (
    AgreementDisplay,
    LabelEfficiencyDisplay,
    ParetoDisplay,
    RaceDisplay,
    RankingDisplay,
    TaskSpaceDisplay,
    TrainingDisplay,
)

CURVE = pd.DataFrame({"line": "a", "n_labels": [10, 100], "value": [0.5, 0.8]})


def an_agreement(**options):
    points = pd.DataFrame({"task": "digits", "module": ["a", "b"], "predicted": [0.9, 0.6]})
    points["achieved"] = [0.7, 0.65]
    tau = pd.DataFrame(
        [{"score": "knn", "task": "digits", "weighted_tau": 0.9, "is_baseline": False}]
    )
    return AgreementDisplay(points=points, agreement=tau, score="knn", accuracy=True, **options)


def box(artist, display):
    display.figure_.canvas.draw()
    return artist.get_window_extent()


def notes(display):
    return " ".join(text.get_text() for text in display.ax_.texts)


def test_the_legend_of_tasks_has_a_title_and_lies_outside_the_data():
    display = an_agreement().plot()
    legend = display.ax_[0].get_legend()
    assert legend.get_title().get_text() == "task"
    assert box(legend, display).y1 < display.ax_[0].get_window_extent().y0


def test_the_level_of_the_intervals_of_an_agreement_is_said():
    assert "interval" not in an_agreement().plot().ax_[1].get_title(loc="left")
    intervals = pd.DataFrame([{"score": "knn", "weighted_tau_low": 0.5, "weighted_tau_high": 1.0}])
    assert "line: 95 % interval" in an_agreement(intervals=intervals).plot().ax_[1].get_title(
        loc="left"
    )


@pytest.mark.parametrize("chance", [0.45, 0.6, 0.79])
def test_largest_class_alone_is_not_struck_through_by_its_line(chance):
    display = LabelEfficiencyDisplay(CURVE, chance=chance).plot()
    text = next(text for text in display.ax_.texts if "largest" in text.get_text())
    (_, line), _ = display.ax_.transData.transform([(10, 100 * chance), (10, 0)])
    assert box(text, display).y0 > line
    modules = pd.DataFrame({"module": ["a", "b"], "value": [0.8, 0.4]})
    display = RankingDisplay(results=modules, score="knn", accuracy=True, chance=chance).plot()
    around = box(display.ax_.texts[0], display)
    line, _ = display.ax_.transData.transform((100 * chance, 0))
    assert not around.x0 <= line <= around.x1
    assert display.ax_.get_window_extent().x0 <= around.x0


def test_a_target_is_named_and_none_is_drawn_unasked():
    assert "target: 70 %" in notes(LabelEfficiencyDisplay(CURVE, target=0.7).plot())
    assert "target" not in notes(LabelEfficiencyDisplay(CURVE).plot())


@pytest.mark.parametrize(("first", "is_said"), [(100, True), (200, False)])
def test_a_forecast_that_starts_beside_the_curve_says_why(first, is_said):
    later = pd.DataFrame({"line": "a", "n_labels": [first, 900], "value": [0.77, 0.9]})
    said = notes(LabelEfficiencyDisplay(CURVE, forecast=later).plot())
    assert ("starting at the accuracy estimated from the labels alone" in said) == is_said


def test_a_forecast_of_a_line_of_its_own_says_why_there_are_two_numbers():
    later = pd.DataFrame({"line": "b", "n_labels": [200, 900], "value": [0.77, 0.9]})
    said = notes(LabelEfficiencyDisplay(CURVE, forecast=later).plot())
    assert "starting at the accuracy estimated from the labels alone" in said


@pytest.mark.parametrize("ceiling", [0.69, 0.705, 0.9])
def test_labels_of_levels_that_are_close_do_not_overlap(ceiling):
    display = LabelEfficiencyDisplay(CURVE, target=0.7, ceiling=ceiling).plot()
    display.figure_.canvas.draw()
    texts = [t for t in display.ax_.texts if t.get_text().startswith(("target", "with all"))]
    first, second = (Text.get_window_extent(text) for text in texts)
    assert not first.overlaps(second)
    assert "with all labels" in notes(display)


def outside(display):
    """Return the texts that reach beyond the figure."""
    display.figure_.canvas.draw()
    width, height = display.figure_.canvas.get_width_height()
    texts = [t for t in display.figure_.findobj(Text) if t.get_text() and t.get_visible()]
    # Numbers beyond the limits of an axis are not drawn.
    words = [text for text in texts if text.get_text().upper() != text.get_text().lower()]
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in words]
    return [
        name
        for name, at in boxes
        if at.x0 < -1 or at.y0 < -1 or at.x1 > width + 1 or at.y1 > height + 1
    ]


def named_at_length():
    names = ["a network with a rather long name@_blocks.10.conv", "another one of these@features"]
    ranked = pd.DataFrame({"module": names, "value": [0.9, 0.6], "standard_error": 0.1})
    yield RankingDisplay(results=ranked, score="upper_triangle_alignment", accuracy=True)
    raced = ranked.assign(status=["in", "dropped"], examples=[90, 30], value=[0.9, 0.5])
    yield RaceDisplay(results=raced, n_labels=100)
    yield LabelEfficiencyDisplay(CURVE.assign(line=names[0]), target=0.7)
    matrix = pd.DataFrame([[0.9, 0.6], [0.5, 0.8]], index=names, columns=names)
    tree = np.array([[1, 0, 0.7, 2]])
    yield TaskSpaceDisplay(matrix=matrix, linkage=tree, score="lda", achieved=matrix)
    yield pareto(names * 3)
    runs = pd.DataFrame({"method": names, "seconds": [1.0, 2.0], "accuracy": [0.5, 0.9]})
    yield TrainingDisplay(runs=runs, memory=dict.fromkeys(names, 10**6))


def pareto(names):
    joined = [names[0], " + ".join(names)]
    table = pd.DataFrame({"modules": joined, "n_modules": [1, len(names)], "value": [0.8, 0.9]})
    table = table.assign(value_low=0.7, value_high=0.95, cost=[0.0, 3e6])
    return ParetoDisplay(results=table.assign(on_front=True, chosen=[False, True]), cost="cost")


@pytest.mark.parametrize("display", [*named_at_length()], ids=lambda shown: type(shown).__name__)
def test_long_names_are_not_clipped_and_leave_room_for_the_panel(display):
    display.plot()
    assert outside(display) == []
    panels = display.ax_ if isinstance(display.ax_, tuple) else [display.ax_]
    for panel in panels:
        at = panel.get_window_extent()
        assert min(at.width, at.height) > 25


def test_of_many_modules_the_first_are_named():
    display = pareto(["a", "b", "c", "d", "e"]).plot()
    assert {text.get_text() for text in display.ax_.texts} == {"a", "a + b and 3 more"}


def test_powers_of_ten_below_the_cheapest_network_are_no_ticks_beside_a_free_module():
    table = pareto(["a", "b"]).results
    table = pd.concat([table.assign(cost=[0.0, 5e3]), table[1:].assign(cost=3e6, modules="c")])
    ax = ParetoDisplay(results=table, cost="cost").plot().ax_
    assert ax.get_xticks().tolist() == [0.0, 1e4, 1e5, 1e6]


def test_a_label_of_an_agreement_lies_within_the_panel_and_hides_no_point():
    points = pd.DataFrame(
        {"task": "digits", "module": [f"a module with a name {n}" for n in "abc"]}
    )
    points = points.assign(predicted=[0.5, 0.8, 0.95], achieved=[0.7, 0.75, 0.8])
    tau = pd.DataFrame(
        [{"score": "knn", "task": "digits", "weighted_tau": 0.9, "is_baseline": False}]
    )
    display = AgreementDisplay(points=points, agreement=tau, score="knn", accuracy=True).plot()
    display.figure_.canvas.draw()
    ax = display.ax_[0]
    labels = [Text.get_window_extent(text) for text in ax.texts]
    assert len(labels) == 3
    places = ax.transData.transform(100 * points[["predicted", "achieved"]].to_numpy())
    panel = ax.get_window_extent()
    for label in labels:
        assert panel.x0 - 1 <= label.x0 <= label.x1 <= panel.x1 + 1
        assert not any(label.contains(*place) for place in places)


def test_the_axis_of_a_prediction_may_have_a_label_of_its_own():
    assert an_agreement().plot().ax_[0].get_xlabel() == "predicted by knn (%)"
    assert an_agreement(label="predicted").plot().ax_[0].get_xlabel() == "predicted (%)"


@pytest.mark.parametrize(("n_labels", "level"), [(50.0, "95 %"), (500.0, "80 %")])
def test_the_level_of_the_interval_of_labels_is_said(n_labels, level):
    row = {"n_labels": n_labels, "n_labels_low": 40.0, "n_labels_high": 600.0}
    reached = pd.DataFrame([{"line": "a", **row}])
    display = LabelEfficiencyDisplay(CURVE, target=0.7, reached=reached).plot()
    assert f"bar: {level} interval of the number of labels" in notes(display)


def test_a_chosen_pair_that_one_module_beats_for_less_says_so():
    table = pd.DataFrame({"modules": ["a", "a + b"], "n_modules": [1, 2], "value": [0.9, 0.8]})
    table = table.assign(value_low=0.7, value_high=0.95, cost=[1.0, 2.0])
    table = table.assign(on_front=[True, False], chosen=[False, True])
    display = ParetoDisplay(results=table, cost="cost").plot()
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert "chosen, but a is better for less" in legend
    assert {text.get_text() for text in display.ax_.texts} == {"a", "a + b"}


def test_a_pdf_is_written_alone_and_without_a_date(tmp_path):
    display = LabelEfficiencyDisplay(CURVE).plot()
    assert display.save(tmp_path / "a.pdf") == [tmp_path / "a.pdf"]
    content = (tmp_path / "a.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"CreationDate" not in content
    assert [path.name for path in tmp_path.iterdir()] == ["a.pdf"]


def test_a_missing_column_is_named():
    with pytest.raises(ModtoolsError, match=r"results must have the columns .*; got no examples"):
        RaceDisplay(results=pd.DataFrame({"module": ["a"], "status": ["in"]}), n_labels=3)
    with pytest.raises(ModtoolsError, match=r"results must be a pandas\.DataFrame .*; got list"):
        RankingDisplay(results=[1], score="knn")


def test_more_axes_than_panels_are_refused():
    with pytest.raises(ModtoolsError, match="ax must be one axes; got 2"):
        LabelEfficiencyDisplay(CURVE).plot(Figure().subplots(1, 2))


@pytest.mark.parametrize("ends", [[90, 90, 90], [90, 89, 30], [11, 11, 10], [90, 12, 11, 10, 10]])
def test_labels_of_lines_move_apart_and_no_further(ends):
    parts = [
        CURVE.assign(line=f"line {place}", value=[0.05, end / 100])
        for place, end in enumerate(ends)
    ]
    display = LabelEfficiencyDisplay(pd.concat(parts)).plot()
    texts = [text for text in display.ax_.texts if text.get_text().startswith("line ")]
    display.figure_.canvas.draw()
    boxes = sorted((Text.get_window_extent(text) for text in texts), key=lambda found: -found.y0)
    assert len(boxes) == len(ends)
    assert all(above.y0 >= below.y1 for above, below in itertools.pairwise(boxes))
    panel = display.ax_.get_window_extent()
    assert boxes[-1].y0 > panel.y0 - boxes[-1].height
    if max(ends) > 50:  # the highest has room at its own height
        _, height = display.ax_.transData.transform((100, max(ends)))
        assert (boxes[0].y0 + boxes[0].y1) / 2 == pytest.approx(height, abs=1)
