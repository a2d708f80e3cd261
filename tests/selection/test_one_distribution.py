"""The pick, its probability, the differences and the verdict follow from one joint distribution."""

import numpy as np
import pytest
from scipy.stats import norm

from modtools import rank_modules
from modtools.selection._prediction import predict_accuracies
from tests.selection.simulation import draw_task, shelf_of

TELLING = 0.025  # probability that a module distinguishable from the pick may have at most
ROUGHLY = 0.005


def draw_rates(rng, n_modules, n_samples, levels=0.5):
    """Return how right two output modules are on common rows, some of them hard for all."""
    difficulty = rng.normal(size=n_samples)
    own = rng.normal(size=(n_modules, 2, n_samples))
    limits = norm.ppf(np.broadcast_to(levels, n_modules))[:, None, None] * np.sqrt(2)
    return (difficulty + own < limits).astype(float)


def predict(rates, evidence=None, names=None):
    evidence = rates.mean(axis=(1, 2))[:, None] if evidence is None else evidence
    return predict_accuracies(names or [f"m{i}" for i in range(len(rates))], rates, evidence)


@pytest.mark.parametrize(
    "seed", [*range(100), *(pytest.param(n, marks=pytest.mark.slow) for n in range(100, 200))]
)
def test_on_tables_of_noise_the_pick_is_the_most_probable_and_differences_agree(seed):
    rng = np.random.default_rng(seed)
    n_modules = int(rng.integers(2, 9))
    rates = draw_rates(rng, n_modules, int(rng.integers(10, 80)))
    found = predict(rates, rng.normal(size=(n_modules, 2)))
    probability, (pick, *_) = found.probability_best(), found.order()
    assert probability.sum() == pytest.approx(1.0)
    assert probability[pick] == probability.max()
    ahead, half = found.differences(pick)
    others = np.arange(n_modules) != pick
    # The best of all is also better than the pick, and quasi Monte Carlo is right to half a point.
    assert (probability <= norm.cdf(1.96 * -ahead / np.where(others, half, 1)) + ROUGHLY)[
        others
    ].all()
    distinguishable = ahead > half
    assert (probability[distinguishable] < TELLING + ROUGHLY).all()
    if probability[pick] > 1 - TELLING + ROUGHLY:
        assert distinguishable[others].all()
    if n_modules == 2:
        assert distinguishable.any() == (probability[pick] > norm.cdf(1.96))


@pytest.mark.parametrize("seed", range(8))
def test_of_two_modules_the_probability_is_that_that_the_interval_implies(seed):
    task = draw_task([12, 24, 60, 160][seed % 4], seed=seed)
    shelf = shelf_of(task)
    table = rank_modules({name: shelf[name] for name in ("half", "bent")}, task.labels)
    first, second = table.predictions().to_dict("records")
    error = (second["gap_high"] - second["gap_low"]) / 2 / 1.96
    assert first["probability_best"] == pytest.approx(norm.cdf(second["gap"] / error), abs=1e-9)
    assert second["distinguishable"] == (first["probability_best"] > norm.cdf(1.96))
    assert ("not distinguishable" in table.verdict()) == (not second["distinguishable"])


def test_probability_is_that_of_normal_draws_with_the_covariance_of_the_differences():
    rng = np.random.default_rng(0)
    found = predict(draw_rates(rng, 6, 60, np.linspace(0.5, 0.7, 6)))
    covariance = found.covariance()
    for place in range(6):
        _, half = found.differences(place)
        spread = covariance[place, place] + np.diag(covariance) - 2 * covariance[place]
        np.testing.assert_allclose(half, 1.96 * np.sqrt(spread), atol=1e-9)
    np.testing.assert_allclose(found.half_widths(), 1.96 * np.sqrt(np.diag(covariance)))
    draws = rng.multivariate_normal(found.accuracy, covariance, size=200_000)
    expected = np.bincount(draws.argmax(axis=1), minlength=6) / len(draws)
    np.testing.assert_allclose(found.probability_best(), expected, atol=ROUGHLY)


@pytest.mark.parametrize("seed", range(20))
def test_names_and_order_of_the_modules_change_nothing(seed):
    rng = np.random.default_rng(seed)
    rates, evidence = draw_rates(rng, 7, 40), rng.normal(size=(7, 2))
    names = [f"m{i}" for i in range(7)]
    turned = rng.permutation(7)
    found = predict(rates, evidence, names)
    other = predict(rates[turned], evidence[turned], [f"z{names[i]}" for i in turned])
    np.testing.assert_allclose(
        other.probability_best(), found.probability_best()[turned], rtol=0, atol=1e-9
    )
    assert turned[other.order()].tolist() == found.order().tolist()


