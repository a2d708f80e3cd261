"""The calibration of forecasts is found again in data that follow it, and judged on other tasks.

Laws are chosen on other sources of images than they are reported on.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from modtools.retraining._error_law import CALIBRATION, Calibration, ErrorLaw
from modtools.studies._extrapolated import extrapolate_curve
from tests.benchmarks.extrapolation_laws import (
    ELSEWHERE,
    LAWS,
    PARTS,
    PLACE,
    REFERENCE,
    USUAL,
    Curve,
    Paces,
    choose,
    decided,
    judged,
    left_out,
)
from tests.benchmarks.power_law import power_law

OWN = "own pace, from a tenth"
COUNTS = np.array([10, 20, 40, 80, 160, 320])
KNOWN = Calibration(pace=7.0, level_variance=1.5, drift=0.03)


@pytest.fixture(scope="module")
def bench():
    path = Path(__file__).parent / "bench_extrapolation.py"
    spec = importlib.util.spec_from_file_location("bench_extrapolation", path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:  # the script imports its neighbours by name
        patch.setattr(sys, "path", [str(path.parent), *sys.path])
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def table():
    """Return forecasts of six tasks whose levels and slopes vary as the calibration says."""
    rng, rows = np.random.default_rng(0), []
    for place in range(3000):
        n, ahead = int(rng.choice([50, 100, 200])), int(rng.choice([400, 1000, 2000]))
        truth = float(rng.uniform(0.05, 0.3))
        of_one_row = np.sqrt((1 - truth) / truth)
        level = truth * np.exp(of_one_row * np.sqrt(KNOWN.level_variance / n) * rng.normal())
        drift = of_one_row * KNOWN.drift * np.log(ahead / n) * rng.normal()
        error = (1 - ErrorLaw(n, truth, KNOWN).accuracies([ahead])[0, 0]) * np.exp(drift)
        rows.append((f"images{place % 2}", f"task{place % 6}", "m", n, ahead, level, error))
    found = pd.DataFrame(rows, columns=["images", "task", "module", "n", "ahead", "level", "error"])
    return found[found["level"] < 0.9].reset_index(drop=True)


def test_the_calibration_is_found_again(bench, table):
    found = bench.fit(table)
    assert found.pace == pytest.approx(KNOWN.pace, rel=0.15)
    # Small errors are seen too small as often as too large, and count as more uncertain then.
    assert 0.6 < found.level_variance < 2
    assert 0.5 < found.drift / KNOWN.drift < 2


@pytest.mark.parametrize("by", ["task", "images"])
def test_intervals_hold_their_share_on_tasks_left_out(bench, table, by):
    judged = bench.judged(table, by)
    assert len(judged) == len(table)
    figures = bench.summary(judged, "x")
    assert figures["x: share held by the 80 % interval"] == pytest.approx(0.8, abs=0.05)
    assert abs(figures["x: bias, points"]) < 1


def test_groups_name_every_class_of_their_images(bench):
    for groups in bench.GROUPS.values():
        assert all(len(found) == 10 for found in groups.values())
        assert all(len(np.unique(found[found >= 0])) > 1 for found in groups.values())


def noisy(curve, spread=0.002):
    return curve + spread * np.random.default_rng(0).normal(size=(300, len(curve)))


@pytest.mark.parametrize("known", [(0.0, 1.0, 0.3), (0.05, 2.0, 0.6), (0.1, 1.0, 0.5)])
def test_the_power_law_finds_a_curve_that_follows_it(known):
    floor, factor, exponent = known
    curve = 1 - floor - factor * COUNTS**-exponent
    value, low, high = power_law(curve, noisy(curve), COUNTS, [640, 1280])
    expected = 1 - floor - factor * np.array([640, 1280]) ** -exponent
    assert value == pytest.approx(expected, abs=0.01)
    assert (low < expected).all()
    assert (expected < high).all()


@pytest.mark.parametrize("law", LAWS)
def test_every_law_continues_a_curve_of_the_usual_pace_alike(law):
    curve = ErrorLaw(320, 0.1).accuracies(COUNTS)[0]
    found = Paces.of(Curve(COUNTS, curve, noisy(curve))).law(law, CALIBRATION)
    assert found.calibration.pace == pytest.approx(CALIBRATION.pace)
    assert (found.n_labels, found.error) == (320, pytest.approx(0.1))


@pytest.mark.parametrize("part", PARTS)
def test_a_blend_is_at_the_own_pace_where_the_curve_says_it_and_else_at_the_usual_one(part):
    curve = ErrorLaw(320, 0.1, CALIBRATION._replace(pace=4.0)).accuracies(COUNTS)[0]
    paces = [
        Paces.of(Curve(COUNTS, curve, noisy(curve, spread)))
        .law(f"blend, {part}", CALIBRATION)
        .calibration.pace
        for spread in (1e-6, 0.01, 0.2)
    ]
    assert paces[0] == pytest.approx(4, abs=0.01)
    assert paces[0] <= paces[1] <= paces[2] == CALIBRATION.pace


def test_studies_extrapolate_by_the_law_that_the_benchmark_chose():
    counts = np.geomspace(10, 320, 16).astype(int)
    curve = 1 - 0.05 - 2.0 * counts**-0.6
    resampled = noisy(curve)
    found = extrapolate_curve(curve, resampled, counts, 1280)
    law = Paces.of(Curve(counts, curve, resampled)).law("own pace, from a half", CALIBRATION)
    expected = law.accuracies([1280])[:, 0].tolist()
    assert [found[name] for name in ("value", "value_low", "value_high")] == pytest.approx(expected)


def test_a_thinned_curve_ends_where_the_curve_does():
    found = Curve(COUNTS, COUNTS / 400, np.tile(COUNTS / 400, (3, 1))).thinned(2)
    assert found.counts.tolist() == [20, 80, 320]
    assert found.curve.tolist() == [0.05, 0.2, 0.8]
    assert found.resampled.tolist() == [[0.05, 0.2, 0.8]] * 3


def forecasts(off, *, width=0.1, draws=4):
    """Return forecasts of {(images, law): points off} as every law makes them."""
    rows = [
        (images, "task", "m", output, 100, draw, 1, 400, 0.8, law, 0.8 + points / 100)
        for (images, law), points in off.items()
        for output in ("ridge", "class_mean")
        for draw in range(draws)
    ]
    columns = [*PLACE, "achieved", "law"]
    table = pd.DataFrame(rows, columns=[*columns, "value"])
    return table.assign(low=table["value"] - width / 2, high=table["value"] + width / 2)


def test_the_law_that_is_least_off_is_chosen_of_those_whose_intervals_hold():
    off = {("a", USUAL): 2.0, ("a", OWN): 1.0, ("a", "blend, from 0.3"): 1.5, ("a", REFERENCE): 0.1}
    assert choose(judged(forecasts(off))) == OWN  # the reference is never chosen
    table = forecasts(off)
    narrow = table["law"] == OWN
    table.loc[narrow, "low"] = table.loc[narrow, "value"] - 0.001
    assert choose(judged(table)) == "blend, from 0.3"


def test_sources_of_images_count_as_much_whatever_the_number_of_their_forecasts():
    many = forecasts({("a", USUAL): 2.0, ("a", OWN): 1.0}, draws=50)
    few = forecasts({("b", USUAL): 1.0, ("b", OWN): 3.0})
    assert choose(judged(pd.concat([many, few], ignore_index=True))) == USUAL


def test_less_than_a_tenth_of_a_point_leaves_the_simplest_law():
    assert choose(judged(forecasts({("a", USUAL): 1.05, ("a", OWN): 1.0}))) == USUAL
    assert choose(judged(forecasts({("a", USUAL): 1.15, ("a", OWN): 1.0}))) == OWN


def test_without_forecasts_the_usual_pace_is_chosen():
    assert choose(judged(forecasts({("a", USUAL): 1.0}, width=0.3))) == USUAL


def test_all_laws_are_judged_on_the_forecasts_that_none_refuses():
    table = forecasts({("a", USUAL): 1.0, ("a", OWN): 1.0})
    table.loc[0, "high"] = table.loc[0, "low"] + 0.3
    found = judged(table)
    assert found["law"].value_counts().to_dict() == {USUAL: 7, OWN: 7}
    assert len(judged(table, never=[USUAL])) == 16


OFF = {
    ("a", USUAL): 4.0, ("a", OWN): 1.0,
    ("b", USUAL): 1.0, ("b", OWN): 2.0,
    ("c", USUAL): 1.0, ("c", OWN): 1.5,
}  # fmt: skip


def test_a_law_is_reported_on_a_source_that_neither_it_nor_the_calibration_has_seen():
    asked = []

    def judge(sources, without):
        asked.append((tuple(sources), without))
        return judged(forecasts({key: off for key, off in OFF.items() if key[0] in sources}))

    chosen, elsewhere = left_out(judge, ["a", "b", "c"])
    assert chosen == {"a": USUAL, "b": OWN, "c": OWN}
    assert asked[:2] == [(("b", "c"), "a"), (("a",), "a")]
    means = elsewhere.groupby("images")["off"].mean().round(6).to_dict()
    assert means == {"a": 4.0, "b": 2.0, "c": 1.5}
    assert set(elsewhere["law"]) == {ELSEWHERE}
    # Chosen on all, OWN looks better; chosen on the others it is not.
    assert choose(judged(forecasts(OFF))) == OWN
    assert decided(judged(forecasts(OFF)), OWN, elsewhere) == USUAL
    assert decided(judged(forecasts(OFF)), OWN, elsewhere.assign(off=0.5)) == OWN


def test_calibrations_see_no_source_that_they_are_asked_to_leave_out(bench, table):
    renamed = table.assign(images=table["images"].map({"images0": "digits", "images1": "fashion"}))
    part = renamed.iloc[::3].assign(images="simulated")
    every = pd.concat([renamed, part], ignore_index=True)
    own = {name: bench.fit(every[every["images"] == name]) for name in every["images"].unique()}
    assert bench.calibration_without(every, "digits", None) == own["fashion"]
    assert bench.calibration_without(every, "digits", "fashion") == own["simulated"]
    assert bench.calibration_without(every, "simulated", "digits") == own["fashion"]
    assert bench.calibration_without(every, "digits", "fashion", "simulated") == CALIBRATION


def test_measurements_are_read_as_they_were_written(bench, tmp_path):
    curve = bench.Curve(COUNTS, np.linspace(0.5, 0.9, 6), np.full((3, 6), 0.75))
    starts = [
        bench.Start("study", "ridge", 320, {640: 0.9}, curve=curve),
        bench.Start("labels alone", "ridge", 50, {200: 0.8}, refused="why"),
    ]
    bench.save(starts, tmp_path / "x.npz")
    found = bench.load(tmp_path / "x.npz")
    assert found[1] == starts[1]
    assert found[0]._replace(curve=None) == starts[0]._replace(curve=None)
    for read, written in zip(found[0].curve, curve, strict=True):
        np.testing.assert_array_equal(read, written)
