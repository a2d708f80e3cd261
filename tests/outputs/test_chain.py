"""One-step-ahead predictions: against a ridge model refitted before every example."""

import tracemalloc

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from modtools.outputs import RidgeOutput, _ridge_path
from modtools.outputs._ridge_path import RidgeChain
from modtools.outputs._standardize import StandardizedRows

pytestmark = pytest.mark.floating_point


def make_rows(shape, seed=0):
    rng = np.random.default_rng(seed)
    rows = StandardizedRows.of(rng.normal(size=shape) + 2)
    return rows, np.eye(3)[rng.integers(0, 3, shape[0])]


def chain_predictions(rows, targets, alpha):
    return predictions_of(RidgeChain.of(rows, alpha), targets, np.arange(len(targets)))


def predictions_of(chain, targets, order):
    return np.concatenate([predicted for _, predicted in chain.steps(targets, order)])


def refitted(rows, targets, alpha):
    dense, predictions = rows.dense(), np.zeros_like(targets)
    for i in range(1, len(dense)):
        machine = Ridge(alpha=alpha).fit(dense[:i], targets[:i])
        predictions[i] = machine.predict(dense[i : i + 1]).ravel()
    return predictions


@pytest.mark.parametrize("shape", [(60, 4), (30, 30), (25, 70)])
@pytest.mark.parametrize("alpha", [1e-2, 1.0, 50.0])
def test_agrees_with_refitting(shape, alpha):
    rows, targets = make_rows(shape)
    expected = refitted(rows, targets, alpha)
    np.testing.assert_allclose(chain_predictions(rows, targets, alpha), expected, atol=1e-9)


@pytest.mark.parametrize("block", [1, 7, 64])
def test_blocks_are_exact(monkeypatch, block):
    rows, targets = make_rows((60, 4))
    expected = chain_predictions(rows, targets, 0.3)
    monkeypatch.setattr(_ridge_path, "_LARGEST_DENSE", 0)
    monkeypatch.setattr(_ridge_path, "_SMALLEST_BLOCK", block)
    np.testing.assert_allclose(chain_predictions(rows, targets, 0.3), expected, atol=1e-10)


def test_last_prediction_is_that_of_the_output_module():
    rows, targets = make_rows((40, 5))
    codes = targets.argmax(axis=1)
    output = RidgeOutput(alpha=2.0, standardize=False).fit(rows.dense()[:-1], codes[:-1])
    chained = chain_predictions(rows, targets, 2.0)[-1]
    np.testing.assert_allclose(chained, output.decision_values(rows.dense()[-1:])[0], atol=1e-10)


@pytest.mark.parametrize("shape", [(400, 4), (30, 30)])
def test_order_of_learning(shape):
    rows, targets = make_rows(shape)
    order = np.random.default_rng(3).permutation(shape[0])
    in_order = StandardizedRows(rows.features[order], rows.mean, rows.scale)
    found = predictions_of(RidgeChain.of(rows, 0.7), targets, order)
    np.testing.assert_allclose(found, chain_predictions(in_order, targets[order], 0.7), atol=1e-10)


def test_many_rows_need_no_matrix_of_all_pairs():
    assert RidgeChain.of(make_rows((400, 4))[0], 1.0).kernel is None
    assert RidgeChain.of(make_rows((30, 30))[0], 1.0).kernel is not None


def test_an_order_of_many_rows_copies_no_more_than_a_block():
    rows, targets = make_rows((6000, 200))
    chain, order = RidgeChain.of(rows, 1.0), np.random.default_rng(0).permutation(6000)
    tracemalloc.start()
    predictions_of(chain, targets, order)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.8 * rows.features.nbytes
