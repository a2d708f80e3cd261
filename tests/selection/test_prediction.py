"""Predicted accuracies: by their definition, their probability, their pairs, and by simulation."""

import numpy as np
import pytest
from scipy.stats import norm

from modtools import Task, rank_modules
from modtools.exceptions import ModtoolsError, ModtoolsWarning
from modtools.outputs import LogisticOutput, RidgeOutput
from modtools.selection._held_out import LEARNING_RATE, held_out_rates
from modtools.selection._prediction import TRAINING_DRAW, predict_accuracies
from modtools.tasks import encode_labels
from tests.selection.simulation import draw_task, shelf_of

pytestmark = pytest.mark.floating_point

NAMES = tuple("abcde")


def once(accuracies=(0.9, 0.8, 0.7, 0.6, 0.5), n_samples=80, seed=0):
    rng = np.random.default_rng(seed)
    difficulty = rng.random(n_samples)
    noise = rng.normal(scale=0.2, size=(len(accuracies), n_samples))
    return (difficulty + noise < np.array(accuracies)[:, None]).astype(float)


def twice(rates):
    """Return the rates of two output modules that are right on the same rows."""
    return np.stack([rates, rates], axis=1)


def by_definition(rates, evidence):
    """Compute the same row by row and module by module."""
    n_modules, n_samples = rates.shape
    level = [np.mean(row) for row in rates]
    z = np.zeros(n_modules)
    for column in evidence.T:
        z += (column - np.mean(column)) / np.std(column) / evidence.shape[1]
    z = (z - z.mean()) / z.std()
    slope = np.polyfit(z, level, 1)[0]
    deviations = []
    for share in level:
        smoothed = (n_samples * share + 2) / (n_samples + 4)
        deviations.append(np.sqrt(smoothed * (1 - smoothed)))
    paired = []
    for i in range(n_modules):
        for j in range(n_modules):
            r = 1.0 if i == j else np.corrcoef(rates[i], rates[j])[0, 1]
            own, other = deviations[i], deviations[j]
            paired.append((own**2 + other**2 - 2 * r * own * other) / n_samples)
    noise = np.mean(paired) / 2  # a variance is half the mean squared difference
    weight = max(0.0, 1 - noise / np.var(level, ddof=1))
    left_over = level - np.mean(level) - slope * z
    own = max(0.0, 1 - noise * (n_modules - 2) / np.sum(left_over**2))
    expected = np.mean(level) + weight * slope * z + own * left_over
    return expected, weight, np.array(deviations)


def test_against_the_definition():
    rates = once()
    evidence = np.column_stack([rates.mean(axis=1), [5.0, 3.0, 4.0, 1.0, 2.0]])
    expected, weight, deviations = by_definition(rates, evidence)
    found = predict_accuracies(NAMES, twice(rates), evidence)
    np.testing.assert_allclose(found.accuracy, expected, rtol=1e-12)
    np.testing.assert_allclose(found.deviation, deviations, rtol=1e-12)
    assert found.weight == pytest.approx(weight, rel=1e-10)
    assert 0.5 < weight < 1


def test_units_and_order_of_the_evidence_change_nothing():
    rates = once()
    evidence = np.column_stack([rates.mean(axis=1), [5.0, 3.0, 4.0, 1.0, 2.0]])
    expected = predict_accuracies(NAMES, twice(rates), evidence).accuracy
    changed = (evidence * [1e9, 1e-9] + [0, 7e-9])[:, ::-1]
    np.testing.assert_allclose(predict_accuracies(NAMES, twice(rates), changed).accuracy, expected)


def test_probabilities_of_two_modules_are_those_of_a_normal_difference():
    rates = once((0.8, 0.7), n_samples=100)
    found = predict_accuracies(NAMES[:2], twice(rates), rates.mean(axis=1, keepdims=True))
    (_, ahead), (_, half) = found.differences(0)
    expected = norm.cdf(ahead / (half / 1.96))
    assert found.probability_best()[0] == pytest.approx(expected, abs=0.03)
    assert found.probability_best().sum() == pytest.approx(1.0)


def test_pairs_that_fail_together_are_distinguishable_where_strangers_are_not():
    alike = np.zeros((2, 100))
    alike[0, :80] = alike[1, :70] = 1.0
    apart = np.stack([alike[0], np.roll(alike[1], 45)])
    evidence = alike.mean(axis=1, keepdims=True)
    widths = [
        predict_accuracies(NAMES[:2], twice(r), evidence).differences(0)[1][1]
        for r in (alike, apart)
    ]
    assert widths[0] < 0.7 * widths[1]


