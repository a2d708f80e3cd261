"""Multinomial logistic regression by Newton's method in float64, for what L-BFGS leaves unsolved.

The Hessian is never formed: each step is solved by conjugate gradients from its exact products, in
units of its diagonal, so that neither the number of columns nor their scales matter (Nocedal &
Wright, "Numerical Optimization", 2006, algorithm 7.1, with the preconditioner of section 5.1).
"""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp, softmax

from modtools._types import ClassCodes, FloatMatrix
from modtools.outputs._ridge import one_hot

__all__ = ["NewtonFit", "log_loss_gradient", "newton_weights"]

_MAX_STEPS = 100
_MAX_HALVINGS = 40
_MAX_CONJUGATE = 1000
# The gradient at the solution, as a share of the largest that these examples could have: what is
# aimed at, and what is good enough.
_TOLERANCE = 1e-14
_ACCEPTED = 1e-7
_LEAST_DECREASE = 1e-4
# An intercept along which the loss has less curvature stays: all examples are far on their side.
_FLAT = 1e-150


class NewtonFit(NamedTuple):
    """Weights (n_columns, n_classes), and whether their gradient is practically 0."""

    weights: FloatMatrix
    has_converged: bool


def log_loss_gradient(
    rows: FloatMatrix, codes: ClassCodes, penalty: FloatMatrix, weights: FloatMatrix
) -> FloatMatrix:
    """Return the gradient of the summed log loss plus penalty/2 |w|^2, shaped as the weights.

    >>> rows, codes = np.array([[-1.0, 1.0], [1.0, 1.0]]), np.array([0, 1])
    >>> log_loss_gradient(rows, codes, np.array([1.0, 0.0]), np.zeros((2, 2)))
    array([[ 1., -1.],
           [ 0.,  0.]])
    """
    problem = _Problem(rows, one_hot(codes, weights.shape[1]), penalty[:, None])
    return problem.gradient(weights, softmax(rows @ weights, axis=1))


def newton_weights(
    rows: FloatMatrix, codes: ClassCodes, penalty: FloatMatrix, start: FloatMatrix
) -> NewtonFit:
    """Minimise the summed log loss plus penalty/2 |w|^2, summed over the columns.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_columns)
        Design matrix, with a column of ones for the intercept.
    codes : ndarray of shape (n_samples,)
        Class of each example, every class of `start` present.
    penalty : ndarray of shape (n_columns,)
        Penalty of each column's weights, 0 for the intercept.
    start : ndarray of shape (n_columns, n_classes)
        Where to start, unless zero is better.

    Returns
    -------
    NewtonFit
        Weights, and whether they are the solution.

    Examples
    --------
    >>> rows, codes = np.array([[-1.0, 1.0], [1.0, 1.0]]), np.array([0, 1])
    >>> newton_weights(rows, codes, np.array([1.0, 0.0]), np.zeros((2, 2))).weights[0]
    array([-0.5212...,  0.5212...])
    """
    problem = _Problem(rows, one_hot(codes, start.shape[1]), penalty[:, None])
    zero = np.zeros_like(start)
    if np.isfinite(start).all() and problem.loss(start) < problem.loss(zero):
        fit = _minimise(problem, start)
        if fit.has_converged:
            return fit
    # Far out the loss can be too flat for a step, which it never is at zero.
    return _minimise(problem, zero)


def _minimise(problem: "_Problem", weights: FloatMatrix) -> NewtonFit:
    # No gradient of the log loss is longer, up to the root of two.
    scale = float(np.linalg.norm(problem.rows, axis=1).sum())
    loss = problem.loss(weights)
    for _ in range(_MAX_STEPS):
        probabilities = softmax(problem.rows @ weights, axis=1)
        gradient = problem.gradient(weights, probabilities)
        size = float(np.linalg.norm(gradient))
        if size <= _TOLERANCE * scale:
            break
        step = problem.newton_step(gradient, probabilities)
        slope = float(np.vdot(gradient, step))
        share, rounding = 1.0, 4 * np.finfo(float).eps * loss
        if -slope <= rounding / 100:  # the loss is at its minimum, as far as can be resolved
            break
        for _ in range(_MAX_HALVINGS):
            new_loss = problem.loss(weights + share * step)
            if new_loss <= loss + _LEAST_DECREASE * share * slope + rounding:
                break
            share /= 2
        else:
            break
        weights, loss = weights + share * step, new_loss
    return NewtonFit(weights, size <= _ACCEPTED * scale)


class _Problem(NamedTuple):
    """The penalised loss of one design matrix, with what Newton's method needs of it."""

    rows: FloatMatrix
    targets: FloatMatrix
    penalty: FloatMatrix

    def loss(self, weights: FloatMatrix) -> float:
        logits = self.rows @ weights
        loss = (logsumexp(logits, axis=1) - logits[self.targets == 1]).sum()
        return float(loss + (self.penalty * np.square(weights)).sum() / 2)

    def gradient(self, weights: FloatMatrix, probabilities: FloatMatrix) -> FloatMatrix:
        return np.asarray(self.rows.T @ (probabilities - self.targets) + self.penalty * weights)

    def hessian_times(self, direction: FloatMatrix, probabilities: FloatMatrix) -> FloatMatrix:
        # The Hessian of an example's loss over its logits is diag(p) - p p'.
        change = probabilities * (self.rows @ direction)
        change -= probabilities * change.sum(axis=1, keepdims=True)
        return np.asarray(self.rows.T @ change + self.penalty * direction)

    def newton_step(self, gradient: FloatMatrix, probabilities: FloatMatrix) -> FloatMatrix:
        """Return -inverse(Hessian) gradient by conjugate gradients in units of the diagonal."""
        spread = probabilities * (1 - probabilities)
        diagonal = np.square(self.rows).T @ spread + self.penalty
        bends = diagonal > _FLAT
        unit = np.divide(1.0, diagonal, out=np.zeros_like(diagonal), where=bends)
        step, left = np.zeros_like(gradient), -gradient
        conditioned = unit * left
        direction, size = conditioned, float(np.vdot(left, conditioned))
        # The nearer the solution, the more exact the step: convergence is faster than linear.
        enough = size * min(0.1, float(np.sqrt(size))) ** 2
        for _ in range(_MAX_CONJUGATE):
            product = self.hessian_times(direction, probabilities)
            curvature = float(np.vdot(direction, product))
            if curvature <= 0:
                break
            length = size / curvature
            step, left = step + length * direction, left - length * product
            conditioned = unit * left
            before, size = size, float(np.vdot(left, conditioned))
            if size <= enough:
                break
            direction = conditioned + size / before * direction
        return step if step.any() else np.asarray(unit * -gradient)
