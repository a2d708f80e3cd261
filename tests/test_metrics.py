"""Metrics of decision values: against scikit-learn and SciPy, their limits, and users' own."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from modtools import ModtoolsError
from modtools._metrics import METRICS, check_accuracy, check_metric

pytestmark = pytest.mark.floating_point


@pytest.fixture(params=[2, 5])
def classes(request):
    rng = np.random.default_rng(request.param)
    codes = rng.integers(0, request.param, 70)
    return codes, rng.normal(size=(70, request.param)) + 2 * np.eye(request.param)[codes]


def one_against_rest(score, codes, decisions):
    return np.mean([score(codes == c, decisions[:, c]) for c in np.unique(codes)])


def expected_of_classes(codes, decisions):
    predicted = decisions.argmax(1)
    probability = np.exp(decisions) / np.exp(decisions).sum(1, keepdims=True)
    return {
        "accuracy": reference.accuracy_score(codes, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(codes, predicted),
        "f1_macro": reference.f1_score(codes, predicted, average="macro"),
        "f1_micro": reference.f1_score(codes, predicted, average="micro"),
        "roc_auc": one_against_rest(reference.roc_auc_score, codes, decisions),
        "average_precision": one_against_rest(reference.average_precision_score, codes, decisions),
        "log_loss": reference.log_loss(codes, probability),
    }


def test_metrics_of_classes_are_those_of_scikit_learn(classes):
    expected = expected_of_classes(*classes)
    assert set(expected) == {n for n, m in METRICS.items() if "classification" in m.kinds}
    for name, value in expected.items():
        found = check_metric(name, kind="classification")(*classes)
        assert found == pytest.approx(value, rel=1e-12)


def test_metrics_of_several_labels_average_over_labels():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (60, 3))
    decisions = rng.normal(size=(60, 3)) + labels
    expected = {
        "accuracy": np.mean((decisions > 0) == labels),
        "f1_macro": reference.f1_score(labels, decisions > 0, average="macro"),
        "f1_micro": reference.f1_score(labels, decisions > 0, average="micro"),
        "roc_auc": reference.roc_auc_score(labels, decisions, average="macro"),
        "average_precision": reference.average_precision_score(labels, decisions),
    }
    assert set(expected) == {n for n, m in METRICS.items() if "multilabel" in m.kinds}
    for name, value in expected.items():
        found = check_metric(name, kind="multilabel")(labels, decisions)
        assert found == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("n_targets", [1, 3])
def test_metrics_of_numbers_average_over_targets(n_targets):
    rng = np.random.default_rng(1)
    targets = rng.normal(size=(50, n_targets))
    predicted = targets + rng.normal(size=targets.shape)
    rank = np.mean([stats.spearmanr(targets[:, t], predicted[:, t])[0] for t in range(n_targets)])
    expected = {
        "r2": reference.r2_score(targets, predicted),
        "spearman": rank,
        "mean_absolute_error": reference.mean_absolute_error(targets, predicted),
        "root_mean_squared_error": reference.root_mean_squared_error(targets, predicted),
    }
    assert set(expected) == {n for n, m in METRICS.items() if "regression" in m.kinds}
    for name, value in expected.items():
        metric = check_metric(name, kind="regression")
        given = targets[:, 0] if n_targets == 1 else targets
        assert metric(given, predicted) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_the_order_of_the_examples_is_no_matter(name):
    rng = np.random.default_rng(2)
    kind = sorted(METRICS[name].kinds)[0]
    labels = rng.normal(size=40) if kind == "regression" else rng.integers(0, 3, 40)
    decisions = rng.normal(size=(40, 1 if kind == "regression" else 3))
    order = rng.permutation(40)
    metric = check_metric(name, kind=kind)
    found = metric(labels[order], decisions[order])
    assert found == pytest.approx(metric(labels, decisions), rel=1e-12)


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "f1_macro", "roc_auc"])
def test_perfect_decisions_reach_one_and_classes_may_be_absent(name):
    codes = np.array([0, 0, 2, 2, 2])  # class 1 does not occur
    assert check_metric(name, kind="classification")(codes, np.eye(3)[codes]) == 1.0


def test_what_is_not_defined_is_refused():
    one_class = np.zeros(4, dtype=int)
    for name in ("roc_auc", "average_precision"):
        with pytest.raises(ModtoolsError, match=f"{name} needs examples of two classes; all 4"):
            check_metric(name, kind="classification")(one_class, np.eye(2)[one_class])
    for name in ("r2", "spearman"):
        with pytest.raises(ModtoolsError, match=f"{name} needs targets that vary"):
            check_metric(name, kind="regression")(np.ones(4), np.arange(4.0))
    assert check_metric("spearman", kind="regression")(np.arange(4.0), np.ones(4)) == 0.0
    with pytest.raises(ModtoolsError, match="metric r2 is defined for regression labels, not cla"):
        check_metric("r2", kind="classification")
    with pytest.raises(ModtoolsError, match='unknown metric "acuracy"; did you mean "accuracy"'):
        check_metric("acuracy", kind="classification")


@pytest.mark.parametrize("name", METRICS)
def test_decisions_that_are_no_numbers_or_of_another_length_are_refused(name):
    kind = sorted(METRICS[name].kinds)[0]
    labels = np.arange(6.0) if kind == "regression" else np.arange(6) % 2
    decisions = np.arange(12.0).reshape(6, 2)
    metric = check_metric(name, kind=kind)
    with pytest.raises(ModtoolsError, match="labels has 6, decisions has 4"):
        metric(labels, decisions[:4])
    with pytest.raises(ModtoolsError, match=rf"^metric {name} needs .* shape \(0, 2\) with 0 NaN"):
        metric(labels[:0], decisions[:0])
    decisions[1, 1] = np.nan
    with pytest.raises(ModtoolsError, match=rf"^metric {name} needs .* shape \(6, 2\) with 1 NaN"):
        metric(labels, decisions)


def test_a_function_of_the_user_is_a_metric():
    def first_class_recall(labels, decisions):
        return float(np.mean(decisions[labels == 0].argmax(1) == 0))

    metric = check_metric(first_class_recall, kind="classification")
    assert metric.name == "first_class_recall"
    assert metric(np.array([0, 0, 1]), np.eye(2)[[0, 1, 1]]) == 0.5
    with pytest.raises(ModtoolsError, match="metric <lambda> must return a finite number; got nan"):
        check_metric(lambda _labels, _decisions: np.nan, kind="classification")([0], [[1.0]])


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
def test_where_accuracy_is_alone_other_metrics_are_refused_in_one_line(kind):
    check_accuracy("accuracy", kind=kind, where="here")
    others = [name for name, metric in METRICS.items() if kind in metric.kinds]
    for metric in {*others, np.mean} - {"accuracy"}:
        with pytest.raises(ModtoolsError, match="is not available in here: only accuracy is, for"):
            check_accuracy(metric, kind=kind, where="here")
    with pytest.raises(
        ModtoolsError, match=r'unknown metric "acc".* Known: accuracy, balanced_acc'
    ):
        check_accuracy("acc", kind=kind, where="here")
    with pytest.raises(ModtoolsError, match='unknown metric "None"'):
        check_accuracy(None, kind=kind, where="here")
