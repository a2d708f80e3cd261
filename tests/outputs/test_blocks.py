"""Blocks of columns with equal energy: by definition, as a mean of kernels, and bad widths."""

import numpy as np
import pytest
from sklearn.base import clone

from modtools.exceptions import ModtoolsError
from modtools.outputs import ClassMeanOutput, LogisticOutput, RidgeOutput, RidgeRegressionOutput
from modtools.outputs._standardize import StandardizedRows

pytestmark = pytest.mark.floating_point

WIDTHS = (2, 5, 3)
OUTPUTS = [ClassMeanOutput(), LogisticOutput(), RidgeOutput(), RidgeRegressionOutput()]


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    scales = np.geomspace(1e-6, 1e6, 10)
    labels = np.arange(40) % 3
    return scales * (rng.normal(size=(40, 10)) + 0.5 * labels[:, None]) + 7 * scales, labels


def blocks_of(features):
    return np.split(features, np.cumsum(WIDTHS)[:-1], axis=1)


@pytest.mark.parametrize("rescale", [True, False])
def test_blocks_have_equal_energy_and_together_that_of_a_mean_block(rows, rescale):
    features, _ = rows
    if not rescale:
        features = features / np.repeat([1e-5, 1.0, 1e5], WIDTHS)
    plain = StandardizedRows.of(features, rescale=rescale).dense()
    scaled = StandardizedRows.of(features, rescale=rescale, blocks=WIDTHS).dense()
    energies = [np.square(part).sum() for part in blocks_of(plain)]
    found = [np.square(part).sum() for part in blocks_of(scaled)]
    assert np.allclose(found, np.mean(energies) / len(WIDTHS), rtol=1e-12)
    # Within a block only one number changes.
    for before, after in zip(blocks_of(plain), blocks_of(scaled), strict=True):
        assert np.ptp(after / before) < 1e-9 * np.abs(after / before).max()


def test_the_kernel_is_the_mean_of_the_kernels_of_the_blocks_at_equal_trace(rows):
    features, _ = rows
    scaled = StandardizedRows.of(features, blocks=WIDTHS).dense()
    grams = [
        part @ part.T / len(part.T)
        for part in (StandardizedRows.of(part).dense() for part in blocks_of(features))
    ]
    assert np.allclose(scaled @ scaled.T, np.mean(grams, axis=0) * np.mean(WIDTHS), rtol=1e-10)


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: type(output).__name__)
def test_outputs_see_the_scaled_blocks(rows, output):
    features, labels = rows
    scaled = StandardizedRows.of(features, blocks=WIDTHS).dense()
    fitted = clone(output).set_params(blocks=WIDTHS).fit(features, labels)
    wanted = clone(output).set_params(standardize=False).fit(scaled, labels)
    assert np.array_equal(fitted.predict(features), wanted.predict(scaled)) or np.allclose(
        fitted.predict(features), wanted.predict(scaled), rtol=1e-9
    )
    assert np.allclose(
        np.asarray(fitted.leave_one_out(features, labels), dtype=float),
        np.asarray(wanted.leave_one_out(scaled, labels), dtype=float),
        rtol=1e-9,
    )


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: type(output).__name__)
def test_one_block_changes_nothing(rows, output):
    features, labels = rows
    fitted = clone(output).set_params(blocks=[10]).fit(features, labels)
    plain = clone(output).fit(features, labels)
    assert np.allclose(fitted.scale_, plain.scale_, rtol=1e-12)
    assert np.allclose(fitted.predict(features), plain.predict(features), rtol=1e-9)


def test_the_unit_of_a_block_changes_nothing(rows):
    features, labels = rows
    other = features * np.repeat([1e9, 1.0, 1e-9], WIDTHS)
    first, second = (LogisticOutput(blocks=WIDTHS).fit(x, labels) for x in (features, other))
    assert np.allclose(first.decision_values(features), second.decision_values(other), rtol=1e-6)


def test_a_block_without_variance_takes_no_energy(rows):
    features, labels = rows
    features = features.copy()
    features[:, :2] = 3.0
    output = RidgeOutput(blocks=WIDTHS).fit(features, labels)
    wanted = RidgeOutput(blocks=WIDTHS[1:]).fit(features[:, 2:], labels)
    assert (output.scale_[:2] == 0).all()
    assert np.allclose(output.decision_values(features), wanted.decision_values(features[:, 2:]))
    constant = StandardizedRows.of(np.ones((4, 3)), blocks=[1, 2])
    assert not constant.dense().any()


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ((4, 5), "blocks must add up to the 10 columns of the features; got 9 in 2 blocks"),
        ((10, 0), "each of blocks must be a whole number of at least 1; got 0"),
        ((2.5, 7.5), "each of blocks must be a whole number"),
        (10, "blocks must be widths of blocks of columns; got 10"),
    ],
)
def test_says_what_is_wrong_with_blocks(rows, blocks, message):
    with pytest.raises(ModtoolsError, match=message):
        LogisticOutput(blocks=blocks).fit(*rows)
