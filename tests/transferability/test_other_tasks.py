"""Row-wise scores on tasks that come with scikit-learn, against its own leave-one-out."""

import numpy as np
import pytest
from sklearn import datasets
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import LeaveOneOut, PredefinedSplit, cross_val_predict, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestCentroid

from modtools.outputs._folds import row_content, stratified_folds
from modtools.outputs._standardize import StandardizedRows
from modtools.transferability import class_mean, codelength, knn, lda, logistic, parc, ridge
from tests.transferability import row_definitions

pytestmark = pytest.mark.floating_point

LARGER = pytest.mark.parametrize("rows", ["iris", "wine", "breast_cancer"], indirect=True)


@pytest.fixture(params=["iris", "wine"])
def rows(request):
    features, labels = getattr(datasets, f"load_{request.param}")(return_X_y=True)
    return features, labels, row_definitions.standardized(features)


def left_out_accuracy(classifier, rows):
    _, labels, standard = rows
    return cross_val_score(classifier, standard, labels, cv=LeaveOneOut()).mean()


@pytest.mark.parametrize("k", [1, 5])
def test_knn(rows, k):
    features, labels, _ = rows
    expected = left_out_accuracy(KNeighborsClassifier(k, algorithm="brute"), rows)
    # Both are exact; copies and even votes may be ordered otherwise.
    assert knn(features, labels, k=k) == pytest.approx(expected, abs=0.006)


def test_class_mean(rows):
    features, labels, _ = rows
    assert class_mean(features, labels) == pytest.approx(left_out_accuracy(NearestCentroid(), rows))


def test_lda(rows):
    features, labels, _ = rows
    expected = left_out_accuracy(LinearDiscriminantAnalysis(), rows)
    assert lda(features, labels, alpha=1e-9) == pytest.approx(expected, abs=1e-12)


def test_ridge(rows):
    features, labels, standard = rows
    targets = np.eye(labels.max() + 1)[labels]
    decisions = cross_val_predict(Ridge(alpha=2.0), standard, targets, cv=LeaveOneOut())
    expected = np.mean(decisions.argmax(axis=1) == labels)
    assert ridge(features, labels, alpha=2.0) == pytest.approx(expected)


@LARGER
def test_logistic(rows):
    features, labels, standard = rows
    content = row_content(StandardizedRows.of(features))
    folds = PredefinedSplit(stratified_folds(labels, 5, seed=0, content=content))
    probe = LogisticRegression(max_iter=5000)
    right = cross_val_predict(probe, standard, labels, cv=folds) == labels
    assert logistic(features, labels) == pytest.approx(right.mean(), abs=0.006)


@LARGER
def test_codelength_is_far_below_uniform(rows):
    features, labels, _ = rows
    assert -0.5 * np.log2(labels.max() + 1) < codelength(features, labels) < 0


@LARGER
def test_parc(rows):
    features, labels, _ = rows
    assert parc(features, labels) == pytest.approx(row_definitions.parc(features, labels), abs=1e-6)


def test_real_targets():
    features, targets = datasets.load_diabetes(return_X_y=True)
    standard = row_definitions.standardized(features)
    means = (targets.sum() - targets) / (len(targets) - 1)

    def explained(model):
        predicted = cross_val_predict(model, standard, targets, cv=LeaveOneOut())
        return 1 - np.square(targets - predicted).sum() / np.square(targets - means).sum()

    assert ridge(features, targets, alpha=5.0) == pytest.approx(explained(Ridge(alpha=5.0)))
    expected = explained(KNeighborsRegressor(7, algorithm="brute"))
    assert knn(features, targets, k=7) == pytest.approx(expected)
