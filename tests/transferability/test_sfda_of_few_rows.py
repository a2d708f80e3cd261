"""sfda with fewer rows than features: the n x n route against the d x d definition, and memory."""

import tracemalloc

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from modtools.transferability import sfda


def discriminant(rows, labels, shrinkage):
    """Posteriors of Gaussian classes with one shrunk covariance, by d x d matrices."""
    classes, counts = np.unique(labels, return_counts=True)
    means = np.array([rows[labels == c].mean(axis=0) for c in classes])
    spread = rows - means[labels]
    within = spread.T @ spread / len(rows)
    if shrinkage is None:
        shrinkage = max(np.exp(-5 * np.linalg.eigvalsh(within)[-1]), 1e-6)
    shrunk = (1 - shrinkage) * within
    shrunk += shrinkage * np.trace(within) / len(within) * np.eye(len(within))
    weights = np.linalg.solve(shrunk, means.T)
    bias = np.log(counts / counts.sum()) - 0.5 * np.einsum("cd,dc->c", means, weights)
    return means, log_softmax(rows @ weights + bias, axis=1), shrinkage


def by_definition(features, labels):
    rows, each = features - features.mean(axis=0), np.arange(len(labels))
    means, posterior, shrinkage = discriminant(rows, labels, None)
    others = (means.sum(axis=0) - means) / (len(means) - 1)
    own = softmax(np.exp(posterior), axis=1)[each, labels][:, None]
    mixed = own * rows + (1 - own) * others[labels]
    _, posterior, _ = discriminant(mixed, labels, shrinkage)
    return np.exp(posterior[each, labels]).mean()


@pytest.mark.parametrize("shape", [(30, 31), (30, 200), (41, 45), (9, 300)])
@pytest.mark.parametrize("scale", [0.02, 0.3])
def test_few_rows_by_the_definition(shape, scale):
    rng = np.random.default_rng(0)
    labels = np.arange(shape[0]) % 3
    features = scale * (rng.normal(size=shape) + 0.5 * rng.normal(size=(3, shape[1]))[labels])
    assert sfda(features, labels) == pytest.approx(by_definition(features, labels), rel=1e-9)


def test_blocks_of_columns_change_nothing(monkeypatch):
    from modtools.transferability import _scatter

    rng = np.random.default_rng(0)
    features, labels = 0.1 * rng.normal(size=(20, 333)), np.arange(20) % 2
    expected = sfda(features, labels)
    monkeypatch.setattr(_scatter, "rows_per_block", lambda *_: 7)
    assert sfda(features, labels) == pytest.approx(expected, rel=1e-10)


def test_few_rows_need_no_matrix_of_all_columns():
    features = np.random.default_rng(0).normal(size=(60, 4000)).astype(np.float32)
    labels = np.arange(60) % 3
    sfda(features[:, :100], labels)
    tracemalloc.start()
    sfda(features, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6  # a matrix of 4000 x 4000 is 128 MB
