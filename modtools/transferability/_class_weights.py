"""Weights of examples by their class."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from modtools._checks import check_choice, check_positive
from modtools.exceptions import ModtoolsError
from modtools.tasks import Labels

__all__ = ["merged_weights", "weights_by_class"]


def weights_by_class(labels: Labels, class_weights: Mapping[Any, float] | str | None) -> Any:
    """Return the weight of each class in the order of `labels.classes`, or None."""
    if class_weights is None:
        return None
    if labels.kind != "classification":
        raise ModtoolsError(f"class_weights apply to classes only; the labels are {labels.kind}.")
    if isinstance(class_weights, str):
        check_choice(class_weights, ["balanced"], name="class_weights")
        counts = labels.counts()
        present = np.count_nonzero(counts)
        return np.where(counts > 0, len(labels) / (present * np.maximum(counts, 1)), 1.0)
    missing = [c for c in labels.classes.tolist() if c not in class_weights]
    if missing:
        raise ModtoolsError(f"class_weights must name every class; {missing[0]!r} is missing.")
    return np.array(
        [
            check_positive(class_weights[c], name=f"class_weights[{c!r}]")
            for c in labels.classes.tolist()
        ]
    )


def merged_weights(
    left: Mapping[Any, float] | None, right: Mapping[Any, float] | None
) -> Mapping[Any, float] | None:
    """Return the weights of two sets of moments together, or raise where they disagree."""
    if left is None and right is None:
        return None
    if left is None or right is None:
        raise ModtoolsError("moments to merge must both have class weights, or neither.")
    different = [c for c in left if c in right and left[c] != right[c]]
    if different:
        c = different[0]
        raise ModtoolsError(
            f"moments to merge must share their class weights; class {c!r} has {left[c]:.6g} and "
            f"{right[c]:.6g}. Pass the same mapping to both ('balanced' depends on the shard)."
        )
    return {**left, **right}
