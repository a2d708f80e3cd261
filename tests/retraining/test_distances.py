"""Distances by tiles, and the choices that stand on them, against matrices of all pairs."""

import tracemalloc

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from modtools.retraining import _clusters, _distances, choose_labels
from modtools.retraining._distances import SquaredDistances

pytestmark = pytest.mark.floating_point


def make_rows(n_samples=90, width=6, dtype=np.float64, offset=0.0):
    rng = np.random.default_rng(0)
    centres = 3 * rng.normal(size=(5, width))
    rows = rng.normal(size=(n_samples, width)) + centres[np.arange(n_samples) % 5] + offset
    return rows.astype(dtype)


@pytest.mark.parametrize("tile", [1, 7, 1000])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-3)])
def test_tiles_are_all_distances(monkeypatch, tile, dtype, tolerance):
    monkeypatch.setattr(_distances, "_TILE", tile)
    rows = make_rows(40, dtype=dtype, offset=100.0)
    expected = cdist(rows, rows, "sqeuclidean")
    distances = SquaredDistances(rows)
    found = np.full((6, 40), np.nan)
    asked = np.array([3, 0, 39, 17, 18, 5])
    for place, columns, part in distances.tiles(asked):
        assert part.dtype == dtype
        found[place, columns] = part
    assert np.isinf(found[np.arange(6), asked]).all()
    found[np.arange(6), asked] = 0
    np.testing.assert_allclose(found, expected[asked], atol=tolerance)
    np.testing.assert_allclose(distances.to_row(7), expected[7], atol=tolerance)
    spread = np.square(rows - rows.mean(axis=0)).sum(axis=1)
    np.testing.assert_allclose(distances.squares, spread, atol=tolerance)
    assert len(distances) == 40


def test_rows_are_not_changed():
    rows = make_rows()
    before = rows.copy()
    list(SquaredDistances(rows).tiles(np.arange(3)))
    np.testing.assert_array_equal(rows, before)


def covered_by_hand(rows, clusters, n):
    """Return the greedy choice from the whole matrix."""
    squares = cdist(rows, rows, "sqeuclidean")
    foreign = np.where(clusters[:, None] == clusters, np.inf, squares).min(axis=1)
    near = squares < np.sort(foreign)[int(0.05 * len(rows))]
    np.fill_diagonal(near, True)
    chosen, is_covered = [], np.zeros(len(rows), dtype=bool)
    for _ in range(n):
        gains = (near & ~is_covered).sum(axis=1).astype(float)
        if is_covered.all():
            gains = squares[:, chosen].min(axis=1)
        gains[chosen] = -np.inf
        chosen.append(int(gains.argmax()))
        is_covered |= near[chosen[-1]]
    return chosen, is_covered.all()


@pytest.mark.parametrize("tile", [16, 1000])
@pytest.mark.parametrize("n", [5, 60])
def test_cover_is_the_greedy_choice_of_the_whole_graph(monkeypatch, tile, n):
    monkeypatch.setattr(_distances, "_TILE", tile)
    clusters = np.arange(90) % 5
    monkeypatch.setattr(_clusters, "_cluster", lambda rows, n, seed: clusters)
    rows = make_rows()
    expected, all_covered = covered_by_hand(rows, clusters, n)
    assert all_covered or n < 60  # the last of 60 are the farthest ones
    assert _clusters.choose_cover(rows, n, seed=0).tolist() == expected


def test_the_radius_of_some_rows_is_near_that_of_all(monkeypatch):
    rows = make_rows(3000)
    clusters = np.arange(3000) % 5
    distances = SquaredDistances(rows)
    exact = _clusters._squared_radius(distances, clusters, seed=0)
    monkeypatch.setattr(_clusters, "_MOST_JUDGED_BALLS", 600)
    for seed in range(3):
        found = _clusters._squared_radius(distances, clusters, seed=seed)
        assert found == pytest.approx(exact, rel=0.25)


@pytest.mark.parametrize("strategy", ["k_center", "herding", "typical", "cover", "variance"])
def test_float32_rows_are_chosen_as_float64_rows(strategy):
    single = make_rows(dtype=np.float32)
    options = {"strategy": strategy, "seed": 1}
    chosen = choose_labels(single, 6, **options)
    np.testing.assert_array_equal(chosen, choose_labels(single.astype(float), 6, **options))


@pytest.mark.parametrize("strategy", ["k_center", "herding", "typical", "cover", "variance"])
def test_memory_grows_with_the_rows_and_not_with_their_pairs(strategy):
    rows = make_rows(6000, 8, dtype=np.float32)
    tracemalloc.start()
    choose_labels(rows, 12, strategy=strategy)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # 6000 x 6000 float32 are 144 MB; three tiles of 4 MB are what `cover` holds at a time.
    assert peak < 20e6
