"""Intervals are those of the textbooks and of scipy."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm, t

from modtools._intervals import (
    NORMAL_95,
    ROUNDED_80,
    ROUNDED_95,
    MeasuredAccuracy,
    agresti_coull,
    student_95,
    wilson,
)


@pytest.mark.parametrize("n_samples", [1, 7, 30, 2000])
def test_wilson_is_that_of_scipy_for_every_count(n_samples):
    counts = np.unique(np.linspace(0, n_samples, 12).astype(int))
    low, high = wilson(counts / n_samples, n_samples)
    for place, count in enumerate(counts.tolist()):
        other = binomtest(count, n_samples).proportion_ci(method="wilson")
        assert (low[place], high[place]) == pytest.approx(tuple(other), abs=1e-8)
        found = MeasuredAccuracy.of(count / n_samples, n_samples)
        assert found == (count / n_samples, low[place], high[place])


def test_quantiles_are_as_near_as_they_say():
    assert pytest.approx(norm.ppf(0.975), rel=2e-8) == NORMAL_95
    assert pytest.approx(norm.ppf(0.975), rel=4e-5) == ROUNDED_95
    assert pytest.approx(norm.ppf(0.9), rel=4e-5) == ROUNDED_80
    assert [student_95(n) for n in (1, 4, 100)] == pytest.approx(t.ppf(0.975, [1, 4, 100]))


def test_agresti_coull_moves_shares_towards_a_half():
    assert agresti_coull([0.0, 0.5, 1.0], 16) == pytest.approx([0.1, 0.5, 0.9])
