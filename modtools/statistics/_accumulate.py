"""One pass over rows in memory: shift, multiply on blocks, add up in float64."""

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk, ssyrk

from modtools._validation import LARGEST, FloatArray, as_float, raise_if_not_finite
from modtools.exceptions import ModtoolsError
from modtools.statistics._feature_maps import FeatureMap
from modtools.statistics._sums import Float64, Sums
from modtools.tasks._labels import Labels

__all__ = [
    "Precision",
    "accumulate",
    "fill_triangle",
    "gram_of_columns",
    "label_sums",
    "raise_too_large",
]

Precision: TypeAlias = Literal["float32", "float64"]
_BLOCK_BYTES = 20 << 20
_SQUARES_ROWS = 512
_DENSE_CLASSES = 64
# Outside this range of mean squares, float32 products lose digits or overflow.
_SAFE_MEAN_SQUARE = (1e-24, 1e24)


def fill_triangle(upper: FloatArray) -> Float64:
    """Return the full symmetric float64 matrix of one of which only the upper triangle is set."""
    full = np.triu(upper).astype(np.float64)
    full += np.triu(upper, 1).T
    return full


def gram_of_columns(block: FloatArray, out: FloatArray | None = None) -> FloatArray:
    """Return block.T @ block, upper triangle only; added to `out` in place when it is given."""
    syrk = dsyrk if block.dtype == np.float64 else ssyrk
    if out is None:
        return syrk(1.0, block.T)
    return syrk(1.0, block.T, beta=1.0, c=out, overwrite_c=1)


def label_sums(codes: NDArray[np.intp], n_classes: int, dtype: Any) -> Any:
    """Return the operator (n_classes, n_rows) that adds up rows; sparse for many classes."""
    ones = np.ones(len(codes), dtype=dtype)
    shape = (n_classes, len(codes))
    matrix = scipy.sparse.csr_array((ones, (codes, np.arange(len(codes)))), shape=shape)
    return matrix.toarray() if n_classes <= _DENSE_CLASSES else matrix


class _Accumulator:
    """Float64 totals of one weighting; `add` takes blocks that are already shifted."""

    def __init__(self, n_features: int, n_targets: int, *, keep_class_xx: bool) -> None:
        d, m = n_features, n_targets
        self.n, self.norm4, self.tt_norm = 0.0, 0.0, 0.0
        self.t, self.t_norm = np.zeros(m), np.zeros(m)
        self.x, self.x_norm, self.tt_x = np.zeros(d), np.zeros(d), np.zeros(d)
        self.tx, self.squares, self.tt = np.zeros((m, d)), np.zeros((m, d)), np.zeros((m, m))
        self.upper = np.zeros((d, d), order="F")
        self.class_upper = np.zeros((m, d, d)) if keep_class_xx else None

    def add(self, x: FloatArray, labels: Labels, t_shift: Float64, w: Float64 | None) -> bool:
        """Add a block; return False, adding nothing, if its products are not to be trusted."""
        rooted = x if w is None else x * np.sqrt(w).astype(x.dtype)[:, None]
        product = gram_of_columns(rooted)
        mean_square = float(np.trace(product)) / x.size
        low, high = _SAFE_MEAN_SQUARE
        if x.dtype == np.float32 and not low < mean_square < high:
            return False
        if not mean_square <= 4 * LARGEST**2:  # twice the largest entry, after the shift
            return False
        self.upper += product
        if labels.codes is not None:
            self._add_classes(x, rooted, labels, w)
        else:
            self._add_targets(x, labels.target_matrix() - t_shift)
        return True

    def _norms(self, x: FloatArray, w: Float64 | None) -> Float64:
        norms = np.einsum("ij,ij->i", x, x).astype(np.float64)
        weighted: Float64 = norms if w is None else norms * w
        self.x_norm += weighted.astype(x.dtype) @ x
        self.norm4 += float(weighted @ norms)
        self.n += len(x) if w is None else float(w.sum())
        return weighted

    def _add_classes(
        self, x: FloatArray, rooted: FloatArray, labels: Labels, w: Float64 | None
    ) -> None:
        assert labels.codes is not None
        add_up = label_sums(labels.codes, labels.n_classes, x.dtype)
        if w is not None:
            add_up = add_up * w.astype(x.dtype)
        self._norms(x, w)
        sums = add_up @ x
        counts = np.bincount(labels.codes, weights=w, minlength=labels.n_classes)
        squares = sum(
            add_up[:, start : start + _SQUARES_ROWS] @ np.square(x[start : start + _SQUARES_ROWS])
            for start in range(0, len(x), _SQUARES_ROWS)
        )
        self.tx += sums
        self.squares += squares
        self.x += sums.sum(axis=0, dtype=np.float64)
        self.t += counts
        self.tt[np.diag_indices_from(self.tt)] += counts
        norms = squares.sum(axis=1, dtype=np.float64)
        self.t_norm += norms
        # A one-hot target has length 1, so its norm terms repeat the plain sums.
        self.tt_x += sums.sum(axis=0, dtype=np.float64)
        self.tt_norm += float(norms.sum())
        if self.class_upper is not None:
            for code in np.unique(labels.codes):
                rows = rooted[labels.codes == code]
                self.class_upper[code] += gram_of_columns(rows)

    def _add_targets(self, x: FloatArray, targets: Float64) -> None:
        x = x.astype(np.float64, copy=False)
        norms = self._norms(x, None)  # weights belong to classes
        lengths = np.einsum("ij,ij->i", targets, targets)
        self.tx += targets.T @ x
        self.tt += targets.T @ targets
        self.t += targets.sum(axis=0)
        self.x += x.sum(axis=0)
        self.t_norm += targets.T @ norms
        self.tt_x += lengths @ x
        self.tt_norm += float(lengths @ norms)

    def sums(self) -> Sums:
        class_xx = self.class_upper
        if class_xx is not None:
            class_xx = np.stack([fill_triangle(upper) for upper in class_xx])
        return Sums(
            n=self.n,
            t=self.t,
            x=self.x,
            xx=fill_triangle(self.upper),
            tx=self.tx,
            tt=self.tt,
            t_norm=self.t_norm,
            x_norm=self.x_norm,
            norm4=self.norm4,
            tt_x=self.tt_x,
            tt_norm=self.tt_norm,
            squares=self.squares,
            class_xx=class_xx,
        )


