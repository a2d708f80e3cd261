"""Intervals, labels to reach a level, savings, areas and code lengths, each by its definition."""

import numpy as np
import pytest
from scipy.integrate import trapezoid
from sklearn.isotonic import IsotonicRegression

from modtools._intervals import Resamples, percentile_interval
from modtools.exceptions import ModtoolsError
from modtools.retraining import labels_at, learning_curve, rising
from modtools.studies import label_efficiency
from modtools.studies._curves import description_length, factors, mean_area, reach
from modtools.studies._measure import repeat_seed

pytestmark = pytest.mark.floating_point

COUNTS = np.array([2, 8, 32])


@pytest.fixture(scope="module")
def study(data):
    return label_efficiency(*data, n_labels=[3, 8, 20, 60], repeats=5)


def test_resampled_accuracies_are_means_over_the_examples_and_repeats_taken():
    rng = np.random.default_rng(0)
    right = rng.random((3, 4, 13)) < 0.6
    resamples = Resamples.of([3], n_test=13, seed=1)
    found = resamples.accuracies(np.packbits(right, axis=2))
    for number in (0, 7):
        taken = np.repeat(np.arange(13), resamples.tests[:, number].astype(int))
        assert len(taken) == 13
        expected = resamples.draws[3][number] @ right[:, :, taken].mean(axis=2)
        np.testing.assert_allclose(found[number], np.clip(expected, 0, 1), atol=1e-7)


@pytest.mark.parametrize(("n_repeats", "student"), [(5, 2.776), (10, 2.262), (40, 2.023)])
def test_resampled_repeats_spread_as_a_t_interval(n_repeats, student):
    values = np.random.default_rng(0).normal(size=(n_repeats, 200))
    spread = Resamples.of([n_repeats], n_test=1, seed=0).means(values).std(axis=0)
    expected = values.std(axis=0, ddof=1) / np.sqrt(n_repeats) * student / 1.96
    assert np.mean(spread / expected) == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("n_repeats", [2, 3, 4])
def test_intervals_of_few_repeats_cover_the_mean(n_repeats):
    values = np.random.default_rng(0).normal(size=(n_repeats, 2000))
    resamples = Resamples.of([n_repeats], n_test=1, seed=0)
    low, high = percentile_interval(resamples.means(values))
    assert np.mean((low <= 0) & (high >= 0)) >= 0.9
    np.testing.assert_allclose(resamples.draws[n_repeats].sum(axis=1), 1)


def test_resampled_accuracies_stay_accuracies():
    right = np.zeros((2, 2, 8), dtype=bool)
    right[0, 0], right[1, 1] = True, True
    found = Resamples.of([2], n_test=8, seed=0).accuracies(np.packbits(right, axis=2))
    assert (found.min(), found.max()) == (0, 1)


def test_the_interval_of_one_repeat_is_that_of_its_test_examples():
    right = np.random.default_rng(0).random((1, 1, 400)) < 0.7
    resampled = Resamples.of([1], n_test=400, seed=0).accuracies(np.packbits(right, axis=2))
    p = right.mean()
    assert resampled.std() == pytest.approx(np.sqrt(p * (1 - p) / 400), rel=0.1)
    low, high = percentile_interval(resampled)
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(p * (1 - p) / 400), rel=0.1)


def test_two_way_intervals_cover_the_truth_as_often_as_they_say():
    rng, covered = np.random.default_rng(0), []
    truth = np.clip(0.7 + 0.3 * rng.normal(size=100_000), 0, 1).mean()
    for seed in range(40):
        draws, tests = 0.05 * rng.normal(size=(8, 1)), 0.3 * rng.normal(size=(1, 200))
        right = rng.random((8, 1, 200)) < (0.7 + draws + tests)[:, None]
        resampled = Resamples.of([8], n_test=200, seed=seed).accuracies(np.packbits(right, axis=2))
        low, high = percentile_interval(resampled[:, 0])
        covered.append(low <= truth <= high)
    assert np.mean(covered) >= 0.88


def test_infinite_values_are_ordered_and_never_averaged():
    values = np.concatenate([np.zeros(50), np.ones(900), np.full(50, np.inf)])
    assert [float(end) for end in percentile_interval(values)] == [0.0, np.inf]


def test_rising_is_isotonic_regression():
    curves = np.random.default_rng(0).random((5, 9))
    expected = [IsotonicRegression().fit_transform(np.arange(9), curve) for curve in curves]
    np.testing.assert_allclose(rising(curves), expected)


@pytest.mark.parametrize(
    ("level", "labels"),
    [(0.1, 0), (0.2, 2), (0.3, 4), (0.4, 8), (0.5, 16), (0.6, 32), (0.61, np.inf)],
)
def test_labels_are_read_off_linearly_in_their_logarithm(level, labels):
    curve = np.array([[0.2, 0.4, 0.6]])
    assert labels_at(curve, np.array([level]), COUNTS)[0] == pytest.approx(labels)


def test_a_plateau_is_reached_where_it_begins():
    curve = np.array([[0.2, 0.4, 0.4]])
    assert labels_at(curve, np.array([0.4]), COUNTS)[0] == pytest.approx(8)


