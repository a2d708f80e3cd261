"""From rows in memory to a `Summary`: through moments, or through the n x n kernel where n < d."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from modtools._checks import as_float, raise_if_not_finite, rows_per_block
from modtools._feature_maps import FEATURE_MAPS, FeatureMap
from modtools._types import FloatArray, FloatMatrix
from modtools.outputs import middle_of, sample_rows
from modtools.tasks import Labels
from modtools.transferability._accumulate import (
    Precision,
    gram_of_columns,
    label_sums,
)
from modtools.transferability._moments import Moments, choose_precision
from modtools.transferability._spectrum import (
    LOSS_LIMIT,
    LossWarning,
    factor_of_few,
    logdet_plus_identity,
    rank_level,
    row_factor,
    spectrum_of_rows,
)
from modtools.transferability._summary import DiagonalSums, Spectrum, Summary

__all__ = ["summarise"]

# Sums of squares beside those about the class means, from which these still have enough digits.
_WITHIN_GROWTH: Final[dict[str, float]] = {"float32": 84, "float64": 4e6}
_CONSTANT = 1e-10  # squares about the mean, beside those about 0, that may be rounding


def summarise(
    features: NDArray[Any],
    labels: Labels,
    *,
    feature_map: str = "identity",
    precision: Precision | None = None,
) -> Summary:
    """Summarise checked features (n_samples, n_features) and their labels.

    Fewer rows than features go through the n x n kernel in float64, which is cheaper. Where sums of
    products lose digits that an inverse needs, they are made again in float64, and then the rows
    themselves are decomposed.

    Examples
    --------
    >>> from modtools.tasks import encode_labels
    >>> summary = summarise(np.array([[0.0], [1.0], [10.0], [11.0]]), encode_labels([0, 0, 1, 1]))
    >>> summary.trace, summary.offsets.ravel().tolist()
    (101.0, [-10.0, 10.0])
    """
    if len(features) < features.shape[1]:
        return _from_kernel(features, labels, feature_map)
    chosen = precision or choose_precision(features, labels.kind)

    def moments(precision: Precision) -> Moments:
        return Moments.from_features(features, labels, feature_map=feature_map, precision=precision)

    held = moments(chosen)
    summary = held.summary()
    rows = _MappedRows(features, labels, FEATURE_MAPS[feature_map], summary.mean)

    def decompose() -> Spectrum:
        spectrum = held._decompose()
        if chosen == "float32" and _is_doubtful(spectrum):
            spectrum = moments("float64")._decompose()
        return rows.spectrum() if _is_doubtful(spectrum) else spectrum

    summary = replace(summary, decompose=decompose)
    if labels.codes is None:
        return summary
    if held._sums.within_growth() > _WITHIN_GROWTH[chosen]:
        summary = replace(summary, within_squares=rows.within_squares())
    return replace(
        summary,
        class_logdets=rows.class_logdets,
        total_logdet=lambda delta: rows.total_logdet(held.scatter, delta),
    )


def _from_rows(rows: FloatArray, targets: FloatMatrix) -> Spectrum:
    """Return the spectrum of the rows, after a warning where even they leave few digits."""
    spectrum = spectrum_of_rows(rows, targets)
    LossWarning(of_rows=True).tell(spectrum.loss)
    return spectrum


def _is_doubtful(spectrum: Spectrum) -> bool:
    return spectrum.loss > LOSS_LIMIT or spectrum.n_cut > 0


@dataclass(frozen=True)
class _MappedRows:
    """Rows at hand, for what their sums cannot give or have lost."""

    features: NDArray[Any]
    labels: Labels
    feature_map: FeatureMap
    mean: FloatMatrix

    def spectrum(self) -> Spectrum:
        rows = self.feature_map.in_precision(as_float(self.features), np.float64)
        return _from_rows(rows, self.labels.target_matrix())

    def within_squares(self) -> FloatMatrix:
        """Return the sum of squares of each class about its own mean, (n_classes, d)."""
        result = np.zeros((self.labels.n_classes, len(self.mean)))
        for code, own in self._classes():
            origin = middle_of(self._block(own[sample_rows(len(own))]))
            total = np.zeros(len(self.mean))
            for block in self._blocks(own):
                block -= origin
                total += block.sum(axis=0)
                result[code] += np.square(block).sum(axis=0)
            result[code] = np.maximum(result[code] - np.square(total) / len(own), 0)
        return result

    def class_logdets(self, delta: float) -> FloatMatrix:
        """Read the rows class by class, so that one second moment at a time is in memory."""
        result = np.zeros(self.labels.n_classes)
        for code, own in self._classes():
            product = self._product(own) * (delta / len(own))
            result[code] = self._logdet(product, own, delta)
        return result

    def total_logdet(self, scatter: FloatMatrix, delta: float) -> float:
        """Return log det(I + S_t delta / n) of the scatter of all rows."""
        every = np.arange(len(self.features))
        return self._logdet(scatter * (delta / len(every)), every, delta)

    def _logdet(self, product: FloatMatrix, rows: NDArray[np.intp], delta: float) -> float:
        root = np.sqrt(delta / len(rows))
        return logdet_plus_identity(product, partial(self._factor, rows, root)).value

    def _classes(self) -> Iterator[tuple[int, NDArray[np.intp]]]:
        assert self.labels.codes is not None
        for code in np.unique(self.labels.codes):
            yield int(code), np.flatnonzero(self.labels.codes == code)

    def _block(self, rows: NDArray[np.intp]) -> FloatMatrix:
        block = self.feature_map.in_precision(as_float(self.features[rows]), np.float64)
        return block - self.mean

    def _blocks(self, rows: NDArray[np.intp]) -> Iterator[FloatMatrix]:
        step = rows_per_block(len(self.mean), 8)
        for start in range(0, len(rows), step):
            yield self._block(rows[start : start + step])

    def _product(self, rows: NDArray[np.intp]) -> FloatMatrix:
        """Return the scatter of some rows about the overall mean, or their kernel if smaller."""
        d = len(self.mean)
        if len(rows) < d:
            block = self._block(rows)
            return block @ block.T
        scatter = np.zeros((d, d))
        for block in self._blocks(rows):
            scatter += gram_of_columns(block)
        return scatter

    def _factor(self, rows: NDArray[np.intp], root: float) -> FloatMatrix:
        """Return a triangular factor of that product, times root squared."""
        if len(rows) < len(self.mean):
            return root * factor_of_few(self._block(rows))
        return root * row_factor(self._blocks(rows))


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
        total_logdet=kernel.total_logdet,
        class_logdets=kernel.class_logdets if labels.codes is not None else None,
    )


class _CentredKernel:
    """The centred n x n kernel of few rows, summed over blocks of columns in float64."""

    def __init__(self, rows: FloatArray, labels: Labels) -> None:
        self.rows, self.labels = rows, labels
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
        kept = values > rank_level(max(len(self.norms), len(self.mean))) * values[-1]
        # Centring leaves out one direction; where more vanish, or are small, the rows tell why.
        no_variation = self.norms.sum() <= _CONSTANT * self.norms_about_origin.sum()
        if no_variation or kept.sum() < len(kept) - 1 or values[-1] > 1e9 * values[kept][0]:
            return _from_rows(self.rows, self.targets)
        basis, roots = vectors[:, kept], np.sqrt(values[kept])
        projected = (self.along_mean @ basis) / roots
        rest = max(float(self.mean @ self.mean) - float(projected @ projected), 0.0)
        return Spectrum(values[kept], projected, rest, self.targets.T @ basis)

    def class_logdets(self, delta: float) -> FloatMatrix:
        """Return log det(I + delta S_c / n_c) of each class through its own block."""
        codes = self.labels.codes
        assert codes is not None
        result = np.zeros(self.labels.n_classes)
        for code in np.unique(codes):
            result[code] = self._logdet(np.flatnonzero(codes == code), delta)
        return result

    def total_logdet(self, delta: float) -> float:
        """Return log det(I + delta S_t / n)."""
        return self._logdet(np.arange(len(self.matrix)), delta)

    def _logdet(self, own: NDArray[np.intp], delta: float) -> float:
        block = self.matrix[np.ix_(own, own)] * (delta / len(own))
        factor = partial(self._factor, own, np.sqrt(delta / len(own)))
        return logdet_plus_identity(block, factor).value

    def _factor(self, own: NDArray[np.intp], root: float) -> FloatMatrix:
        """Return a triangular factor of the block of some rows, times root squared."""
        return root * factor_of_few(self.rows[own] - self.mean)
