"""Alpha of the logistic output module: against slow cross-validation, ties, no evidence."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from modtools.exceptions import ModtoolsError
from modtools.outputs import LogisticOutput
from modtools.outputs._folds import row_content, stratified_folds
from modtools.outputs._logistic_folds import LOGISTIC_ALPHAS, choose_logistic_alpha
from modtools.outputs._standardize import StandardizedRows
from modtools.transferability import logistic

pytestmark = pytest.mark.floating_point


def make_rows(n_samples, n_features, *, distance, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.arange(n_samples) % n_classes
    centres = distance * rng.normal(size=(n_classes, n_features))
    return rng.normal(size=(n_samples, n_features)) + centres[codes], codes


def held_out_losses(rows, codes):
    """Return what converged scikit-learn fits lose on the same folds, alpha by alpha."""
    content = row_content(StandardizedRows.of(rows))
    folds = stratified_folds(codes, 5, seed=0, content=content)
    losses = []
    for alpha in LOGISTIC_ALPHAS:
        probabilities = np.empty((len(codes), codes.max() + 1))
        for fold in range(5):
            used = folds != fold
            probe = LogisticRegression(C=1 / alpha, max_iter=5000).fit(rows[used], codes[used])
            probabilities[~used] = probe.predict_proba(rows[~used])
        losses.append(log_loss(codes, probabilities))
    return np.array(losses)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("distance", [0.1, 1.0])
def test_choice_loses_no_more_than_the_best_converged_fit(n_classes, distance):
    features, codes = make_rows(60, 8, distance=distance, n_classes=n_classes)
    rows = StandardizedRows.of(features)
    chosen = choose_logistic_alpha(rows, codes, n_classes)
    losses = held_out_losses(rows.dense(), codes)
    assert losses[chosen == LOGISTIC_ALPHAS][0] == pytest.approx(losses.min(), rel=0.01)


def test_noise_asks_for_a_strong_penalty_and_signal_for_a_weak_one():
    noise = LogisticOutput().fit(*make_rows(60, 40, distance=0.0))
    signal = LogisticOutput().fit(*make_rows(60, 5, distance=4.0))
    assert noise.alpha_ >= 100
    assert signal.alpha_ <= 0.1


def test_held_out_labels_are_those_at_the_chosen_alpha():
    X, y = make_rows(60, 8, distance=0.5)
    alpha = LogisticOutput().fit(X, y).alpha_
    np.testing.assert_array_equal(
        LogisticOutput().leave_one_out(X, y), LogisticOutput(alpha=alpha).leave_one_out(X, y)
    )


def test_one_label_a_class_is_no_evidence():
    X, y = make_rows(3, 8, distance=1.0)
    assert LogisticOutput().fit(X, y).alpha_ == 1.0


def test_a_lone_class_does_not_decide():
    X, y = make_rows(61, 5, distance=4.0)
    y[-1] = 3
    assert LogisticOutput().fit(X, y).alpha_ <= 1.0


def test_features_that_say_nothing_get_the_largest_alpha():
    model = LogisticOutput().fit(np.ones((30, 2)), np.arange(30) % 3)
    assert model.alpha_ == LOGISTIC_ALPHAS[-1]


def test_a_given_alpha_is_kept_and_the_score_keeps_its_own():
    X, y = make_rows(60, 8, distance=0.5)
    assert LogisticOutput(alpha=3).fit(X, y).alpha_ == 3.0
    at_one = LogisticOutput(alpha=1.0).leave_one_out(X, y)
    assert logistic(X, y) == pytest.approx(np.mean(at_one == y))


def test_a_bad_seed_is_refused_before_it_chooses():
    with pytest.raises(ModtoolsError, match="random_state must be a whole number"):
        LogisticOutput(random_state=-1).fit(*make_rows(30, 3, distance=1.0))
