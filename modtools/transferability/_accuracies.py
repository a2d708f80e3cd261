"""Held-out accuracies of output modules (linear heads): exact leave-one-out, or folds."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.linalg.blas import dsyrk
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from modtools._checks import check_positive
from modtools._types import FloatArray, FloatMatrix
from modtools.exceptions import warn
from modtools.outputs import (
    RowContent,
    StandardizedRows,
    class_sums,
    cold_fold_codes,
    left_out_decisions,
    one_hot,
    ridge_basis,
    ridge_leave_one_out,
    row_content,
    stratified_folds,
)
from modtools.tasks import Labels
from modtools.transferability._declare import register_score
from modtools.transferability._held_out import (
    accuracy_of,
    explained_variance,
    present_codes,
    right_shares,
    share_of,
    standardized,
    warn_about_singletons,
    without_features,
)
from modtools.transferability._registry import Estimate

__all__ = ["class_mean", "lda", "linear_probe", "logistic", "ridge"]

# Leave-one-out: ridge, nearest class mean, linear discriminant analysis -------------------------

_SHRINKAGE = 0.01


@register_score(
    needs="features",
    kinds=("classification", "regression"),
    passes=2,
    is_accuracy=True,
    range="[0, 1], leave-one-out accuracy; R2 <= 1 for regression",
    reference="Allen, Technometrics 1974 (PRESS)",
)
def ridge(
    features: FloatArray,
    labels: Labels,
    *,
    alpha: float | None = None,
    standardize: bool = True,
    groups: Any = None,
) -> Estimate:
    """Exact leave-one-out accuracy of the ridge classifier (ridge regression on one-hot labels).

    For each left-out example, weights and intercept are fitted on the other examples. The
    standardisation uses all examples. One decomposition serves every example and every alpha.

    Parameters
    ----------
    alpha : float, optional
        L2 penalty, added to the diagonal of the scatter matrix. By default the one of n * 10^k,
        k = -6, -5.5, ..., 2, with the smallest leave-one-out squared error (PRESS); of equal ones
        the largest.
    standardize : bool, default=True
        Whether columns are divided by their standard deviation.

    Returns
    -------
    float
        Accuracy in [0, 1]; higher is better. If the true class is one of m that tie, the example
        counts 1 / m. For real targets the leave-one-out R^2, at most 1; predicting the mean of the
        other examples has 0.

    Raises
    ------
    ModtoolsError
        An alpha so small that the prediction of a left-out example is not determined.

    References
    ----------
    Allen, "The relationship between variable selection and data augmentation and a method for
    prediction", Technometrics 1974.

    Examples
    --------
    >>> ridge([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1])
    1.0
    """
    alpha = None if alpha is None else check_positive(alpha, name="alpha")
    basis = ridge_basis(standardized(features, score="ridge", rescale=standardize))
    if labels.kind == "regression":
        targets = labels.target_matrix()
        left_out = ridge_leave_one_out(basis, targets, alpha, groups)
        return Estimate(explained_variance(left_out.decisions, targets))
    codes, n_classes = present_codes(labels)
    left_out = ridge_leave_one_out(basis, one_hot(codes, n_classes), alpha, groups)
    return share_of(right_shares(left_out.decisions, codes))


@register_score(
    needs="features",
    passes=2,
    is_accuracy=True,
    range="[0, 1], leave-one-out accuracy",
    reference="exact leave-one-out, closed form",
)
def class_mean(
    features: FloatArray, labels: Labels, *, standardize: bool = True, groups: Any = None
) -> Estimate:
    """Exact leave-one-out accuracy of the nearest class mean (nearest centroid) classifier.

    Distances are Euclidean. Each example is left out of the mean of its own class; the
    standardisation uses all examples. The example of a singleton class is always wrong.

    Parameters
    ----------
    standardize : bool, default=True
        Whether columns are divided by their standard deviation.

    Returns
    -------
    float
        Accuracy in [0, 1]; higher is better. If the true class is one of m that tie, the example
        counts 1 / m.

    Examples
    --------
    >>> class_mean([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1])
    1.0
    """
    rows = standardized(features, score="class_mean", rescale=standardize)
    if rows.n_varying == 0:
        return without_features(labels)
    codes, n_classes = present_codes(labels)
    right = np.empty(len(codes))
    for block, decisions in left_out_decisions(rows, codes, n_classes, groups):
        right[block] = right_shares(decisions, codes[block])
    return share_of(right)


@register_score(
    needs="features",
    passes=2,
    is_accuracy=True,
    range="[0, 1], leave-one-out accuracy",
    reference="Lachenbruch & Mickey, Technometrics 1968",
)
def lda(
    features: FloatArray, labels: Labels, *, alpha: float | None = None, standardize: bool = True
) -> Estimate:
    """Exact leave-one-out accuracy of regularised linear discriminant analysis (LDA).

    Classes are Gaussians with the common covariance (S_w + alpha I) / n and their frequencies as
    priors. Class means, covariance and priors are estimated without the left-out example; the
    standardisation and alpha are those of all examples. The example of a singleton class is always
    wrong.

    Parameters
    ----------
    alpha : float, optional
        Added to the diagonal of the within-class scatter S_w. By default 0.01 tr(S_w) / d, where d
        is the number of columns that vary.
    standardize : bool, default=True
        Whether columns are divided by their standard deviation.

    Returns
    -------
    float
        Accuracy in [0, 1]; higher is better. If the true class is one of m that tie, the example
        counts 1 / m.

    References
    ----------
    Lachenbruch & Mickey, "Estimation of error rates in discriminant analysis", Technometrics 1968.

    Examples
    --------
    >>> lda([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1])
    1.0
    """
    alpha = None if alpha is None else check_positive(alpha, name="alpha")
    rows = standardized(features, score="lda", rescale=standardize)
    codes, n_classes = present_codes(labels)
    return share_of(_lda_left_out_shares(rows, codes, n_classes, alpha))


def _lda_left_out_shares(
    rows: StandardizedRows, codes: NDArray[np.intp], n_classes: int, alpha: float | None
) -> FloatMatrix:
    """Return how correct the left-out prediction of each example is, see `right_shares`."""
    n_varying = max(rows.n_varying, 1)
    if len(rows) < rows.n_features:
        # n examples span at most n dimensions; outside their span the classes do not differ.
        coordinates = ridge_basis(rows).dense()
        d = coordinates.shape[1]
        rows = StandardizedRows(coordinates, np.zeros(d), np.ones(d))
    sums, counts = class_sums(rows, codes, n_classes), np.bincount(codes)
    means = sums / counts[:, None]
    within = np.zeros((rows.n_features, rows.n_features), order="F")
    total_trace = 0.0
    for block_rows, block in rows.blocks():
        total_trace += float(np.vdot(block, block))
        spread = block - means[codes[block_rows]]
        within = dsyrk(1.0, spread.T, beta=1.0, c=within, overwrite_c=1)
    if alpha is None:
        # Without any spread within classes only rounding is left, and S_w must stay invertible.
        floor = float(np.finfo(float).eps) * len(rows) * total_trace
        alpha = max(_SHRINKAGE * float(np.trace(within)), floor) / n_varying or 1.0
    within[np.diag_indices_from(within)] += alpha
    factor = cholesky(within, check_finite=False)
    whitened_means = solve_triangular(factor, means.T, trans=1, check_finite=False).T
    right = np.empty(len(codes))
    for block_rows, block in rows.blocks():
        whitened = solve_triangular(factor, block.T, trans=1, check_finite=False).T
        scores = _left_out_scores(whitened, whitened_means, codes[block_rows], counts)
        right[block_rows] = right_shares(scores, codes[block_rows])
    return right


def _left_out_scores(
    rows: FloatMatrix, means: FloatMatrix, own: NDArray[np.intp], counts: NDArray[np.intp]
) -> FloatMatrix:
    """Return leave-one-out log posteriors (n_samples, n_classes), up to a constant.

    With whitened d = x - mean of its class, and a = m / (m - 1) for a class of m examples, leaving
    out x changes the whitened scatter by -a d d' (a rank-one downdate, by Sherman-Morrison).
    """
    n_samples = counts.sum()
    each = np.arange(len(rows))
    cross, mean_products = rows @ means.T, means @ means.T
    squares = np.square(rows).sum(axis=1)[:, None]
    distances = squares - 2 * cross + np.diag(mean_products)
    # Relative to the own mean first: with distant classes, 1 - stretch * spread would lose digits.
    apart = rows - means[own]
    spread = np.square(apart).sum(axis=1)
    along = spread[:, None] + (apart * means[own]).sum(axis=1)[:, None] - apart @ means.T
    stretch = counts[own] / np.maximum(counts[own] - 1, 1)
    remaining = np.maximum(1 - stretch * spread, np.finfo(float).eps)  # > 0 except for rounding
    scores = distances + stretch[:, None] * np.square(along) / remaining[:, None]
    scores[each, own] = np.square(stretch) * spread / remaining
    priors = np.tile(counts / (n_samples - 1), (len(rows), 1))
    priors[each, own] -= 1 / (n_samples - 1)
    with np.errstate(divide="ignore"):  # a singleton class without its example has prior 0
        return np.asarray(np.log(priors) - (n_samples - 1) / 2 * scores)


# Folds: the logistic output module --------------------------------------------------------------


@register_score(
    needs="features",
    passes="iterative",
    is_accuracy=True,
    range="[0, 1], held-out accuracy",
    reference="5 cold folds at one alpha",
)
def logistic(
    features: FloatArray,
    labels: Labels,
    *,
    alpha: float = 1.0,
    groups: Any = None,
    seed: int = 0,
) -> Estimate:
    """Five-fold cross-validated accuracy of multinomial logistic regression, `LogisticOutput`.

    The folds are stratified, and fitted side by side on features that are standardised once with
    all examples. Each fit has a cold start: a start from a fit on all examples would leak held-out
    labels. Small problems are fitted to convergence, others for at least 20 iterations and until
    the loss is within about 1 % of its minimum. The example of a singleton class is wrong, with
    warning MT006; a fold that does not converge warns MT005.

    Parameters
    ----------
    alpha : float, default=1.0
        L2 penalty: alpha/2 |W|^2 is added to the summed log loss (1/C in scikit-learn).

    Returns
    -------
    float
        Accuracy in [0, 1]; higher is better. It differs by about half a percentage point at most
        from that of fully converged folds.

    Examples
    --------
    >>> logistic([[0.0], [1.0], [8.0], [9.0]], [0, 0, 1, 1])
    1.0
    """
    alpha = check_positive(alpha, name="alpha")
    rows = standardized(features, score="logistic")
    codes, n_classes = present_codes(labels)
    warn_about_singletons(codes, score="logistic")
    held_out = cold_fold_codes(rows, codes, n_classes, alpha=alpha, seed=seed, groups=groups)
    return accuracy_of(held_out, codes)


# Folds: alpha chosen inside the training folds --------------------------------------------------

_N_FOLDS = 5
_N_INNER_FOLDS = 3
_INVERSE_ALPHAS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
_MAX_ITERATIONS = 2000


@register_score(
    needs="features",
    passes="iterative",
    is_accuracy=True,
    range="[0, 1], held-out accuracy",
    reference="5-fold, alpha chosen inside",
)
def linear_probe(
    features: FloatArray, labels: Labels, *, groups: Any = None, seed: int = 0
) -> Estimate:
    """Five-fold cross-validated accuracy of a linear probe, with alpha chosen in nested folds.

    The probe is a multinomial logistic regression. C = 1/alpha is chosen from {1e-3, 1e-2, 0.1, 1,
    10} by three inner folds of the training examples, of equal ones the smallest. Features are
    standardised with the training examples alone. It is the most expensive score, and the reference
    for the others. The example of a singleton class is wrong, with warning MT006.

    Returns
    -------
    float
        Accuracy in [0, 1], the mean over folds; higher is better.

    References
    ----------
    Nadeau & Bengio, "Inference for the generalization error", Machine Learning 2003, for the
    standard error that `score` reports.

    Examples
    --------
    >>> linear_probe([[0.0], [1.0], [2.0], [7.0], [8.0], [9.0]], [0, 0, 0, 1, 1, 1])
    1.0
    """
    rows = standardized(features, score="linear_probe")
    if rows.n_varying == 0:
        return without_features(labels)
    codes, _ = present_codes(labels)
    warn_about_singletons(codes, score="linear_probe")
    content = row_content(rows)
    folds = stratified_folds(codes, _N_FOLDS, seed, groups, content=content)
    accuracies = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ConvergenceWarning)
        for fold in range(folds.max() + 1):
            held_out = folds == fold
            training, training_codes = features[~held_out], codes[~held_out]
            inner = _inner_folds(training_codes, ~held_out, seed, groups, content)
            best = _choose_inverse_alpha(training, training_codes, inner)
            (predicted,) = _predictions(training, training_codes, features[held_out], (best,))
            accuracies.append(float(np.mean(predicted == codes[held_out])))
    if caught:
        warn("MT005", f"{len(caught)} probe fits stopped at {_MAX_ITERATIONS} iterations.")
    return Estimate(float(np.mean(accuracies)), _corrected_standard_error(accuracies))


def _corrected_standard_error(accuracies: list[float]) -> float:
    """Return the corrected standard error of Nadeau & Bengio for folds that share examples.

    >>> round(_corrected_standard_error([0.8, 0.9, 0.7, 0.8]), 6)
    0.062361
    """
    n_folds = len(accuracies)
    inflation = 1 / n_folds + 1 / (n_folds - 1)
    return float(np.sqrt(inflation * np.var(accuracies, ddof=1)))


def _inner_folds(
    codes: NDArray[np.intp],
    training: NDArray[np.bool_],
    seed: int,
    groups: NDArray[np.intp] | None,
    content: RowContent,
) -> NDArray[np.intp]:
    """Return the inner folds of the training examples, whose codes are given."""
    units = None if groups is None else groups[training]
    return stratified_folds(codes, _N_INNER_FOLDS, seed, units, content=content.take(training))


def _choose_inverse_alpha(
    features: FloatArray, codes: NDArray[np.intp], folds: NDArray[np.intp]
) -> float:
    """Return the C with the most correct predictions over the inner folds, ties to the smaller."""
    if not folds.any():  # a single example or group cannot be split further
        return _INVERSE_ALPHAS[0]
    right = np.zeros(len(_INVERSE_ALPHAS))
    for fold in range(folds.max() + 1):
        held_out = folds == fold
        predictions = _predictions(
            features[~held_out], codes[~held_out], features[held_out], _INVERSE_ALPHAS
        )
        right += [np.count_nonzero(predicted == codes[held_out]) for predicted in predictions]
    return _INVERSE_ALPHAS[int(right.argmax())]


def _predictions(
    training: FloatArray,
    codes: NDArray[np.intp],
    held_out: FloatArray,
    inverse_alphas: tuple[float, ...],
) -> list[NDArray[np.intp]]:
    """Return the predicted codes of the held-out examples for each C, in the given order.

    Each fit starts from the previous one on the same training examples. This saves iterations and
    leaks nothing about held-out examples.
    """
    if len(np.unique(codes)) == 1:
        return [np.full(len(held_out), codes[0]) for _ in inverse_alphas]
    own = StandardizedRows.of(training)
    others = StandardizedRows(held_out, own.mean, own.scale).dense()
    if len(own) < own.n_features:
        # Principal coordinates of few examples: a rotation, which leaves fewer weights to fit.
        basis = ridge_basis(own)
        rows, others = basis.dense(), others @ basis.weights(np.eye(len(own)))
    else:
        rows = own.dense()
    probe = LogisticRegression(max_iter=_MAX_ITERATIONS, warm_start=True)
    return [probe.set_params(C=c).fit(rows, codes).predict(others) for c in inverse_alphas]
