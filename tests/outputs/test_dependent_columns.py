"""Features with dependent columns: logistic solutions are right whatever the columns are."""

import warnings

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from torch import nn

from modtools.exceptions import ModtoolsWarning
from modtools.modules import PretrainedModule
from modtools.outputs import (
    ClassMeanOutput,
    LogisticOutput,
    RidgeOutput,
    RidgeRegressionOutput,
    _logistic_folds,
)
from modtools.outputs._folds import row_content, stratified_folds
from modtools.outputs._logistic_folds import cold_fold_codes, fold_design, minimise_folds
from modtools.outputs._newton import NewtonFit, newton_weights
from modtools.outputs._standardize import StandardizedRows
from modtools.retraining import retrain
from modtools.selection import rank_modules
from modtools.studies import label_efficiency
from modtools.tasks import Task
from modtools.transferability import logistic, score

ALPHAS = (1.0, 0.1, 1.0, 100.0, 1.0, None)
N_SETS, N_CHUNKS = 400, 20


def binary_codes(rng, codes, noise):
    bits = (codes[:, None] >> np.arange(rng.integers(2, 5))) & 1
    return np.abs(bits - (rng.random(bits.shape) < noise / 10)).astype(float)


def blobs(rng, codes, noise, n_columns):
    centres = rng.normal(size=(codes.max() + 1, n_columns))
    return centres[codes] + noise * rng.normal(size=(len(codes), n_columns))


def repeats(rng, codes, noise):
    return np.repeat(blobs(rng, codes, noise, 3), rng.choice([2, 10]), axis=1)


def dead_units(rng, codes, noise):
    units = np.maximum(blobs(rng, codes, noise, 20) - 1, 0)
    units[:, ::3], units[:, 1::3] = 0, units[:, [1]]
    return units


def one_hot(rng, codes, noise):
    others = rng.random(len(codes)) < noise / 5
    return np.eye(8)[np.where(others, rng.integers(0, 8, len(codes)), codes)]


def constant_blocks(rng, codes, noise):
    half = np.hstack([np.ones((len(codes), 5)), blobs(rng, codes, noise, 3)])
    return np.hstack([half, half, np.full((len(codes), 4), 7.0)])


def wide(rng, codes, noise):
    columns = blobs(rng, codes, noise + 0.1, int(rng.integers(40, 80)))
    return np.hstack([columns, columns[:, :20]])


def many_units(rng, codes, noise):
    return repeats(rng, codes, noise)[:, :6] * 10.0 ** rng.choice([-6, 0, 6], 6)


def lone_rows(rng, codes, noise):
    columns = blobs(rng, codes, noise, 4)
    codes[:2] = codes.max() + 1 + np.arange(2)
    return np.hstack([columns, columns])


KINDS = (
    binary_codes,
    repeats,
    dead_units,
    one_hot,
    constant_blocks,
    wide,
    many_units,
    lone_rows,
)


def random_set(number):
    """Return the kind of a random set, its features and its class codes."""
    rng = np.random.default_rng(number)
    kind, n_classes = KINDS[number % len(KINDS)], int(rng.integers(2, 6))
    codes = rng.integers(0, n_classes, int(rng.integers(2 * n_classes + 4, 36)))
    codes[:n_classes] = np.arange(n_classes)
    features = kind(rng, codes, rng.choice([0.0, 0.3, 1.0, 3.0]))
    return kind.__name__, features, np.unique(codes, return_inverse=True)[1]


def held_out_by_scikit_learn(features, codes, alpha):
    """Return what scikit-learn predicts in the same folds, and how clearly: 0 is a tie."""
    deviations = features.std(axis=0)
    varies = deviations > 1e-12 * np.abs(features).max(axis=0)
    rows = (features - features.mean(axis=0))[:, varies] / deviations[varies]
    if not varies.any():
        rows = np.zeros((len(codes), 1))
    folds = stratified_folds(codes, 5, seed=0, content=row_content(StandardizedRows.of(features)))
    predicted, margins = np.empty_like(codes), np.full(len(codes), np.inf)
    for fold in range(folds.max() + 1):
        used, left = folds != fold, folds == fold
        if len(np.unique(codes[used])) == 1:
            predicted[left] = codes[used][0]
            continue
        probe = LogisticRegression(C=1 / alpha, tol=1e-6, solver="newton-cholesky")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            probe.fit(rows[used], codes[used])
        predicted[left] = probe.predict(rows[left])
        values = probe.decision_function(rows[left])
        values = np.column_stack([np.zeros(len(values)), values]) if values.ndim == 1 else values
        margins[left] = np.diff(np.sort(values, axis=1)[:, -2:], axis=1)[:, 0]
    return predicted, margins


