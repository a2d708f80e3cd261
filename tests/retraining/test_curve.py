"""What a learning curve says about a target, and its picture."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from modtools._intervals import MeasuredAccuracy
from modtools.exceptions import ModtoolsError
from modtools.plotting import LabelEfficiencyDisplay
from modtools.retraining import Forecast, learning_curve
from modtools.retraining._error_law import ErrorLaw
from modtools.retraining._label_counts import first_reaching

pytestmark = pytest.mark.floating_point


@pytest.fixture(scope="module")
def curve():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    features = rng.normal(size=(400, 6)) + 1.6 * rng.normal(size=(3, 6))[labels]
    return learning_curve(features[:60], labels[:60], features[60:], labels[60:])


@pytest.mark.parametrize(
    ("accuracies", "wanted", "expected"),
    [
        ([0.5, 0.6, 0.7, 0.8], 0.7, 40),
        ([0.5, 0.6, 0.7, 0.8], 0.65, 29),  # half way in the logarithm
        ([0.5, 0.6, 0.7, 0.8], 0.5, 10),
        ([0.5, 0.6, 0.7, 0.8], 0.3, 10),
        ([0.5, 0.6, 0.7, 0.8], 0.81, np.inf),
        ([0.5, 0.8, 0.6, 0.8], 0.7, 20),  # a lucky count does not count alone
        ([0.7, 0.7, 0.7, 0.7], 0.7, 10),
    ],
)
def test_the_first_count_that_reaches_an_accuracy_to_stay(accuracies, wanted, expected):
    assert first_reaching([10, 20, 40, 80], accuracies, wanted) == expected


def test_labels_to_reach_are_on_the_curve_with_its_interval(curve):
    wanted = float(curve.accuracy[30:].mean())
    n_labels, low, high, status = curve.labels_to_reach(wanted)
    assert status == "reached"
    assert low <= n_labels <= high
    assert n_labels == first_reaching(curve.n_labels, curve.accuracy, wanted)
    assert low == first_reaching(curve.n_labels, curve.interval()[1], wanted)
    last = curve.n_labels[-1]
    assert curve.labels_to_reach(0.9999) == (last, np.inf, np.inf, "more_than")
    assert curve.labels_to_reach(1e-6) == (1, 1, 1, "below_first")


def test_where_the_curve_ends_before_a_forecast_is_asked(curve):
    highest = float(curve.accuracy.max())
    law = ErrorLaw(60, error=1 - float(curve.accuracy[-1]))
    forecast = Forecast(n_labels=60, law=law)
    further = (1 + highest) / 2
    found = curve.labels_to_reach(further, forecast=forecast)
    last = curve.frame().iloc[-1][["value", "value_low", "value_high"]]
    assert found == forecast.labels_needed(further, measured=MeasuredAccuracy(*last)).reach()
    assert found.n_labels > 60
    wanted = float(curve.accuracy[30:].mean())
    assert curve.labels_to_reach(wanted, forecast=forecast) == curve.labels_to_reach(wanted)
    refused = Forecast(n_labels=60, law=None, refused="too few.")
    assert curve.labels_to_reach(further, forecast=refused).status == "more_than"
    ax = Figure().subplots()
    drawn = curve.plot(ax, target=further, forecast=forecast)
    assert max(line.get_xdata()[-1] for line in ax.get_lines() if len(line.get_xdata())) > 60
    assert isinstance(drawn, LabelEfficiencyDisplay)
    assert isinstance(curve.plot(Figure().subplots(), forecast=refused), LabelEfficiencyDisplay)


@pytest.mark.parametrize("accuracy", [0.0, 1.0, 90])
def test_an_accuracy_asked_for_is_a_fraction(curve, accuracy):
    with pytest.raises(ModtoolsError, match="accuracy must lie strictly between 0 and 1"):
        curve.labels_to_reach(accuracy)
    with pytest.raises(ModtoolsError, match="accuracy must lie strictly between 0 and 1"):
        curve.plot(target=accuracy)


def test_the_picture_marks_the_target(curve):
    ax = Figure().subplots()
    wanted = float(curve.accuracy[30:].mean())
    display = curve.plot(ax, target=wanted)
    assert isinstance(display, LabelEfficiencyDisplay)
    assert display.ax_ is ax
    assert display.frame()["value"].tolist() == curve.accuracy.tolist()
    count = curve.labels_to_reach(wanted).n_labels
    assert any(f"at {count:.0f} labels [" in text.get_text() for text in ax.texts)


def test_other_output_modules_stand_beside_the_curve(curve):
    logistic = MeasuredAccuracy(0.8, 0.7, 0.9)
    others = {"pixels, logistic": logistic}
    display = curve.plot(name="pixels, ridge", others=others, first=3, title="Accuracy")
    table = display.frame().set_index("line")
    assert table.loc["pixels, ridge", "n_labels"].tolist() == curve.n_labels[2:].tolist()
    beside = table.loc["pixels, logistic", ["n_labels", "value", "value_low", "value_high"]]
    assert beside.tolist() == [curve.n_labels[-1], *logistic]
    assert display.title == "Accuracy"


def test_the_picture_needs_no_target(curve):
    plt.switch_backend("agg")
    display = curve.plot()
    texts = [text.get_text() for text in display.ax_.texts]
    assert [text for text in texts if "largest class alone" not in text] == [
        f"ridge output  {100 * curve.accuracy[-1]:.1f} %",
        "band: 95 % interval",
    ]
    assert f"largest class alone: {100 * curve.chance:.0f} %" in " ".join(texts)
    plt.close("all")


@pytest.mark.parametrize("given", [3, "x", (0.5, 0.4, 0.6)])
def test_what_is_no_forecast_and_no_measurement_is_refused(curve, given):
    with pytest.raises(ModtoolsError, match="forecast must be a Forecast, as extrapolate returns"):
        curve.labels_to_reach(0.9999, forecast=given)
    with pytest.raises(ModtoolsError, match="forecast must be a Forecast, as extrapolate returns"):
        curve.plot(forecast=given)
    forecast = Forecast(n_labels=60, law=ErrorLaw(60, error=0.2))
    with pytest.raises(ModtoolsError, match=r"measured must be what ReusedModel\.evaluate returns"):
        forecast.labels_needed(0.9, measured=given)


def test_the_picture_says_what_was_measured(curve):
    title = curve.plot().ax_.get_title(loc="left")
    assert title == "Learning curve to 60 labels, 3 classes, 340 test examples"
