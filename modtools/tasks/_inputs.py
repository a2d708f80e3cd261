"""One interface to the four forms of inputs: array, tensor, list of str, torch Dataset."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from modtools._checks import check_tensor, rows_per_block, to_numpy
from modtools._progress import track
from modtools._types import ColumnLike, is_tensor
from modtools.exceptions import ModtoolsError

__all__ = [
    "Block",
    "Rows",
    "as_inputs",
    "check_rows",
    "describe",
    "is_dataset",
    "is_forward",
    "iter_blocks",
    "read_labels",
    "take",
]

Rows: TypeAlias = NDArray[np.intp]
Block: TypeAlias = NDArray[Any] | list[str]
_ACCEPTED = "an array, a tensor, a list of str or a torch Dataset"
_ITEMS_PER_BLOCK = 64


@runtime_checkable
class Items(Protocol):
    """The interface of a map-style torch Dataset: a length, and one example per index."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> Any: ...


@runtime_checkable
class ArrayInterface(Protocol):
    """What numpy reads without a copy: arrays, and Pillow images."""

    def __array_interface__(self) -> Any: ...


def _is_array(inputs: Any) -> bool:
    return isinstance(inputs, np.ndarray) or is_tensor(inputs)


def is_dataset(inputs: Any) -> bool:
    """Return whether checked inputs are read item by item."""
    return not isinstance(inputs, list) and not _is_array(inputs)


def as_inputs(inputs: Any) -> Any:
    """Return inputs in one of the four forms; arrays, tensors and Datasets are not copied."""
    if isinstance(inputs, str | bytes | Mapping) or not isinstance(inputs, Items):
        raise ModtoolsError(f"inputs must be {_ACCEPTED}; got {type(inputs).__name__}.")
    if is_tensor(inputs):
        check_tensor(inputs, name="inputs")
        return _with_rows(inputs)
    if isinstance(inputs, list | tuple) and all(isinstance(text, str) for text in inputs):
        return _with_rows(list(inputs))
    if not isinstance(inputs, np.ndarray | list | tuple | ColumnLike):
        return _with_rows(inputs)
    array: Any = inputs
    if not isinstance(inputs, np.ndarray) or isinstance(inputs, np.ma.MaskedArray):
        array = to_numpy(inputs, name="inputs")
    if array.dtype.kind in "fiub":
        return _with_rows(array)
    texts = array.tolist()
    if array.ndim == 1 and all(isinstance(text, str) for text in texts):
        return _with_rows(texts)
    raise ModtoolsError(
        f"inputs must be {_ACCEPTED}; got a {type(inputs).__name__} with dtype {array.dtype} and "
        f"shape {array.shape}."
    )


def _with_rows(inputs: Any) -> Any:
    if (_is_array(inputs) and inputs.ndim == 0) or _length(inputs) == 0:
        raise ModtoolsError("inputs must not be empty; got no example.")
    return inputs


def _length(inputs: Any) -> int:
    """Return the number of examples, or raise if a Dataset has no length."""
    try:
        return len(inputs)
    except Exception as error:
        raise ModtoolsError(
            f"inputs must have a length; that of {type(inputs).__name__} failed: "
            f"{type(error).__name__}: {error}."
        ) from error


def is_forward(rows: slice) -> bool:
    """Return whether the step of a slice is positive; raise if its parts are no whole numbers."""
    try:
        return rows.indices(1)[2] > 0
    except (TypeError, ValueError) as error:
        raise ModtoolsError(
            f"rows must be a slice of whole numbers, its step not 0; got {rows}."
        ) from error


def check_rows(rows: Any, n_rows: int) -> Rows:
    """Return row numbers from a slice, a boolean mask or whole numbers in [0, n_rows)."""
    if isinstance(rows, slice):
        is_forward(rows)
        return np.arange(n_rows)[rows].copy()  # torch accepts no index with negative strides
    array = to_numpy(rows, name="rows")
    if array.dtype == np.bool_ and array.shape == (n_rows,):
        return np.flatnonzero(array)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise ModtoolsError(
            f"rows must be a slice, whole numbers or a boolean mask of length {n_rows}; "
            f"got dtype {array.dtype} and shape {array.shape}."
        )
    outside = array[(array < 0) | (array >= n_rows)]
    if outside.size:
        raise ModtoolsError(
            f"rows must lie in [0, {n_rows}); got {outside[0]} ({outside.size} such)."
        )
    return np.ascontiguousarray(array, dtype=np.intp)


