"""knn: golden value, a full distance matrix, copies, votes, groups, peers."""

import numpy as np
import pytest

from modtools.exceptions import ModtoolsError, ModtoolsWarning
from modtools.transferability import _pairs
from modtools.transferability._pairs import knn, nearest_rows
from tests.transferability import row_definitions
from tests.transferability.definitions import golden

pytestmark = pytest.mark.floating_point


def make_rows(n_samples=120, n_features=5, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n_samples)
    return rng.normal(size=(n_samples, n_features)) + 0.7 * labels[:, None], labels


def test_golden_value():
    features, labels, _ = golden()
    assert knn(features, labels, standardize=False) == pytest.approx(0.3571428571, abs=5e-11)


@pytest.mark.parametrize("block", [11, 50, 1024])
@pytest.mark.parametrize("k", [1, 3, 8, 119])
def test_neighbours_of_a_full_matrix(monkeypatch, block, k):
    monkeypatch.setattr(_pairs, "_BLOCK_ROWS", block)
    points = row_definitions.standardized(make_rows()[0])
    found, distances = nearest_rows(points, k)
    np.testing.assert_array_equal(found, row_definitions.neighbours(points, k))
    expected = np.take_along_axis(row_definitions.distances(points), found, axis=1)
    np.testing.assert_allclose(np.sqrt(distances), expected, atol=1e-12)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("standardize", [True, False])
def test_nearest_neighbour_by_definition(metric, standardize):
    features, labels = make_rows()
    points = row_definitions.standardized(features) if standardize else features
    nearest = row_definitions.neighbours(points, 1, metric)[:, 0]
    expected = np.mean(labels[nearest] == labels)
    assert knn(features, labels, metric=metric, standardize=standardize) == expected


def test_a_row_is_not_its_own_neighbour_even_among_copies():
    features = np.repeat(make_rows(20)[0], 3, axis=0)
    labels = np.tile([0, 1, 2], 20)
    assert knn(features, labels) == 0.0
    found, distances = nearest_rows(features, 2)
    assert not (found == np.arange(60)[:, None]).any()
    assert not distances.any()


def test_copies_in_one_group_are_not_neighbours():
    features, labels = make_rows(40)
    copies, twice = np.tile(features, (2, 1)), np.tile(labels, 2)
    groups = np.tile(np.arange(40), 2)
    assert knn(copies, twice) == 1.0
    assert knn(copies, twice, groups=groups) == knn(features, labels)


@pytest.mark.parametrize("block", [7, 1024])
def test_groups_by_definition(monkeypatch, block):
    monkeypatch.setattr(_pairs, "_BLOCK_ROWS", block)
    features, labels = make_rows()
    groups = np.random.default_rng(0).integers(0, 10, len(labels))
    points = row_definitions.standardized(features)
    nearest = row_definitions.neighbours(points, 1, groups=groups)[:, 0]
    assert knn(features, labels, groups=groups) == np.mean(labels[nearest] == labels)


def test_few_rows_outside_the_group():
    features = np.array([[0.0], [1.0], [5.0], [5.5], [6.0], [7.0], [8.0]])
    found, _ = nearest_rows(features, 2, groups=np.array([0, 0, 1, 1, 1, 1, 1]))
    np.testing.assert_array_equal(found, [[2, 3]] * 2 + [[1, 0]] * 5)


def test_votes():
    # Rows on a line; the three neighbours of 0 are 1 (b), 2 (c), 3 (c).
    features, labels = [[0.0], [1.0], [2.0], [3.0], [50.0], [51.0]], ["c", "b", "c", "c", "b", "b"]
    assert knn(features, labels, k=3, standardize=False) == 0.5


def test_equal_votes_go_to_the_nearer_neighbour_whatever_the_names():
    # The middle row lies nearer to its own class on the left than to the other on the right.
    features = [[-1.0], [0.0], [2.0], [2.5], [-1.25]]
    for names in (["a", "b"], ["b", "a"]):
        labels = [names[0], names[0], names[1], names[1], names[0]]
        assert knn(features, labels, k=2, standardize=False) == 1.0


