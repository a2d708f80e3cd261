"""What a ranking shows: text, HTML, JSON and picture."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from modtools.exceptions import ModtoolsError
from modtools.selection import rank_modules
from modtools.selection._prediction import Prediction
from tests.documents import facts

pytestmark = pytest.mark.floating_point


@pytest.fixture(scope="module")
def ranking():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 50)
    features = {
        name: rng.normal(size=(100, 3)) + alpha * labels[:, None]
        for name, alpha in (("noise", 0.0), ("good", 1.0), ("<best>", 1.2))
    }
    return rank_modules(features, labels, by="ridge", scores=["logme", "knn"])


def test_text_has_units_intervals_and_ranks(ranking):
    lines = repr(ranking).splitlines()
    assert lines[0] == "3 modules on these labels by ridge (100 labels, 2 classes)"
    assert lines[1].split() == [
        "module", "ridge", "(%)", "95", "%", "interval", "features", "logme", "knn", "(%)",
    ]  # fmt: skip
    first = lines[2].split()
    assert first[:2] == ["1", "<best>"]
    table = ranking.display().frame()
    assert first[2] == f"{100 * table['value'][0]:.1f}"
    assert f"[{100 * table['value_low'][0]:.1f}, {100 * table['value_high'][0]:.1f}]" in lines[2]
    assert "parameters" not in lines[1]


@pytest.mark.parametrize(("columns", "what"), [(1, "1 target"), (2, "2 targets")])
def test_regression_targets_are_counted(columns, what):
    targets = np.random.default_rng(0).normal(size=(30, columns))
    labels = targets[:, 0] if columns == 1 else targets
    ranked = rank_modules({"a": np.column_stack([targets, targets**2])}, labels, by="ridge")
    assert repr(ranked).splitlines()[0].endswith(f"by ridge (30 labels, {what})")


def test_predictions_are_computed_once(monkeypatch):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    features = {name: rng.normal(size=(60, 3)) + labels[:, None] for name in "abc"}
    ranked = rank_modules(features, labels)
    calls = []
    compared = Prediction.differences
    monkeypatch.setattr(
        Prediction, "differences", lambda *given: calls.append(1) or compared(*given)
    )
    texts = [repr(ranked), ranked._repr_html_(), ranked.to_json(), ranked.verdict()]
    assert all(texts)
    copied = ranked.predictions()
    copied["predicted"] = 0.0
    assert ranked.predictions()["predicted"].gt(0).all()
    assert len(calls) == 1


def test_html_is_a_table_with_escaped_names(ranking):
    page = ranking._repr_html_()
    assert page.startswith("<table><caption>3 modules on these labels by ridge")
    assert "&lt;best&gt;" in page
    assert "<best>" not in page


def test_json_holds_the_frame_the_settings_and_the_versions(ranking, tmp_path):
    text = ranking.to_json(tmp_path / "ranking.json")
    assert (tmp_path / "ranking.json").read_text() == text
    content = facts(text)
    assert content["best"] == "<best>"
    assert len(content["rows"]) == 9
    assert content["rows"][0]["value"] == pytest.approx(ranking.frame()["value"][0])
    assert content["rows"][0]["n_parameters"] is None
    assert content["settings"]["by"] == "ridge"
    assert content["settings"]["n_samples"] == 100
    assert content["versions"] == ranking.versions
    assert set(ranking.versions) == {"modtools", "numpy", "python", "scikit-learn", "torch"}


def test_csv_and_parquet_come_out_of_the_frame(ranking, tmp_path):
    import pandas as pd

    ranking.frame().to_csv(tmp_path / "a.csv", index=False)
    ranking.frame().to_parquet(tmp_path / "a.parquet")
    assert pd.read_csv(tmp_path / "a.csv")["module"].tolist() == ranking.frame()["module"].tolist()
    back = pd.read_parquet(tmp_path / "a.parquet")
    assert back["value"].tolist() == ranking.frame()["value"].tolist()


def test_the_frame_is_a_copy(ranking):
    frame = ranking.frame()
    frame.loc[0, "value"] = -1.0
    assert ranking.frame()["value"][0] > 0


def test_time_and_settings_are_kept(ranking):
    assert ranking.seconds > 0
    assert ranking.settings["chance"] == 0.5
    assert ranking.settings["metric"] == "accuracy"
    assert ranking.settings["scores"] == ["ridge", "logme", "knn"]


def test_plot_marks_chance_and_takes_achieved_accuracies(ranking):
    ax = Figure().subplots()
    display = ranking.plot(ax, achieved={"good": 0.75})
    assert display.ax_ is ax
    assert display.chance == 0.5
    frame = display.frame().set_index("module")
    assert frame["achieved"]["good"] == 0.75
    assert np.isnan(frame["achieved"]["noise"])
    assert ax.get_title(loc="left") == "these labels: 100 labels, 2 classes"


def test_scores_with_another_unit_are_not_percent():
    rng = np.random.default_rng(0)
    ranking = rank_modules({"a": rng.normal(size=(20, 2))}, np.repeat([0, 1], 10), by="logme")
    header, ((_, value, _),) = ranking.table()
    assert header == ["    module", "logme", "features"]
    assert float(value) == pytest.approx(ranking.frame()["value"][0], rel=1e-3)


def test_a_long_ranking_shows_twenty_rows():
    rng = np.random.default_rng(0)
    features = {f"m{i}": rng.normal(size=(20, 2)) for i in range(25)}
    ranking = rank_modules(features, np.repeat([0, 1], 10), by="class_mean")
    assert "... and 5 more rows: frame() has all 25." in repr(ranking)
    assert "<td>21  " not in ranking._repr_html_()


@pytest.mark.parametrize("k", [0, -1, 1.5])
def test_top_needs_a_positive_whole_number(ranking, k):
    with pytest.raises(ValueError, match="k must be a whole number of at least 1"):
        ranking.top(k)


@pytest.mark.parametrize(
    ("achieved", "message"),
    [
        (3, r"achieved must be \{module: accuracy\}; got int"),
        ({"good": "x"}, "achieved of \"good\" must be an accuracy in \\[0, 1\\]; got 'x'"),
        ({"good": 80}, r'of "good" must be .* got 80\. Divide percent by 100'),
        ({"good": True}, r'achieved of "good" must be an accuracy in \[0, 1\]; got True'),
        ({"best": 0.5}, 'achieved names "best", which is no module of this ranking; they are '),
    ],
)
def test_achieved_accuracies_that_cannot_be_drawn_are_refused(ranking, achieved, message):
    with pytest.raises(ModtoolsError, match=message):
        ranking.plot(achieved=achieved)


def test_an_achieved_accuracy_may_be_unknown(ranking):
    given = pd.Series({"good": 0.75, "noise": np.nan})
    for achieved in (given, {"good": 0.75, "noise": None}):
        frame = ranking.display(achieved=achieved).frame().set_index("module")
        assert frame["achieved"].dropna().to_dict() == {"good": 0.75}