def test_a_level_that_every_repeat_ends_at_is_reached():
    values = np.tile([0.5, 0.8, 0.95], (3, 1))
    resampled = Resamples.of([3], n_test=1, seed=0).means(values)
    assert values.mean(axis=0)[2] < 0.95  # by rounding
    found = reach(values.mean(axis=0), rising(resampled), 0.95, COUNTS)
    assert found.status == "reached"
    assert found[:3] == pytest.approx([32] * 3)
    first = reach(values.mean(axis=0)[2:], resampled[:, 2:], 0.95, COUNTS[:1])
    assert first[:3] == (2, 2, 2)


@pytest.mark.parametrize("level", [0.1, 0.5])
def test_one_label_count_reaches_a_level_or_does_not(level):
    found = labels_at(np.array([[0.4]]), np.array([level]), np.array([7]))[0]
    assert found == (0 if level < 0.4 else np.inf)


@pytest.mark.parametrize(
    ("level", "expected"),
    [(0.1, (2, "below_first")), (0.3, (4, "reached")), (0.9, (32, "more_than"))],
)
def test_what_lies_beyond_the_label_counts_is_censored(level, expected):
    curve = np.array([0.2, 0.4, 0.6])
    found = reach(curve, np.tile(curve, (10, 1)), level, COUNTS)
    assert (round(found.n_labels, 9), found.status) == expected
    bounds = {"below_first": (0, 2), "reached": (4, 4), "more_than": (np.inf, np.inf)}
    assert (found.n_labels_low, found.n_labels_high) == pytest.approx(bounds[found.status])


def test_factors_between_curves_that_are_shifted_by_two_doublings():
    curve = np.array([0.25, 0.5, 0.75])
    pair = curve, np.tile(curve, (10, 1))
    shifted = curve - 0.25, np.tile(curve - 0.25, (10, 1))
    found = factors(pair, shifted, COUNTS)
    np.testing.assert_allclose(found["factor"], [4, 4, 1])
    np.testing.assert_allclose(found["equivalent"], [8, 32, 32])
    np.testing.assert_allclose(found["saved"], [0.75, 0.75, 0])
    assert found["status"].tolist() == ["reached", "reached", "more_than"]
    np.testing.assert_allclose(found["factor_low"], [4, 4, np.inf])
    back = factors(shifted, pair, COUNTS)
    np.testing.assert_allclose(back["factor"], [1, 1 / 4, 1 / 4])
    assert back["status"].tolist() == ["below_first", "reached", "reached"]
    np.testing.assert_allclose(back["factor_high"], [0, 1 / 4, 1 / 4])


def test_a_module_is_worth_itself(study):
    table = study.savings("clear", "clear")
    is_rising = np.diff(table["value"], prepend=-1) > 0
    np.testing.assert_allclose(table["factor"][is_rising], 1)
    assert (table["status"] == "reached").all()


def test_a_module_is_worth_itself_at_every_label_count(study):
    table = study.savings("clear", "clear")
    assert (table["equivalent"] == table["n_labels"]).all()
    assert table["saved"].tolist() == [0.0] * 4
    assert table[["factor", "factor_low", "factor_high"]].eq(1.0).all(axis=None)
    assert (table["status"] == "reached").all()


@pytest.mark.parametrize("level", [0.001, 0.3, 0.5, 0.7, 0.9, 0.9999])
def test_the_interval_of_labels_is_ordered_and_fits_the_status(study, level):
    for row in study.labels_to_reach(level).to_dict("records"):
        low, n_labels, high = (row[f"n_labels{end}"] for end in ("_low", "", "_high"))
        assert 0 <= low <= high
        if row["status"] == "more_than":
            assert (n_labels, high) == (60, np.inf)
        else:
            assert low <= n_labels <= high
            assert row["status"] == "reached" or n_labels == 3


def test_savings_name_what_is_compared(study):
    table = study.savings("clear", "noisy")
    assert list(table) == [
        *("module", "baseline", "output", "strategy", "n_labels", "value", "equivalent"),
        *("factor", "factor_low", "factor_high", "saved", "status"),
    ]
    crossed = table[table["status"] == "reached"]
    assert len(crossed)
    assert (crossed["factor_low"] <= crossed["factor"] + 1e-12).all()
    assert (crossed["factor"] <= crossed["factor_high"] + 1e-12).all()
    with pytest.raises(ModtoolsError, match='holds no module "nosy"; did you mean "noisy"'):
        study.savings("clear", "nosy")


def test_labels_to_reach_are_read_from_the_mean_curve(study):
    means = study.frame().groupby("module")["value"].apply(np.array)
    target = float(means["noisy"][[1, 2]].mean())
    found = study.labels_to_reach(target).set_index("module").loc["noisy"]
    expected = labels_at(rising(means["noisy"])[None], np.array([target]), np.array([3, 8, 20, 60]))
    assert found["n_labels"] == pytest.approx(expected[0])
    assert found["n_labels_low"] <= found["n_labels"] <= found["n_labels_high"]
    assert study.labels_to_reach(0.999)["status"].iloc[1] == "more_than"
    for wrong in (0, 1, 90):
        with pytest.raises(ModtoolsError, match="accuracy must lie strictly between 0 and 1"):
            study.labels_to_reach(wrong)