def test_rows_at_one_distance_share_the_votes():
    # Both neighbours of the middle row are as near; those of the others are it, of another class.
    for names in (["a", "b"], ["b", "a"]):
        labels = [names[0], names[1], names[1]]
        for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
            features = np.array([[-1.0], [0.0], [1.0]])[order]
            found = knn(features, np.array(labels)[order], standardize=False)
            assert found == pytest.approx((0 + 0.5 + 1) / 3)


@pytest.mark.parametrize("k", [1, 3, 30])
@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_shares_among_many_copies_by_counting(k, shift):
    """Eight points, each many times: nearer points first, equal ones share what is left."""
    rng = np.random.default_rng(0)
    points = (np.arange(8)[:, None] >> np.arange(3) & 1) + shift
    place = rng.integers(0, 8, 150)
    features, labels = points[place], rng.integers(0, 3, 150)
    standard = row_definitions.standardized(features)
    apart = np.round(row_definitions.distances(standard), 9)
    right = 0.0
    for i in range(150):
        others = np.delete(np.arange(150), i)
        votes, away, left = np.zeros(3), np.zeros(3), float(k)
        for distance in np.unique(apart[i, others]):
            at = others[apart[i, others] == distance]
            weight = min(1.0, left / len(at))
            votes += weight * np.bincount(labels[at], minlength=3)
            away += weight * distance * np.bincount(labels[at], minlength=3)
            left -= weight * len(at)
        best = votes > votes.max() - 1e-9
        best &= away < away[best].min() + 1e-9
        right += best[labels[i]] / best.sum()
    assert knn(features, labels, k=k) == pytest.approx(right / 150, rel=1e-9)


@pytest.mark.parametrize("k", [1, 4])
def test_real_targets_give_r_squared(k):
    features, _ = make_rows()
    targets = features @ np.arange(5) + 1.0
    points = row_definitions.standardized(features)
    predicted = targets[row_definitions.neighbours(points, k)].mean(axis=1)
    means = (targets.sum() - targets) / (len(targets) - 1)
    expected = 1 - np.square(targets - predicted).sum() / np.square(targets - means).sum()
    assert knn(features, targets, k=k) == pytest.approx(expected, rel=1e-12)


def test_large_float32_features_agree_with_float64(monkeypatch):
    features, labels = make_rows(400, 30)
    expected = knn(features, labels)
    monkeypatch.setattr(_pairs, "_FLOAT32_SIZE", 0)
    assert knn(features, labels) == expected
    assert knn(features + 1e4, labels) == pytest.approx(expected, abs=0.01)


def test_constant_features_are_at_the_frequency_limit():
    with pytest.warns(ModtoolsWarning, match="MT001"):
        assert knn(np.ones((6, 2)), [0, 0, 0, 0, 1, 1]) == pytest.approx(4 / 6)
    with pytest.warns(ModtoolsWarning, match="MT001"):
        assert knn(np.ones((6, 2)), np.arange(6.0)) == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be a whole number of at least 1"),
        ({"k": 1.5}, "k must be a whole number"),
        ({"k": 120}, "k=120 with 120 examples"),
        ({"k": 61, "groups": np.arange(120) // 60}, "a group of 60"),
        ({"metric": "cosin"}, 'unknown metric "cosin"; did you mean "cosine"'),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ModtoolsError, match=message):
        knn(*make_rows(), **options)


@pytest.mark.parametrize("name", ["lite0-d1__fashion-tops", "lite0-d2__digits"])
def test_agrees_with_public_code(reference_features, peer_values, name):
    features, labels, _ = reference_features[name]
    peers = peer_values[name]
    one = 100 * knn(features, labels, standardize=False)
    assert one == pytest.approx(peers["parc_knn1"], abs=1e-5)
    # Public code breaks a three-way tie towards the smallest class number.
    codes = np.unique(labels, return_inverse=True)[1]
    found, _ = nearest_rows(features.astype(float), 3)
    votes = (codes[found][:, :, None] == np.arange(codes.max() + 1)).sum(axis=1)
    three = np.mean(votes.argmax(axis=1) == codes)
    assert three == pytest.approx(peers["flair_knn3"], abs=1e-7)
