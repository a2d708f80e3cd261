import numpy as np
import pytest

from tests.rounding import assert_same_but_for_rounding

NUMBERS = np.array([1e-9, -3.0, np.nan, np.inf, 0.0])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_units_are_those_of_the_largest_number(dtype):
    numbers = np.array([0.25, -4.0], dtype=dtype)
    unit = 4 * np.finfo(dtype).eps
    assert_same_but_for_rounding(numbers.astype(float) + 63 * unit, numbers)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_same_but_for_rounding(numbers.astype(float) + 65 * unit, numbers)
    assert_same_but_for_rounding(numbers.astype(float) + 65 * unit, numbers, units=66)


def test_numbers_from_coarser_ones_have_the_coarser_unit():
    numbers = np.array([1.0, 2.0])
    assert_same_but_for_rounding(numbers * (1 + 1e-7), numbers, dtype=np.float32)
    with pytest.raises(AssertionError):
        assert_same_but_for_rounding(numbers * (1 + 1e-7), numbers)


def test_what_is_no_number_must_agree():
    assert_same_but_for_rounding(NUMBERS, NUMBERS)
    for other in (np.nan_to_num(NUMBERS, nan=1.0), -NUMBERS, NUMBERS[:, None], NUMBERS[:4]):
        with pytest.raises(AssertionError):
            assert_same_but_for_rounding(other, NUMBERS)
