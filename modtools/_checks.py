"""Input checks and their messages.

Each check is called once, in the public function, and returns the converted value. A message names
the argument, the rule, the value and its place, and a remedy.
"""

import difflib
from collections.abc import Iterable, Sequence
from importlib import import_module
from numbers import Integral, Number, Real
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modtools._types import FloatArray, SparseLike, is_tensor
from modtools.exceptions import ModtoolsError, UnusableInputError

__all__ = [
    "LARGEST",
    "LARGEST_SIDE",
    "as_float",
    "as_real",
    "check_boolean",
    "check_choice",
    "check_features",
    "check_fraction",
    "check_groups",
    "check_integer",
    "check_lengths",
    "check_matrix",
    "check_positive",
    "check_probabilities",
    "check_tensor",
    "did_you_mean",
    "import_extra",
    "raise_if_not_finite",
    "rows_per_block",
    "to_numpy",
]

_WHOLE: Final = 2.0**53  # below it float64 represents every whole number
_NUMPY_FLOATS: Final = ("torch.float16", "torch.float32", "torch.float64")
_DENSE: Final = "Convert it with to_dense(), toarray() or padding"
_DEQUANTISE: Final = "Convert it with dequantize()"
_BLOCK_BYTES = 8 << 20
LARGEST_SIDE: Final = 8192  # pixels: a batch of larger images fits into no memory
LARGEST: Final = np.float64(1e70)  # fourth powers, summed over any data, stay within float64


