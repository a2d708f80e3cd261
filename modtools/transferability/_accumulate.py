"""One pass over the examples, on CPU or GPU: shift, multiply blocks, sum in float64.

CPU and GPU have separate code. On a CPU, short chunks that fit into the cache and sparse sums over
many classes take a fraction of the time; a GPU needs few, large products.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from modtools._checks import LARGEST, as_float, raise_if_not_finite, to_numpy
from modtools._feature_maps import FeatureMap
from modtools._types import FloatArray, FloatMatrix
from modtools.exceptions import ModtoolsError, UnusableInputError
from modtools.outputs import middle_of, sample_rows
from modtools.tasks import Labels
from modtools.transferability._sums import Sums

if TYPE_CHECKING:
    import torch

__all__ = [
    "SAFE_MEAN_SQUARE",
    "SAFE_SUM",
    "Precision",
    "accumulate",
    "accumulate_tensor",
    "gram_of_columns",
    "label_sums",
    "raise_too_large",
]

# On a CPU ---------------------------------------------------------------------------------------

Precision: TypeAlias = Literal["float32", "float64"]
_BLOCK_BYTES = 20 << 20
_CHUNK_ROWS = 512
_DENSE_CLASSES = 64
# Below this mean square float32 products lose digits; above this sum, cubes overflow.
SAFE_MEAN_SQUARE, SAFE_SUM = 1e-24, 1e22


def gram_of_columns(block: FloatArray, out: FloatArray | None = None) -> FloatArray:
    """Return block.T @ block, into `out` if given; numpy computes it as one symmetric product."""
    return np.matmul(block.T, block, out=out)


def label_sums(codes: NDArray[np.intp], n_classes: int, dtype: Any) -> Any:
    """Return the one-hot matrix (n_classes, n_samples) that sums per class; sparse for many."""
    rows = np.arange(len(codes))
    if n_classes <= _DENSE_CLASSES:
        dense = np.zeros((n_classes, len(codes)), dtype=dtype)
        dense[codes, rows] = 1
        return dense
    ones = np.ones(len(codes), dtype=dtype)
    return scipy.sparse.csr_array((ones, (codes, rows)), shape=(n_classes, len(codes)))


class _Accumulator:
    """Float64 sums with one set of weights; `add` takes blocks that are already shifted."""

    def __init__(self, n_features: int, n_targets: int, *, keep_class_xx: bool) -> None:
        d, m = n_features, n_targets
        self.n, self.norm4, self.tt_norm = 0.0, 0.0, 0.0
        self.t, self.t_norm = np.zeros(m), np.zeros(m)
        self.x, self.x_norm, self.tt_x = np.zeros(d), np.zeros(d), np.zeros(d)
        self.tx, self.squares, self.tt = np.zeros((m, d)), np.zeros((m, d)), np.zeros((m, m))
        self.xx = np.zeros((d, d))
        self._space: FloatArray | None = None
        self.class_xx = np.zeros((m, d, d)) if keep_class_xx else None

    def add(
        self, x: FloatArray, labels: Labels, t_shift: FloatMatrix, w: FloatMatrix | None
    ) -> bool:
        """Add a block; return False, without adding it, if its products lose digits."""
        rooted = x if w is None else x * np.sqrt(w).astype(x.dtype)[:, None]
        product = self._product(rooted)
        total = float(np.trace(product))
        is_safe = total > SAFE_MEAN_SQUARE * x.size and total < SAFE_SUM
        if x.dtype == np.float32 and not is_safe:
            return False
        if not total <= 4 * LARGEST**2 * x.size:  # twice the largest entry, after the shift
            return False
        self.xx += product
        if labels.codes is not None:
            self._add_classes(x, rooted, labels, w)
        else:
            self._add_targets(x, labels.target_matrix() - t_shift)
        return True

    def _product(self, rooted: FloatArray) -> FloatArray:
        """Return rooted.T @ rooted in a buffer that is reused."""
        if self._space is None or self._space.dtype != rooted.dtype:
            self._space = np.empty(self.xx.shape, dtype=rooted.dtype)
        return gram_of_columns(rooted, out=self._space)

    def _add_norms(self, x: FloatArray, norms: FloatMatrix, w: FloatMatrix | None) -> None:
        weighted = norms if w is None else norms * w
        self.x_norm += weighted.astype(x.dtype) @ x
        self.norm4 += float(weighted @ norms)
        self.n += len(x) if w is None else float(w.sum())

    def _add_classes(
        self, x: FloatArray, rooted: FloatArray, labels: Labels, w: FloatMatrix | None
    ) -> None:
        assert labels.codes is not None
        # Short chunks stay in the CPU cache while all their sums are computed.
        for start in range(0, len(x), _CHUNK_ROWS):
            rows = slice(start, start + _CHUNK_ROWS)
            chunk_weights = None if w is None else w[rows]
            self._add_class_chunk(x[rows], labels.codes[rows], chunk_weights)
        counts = np.bincount(labels.codes, weights=w, minlength=labels.n_classes)
        self.t += counts
        self.tt[np.diag_indices_from(self.tt)] += counts
        if self.class_xx is not None:
            for code in np.unique(labels.codes):
                rows_of_class = rooted[labels.codes == code]
                self.class_xx[code] += gram_of_columns(rows_of_class)

    def _add_class_chunk(
        self, x: FloatArray, codes: NDArray[np.intp], w: FloatMatrix | None
    ) -> None:
        squared = np.square(x)
        self._add_norms(x, np.einsum("ij->i", squared).astype(np.float64), w)
        per_class = label_sums(codes, len(self.t), x.dtype)
        if w is not None:
            per_class = per_class * w.astype(x.dtype)
        sums, squares = per_class @ x, per_class @ squared
        self.tx += sums
        self.squares += squares
        row_sum = sums.sum(axis=0, dtype=np.float64)
        self.x += row_sum
        norms = squares.sum(axis=1, dtype=np.float64)
        self.t_norm += norms
        # A one-hot target has length 1, so its norm terms equal the plain sums.
        self.tt_x += row_sum
        self.tt_norm += float(norms.sum())

    def _add_targets(self, x: FloatArray, targets: FloatMatrix) -> None:
        x = x.astype(np.float64, copy=False)
        norms = np.einsum("ij,ij->i", x, x)
        self._add_norms(x, norms, None)  # only classes have weights
        lengths = np.einsum("ij,ij->i", targets, targets)
        self.tx += targets.T @ x
        self.tt += targets.T @ targets
        self.t += targets.sum(axis=0)
        self.x += x.sum(axis=0)
        self.t_norm += targets.T @ norms
        self.tt_x += lengths @ x
        self.tt_norm += float(lengths @ norms)

    def sums(self) -> Sums:
        return Sums(
            n=self.n,
            t=self.t,
            x=self.x,
            xx=self.xx,
            tx=self.tx,
            tt=self.tt,
            t_norm=self.t_norm,
            x_norm=self.x_norm,
            norm4=self.norm4,
            tt_x=self.tt_x,
            tt_norm=self.tt_norm,
            squares=self.squares,
            class_xx=self.class_xx,
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
    weights: FloatMatrix | None,
    keep_class_xx: bool,
) -> tuple[list[Sums], FloatMatrix, FloatMatrix]:
    """Return the sums with weights w (and with w^2 if weighted), and the shifts of x and t.

    Memory beyond the input is one block, one product and the state, for any number of examples.
    """
    dtype, d = np.dtype(precision), features.shape[1]
    powers = [1] if weights is None else [1, 2]
    totals = [_Accumulator(d, labels.n_classes, keep_class_xx=keep_class_xx) for _ in powers]
    blocks = list(_row_blocks(len(features), d, precision))
    shift, t_shift = _shifts(features, labels, feature_map, dtype)
    buffer = np.empty((blocks[0].stop, d), dtype=dtype)
    for rows in blocks:
        block = as_float(features[rows])
        if feature_map.name != "identity" and not np.isfinite(block).all():
            raise_if_not_finite(features)  # a feature map may hide NaN and infinity
        mapped = feature_map.in_precision(block, dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # `add` checks the result
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
    features: NDArray[Any], labels: Labels, feature_map: FeatureMap, dtype: Any
) -> tuple[FloatArray, FloatMatrix]:
    """Return the median of a few examples, in the type of the products, and the mean target.

    A mean is moved by a single outlier, so far that the sums of all other examples lose digits; a
    median is not.
    """
    rows = as_float(features[sample_rows(len(features))])
    if not -LARGEST <= rows.min() <= rows.max() <= LARGEST:
        raise_if_not_finite(features)
    shift = middle_of(feature_map.in_precision(rows, dtype)).astype(dtype)
    if labels.kind == "regression":
        return shift, labels.target_matrix().mean(axis=0)
    return shift, np.zeros(labels.n_classes)


def raise_too_large() -> None:
    """Raise the error for features whose squares overflow float64."""
    raise UnusableInputError(
        "features are too large: their squares overflow float64. Divide them by a constant."
    )


# On a GPU ---------------------------------------------------------------------------------------

_TENSOR_ROWS = 16384


def accumulate_tensor(
    features: "torch.Tensor",
    labels: Labels,
    feature_map: FeatureMap,
    *,
    precision: Precision,
    weights: FloatMatrix | None,
    keep_class_xx: bool,
) -> tuple[list[Sums], FloatMatrix, FloatMatrix]:
    """Return the sums with weights w (and with w^2 if weighted), and the shifts of x and t."""
    import torch

    if features.ndim != 2 or not len(features):
        raise ModtoolsError(
            f"features must have shape (n_samples, n_features); got {tuple(features.shape)}."
        )
    # Reduced-precision products (TF32) would lose more digits than documented.
    exact = precision == "float32" and torch.get_float32_matmul_precision() == "highest"
    dtype = torch.float32 if exact else torch.float64
    shift = _middle(features, feature_map, dtype)
    targets = labels.target_matrix()
    t_shift = np.zeros(labels.n_classes)
    if labels.kind == "regression":
        t_shift = targets.mean(axis=0)
    powers = [1] if weights is None else [1, 2]
    totals: list[dict[str, Any] | None] = [None for _ in powers]
    for start in range(0, len(features), _TENSOR_ROWS):
        rows = slice(start, start + _TENSOR_ROWS)
        x = _safe(features, rows, feature_map, shift)
        t = torch.as_tensor(targets[rows] - t_shift, device=x.device)
        for i, power in enumerate(powers):
            w = None
            if weights is not None:
                w = torch.as_tensor(weights[rows] ** power, device=x.device)
            part = _block(x, t, w, labels.kind == "classification", keep_class_xx)
            before = totals[i]
            totals[i] = part if before is None else _added(before, part)
    sums = [_to_sums(total) for total in totals if total is not None]
    if not np.isfinite(sums[0].norm4):
        raise_if_not_finite(to_numpy(features))
        raise_too_large()
    return sums, shift.double().cpu().numpy(), t_shift


def _middle(
    features: "torch.Tensor", feature_map: FeatureMap, dtype: "torch.dtype"
) -> "torch.Tensor":
    """Return the median of a few examples, which outliers do not move."""
    import torch

    rows = torch.as_tensor(sample_rows(len(features)), device=features.device)
    sample = to_numpy(_mapped(features, rows, feature_map, dtype))
    return torch.as_tensor(middle_of(sample), device=features.device).to(dtype)


def _safe(
    features: "torch.Tensor", rows: slice, feature_map: FeatureMap, shift: "torch.Tensor"
) -> "torch.Tensor":
    """Return shifted examples in the type of the shift, or in float64 if their squares need it."""
    import torch

    x = _mapped(features, rows, feature_map, shift.dtype) - shift
    if x.dtype == torch.float32:
        total = float(x.double().square().sum())
        if not SAFE_MEAN_SQUARE * x.numel() < total < SAFE_SUM:
            return _mapped(features, rows, feature_map, torch.float64) - shift.double()
    return x


def _mapped(
    features: "torch.Tensor", rows: Any, feature_map: FeatureMap, dtype: "torch.dtype"
) -> "torch.Tensor":
    """Return mapped examples; raise if the feature map would hide NaN or infinity."""
    block = features[rows].to(dtype)
    if feature_map.name != "identity" and not block.isfinite().all():
        raise_if_not_finite(to_numpy(features))
    mapped: torch.Tensor = feature_map(block)
    return mapped


def _block(
    x: "torch.Tensor",
    t: "torch.Tensor",
    w: "torch.Tensor | None",
    classes: bool,
    keep_class_xx: bool,
) -> dict[str, Any]:
    """Return the sums of one shifted block as float64 tensors on its device."""
    import torch

    weight = torch.ones(len(x), dtype=torch.float64, device=x.device) if w is None else w
    weighted_t = t * weight[:, None]
    narrow_t = weighted_t.to(x.dtype)
    norms, lengths = x.double().square().sum(dim=1), t.square().sum(dim=1)
    rooted = x if w is None else x * weight.sqrt()[:, None].to(x.dtype)
    squares = narrow_t.T @ x.square() if classes else x.new_zeros(t.shape[1], x.shape[1])
    sums = {
        "n": weight.sum(),
        "t": weighted_t.sum(dim=0),
        "x": (weight.to(x.dtype) @ x).double(),
        "xx": (rooted.T @ rooted).double(),
        "tx": (narrow_t.T @ x).double(),
        "tt": weighted_t.T @ t,
        "t_norm": weighted_t.T @ norms,
        "x_norm": ((weight * norms).to(x.dtype) @ x).double(),
        "norm4": (weight * norms.square()).sum(),
        "tt_x": ((weight * lengths).to(x.dtype) @ x).double(),
        "tt_norm": (weight * lengths * norms).sum(),
        "squares": squares.double(),
        "class_xx": None,
    }
    if keep_class_xx:
        per_class = [rooted[t[:, c] > 0] for c in range(t.shape[1])]
        sums["class_xx"] = torch.stack([(rows.T @ rows).double() for rows in per_class])
    return sums


def _added(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    return {name: None if value is None else value + right[name] for name, value in left.items()}


def _to_sums(total: dict[str, Any]) -> Sums:
    arrays: dict[str, Any] = {}
    for name, value in total.items():
        arrays[name] = None if value is None else value.double().cpu().numpy()
        if value is not None and value.ndim == 0:
            arrays[name] = float(value)
    return Sums(**arrays)
