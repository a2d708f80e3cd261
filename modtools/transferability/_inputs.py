"""The public door of the plain score functions: check once, then summarise."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modtools._checks import (
    as_float,
    check_choice,
    check_lengths,
    check_matrix,
    raise_if_not_finite,
)
from modtools._feature_maps import FEATURE_MAPS
from modtools._types import FloatArray
from modtools.exceptions import ModtoolsError
from modtools.tasks import Kind, Labels, encode_labels
from modtools.transferability._summarise import summarise
from modtools.transferability._summary import Summary

__all__ = ["ANY_KIND", "check_rows", "check_scorable", "checked_summary"]

_SMALLEST: Final = 1e-70  # labels that vary by less vanish in products
ANY_KIND: Final[tuple[Kind, ...]] = ("classification", "multilabel", "regression")


def check_scorable(labels: Labels, *, kinds: Sequence[Kind], score: str) -> Labels:
    """Return labels that a score can use: a kind it is defined for, and at least two values."""
    if labels.kind not in kinds:
        raise ModtoolsError(
            f"{score} is defined for {' and '.join(kinds)} labels; these are {labels.kind}."
        )
    present = np.flatnonzero(labels.counts())
    if labels.kind == "classification" and len(present) < 2:
        found = labels.classes[present[0]].item() if len(present) else None
        raise ModtoolsError(
            f"labels must hold at least two classes; all {len(labels)} rows are {found!r}."
        )
    if labels.kind != "classification" and np.ptp(labels.target_matrix(), axis=0).max() < _SMALLEST:
        raise ModtoolsError(
            "labels must vary in at least one target column; every column is constant "
            f"(to within {_SMALLEST:.0e})."
        )
    return labels


def check_rows(
    features: Any, labels: Any, *, kinds: Sequence[Kind] = ("classification",), score: str
) -> tuple[FloatArray, Labels]:
    """Return finite float features (n_samples, n_features) and encoded labels for a score."""
    matrix = as_float(check_matrix(features))
    raise_if_not_finite(matrix)
    encoded = encode_labels(labels)
    check_lengths(features=matrix, labels=encoded)
    return matrix, check_scorable(encoded, kinds=kinds, score=score)


def checked_summary(
    features: Any,
    labels: Any,
    *,
    score: str,
    kinds: Sequence[Kind] = ("classification",),
    feature_map: str = "identity",
) -> Summary:
    """Return the float64 summary of features (n_samples, n_features) and labels for one score."""
    matrix: NDArray[Any] = check_matrix(features)
    encoded = encode_labels(labels)
    check_lengths(features=matrix, labels=encoded)
    check_scorable(encoded, kinds=kinds, score=score)
    check_choice(feature_map, list(FEATURE_MAPS), name="feature_map")
    return summarise(matrix, encoded, feature_map=feature_map, precision="float64")
