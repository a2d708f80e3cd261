"""Labelled examples beside test examples: one set of classes for both, and none in both."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modtools._checks import rows_per_block
from modtools._types import ClassCodes, FloatArray
from modtools.exceptions import ModtoolsError
from modtools.tasks import encode_labels

__all__ = ["encode_both", "raise_if_shared", "rows_also_in"]


def encode_both(
    labels: Any, test_labels: Any, *, what: str
) -> tuple[NDArray[Any], ClassCodes, ClassCodes]:
    """Return the classes of both, and the codes of each; `what` names the caller in an error.

    >>> encode_both(["b", "a"], ["c"], what="a study")[2]
    array([2])
    """
    learned, tested = encode_labels(labels), encode_labels(test_labels)
    for found in (learned, tested):
        if found.kind != "classification":
            raise ModtoolsError(
                f"{what} is defined for classification labels; these are {found.kind}."
            )
    if (learned.classes.dtype.kind in "US") != (tested.classes.dtype.kind in "US"):
        raise ModtoolsError(
            "labels and test_labels must be of one type; got "
            f"{learned.classes.dtype} and {tested.classes.dtype}."
        )
    if np.count_nonzero(learned.counts()) < 2:
        raise ModtoolsError("labels must hold at least two classes; all examples are in one.")
    classes = np.union1d(learned.classes, tested.classes)
    codes = [np.searchsorted(classes, found.classes)[found.codes] for found in (learned, tested)]
    return classes, codes[0], codes[1]


def rows_also_in(features: FloatArray, others: FloatArray) -> NDArray[np.bool_]:
    """Return for each example in `features` whether the same one occurs in `others`.

    >>> rows_also_in(np.array([[1.0, 2.0], [0.0, 3.0]]), np.array([[-0.0, 3.0]])).tolist()
    [False, True]
    """
    dtype = np.result_type(features, others)
    known = set(_row_hashes(others, dtype))
    found = (row in known for row in _row_hashes(features, dtype))
    return np.fromiter(found, dtype=np.bool_, count=len(features))


def _row_hashes(features: FloatArray, dtype: Any) -> Iterator[int]:
    step = rows_per_block(features.shape[1], 8)
    for start in range(0, len(features), step):
        block = features[start : start + step].astype(dtype)
        block += 0.0  # -0.0 equals 0.0, and so must their bytes
        yield from (hash(row.tobytes()) for row in block)


def raise_if_shared(is_shared: NDArray[np.bool_], *, tests: str, learned: str) -> None:
    """Raise if test examples occur among the labelled ones: accuracy on them would say little."""
    shared = np.flatnonzero(is_shared)
    if shared.size:
        raise ModtoolsError(
            f"{shared.size} of {len(is_shared)} examples in {tests} equal examples in {learned}, "
            f"first row {shared[0]}. Take them out, or use allow_overlap=True if inputs repeat by "
            "nature."
        )
