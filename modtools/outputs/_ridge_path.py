"""The ridge machine one step ahead: what it predicts for each row from the rows before it.

One Cholesky factor of the kernel matrix holds every prediction; with more rows than columns the
same factor is built block by block from d x d matrices, exactly, in memory that does not grow
with the square of the rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import (
    LinAlgError,
    cho_solve,
    cholesky,
    get_blas_funcs,
    solve,
    solve_triangular,
)
from scipy.linalg.blas import dsyrk, dtrsm
from scipy.linalg.lapack import dpotrf

from modtools._checks import rows_per_block
from modtools._types import ClassCodes, FloatMatrix
from modtools.exceptions import ModtoolsError
from modtools.outputs._ridge import mirrored, row_products
from modtools.outputs._standardize import StandardizedRows, standardize

__all__ = [
    "DecisionBlock",
    "EveryCount",
    "LogSpaced",
    "RidgeChain",
    "Whitened",
    "log_spaced_counts",
    "ridge_factor",
    "whiten",
]

_LARGEST_DENSE = 5000
# A block of b rows costs d^3/3 + 2 d^2 b + d b^2 + b^3/3: least a row near this share of d.
_SMALLEST_BLOCK, _BLOCK_SHARE = 256, 0.6
# Positions in the label counts, test rows, and decision values (n_classes, counts, test rows).
DecisionBlock: TypeAlias = tuple[slice, slice, NDArray[Any]]
_COUNTS = 32  # label counts in a block: its decisions stay in the processor's cache
_BLOCK_ENTRIES = 1 << 19
_MOST_TEST_ROWS = 512
_PROJECTED_ENTRIES = 1 << 22  # of test rows in the coordinates of the factor: 32 MB
_REFINEMENTS = 20
_REFINED = 1e-12
_PER_DECADE = 16


class Whitened(NamedTuple):
    """Targets and ones in the coordinates of a Cholesky factor L of kernel + strength I.

    Attributes
    ----------
    residuals : ndarray of shape (n_samples, n_targets)
        L^-1 targets: one-step-ahead residuals, each in units of its deviation.
    ones : ndarray of shape (n_samples, 1)
        L^-1 1, from which the intercept follows.
    deviations : ndarray of shape (n_samples, 1)
        The diagonal of L.
    """

    residuals: FloatMatrix
    ones: FloatMatrix
    deviations: FloatMatrix

    def intercepts(self) -> FloatMatrix:
        """Return the intercepts (n_samples, n_targets) of the machines with 1, ..., n rows."""
        sums = np.cumsum(self.ones * self.residuals, axis=0)
        return np.asarray(sums / np.cumsum(np.square(self.ones), axis=0))

    def predictions(self, targets: FloatMatrix, sums: FloatMatrix | None = None) -> FloatMatrix:
        """Return what the machine of the rows before it predicts for each row; 0 for the first.

        `sums` (n_targets + 1,), over the rows before these, is what intercepts are made of; the
        sums of these rows are added to it.
        """
        products = self.ones * np.column_stack([self.residuals, self.ones])
        before = np.zeros_like(products[0]) if sums is None else sums
        running = np.cumsum(np.vstack([before, products]), axis=0)
        before[:] = running[-1]
        # No row has come before the very first, whose sums are 0.
        squares = np.where(running[:-1, -1:] > 0, running[:-1, -1:], 1.0)
        surprise = self.residuals - self.ones * (running[:-1, :-1] / squares)
        return np.asarray(targets - self.deviations * surprise)


def ridge_factor(kernel: NDArray[Any], strength: float) -> NDArray[Any]:
    """Return the lower Cholesky factor of kernel + strength I, written over the kernel.

    >>> ridge_factor(np.array([[3.0]]), 1.0)
    array([[2.]])
    """
    kernel[np.diag_indices_from(kernel)] += strength
    # The transpose of a symmetric matrix is itself, in the memory order that needs no copy.
    return np.asarray(cholesky(kernel.T, lower=True, overwrite_a=True, check_finite=False))


def whiten(factor: NDArray[Any], targets: FloatMatrix) -> Whitened:
    """Return targets and ones in the coordinates of a factor, in float64.

    >>> whiten(np.array([[2.0]]), np.array([[3.0]])).residuals
    array([[1.5]])
    """
    with_ones = np.column_stack([targets, np.ones(len(targets))]).astype(factor.dtype)
    whitened = solve_triangular(factor, with_ones, lower=True, check_finite=False)
    whitened = whitened.astype(np.float64)
    deviations = np.diag(factor)[:, None].astype(np.float64)
    return Whitened(whitened[:, :-1], whitened[:, -1:], deviations)


@dataclass(frozen=True)
class RidgeChain:
    """A ridge machine with intercept and one absolute strength that learns row by row.

    Attributes
    ----------
    rows : StandardizedRows
        Features.
    strength : float
        Penalty added to the scatter.
    kernel : ndarray of shape (n_samples, n_samples) or None
        Products of all rows, shared by all orders; None where blocks of rows cost less.

    Examples
    --------
    >>> rows = StandardizedRows.of(np.array([[0.0], [1.0], [2.0]]), rescale=False)
    >>> targets = np.array([[0.0], [1.0], [2.0]])
    >>> RidgeChain.of(rows, 1e-9).predictions(targets, np.arange(3)).round(6).ravel().tolist()
    [0.0, 0.0, 2.0]
    """

    rows: StandardizedRows
    strength: float
    kernel: FloatMatrix | None

    @classmethod
    def of(cls, rows: StandardizedRows, strength: float) -> "RidgeChain":
        """Return the chain, its kernel matrix computed where it will be used."""
        if len(rows) > max(rows.n_features, min(4 * rows.n_features, _LARGEST_DENSE)):
            return cls(rows, strength, None)
        return cls(rows, strength, mirrored(row_products(rows)))

    def predictions(self, targets: FloatMatrix, order: ClassCodes) -> FloatMatrix:
        """Return what the machine that learned the earlier rows of an order predicts for each row.

        Parameters
        ----------
        targets : ndarray of shape (n_samples, n_targets)
            One-hot or real targets, row by row as in `rows`.
        order : ndarray of shape (n_samples,)
            Row numbers in the order in which they are learned.

        Returns
        -------
        ndarray of shape (n_samples, n_targets)
            Predictions in that order; the first is 0.
        """
        predictions = np.empty_like(targets)
        for block, predicted in self.steps(targets, order):
            predictions[block] = predicted
        return predictions

    def steps(self, targets: FloatMatrix, order: ClassCodes) -> Iterator[tuple[slice, FloatMatrix]]:
        """Yield the predictions of consecutive places of an order, block by block."""
        if self.kernel is not None:
            learned = targets[order]
            factor = ridge_factor(self.kernel[np.ix_(order, order)], self.strength)
            yield slice(0, len(order)), whiten(factor, learned).predictions(learned)
            return
        sums = np.zeros(targets.shape[1] + 1)
        for block, whitened in self._whiten_blocks(targets, order):
            yield block, whitened.predictions(targets[order[block]], sums)

    def _whiten_blocks(
        self, targets: FloatMatrix, order: ClassCodes
    ) -> Iterator[tuple[slice, Whitened]]:
        """Whiten through the posterior of the weights after each block of rows."""
        d = self.rows.n_features
        # Lower triangles only, in the memory order of LAPACK, so that nothing is copied.
        precision = np.asfortranarray(self.strength * np.eye(d))
        cross = np.zeros((d, targets.shape[1] + 1), order="F")
        step = max(_SMALLEST_BLOCK, round(_BLOCK_SHARE * d))
        for start in range(0, len(order), step):
            block = slice(start, min(start + step, len(order)))
            own = order[block]
            rows = standardize(self.rows.features[own], self.rows.mean, self.rows.scale)
            learned = np.column_stack([targets[own], np.ones(len(own))])
            factor, _ = dpotrf(precision, lower=1, clean=0)
            solved = dtrsm(1.0, factor, cross, lower=1)
            precision = dsyrk(1.0, rows.T, beta=1.0, c=precision, lower=1, overwrite_c=1)
            cross += rows.T @ learned
            spread = dtrsm(1.0, factor, rows.T, lower=1, overwrite_b=1)
            # Given the earlier rows, this block's kernel is the Schur complement of the whole.
            schur = dsyrk(self.strength, spread, trans=1, lower=1)
            schur[np.diag_indices_from(schur)] += self.strength
            local, _ = dpotrf(schur, lower=1, clean=0, overwrite_a=1)
            whitened = dtrsm(1.0, local, learned - spread.T @ solved, lower=1)
            yield block, Whitened(whitened[:, :-1], whitened[:, -1:], np.diag(local)[:, None])


@dataclass(frozen=True)
class EveryCount:
    """The ridge machines of the first 1, ..., n rows, as one factor.

    Attributes
    ----------
    rows : ndarray of shape (n_samples, n_features)
        Standardised rows in the order in which they are learned.
    factor : ndarray of shape (n_samples, n_samples)
        Lower Cholesky factor of the kernel plus the strength.
    whitened : Whitened
        Targets and ones in the coordinates of the factor.

    Examples
    --------
    >>> rows, targets = np.array([[-1.0], [1.0]]), np.eye(2)
    >>> tests = StandardizedRows(np.array([[2.0]]), np.zeros(1), np.ones(1))
    >>> [(_, _, decisions)] = EveryCount.of(rows, targets, 1e-9).blocks(tests)
    >>> decisions[:, :, 0].round(6).tolist()  # with one label the intercept alone
    [[1.0, -0.5], [0.0, 1.5]]
    """

    rows: NDArray[Any]
    factor: NDArray[Any]
    whitened: Whitened

    @classmethod
    def of(cls, rows: NDArray[Any], targets: FloatMatrix, strength: float) -> "EveryCount":
        """Factorise the kernel of the rows, in their own precision."""
        try:
            factor = ridge_factor(rows @ rows.T, strength)
        except LinAlgError as error:
            raise ModtoolsError(
                f"strength={strength:.3g} is too small for {rows.dtype} products of these "
                "features: the kernel is not positive definite. Use a larger strength"
                + (" or dtype=float64." if rows.dtype == np.float32 else ".")
            ) from error
        return cls(rows, factor, whiten(factor, targets))

    def blocks(self, tests: StandardizedRows) -> Iterator[DecisionBlock]:
        """Yield the decision values of the test rows at every label count.

        Parameters
        ----------
        tests : StandardizedRows
            Test rows, standardised as the learned rows are.

        Yields
        ------
        counts, rows : slice
            Which label counts (position 0 is one label) and which test rows.
        decisions : ndarray of shape (n_classes, n_counts, n_rows)
            Free to be changed; the next block is written into it.
        """
        n_classes = self.whitened.residuals.shape[1]
        step = _BLOCK_ENTRIES // (_COUNTS * n_classes)
        step = min(max(step, 16), _MOST_TEST_ROWS)
        for first, projected in self._projected(tests):
            for start in range(0, projected.shape[1], step):
                part = projected[:, start : start + step]
                place = slice(first + start, first + start + part.shape[1])
                for counts, decisions in self._decisions(part):
                    yield counts, place, decisions

    def _projected(self, tests: StandardizedRows) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the first of some test rows, and these in the factor's coordinates as columns."""
        step = max(_MOST_TEST_ROWS, _PROJECTED_ENTRIES // len(self.rows))
        # Beyond some number of test rows it costs less to take the learned rows there, once.
        reduced = self._solve(self.rows) if len(tests) > self.rows.shape[1] else None
        for first in range(0, len(tests), step):
            place = slice(first, first + step)
            own = StandardizedRows(tests.features[place], tests.mean, tests.scale)
            block = own.dense(self.rows.dtype)
            if reduced is not None:
                yield first, reduced @ block.T
            else:
                yield first, self._solve(self.rows @ block.T)

    def _solve(self, columns: NDArray[Any]) -> NDArray[Any]:
        """Return columns (n_samples, n_columns) in the coordinates of the factor.

        The equation is transposed: arrays in C order need no copy then.
        """
        trsm = get_blas_funcs("trsm", (self.factor, columns))
        return np.asarray(trsm(1.0, self.factor, columns.T, side=1, lower=1, trans_a=1).T)

    def _decisions(self, projected: NDArray[Any]) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield decision values from test rows in the factor's coordinates (n_samples, n_rows).

        With m labels the decision is sum_i V_i (Z_i - u_i b_m) + b_m, i up to m. Rows before the
        block enter through two running sums, rows inside it through one matrix product.
        """
        dtype = projected.dtype
        residuals, ones, _ = (part.astype(dtype) for part in self.whitened)
        intercepts = self.whitened.intercepts().astype(dtype)
        carried = np.zeros((residuals.shape[1], projected.shape[1]), dtype)
        not_carried = np.ones((1, projected.shape[1]), dtype)
        held = np.empty((len(carried), _COUNTS, projected.shape[1]), dtype)
        for start in range(0, len(projected), _COUNTS):
            place = slice(start, min(start + _COUNTS, len(projected)))
            z, u, b, block = residuals[place], ones[place], intercepts[place], projected[place]
            coefficients = z.T[:, None, :] - b.T[:, :, None] * u[:, 0]
            coefficients *= np.tri(len(b), dtype=dtype)
            coefficients = np.concatenate([coefficients, b.T[:, :, None]], axis=2)
            decisions = held if len(b) == _COUNTS else np.empty_like(held[:, : len(b)])
            flat = decisions.reshape(-1, projected.shape[1])
            np.matmul(coefficients.reshape(len(flat), -1), np.vstack([block, not_carried]), flat)
            decisions += carried[:, None, :]
            yield place, decisions
            carried += z.T @ block
            not_carried -= u.T @ block

    def chosen_blocks(
        self, tests: StandardizedRows, counts: NDArray[np.intp]
    ) -> Iterator[DecisionBlock]:
        """Yield what `blocks` gives at some label counts only, by whichever way costs less.

        Few machines are turned into weights of the features by one back-substitution, so that the
        test rows need neither a kernel nor a substitution of their own.

        Parameters
        ----------
        tests : StandardizedRows
            Test rows, standardised as the learned rows are.
        counts : ndarray of int
            Rising label counts.

        Yields
        ------
        tuple
            As `blocks`; slices are positions in `counts`.
        """
        if len(counts) * self.whitened.residuals.shape[1] < len(self.rows):
            yield from self._weighted_blocks(tests, counts)
            return
        for block, place, decisions in self.blocks(tests):
            first, last = np.searchsorted(counts, [block.start + 1, block.stop + 1])
            if last > first:
                within = counts[first:last] - 1 - block.start
                if len(within) < decisions.shape[1]:
                    decisions = decisions[:, within]
                yield slice(int(first), int(last)), place, decisions

    def _weighted_blocks(
        self, tests: StandardizedRows, counts: NDArray[np.intp]
    ) -> Iterator[DecisionBlock]:
        residuals, ones, _ = self.whitened
        intercepts = self.whitened.intercepts()[counts - 1].T
        duals = residuals[:, :, None] - ones[:, :, None] * intercepts
        # The factor's transpose is upper triangular: rows beyond a count stay 0 in its solution.
        duals *= (np.arange(len(ones))[:, None] < counts)[:, None, :]
        duals = duals.reshape(len(ones), -1).astype(self.factor.dtype)
        duals = solve_triangular(
            self.factor, duals, lower=True, trans="T", overwrite_b=True, check_finite=False
        )
        weights, constants = duals.T @ self.rows, intercepts.reshape(-1, 1)
        for place, block in tests.blocks():
            decisions = weights @ block.T + constants
            yield slice(0, len(counts)), place, decisions.reshape(*intercepts.shape, -1)

    def refined(
        self, learned: StandardizedRows, targets: FloatMatrix, strength: float
    ) -> tuple[FloatMatrix, FloatMatrix]:
        """Return float64 weights and intercepts of the machine of all rows, whatever the factor.

        Conjugate gradients would do too; with the factor as a preconditioner a few corrections of
        the residual suffice, at the cost of a few products with the rows.

        Parameters
        ----------
        learned : StandardizedRows
            The rows in their order, not yet rounded.
        targets : ndarray of shape (n_samples, n_classes)
            One-hot targets.
        strength : float
            The strength of the factor.

        Returns
        -------
        weights : ndarray of shape (n_features, n_classes)
            Weights of the standardised features.
        intercepts : ndarray of shape (n_classes,)
            Decision values at the mean.
        """
        wanted = np.column_stack([targets, np.ones(len(targets))])
        duals = np.zeros_like(wanted)
        for _ in range(_REFINEMENTS):
            weights = sum(block.T @ duals[place] for place, block in learned.blocks())
            missing = wanted - strength * duals
            for place, block in learned.blocks():
                missing[place] -= block @ weights
            if np.abs(missing).max() < _REFINED:
                break
            duals += cho_solve((self.factor, True), missing.astype(self.factor.dtype))
        weights = np.asarray(weights)
        intercepts = duals[:, :-1].sum(axis=0) / duals[:, -1].sum()
        return weights[:, :-1] - weights[:, -1:] * intercepts, intercepts


def log_spaced_counts(n_samples: int) -> NDArray[np.intp]:
    """Return whole numbers from 1 to `n_samples`, sixteen a decade where they differ.

    >>> log_spaced_counts(1000)[[0, 1, 2, -2, -1]].tolist()
    [1, 2, 3, 866, 1000]
    """
    n_steps = int(np.ceil(_PER_DECADE * np.log10(n_samples))) + 1
    return np.unique(np.rint(np.geomspace(1, n_samples, n_steps))).astype(np.intp)


@dataclass(frozen=True)
class LogSpaced:
    """The ridge machines of the first rows at some label counts, from running scatters.

    Attributes
    ----------
    rows : StandardizedRows
        All labelled rows.
    order : ndarray of shape (n_samples,)
        Row numbers in the order in which they are learned.
    targets : ndarray of shape (n_samples, n_classes)
        One-hot targets in that order.
    strength : float
        Penalty added to the scatter.
    counts : ndarray of int
        Rising label counts.

    Examples
    --------
    >>> rows = StandardizedRows(np.array([[-1.0], [1.0]]), np.zeros(1), np.ones(1))
    >>> tests = StandardizedRows(np.array([[2.0]]), np.zeros(1), np.ones(1))
    >>> machines = LogSpaced(rows, np.arange(2), np.eye(2), 1e-9, np.array([1, 2]))
    >>> [decisions.ravel().round(6).tolist() for _, _, decisions in machines.blocks(tests)]
    [[1.0, 0.0], [-0.5, 1.5]]
    """

    rows: StandardizedRows
    order: NDArray[np.intp]
    targets: FloatMatrix
    strength: float
    counts: NDArray[np.intp]

    def blocks(self, tests: StandardizedRows) -> Iterator[DecisionBlock]:
        """Yield (position of the label count, test rows, decisions (n_classes, 1, n_rows)).

        Parameters
        ----------
        tests : StandardizedRows
            Test rows, standardised as the learned rows are.

        Yields
        ------
        tuple
            As `EveryCount.blocks`.
        """
        for position, (weights, intercepts) in enumerate(self._machines()):
            for place, block in tests.blocks():
                decisions = np.ascontiguousarray((block @ weights + intercepts).T)
                yield slice(position, position + 1), place, decisions[:, None, :]

    def _machines(self) -> Iterator[tuple[FloatMatrix, FloatMatrix]]:
        """Yield weights (n_features, n_classes) and intercepts (n_classes,) of each count."""
        d, n_classes = self.rows.n_features, self.targets.shape[1]
        products, cross = np.zeros((d, d)), np.zeros((d, n_classes))
        sums, class_sums, start = np.zeros(d), np.zeros(n_classes), 0
        for count in self.counts:
            for place in _pieces(start, int(count), rows_per_block(d, 8)):
                own = self.rows.features[self.order[place]]
                block = standardize(own, self.rows.mean, self.rows.scale)
                products += block.T @ block
                cross += block.T @ self.targets[place]
                sums += block.sum(axis=0)
                class_sums += self.targets[place].sum(axis=0)
            start = int(count)
            mean, class_mean = sums / count, class_sums / count
            scatter = products - np.outer(sums, mean)
            scatter[np.diag_indices_from(scatter)] += self.strength
            weights = solve(
                scatter,
                cross - np.outer(sums, class_mean),
                assume_a="pos",
                overwrite_a=True,
                check_finite=False,
            )
            yield weights, class_mean - mean @ weights


def _pieces(start: int, stop: int, step: int) -> Iterator[slice]:
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))
