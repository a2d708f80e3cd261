"""Ridge regression from one decomposition: weights, exact leave-one-out, and evidence.

With centred rows X and targets Y, the weights at a penalty alpha are (X'X + alpha I)^-1 X'Y, and
also X' (X X' + alpha I)^-1 Y: the smaller product is decomposed once, X = U D^(1/2) V', for every
alpha (Golub & Van Loan, "Matrix Computations", section 6.1).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.blas import dsyrk
from scipy.linalg.lapack import dormqr, dpttrf, dpttrs, dsytrd, dsytrd_lwork

from modtools._types import ClassCodes, FloatMatrix
from modtools.exceptions import ModtoolsError
from modtools.outputs._standardize import StandardizedRows

__all__ = [
    "RidgeBasis",
    "RidgeLeaveOneOut",
    "alpha_grid",
    "alpha_of_evidence",
    "mirrored",
    "one_hot",
    "ridge_basis",
    "ridge_leave_one_out",
    "ridge_solution",
    "ridge_weights",
    "row_products",
]

# An example whose leverage is nearer to 1 is not determined by the others.
_SMALLEST_COMPLEMENT = 1e-8
_MIRRORED_ROWS = 256  # rows at once, so that their copy stays in the processor's cache


def alpha_grid(n_samples: int) -> FloatMatrix:
    """Return the alphas that are tried: n * 10^k for k = -6, -5.5, ..., 2.

    >>> alpha_grid(100)[[0, -1]]
    array([1.e-04, 1.e+04])
    """
    return n_samples * 10.0 ** np.arange(-6, 2.25, 0.5)


def one_hot(codes: ClassCodes, n_classes: int) -> FloatMatrix:
    """Return the float64 target columns of class codes.

    >>> one_hot(np.array([1, 0]), 2)
    array([[0., 1.],
           [1., 0.]])
    """
    targets = np.zeros((len(codes), n_classes))
    targets[np.arange(len(codes)), codes] = 1
    return targets


@dataclass(frozen=True)
class RidgeBasis:
    """Principal coordinates of the examples: what ridge regressions of every alpha share.

    They are computed when they are first asked for: the evidence of an alpha needs less.

    Attributes
    ----------
    rows : StandardizedRows
        The features, centred.
    product : ndarray of shape (rank, rank)
        Scatter of the columns, or Gram matrix of the examples where that is smaller; rank is the
        smaller of n_samples and n_features. Only the upper triangle is filled.
    is_dual : bool
        Whether `product` is the Gram matrix.
    """

    rows: StandardizedRows
    product: FloatMatrix
    is_dual: bool

    @cached_property
    def _spectrum(self) -> tuple[FloatMatrix, FloatMatrix]:
        eigenvalues, vectors = np.linalg.eigh(self.product, UPLO="U")
        # Along directions in which nothing varies rounding leaves some eps of the largest.
        rounding = len(self.product) * np.finfo(float).eps * max(eigenvalues[-1], 0.0)
        return np.where(eigenvalues > rounding, eigenvalues, 0.0), vectors

    @property
    def eigenvalues(self) -> FloatMatrix:
        """Eigenvalues of `product` (rank,), ascending, 0 where they are rounding."""
        return self._spectrum[0]

    @property
    def vectors(self) -> FloatMatrix:
        """Eigenvectors of `product`, as columns (rank, rank)."""
        return self._spectrum[1]

    def blocks(self) -> Iterator[tuple[slice, FloatMatrix]]:
        """Yield (rows, principal coordinates of these rows)."""
        if self.is_dual:
            # X V = U D^(1/2): the eigenvectors of X X' are the coordinates already.
            yield slice(0, len(self.rows)), self.vectors * np.sqrt(self.eigenvalues)
            return
        for rows, block in self.rows.blocks():
            yield rows, block @ self.vectors

    def dense(self, dtype: Any = np.float64) -> NDArray[Any]:
        """Return all principal coordinates (n_samples, rank)."""
        result = np.empty((len(self.rows), len(self.eigenvalues)), dtype=dtype)
        for rows, block in self.blocks():
            result[rows] = block
        return result

    def project(self, targets: FloatMatrix) -> FloatMatrix:
        """Return coordinates' times targets (rank, n_targets)."""
        if self.is_dual:
            root = np.sqrt(self.eigenvalues)[:, None]
            return np.asarray(root * (self.vectors.T @ targets))
        return np.asarray(self.vectors.T @ self.cross(targets))

    def cross(self, targets: FloatMatrix) -> FloatMatrix:
        """Return standardised rows' times targets (n_features, n_targets)."""
        return np.asarray(sum(block.T @ targets[rows] for rows, block in self.rows.blocks()))

    def weights(self, coordinates: FloatMatrix) -> FloatMatrix:
        """Return the standardised-feature weights (n_features, n_targets) of coordinate weights."""
        if not self.is_dual:
            return self.vectors @ coordinates
        # V = X' U D^(-1/2), without the directions in which nothing varies.
        root = np.sqrt(self.eigenvalues)
        inverse = np.divide(1.0, root, out=np.zeros_like(root), where=root > 0)
        return self.cross(self.vectors @ (inverse[:, None] * coordinates))


