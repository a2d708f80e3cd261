"""When two numbers are the same: the rule for every test that compares floating-point numbers.

A copy is the same bit for bit: an array read back from a file, features from the cache, an argument
that must not change. So is the very same computation done again (same operations, shapes, memory
order and number of threads), as where a stopped run goes on; a test that asks this of a computation
says why it may.

Two computations of one number (another batch size, route, order in memory, number of threads, one
process or two) differ by rounding, and by how much depends on the processor. They are compared
with `assert_same_but_for_rounding`, or with `pytest.approx`, `numpy.testing.assert_allclose` and
`torch.testing.assert_close` where the tolerance is that of rounding: about 1e-9 of the number for
float64 (1e-12 for sums alone), 1e-6 of the largest for float32.
A class, a rank or a choice that is derived from such numbers is compared exactly only where no two
candidates are so close that rounding decides between them.
"""

import numpy as np

__all__ = ["assert_same_but_for_rounding"]


def assert_same_but_for_rounding(found, expected, *, units=64, dtype=None):
    """Assert that two arrays differ by no more than a number of units of rounding.

    A unit is the resolution (eps) of `dtype` at the largest number of `expected`: sums are rounded
    in proportion to their terms, so that a small result among large ones has the error of these.
    By default `dtype` is the coarser one of the two arrays; where numbers in float64 were computed
    from float32 features, it is float32. A sum of n products is off by about sqrt(n) units, and by
    no more than n; solving a system multiplies this by its condition number.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    if dtype is None:
        floats = [part.dtype for part in (found, expected) if part.dtype.kind == "f"]
        dtype = max(floats, key=lambda kind: np.finfo(kind).eps)
    finite = np.abs(expected[np.isfinite(expected)])
    unit = np.finfo(dtype).eps * float(finite.max(initial=0.0))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=units * unit)