def test_a_ranking_is_the_same_in_whatever_order_modules_are_given():
    task = draw_task(24, seed=4)
    shelf = shelf_of(task)
    shelf["again"] = shelf["half"]
    tables = [
        rank_modules({name: shelf[name] for name in names}, task.labels)
        for names in (list(shelf), list(shelf)[::-1])
    ]
    first, second = (table.predictions().set_index("module") for table in tables)
    assert first.index.tolist() == second.index.tolist()
    np.testing.assert_allclose(
        *(table.drop(columns="metric").astype(float) for table in (first, second)), atol=1e-9
    )
    assert tables[0].verdict() == tables[1].verdict()
    rows = first[first.index.isin(["half", "again"])]
    assert rows["probability_best"].nunique() == 1
    assert rows.index.tolist() == ["again", "half"]  # in the order of the names


def test_a_copy_under_another_name_is_equal_and_shares_the_probability():
    rng = np.random.default_rng(1)
    rates = draw_rates(rng, 3, 60, [0.8, 0.6, 0.5])
    found = predict(np.concatenate([rates, rates[:1]]), names=["b", "c", "d", "a"])
    assert found.order()[:2].tolist() == [3, 0]  # by name
    probability = found.probability_best()
    assert probability[0] == probability[3]
    ahead, half = found.differences(3)
    assert ahead[0] == half[0] == 0.0
    alone = predict(rates[:1].repeat(2, axis=0), names=["b", "a"])
    assert alone.probability_best().tolist() == [0.5, 0.5]
    assert alone.order().tolist() == [1, 0]


@pytest.mark.parametrize("level", [0.0, 1.0])
@pytest.mark.parametrize("n_modules", [1, 2, 3, 100])
def test_modules_that_are_all_right_or_all_wrong_have_equal_probabilities(level, n_modules):
    found = predict(np.full((n_modules, 2, 20), level), np.zeros((n_modules, 1)))
    np.testing.assert_allclose(found.probability_best(), 1 / n_modules, rtol=1e-12)
    ahead, half = found.differences(0)
    assert (ahead <= half).all()
    assert found.modules[found.order()[0]] == "m0"


def test_a_perfect_module_beside_noise_is_distinguishable_and_nearly_certain():
    rng = np.random.default_rng(2)
    rates = draw_rates(rng, 4, 200)
    rates[2] = 1.0
    found = predict(rates)
    assert found.order()[0] == 2
    assert found.probability_best()[2] > 0.999
    ahead, half = found.differences(2)
    assert (ahead > half).sum() == 3


def test_a_hundred_modules_of_noise_have_low_probabilities_and_a_pick_that_is_the_most_probable():
    rng = np.random.default_rng(3)
    found = predict(draw_rates(rng, 100, 50), rng.normal(size=(100, 3)))
    probability = found.probability_best()
    assert probability[found.order()[0]] == probability.max()
    assert probability.max() < 0.2
    assert probability.sum() == pytest.approx(1.0)


def test_the_verdict_and_the_notes_say_the_same_as_the_numbers():
    for seed in (0, 2, 30, 35):  # the last three have a pick that is not predicted highest
        rng = np.random.default_rng(seed)
        labels = np.arange(24) % 3
        shelf = {f"m{i}": rng.normal(size=(24, 4 + 8 * (i % 3))) for i in range(5)}
        ranking = rank_modules(shelf, labels)
        table = ranking.predictions()
        assert ranking.best == table.loc[table["probability_best"].idxmax(), "module"]
        assert (table["probability_best"] <= table["probability_best"][0]).all()
        assert table["predicted"][1:].is_monotonic_decreasing
        probability = 100 * table["probability_best"][0]
        assert (
            f"{ranking.best}, the best of 5 with probability {probability:.0f} %"
            in ranking.verdict()
        )
        higher = table["module"][table["predicted"] > table["predicted"][0]].tolist()
        said = any("Predicted higher, with a lower probability" in note for note in ranking.notes())
        assert said == bool(higher)


def test_probabilities_that_are_nearly_certain_are_not_called_certain():
    task = draw_task(400, seed=0)
    shelf = shelf_of(task)
    ranking = rank_modules({"all": shelf["all"], "few": shelf["few"]}, task.labels)
    assert "the best of 2 with probability > 99 %." in ranking.verdict()
    alone = rank_modules({"all": shelf["all"]}, task.labels)
    assert alone.predictions()["probability_best"].tolist() == [1.0]