def test_areas(data, study):
    assert mean_area(np.array([0.5, 0.5, 0.5]), COUNTS) == pytest.approx(0.5)
    assert mean_area(np.array([0.2, 0.4, 0.8]), COUNTS) == pytest.approx((0.3 + 0.6) / 2)
    table = study.area().set_index("module")
    means = study.frame().groupby("module")["value"].apply(np.array)
    for module, row in table.iterrows():
        expected = trapezoid(means[module], np.log([3, 8, 20, 60])) / np.log(20)
        assert row["area"] == pytest.approx(expected)
        assert row["area_low"] <= row["area"] <= row["area_high"]
    with pytest.raises(ModtoolsError, match="an area needs at least two label counts"):
        label_efficiency(*data, n_labels=[5], repeats=1).area()


def test_code_length_is_that_of_the_learning_curve(data, study):
    modules, labels, test_labels = data
    train, test = modules["clear"]
    expected = []
    for repeat in range(5):
        rows = np.random.default_rng(repeat_seed(0, repeat)).permutation(90)[:60]
        curve = learning_curve(train[rows], labels[rows], test, test_labels, unlabelled=train)
        expected.append(curve.codelength[[2, 7, 19, 59]])
    table = study.codelength()
    found = table[table["module"] == "clear"]
    np.testing.assert_allclose(found["bits"], np.mean(expected, axis=0))
    np.testing.assert_allclose(found["bits_sd"], np.std(expected, axis=0, ddof=1))
    np.testing.assert_allclose(found["bits_per_label"], found["bits"] / [3, 8, 20, 60])
    np.testing.assert_allclose(found["compression"], np.log2(3) / found["bits_per_label"])
    with pytest.raises(ModtoolsError, match="no output module of this study has a codelength"):
        label_efficiency(*data, n_labels=[5, 9], repeats=1, outputs="class_mean").codelength()


def test_description_length_charges_the_first_labels_as_guessed():
    losses = np.array([1.0, 0.4, 0.2])
    whole = description_length(losses, COUNTS, 0.0, np.log(3))
    assert whole == pytest.approx(2 * np.log(3) + 6 * 0.7 + 24 * 0.3)
    surplus = description_length(losses, COUNTS, 0.4, np.log(3))
    assert surplus == pytest.approx(2 * (np.log(3) - 0.4) + 6 * 0.3)


def test_surplus_and_sample_complexity(study):
    losses = study.frame().groupby("module")["log_loss"].apply(np.array)["noisy"]
    eps = float(losses[[1, 2]].mean())
    surplus = study.surplus_description_length(eps).set_index("module").loc["noisy"]
    expected = description_length(losses, np.array([3, 8, 20, 60]), eps, np.log(3))
    assert surplus["surplus"] == pytest.approx(expected)
    assert surplus["surplus_low"] <= surplus["surplus"] <= surplus["surplus_high"]
    assert surplus["status"] == "reached"
    found = study.sample_complexity(eps).set_index("module").loc["noisy"]
    assert 8 < found["n_labels"] < 20
    assert (study.surplus_description_length(1e-3)["status"] == "more_than").all()
    assert (study.sample_complexity(1e-3)["status"] == "more_than").all()
    with pytest.raises(ModtoolsError, match="eps must be a finite number above 0"):
        study.sample_complexity(0)


def test_one_repeat_has_no_interval_of_its_losses(data):
    study = label_efficiency(*data, n_labels=[3, 20], repeats=1)
    tables = study.codelength(), study.surplus_description_length(0.5), study.sample_complexity(0.9)
    for table in tables:
        ends = [name for name in table if name.endswith(("low", "high"))]
        assert len(ends) == 2
        assert table[ends].isna().all(axis=None)
    assert study.area()[["area_low", "area_high"]].notna().all(axis=None)


def test_the_picture_holds_the_numbers(study):
    display = study.plot(target=0.6, ceiling=0.9)
    assert sorted(display.frame()["line"].unique()) == ["clear", "noisy"]
    np.testing.assert_allclose(display.frame()["value"], study.frame()["value"])


@pytest.mark.parametrize(
    ("n_labels", "message"),
    [([], "n_labels must be at least one"), ([50, "x"], "at least 1; got 'x'"), (True, "got True")],
)
def test_label_counts_that_are_none_are_not_extrapolated_to(study, n_labels, message):
    with pytest.raises(ModtoolsError, match=message):
        study.extrapolate(n_labels)


def test_several_label_counts_may_come_one_by_one(study):
    assert study.extrapolate(n for n in (70, 80))["n_labels"].tolist() == [70, 80] * 2


@pytest.mark.parametrize("count", [0, 60, 70.5, "x", True])
def test_a_picture_continues_to_a_label_count_beyond_those_measured(study, count):
    with pytest.raises(ModtoolsError, match="extrapolate_to must be a whole number of at least 61"):
        study.plot(extrapolate_to=count)
