"""Labels that an accuracy needs: the words follow from the numbers, in every combination."""

import itertools
import math
import re

import pytest

from modtools._intervals import MeasuredAccuracy
from modtools.retraining import Forecast
from modtools.retraining._error_law import ErrorLaw
from modtools.retraining._label_counts import LabelsToReach
from modtools.retraining._labels_needed import labels_needed

N, FURTHEST = 60, 1200


def reach(n_labels, low, high):
    """Return what a forecast answers, infinite beyond its range."""
    if math.isinf(n_labels):
        return LabelsToReach(FURTHEST, low, high, "more_than")
    return LabelsToReach(n_labels, low, high, "reached" if n_labels > N else "below_first")


COUNTS = (40.0, 60.0, 61.0, 516.0, 1199.6, math.inf)
REACHES = [
    reach(n_labels, low, high)
    for low, n_labels, high in itertools.combinations_with_replacement(COUNTS, 3)
]
MEASURED = [
    None,
    MeasuredAccuracy(0.973),
    MeasuredAccuracy(0.973, 0.954, 0.985),
    MeasuredAccuracy(0.5, 0.4, 0.6),
    MeasuredAccuracy(1.0, 0.97, 1.0),
    MeasuredAccuracy(0.0, 0.0, 0.03),
]
TARGETS = (1e-6, 0.1, 0.4, 0.5, 0.954, 0.97, 0.973, 0.985, 0.99, 0.999999)


@pytest.mark.parametrize("measured", MEASURED)
@pytest.mark.parametrize("target", TARGETS)
def test_words_and_numbers_say_the_same_and_nothing_against_the_measurement(target, measured):
    for forecast in REACHES:
        found = labels_needed(target, forecast, n_there=N, furthest=FURTHEST, measured=measured)
        text, (_, _, point, _, low, high, _) = found.text(), found
        assert not any(word in text for word in ("inf", "nan", "None", "out of reach"))
        assert low is None or low >= N
        assert None in (point, low) or low <= point
        assert None in (point, high) or point <= high
        said = found.reach()
        assert (said.status == "more_than") == (point is None)
        assert said.status == "more_than" or said.n_labels_low <= said.n_labels
        assert math.isfinite(said.n_labels)
        assert said.n_labels == (found.more_than if point is None else point)
        assert said.n_labels_high == (math.inf if high is None else high)
        is_there = measured is not None and measured.value >= target
        if point is None:
            assert not is_there
            assert re.fullmatch(r"\S+ % needs more than \d+ labels(?: \(.*\))?(?:: .*)?", text)
            assert text.count("more than") == 1
            bound = int(re.search(r"more than (\d+) labels", text)[1])
            assert bound == found.more_than
            assert bound == (N if forecast.n_labels <= N else FURTHEST)
            assert (f"(80 % interval from {math.ceil(low or 0)}" in text) == (low is not None)
            assert (f" to {math.ceil(high or 0)})" in text) == (high is not None)
            assert (f"was measured with these {N}" in text) == (bound == N)
        elif point > N:
            assert not is_there
            assert re.search(r" % needs about \d+ labels, 80 % interval \[\d+", text)
            assert text.endswith(" or more]") == (high is None)
        elif measured is None:
            assert "should be there with these labels already" in text
            assert (f"(80 % interval from {N})" in text) == (high is None)
        else:
            assert is_there
            assert " % is reached: " in text
            assert measured.low is None or f" % [{100 * measured.low:.1f}" in text


@pytest.mark.parametrize(
    ("target", "forecast", "measured", "text"),
    [
        (
            0.99,
            reach(math.inf, 516.0, math.inf),
            MeasuredAccuracy(0.973, 0.954, 0.985),
            "99 % needs more than 1200 labels (80 % interval from 516)",
        ),
        (
            0.99,
            reach(60.0, 60.0, math.inf),
            MeasuredAccuracy(0.973, 0.954, 0.985),
            "99 % needs more than 60 labels (80 % interval from 60): 97.3 % [95.4, 98.5] was "
            "measured with these 60",
        ),
        (
            0.99,
            reach(60.0, 60.0, 60.0),
            MeasuredAccuracy(0.973),
            "99 % needs more than 60 labels (80 % interval from 60): 97.3 % was measured with "
            "these 60",
        ),
        (0.9, reach(math.inf, math.inf, math.inf), None, "90 % needs more than 1200 labels"),
        (
            0.9,
            reach(160.0, 130.0, 190.0),
            MeasuredAccuracy(0.9, 0.8, 0.95),
            "90 % is reached: 90.0 % [80.0, 95.0] was measured with these 60",
        ),
        (
            0.9,
            reach(160.0, 80.0, math.inf),
            None,
            "90 % needs about 160 labels, 80 % interval [80 or more]",
        ),
    ],
)
def test_sentences(target, forecast, measured, text):
    found = labels_needed(target, forecast, n_there=N, furthest=FURTHEST, measured=measured)
    assert found.text() == text


def test_a_forecast_never_says_that_labels_suffice_which_do_not():
    forecast = Forecast(n_labels=100, law=ErrorLaw(100, error=0.2))
    level = forecast.accuracy(100).value
    assert forecast.labels_to_reach(level).n_labels == 100
    assert forecast.labels_to_reach(level + 1e-5).n_labels == 101
