"""Decision values at every label count from one Cholesky factor: forward substitution is nested."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, get_blas_funcs, solve_triangular

from modtools._types import FloatMatrix
from modtools.exceptions import ModtoolsError
from modtools.outputs import StandardizedRows, Whitened, ridge_factor, whiten

__all__ = ["DecisionBlock", "EveryCount"]

# Positions in the label counts, test rows, and decision values (n_classes, counts, test rows).
DecisionBlock: TypeAlias = tuple[slice, slice, NDArray[Any]]
_COUNTS = 32  # label counts in a block: its decisions stay in the processor's cache
_BLOCK_ENTRIES = 1 << 19
_MOST_TEST_ROWS = 512
_PROJECTED_ENTRIES = 1 << 22  # of test rows in the coordinates of the factor: 32 MB
_REFINEMENTS = 20
_REFINED = 1e-12


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
