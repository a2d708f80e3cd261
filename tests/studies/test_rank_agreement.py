"""Rank agreement against its definitions, written out pair by pair and copy by copy."""

from itertools import combinations, permutations

import numpy as np
import pytest
from scipy import stats

from modtools.studies._rank_agreement import MEASURES, rank_agreement

pytestmark = pytest.mark.floating_point


def measures(scores, truth, copies=None):
    """Every measure by name; of the first resample where copies are given."""
    scores, truth = np.asarray(scores, dtype=float), np.asarray(truth, dtype=float)
    copies = np.ones((len(truth), 1), dtype=int) if copies is None else copies
    return dict(zip(MEASURES, rank_agreement(scores, truth, copies)[:, 0].tolist(), strict=True))


def kendall_by_definition(scores, truth):
    """Concordant minus discordant pairs, over the pairs that each list can order."""
    pairs = list(combinations(range(len(scores)), 2))
    total = sum(np.sign(scores[i] - scores[j]) * np.sign(truth[i] - truth[j]) for i, j in pairs)
    n_scores = sum(scores[i] != scores[j] for i, j in pairs)
    n_truth = sum(truth[i] != truth[j] for i, j in pairs)
    return total / np.sqrt(n_scores * n_truth)


def one_sided_weighted_tau(scores, truth, leading, other):
    """Vigna's product with additive hyperbolic weights of the ranks by `leading`, then `other`."""
    order = sorted(range(len(scores)), key=lambda i: (leading[i], other[i]), reverse=True)
    rank = {module: place for place, module in enumerate(order)}

    def product(first, second):
        return sum(
            np.sign(first[i] - first[j])
            * np.sign(second[i] - second[j])
            * (1 / (rank[i] + 1) + 1 / (rank[j] + 1))
            for i, j in combinations(range(len(first)), 2)
        )

    return product(scores, truth) / np.sqrt(product(scores, scores) * product(truth, truth))


def weighted_tau_by_definition(scores, truth):
    by_scores = one_sided_weighted_tau(scores, truth, scores, truth)
    return (by_scores + one_sided_weighted_tau(scores, truth, truth, scores)) / 2


def lists(seed, *, ties):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.2, 0.9, size=11)
    scores = truth + rng.normal(scale=0.2, size=11)
    return (scores.round(1), truth.round(1)) if ties else (scores, truth)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_correlations_follow_their_definitions(seed, ties):
    scores, truth = lists(seed, ties=ties)
    found = measures(scores, truth)
    assert found["kendall"] == pytest.approx(kendall_by_definition(scores, truth), abs=1e-12)
    assert found["pearson"] == pytest.approx(np.corrcoef(scores, truth)[0, 1], abs=1e-12)
    both = stats.weightedtau(scores, truth).statistic
    assert found["weighted_tau"] == pytest.approx(both, abs=1e-12)
    one = stats.weightedtau(scores, truth, rank=None).statistic
    assert found["weighted_tau_by_score"] == pytest.approx(one, abs=1e-12)
    if not ties:
        expected = weighted_tau_by_definition(scores, truth)
        assert found["weighted_tau"] == pytest.approx(expected, abs=1e-12)
        expected = one_sided_weighted_tau(scores, truth, scores, truth)
        assert found["weighted_tau_by_score"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_copies_count_as_if_the_lists_were_repeated(ties):
    scores, truth = lists(7, ties=ties)
    rng = np.random.default_rng(1)
    for _ in range(5):
        copies = np.bincount(rng.integers(0, 11, 11), minlength=11)
        found = measures(scores, truth, copies[:, None])
        first, second = np.repeat(scores, copies), np.repeat(truth, copies)
        expected = {
            "weighted_tau": stats.weightedtau(first, second).statistic,
            "weighted_tau_by_score": stats.weightedtau(first, second, rank=None).statistic,
            "kendall": stats.kendalltau(first, second).statistic,
            "pearson": np.corrcoef(first, second)[0, 1],
            **regrets_by_definition(scores[copies > 0], truth[copies > 0], truth[copies > 0]),
        }
        assert found == pytest.approx(expected, abs=1e-10)


def regrets_by_definition(scores, truth, all_truth):
    """The best of the k picked, averaged over every order that the scores allow."""
    places = range(len(scores))
    falling = [
        tuple(-scores[i] for i in order) for order in [sorted(places, key=lambda i: -scores[i])]
    ]
    groups = {}
    for i in places:
        groups.setdefault(-scores[i], []).append(i)
    orders = [[]]
    for value in sorted(set(falling[0])):
        orders = [head + list(tail) for head in orders for tail in permutations(groups[value])]
    return {
        name: 100 * (all_truth.max() - np.mean([truth[order[:k]].max() for order in orders]))
        for name, k in (("regret", 1), ("regret_3", 3), ("regret_5", 5))
    }


@pytest.mark.parametrize("seed", range(12))
def test_regret_at_k_is_the_mean_over_all_orders_of_ties(seed):
    rng = np.random.default_rng(seed)
    scores, truth = rng.integers(0, 4, size=7).astype(float), rng.uniform(size=7).round(1)
    expected = regrets_by_definition(scores, truth, truth)
    found = measures(scores, truth)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-10)


