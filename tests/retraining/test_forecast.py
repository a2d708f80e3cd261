"""What is said about labels that are not there yet."""

import json
import math

import pytest

from modtools._writing import json_text
from modtools.exceptions import ModtoolsError
from modtools.retraining import next_target
from modtools.retraining._error_law import Calibration, ErrorLaw
from modtools.retraining._forecast import Forecast
from modtools.retraining._label_counts import LabelsToReach


class Power(Forecast):
    """A forecast that knows the truth: error 0.4 n^-0.5 and an interval a fifth wide."""

    def __init__(self):
        super().__init__(n_labels=10, law=None)

    def accuracy(self, n_labels):
        value = 1 - 0.4 * (n_labels / 10) ** -0.5
        return value, value - 0.02, value + 0.02

    def labels_to_reach(self, accuracy):
        n_labels = 10 * (0.4 / (1 - accuracy)) ** 2
        return LabelsToReach(n_labels, 0.8 * n_labels, 1.2 * n_labels, "reached")

    def gain(self, labels):
        return self.accuracy(10 + labels)[0] - self.accuracy(10)[0]


class Flat(Power):
    def labels_to_reach(self, _accuracy):
        return LabelsToReach(200.0, 150.0, math.inf, "more_than")


class Steep(Power):
    def labels_to_reach(self, _accuracy):
        return LabelsToReach(1234.5, 60.4, math.inf, "reached")


class Refusing(Forecast):
    def __init__(self):
        super().__init__(n_labels=12, law=None, refused="12 labels are too few for a trend.")

    def labels_to_reach(self, _accuracy):
        raise AssertionError("never asked")

    accuracy = gain = labels_to_reach


@pytest.mark.parametrize(
    ("forecast", "target", "text"),
    [
        (
            Power(),
            0.9,
            "90 % needs about 160 labels, 80 % interval [130, 190]; 10 more labels now are worth "
            "about +11.7 points.",
        ),
        (
            Flat(),
            0.995,
            "99.5 % needs more than 200 labels (80 % interval from 150); 10 more labels now are "
            "worth about +11.7 points.",
        ),
        (
            Steep(),
            0.9,
            "90 % needs about 1200 labels, 80 % interval [61 or more]; 10 more labels now are "
            "worth about +11.7 points.",
        ),
        (
            Power(),
            0.6,
            "60 % should be there with these labels already; 10 more labels now are worth about "
            "+11.7 points.",
        ),
        (Power(), None, "10 more labels now are worth about +11.7 points."),
        (
            Refusing(),
            0.9,
            "what more would bring cannot be said: 12 labels are too few for a trend.",
        ),
    ],
)
def test_the_line_says_what_is_known_and_no_more(forecast, target, text):
    assert forecast.verdict(target) == text


def test_a_real_forecast_is_put_into_words():
    halving = Calibration(pace=20 * math.log(2), level_variance=1.5, drift=0.1)  # 100 to 400 labels
    forecast = Forecast(n_labels=100, law=ErrorLaw(100, error=0.2, calibration=halving))
    text = forecast.verdict(0.9)
    low, high = forecast.labels_to_reach(0.9)[1:3]
    assert text.startswith("90 % needs about 400 labels, 80 % interval [")
    assert 100 <= low < 400 < high
    assert text.endswith("; 10 more labels now are worth about +1.2 points.")
    rows = forecast.ahead(0.9)
    assert rows["value_low"].lt(rows["value_high"]).all()
    assert (rows["n_labels"].iloc[0], rows["n_labels"].iloc[-1]) == (100, 520)


def test_the_target_is_the_next_round_accuracy_that_is_not_there_yet():
    assert [next_target(value) for value in (0.1, 0.5, 0.84, 0.896, 0.97, 0.985)] == [
        0.5, 0.6, 0.9, 0.95, 0.99, None,
    ]  # fmt: skip


@pytest.mark.parametrize("forecast", [Power(), Flat(), Refusing()])
def test_json_has_null_for_what_is_not_known(forecast):
    content = json.loads(json_text({"forecast": forecast.figures(0.9)}))["forecast"]
    numbers = [content[name] for name in content if name.startswith("n_labels")]
    if isinstance(forecast, Flat):
        assert (numbers, content["status"]) == ([200.0, 150.0, None], "more_than")
    elif isinstance(forecast, Power):
        assert numbers == pytest.approx([160.0, 128.0, 192.0])
        assert content["status"] == "reached"
        assert content["points_of_10_more_labels"] == pytest.approx(100 * 0.4 * (1 - 0.5**0.5))
    else:
        assert [*numbers, content["status"]] == [None] * 4
        assert content["refused"] == forecast.refused
        assert content["points_of_10_more_labels"] is None


def test_a_picture_looks_five_times_ahead_or_to_the_target():
    rows = Power().ahead()
    counts = rows["n_labels"].tolist()
    assert (counts[0], counts[-1]) == (10, 50)
    assert counts == sorted(set(counts))
    assert 20 in counts
    assert rows["value"].tolist() == [Power().accuracy(n)[0] for n in counts]
    assert Power().ahead(0.9)["n_labels"].iloc[-1] == 200
    assert Power().ahead(0.86)["n_labels"].iloc[-1] == 106
    assert Flat().ahead(0.9)["n_labels"].iloc[-1] == 50
    assert Refusing().ahead().empty


def test_the_target_is_reached_where_the_forecast_says():
    reached = Power().labels_needed(0.9).reach()
    assert reached[:3] == pytest.approx([160, 128, 192])
    assert reached.status == "reached"


def test_a_table_is_of_several_label_counts():
    forecast = Forecast(n_labels=100, law=ErrorLaw(100, error=0.2))
    for given in (200, "200", 2.5):
        with pytest.raises(ModtoolsError, match="n_labels must be several label counts; got"):
            forecast.frame(given)
