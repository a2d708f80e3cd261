import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from modtools.exceptions import ModtoolsError
from modtools.plotting import RankingDisplay
from modtools.plotting._display import BEST, OTHERS


@pytest.fixture
def results():
    return pd.DataFrame(
        {
            "module": ["deep", "pixels", "shallow"],
            "value": [0.90, 0.86, 0.60],
            "standard_error": [0.02, 0.03, 0.04],
        }
    )


def draw(results, **options):
    options = {"score": "logistic", "accuracy": True, **options}
    return RankingDisplay(results=results, **options).plot()


def dots(display):
    """Return the filled dots as {y: (x, colour)}."""
    return {
        y: (x, to_hex(line.get_color()))
        for line in display.ax_.get_lines()
        if line.get_marker() == "o" and line.get_markerfacecolor() != "none"
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }


def rings(display):
    lines = [line for line in display.ax_.get_lines() if line.get_markerfacecolor() == "none"]
    return lines[0].get_xdata().tolist() if lines else []


def texts(display):
    return [text.get_text() for text in display.ax_.texts]


def test_frame_gives_the_drawn_numbers_back(results):
    frame = RankingDisplay(results=results, score="logistic", accuracy=True).frame()
    assert frame["module"].tolist() == ["deep", "pixels", "shallow"]
    assert frame["value_low"].tolist() == pytest.approx(
        [0.90 - 0.0392, 0.86 - 0.0588, 0.60 - 0.0784]
    )
    assert frame["value_high"].tolist() == pytest.approx(
        [0.90 + 0.0392, 0.86 + 0.0588, 0.60 + 0.0784]
    )
    assert frame["distinguishable"].tolist() == [False, False, True]
    assert frame["achieved"].isna().all()


def test_best_is_on_top_and_values_are_in_percent(results):
    display = draw(results)
    assert dots(display) == {
        0: (pytest.approx(90.0), BEST),
        1: (pytest.approx(86.0), BEST),
        2: (pytest.approx(60.0), OTHERS),
    }
    bottom, top = display.ax_.get_ylim()
    assert top < 0 < 2 < bottom
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == [
        "deep",
        "pixels",
        "shallow",
    ]


def test_overlap_is_judged_at_the_ends_of_the_intervals():
    table = pd.DataFrame({"module": ["a", "b", "c"], "value": [0.9, 0.8, 0.8]})
    touching = table.assign(standard_error=[0.1 / 1.96 / 2] * 2 + [0.1 / 1.96 / 2 - 1e-6])
    frame = RankingDisplay(results=touching, score="ridge", accuracy=True).frame()
    assert frame["value_high"][2] < frame["value_low"][0]
    assert frame["distinguishable"][2]


def test_intervals_of_accuracies_stay_between_zero_and_one():
    table = pd.DataFrame({"module": ["a", "b"], "value": [0.99, 0.01], "standard_error": [0.1] * 2})
    frame = RankingDisplay(results=table, score="ridge", accuracy=True).frame()
    assert frame["value_high"][0] == 1.0
    assert frame["value_low"][1] == 0.0
    free = RankingDisplay(results=table, score="logme").frame()
    assert free["value_high"][0] == pytest.approx(0.99 + 0.196)


def test_without_standard_errors_only_equal_values_share_the_colour_and_no_legend_promises_more():
    table = pd.DataFrame({"module": ["a", "b", "c"], "value": [2.0, 2.0, 1.0]})
    display = RankingDisplay(results=table, score="logme").plot()
    assert display.frame()["distinguishable"].tolist() == [False, False, True]
    assert display.ax_.get_legend() is None
    assert display.ax_.get_xlabel() == "logme (higher is better)"


def test_a_missing_standard_error_is_no_interval(results):
    results.loc[1, "standard_error"] = np.nan
    frame = RankingDisplay(results=results, score="logistic", accuracy=True).frame()
    assert frame["value_low"][1] == frame["value"][1] == frame["value_high"][1]


def test_achieved_accuracies_are_open_rings_where_known(results):
    display = draw(results.assign(achieved=[0.91, np.nan, 0.58]))
    assert rings(display) == pytest.approx([91.0, 58.0])
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == [
        "predicted by logistic, 95 % interval: not distinguishable from the best",
        "lower than the best",
        "achieved on held-out examples",
    ]


def test_x_starts_where_the_data_are_and_far_chance_is_written_at_the_edge(results):
    display = draw(results, chance=0.1)
    assert display.ax_.get_xlim()[0] > 40
    assert texts(display) == ["◂ largest class alone: 10 %"]


def test_near_chance_is_a_line(results):
    display = draw(results, chance=0.62)
    assert texts(display) == ["largest class alone: 62 %"]
    assert [62.0, 62.0] in [list(line.get_xdata()) for line in display.ax_.get_lines()]


def test_chance_is_marked_for_accuracies_only(results):
    assert not texts(draw(results, chance=0.1, accuracy=False))


def test_axes_given_are_drawn_on_and_no_figure_is_opened(results):
    ax = Figure().subplots()
    display = RankingDisplay(results=results, score="logistic", accuracy=True)
    assert display.plot(ax=ax) is display
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert not plt.get_fignums()


def test_drawing_changes_neither_the_data_nor_the_style(results):
    before, style = results.copy(deep=True), dict(mpl.rcParams)
    display = draw(results)
    first = display.frame()
    display.plot()
    pd.testing.assert_frame_equal(results, before)
    pd.testing.assert_frame_equal(display.frame(), first)
    assert dict(mpl.rcParams) == style


def test_the_display_keeps_its_own_numbers(results):
    display = RankingDisplay(results=results, score="logistic")
    results.loc[0, "value"] = 0.0
    assert display.frame()["value"][0] == 0.90


def test_save_writes_both_formats(results, tmp_path):
    display = draw(results)
    assert display.save(tmp_path / "new" / "ranking.png") == [
        tmp_path / "new" / "ranking.png",
        tmp_path / "new" / "ranking.svg",
    ]
    assert (tmp_path / "new" / "ranking.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (tmp_path / "new" / "ranking.svg").read_text()


def test_save_leaves_no_half_file_when_the_disk_fails(results, tmp_path, monkeypatch):
    display = draw(results)

    def fail(*_args, **_kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr("matplotlib.backends.backend_svg.FigureCanvasSVG.print_svg", fail)
    with pytest.raises(OSError, match="No space left"):
        display.save(tmp_path / "ranking")
    assert [path.name for path in tmp_path.iterdir()] == []


def test_saving_before_drawing_says_what_to_do(results, tmp_path):
    with pytest.raises(ModtoolsError) as caught:
        RankingDisplay(results=results, score="ridge").save(tmp_path / "a.png")
    assert str(caught.value) == "nothing is drawn yet: call plot() before save()."


def test_other_suffixes_are_refused(results, tmp_path):
    with pytest.raises(ModtoolsError) as caught:
        draw(results).save(tmp_path / "a.gif")
    assert (
        str(caught.value)
        == "a picture is saved as .png and .svg, or as .pdf; got the name 'a.gif'."
    )


def test_an_empty_ranking_cannot_be_drawn():
    with pytest.raises(ModtoolsError, match="without modules cannot be drawn"):
        RankingDisplay(results=pd.DataFrame({"module": [], "value": []}), score="ridge")