def ridge_basis(rows: StandardizedRows) -> RidgeBasis:
    """Return the scatter of the features, or their Gram matrix where that is smaller.

    Examples
    --------
    >>> ridge_basis(StandardizedRows.of(np.array([[1.0], [3.0]]))).eigenvalues
    array([2.])
    """
    is_dual = len(rows) < rows.n_features
    if is_dual:
        product = row_products(rows)
    else:
        product = np.zeros((rows.n_features, rows.n_features), order="F")
        for _, block in rows.blocks():
            product = dsyrk(1.0, block.T, beta=1.0, c=product, overwrite_c=1)
    return RidgeBasis(rows, product, is_dual=is_dual)


def row_products(rows: StandardizedRows) -> FloatMatrix:
    """Return the Gram matrix of the examples, its upper triangle filled, from blocks of columns.

    >>> row_products(StandardizedRows.of(np.array([[1.0], [3.0]])))
    array([[ 1., -1.],
           [ 0.,  1.]])
    """
    product = np.zeros((len(rows), len(rows)), order="F")
    for block in rows.column_blocks():
        product = dsyrk(1.0, block.T, trans=1, beta=1.0, c=product, overwrite_c=1)
    return product


def mirrored(upper: FloatMatrix) -> FloatMatrix:
    """Return a symmetric matrix from its upper triangle, in place.

    >>> mirrored(np.array([[1.0, 2.0], [0.0, 3.0]]))
    array([[1., 2.],
           [2., 3.]])
    """
    for start in range(0, len(upper), _MIRRORED_ROWS):
        rows = slice(start, start + _MIRRORED_ROWS)
        corner = upper[rows, rows]
        upper[rows, rows] = np.triu(corner) + np.triu(corner, 1).T
        upper[rows.stop :, rows] = upper[rows, rows.stop :].T
    return upper


class RidgeLeaveOneOut(NamedTuple):
    """Leave-one-out of a ridge regression.

    Attributes
    ----------
    alpha : float
        Alpha used: the one given, or that of the smallest PRESS.
    press : float
        Sum of squared leave-one-out residuals over examples and targets.
    decisions : ndarray of shape (n_samples, n_targets)
        What is predicted for an example by the regression fitted without it.
    """

    alpha: float
    press: float
    decisions: FloatMatrix


def ridge_leave_one_out(
    basis: RidgeBasis,
    targets: FloatMatrix,
    alpha: float | None = None,
    groups: ClassCodes | None = None,
) -> RidgeLeaveOneOut:
    """Return exact leave-one-out predictions; weights and intercept are re-estimated.

    With leverage h of an example, its leave-one-out residual is residual / (1 - h), and that of a
    group with leverages H is (I - H)^-1 residuals (Allen, "The relationship between variable
    selection and data augmentation and a method for prediction", Technometrics 16, 1974; Cook &
    Weisberg, "Residuals and influence in regression", 1982, chapter 3). Alpha is added to
    the scatter; by default it is chosen from `alpha_grid` by the smallest PRESS, ties to the
    larger.

    Parameters
    ----------
    basis : RidgeBasis
        Decomposition of the features.
    targets : ndarray of shape (n_samples, n_targets)
        One-hot, 0/1 or real targets.
    alpha : float, optional
        A fixed alpha.
    groups : ndarray of shape (n_samples,), optional
        Group of each example; its whole group is left out with it.

    Returns
    -------
    RidgeLeaveOneOut
        Alpha, PRESS and predictions.

    Raises
    ------
    ModtoolsError
        Alpha is so small that a left-out example is not determined.

    Examples
    --------
    >>> rows = StandardizedRows.of(np.array([[0.0], [1.0], [2.0]]), rescale=False)
    >>> ridge_leave_one_out(ridge_basis(rows), np.array([[0.0], [1.0], [2.0]]), 1e-3).decisions[0]
    array([0.002...])
    """
    alphas = alpha_grid(len(targets)) if alpha is None else np.array([alpha])
    if groups is not None:
        return _ridge_leave_groups_out(basis, targets, alphas, groups)
    centred = targets - targets.mean(axis=0)
    projected = basis.project(centred)
    inverses = 1.0 / (basis.eigenvalues[:, None] + alphas)
    # 1 - h, with the leverage 1/n of the intercept. Residuals of every alpha are computed block
    # by block, so that nothing of the size of examples x alphas x targets is kept.
    complements = np.empty((len(targets), len(alphas)))
    press = np.zeros(len(alphas))
    for rows, block in basis.blocks():
        complements[rows] = 1.0 - 1.0 / len(targets) - np.square(block) @ inverses
        # An alpha whose leverage reaches 1 is refused below, so its residual may be anything.
        safe = np.maximum(complements[rows], _SMALLEST_COMPLEMENT)
        for column, inverse in enumerate(inverses.T):
            residuals = centred[rows] - block @ (inverse[:, None] * projected)
            press[column] += np.square(residuals / safe[:, column, None]).sum()
    press[complements.min(axis=0) < _SMALLEST_COMPLEMENT] = np.inf
    best = _smallest(press, alphas)
    decisions = np.empty_like(targets)
    # Where the coordinates are projections of the features, weights of these spare that product.
    solution = inverses[:, best, None] * projected
    weights = solution if basis.is_dual else basis.weights(solution)
    for rows, block in basis.blocks() if basis.is_dual else basis.rows.blocks():
        residuals = centred[rows] - block @ weights
        decisions[rows] = targets[rows] - residuals / complements[rows, best, None]
    return RidgeLeaveOneOut(float(alphas[best]), float(press[best]), decisions)