def test_output_modules_that_disagree_widen_the_interval():
    rates = twice(once())
    rates[0, 1] = 0.5
    found = predict_accuracies(NAMES, rates, np.arange(5.0)[::-1, None])
    assert found.disagreement[0] == pytest.approx((0.5 - rates[0, 0].mean()) / 2)
    assert found.disagreement[1:].tolist() == [0.0] * 4
    chance = 1.4 * found.deviation[0] ** 2 / 80
    own = chance + found.disagreement[0] ** 2
    others = 1.4 * found.deviation[1:] ** 2 / 80
    mean = (own + others.sum()) / 5  # what is left where the labels tell nothing
    variance = found.weight * own + (1 - found.weight) * mean
    assert found.standard_error[0] == pytest.approx(np.sqrt(variance))
    both = rates.copy()
    both[1, 1] = both[1, 0] + rates[0, 1].mean() - rates[0, 0].mean()
    alike = predict_accuracies(NAMES, both, np.arange(5.0)[::-1, None])
    assert alike.differences(0)[1][1] < found.differences(0)[1][1]


def test_a_module_is_no_distance_from_itself():
    found = predict_accuracies(NAMES, twice(once()), np.arange(5.0)[:, None])
    ahead, half = found.differences(2)
    assert ahead[2] == half[2] == 0.0


def test_rows_of_a_test_widen_the_intervals_as_their_variance_says():
    found = predict_accuracies(NAMES, twice(once()), np.arange(5.0)[::-1, None])
    own = found.deviation**2 * (TRAINING_DRAW / 80 + 1 / 200)
    variance = found.weight * own + (1 - found.weight) * own.mean()
    np.testing.assert_allclose(found.half_widths(200), 1.96 * np.sqrt(variance))
    np.testing.assert_allclose(found.half_widths(), 1.96 * found.standard_error)


@pytest.mark.parametrize("evidence", [[[1.0]] * 3, [[0.1 + 0.2], [0.3], [0.3]]])
def test_evidence_that_is_tied_leaves_the_order_to_the_held_out_rows(evidence):
    rates = once((0.9, 0.6, 0.3))
    found = predict_accuracies(NAMES[:3], twice(rates), np.array(evidence))
    np.testing.assert_array_equal(found.accuracy.argsort(), rates.mean(axis=1).argsort())


def test_rows_that_tell_nothing_leave_the_order_to_the_evidence():
    (row,) = once((0.5,))
    rates = np.stack([np.roll(row, shift) for shift in range(4)])
    found = predict_accuracies(NAMES[:4], twice(rates), np.array([[2.0], [4.0], [1.0], [3.0]]))
    assert found.weight < 0.01
    assert np.ptp(found.accuracy) < 0.001


def test_evidence_against_the_held_out_rows_moves_nothing():
    rates = once((0.9, 0.6, 0.3))
    against, tied = (
        predict_accuracies(NAMES[:3], twice(rates), np.array(evidence)).accuracy
        for evidence in ([[1.0], [2.0], [3.0]], [[1.0]] * 3)
    )
    np.testing.assert_allclose(against, tied)


def test_many_rows_are_believed_whatever_the_evidence_says():
    rates = once((0.9, 0.6, 0.5, 0.3, 0.1), n_samples=20_000)
    found = predict_accuracies(NAMES, twice(rates), np.array([[1.0], [2.0], [1.0], [0.0], [0.0]]))
    np.testing.assert_allclose(found.accuracy, rates.mean(axis=1), atol=0.01)


def test_modules_that_are_alike_share_the_probability():
    rates = once((0.8,))
    same = np.repeat(rates, 3, axis=0)
    found = predict_accuracies(NAMES[:3], twice(same), np.array([[1.0]] * 3))
    np.testing.assert_allclose(found.probability_best(), 1 / 3)


def test_of_two_modules_held_out_rows_decide_where_the_evidence_is_against_them():
    rates = once((0.95, 0.4), n_samples=400)
    found = predict_accuracies(NAMES[:2], twice(rates), np.array([[1.0], [2.0]]))
    assert found.accuracy[0] > found.accuracy[1] + 0.4


def test_one_label_a_class_predicts_a_guess():
    shelf = {"a": np.eye(5), "b": np.eye(5)[:, ::-1]}
    with pytest.warns(ModtoolsWarning, match="MT006"):
        table = rank_modules(shelf, np.arange(5)).predictions()
    np.testing.assert_allclose(table["predicted"], 0.2)


def test_one_module_is_its_own_mean_and_the_best():
    rates = once((0.8,))
    found = predict_accuracies(("a",), twice(rates), np.array([[1.0]]))
    assert found.accuracy[0] == pytest.approx(rates.mean())
    assert found.probability_best().tolist() == [1.0]


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_rows_that_are_all_right_or_all_wrong_are_still_uncertain(level):
    found = predict_accuracies(NAMES[:2], np.full((2, 2, 20), level), np.array([[1.0], [2.0]]))
    assert found.accuracy.tolist() == [level, level]
    assert (found.half_widths() > 0.1).all()
    assert np.isfinite(found.probability_best()).all()


def test_held_out_rates_are_those_of_two_output_modules():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = rng.normal(size=(60, 4)) + np.eye(3, 4)[labels]
    logistic, ridge = held_out_rates(features, encode_labels(labels), seed=0)
    folds = LogisticOutput(alpha=1.0).leave_one_out(features, labels)
    np.testing.assert_allclose(logistic, 1 - 0.8**LEARNING_RATE * (folds != labels))
    np.testing.assert_array_equal(ridge, RidgeOutput().leave_one_out(features, labels) == labels)


