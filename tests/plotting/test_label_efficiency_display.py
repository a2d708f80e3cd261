import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from modtools.exceptions import ModtoolsError
from modtools.plotting import LabelEfficiencyDisplay
from modtools.plotting._label_marks import count_ticks

COUNTS = [10, 30, 100, 300]


@pytest.fixture
def table():
    """Two modules and a baseline, means with intervals."""
    parts = []
    for line, last in (("lite0", 0.9), ("pixels", 0.8), ("from scratch", 0.6)):
        accuracy = last - 0.1 * np.arange(3, -1, -1)
        part = pd.DataFrame({"line": line, "n_labels": COUNTS, "value": accuracy})
        parts.append(part.assign(baseline=line == "from scratch"))
    whole = pd.concat(parts, ignore_index=True)
    limits = {"value_low": whole["value"] - 0.02, "value_high": whole["value"] + 0.02}
    return whole.assign(**limits)


@pytest.fixture
def one(table):
    return table[table["line"] == "lite0"].drop(columns="baseline")


@pytest.fixture
def forecast():
    accuracies = {"value": [0.91, 0.93], "value_low": [0.88, 0.9]}
    limits = {"value_high": [0.93, 0.95], "n_labels": [300, 1000]}
    return pd.DataFrame({"line": "lite0"} | accuracies | limits)


@pytest.fixture
def repeats(table):
    parts = [
        table.assign(repeat=repeat, value=table["value"] + 0.01 * repeat) for repeat in range(3)
    ]
    return pd.concat(parts, ignore_index=True)


def reached(**numbers):
    row = {
        "line": "lite0",
        "n_labels": 100.0,
        "n_labels_low": 60.0,
        "n_labels_high": 180.0,
    } | numbers
    return pd.DataFrame([row])


def lines_of(ax, **looks):
    """Return the lines of several points that look so."""
    found = [line for line in ax.get_lines() if len(line.get_xdata()) > 2]
    return [
        line
        for line in found
        if all(getattr(line, f"get_{name}")() == value for name, value in looks.items())
    ]


def texts_of(ax):
    return [text.get_text() for text in ax.texts if text.get_text()]


def test_frame_gives_the_numbers_back_with_what_is_extrapolated(table, forecast):
    frame = LabelEfficiencyDisplay(table, forecast=forecast).frame()
    assert frame.columns.tolist() == [
        "line", "n_labels", "value", "value_low", "value_high", "baseline", "extrapolated",
    ]  # fmt: skip
    assert frame["extrapolated"].tolist() == [False] * 12 + [True] * 2
    assert frame["value"].tolist() == [*table["value"], 0.91, 0.93]
    assert frame["baseline"].tolist() == [False] * 8 + [True] * 4 + [False] * 2


def test_counts_rise_within_a_line_and_lines_keep_their_order(table):
    frame = LabelEfficiencyDisplay(table.sample(frac=1, random_state=3)).frame()
    assert all(rows["n_labels"].tolist() == COUNTS for _, rows in frame.groupby("line"))


def test_means_in_percent_with_bands_on_a_log_axis_with_ticks_at_real_counts(table):
    ax = LabelEfficiencyDisplay(table).plot().ax_
    drawn = lines_of(ax, linewidth=2.0)
    assert [line.get_xdata().tolist() for line in drawn] == [COUNTS] * 3
    assert drawn[0].get_ydata().tolist() == pytest.approx([60, 70, 80, 90])
    assert len(ax.collections) == 3
    assert ax.collections[0].get_paths()[0].get_extents().y1 == pytest.approx(92)
    assert ax.get_xscale() == "log"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["10", "30", "100", "300"]
    assert not ax.get_xticks(minor=True).size
    assert (ax.get_xlabel(), ax.get_ylabel()) == (
        "labels (log axis)",
        "accuracy on test examples (%)",
    )
    assert texts_of(ax)[-1] == "band: 95 % interval"


