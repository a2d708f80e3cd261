"""Scores at the limits: classes without spread, far classes, and sizes that leave float64."""

import numpy as np
import pytest

from modtools import Moments
from modtools.exceptions import ModtoolsError
from modtools.transferability import knn, lda, logme, regularized_hscore, score, sfda, transrate

pytestmark = pytest.mark.floating_point

LABELS = np.arange(60) % 3


def make_rows(n_features=5, gap=1.5):
    rng = np.random.default_rng(0)
    centres = gap * rng.normal(size=(3, n_features))
    return rng.normal(size=(60, n_features)) + centres[LABELS]


@pytest.mark.parametrize("scale", [6e-10, 1.0, 1e12])
@pytest.mark.parametrize("name", ["lda", "sfda", "class_mean", "knn", "logistic"])
def test_classes_without_any_spread_are_told_apart(name, scale):
    one_column = scale * LABELS[:, None].astype(float)
    assert score(one_column, LABELS, [name])[name] == pytest.approx(1.0, abs=1e-6)
    one_hot = scale * np.eye(3)[LABELS]
    assert score(one_hot, LABELS, [name])[name] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("gap", [1e4, 1e6, 1e8, 1e12])
@pytest.mark.parametrize("n_features", [5, 50, 70])
def test_far_classes_with_a_constant_column_stay_finite(gap, n_features):
    features = make_rows(n_features, gap)
    features[:, 1] = 2.0
    values = score(features, LABELS, ["sfda", "lda", "transrate"])
    assert values["sfda"] == pytest.approx(1.0, abs=1e-3)
    assert values["lda"] == 1.0


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e8, 1e12])
def test_transrate_of_large_features_ignores_a_repeated_column(scale):
    """A column twice is the column times sqrt(2); rounding in the empty direction adds nothing."""
    features = scale * make_rows()
    repeated = np.column_stack([features, features[:, 0]])
    joined = np.column_stack([features[:, 1:], np.sqrt(2) * features[:, 0]])
    assert transrate(repeated, LABELS) == pytest.approx(transrate(joined, LABELS), abs=1e-4)


@pytest.mark.parametrize("function", [logme, regularized_hscore, knn, lda])
def test_features_beyond_float64_products_are_refused(function):
    with pytest.raises(ModtoolsError, match=r"features must lie within 1e\+70 of 0"):
        function(make_rows() * 1e150, LABELS)


def test_score_refuses_features_whose_squares_vanish_or_overflow():
    with pytest.raises(ModtoolsError, match="features are too small"):
        score(make_rows() * 1e-200, LABELS)
    with pytest.raises(ModtoolsError, match="features must lie within"):
        score(make_rows() * 1e300, LABELS)


@pytest.mark.parametrize("scale", [1e-70, 1e60])
def test_scores_of_extreme_but_legal_sizes_are_unchanged(scale):
    names = ["hscore", "regularized_hscore", "logme", "lda", "knn"]
    expected, found = score(make_rows(), LABELS, names), score(make_rows() * scale, LABELS, names)
    assert found == pytest.approx(expected, rel=1e-6)


def test_regression_targets_of_extreme_size_are_refused():
    targets = make_rows()[:, 0]
    with pytest.raises(ModtoolsError, match="labels must lie within"):
        logme(make_rows(), targets * 1e200)
    with pytest.raises(ModtoolsError, match="labels must vary"):
        logme(make_rows(), targets * 1e-200)


@pytest.mark.filterwarnings("ignore::modtools.exceptions.ModtoolsWarning")
def test_moments_of_few_rows_skip_what_needs_more():
    scores = Moments.from_features(make_rows(2)[:3], [0, 1, 1]).score()
    assert "at least 4 examples" in scores.skipped["hsic"]
    assert "logme" in scores


@pytest.mark.parametrize("name", ["hscore", "knn", "sfda"])
def test_ragged_and_masked_features_are_refused(name):
    with pytest.raises(ModtoolsError, match="features must have rows of one length"):
        score([[1.0, 2.0], [3.0]], [0, 1], [name])
    with pytest.raises(ModtoolsError, match="features must not have masked entries"):
        score(np.ma.masked_greater(make_rows(), 2), LABELS, [name])


def test_labels_that_are_masked_or_none_are_refused():
    with pytest.raises(ModtoolsError, match="labels must not have masked entries"):
        score(make_rows(), np.ma.masked_equal(LABELS, 1))
    with pytest.raises(ModtoolsError, match="labels must have shape"):
        score(make_rows(), None)


def test_an_unmasked_masked_array_is_an_array():
    found = score(np.ma.masked_array(make_rows()), LABELS, ["logme"])
    expected = score(make_rows(), LABELS, ["logme"])
    assert dict(found) == pytest.approx(dict(expected), rel=1e-12)


def test_sfda_of_features_without_variation_is_the_class_frequency():
    assert sfda(np.zeros((60, 4)), LABELS) == pytest.approx(1 / 3)