def test_copies_in_a_group_do_not_flatter():
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(30, 40)), np.arange(30) % 2
    twice, both = np.repeat(features, 2, axis=0), np.repeat(labels, 2)
    groups = np.repeat(np.arange(30), 2)
    shelf = {"a": twice, "b": twice[:, :20]}
    copied = rank_modules(shelf, both).predictions()["predicted"].mean()
    task = Task(twice, both, groups=groups)
    grouped = rank_modules(shelf, task).predictions()["predicted"].mean()
    assert grouped < copied - 0.1


def test_a_module_that_knows_only_the_groups_is_not_picked():
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(40), 5)
    labels = (np.arange(40) % 2)[groups]
    names_group = rng.normal(size=(40, 20))[groups] + 0.01 * rng.normal(size=(200, 20))
    knows_class = labels[:, None] + 1.5 * rng.normal(size=(200, 4))
    shelf = {"identity": names_group, "real": knows_class}
    assert rank_modules(shelf, labels, by="logistic").best == "identity"
    task = Task(knows_class, labels, groups=groups)
    assert rank_modules(shelf, task, by="logistic").best == "real"
    ranking = rank_modules(shelf, task)
    assert ranking.best == "real"
    assert "codelength" not in set(ranking.frame()["score"])  # it does not know groups
    assert ranking.predictions()["predicted"][0] > 0.6


def test_the_frame_has_probabilities_pairs_and_intervals_best_first():
    train = draw_task(60, seed=3)
    ranking = rank_modules(shelf_of(train), train.labels)
    table = ranking.predictions()
    assert table["predicted"].is_monotonic_decreasing
    assert table["probability_best"].sum() == pytest.approx(1.0)
    assert table["module"][0] == ranking.best
    assert (table["predicted_low"] <= table["predicted"]).all()
    assert (table["predicted"] <= table["predicted_high"]).all()
    assert table["gap"][0] == 0.0
    assert (table["distinguishable"] == (table["gap_low"] > 0)).all()
    assert (ranking.predictions(n_test=50)["predicted_low"] <= table["predicted_low"]).all()
    frame = ranking.frame()
    first = frame[frame["score"] == "predicted"]
    np.testing.assert_allclose(first["value"], table["predicted"], rtol=1e-12)
    assert set(frame["score"]) == {
        "predicted", "half_split", "codelength", "logistic", "knn",
    }  # fmt: skip
    assert "probability of being best (%)" in repr(ranking)
    assert f"Pick: {ranking.best}, the best of 4 with probability " in repr(ranking)


def test_a_ranking_by_a_score_predicts_nothing():
    train = draw_task(30, seed=0)
    with pytest.raises(ModtoolsError, match=r'by "ridge", which predicts no accuracy; leave by='):
        rank_modules(shelf_of(train), train.labels, by="ridge").predictions()


def test_named_scores_come_beside_the_prediction_and_change_nothing():
    train = draw_task(40, seed=0)
    alone = rank_modules(shelf_of(train), train.labels).predictions()
    beside = rank_modules(shelf_of(train), train.labels, scores=["logme", "knn"])
    found = beside.predictions()["predicted"]
    np.testing.assert_allclose(found, alone["predicted"], rtol=1e-9)
    assert beside.table()[0][-2:] == ["logme", "knn (%)"]


@pytest.mark.parametrize("n_labels", [40, pytest.param(160, marks=pytest.mark.slow)])
def test_intervals_cover_what_is_achieved(n_labels):
    """A small simulation; docs/picking.md has the large one."""
    test = draw_task(3000, seed=10**6)
    judged = shelf_of(test)
    covered, picked, pairs = [], [], []
    for seed in range(16):
        train = draw_task(n_labels, seed=seed)
        shelf = shelf_of(train)
        table = rank_modules(shelf, train.labels).predictions().set_index("module")
        achieved = {
            name: LogisticOutput().fit(rows, train.labels).score(judged[name], test.labels)
            for name, rows in shelf.items()
        }
        ok = [
            row.predicted_low <= achieved[row.Index] <= row.predicted_high
            for row in table.itertuples()
        ]
        gap = {name: achieved[table.index[0]] - value for name, value in achieved.items()}
        covered += ok
        picked.append(ok[0])
        pairs += [r.gap_low <= gap[r.Index] <= r.gap_high for r in table[1:].itertuples()]
    assert np.mean(covered) > 0.88
    assert np.mean(picked) > 0.8
    assert np.mean(pairs) > 0.88


def test_modules_that_are_alike_are_seldom_distinguishable():
    rng = np.random.default_rng(0)
    told = []
    for _ in range(12):
        labels = np.arange(60) % 3
        shelf = {f"m{i}": rng.normal(size=(60, 6)) + np.eye(3, 6)[labels] for i in range(5)}
        told += rank_modules(shelf, labels).predictions()["distinguishable"].tolist()[1:]
    assert np.mean(told) < 0.05
