"""The pass of `_accumulate` for tensors on an accelerator: products there, float64 state here."""

from typing import Any

import numpy as np
import torch

from modtools._checks import raise_if_not_finite, to_numpy
from modtools._feature_maps import FeatureMap
from modtools._types import FloatMatrix
from modtools.exceptions import ModtoolsError
from modtools.outputs import middle_of, sample_rows
from modtools.tasks import Labels
from modtools.transferability._accumulate import (
    SAFE_MEAN_SQUARE,
    SAFE_SUM,
    Precision,
    raise_too_large,
)
from modtools.transferability._sums import Sums

__all__ = ["accumulate_tensor"]

_ROWS = 16384


def accumulate_tensor(
    features: torch.Tensor,
    labels: Labels,
    feature_map: FeatureMap,
    *,
    precision: Precision,
    weights: FloatMatrix | None,
    keep_class_xx: bool,
) -> tuple[list[Sums], FloatMatrix, FloatMatrix]:
    """Return the sums with weights w (and w^2 where weighted) and the two shifts."""
    if features.ndim != 2 or not len(features):
        raise ModtoolsError(
            f"features must have shape (n_samples, n_features); got {tuple(features.shape)}."
        )
    # Reduced-precision products (TF32) would not hold the promised digits.
    exact = precision == "float32" and torch.get_float32_matmul_precision() == "highest"
    dtype = torch.float32 if exact else torch.float64
    shift = _middle(features, feature_map, dtype)
    targets = labels.target_matrix()
    t_shift = np.zeros(labels.n_classes)
    if labels.kind == "regression":
        t_shift = targets.mean(axis=0)
    powers = [1] if weights is None else [1, 2]
    totals: list[dict[str, Any] | None] = [None for _ in powers]
    for start in range(0, len(features), _ROWS):
        rows = slice(start, start + _ROWS)
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


def _middle(features: torch.Tensor, feature_map: FeatureMap, dtype: torch.dtype) -> torch.Tensor:
    """Return the middle of a few rows, which a few far rows do not move."""
    rows = torch.as_tensor(sample_rows(len(features)), device=features.device)
    sample = to_numpy(_mapped(features, rows, feature_map, dtype))
    return torch.as_tensor(middle_of(sample), device=features.device).to(dtype)


def _safe(
    features: torch.Tensor, rows: slice, feature_map: FeatureMap, shift: torch.Tensor
) -> torch.Tensor:
    """Return some shifted rows in the type of the shift, or in float64 where that overflows."""
    x = _mapped(features, rows, feature_map, shift.dtype) - shift
    if x.dtype == torch.float32:
        total = float(x.double().square().sum())
        if not SAFE_MEAN_SQUARE * x.numel() < total < SAFE_SUM:
            return _mapped(features, rows, feature_map, torch.float64) - shift.double()
    return x


def _mapped(
    features: torch.Tensor, rows: Any, feature_map: FeatureMap, dtype: torch.dtype
) -> torch.Tensor:
    """Return some rows under the feature map, which must not hide what is not finite."""
    block = features[rows].to(dtype)
    if feature_map.name != "identity" and not block.isfinite().all():
        raise_if_not_finite(to_numpy(features))
    mapped: torch.Tensor = feature_map(block)
    return mapped


def _block(
    x: torch.Tensor, t: torch.Tensor, w: torch.Tensor | None, classes: bool, keep_class_xx: bool
) -> dict[str, Any]:
    """Return the sums of one shifted block as float64 tensors on its device."""
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
