"""Labels of any accepted form, encoded as class codes or target columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from modtools._checks import check_choice, raise_if_not_finite, to_numpy
from modtools.exceptions import ModtoolsError

__all__ = ["Kind", "Labels", "encode_labels"]

Kind: TypeAlias = Literal["classification", "multilabel", "regression"]


@dataclass(frozen=True, eq=False)
class Labels:
    """Encoded labels of a task.

    Attributes
    ----------
    kind : {"classification", "multilabel", "regression"}
        What the labels are.
    classes : ndarray of shape (n_classes,)
        Sorted label values (classification), column numbers (multilabel) or target numbers
        (regression).
    codes : ndarray of shape (n_samples,) or None
        Position of each label in `classes`; only for classification.
    targets : ndarray of shape (n_samples, n_targets) or None
        Target columns; only for multilabel and regression.
    """

    kind: Kind
    classes: NDArray[Any]
    codes: NDArray[np.intp] | None = None
    targets: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        rows = self.codes if self.codes is not None else self.targets
        return 0 if rows is None else len(rows)

    @property
    def n_classes(self) -> int:
        """Number of classes, label columns or regression targets."""
        return len(self.classes)

    def counts(self) -> NDArray[np.int64]:
        """Return the number of examples of each class (n_classes,); zero for an absent class."""
        if self.codes is not None:
            return np.bincount(self.codes, minlength=self.n_classes).astype(np.int64)
        counts: NDArray[np.int64] = (self.target_matrix() != 0).sum(axis=0, dtype=np.int64)
        return counts

    def target_matrix(self, dtype: Any = np.float64) -> NDArray[Any]:
        """Return the targets (n_samples, n_classes): one-hot, 0/1 columns or real values."""
        if self.targets is not None:
            return self.targets.astype(dtype, copy=False)
        matrix = np.zeros((len(self), self.n_classes), dtype=dtype)
        matrix[np.arange(len(self)), self.codes] = 1
        return matrix

    def take(self, rows: Any) -> "Labels":
        """Return the labels of some examples, classes unchanged."""
        return Labels(
            self.kind,
            self.classes,
            None if self.codes is None else self.codes[rows],
            None if self.targets is None else self.targets[rows],
        )


def encode_labels(
    labels: Any, *, kind: Kind | None = None, classes: Sequence[Any] | None = None
) -> Labels:
    """Encode labels once and infer their kind.

    Integers, booleans and strings are classes, a 0/1 matrix is multi-label, floats are regression
    targets; `kind` overrides the inference.

    Parameters
    ----------
    labels : array-like of shape (n_samples,) or (n_samples, n_targets)
        Labels in any accepted form, or `Labels`, which are returned as they are.
    kind : {"classification", "multilabel", "regression"}, optional
        Kind of task; inferred by default.
    classes : sequence, optional
        All label values of a classification task; values not present are allowed.

    Returns
    -------
    Labels
        Encoded labels; the input is not changed.

    Raises
    ------
    ModtoolsError
        Missing values, mixed types, a value outside `classes`, or a shape that fits no kind.

    Examples
    --------
    >>> encoded = encode_labels(["cat", "dog", "cat"])
    >>> encoded.kind, encoded.codes.tolist(), encoded.classes.tolist()
    ('classification', [0, 1, 0], ['cat', 'dog'])
    """
    if isinstance(labels, Labels):
        if classes is not None or kind not in (None, labels.kind):
            raise ModtoolsError(
                f"labels are encoded already, as {labels.kind}; encode the label values themselves "
                "to give them another kind or classes."
            )
        return labels
    array = _as_plain_array(labels)
    if kind is not None:
        check_choice(kind, get_args(Kind), name="kind of task")
    kind = kind or _infer_kind(array)
    if kind == "classification":
        return _encode_classes(array, classes)
    if classes is not None:
        raise ModtoolsError(
            f"classes= belongs to classification; these labels (dtype {array.dtype}) are of kind "
            f'{kind}. Leave classes out, or pass kind="classification".'
        )
    matrix = array[:, None] if array.ndim == 1 else array
    if kind == "multilabel" and (array.ndim != 2 or not _is_binary(array)):
        raise ModtoolsError(
            "labels of a multilabel task must be a 0/1 matrix (n_samples, n_labels); "
            f"got shape {array.shape}, dtype {array.dtype}."
        )
    if array.dtype.kind not in "fiub":
        raise ModtoolsError(f"labels of a {kind} task must be numbers; got dtype {array.dtype}.")
    targets = matrix.astype(np.float64)
    raise_if_not_finite(targets, name="labels")
    return Labels(kind, np.arange(matrix.shape[1]), targets=targets)


def _as_plain_array(labels: Any) -> NDArray[Any]:
    array = to_numpy(labels, name="labels")
    if array.dtype.kind == "U" and isinstance(labels, list | tuple):
        array = np.asarray(labels, dtype=object)  # numpy would convert a missing value to "nan"
    if array.size == 0:
        raise ModtoolsError("labels must not be empty; got none.")
    if array.dtype.kind in "OT" and array.ndim:
        array = _plain_objects(array)
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] < 2):
        raise ModtoolsError(
            "labels must have shape (n_samples,), or (n_samples, n_targets) with at least two "
            f"columns; got {array.shape}. For a single column use labels.ravel()."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        _raise_missing(~np.isfinite(array))
    if array.dtype.kind not in "fiubUS":
        raise ModtoolsError(
            f"labels must be integers, strings, booleans or floats; got dtype {array.dtype}."
        )
    return array


def _plain_objects(array: NDArray[Any]) -> NDArray[Any]:
    """Turn an object array of one plain type into an array of that type."""
    import pandas as pd

    missing = np.asarray(pd.isna(array.astype(object)))
    if missing.any():
        _raise_missing(missing)
    values = array.ravel().tolist()
    types = {type(value) for value in values}
    if len({str if issubclass(t, str) else float for t in types}) > 1:
        names = ", ".join(sorted(t.__name__ for t in types))
        raise ModtoolsError(f"labels must be of one type; got {names}. Convert them to strings.")
    return np.asarray(values).reshape(array.shape)


def _raise_missing(missing: NDArray[np.bool_]) -> None:
    rows = np.flatnonzero(missing.reshape(len(missing), -1).any(axis=1))
    raise ModtoolsError(
        f"labels must not be missing or infinite: {len(rows)} such, first at example {rows[0]}. "
        "Drop the unlabelled examples, for example with task.subset(rows)."
    )


def _is_binary(array: NDArray[Any]) -> bool:
    return bool(array.dtype.kind in "fiub" and np.isin(array, (0, 1)).all())


def _infer_kind(array: NDArray[Any]) -> Kind:
    if array.ndim == 2:
        if _is_binary(array):
            return "multilabel"
        if array.dtype.kind == "f":
            return "regression"
        raise ModtoolsError(
            "labels with two dimensions must be a 0/1 matrix (multilabel) or floats (regression); "
            f"got dtype {array.dtype} with values outside 0 and 1."
        )
    return "regression" if array.dtype.kind == "f" else "classification"


def _known_classes(classes: Any) -> NDArray[Any]:
    """Return the sorted values of `classes`, which are whole numbers, booleans or str."""
    values = to_numpy(classes, name="classes")
    if isinstance(classes, set | frozenset | Mapping | Iterator):
        values = np.asarray(list(classes), dtype=object)
    if values.ndim == 1 and values.dtype.kind == "U":
        values = np.asarray(list(classes), dtype=object)  # numpy converts numbers among str to str
    if values.ndim == 1 and values.dtype.kind == "O":
        values = _plain_objects(values)
    if values.ndim != 1 or values.dtype.kind not in "iufbUS":
        raise ModtoolsError(f"classes must be a sequence of label values; got {classes!r}.")
    return np.unique(values)


def _encode_classes(array: NDArray[Any], classes: Sequence[Any] | None) -> Labels:
    if array.ndim != 1:
        raise ModtoolsError(
            f"labels of a classification task must have shape (n_samples,); got {array.shape}."
        )
    if classes is None:
        present, codes = np.unique(array, return_inverse=True)
        return Labels("classification", present, codes=codes.astype(np.intp))
    known = _known_classes(classes)
    is_alike = len(known) > 0 and (known.dtype.kind in "US") == (array.dtype.kind in "US")
    codes = np.searchsorted(known, array) if is_alike else np.zeros(len(array), dtype=np.intp)
    codes = np.minimum(codes, max(len(known) - 1, 0))
    strange = np.flatnonzero(known[codes] != array) if is_alike else np.arange(len(array))
    if strange.size:
        raise ModtoolsError(
            f"labels must be among classes={known.tolist()}; got {array[strange[0]].item()!r} "
            f"in example {strange[0]} ({strange.size} such). Add it to classes, or drop these "
            "examples."
        )
    return Labels("classification", known, codes=codes.astype(np.intp))
