"""From rows in memory to a `Summary`: through moments, or through the n x n kernel where n < d."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from modtools._validation import FloatArray, as_float, raise_if_not_finite, rows_per_block
from modtools.statistics._accumulate import (
    Precision,
    gram_of_columns,
    label_sums,
)
from modtools.statistics._feature_maps import FEATURE_MAPS, FeatureMap
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

    Examples
    --------
    >>> from modtools.tasks import encode_labels
    >>> summary = summarise(np.array([[0.0], [1.0], [10.0], [11.0]]), encode_labels([0, 0, 1, 1]))
    >>> summary.trace, summary.offsets.ravel().tolist()
    (101.0, [-10.0, 10.0])
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
    if labels.codes is None:
        return summary
    logdets = _class_logdets(features, labels, FEATURE_MAPS[feature_map], summary.mean)
    return replace(summary, class_logdets=logdets)


def _class_logdets(
    features: NDArray[Any],
    labels: Labels,
    feature_map: FeatureMap,
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
    feature_map: FeatureMap,
    mean: Float64,
) -> Float64:
    scatter = np.zeros((len(mean), len(mean)))
    step = rows_per_block(len(mean), 8)
    for start in range(0, len(rows), step):
        block = feature_map.in_precision(as_float(features[rows[start : start + step]]), np.float64)
        block = block - mean
        scatter += gram_of_columns(block)
    return scatter


def _kernel_of_rows(
    features: NDArray[Any],
    rows: NDArray[np.intp],
    feature_map: FeatureMap,
    mean: Float64,
) -> Float64:
    block = feature_map.in_precision(as_float(features[rows]), np.float64) - mean
    return block @ block.T


def _from_kernel(features: NDArray[Any], labels: Labels, feature_map: str) -> Summary:
    rows = as_float(features)
    raise_if_not_finite(rows)
    kernel = _CentredKernel(FEATURE_MAPS[feature_map].in_precision(rows, np.float64), labels)
    norms, target_norms = kernel.norms, kernel.target_norms
    n = float(len(norms))
    return Summary(
        kind=labels.kind,
        n=n,
        n_rows=len(norms),
        n_features=len(kernel.mean),
        weighted=False,
        counts=kernel.counts,
        target_second=kernel.target_scatter + np.outer(kernel.counts, kernel.counts / n),
        target_scatter=kernel.target_scatter,
        mean=kernel.mean,
        offsets=kernel.offsets,
        trace=float(norms.sum()),
        scatter_norm2=float(np.vdot(kernel.matrix, kernel.matrix)),
        mean_scatter_mean=float(kernel.along_mean @ kernel.along_mean),
        within_squares=np.maximum(kernel.within_squares, 0),
        diagonal=DiagonalSums(
            n=n,
            norm2=float(kernel.norms_about_origin.sum()),
            norm4=float(kernel.norms_about_origin @ kernel.norms_about_origin),
            centred_norm2=float(norms.sum()),
            centred_norm4=float(norms @ norms),
            cross=float(norms @ target_norms),
            target_norm2=float(target_norms.sum()),
        ),
        feature_map=feature_map,
        precision="float64",
        decompose=kernel.spectrum,
        class_logdets=kernel.class_logdets if labels.codes is not None else None,
    )


class _CentredKernel:
    """The centred n x n kernel of few rows, summed over blocks of columns in float64."""

    def __init__(self, rows: FloatArray, labels: Labels) -> None:
        self.labels = labels
        targets = labels.target_matrix()
        self.counts = targets.sum(axis=0)
        self.targets = targets - targets.mean(axis=0)
        self.target_scatter = self.targets.T @ self.targets
        self.target_norms = np.einsum("ij,ij->i", self.targets, self.targets)
        self.mean = rows.mean(axis=0, dtype=np.float64)
        n, d = rows.shape
        self.matrix = np.zeros((n, n))
        self.offsets, self.within_squares = np.zeros((2, len(self.counts), d))
        self.along_mean, self.norms_about_origin = np.zeros((2, n))
        step = rows_per_block(n, 8)
        for start in range(0, d, step):
            self._add_columns(rows, slice(start, min(start + step, d)))
        self.norms = np.diag(self.matrix).copy()

    def _add_columns(self, rows: FloatArray, columns: slice) -> None:
        centred = rows[:, columns] - self.mean[columns]
        self.matrix += centred @ centred.T
        self.offsets[:, columns] = self.targets.T @ centred
        self.along_mean += centred @ self.mean[columns]
        self.norms_about_origin += np.square(rows[:, columns], dtype=np.float64).sum(axis=1)
        if self.labels.codes is not None:
            add_up = label_sums(self.labels.codes, self.labels.n_classes, np.float64)
            means = self.offsets[:, columns] / np.maximum(self.counts, 1)[:, None]
            self.within_squares[:, columns] = add_up @ np.square(centred - means[self.labels.codes])

    def spectrum(self) -> Spectrum:
        """Return the spectrum of the d x d scatter, whose eigenvalues the kernel shares."""
        values, vectors = linalg.eigh(self.matrix, check_finite=False, driver="evd")
        kept = significant(values, max(len(self.norms), len(self.mean)))
        basis, roots = vectors[:, kept], np.sqrt(values[kept])
        projected = (self.along_mean @ basis) / roots
        rest = max(float(self.mean @ self.mean) - float(projected @ projected), 0.0)
        return Spectrum(values[kept], projected, rest, (self.targets.T @ basis) * roots)

    def class_logdets(self, delta: float) -> Float64:
        """Return log det(I + delta S_c / n_c) of each class through its own block."""
        codes = self.labels.codes
        assert codes is not None
        result = np.zeros(self.labels.n_classes)
        for code in np.unique(codes):
            own = np.flatnonzero(codes == code)
            block = self.matrix[np.ix_(own, own)] * (delta / len(own))
            result[code] = logdet_plus_identity(block)
        return result
