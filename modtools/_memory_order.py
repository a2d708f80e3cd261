"""How an array lies in memory: two copies that lie alike are rounded alike in every product."""

from collections.abc import Sequence

__all__ = ["axes_in_memory"]


def axes_in_memory(shape: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Return the axes of an array or tensor, the one of the largest steps in memory first.

    An array without gaps, transposed to this order, lies row by row (C order).

    Parameters
    ----------
    shape, strides : sequence of int
        Lengths of the axes, and the step along each in any unit.

    Examples
    --------
    >>> axes_in_memory((2, 3), (24, 8)), axes_in_memory((2, 3), (8, 16))
    ([0, 1], [1, 0])
    """
    # Of two axes with one step, the one of length 1 is the inner: both lie where they were made.
    return sorted(range(len(shape)), key=lambda axis: (-strides[axis], shape[axis] == 1))