def _row_blocks(n_rows: int, n_features: int, precision: Precision) -> Iterator[slice]:
    itemsize = 4 if precision == "float32" else 8
    step = int(np.clip(_BLOCK_BYTES // (n_features * itemsize), 64, 16384))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def accumulate(
    features: NDArray[Any],
    labels: Labels,
    feature_map: FeatureMap,
    *,
    precision: Precision,
    weights: Float64 | None,
    keep_class_xx: bool,
) -> tuple[list[Sums], Float64, Float64]:
    """Return the sums with weights w (and w^2 where weighted) and the two shifts.

    Memory beyond the input is one block, one product and the state, whatever the number of rows.
    """
    dtype, d = np.dtype(precision), features.shape[1]
    powers = [1] if weights is None else [1, 2]
    totals = [_Accumulator(d, labels.n_classes, keep_class_xx=keep_class_xx) for _ in powers]
    blocks = list(_row_blocks(len(features), d, precision))
    shift, t_shift = _shifts(features, blocks[0], labels, feature_map, dtype)
    buffer = np.empty((blocks[0].stop, d), dtype=dtype)
    for rows in blocks:
        block = as_float(features[rows])
        if feature_map.name != "identity" and not np.isfinite(block).all():
            raise_if_not_finite(features)  # a map may hide what is not finite
        mapped = feature_map.in_precision(block, dtype)
        x = np.subtract(mapped, shift, out=buffer[: len(mapped)], dtype=dtype)
        part = labels.take(rows)
        for power, total in zip(powers, totals, strict=True):
            w = None if weights is None else weights[rows] ** power
            if total.add(x, part, t_shift, w):
                continue
            raise_if_not_finite(features)
            if not total.add(mapped.astype(np.float64) - shift, part, t_shift, w):
                raise_too_large()
    return [total.sums() for total in totals], shift.astype(np.float64), t_shift


def _shifts(
    features: NDArray[Any], first: slice, labels: Labels, feature_map: FeatureMap, dtype: Any
) -> tuple[FloatArray, Float64]:
    """Return the mean of the first rows, in the type of the products, and of the targets."""
    rows = as_float(features[first])
    if not -LARGEST <= rows.min() <= rows.max() <= LARGEST:
        raise_if_not_finite(features)
    shift = feature_map.in_precision(rows, dtype).mean(axis=0, dtype=np.float64).astype(dtype)
    if labels.kind == "regression":
        return shift, labels.target_matrix().mean(axis=0)
    return shift, np.zeros(labels.n_classes)


def raise_too_large() -> None:
    """Raise the one error for features whose squares overflow float64."""
    raise ModtoolsError(
        "features are too large: their squares overflow float64. Divide them by a constant."
    )