def _smallest(press: FloatMatrix, alphas: FloatMatrix) -> int:
    """Return the last position whose PRESS is the smallest up to rounding."""
    best = int(np.flatnonzero(press <= press.min() * (1 + 1e-12))[-1])
    if not np.isfinite(press[best]):
        raise ModtoolsError(
            f"alpha={alphas[best]:.3g} is too small: an example has leverage 1, so the "
            "regression without it is not determined. Use a larger alpha."
        )
    return best


def _ridge_leave_groups_out(
    basis: RidgeBasis, targets: FloatMatrix, alphas: FloatMatrix, groups: ClassCodes
) -> RidgeLeaveOneOut:
    """Do the same for whole groups: residuals are divided by I - H, H the group's leverages."""
    coordinates, centred = basis.dense(), targets - targets.mean(axis=0)
    projected = coordinates.T @ centred
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    press, left_out = np.zeros(len(alphas)), []
    for column, alpha in enumerate(alphas):
        inverse = 1 / (basis.eigenvalues + alpha)
        residuals = centred - coordinates @ (inverse[:, None] * projected)
        for rows in members:
            leverages = (coordinates[rows] * inverse) @ coordinates[rows].T + 1 / len(targets)
            # Symmetric and positive, so that its eigenvalues show whether the group is determined.
            values, vectors = np.linalg.eigh(np.eye(len(rows)) - leverages)
            if values[0] < _SMALLEST_COMPLEMENT:
                press[column] = np.inf
            safe = np.maximum(values, _SMALLEST_COMPLEMENT)
            residuals[rows] = vectors @ (vectors.T @ residuals[rows] / safe[:, None])
        press[column] += np.square(residuals).sum()
        left_out.append(residuals)
    best = _smallest(press, alphas)
    return RidgeLeaveOneOut(float(alphas[best]), float(press[best]), targets - left_out[best])


def ridge_weights(
    basis: RidgeBasis, targets: FloatMatrix, alpha: float
) -> tuple[FloatMatrix, FloatMatrix]:
    """Return the weights (n_targets, n_features) and the intercepts (n_targets,).

    >>> rows = StandardizedRows.of(np.array([[0.0], [2.0]]), rescale=False)
    >>> ridge_weights(ridge_basis(rows), np.array([[0.0], [2.0]]), 2.0)
    (array([[0.5]]), array([1.]))
    """
    intercept = targets.mean(axis=0)
    projected = basis.project(targets - intercept)
    weights = basis.weights(projected / (basis.eigenvalues[:, None] + alpha)).T
    return weights, np.asarray(intercept)


def ridge_solution(basis: RidgeBasis, centred: FloatMatrix, alpha: float) -> FloatMatrix:
    """Return the weights (n_features, n_targets) by a Cholesky factor, which serves one alpha.

    It takes a fraction of the time of a spectrum.

    >>> rows = StandardizedRows.of(np.array([[0.0], [2.0]]), rescale=False)
    >>> ridge_solution(ridge_basis(rows), np.array([[-1.0], [1.0]]), 2.0)
    array([[0.5]])
    """
    penalised = np.asarray(basis.product + alpha * np.eye(len(basis.product)))
    factor = cho_factor(penalised, lower=False, overwrite_a=True, check_finite=False)
    right = centred if basis.is_dual else basis.cross(centred)
    solved = cho_solve(factor, right, check_finite=False)
    return basis.cross(solved) if basis.is_dual else solved