@pytest.mark.filterwarnings("ignore:MT001", "ignore:MT006")
@pytest.mark.parametrize(
    "chunk",
    [
        *range(N_CHUNKS // 4),
        *(pytest.param(n, marks=pytest.mark.slow) for n in range(N_CHUNKS // 4, N_CHUNKS)),
    ],
)
def test_held_out_accuracies_are_those_of_scikit_learn(chunk):
    wrong = []
    for number in range(chunk, N_SETS, N_CHUNKS):
        kind, features, codes = random_set(number)
        alpha = ALPHAS[number // N_CHUNKS % len(ALPHAS)]
        if alpha is None:
            output = LogisticOutput().fit(features, codes)
            assert np.isfinite(output.decision_values(features)).all()
            alpha = output.alpha_
        own = LogisticOutput(alpha=alpha).leave_one_out(features, codes)
        expected, margins = held_out_by_scikit_learn(features, codes, alpha)
        tied = margins < 1e-4 * min(1.0, 1 / alpha)  # either answer is as good
        gap = 100 * abs(np.mean((own == codes)[~tied]) - np.mean((expected == codes)[~tied]))
        value = logistic(features, codes, alpha=alpha)
        off = 100 * (abs(value - np.mean(expected == codes)) - tied.mean())
        if not max(gap, off) <= 5:
            wrong.append((number, kind, alpha, round(gap, 1), round(off, 1)))
    assert not wrong, f"gaps in points (number, kind, alpha, output, score): {wrong}"


def slopes(design, codes, penalty, weights):
    """Return the gradient of the penalised log loss, written out row by row."""
    gradient = penalty[:, None] * weights
    for row, code in zip(design, codes, strict=True):
        surprise = softmax(row @ weights)
        surprise[code] -= 1
        gradient += np.outer(row, surprise)
    return gradient


@pytest.mark.parametrize("number", range(len(KINDS)))
@pytest.mark.parametrize("alpha", [0.01, 1.0, 100.0])
def test_each_fold_is_at_the_minimum_of_its_loss(number, alpha):
    _, features, codes = random_set(number)
    design, penalty = fold_design(StandardizedRows.of(features), alpha)
    design, penalty = design.astype(np.float64), penalty.astype(np.float64)
    folds = stratified_folds(codes, 5, seed=0, content=row_content(StandardizedRows.of(features)))
    training = folds[:, None] != np.arange(5)
    weights = minimise_folds(design, codes, codes.max() + 1, training, penalty)
    for fold, used in enumerate(training.T):
        gradient = slopes(design[used], codes[used], penalty, weights[:, fold])
        scale = np.linalg.norm(design[used], axis=1).sum()
        assert np.abs(gradient).max() <= 1e-6 * scale


@pytest.mark.parametrize("number", range(len(KINDS)))
@pytest.mark.parametrize("alpha", [1e-6, 0.01, 1.0, 100.0])
def test_fit_is_at_the_minimum_of_its_loss(number, alpha):
    _, features, codes = random_set(number)
    output = LogisticOutput(alpha=alpha).fit(features, codes)
    scale = np.where(output.scale_ > 0, output.scale_, np.inf)
    design = np.column_stack([(features - output.mean_) / scale, np.ones(len(codes))])
    penalty = np.full(design.shape[1], alpha * (2 if len(output.classes_) == 2 else 1))
    penalty[-1] = 0
    weights = np.vstack([output.coef_.T, output.intercept_])
    gradient = slopes(design, codes, penalty, weights)
    tolerance = 3e-4 * (1 if alpha >= 0.1 else alpha)
    # A basis of fewer coordinates than columns was solved: lengths there, not single columns.
    assert np.linalg.norm(gradient) <= tolerance * len(codes) * np.sqrt(weights.size)


def test_codes_and_one_hot_columns_are_read_without_an_error():
    codes = np.arange(33) % 2
    assert score(np.eye(2)[codes], codes, ["logistic"])["logistic"] == 1.0
    codes = np.repeat([0, 1, 2], 6)
    output = LogisticOutput().fit(np.eye(3)[codes], codes)
    np.testing.assert_array_equal(output.predict(np.eye(3)[codes]), codes)


@pytest.mark.parametrize("copies", [2, 10])
@pytest.mark.parametrize("alpha", [0.01, 1.0])
def test_copies_of_a_column_share_its_weight(copies, alpha):
    rng = np.random.default_rng(0)
    codes = np.arange(60) % 3
    features = blobs(rng, codes, 1.0, 4)
    once = LogisticOutput(alpha=alpha)
    again = LogisticOutput(alpha=copies * alpha)
    repeated = np.repeat(features, copies, axis=1)
    np.testing.assert_array_equal(
        again.leave_one_out(repeated, codes), once.leave_one_out(features, codes)
    )
    values = again.fit(repeated, codes).decision_values(repeated)
    expected = once.fit(features, codes).decision_values(features)
    np.testing.assert_allclose(values, expected, atol=0.02 * np.abs(expected).max())


def test_constant_columns_change_nothing():
    rng = np.random.default_rng(1)
    codes = np.arange(60) % 3
    features = blobs(rng, codes, 1.0, 4)
    padded = np.hstack([np.zeros((60, 3)), features, np.full((60, 5), 1e6)])
    np.testing.assert_array_equal(
        LogisticOutput().leave_one_out(padded, codes),
        LogisticOutput().leave_one_out(features, codes),
    )


def test_a_fold_that_knows_two_of_three_classes_is_a_fold_of_two_classes():
    rng = np.random.default_rng(2)
    codes = np.append(np.arange(20) % 2, 2)
    features = blobs(rng, codes, 1.0, 3)
    expected, _ = held_out_by_scikit_learn(features, codes, 5.0)
    found = cold_fold_codes(StandardizedRows.of(features), codes, 3, alpha=5.0)
    np.testing.assert_array_equal(found, expected)


def unscaled_folds():
    rng = np.random.default_rng(3)
    codes = np.arange(200) % 3
    columns = blobs(rng, codes, 1.0, 6) * [1e4, 1e4, 1.0, 1.0, 1e-3, 1e-3]
    design = np.column_stack([columns, np.ones(200)])
    penalty = np.append(np.full(6, 1.0), 0)
    content = row_content(StandardizedRows.of(columns))
    training = stratified_folds(codes, 5, seed=0, content=content)[:, None] != np.arange(5)
    return design, codes, training, penalty


def test_what_l_bfgs_leaves_unsolved_is_solved_by_newton(monkeypatch):
    design, codes, training, penalty = unscaled_folds()
    monkeypatch.setattr(_logistic_folds, "_MOST_ITERATIONS", 3)
    monkeypatch.setattr(_logistic_folds, "_NEAR", 1e-12)
    weights = minimise_folds(design, codes, 3, training, penalty)
    for fold, used in enumerate(training.T):
        gradient = slopes(design[used], codes[used], penalty, weights[:, fold])
        assert np.abs(gradient).max() <= 1e-7 * np.linalg.norm(design[used], axis=1).sum()


def test_a_fold_that_nothing_solves_is_told(monkeypatch):
    monkeypatch.setattr(_logistic_folds, "_MOST_ITERATIONS", 2)
    monkeypatch.setattr(_logistic_folds, "_NEAR", 1e-12)
    monkeypatch.setattr(
        _logistic_folds, "newton_weights", lambda *given: NewtonFit(given[-1], False)
    )
    with pytest.warns(ModtoolsWarning, match="MT005: 5 of 5 logistic folds did not converge"):
        minimise_folds(*unscaled_folds()[:2], 3, *unscaled_folds()[2:])


@pytest.mark.parametrize("start", [0.0, 50.0, np.nan])
def test_newton_finds_the_minimum_from_anywhere(start):
    design, codes, _, penalty = unscaled_folds()
    fitted = newton_weights(design, codes, penalty, np.full((7, 3), start) * np.arange(3))
    assert fitted.has_converged
    gradient = slopes(design, codes, penalty, fitted.weights)
    assert np.abs(gradient).max() <= 1e-7 * np.linalg.norm(design, axis=1).sum()


@pytest.mark.filterwarnings("ignore:The number of unique classes")
def test_columns_of_a_million_with_one_row_a_class_are_fitted_to_the_end():
    rows = random_set(190)[1]
    output = LogisticOutput(standardize=False).fit(rows, np.arange(len(rows)))
    np.testing.assert_array_equal(output.predict(rows), np.arange(len(rows)))


@pytest.mark.filterwarnings("ignore:MT001", "ignore:MT006")
@pytest.mark.parametrize("number", range(len(KINDS)))
@pytest.mark.parametrize("standardize", [True, False])
def test_every_output_module_gives_finite_numbers(number, standardize):
    _, features, codes = random_set(number)
    for output in (
        ClassMeanOutput(standardize=standardize),
        ClassMeanOutput(standardize=standardize, metric="cosine"),
        LogisticOutput(standardize=standardize, alpha=1.0),
        RidgeOutput(standardize=standardize),
        RidgeRegressionOutput(standardize=standardize),
    ):
        for given in (features, features.astype(np.float32), features[:, :1]):
            for others in [(), (given,)] if isinstance(output, ClassMeanOutput) else [()]:
                left_out = output.leave_one_out(given, codes, *others)
                assert np.isfinite(left_out).all()
                fitted = output.fit(given, codes, *others)
                values = getattr(fitted, "decision_values", output.predict)(given)
                assert np.isfinite(values).all()


def test_a_logistic_output_is_retrained_and_studied_on_them():
    codes = np.repeat([0, 1, 2], 6)
    features = np.eye(3, dtype=np.float32)[codes]
    task = Task(features, codes, name="one-hot")
    module = PretrainedModule(nn.Identity(), name="codes")
    model = retrain(module, task, output="logistic")
    np.testing.assert_array_equal(model.output.predict(features), codes)
    study = label_efficiency(
        {"codes": (features, features)},
        codes,
        codes,
        n_labels=[6, 12],
        repeats=2,
        outputs=["ridge", "logistic"],
        allow_overlap=True,
    )
    accuracies = study.frame().pivot(index="n_labels", columns="output", values="value")
    np.testing.assert_array_equal(accuracies["logistic"], accuracies["ridge"])
    noise = np.random.default_rng(0).normal(size=(18, 3))
    ranking = rank_modules({"noise": noise, "codes": features}, codes)
    assert ranking.best == "codes"