def test_modules_that_a_score_leaves_out_are_not_picked_but_may_be_the_best():
    truth = np.array([0.9, 0.8, 0.7, 0.6])
    found = measures([np.nan, 1.0, 3.0, 2.0], truth)
    assert found["regret"] == pytest.approx(20.0)
    assert found["regret_3"] == pytest.approx(10.0)
    assert found["kendall"] == pytest.approx(measures([1.0, 3.0, 2.0], truth[1:])["kendall"])


def test_a_resample_without_two_modules_counts_every_module_once():
    scores, truth = lists(3, ties=False)
    copies = np.zeros((11, 3), dtype=int)
    copies[4, 0] = 11
    copies[[4, 5], 1] = 5, 6
    copies[:, 2] = 1
    found = rank_agreement(scores, truth, copies)
    assert found[:, 0] == pytest.approx(found[:, 2])
    assert found[:, 0] != pytest.approx(found[:, 1])


def test_weighted_tau_is_symmetric_and_weighs_the_top_most():
    scores, truth = lists(0, ties=False)
    forth, back = measures(scores, truth), measures(truth, scores)
    assert forth["weighted_tau"] == pytest.approx(back["weighted_tau"], abs=1e-12)
    ordered = np.arange(8.0) / 10
    wrong_top, wrong_bottom = ordered.copy(), ordered.copy()
    wrong_top[[6, 7]] = wrong_top[[7, 6]]
    wrong_bottom[[0, 1]] = wrong_bottom[[1, 0]]
    top, bottom = measures(wrong_top, ordered), measures(wrong_bottom, ordered)
    assert top["weighted_tau"] < bottom["weighted_tau"]
    assert top["kendall"] == pytest.approx(bottom["kendall"])


@pytest.mark.parametrize("order", [1, -1])
def test_a_constant_list_counts_as_zero(order):
    flat, truth = np.full(4, 0.3), np.array([0.1, 0.5, 0.2, 0.9])
    found = measures(*(flat, truth)[::order])
    correlations = [found[name] for name in MEASURES if not name.startswith("regret")]
    assert correlations == [0.0] * 4


@pytest.mark.parametrize("change", [lambda t: 1e-200 * t, lambda t: 1e6 + t, lambda t: 1e300 * t])
def test_pearson_of_tiny_shifted_and_huge_values(change):
    truth = np.array([0.2, 0.4, 0.9])
    assert measures(change(truth), truth)["pearson"] == pytest.approx(1.0)


def test_a_rising_map_of_the_scores_changes_nothing_but_pearson():
    scores, truth = lists(2, ties=True)
    before, after = measures(scores, truth), measures(np.exp(3 * scores), truth)
    assert before.pop("pearson") != pytest.approx(after.pop("pearson"))
    assert before == pytest.approx(after, abs=1e-12)
