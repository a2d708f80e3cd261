"""From features in memory to a `Summary`: by moments, or by the n x n kernel if n < d."""

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

# Largest ratio of sums of squares to those about the class means at which the latter are accurate.
_WITHIN_GROWTH: Final[dict[str, float]] = {"float32": 84, "float64": 4e6}
_CONSTANT = 1e-10  # squares about the mean, relative to those about 0, that may be rounding


def summarise(
    features: NDArray[Any],
    labels: Labels,
    *,
    feature_map: str = "identity",
    precision: Precision | None = None,
) -> Summary:
    """Summarise checked features (n_samples, n_features) and their labels.

    Fewer examples than features use the n x n kernel in float64, which is cheaper. If sums of
    products lose digits that an inverse needs, they are computed again in float64. If that is not
    enough, the features themselves are decomposed.

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
    """Return the spectrum of the features themselves; warn if even that loses digits."""
    spectrum = spectrum_of_rows(rows, targets)
    LossWarning(of_rows=True).give(spectrum.loss)
    return spectrum


def _is_doubtful(spectrum: Spectrum) -> bool:
    return spectrum.loss > LOSS_LIMIT or spectrum.n_cut > 0


@dataclass(frozen=True)
class _MappedRows:
    """Mapped features in memory, for statistics that sums do not hold or have lost."""

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
        for code, members in self._classes():
            origin = middle_of(self._block(members[sample_rows(len(members))]))
            total = np.zeros(len(self.mean))
            for block in self._blocks(members):
                block -= origin
                total += block.sum(axis=0)
                result[code] += np.square(block).sum(axis=0)
            result[code] = np.maximum(result[code] - np.square(total) / len(members), 0)
        return result

    def class_logdets(self, delta: float) -> FloatMatrix:
        """Return log det(I + S_c delta / n_c) of each class, with one second moment in memory."""
        result = np.zeros(self.labels.n_classes)
        for code, members in self._classes():
            product = self._product(members) * (delta / len(members))
            result[code] = self._logdet(product, members, delta)
        return result

    def total_logdet(self, scatter: FloatMatrix, delta: float) -> float:
        """Return log det(I + S_t delta / n) of the scatter of all examples."""
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
        """Return the scatter of some examples about the overall mean, or their smaller kernel."""
        d = len(self.mean)
        if len(rows) < d:
            block = self._block(rows)
            return block @ block.T
        scatter = np.zeros((d, d))
        for block in self._blocks(rows):
            scatter += gram_of_columns(block)
        return scatter

    def _factor(self, rows: NDArray[np.intp], root: float) -> FloatMatrix:
        """Return a triangular factor of `_product` times root squared."""
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
    """The centred n x n kernel of few examples, summed over blocks of columns in float64."""

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
            per_class = label_sums(self.labels.codes, self.labels.n_classes, np.float64)
            means = self.offsets[:, columns] / np.maximum(self.counts, 1)[:, None]
            squares = np.square(centred - means[self.labels.codes])
            self.within_squares[:, columns] = per_class @ squares

    def spectrum(self) -> Spectrum:
        """Return the spectrum of the d x d scatter, whose eigenvalues the kernel shares."""
        values, vectors = linalg.eigh(self.matrix, check_finite=False, driver="evd")
        kept = values > rank_level(max(len(self.norms), len(self.mean))) * values[-1]
        # Centring removes one direction; if more vanish or are small, the features are decomposed.
        no_variation = self.norms.sum() <= _CONSTANT * self.norms_about_origin.sum()
        if no_variation or kept.sum() < len(kept) - 1 or values[-1] > 1e9 * values[kept][0]:
            return _from_rows(self.rows, self.targets)
        basis, roots = vectors[:, kept], np.sqrt(values[kept])
        projected = (self.along_mean @ basis) / roots
        rest = max(float(self.mean @ self.mean) - float(projected @ projected), 0.0)
        return Spectrum(values[kept], projected, rest, self.targets.T @ basis)

    def class_logdets(self, delta: float) -> FloatMatrix:
        """Return log det(I + delta S_c / n_c) of each class from its block of the kernel."""
        codes = self.labels.codes
        assert codes is not None
        result = np.zeros(self.labels.n_classes)
        for code in np.unique(codes):
            result[code] = self._logdet(np.flatnonzero(codes == code), delta)
        return result

    def total_logdet(self, delta: float) -> float:
        """Return log det(I + delta S_t / n)."""
        return self._logdet(np.arange(len(self.matrix)), delta)

    def _logdet(self, chosen: NDArray[np.intp], delta: float) -> float:
        block = self.matrix[np.ix_(chosen, chosen)] * (delta / len(chosen))
        factor = partial(self._factor, chosen, np.sqrt(delta / len(chosen)))
        return logdet_plus_identity(block, factor).value

    def _factor(self, chosen: NDArray[np.intp], root: float) -> FloatMatrix:
        """Return a triangular factor of the kernel of some examples, times root squared."""
        return root * factor_of_few(self.rows[chosen] - self.mean)
