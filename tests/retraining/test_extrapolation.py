"""Forecasts: exact where they count, in range, and never a number where they are refused."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from modtools.exceptions import ModtoolsError
from modtools.outputs import RidgeOutput
from modtools.outputs._ridge import one_hot
from modtools.outputs._standardize import StandardizedRows
from modtools.retraining import Forecast, _extrapolation as extrapolation, extrapolate
from modtools.retraining._error_law import Calibration, ErrorLaw
from tests.documents import facts

pytestmark = pytest.mark.floating_point


def make_rows(n_samples=120, n_features=8, n_classes=3, apart=1.0, seed=0):
    rng = np.random.default_rng(seed)
    centres = apart * rng.normal(size=(n_classes, n_features))
    labels = rng.integers(0, n_classes, n_samples)
    return 3 + rng.normal(size=(n_samples, n_features)) + centres[labels], labels


def clusters():
    """Return what a few labels suffice for: three points, and one label in ten that is wrong."""
    rng = np.random.default_rng(0)
    places = rng.integers(0, 3, 200)
    labels = np.where(rng.random(200) < 0.1, rng.integers(0, 3, 200), places)
    return 5 * np.eye(3)[places] + 0.01 * rng.normal(size=(200, 3)), labels


@pytest.fixture(scope="module")
def digits_rows():
    features, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    return features[order], labels[order]


@pytest.fixture(scope="module")
def forecast(digits_rows):
    features, labels = digits_rows
    return extrapolate(features[:200], labels[:200])


def law(n_labels=100, error=0.2, pace=8.0):
    return ErrorLaw(n_labels, error, Calibration(pace, level_variance=1.5, drift=0.03))


@pytest.mark.parametrize("shape", [(40, 6), (40, 60)])
def test_held_out_errors_are_those_of_refitting(shape):
    features, labels = make_rows(*shape)
    rows = StandardizedRows.of(features)
    dense, order = rows.dense(), np.random.default_rng(1).permutation(len(labels))
    counts = np.array([8, 10, 25, 39])
    found = extrapolation._errors_ahead(dense @ dense.T, one_hot(labels, 3), 2.0, order, counts)
    expected = []
    for count in counts:
        known, rest = order[:count], order[count:]
        output = RidgeOutput(alpha=2.0, standardize=False).fit(dense[known], labels[known])
        expected.append(1 - output.score(dense[rest], labels[rest]))
    assert found == pytest.approx(expected)


def test_the_level_is_the_leave_one_out_error():
    features, labels = make_rows()
    n_wrong = np.sum(RidgeOutput().leave_one_out(features, labels) != labels)
    measured = extrapolation.measure(features, labels, seed=0)
    assert measured.error == pytest.approx((n_wrong + 0.5) / 121)
    law = extrapolate(features, labels).law
    assert (law.error, law.n_labels) == (measured.error, 120)


def test_errors_that_follow_a_power_law_give_its_slope():
    counts = np.array([50, 80, 120, 170])
    assert extrapolation._slope(counts, 0.8 * counts**-0.4) == pytest.approx(0.4)
    assert extrapolation._slope(counts, np.zeros(4)) == pytest.approx(0.0)


def test_the_law_by_its_formula():
    errors = 1 - law().accuracies([100, 400, 1600])[0]
    assert errors == pytest.approx(0.2 * np.exp([0, -0.4, -0.6]))
    step = 1e-6
    before, after = np.log(1 - law().accuracies([400, 400 * (1 + step)])[0])
    assert law().slope(400) == pytest.approx((before - after) / step, rel=1e-4)


def test_the_interval_holds_80_percent_of_what_the_calibration_describes():
    rng, found = np.random.default_rng(0), []
    achieved = 1 - law(error=0.1, n_labels=200).accuracies([1000])[0, 0]
    for _ in range(4000):
        level = np.log(0.1) + np.sqrt(1.5 * 0.9 / (200 * 0.1)) * rng.normal()
        off = 0.03 * np.log(5) * 3 * rng.normal()  # sqrt(0.9 / 0.1) is 3
        _, low, high = law(error=min(np.exp(level), 0.9), n_labels=200).accuracies([1000])[:, 0]
        found.append(low < 1 - achieved * np.exp(off) < high)
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)


def test_a_forecast_from_200_digits_holds_at_1000(digits_rows, forecast):
    features, labels = digits_rows
    output = RidgeOutput().fit(features[:1000], labels[:1000])
    achieved = output.score(features[1000:], labels[1000:])
    value, low, high = forecast.accuracy(1000)
    assert low < achieved < high
    assert abs(value - achieved) < 0.04
    assert high - low < 0.12


def test_accuracy_rises_from_the_level_and_gets_less_certain(forecast):
    counts = [200, 300, 1000, 4000]
    accuracies = [forecast.accuracy(count) for count in counts]
    assert accuracies[0].value == pytest.approx(1 - forecast.law.error)
    assert (np.diff([found.value for found in accuracies]) > 0).all()
    assert all(0 < found.low < found.value < found.high < 1 for found in accuracies)
    assert forecast.gain(100) == pytest.approx(accuracies[1].value - accuracies[0].value)


def test_a_smaller_sample_is_less_certain():
    widths = [np.ptp(law(n_labels=n).accuracies([2 * n])[1:]) for n in (30, 100, 300, 1000)]
    assert (np.diff(widths) < 0).all()


def test_labels_to_reach_undo_accuracy():
    forecast = Forecast(n_labels=100, law=law())
    for wanted, expected in ((0.85, 244), (0.86, 326), (0.88, 765)):
        n_labels, low, high, status = forecast.labels_to_reach(wanted)
        assert (n_labels, status) == (expected, "reached")
        assert low <= n_labels <= high
        assert forecast.accuracy(int(n_labels)).value == pytest.approx(wanted, abs=1e-3)
        if low > 100:
            assert forecast.accuracy(int(low)).high == pytest.approx(wanted, abs=2e-3)


def test_what_is_reached_already_needs_no_more_and_what_is_too_far_is_more_than_the_last_count():
    forecast = Forecast(n_labels=100, law=law())
    assert forecast.labels_to_reach(0.75)[:2] == (100, 100)
    assert forecast.labels_to_reach(0.999) == (2000, np.inf, np.inf, "more_than")
    flat = Forecast(n_labels=100, law=law(pace=0.0))
    assert flat.labels_to_reach(0.81).status == "more_than"
    assert flat.gain(5) == 0


def test_frame_and_tables(forecast):
    frame = forecast.frame()
    assert frame.columns.tolist() == ["n_labels", "metric", "value", "value_low", "value_high"]
    assert frame["n_labels"].iloc[[0, -1]].tolist() == [200, 4000]
    assert forecast.frame([300, 400])["n_labels"].tolist() == [300, 400]
    text = repr(forecast).splitlines()
    assert text[0] == "Accuracy to expect from more than 200 labels"
    assert text[1].split()[:3] == ["labels", "accuracy", "(%)"]
    assert len(text) <= 22
    assert "<table>" in forecast._repr_html_()
    assert forecast.settings == {"seed": 0, "n_classes": 10}
    assert forecast.seconds > 0
    assert "modtools" in forecast.versions


def test_the_same_seed_gives_the_same_and_another_nearly_so(digits_rows, forecast):
    features, labels = digits_rows
    again, other = (extrapolate(features[:200], labels[:200], seed=seed) for seed in (0, 1))
    assert again.law.error == pytest.approx(forecast.law.error, rel=1e-9)
    # The orders decide about a refusal only.
    assert other.law.error == pytest.approx(forecast.law.error, rel=1e-9)
    assert other.settings["seed"] == 1


def test_many_rows_are_judged_by_a_sample(digits_rows, monkeypatch):
    features, labels = (part[:200] for part in digits_rows)
    whole = extrapolation.measure(features, labels, seed=0)
    monkeypatch.setattr(extrapolation, "_MOST_FACTORED", 150)
    sampled = extrapolation.measure(features, labels, seed=0)
    assert sampled.error == whole.error  # a count of wrong rows
    assert sampled.counts[-1] == round(0.85 * 150)
    assert sampled.slope == pytest.approx(whole.slope, abs=0.2)


def test_the_unit_of_the_features_and_the_names_of_the_classes_change_nothing():
    features, labels = make_rows()
    found = extrapolate(1e-9 * features, np.array(["c", "a", "b"])[labels])
    assert found.law.error == pytest.approx(extrapolate(features, labels).law.error, rel=1e-9)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (make_rows(29), "29 labels are too few to extrapolate: 3 classes need 30"),
        (make_rows(39, n_classes=10), "39 labels are too few to extrapolate: 10 classes need 40"),
        (
            make_rows(apart=0.0),
            "is not distinguishable from the .* always predicting the largest class",
        ),
        (clusters(), "twice the labels took away . % of the held-out errors, from 50 to 170"),
        ((np.ones((90, 3)), np.arange(90) % 3), "is not distinguishable from the 33.3 %"),
    ],
)
def test_where_it_is_refused_every_question_gives_the_reason(rows, reason):
    forecast = extrapolate(*rows)
    assert forecast.law is None
    questions = [
        lambda: forecast.accuracy(1000),
        lambda: forecast.labels_to_reach(0.9),
        lambda: forecast.gain(10),
    ]
    for question in questions:
        with pytest.raises(ModtoolsError, match=f"no forecast: .*{reason}"):
            question()
    assert len(forecast.frame()) == 0
    assert repr(forecast) == f"No forecast: {forecast.refused}"
    assert "No forecast" in forecast._repr_html_()


@pytest.mark.parametrize("labels", [np.arange(40) % 2, np.zeros(40, int)])
def test_chosen_rows_are_no_sample(labels):
    features = np.random.default_rng(0).normal(size=(40, 3))
    forecast = extrapolate(features, labels, strategy="k_center")
    assert forecast.refused == "examples chosen by k_center are no random sample of the task."
    with pytest.raises(ModtoolsError, match='unknown strategy "other"'):
        extrapolate(features, labels, strategy="other")


def test_a_forecast_travels_as_json(forecast):
    content = facts(forecast.to_json())
    assert content["kind"] == "forecast"
    assert [row["n_labels"] for row in content["rows"]] == forecast.frame()["n_labels"].tolist()
    assert (content["n_labels"], content["refused"]) == (200, None)


def test_less_than_a_quarter_of_the_usual_pace_is_refused():
    measured = extrapolation.Measured(0.3, 0.0, np.array([50, 200]))  # the law's slope is 0.4
    assert extrapolation._not_rising(measured._replace(slope=0.11), law()) is None
    reason = extrapolation._not_rising(measured._replace(slope=0.09), law())
    assert "took away 6 % of the held-out errors, from 50 to 200 labels, where 24 % are" in reason
    assert "took away 0 %" in extrapolation._not_rising(measured._replace(slope=-0.5), law())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(120, int)}, "labels must hold at least two classes"),
        ({"labels": np.linspace(0, 1, 120)}, "defined for classification labels; these are"),
        ({"labels": [0, 1]}, "features has 120, labels has 2"),
        ({"features": np.full((120, 2), np.nan)}, "features must be finite"),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_bad_input_is_one_clear_error(change, message):
    arguments = dict(zip(("features", "labels"), make_rows(), strict=True)) | change
    with pytest.raises(ModtoolsError, match=message):
        extrapolate(arguments.pop("features"), arguments.pop("labels"), **arguments)


@pytest.mark.parametrize("n_labels", [99, 2001])
def test_a_forecast_has_a_range(n_labels):
    with pytest.raises(ModtoolsError, match=r"from 100, the labels there are, to 2000, 20 times"):
        Forecast(n_labels=100, law=law()).accuracy(n_labels)


@pytest.mark.parametrize("accuracy", [0, 1, 90, "0.9"])
def test_an_accuracy_asked_for_is_a_fraction(accuracy):
    with pytest.raises(ModtoolsError, match="accuracy must lie strictly between 0 and 1"):
        Forecast(n_labels=100, law=law()).labels_to_reach(accuracy)


def test_nothing_given_is_changed():
    features, labels = make_rows()
    before = features.copy(), labels.copy()
    extrapolate(features, labels)
    np.testing.assert_array_equal(features, before[0])
    np.testing.assert_array_equal(labels, before[1])