def test_lines_are_apart_in_grey_and_baselines_are_grey_and_behind(table):
    lite0, pixels, scratch = lines_of(LabelEfficiencyDisplay(table).plot().ax_, linewidth=2.0)
    assert len({line.get_marker() for line in (lite0, pixels, scratch)}) == 3
    assert lite0.get_color() != pixels.get_color()
    red, green, blue = mpl.colors.to_rgb(scratch.get_color())
    assert red == green == blue
    assert scratch.get_zorder() < lite0.get_zorder()


def test_each_line_is_named_at_its_end_highest_first(table):
    names = texts_of(LabelEfficiencyDisplay(table).plot().ax_)[:3]
    assert names == ["lite0  90.0 %", "pixels  80.0 %", "from scratch  60.0 %"]


@pytest.mark.parametrize(("n_repeats", "drawn"), [(3, 9), (11, 0)])
def test_draws_are_thin_lines_while_they_are_few(table, repeats, n_repeats, drawn):
    many = pd.concat(
        [repeats[repeats["repeat"] == 0].assign(repeat=repeat) for repeat in range(n_repeats)]
    )
    ax = LabelEfficiencyDisplay(table, repeats=many).plot().ax_
    assert len(lines_of(ax, linewidth=0.7)) == drawn
    assert any("thin: single random subsets" in text for text in texts_of(ax)) == bool(drawn)


def test_what_is_extrapolated_is_dashed_and_joined_to_what_was_measured(one, forecast):
    later = forecast.assign(n_labels=[500, 1000])
    ax = LabelEfficiencyDisplay(one, forecast=later).plot().ax_
    (dashed,) = lines_of(ax, linewidth=1.8)
    assert dashed.is_dashed()
    assert dashed.get_xdata().tolist() == [300, 500, 1000]
    assert dashed.get_ydata().tolist() == pytest.approx([90, 91, 93])
    assert "dashed: extrapolated, 80 % interval" in texts_of(ax)[-1]
    assert ax.texts[0].xy == (1000.0, pytest.approx(93.0))
    assert ax.texts[0].get_text() == "lite0  about 93 %"


def test_an_empty_forecast_is_none(one, forecast):
    assert not LabelEfficiencyDisplay(one, forecast=forecast[:0]).frame()["extrapolated"].any()


def test_a_line_alone_has_its_marker_named_with_its_interval(one):
    ax = LabelEfficiencyDisplay(one, target=0.8, reached=reached()).plot().ax_
    assert "80 % at 100 labels [60, 180]" in texts_of(ax)
    (ring,) = (line for line in ax.get_lines() if line.get_markerfacecolor() == "white")
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (100, pytest.approx(80))
    bar = ax.collections[-1].get_segments()[0]
    assert bar[:, 0].tolist() == [60, 180]


def test_several_lines_say_what_they_reach_at_their_ends(table):
    rows = [reached(), reached(line="pixels", n_labels=300), reached(line="from scratch")]
    rows[2]["n_labels"] = np.nan
    ax = LabelEfficiencyDisplay(table, target=0.8, reached=pd.concat(rows)).plot().ax_
    assert texts_of(ax)[:4] == [
        "target: 80 %",
        "lite0  80 % at 100 labels",
        "pixels  80 % at 300 labels",
        "from scratch  80 % not reached",
    ]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (
            {"n_labels": np.inf, "n_labels_low": np.inf, "n_labels_high": np.inf},
            "lite0  80 % not reached",
        ),
        ({"n_labels": 300, "status": "more_than"}, "lite0  80 % not reached"),
        ({"n_labels": 10, "status": "below_first"}, "lite0  80 % from the first count on"),
        ({"n_labels_high": np.inf}, "80 % at 100 labels [60, ∞]"),
        ({"n_labels_low": np.nan}, "80 % at 100 labels"),
    ],
)
def test_censoring_and_open_intervals_are_said(one, row, text):
    ax = LabelEfficiencyDisplay(one, target=0.8, reached=reached(**row)).plot().ax_
    assert text in texts_of(ax)


def test_a_target_without_marks_is_a_line(one):
    ax = LabelEfficiencyDisplay(one, target=0.95).plot().ax_
    assert [line.get_ydata()[0] for line in ax.get_lines()] == pytest.approx([60, 95])
    assert ax.get_ylim()[1] > 95


