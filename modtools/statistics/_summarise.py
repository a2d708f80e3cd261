"""From rows in memory to a `Summary`: through moments, or through the n x n kernel where n < d."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.linalg.blas import dsyrk

from modtools._validation import FloatArray, as_float, raise_if_not_finite, rows_per_block
from modtools.exceptions import ModtoolsError
from modtools.statistics._accumulate import (
    Precision,
    fill_triangle,
    gram_of_columns,
    label_sums,
)
from modtools.statistics._feature_maps import FEATURE_MAPS
from modtools.statistics._moments import Moments, choose_precision, logdet_plus_identity
from modtools.statistics._summary import DiagonalSums, Spectrum, Summary, significant
from modtools.statistics._sums import Float64
from modtools.tasks._labels import Labels

__all__ = ["summarise"]


def summarise(
    features: NDArray[Any],
    labels: Labels,
    *,
    feature_map: str = "identity",
    precision: Precision | None = None,
) -> Summary:
    """Summarise checked features (n_samples, n_features) and their labels.

    Fewer rows than features go through the n x n kernel in float64, which is cheaper and exact.
    """
    if len(features) < features.shape[1]:
        return _from_kernel(features, labels, feature_map)
    moments = Moments.from_features(
        features,
        labels,
        feature_map=feature_map,
        precision=precision or choose_precision(features, labels.kind),
    )
    summary = moments.summary()
    if labels.codes is not None:
        logdets = _class_logdets(features, labels, FEATURE_MAPS[feature_map], summary.mean)
        object.__setattr__(summary, "class_logdets", logdets)
    return summary


def _class_logdets(
    features: NDArray[Any],
    labels: Labels,
    feature_map: Callable[[FloatArray], FloatArray],
    mean: Float64,
) -> Callable[[float], Float64]:
    """Read the rows class by class, so that one second moment at a time is in memory."""

    def logdets(delta: float) -> Float64:
        assert labels.codes is not None
        result = np.zeros(labels.n_classes)
        for code in np.unique(labels.codes):
            rows = np.flatnonzero(labels.codes == code)
            scale = delta / len(rows)
            result[code] = logdet_plus_identity(
                _kernel_of_rows(features, rows, feature_map, mean) * scale
                if len(rows) < features.shape[1]
                else _scatter_of_rows(features, rows, feature_map, mean) * scale
            )
        return result

    return logdets


def _scatter_of_rows(
    features: NDArray[Any],
    rows: NDArray[np.intp],
    feature_map: Callable[[FloatArray], FloatArray],
    mean: Float64,
) -> Float64:
    upper = np.zeros((len(mean), len(mean)), order="F")
    step = rows_per_block(len(mean), 8)
    for start in range(0, len(rows), step):
        block = feature_map(as_float(features[rows[start : start + step]])) - mean
        upper = gram_of_columns(block, out=upper)
    return fill_triangle(upper)


def _kernel_of_rows(
    features: NDArray[Any],
    rows: NDArray[np.intp],
    feature_map: Callable[[FloatArray], FloatArray],
    mean: Float64,
) -> Float64:
    block = feature_map(as_float(features[rows])) - mean
    return fill_triangle(dsyrk(1.0, block.T, trans=1))


def _from_kernel(features: NDArray[Any], labels: Labels, feature_map: str) -> Summary:
    rows = FEATURE_MAPS[feature_map](as_float(features))
    n, d = rows.shape
    mean = rows.mean(axis=0, dtype=np.float64)
    if not np.isfinite(mean).all():
        raise_if_not_finite(rows)
    counts, target_second, centred_targets, add_up = _targets(labels)
    upper = np.zeros((n, n), order="F")
    offsets = np.zeros((len(counts), d))
    within = np.zeros((len(counts), d))
    along_mean, about_origin = np.zeros(n), np.zeros(n)
    step = rows_per_block(n, 8)
    for start in range(0, d, step):
        columns = slice(start, min(start + step, d))
        centred = rows[:, columns] - mean[columns]
        upper = dsyrk(1.0, centred.T, trans=1, beta=1.0, c=upper, overwrite_c=1)
        offsets[:, columns] = centred_targets.T @ centred
        along_mean += centred @ mean[columns]
        about_origin += np.square(rows[:, columns], dtype=np.float64).sum(axis=1)
        if add_up is not None:
            squares = add_up @ np.square(centred)
            within[:, columns] = squares - offsets[:, columns] ** 2 / np.maximum(counts, 1)[:, None]
    kernel = fill_triangle(upper)
    norms = np.diag(kernel).copy()
    if not np.isfinite(norms).all():
        raise_if_not_finite(rows)
        raise ModtoolsError(
            "features are too large: their squares overflow float64. Divide them by a constant."
        )
    target_norms = np.einsum("ij,ij->i", centred_targets, centred_targets)
    mean2 = float(mean @ mean)

    def decompose() -> Spectrum:
        values, vectors = linalg.eigh(kernel, check_finite=False, driver="evd")
        kept = significant(values, max(n, d))
        basis, roots = vectors[:, kept], np.sqrt(values[kept])
        projected = (along_mean @ basis) / roots
        rest = max(mean2 - float(projected @ projected), 0.0)
        return Spectrum(values[kept], projected, rest, (centred_targets.T @ basis) * roots)

    def class_logdets(delta: float) -> Float64:
        assert labels.codes is not None
        result = np.zeros(labels.n_classes)
        for code in np.unique(labels.codes):
            own = np.flatnonzero(labels.codes == code)
            result[code] = logdet_plus_identity(kernel[np.ix_(own, own)] * (delta / len(own)))
        return result

    return Summary(
        kind=labels.kind,
        n=float(n),
        n_rows=n,
        n_features=d,
        weighted=False,
        counts=counts,
        target_second=target_second,
        target_scatter=target_second - np.outer(counts, counts / n),
        mean=mean,
        offsets=offsets,
        trace=float(norms.sum()),
        scatter_norm2=float(np.vdot(kernel, kernel)),
        mean_scatter_mean=float(along_mean @ along_mean),
        within_squares=np.maximum(within, 0),
        diagonal=DiagonalSums(
            n=float(n),
            norm2=float(about_origin.sum()),
            norm4=float(about_origin @ about_origin),
            centred_norm2=float(norms.sum()),
            centred_norm4=float(norms @ norms),
            cross=float(norms @ target_norms),
            target_norm2=float(target_norms.sum()),
        ),
        feature_map=feature_map,
        precision="float64",
        decompose=decompose,
        class_logdets=class_logdets if labels.codes is not None else None,
    )


def _targets(labels: Labels) -> tuple[Float64, Float64, Float64, Any]:
    """Return T'1, T'T, HT and, for classes, the operator that adds rows up by class."""
    targets = labels.target_matrix()
    counts = targets.sum(axis=0)
    second = targets.T @ targets
    add_up = None
    if labels.codes is not None:
        add_up = label_sums(labels.codes, labels.n_classes, np.float64)
    return counts, second, targets - targets.mean(axis=0), add_up
