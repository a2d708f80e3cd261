"""Extrapolated curves against curves whose law is known, and the refusals."""

import numpy as np
import pytest

from modtools.retraining._error_law import CALIBRATION, ErrorLaw
from modtools.studies import label_efficiency
from modtools.studies._extrapolated import extrapolate_curve, reason_not_to_extrapolate

pytestmark = pytest.mark.floating_point

COUNTS = np.array([10, 20, 40, 80, 160, 320])


def accuracies(floor, factor, exponent, counts=COUNTS):
    return 1 - floor - factor * counts.astype(float) ** -exponent


def noisy(curve, spread=0.003, seed=0):
    return curve + spread * np.random.default_rng(seed).normal(size=(300, len(curve)))


@pytest.mark.parametrize("pace", [2.0, 7.4, 12.0])
def test_a_curve_that_follows_the_law_is_found_again(pace):
    law = ErrorLaw(320, 0.1, CALIBRATION._replace(pace=pace))
    curve = law.accuracies(COUNTS)[0]
    found = extrapolate_curve(curve, noisy(curve), COUNTS, 1280)
    assert found["refused"] == ""
    numbers = [found[name] for name in ("value", "value_low", "value_high")]
    assert numbers == pytest.approx(law.accuracies([1280])[:, 0].tolist())


@pytest.mark.parametrize("law", [(0.0, 1.0, 0.3), (0.05, 2.0, 0.6), (0.1, 1.0, 0.5)])
def test_intervals_hold_curves_that_follow_another_law(law):
    curve = accuracies(*law)
    found = extrapolate_curve(curve, noisy(curve), COUNTS, 1280)
    expected = accuracies(*law, np.array([1280]))[0]
    assert found["refused"] == ""
    assert found["value_low"] <= expected <= found["value_high"]
    assert found["value_low"] <= found["value"] <= found["value_high"]


def test_a_level_that_is_measured_badly_makes_the_interval_wider():
    curve = accuracies(0.0, 1.0, 0.3)
    ends = [ErrorLaw.of_curve(COUNTS, curve, variance=v).accuracies([640])[1:] for v in (0.01, 0.2)]
    narrow, wide = (float(high[0] - low[0]) for low, high in ends)
    assert wide > 1.5 * narrow


def test_intervals_of_noisy_curves_cover_the_truth_about_as_often_as_they_say():
    law, covered = (0.03, 1.0, 0.4), []
    for seed in range(60):
        seen = noisy(accuracies(*law), 0.006, seed)[0]
        found = extrapolate_curve(seen, noisy(seen, 0.006, seed + 1000), COUNTS, 1280)
        if not found["refused"]:
            truth = accuracies(*law, np.array([1280]))[0]
            covered.append(found["value_low"] <= truth <= found["value_high"])
    assert len(covered) > 30
    assert np.mean(covered) >= 0.65


@pytest.mark.parametrize(
    ("counts", "curve", "n_labels", "reason"),
    [
        (COUNTS, accuracies(0.1, 1, 0.5), 320, "lies within the label counts"),
        (COUNTS, accuracies(0.1, 1, 0.5), 3201, "more than 10 times the largest label count, 320"),
        (
            COUNTS[-3:],
            accuracies(0.1, 1, 0.5)[-3:],
            640,
            "at least 4 label counts over a factor of 10",
        ),
        (COUNTS, np.full(6, 0.8), 640, "does not rise beyond its noise"),
        (COUNTS, np.linspace(0.5, 1, 6), 640, "no error is left"),
    ],
)
def test_it_refuses_where_the_data_say_nothing(counts, curve, n_labels, reason):
    resampled = noisy(curve)
    assert reason in reason_not_to_extrapolate(curve, resampled, counts, n_labels)
    found = extrapolate_curve(curve, resampled, counts, n_labels)
    assert reason in found["refused"]
    assert np.isnan([found[name] for name in ("value", "value_low", "value_high")]).all()


def test_it_refuses_where_the_interval_is_too_wide():
    counts = np.array([1, 2, 5, 10, 20])
    curve = accuracies(0.0, 1, 0.25, counts)
    found = extrapolate_curve(curve, noisy(curve), counts, 100)
    assert "the data do not say" in found["refused"]


def test_an_accuracy_below_zero_is_never_expected():
    curve = np.array([0.0, 0.002, 0.004, 0.006, 0.008, 0.01])
    found = extrapolate_curve(curve, noisy(curve, 0.0005), COUNTS, 640)
    assert found["refused"] == ""
    assert 0 <= found["value_low"] <= found["value"] <= found["value_high"]


def test_a_study_extrapolates_or_says_why_not(data):
    study = label_efficiency(*data, n_labels=[3, 6, 12, 24, 48, 90], repeats=6)
    table = study.extrapolate([180, 90, 2000])
    assert table["n_labels"].tolist() == [180, 90, 2000] * 2
    assert table["refused"].iloc[1].startswith("90 lies within")
    assert "more than 10 times" in table["refused"].iloc[2]
    assert (table["value"].isna() == (table["refused"] != "")).all()
    drawn = study.plot(target=None, extrapolate_to=180).frame()
    has_number = not table.loc[table["n_labels"] == 180, "value"].isna().all()
    assert drawn["extrapolated"].any() == has_number