def alpha_of_evidence(basis: RidgeBasis, targets: FloatMatrix) -> float:
    """Return the alpha of the largest evidence summed over target columns, ties to the larger.

    Weights are Gaussian, the intercept has a flat prior, and each column has its own noise level
    at its best value: centring leaves n - 1 dimensions (Rasmussen & Williams, "Gaussian Processes
    for Machine Learning", 2006, equations 2.30 and 2.45; MacKay, "Bayesian interpolation", Neural
    Computation 4, 1992). With M = I + scatter / alpha it is, up to a constant, minus
    (n - 1) log(residual) - log det M for each column. A tridiagonal form of the scatter, which
    takes a fraction of the time of eigenvectors, serves every alpha: determinants and solutions
    then cost as little as reading it (Elden, "Algorithms for the regularization of ill-conditioned
    least squares problems", BIT 17, 1977).

    Parameters
    ----------
    basis : RidgeBasis
        The features, centred by their own mean.
    targets : ndarray of shape (n_samples, n_targets)
        One-hot, 0/1 or real targets.

    Returns
    -------
    float
        One of `alpha_grid`.

    Examples
    --------
    >>> rows = StandardizedRows.of(np.arange(10.0)[:, None])
    >>> round(alpha_of_evidence(ridge_basis(rows), rows.dense()), 9)  # no noise: the smallest
    1e-05
    """
    centred = targets - targets.mean(axis=0)
    total = np.square(centred).sum(axis=0)
    n_samples, n_targets = targets.shape
    alphas = alpha_grid(n_samples)
    reduced = _reduce(basis, centred, float(alphas[0]))
    evidence = np.empty(len(alphas))
    for i, alpha in enumerate(alphas):
        explained, log_determinant = reduced.at(alpha)
        # y' M^-1 y is the residual where M is made of the Gram matrix; with the scatter it is
        # y'y - (X'y)' M^-1 (X'y) / alpha.
        residual = explained if basis.is_dual else total - explained / alpha
        # A residual below the rounding of its target is as good as none, whatever alpha.
        floor = np.finfo(float).eps * total
        fit = (n_samples - 1) * np.log(np.maximum(residual, floor)).sum()
        evidence[i] = -fit - n_targets * log_determinant
    return float(alphas[np.flatnonzero(evidence == evidence.max())[-1]])


class _Reduced(NamedTuple):
    """Coordinates in which the scatter is tridiagonal: its diagonals, and the targets in them."""

    diagonal: FloatMatrix
    off_diagonal: FloatMatrix
    projected: FloatMatrix

    def at(self, alpha: float) -> tuple[FloatMatrix, float]:
        """Return z' M^-1 z of each target column z, and log det M; M is I + scatter / alpha."""
        pivots, factors, _ = dpttrf(self.diagonal / alpha + 1, self.off_diagonal / alpha)
        solved, _ = dpttrs(pivots, factors, self.projected)
        return np.asarray((self.projected * solved).sum(axis=0)), float(np.log(pivots).sum())


def _reduce(basis: RidgeBasis, centred: FloatMatrix, smallest: float) -> _Reduced:
    """Return the tridiagonal form, or the spectrum where an alpha is lost in its rounding."""
    cross = centred if basis.is_dual else basis.cross(centred)
    if len(cross) > 2:
        reduced = _tridiagonal(basis.product, cross)
        largest = np.abs(reduced.diagonal).max() + 2 * np.abs(reduced.off_diagonal).max()
        if smallest > len(cross) * np.finfo(float).eps * largest:
            return reduced
    # Eigenvalues that are rounding count as 0 there, so that the matrix stays positive definite.
    off_diagonal = np.zeros(max(len(cross) - 1, 1))
    return _Reduced(basis.eigenvalues, off_diagonal, basis.vectors.T @ cross)


def _tridiagonal(product: FloatMatrix, cross: FloatMatrix) -> _Reduced:
    """Return Q' product Q as diagonals, and Q' cross, by Householder reflections."""
    size = len(product)
    lwork = int(dsytrd_lwork(size, lower=1)[0])
    # The transpose has the filled triangle below, where the reflections are those of a QR.
    reflections, diagonal, off_diagonal, tau, _ = dsytrd(product.T, lower=1, lwork=lwork)
    rotated = np.array(cross, order="F")
    lwork = 32 * cross.shape[1]
    rotated[1:] = dormqr("L", "T", reflections[1:, :-1], tau, rotated[1:], lwork)[0]
    return _Reduced(diagonal, off_diagonal, rotated)