def take(inputs: Any, rows: Rows | slice) -> Any:
    """Return some examples in the form of the inputs; items of a Dataset are read and stacked."""
    if _is_array(inputs):
        return inputs[rows]
    if isinstance(rows, slice):
        rows = np.arange(len(inputs))[rows]
    if isinstance(inputs, list):
        return [inputs[row] for row in rows]
    return _stack([_example(inputs, int(row)) for row in rows], rows) if len(rows) else []


def _item(inputs: Any, row: int) -> Any:
    """Return one item of a Dataset, whose code may fail in any way."""
    try:
        return inputs[row]
    except Exception as error:
        text = " ".join(str(error).split()).rstrip(".")
        raise ModtoolsError(
            f"item {row} of the Dataset ({type(inputs).__name__}, {len(inputs)} items by its "
            f"length) could not be read: {type(error).__name__}: {text}."
        ) from error


def _example(inputs: Any, row: int) -> Any:
    item = _item(inputs, row)
    if isinstance(item, tuple | list):
        if not item:
            raise ModtoolsError(f"item {row} of the Dataset is an empty {type(item).__name__}.")
        item = item[0]
    if item is None:
        raise ModtoolsError(f"item {row} of the Dataset is None; every item must give an input.")
    if is_tensor(item):
        check_tensor(item, name=f"item {row} of the Dataset")
    return item


def _stack(examples: list[Any], rows: Rows) -> Any:
    """Stack tensors or arrays (or images, which have the array interface); list the rest."""
    forms = [_form(example) for example in examples]
    strange = next((place for place, form in enumerate(forms) if form != forms[0]), None)
    if strange is not None:
        raise ModtoolsError(
            f"the Dataset must give inputs of one shape and kind; item {rows[0]} gives "
            f"{forms[0]}, item {rows[strange]} gives {forms[strange]}. Resize, pad or convert them "
            "in the Dataset."
        )
    if is_tensor(examples[0]):
        import torch

        return torch.stack(examples)
    if _offers_array(examples[0]):
        return np.stack([np.asarray(example) for example in examples])
    return examples


def _offers_array(example: Any) -> bool:
    """Return whether an example can be read as an array; the answer is cached by type."""
    return issubclass(type(example), ArrayInterface)


def _form(example: Any) -> str:
    """Return the kind of one input as text, with its shape if it is an array."""
    if is_tensor(example):
        return f"a tensor of {_dtype_name(example)} {tuple(example.shape)}"
    if _offers_array(example):
        array = np.asarray(example)
        return f"an array of {array.dtype} {array.shape}"
    return f"a {type(example).__name__}"


def read_labels(inputs: Any) -> Any:
    """Return the labels of a Dataset: its `targets`, else the second part of every item."""
    if not is_dataset(inputs):
        raise ModtoolsError(
            "labels must be given with arrays, tensors and lists; only a torch Dataset holds them."
        )
    if getattr(inputs, "target_transform", None) is None:
        targets = getattr(inputs, "targets", None)  # read once: it may read every item
        if targets is not None:
            return targets
    labels = []
    for row in track(range(len(inputs)), "reading labels"):
        item = _item(inputs, row)
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise ModtoolsError(
                f"items of the Dataset must be pairs (input, label); item {row} is a "
                f"{type(item).__name__}. Pass the labels beside the Dataset."
            )
        labels.append(to_numpy(item[1], name=f"label of item {row}").tolist())
    return labels


def iter_blocks(inputs: Any, rows: Rows) -> Iterator[tuple[str, Block]]:
    """Yield (dtype name, rows) block by block: texts, or little-endian arrays in C order."""
    step = _ITEMS_PER_BLOCK
    if isinstance(inputs, list):
        step = 4096
    elif _is_array(inputs):
        step = rows_per_block(int(np.prod(inputs.shape[1:])), 8)
    for start in range(0, len(rows), step):
        block = take(inputs, rows[start : start + step])
        if isinstance(block, list):
            yield "str", _as_texts(block)
        else:
            array = to_numpy(block)
            little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
            yield _dtype_name(block), little


def _as_texts(block: list[Any]) -> list[str]:
    strange = next((item for item in block if not isinstance(item, str)), None)
    if strange is not None:
        raise ModtoolsError(
            "a fingerprint needs inputs that are arrays, tensors or str; the Dataset gives "
            f"{type(strange).__name__}."
        )
    return block


def _dtype_name(block: Any) -> str:
    return str(block.dtype).removeprefix("torch.") if is_tensor(block) else block.dtype.name


def describe(inputs: Any) -> str:
    """Return the type and shape of one example as text.

    >>> describe(np.zeros((3, 8, 8), dtype=np.uint8))
    'uint8 (8, 8)'
    """
    if isinstance(inputs, list):
        return "str"
    if _is_array(inputs):
        return f"{_dtype_name(inputs)} {tuple(inputs.shape[1:])}"
    return type(inputs).__name__
