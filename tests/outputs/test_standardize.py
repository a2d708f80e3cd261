"""Standardisation: safe for any magnitude, constant columns judged against their own values."""

import numpy as np
import pytest

from modtools.outputs._standardize import StandardizedRows, column_moments, standardize

pytestmark = pytest.mark.floating_point


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(50, 4)) * [1, 2, 3, 4] + [0, 1, -5, 100]


def test_agrees_with_the_definition(rows):
    mean, deviation = column_moments(rows)
    np.testing.assert_allclose(mean, rows.mean(axis=0), atol=1e-14)
    np.testing.assert_allclose(deviation, rows.std(axis=0), rtol=1e-13)
    standard = standardize(rows, mean, deviation)
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(standard.std(axis=0), 1, rtol=1e-13)


@pytest.mark.parametrize("factor", [1e-200, 6e-10, 1e-9, 1e9, 1e200])
def test_unit_of_a_column_changes_nothing(rows, factor):
    units = np.array([1, factor, 1, 1])
    standard = StandardizedRows.of(rows).dense()
    np.testing.assert_allclose(StandardizedRows.of(rows * units).dense(), standard, atol=1e-12)
    np.testing.assert_allclose(StandardizedRows.of(rows * factor).dense(), standard, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6, -3e-9])
def test_constant_column_becomes_zero_and_is_not_counted(rows, dtype, constant):
    rows = rows.astype(dtype)
    rows[:, 2] = constant
    standardized = StandardizedRows.of(rows)
    assert standardized.n_varying == 3
    assert not standardized.dense()[:, 2].any()
    assert np.isfinite(standardized.dense()).all()


def test_a_column_that_only_carries_rounding_is_constant(rows):
    rows[:, 1] = 0.1
    rows[::2, 1] = np.nextafter(0.1, 1)
    assert StandardizedRows.of(rows).n_varying == 3


def test_offset_is_removed_before_squares():
    rows = np.random.default_rng(0).normal(size=(200, 2))
    _, deviation = column_moments(rows + 1e8)
    np.testing.assert_allclose(deviation, (rows + 1e8 - 1e8).std(axis=0), rtol=1e-9)


def test_without_rescaling_columns_are_only_centred(rows):
    centred = StandardizedRows.of(rows, rescale=False).dense()
    np.testing.assert_allclose(centred, rows - rows.mean(axis=0), atol=1e-12)


def test_blocks_cover_all_rows_in_order(rows, monkeypatch):
    monkeypatch.setattr("modtools.outputs._standardize.rows_per_block", lambda *_: 7)
    standardized = StandardizedRows.of(rows)
    pieces = list(standardized.blocks())
    assert [piece.start for piece, _ in pieces] == list(range(0, 50, 7))
    np.testing.assert_array_equal(np.vstack([b for _, b in pieces]), standardized.dense())


def test_input_is_not_changed(rows):
    before = rows.copy()
    StandardizedRows.of(rows).dense()
    np.testing.assert_array_equal(rows, before)


def test_float32_result_from_float64_arithmetic(rows):
    standard = StandardizedRows.of(rows.astype(np.float32)).dense(np.float32)
    assert standard.dtype == np.float32
    np.testing.assert_allclose(standard, StandardizedRows.of(rows).dense(), atol=3e-6)
