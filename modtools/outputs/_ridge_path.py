"""Ridge classifiers of the first 1, ..., n examples of an order, all from one factorisation.

With the kernel K = Phi Phi' + alpha I, L = chol(K), Z = L^-1 Y, u = L^-1 1 and
V = L^-1 Phi Phi_test', forward substitution is nested: the first m entries of Z, u and V follow
from the first m examples alone. So for every m the ridge classifier with a free intercept that has
learned the first m examples decides

    f_m = sum_{i<=m} V_i (Z_i - u_i b_m) + b_m,    b_m = sum_{i<=m} u_i Z_i / sum_{i<=m} u_i^2,

where b_m is the generalised least-squares intercept of a flat prior [1]_. What it predicts for the
next example follows from the same numbers: Y_{m+1} - f_m = L_{m+1,m+1} (Z_{m+1} - u_{m+1} b_m), the
innovation of Cholesky's recursion, whose sum of squares is the prequential error [2]_.

`KernelPath` is this dual form. Where a kernel of all pairs is too large, `ScatterPath` gives the
same predictions from d x d matrices (Woodbury's identity), decisions at chosen counts only.

References
----------
.. [1] Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, algorithm 2.1 and
   section 2.7, equations 2.41 and 2.42 with one basis function, the constant.
.. [2] Dawid, "Present position and potential developments: some personal views: statistical
   theory: the prequential approach", J. R. Statist. Soc. A 147, 1984.
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
    "KernelPath",
    "RidgeChain",
    "ScatterPath",
    "Whitened",
    "log_spaced_counts",
]

# Positions in the label counts, test examples, and decision values (n_classes, counts, tests).
DecisionBlock: TypeAlias = tuple[slice, slice, NDArray[Any]]

_LARGEST_DENSE = 5000
# A block of b rows costs d^3/3 + 2 d^2 b + d b^2 + b^3/3: least per row near this share of d.
_SMALLEST_BLOCK, _BLOCK_SHARE = 256, 0.6
_COUNTS = 32  # label counts in a block: its decisions stay in the processor's cache
_BLOCK_ENTRIES = 1 << 19
_MOST_TEST_ROWS = 512
_PROJECTED_ENTRIES = 1 << 22  # of test examples in the coordinates of the factor: 32 MB
_REFINEMENTS = 20
_REFINED = 1e-12
_PER_DECADE = 16


def log_spaced_counts(n_samples: int) -> NDArray[np.intp]:
    """Return whole numbers from 1 to `n_samples`, sixteen per decade where they differ.

    >>> log_spaced_counts(1000)[[0, 1, 2, -2, -1]].tolist()
    [1, 2, 3, 866, 1000]
    """
    n_steps = int(np.ceil(_PER_DECADE * np.log10(n_samples))) + 1
    return np.unique(np.rint(np.geomspace(1, n_samples, n_steps))).astype(np.intp)


class Whitened(NamedTuple):
    """Targets and ones in the coordinates of a Cholesky factor L of kernel + alpha I.

    Attributes
    ----------
    residuals : ndarray of shape (n_samples, n_targets)
        Z = L^-1 targets: one-step-ahead residuals, each in units of its deviation.
    ones : ndarray of shape (n_samples, 1)
        u = L^-1 1, from which the intercept follows.
    deviations : ndarray of shape (n_samples, 1)
        The diagonal of L.
    """

    residuals: FloatMatrix
    ones: FloatMatrix
    deviations: FloatMatrix

    def intercepts(self) -> FloatMatrix:
        """Return b_m (n_samples, n_targets), the intercepts after m = 1, ..., n examples."""
        sums = np.cumsum(self.ones * self.residuals, axis=0)
        return np.asarray(sums / np.cumsum(np.square(self.ones), axis=0))

    def one_step_ahead(self, targets: FloatMatrix, sums: FloatMatrix | None = None) -> FloatMatrix:
        """Return what the examples before each example predict for it; 0 for the very first.

        `sums` (n_targets + 1,), over the examples before these, is what intercepts are made of; the
        sums of these examples are added to it.
        """
        products = self.ones * np.column_stack([self.residuals, self.ones])
        before = np.zeros_like(products[0]) if sums is None else sums
        running = np.cumsum(np.vstack([before, products]), axis=0)
        before[:] = running[-1]
        # No example has come before the very first, whose sums are 0.
        squares = np.where(running[:-1, -1:] > 0, running[:-1, -1:], 1.0)
        innovations = self.residuals - self.ones * (running[:-1, :-1] / squares)
        return np.asarray(targets - self.deviations * innovations)


@dataclass(frozen=True)
class KernelPath:
    """The ridge classifiers of the first 1, ..., n examples, as one Cholesky factor (dual form).

    Attributes
    ----------
    factor : ndarray of shape (n_samples, n_samples)
        Lower Cholesky factor of the kernel plus alpha.
    whitened : Whitened
        Targets and ones in the coordinates of the factor, in float64.

    Examples
    --------
    >>> rows, targets = np.array([[-1.0], [1.0]]), np.eye(2)
    >>> path = KernelPath.of(rows @ rows.T, targets, 1e-9)
    >>> tests = StandardizedRows(np.array([[2.0]]), np.zeros(1), np.ones(1))
    >>> [(_, _, decisions)] = path.decision_blocks(rows, tests)
    >>> decisions[:, :, 0].round(6).tolist()  # with one label the intercept alone
    [[1.0, -0.5], [0.0, 1.5]]
    """

    factor: NDArray[Any]
    whitened: Whitened

    @classmethod
    def of(cls, kernel: NDArray[Any], targets: FloatMatrix, alpha: float) -> "KernelPath":
        """Factorise kernel + alpha I in the kernel's precision; the kernel is written over.

        >>> KernelPath.of(np.array([[3.0]]), np.array([[4.0]]), 1.0).whitened.residuals
        array([[2.]])
        """
        kernel[np.diag_indices_from(kernel)] += alpha
        try:
            # The transpose of a symmetric matrix is itself, in the memory order without a copy.
            factor = cholesky(kernel.T, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError as error:
            raise ModtoolsError(
                f"alpha={alpha:.3g} is too small for {kernel.dtype} products of these "
                "features: the kernel is not positive definite. Use a larger alpha"
                + (" or dtype=float64." if kernel.dtype == np.float32 else ".")
            ) from error
        # Sums over examples lose digits in float32: only the solve is in the kernel's precision.
        right = np.column_stack([targets, np.ones(len(targets))]).astype(factor.dtype)
        solved = solve_triangular(factor, right, lower=True, check_finite=False).astype(np.float64)
        deviations = np.diag(factor)[:, None].astype(np.float64)
        return cls(factor, Whitened(solved[:, :-1], solved[:, -1:], deviations))

    def later_decisions(self, count: int) -> FloatMatrix:
        """Return what the first `count` examples decide about the later ones (n_later, n_targets).

        Row j of the factor is the kernel of example j with the examples before it, in the
        coordinates of their own factor: it takes no further solve.

        >>> rows, targets = np.array([[-1.0], [1.0], [2.0]]), np.array([[-1.0], [1.0], [2.0]])
        >>> KernelPath.of(rows @ rows.T, targets, 1e-9).later_decisions(2).round(6)
        array([[2.]])
        """
        intercept = self.whitened.intercepts()[count - 1]
        coefficients = self.whitened.residuals[:count] - self.whitened.ones[:count] * intercept
        return np.asarray(self.factor[count:, :count] @ coefficients + intercept)

    def decision_blocks(
        self,
        rows: NDArray[Any],
        tests: StandardizedRows,
        counts: NDArray[np.intp] | None = None,
    ) -> Iterator[DecisionBlock]:
        """Yield the decision values of test examples at label counts, by whichever way costs least.

        Parameters
        ----------
        rows : ndarray of shape (n_samples, n_features)
            The standardised examples whose products are the kernel, in their order.
        tests : StandardizedRows
            Test examples, standardised alike.
        counts : ndarray of int, optional
            Rising label counts; by default 1, ..., n_samples.

        Yields
        ------
        positions, places : slice
            Which of the label counts, and which test examples.
        decisions : ndarray of shape (n_classes, n_counts, n_tests)
            Free to be changed; the next block may be written into it.
        """
        if counts is None:
            yield from self._at_every_count(rows, tests)
            return
        # Each of few classifiers as weights of the features: one back-substitution, after which
        # test examples need neither a kernel nor a substitution of their own.
        if len(counts) * self.whitened.residuals.shape[1] < len(rows):
            yield from self._by_weights(rows, tests, counts)
            return
        for block, places, decisions in self._at_every_count(rows, tests):
            first, last = np.searchsorted(counts, [block.start + 1, block.stop + 1])
            if last > first:
                within = counts[first:last] - 1 - block.start
                if len(within) < decisions.shape[1]:
                    decisions = decisions[:, within]
                yield slice(int(first), int(last)), places, decisions

    def _at_every_count(
        self, rows: NDArray[Any], tests: StandardizedRows
    ) -> Iterator[DecisionBlock]:
        n_classes = self.whitened.residuals.shape[1]
        # All classes at some counts of so many tests fit the cache; products of few are slow.
        step = _BLOCK_ENTRIES // (_COUNTS * n_classes)
        step = min(max(step, 16), _MOST_TEST_ROWS)
        for first, projected in self._projected(rows, tests):
            for start in range(0, projected.shape[1], step):
                part = projected[:, start : start + step]
                places = slice(first + start, first + start + part.shape[1])
                for positions, decisions in self._running_decisions(part):
                    yield positions, places, decisions

    def _projected(
        self, rows: NDArray[Any], tests: StandardizedRows
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the first of some test examples, and V: these as columns in L's coordinates."""
        step = max(_MOST_TEST_ROWS, _PROJECTED_ENTRIES // len(rows))
        # Beyond some number of tests it costs less to take the learned examples there, once:
        # L^-1 (Phi Phi_test') = (L^-1 Phi) Phi_test'.
        reduced = self._solve(rows) if len(tests) > rows.shape[1] else None
        for first in range(0, len(tests), step):
            features = tests.features[first : first + step]
            block = StandardizedRows(features, tests.mean, tests.scale).dense(rows.dtype)
            if reduced is not None:
                yield first, reduced @ block.T
            else:
                yield first, self._solve(rows @ block.T)

    def _solve(self, columns: NDArray[Any]) -> NDArray[Any]:
        """Return L^-1 columns (n_samples, n_columns).

        The equation is transposed: arrays in C order need no copy then.
        """
        trsm = get_blas_funcs("trsm", (self.factor, columns))
        return np.asarray(trsm(1.0, self.factor, columns.T, side=1, lower=1, trans_a=1).T)

    def _running_decisions(self, projected: NDArray[Any]) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield f_m of test examples given as V (n_samples, n_tests), some counts m at a time.

        Examples before a block of counts enter through two running sums, sum V_i Z_i and
        1 - sum V_i u_i; those inside it through one product with a triangle of coefficients.
        """
        dtype = projected.dtype
        residuals, ones, _ = (part.astype(dtype) for part in self.whitened)
        intercepts = self.whitened.intercepts().astype(dtype)
        # sum V_i Z_i and 1 - sum V_i u_i over the examples before the block.
        carried = np.zeros((residuals.shape[1], projected.shape[1]), dtype)
        not_carried = np.ones((1, projected.shape[1]), dtype)
        buffer = np.empty((len(carried), _COUNTS, projected.shape[1]), dtype)
        for start in range(0, len(projected), _COUNTS):
            place = slice(start, min(start + _COUNTS, len(projected)))
            z, u, b, block = residuals[place], ones[place], intercepts[place], projected[place]
            # Row m of a class: Z_i - u_i b_m up to i = m, and b_m for what is left of the 1.
            coefficients = z.T[:, None, :] - b.T[:, :, None] * u[:, 0]
            coefficients *= np.tri(len(b), dtype=dtype)
            coefficients = np.concatenate([coefficients, b.T[:, :, None]], axis=2)
            decisions = buffer if len(b) == _COUNTS else np.empty_like(buffer[:, : len(b)])
            flat = decisions.reshape(-1, projected.shape[1])
            np.matmul(coefficients.reshape(len(flat), -1), np.vstack([block, not_carried]), flat)
            decisions += carried[:, None, :]
            yield place, decisions
            carried += z.T @ block
            not_carried -= u.T @ block

    def _by_weights(
        self, rows: NDArray[Any], tests: StandardizedRows, counts: NDArray[np.intp]
    ) -> Iterator[DecisionBlock]:
        residuals, ones, _ = self.whitened
        intercepts = self.whitened.intercepts()[counts - 1].T
        # The weights are Phi' L'^-1 (Z - u b_m), its entries beyond m set to 0.
        duals = residuals[:, :, None] - ones[:, :, None] * intercepts
        # L' is upper triangular: entries beyond a count stay 0 in its solution.
        duals *= (np.arange(len(ones))[:, None] < counts)[:, None, :]
        duals = duals.reshape(len(ones), -1).astype(self.factor.dtype)
        duals = solve_triangular(
            self.factor, duals, lower=True, trans="T", overwrite_b=True, check_finite=False
        )
        weights, constants = duals.T @ rows, intercepts.reshape(-1, 1)
        for places, block in tests.blocks():
            decisions = weights @ block.T + constants
            yield slice(0, len(counts)), places, decisions.reshape(*intercepts.shape, -1)

    def refined_weights(
        self, learned: StandardizedRows, targets: FloatMatrix, alpha: float
    ) -> tuple[FloatMatrix, FloatMatrix]:
        """Return float64 weights and intercepts given all examples, whatever the factor's type.

        Iterative refinement (Golub & Van Loan, "Matrix Computations", section 3.5): conjugate
        gradients would do too, but with the factor as a preconditioner a few corrections of the
        residual suffice, at the cost of a few products with the examples.

        Parameters
        ----------
        learned : StandardizedRows
            The examples in their order, not yet rounded.
        targets : ndarray of shape (n_samples, n_classes)
            One-hot targets.
        alpha : float
            Alpha of the factor.

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
            missing = wanted - alpha * duals
            for place, block in learned.blocks():
                missing[place] -= block @ weights
            if np.abs(missing).max() < _REFINED:
                break
            duals += cho_solve((self.factor, True), missing.astype(self.factor.dtype))
        weights = np.asarray(weights)
        # The last column solves K a = 1; the intercept makes the other solutions sum to 0.
        intercepts = duals[:, :-1].sum(axis=0) / duals[:, -1].sum()
        return weights[:, :-1] - weights[:, -1:] * intercepts, intercepts


@dataclass(frozen=True)
class ScatterPath:
    """The ridge classifiers of the first examples from d x d matrices (primal form).

    Memory does not grow with the square of the examples. One-step-ahead predictions are those of
    every count; decisions on test examples are computed at chosen counts, one solve each.

    Attributes
    ----------
    rows : StandardizedRows
        All labelled examples.
    order : ndarray of shape (n_samples,)
        Row numbers in the order in which they are learned.
    targets : ndarray of shape (n_samples, n_targets)
        Targets, example by example as in `rows`.
    alpha : float
        Penalty added to the scatter.

    Examples
    --------
    >>> rows = StandardizedRows(np.array([[-1.0], [1.0]]), np.zeros(1), np.ones(1))
    >>> tests = StandardizedRows(np.array([[2.0]]), np.zeros(1), np.ones(1))
    >>> path = ScatterPath(rows, np.arange(2), np.eye(2), 1e-9)
    >>> blocks = path.decision_blocks(tests, np.array([1, 2]))
    >>> [decisions.ravel().round(6).tolist() for _, _, decisions in blocks]
    [[1.0, 0.0], [-0.5, 1.5]]
    """

    rows: StandardizedRows
    order: ClassCodes
    targets: FloatMatrix
    alpha: float

    def one_step_ahead(self) -> Iterator[tuple[slice, FloatMatrix]]:
        """Yield the predictions of consecutive places of the order, block by block."""
        sums = np.zeros(self.targets.shape[1] + 1)
        for block, whitened in self._whitened_blocks():
            yield block, whitened.one_step_ahead(self.targets[self.order[block]], sums)

    def decision_blocks(
        self, tests: StandardizedRows, counts: NDArray[np.intp]
    ) -> Iterator[DecisionBlock]:
        """Yield (position of the label count, test examples, decisions (n_classes, 1, n_tests)).

        Parameters
        ----------
        tests : StandardizedRows
            Test examples, standardised as the learned ones are.
        counts : ndarray of int
            Rising label counts.

        Yields
        ------
        tuple
            As `KernelPath.decision_blocks`.
        """
        for position, (weights, intercepts) in enumerate(self._weights_at(counts)):
            for places, block in tests.blocks():
                decisions = np.ascontiguousarray((block @ weights + intercepts).T)
                yield slice(position, position + 1), places, decisions[:, None, :]

    def _examples(self, places: slice) -> tuple[FloatMatrix, FloatMatrix]:
        """Return the standardised examples in some places of the order, and their targets."""
        chosen = self.order[places]
        rows = standardize(self.rows.features[chosen], self.rows.mean, self.rows.scale)
        return rows, self.targets[chosen]

    def _whitened_blocks(self) -> Iterator[tuple[slice, Whitened]]:
        """Whiten through the posterior of the weights after each block of examples.

        Given the examples before it, with P = Phi' Phi + alpha I, the kernel of a block B is the
        Schur complement of the whole kernel: by Woodbury's identity alpha (B P^-1 B' + I).
        """
        d = self.rows.n_features
        # Lower triangles only, in the memory order of LAPACK, so that nothing is copied.
        precision = np.asfortranarray(self.alpha * np.eye(d))
        cross = np.zeros((d, self.targets.shape[1] + 1), order="F")
        step = max(_SMALLEST_BLOCK, round(_BLOCK_SHARE * d))
        for start in range(0, len(self.order), step):
            block = slice(start, min(start + step, len(self.order)))
            rows, targets = self._examples(block)
            learned = np.column_stack([targets, np.ones(len(targets))])
            factor, _ = dpotrf(precision, lower=1, clean=0)
            # What the earlier examples predict is B P^-1 cross = spread' solved, both halves of it
            # in the coordinates of the factor of P.
            solved = dtrsm(1.0, factor, cross, lower=1)
            precision = dsyrk(1.0, rows.T, beta=1.0, c=precision, lower=1, overwrite_c=1)
            cross += rows.T @ learned
            spread = dtrsm(1.0, factor, rows.T, lower=1, overwrite_b=1)
            schur = dsyrk(self.alpha, spread, trans=1, lower=1)
            schur[np.diag_indices_from(schur)] += self.alpha
            local, _ = dpotrf(schur, lower=1, clean=0, overwrite_a=1)
            whitened = dtrsm(1.0, local, learned - spread.T @ solved, lower=1)
            yield block, Whitened(whitened[:, :-1], whitened[:, -1:], np.diag(local)[:, None])

    def _weights_at(self, counts: NDArray[np.intp]) -> Iterator[tuple[FloatMatrix, FloatMatrix]]:
        """Yield weights (n_features, n_classes) and intercepts (n_classes,) at each count.

        Sums run over all examples so far; subtracting those of their means centres them, which is
        what leaves the intercept free of the penalty.
        """
        d, n_classes = self.rows.n_features, self.targets.shape[1]
        products, cross = np.zeros((d, d)), np.zeros((d, n_classes))
        sums, class_sums, start = np.zeros(d), np.zeros(n_classes), 0
        for count in counts.tolist():
            for places in _pieces(start, count, rows_per_block(d, 8)):
                block, targets = self._examples(places)
                products += block.T @ block
                cross += block.T @ targets
                sums += block.sum(axis=0)
                class_sums += targets.sum(axis=0)
            start = count
            mean, class_mean = sums / count, class_sums / count
            # Standardised features lie around 0, so that taking off their mean afterwards is safe.
            scatter = products - np.outer(sums, mean)
            scatter[np.diag_indices_from(scatter)] += self.alpha
            weights = solve(
                scatter,
                cross - np.outer(sums, class_mean),
                assume_a="pos",
                overwrite_a=True,
                check_finite=False,
            )
            yield weights, class_mean - mean @ weights


@dataclass(frozen=True)
class RidgeChain:
    """One-step-ahead predictions of one set of examples in any number of orders.

    Attributes
    ----------
    rows : StandardizedRows
        Features.
    alpha : float
        Penalty added to the scatter.
    kernel : ndarray of shape (n_samples, n_samples) or None
        Products of all examples, shared by all orders; None where the primal form costs less.

    Examples
    --------
    >>> rows = StandardizedRows.of(np.array([[0.0], [1.0], [2.0]]), rescale=False)
    >>> targets = np.array([[0.0], [1.0], [2.0]])
    >>> steps = RidgeChain.of(rows, 1e-9).steps(targets, np.arange(3))
    >>> [predicted.round(6).ravel().tolist() for _, predicted in steps]
    [[0.0, 0.0, 2.0]]
    """

    rows: StandardizedRows
    alpha: float
    kernel: FloatMatrix | None

    @classmethod
    def of(cls, rows: StandardizedRows, alpha: float) -> "RidgeChain":
        """Return the chain, its kernel matrix computed where it will be used."""
        # A factor of all pairs costs n^3 / 3 and blocks about 3 n d^2, which is even near n = 3 d;
        # and all orders share the kernel, as long as it is small.
        if len(rows) > max(rows.n_features, min(4 * rows.n_features, _LARGEST_DENSE)):
            return cls(rows, alpha, None)
        return cls(rows, alpha, mirrored(row_products(rows)))

    def steps(self, targets: FloatMatrix, order: ClassCodes) -> Iterator[tuple[slice, FloatMatrix]]:
        """Yield consecutive places of an order, and what the earlier ones predict for each of them.

        Parameters
        ----------
        targets : ndarray of shape (n_samples, n_targets)
            One-hot or real targets, example by example as in `rows`.
        order : ndarray of shape (n_samples,)
            Row numbers in the order in which they are learned.

        Yields
        ------
        places : slice
            Places of the order.
        predictions : ndarray of shape (n_places, n_targets)
            Predictions; the very first is 0.
        """
        if self.kernel is None:
            yield from ScatterPath(self.rows, order, targets, self.alpha).one_step_ahead()
            return
        learned = targets[order]
        path = KernelPath.of(self.kernel[np.ix_(order, order)], learned, self.alpha)
        yield slice(0, len(order)), path.whitened.one_step_ahead(learned)


def _pieces(start: int, stop: int, step: int) -> Iterator[slice]:
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))