def rows_per_block(n_features: int, itemsize: int = 4) -> int:
    """Return how many rows make a block of about 8 MB, at least one."""
    return max(1, _BLOCK_BYTES // max(1, n_features * itemsize))


def to_numpy(values: Any, *, name: str = "values") -> NDArray[Any]:
    """Return `values` as a numpy array; a torch tensor is detached and moved, not changed."""
    if is_tensor(values):
        return _tensor_to_numpy(values, name)
    if np.ma.is_masked(values):
        raise ModtoolsError(f"{name} must not have masked entries; fill them or drop their rows.")
    if not isinstance(values, np.ndarray | Number) and isinstance(values, SparseLike):
        raise ModtoolsError(f"{name} must be dense; got a {type(values).__name__}. {_DENSE}.")
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise ModtoolsError(f"{name} must have rows of one length; {error}") from error
    except Exception as error:  # any exception of a user-defined conversion
        kind = type(values).__name__
        raise ModtoolsError(f"{name} must be an array; a {kind} is none: {error}") from error


def check_tensor(values: Any, *, name: str) -> None:
    """Raise if a tensor has no plain values to read: sparse, nested, meta or quantised."""
    layout = "nested" if values.is_nested else str(values.layout).removeprefix("torch.")
    if layout != "strided":
        raise ModtoolsError(f"{name} must be dense; got a {layout} tensor. {_DENSE}.")
    if values.device.type == "meta":
        raise ModtoolsError(f'{name} must hold values; a tensor on the device "meta" has none.')
    if values.is_quantized:
        raise ModtoolsError(f"{name} must not be quantised; got {values.dtype}. {_DEQUANTISE}.")


def _tensor_to_numpy(values: Any, name: str) -> NDArray[Any]:
    check_tensor(values, name=name)
    try:
        values = values.detach().cpu()
        if values.is_floating_point() and str(values.dtype) not in _NUMPY_FLOATS:
            values = values.float()  # bfloat16 and float8, which numpy lacks, without rounding
        return np.asarray(values.resolve_conj().resolve_neg().numpy())
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise ModtoolsError(
            f"{name} must be a plain tensor; one of {values.dtype} cannot be read: {error}"
        ) from error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a clause that suggests the most similar known names, or the empty string.

    >>> did_you_mean("log_me", ["logme", "leep"])
    '; did you mean "logme"?'
    """
    near = difflib.get_close_matches(name, list(known), n=2, cutoff=0.6)
    names = " or ".join(f'"{match}"' for match in near)
    return f"; did you mean {names}?" if near else ""


def check_choice(value: str, known: Sequence[str], *, name: str, hint: str = "") -> str:
    """Return `value` if it is a known name; otherwise raise and suggest similar names.

    >>> check_choice("maxx", ["mean", "max"], name="pooling")
    Traceback (most recent call last):
    modtools.exceptions.ModtoolsError: unknown pooling "maxx"; did you mean "max"? Known: mean, max.
    """
    if isinstance(value, str) and value in known:
        return value
    suggestion = did_you_mean(str(value), known)
    text = hint or f"Known: {', '.join(known)}."
    raise ModtoolsError(f'unknown {name} "{value}"{suggestion or "."} {text}'.strip())


def check_integer(value: Any, *, name: str, minimum: int = 1, maximum: int | None = None) -> int:
    """Return `value` as an int of at least `minimum` and at most `maximum`, if one is given."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        raise ModtoolsError(f"{name} must be a whole number of at least {minimum}; got {value!r}.")
    if maximum is not None and int(value) > maximum:
        raise ModtoolsError(f"{name} must be at most {maximum}; got {value!r}.")
    return int(value)


def as_real(value: Any) -> float:
    """Return a real number as a float; NaN for anything else, which fails every comparison.

    >>> as_real(2), as_real("2"), as_real(True), as_real(10**400)
    (2.0, nan, nan, nan)
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        return np.nan
    try:
        return float(value)
    except OverflowError:  # a whole number beyond all floats
        return np.nan


def check_boolean(value: Any, *, name: str) -> bool:
    """Return `value`, which is True or False."""
    if not isinstance(value, bool):
        raise ModtoolsError(f"{name} must be True or False; got {value!r}.")
    return value


def check_positive(value: Any, *, name: str) -> float:
    """Return `value` as a finite float greater than zero."""
    if not 0 < as_real(value) < np.inf:
        raise ModtoolsError(f"{name} must be a finite number above 0; got {value!r}.")
    return float(value)


def check_fraction(value: Any, *, name: str) -> float:
    """Return `value` as a float strictly between 0 and 1."""
    if not 0 < as_real(value) < 1:
        raise ModtoolsError(f"{name} must lie strictly between 0 and 1; got {value!r}.")
    return float(value)


def check_lengths(**sized: Any) -> int:
    """Return the common length of the named arguments, or raise and give each length."""
    lengths = {name: len(value) for name, value in sized.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        names = " and ".join(lengths)
        raise ModtoolsError(f"{names} must have one row each per example; {counts}.")
    return next(iter(lengths.values()))


def check_groups(groups: Any, n_samples: int) -> NDArray[Any]:
    """Return the group of each example (n_samples,): whole numbers, booleans or str, none missing.

    >>> check_groups(["a", "b", "a"], 3).tolist()
    ['a', 'b', 'a']
    """
    array = to_numpy(groups, name="groups")
    if array.dtype.kind == "U" and isinstance(groups, list | tuple):
        array = np.asarray(groups, dtype=object)  # numpy would turn numbers among str into str
    if array.dtype.kind == "f" and ((array == np.round(array)) & (abs(array) < _WHOLE)).all():
        array = array.astype(np.int64)  # a column of whole numbers, as tables keep it
    if array.shape != (n_samples,) or array.dtype.kind not in "iubUSO":
        raise ModtoolsError(
            f"groups must be one whole number or str per example, shape ({n_samples},); "
            f"got dtype {array.dtype} and shape {array.shape}."
        )
    if array.dtype.kind != "O":
        return array
    invalid = next((row for row, name in enumerate(array) if not isinstance(name, str)), None)
    if invalid is not None:
        raise ModtoolsError(
            f"groups must not be missing or mixed; got {array[invalid]!r} in row {invalid}."
        )
    return array.astype(str)


def check_matrix(features: Any, *, name: str = "features", minimum_rows: int = 2) -> NDArray[Any]:
    """Return features as a real array (n_samples, n_features) of their own type, never a copy.

    Whether entries are finite is checked where the values are read anyway (`raise_if_not_finite`),
    which saves a pass over large data.
    """
    array = to_numpy(features, name=name)
    if array.ndim != 2:
        raise ModtoolsError(
            f"{name} must have shape (n_samples, n_features); got {array.shape}. "
            "Reshape or pool them to one row per example."
        )
    if array.dtype.kind not in "fiub":
        raise ModtoolsError(f"{name} must be real numbers; got dtype {array.dtype}.")
    if len(array) < minimum_rows or array.shape[1] == 0:
        raise ModtoolsError(
            f"{name} must have at least {minimum_rows} rows and 1 column; got {array.shape}."
        )
    return array


def check_features(features: Any, *, name: str = "features", minimum_rows: int = 2) -> FloatArray:
    """Return float32 or float64 features (n_samples, n_features), copied only if needed."""
    return as_float(check_matrix(features, name=name, minimum_rows=minimum_rows))


def as_float(array: NDArray[Any]) -> FloatArray:
    """Return a real array as float32 (types of up to 16 bits) or float64; floats stay as they are.

    >>> as_float(np.arange(3, dtype=np.int16)).dtype.name
    'float32'
    """
    native = array.dtype.newbyteorder("=")
    if native in (np.float32, np.float64):
        return array.astype(native, copy=False)
    return array.astype(np.float32 if array.dtype.itemsize <= 2 else np.float64)


def raise_if_not_finite(array: FloatArray, *, name: str = "features") -> None:
    """Raise if entries are NaN or infinite; the message says how many, in how many rows, and where.

    Entries so large that their products would overflow raise as well.
    """
    step = rows_per_block(array.shape[1] if array.ndim > 1 else 1)
    bad_rows = [
        start + np.flatnonzero(~np.isfinite(block).reshape(len(block), -1).all(axis=1))
        for start in range(0, len(array), step)
        if not np.isfinite(block := array[start : start + step]).all()
    ]
    if not bad_rows:
        if array.size and not -LARGEST <= array.min() <= array.max() <= LARGEST:
            raise UnusableInputError(
                f"{name} must lie within {LARGEST:.0e} of 0, or their products overflow; "
                f"got {array.min():.3g} to {array.max():.3g}. Divide them by a constant."
            )
        return
    rows = np.concatenate(bad_rows)
    bad = array[rows].reshape(len(rows), -1)
    n_nan, n_inf = int(np.isnan(bad).sum()), int(np.isinf(bad).sum())
    counted = ((n_nan, "NaN"), (n_inf, "infinite"))
    entries = " and ".join(f"{n} {kind}" for n, kind in counted if n)
    column = int(np.flatnonzero(~np.isfinite(bad[0]))[0])
    where = f"row {rows[0]}" + (f", column {column}" if array.ndim > 1 else "")
    rows_text = f"{len(rows)} row{'s' if len(rows) > 1 else ''}"
    raise UnusableInputError(
        f"{name} must be finite: {entries} in {rows_text}, first at {where}. "
        "Drop these rows or check the module's precision (float16 overflows above 65504)."
    )


def check_probabilities(
    probabilities: Any, *, name: str = "source_probabilities", tolerance: float = 1e-4
) -> FloatArray:
    """Return probabilities (n_samples, n_source_classes): rows are non-negative and sum to 1."""
    array = check_features(probabilities, name=name, minimum_rows=1)
    raise_if_not_finite(array, name=name)
    sums = array.sum(axis=1, dtype=np.float64)
    bad = np.flatnonzero((np.abs(sums - 1) > tolerance) | (array.min(axis=1) < 0))
    if bad.size:
        row = int(bad[0])
        raise ModtoolsError(
            f"{name} must be non-negative with rows that sum to 1; row {row} sums to "
            f"{sums[row]:.6g} with minimum {array[row].min():.3g} ({bad.size} such rows). "
            "If these are logits, apply a softmax first."
        )
    return array


def import_extra(package: str, *, extra: str) -> Any:
    """Return an optional package; raise with the name of the extra that installs it if missing.

    >>> import_extra("no_such", extra="demo")
    Traceback (most recent call last):
    modtools.exceptions.ModtoolsError: the package no_such is needed: pip install "modtools[demo]".
    """
    try:
        return import_module(package)
    except ImportError as error:
        text = f'the package {package} is needed: pip install "modtools[{extra}]".'
        raise ModtoolsError(text) from error
