"""k-means: the starts on a sample lead to the clusters that all rows give."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from modtools.outputs import ClassMeanOutput, _clusters
from modtools.outputs._clusters import find_clusters, kmeans
from modtools.outputs._standardize import StandardizedRows

pytestmark = pytest.mark.floating_point


def make_rows(n_samples=600, dtype=np.float64):
    rng = np.random.default_rng(0)
    centres = 6 * rng.normal(size=(4, 5))
    owners = np.arange(n_samples) % 4
    return (rng.normal(size=(n_samples, 5)) + centres[owners]).astype(dtype), owners


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("most", [10_000, 100])
def test_agrees_with_scikit_learn(monkeypatch, most, dtype):
    monkeypatch.setattr(_clusters, "_MOST_ROWS_OF_STARTS", most)
    rows, owners = make_rows(dtype=dtype)
    centres, clusters = kmeans(rows, 4, seed=3)
    assert centres.dtype == dtype
    # The same partition, under other numbers.
    assert len(set(zip(clusters.tolist(), owners.tolist(), strict=True))) == 4
    expected = KMeans(4, n_init=10, random_state=0).fit(rows.astype(float))
    assert np.square(rows - centres[clusters]).sum() == pytest.approx(expected.inertia_, rel=1e-5)


def test_the_seed_decides(monkeypatch):
    monkeypatch.setattr(_clusters, "_MOST_ROWS_OF_STARTS", 50)
    rows = np.random.default_rng(0).normal(size=(300, 3))
    first, again, other = (kmeans(rows, 8, seed=seed)[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_many_clusters_go_by_small_batches():
    rows, _ = make_rows()
    centres, clusters = kmeans(rows, 60)
    assert centres.shape == (60, 5)
    assert clusters.max() < 60


def test_equal_rows_are_no_error():
    centres, clusters = kmeans(np.zeros((12, 2)), 3)
    assert not centres.any()
    assert clusters.shape == (12,)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("factor", [1e-30, 1.0, 1e30])
def test_float32_rows_of_any_size_are_clustered(metric, factor):
    rows, owners = make_rows(dtype=np.float32)
    scaled = StandardizedRows.of(rows * np.float32(factor), rescale=False)
    centres = find_clusters(scaled, 4, metric=metric)
    assert centres.dtype == np.float64
    means = [scaled.dense()[owners == owner].mean(axis=0) for owner in range(4)]
    if metric == "euclidean":
        order = [np.square(centres / factor - mean / factor).sum(axis=1).argmin() for mean in means]
        np.testing.assert_allclose(centres[order], means, rtol=1e-2, atol=1e-2 * factor)
    assert np.isfinite(centres).all()


def test_unlabelled_float32_examples_give_the_same_clusters():
    rows, owners = make_rows()
    labelled = [0, 1, 2, 3]
    single = ClassMeanOutput().fit(rows[labelled], owners[labelled], rows.astype(np.float32))
    double = ClassMeanOutput().fit(rows[labelled], owners[labelled], rows)
    assert single.uses_clusters_ == double.uses_clusters_
    np.testing.assert_array_equal(single.predict(rows), double.predict(rows))
    np.testing.assert_allclose(single.means_, double.means_, atol=1e-5)