def test_levels_with_all_labels_are_dotted_and_in_view(table):
    ax = LabelEfficiencyDisplay(table, ceiling=0.97).plot().ax_
    assert "with all labels: 97.0 %" in texts_of(ax)
    assert ax.get_ylim()[1] > 97
    each = LabelEfficiencyDisplay(table, ceiling={"lite0": 0.97, "pixels": 0.85}).plot().ax_
    levels = [line for line in each.get_lines() if line.get_linestyle() == ":"]
    assert [line.get_ydata()[0] for line in levels] == pytest.approx([97, 85])
    assert levels[0].get_color() == lines_of(each, linewidth=2.0)[0].get_color()
    assert "dotted: with all labels" in texts_of(each)[-1]


@pytest.mark.parametrize(("chance", "mark"), [(0.3, ""), (0.1, "▾ ")])
def test_chance_is_marked_where_it_lies(table, chance, mark):
    ax = LabelEfficiencyDisplay(table, chance=chance).plot().ax_
    assert f"{mark}largest class alone: {100 * chance:.0f} %" in texts_of(ax)
    assert ax.get_ylim()[0] > 10


@pytest.mark.parametrize(
    ("counts", "ticks"),
    [
        (range(1, 2001), [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000]),
        (range(10, 61), [10, 20, 50, 60]),
        ([3, 4, 6, 9, 13, 19, 28, 41, 60], [3, 6, 9, 19, 60]),
        ([7], [7]),
    ],
)
def test_ticks_are_real_counts_near_round_numbers(counts, ticks):
    found = count_ticks(np.array(counts)).tolist()
    assert found == ticks
    assert set(found) <= set(counts)


def test_ticks_are_round_where_nothing_was_measured():
    counts = np.array([13, 40, 160])
    assert count_ticks(counts, furthest=1941).tolist() == [13, 40, 160, 500, 1000]
    assert count_ticks(np.arange(10, 201), furthest=1100).tolist()[-4:] == [100, 200, 500, 1000]
    assert count_ticks(counts, furthest=170).tolist() == [13, 40, 160]


def test_axes_can_be_given(table):
    ax = Figure().subplots()
    display = LabelEfficiencyDisplay(table, title="digits").plot(ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert ax.get_title(loc="left") == "digits"
    assert not plt.get_fignums()


def test_drawing_changes_neither_the_data_nor_the_style(table, repeats, forecast, tmp_path):
    before, style = [part.copy() for part in (table, repeats, forecast)], dict(mpl.rcParams)
    display = LabelEfficiencyDisplay(table, repeats=repeats, forecast=forecast, target=0.8)
    first = display.frame()
    written = display.plot().save(tmp_path / "labels")
    assert [path.suffix for path in written] == [".png", ".svg"]
    for part, kept in zip((table, repeats, forecast), before, strict=True):
        pd.testing.assert_frame_equal(part, kept)
    pd.testing.assert_frame_equal(display.frame(), first)
    assert dict(mpl.rcParams) == style


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table[:0], "a label efficiency without label counts cannot be drawn"),
        (lambda table: table.drop(columns="line"), "table must have the columns line, n_labels"),
        (lambda table: table.assign(n_labels=0), "n_labels of table must be above 0"),
        (lambda table: table.assign(value=90.0), r"value of table must lie in \[0, 1\]"),
        (lambda table: table.assign(value=np.nan), r"value of table must lie in \[0, 1\]"),
    ],
)
def test_bad_tables_are_one_clear_error(table, change, message):
    with pytest.raises(ModtoolsError, match=message):
        LabelEfficiencyDisplay(change(table))


@pytest.mark.parametrize("name", ["repeats", "reached", "ceiling"])
def test_nothing_is_said_about_a_line_that_is_not_drawn(table, repeats, name):
    said = {"repeats": repeats, "reached": reached(), "ceiling": {"lite0": 0.9}}[name]
    others = table[table["line"] != "lite0"]
    with pytest.raises(ModtoolsError, match=f"{name} must be about the lines of .*; got 'lite0'"):
        LabelEfficiencyDisplay(others, **{name: said})
