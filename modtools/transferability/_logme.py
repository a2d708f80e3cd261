"""LogME: the evidence of Bayesian linear regression, maximised over its two precisions."""

import numpy as np
from numpy.typing import NDArray

from modtools._types import FloatMatrix
from modtools.exceptions import warn
from modtools.transferability._declare import ANY_KIND, register_score
from modtools.transferability._summary import Spectrum, Summary

__all__ = ["evidence_by_target", "logme"]

_GRID_STEP = 0.25
_MARGIN = 25.0  # e-folds beyond the eigenvalues
_WIDEST = 600.0  # e-folds over which ratios stay within float64
_ZOOM_POINTS = 17
_ZOOMS = 7  # each shrinks the bracket eightfold: 1e-6 e-folds at the end
_COLUMNS_AT_ONCE = 32


class _Evidence:
    """Log evidence per example as a function of log lambda, lambda = prior / noise precision.

    With F = HF + 1 mean', the ridge solution splits into that of the centred features and a
    rank-one term of the mean. Every part is positive, so no digits cancel for features with a large
    constant offset.
    """

    def __init__(self, summary: Summary, columns: NDArray[np.intp]) -> None:
        spectrum: Spectrum = summary.spectrum
        self.n = summary.n
        self.values = spectrum.values
        self.mean2, self.mean_rest = spectrum.mean**2, spectrum.mean_rest
        loadings = spectrum.loadings[columns]
        self.explained = loadings**2
        self.mean_targets = loadings * np.sqrt(self.values) * spectrum.mean
        total = np.diag(summary.target_scatter)[columns]
        self.rest = np.maximum(total - self.explained.sum(axis=1), 0.0)
        self.target_mean = summary.counts[columns] / self.n
        self.floor = np.diag(summary.target_second)[columns] * np.finfo(float).tiny ** 0.5

    def __call__(self, log_lambda: FloatMatrix) -> FloatMatrix:
        """Return the evidence (m, g) at log lambda (m, g), g points for each of m columns."""
        lam = np.exp(log_lambda)
        inverse = 1 / (lam[:, :, None] + self.values)
        residual = lam * (inverse @ self.explained[:, :, None])[:, :, 0]
        fitted = (inverse @ self.mean_targets[:, :, None])[:, :, 0]
        log_det = np.log1p(self.values / lam[:, :, None]).sum(axis=2)
        return self._combine(lam, inverse @ self.mean2, residual, fitted, log_det)

    def on_grid(self, log_lambda: FloatMatrix) -> FloatMatrix:
        """Return the evidence (m, g) at g values of log lambda, shared by all m columns."""
        lam = np.exp(log_lambda)
        inverse = 1 / (lam[:, None] + self.values)
        residual = lam * (self.explained @ inverse.T)
        fitted = self.mean_targets @ inverse.T
        log_det = np.log1p(self.values / lam[:, None]).sum(axis=1)
        return self._combine(lam, inverse @ self.mean2, residual, fitted, log_det)

    def _combine(
        self,
        lam: FloatMatrix,
        mean_quadratic: FloatMatrix,
        residual: FloatMatrix,
        fitted: FloatMatrix,
        log_det: FloatMatrix,
    ) -> FloatMatrix:
        leverage = self.n * (mean_quadratic + self.mean_rest / lam)
        offset = self.target_mean[:, None] - fitted
        energy = self.rest[:, None] + residual + self.n * offset**2 / (1 + leverage)
        noise = np.maximum(energy, self.floor[:, None]) / self.n
        log_det = log_det + np.log1p(leverage)
        return np.asarray(-0.5 * (1 + np.log(2 * np.pi * noise)) - 0.5 * log_det / self.n)


def _search_range(summary: Summary) -> FloatMatrix:
    mean2 = summary.n * float(summary.mean @ summary.mean)
    values = summary.spectrum.values if len(summary.spectrum.values) else np.array([mean2])
    low, high = np.log(values[0]), np.log(values[-1] + mean2)
    low = max(low, high - _WIDEST)
    return np.arange(low - _MARGIN, high + _MARGIN, _GRID_STEP)


def evidence_by_target(summary: Summary) -> FloatMatrix:
    """Return the maximal log evidence per example of each target column, finite, (m,).

    Columns of absent classes (all zero) have unbounded evidence and are left out.
    """
    columns = np.flatnonzero(summary.present)
    if not len(summary.spectrum.values) and not summary.mean.any():
        warn("MT001", "all features are zero: logme is the evidence of pure noise.")
        power = np.diag(summary.target_second)[columns] / summary.n
        return np.asarray(-0.5 * (1 + np.log(2 * np.pi * power)))
    if not len(summary.spectrum.values):
        warn("MT001", "features carry no variation: logme sees their constant value only.")
    best, at_edge = [], 0
    for start in range(0, len(columns), _COLUMNS_AT_ONCE):
        values, edges = _maximise(summary, columns[start : start + _COLUMNS_AT_ONCE])
        best.append(values)
        at_edge += edges
    if at_edge == len(columns):
        warn(
            "MT004",
            "the evidence of every target column lies at the edge of the search: "
            "the features fit the labels perfectly, or say nothing about them.",
        )
    return np.concatenate(best)


def _maximise(summary: Summary, columns: NDArray[np.intp]) -> tuple[FloatMatrix, int]:
    evidence = _Evidence(summary, columns)
    grid = _search_range(summary)
    on_grid = evidence.on_grid(grid)
    peak = on_grid.argmax(axis=1)
    at_edge = int(np.count_nonzero((peak == 0) | (peak == len(grid) - 1)))
    centre, half = grid[peak], _GRID_STEP
    best = on_grid.max(axis=1)
    for _ in range(_ZOOMS):
        points = centre[:, None] + np.linspace(-half, half, _ZOOM_POINTS)
        values = evidence(points)
        peak = values.argmax(axis=1)
        centre = np.take_along_axis(points, peak[:, None], axis=1)[:, 0]
        best = np.maximum(best, values.max(axis=1))
        half *= 2 / (_ZOOM_POINTS - 1)
    return best, at_edge


@register_score(
    needs="moments",
    kinds=ANY_KIND,
    range="unbounded, nats per example and column",
    reference="You et al., ICML 2021",
)
def logme(summary: Summary) -> float:
    """LogME: log evidence of a Bayesian linear output module (a linear head) per example.

    Each target column (one class against the rest, a label, or a regression target) is modelled as
    t ~ N(F w, 1/beta), w ~ N(0, 1/alpha), without intercept or centring. The evidence is maximised
    over alpha and beta by a search over alpha / beta, to numerical precision, and averaged over the
    target columns. It is computed from the rank of the features: columns of zeros do not change it,
    and there may be more features than examples.

    Returns
    -------
    float
        Nats per example and column, unbounded (may be positive); higher is better. A common factor
        of the features does not change it, an offset does. Columns of absent classes are skipped.

    References
    ----------
    You, Liu, Wang & Long, "LogME: practical assessment of pre-trained models for transfer
    learning", ICML 2021, algorithm 1.

    Examples
    --------
    >>> round(logme([[0.0, 1.0], [0.1, 1.0], [1.0, 0.1], [1.1, 0.0]], [0, 0, 1, 1]), 3)
    -0.013
    """
    return float(evidence_by_target(summary).mean())
