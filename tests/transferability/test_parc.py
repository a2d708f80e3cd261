"""parc: golden value, scipy over all pairs, ties, bins, multi-label, peers, limits."""

import tracemalloc

import numpy as np
import pytest

from modtools.exceptions import ModtoolsError, ModtoolsWarning
from modtools.outputs._standardize import StandardizedRows
from modtools.transferability import _pairs
from modtools.transferability._pairs import parc
from tests.transferability import row_definitions
from tests.transferability.definitions import golden

pytestmark = pytest.mark.floating_point


def make_rows(n_samples=60, n_features=7, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n_samples)
    centres = rng.normal(size=(n_classes, n_features))
    return rng.normal(size=(n_samples, n_features)) + centres[labels], labels


def test_golden_value():
    features, labels, _ = golden()
    assert parc(features, labels) == pytest.approx(41.0237945515, abs=5e-11)


@pytest.mark.parametrize("shape", [(60, 7), (20, 50), (90, 2)])
@pytest.mark.parametrize("n_classes", [2, 3, 9])
def test_by_spearman_of_all_pairs(shape, n_classes):
    features, labels = make_rows(*shape, n_classes=n_classes)
    assert parc(features, labels) == pytest.approx(row_definitions.parc(features, labels), abs=1e-8)


def test_tied_feature_distances_share_their_rank():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(6, 5))[rng.integers(0, 6, 40)]
    labels = rng.integers(0, 3, 40)
    assert parc(features, labels) == pytest.approx(row_definitions.parc(features, labels), abs=1e-8)


@pytest.mark.parametrize("chunk", [1, 10, 1000])
def test_chunks_never_split_a_tie(monkeypatch, chunk):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(6, 5))[rng.integers(0, 6, 40)]
    labels = rng.integers(0, 3, 40)
    expected = parc(features, labels)
    monkeypatch.setattr(_pairs, "_CHUNK", chunk)
    assert parc(features, labels) == pytest.approx(expected, abs=1e-12)


def test_blocks_see_each_pair_once(monkeypatch):
    features, labels = make_rows()
    expected = parc(features, labels)
    monkeypatch.setattr(_pairs, "rows_per_block", lambda *_: 7)
    assert parc(features, labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n_samples", [60, 400])
def test_bins_agree_with_sorting(monkeypatch, n_samples):
    features, labels = make_rows(n_samples)
    expected = parc(features, labels)
    monkeypatch.setattr(_pairs, "_LARGEST_SORTED", 0)
    assert parc(features, labels) == pytest.approx(expected, abs=1e-3)


def test_float32_distances_of_large_features(monkeypatch):
    features, labels = make_rows(200, 40)
    expected = parc(features, labels)
    monkeypatch.setattr(_pairs, "_FLOAT32_SIZE", 0)
    assert parc(features, labels) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_perfect_features_reach_the_documented_ceiling(n_classes):
    labels = np.repeat(np.arange(n_classes), 40)
    rng = np.random.default_rng(1)
    features = rng.normal(size=(n_classes, 8))[labels] + 1e-3 * rng.normal(size=(len(labels), 8))
    different = 1 - 1 / n_classes
    ceiling = 100 * np.sqrt(3 * different * (1 - different))
    assert parc(features, labels) == pytest.approx(ceiling, rel=0.03)


def test_multilabel_by_spearman_of_all_pairs():
    rng = np.random.default_rng(0)
    labels = (rng.random((70, 4)) < 0.4).astype(int)
    features = labels @ rng.normal(size=(4, 6)) + rng.normal(size=(70, 6))
    usable = np.ptp(labels, axis=1) > 0
    assert not usable.all()
    expected = row_definitions.parc(features[usable], labels[usable])
    assert parc(features, labels) == pytest.approx(expected, abs=1e-8)


def test_one_hot_rows_equal_classes():
    features, labels = make_rows()
    assert parc(features, np.eye(3, dtype=int)[labels]) == pytest.approx(parc(features, labels))


def test_rows_without_direction_are_left_out():
    features, labels = make_rows()
    standard = row_definitions.standardized(features)
    flat = np.vstack([standard, np.zeros((1, 7))])
    value = parc(flat, np.append(labels, 0))
    assert np.isfinite(value)
    assert value == pytest.approx(row_definitions.parc(standard, labels), abs=1e-8)


def test_constant_features_are_zero_with_a_warning():
    with pytest.warns(ModtoolsWarning, match="MT001: features carry no variation: parc is 0"):
        assert parc(np.ones((5, 3)), [0, 1, 0, 1, 0]) == 0.0


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.arange(5.0)[:, None], [0, 1, 0, 1, 0], "at least two features"),
        (np.eye(2), [0, 1], "at least 3 examples with varying labels; got 2"),
        (np.eye(5), [[1, 1], [0, 0], [1, 0], [0, 1], [0, 0]], "at least 3 examples"),
        (np.eye(4), [[1, 0], [1, 0], [1, 0], [1, 1]], "all pairs have the same"),
        (np.eye(4), [0, 1, 2, 3], "all pairs have the same"),
        (np.eye(4), [0.5, 1, 2, 3], "parc is defined for classification and multilabel"),
    ],
)
def test_undefined_cases_are_refused(features, labels, message):
    with pytest.raises(ModtoolsError, match=message):
        parc(features, labels)


def test_agrees_with_public_code(reference_features, peer_values):
    """Public code with more than four classes splits the label ties by rounding."""
    features, labels, _ = reference_features["lite0-d1__fashion-tops"]
    expected = peer_values["lite0-d1__fashion-tops"]["parc_parc"]
    assert parc(features, labels) == pytest.approx(expected, abs=1e-5)
    features, labels, _ = reference_features["lite0-d2__digits"]
    expected = peer_values["lite0-d2__digits"]["parc_parc"]
    assert parc(features, labels) == pytest.approx(expected, abs=0.2)


def test_large_features_are_copied_once():
    rng = np.random.default_rng(0)
    rows = StandardizedRows.of(rng.standard_normal((40_000, 256), dtype=np.float32))
    tracemalloc.start()
    directions, _ = _pairs._directions(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert directions.dtype == np.float32
    assert peak < 1.9 * rows.features.nbytes
