"""The curve against a ridge output module refitted at every label count."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import Ridge

from modtools.exceptions import ModtoolsError
from modtools.outputs import RidgeOutput, _ridge_curve, _ridge_path
from modtools.outputs._folds import row_content
from modtools.outputs._ridge_path import KernelPath
from modtools.outputs._standardize import StandardizedRows
from modtools.retraining._learning_curve import learning_curve
from modtools.transferability import codelength
from tests.documents import facts

pytestmark = pytest.mark.floating_point


def make_rows(n_samples=60, n_features=5, n_classes=3, n_test=40, seed=0):
    rng = np.random.default_rng(seed)
    centres = 1.5 * rng.normal(size=(n_classes, n_features))
    labels = rng.integers(0, n_classes, n_samples + n_test)
    features = 3 + rng.normal(size=(len(labels), n_features)) + centres[labels]
    return features[:n_samples], labels[:n_samples], features[n_samples:], labels[n_samples:]


def refitted_decisions(features, labels, tests, alpha):
    """Return decision values (n_classes, n_tests) with -inf for unseen classes."""
    decisions = np.full((3, len(tests)), -np.inf)
    classes = np.unique(labels)
    if len(classes) == 1:
        decisions[classes[0]] = 1.0
        return decisions
    output = RidgeOutput(alpha=alpha, standardize=False).fit(features, labels)
    decisions[output.classes_] = output.decision_values(tests).T
    return decisions


@pytest.fixture(params=["every", "log"])
def form(request, monkeypatch):
    if request.param == "log":
        monkeypatch.setattr(_ridge_curve, "_MOST_EVERY_COUNT", 0)
    return request.param


@pytest.mark.parametrize("shape", [(70, 5), (45, 80)])
@pytest.mark.parametrize("alpha", [1e-3, 1.0, 100.0])
def test_decisions_are_those_of_refitting_at_every_count(monkeypatch, shape, alpha):
    monkeypatch.setattr(_ridge_path, "_MOST_TEST_ROWS", 16)  # several blocks of test examples
    features, labels, tests, _ = make_rows(*shape)
    rows = StandardizedRows.of(features)
    standard = StandardizedRows(tests, rows.mean, rows.scale)
    found = np.full((3, shape[0], len(tests)), np.nan)
    dense = rows.dense()
    path = KernelPath.of(dense @ dense.T, np.eye(3)[labels], alpha)
    for counts, place, decisions in path.decision_blocks(dense, standard):
        found[:, counts, place] = decisions
    for m in range(1, shape[0] + 1):
        expected = refitted_decisions(rows.dense()[:m], labels[:m], standard.dense(), alpha)
        known = np.unique(labels[:m])
        np.testing.assert_allclose(found[known, m - 1], expected[known], atol=1e-8)


def test_accuracy_and_log_loss_by_refitting(form):
    features, labels, tests, test_labels = make_rows()
    curve = learning_curve(features, labels, tests, test_labels, alpha=2.0)
    scaled, scaled_tests = ((part - curve.mean_) / curve.scale_ for part in (features, tests))
    assert (curve.n_labels[-1], len(curve.n_labels) == 60) == (60, form == "every")
    for m, accuracy, loss, temperature in zip(
        curve.n_labels, curve.accuracy, curve.log_loss, curve.temperature, strict=True
    ):
        decisions = refitted_decisions(scaled[:m], labels[:m], scaled_tests, 2.0)
        assert accuracy == np.mean(decisions.argmax(axis=0) == test_labels)
        right = softmax(decisions / temperature, axis=0)[test_labels, np.arange(40)]
        share = 1 / (m + 1)
        expected = -np.log((1 - share) * right + share / 3).mean()
        assert loss == pytest.approx(expected, abs=1e-7)


def test_temperature_and_code_length_by_refitting_one_step_ahead(form):
    features, labels, tests, test_labels = make_rows(n_samples=40)
    curve = learning_curve(features, labels, tests, test_labels, alpha=2.0)
    scaled = (features - curve.mean_) / curve.scale_
    grid = 10.0 ** (np.arange(-32, 17) / 16)
    losses = [np.full(len(grid), np.log2(3))]
    for m in range(1, 40):
        machine = Ridge(alpha=2.0).fit(scaled[:m], np.eye(3)[labels[:m]])
        decisions = machine.predict(scaled[m : m + 1])[0]
        decisions[~np.isin(np.arange(3), labels[:m])] = -np.inf
        right = np.array([softmax(decisions / t)[labels[m]] for t in grid])
        losses.append(-np.log2((1 - 1 / (m + 1)) * right + 1 / (m + 1) / 3))
    sums = np.cumsum(losses, axis=0)
    best = [grid[sums[m - 1].argmin()] if m >= 3 else 1.0 for m in range(1, 41)]
    np.testing.assert_allclose(curve.temperature, np.array(best)[curve.n_labels - 1])
    paid = [np.log2(3)] + [
        losses[m][np.searchsorted(grid, best[m - 1] * 0.999)] for m in range(1, 40)
    ]
    np.testing.assert_allclose(curve.codelength, np.cumsum(paid)[curve.n_labels - 1], atol=1e-8)


def test_both_forms_agree(monkeypatch):
    data = make_rows()
    every = learning_curve(*data)
    monkeypatch.setattr(_ridge_curve, "_MOST_EVERY_COUNT", 0)
    spaced = learning_curve(*data)
    at = spaced.n_labels - 1
    assert spaced.alpha == every.alpha
    for name in ("accuracy", "log_loss", "codelength", "temperature"):
        atol = 1e-7 if name == "log_loss" else 1e-9
        np.testing.assert_allclose(getattr(spaced, name), getattr(every, name)[at], atol=atol)


def test_code_length_is_minus_the_score_in_its_orders():
    features, labels, tests, test_labels = make_rows()
    totals, in_place = [], row_content(StandardizedRows.of(features)).order(labels)
    for order in range(5):
        rows = in_place[np.random.default_rng([0, order]).permutation(60)]
        curve = learning_curve(features[rows], labels[rows], tests, test_labels)
        totals.append(curve.codelength[-1] / 60)
    assert -np.mean(totals) == pytest.approx(codelength(features, labels), abs=1e-9)


def test_a_seed_permutes_the_rows(form):
    features, labels, tests, test_labels = make_rows()
    rows = np.random.default_rng(5).permutation(60)
    found = learning_curve(features, labels, tests, test_labels, alpha=1.0, seed=5)
    expected = learning_curve(features[rows], labels[rows], tests, test_labels, alpha=1.0)
    np.testing.assert_allclose(found.log_loss, expected.log_loss, atol=1e-12)


def test_float32_is_close_and_measures_its_error():
    data = make_rows()
    single = learning_curve(*data, alpha=1.0, dtype=np.float32)
    double = learning_curve(*data, alpha=1.0)
    assert 0 < single.decision_error < 1e-4
    assert double.decision_error == 0
    np.testing.assert_allclose(single.log_loss, double.log_loss, atol=1e-4)


def test_the_scaling_comes_from_the_pool_and_never_from_test_rows():
    features, labels, tests, test_labels = make_rows()
    others = 2 * np.random.default_rng(1).normal(size=(30, 5))
    curve = learning_curve(features, labels, tests, test_labels, unlabelled=others)
    np.testing.assert_allclose(curve.mean_, others.mean(axis=0))
    np.testing.assert_allclose(curve.scale_, others.std(axis=0))
    moved = learning_curve(features, labels, tests + 100, test_labels)
    np.testing.assert_allclose(moved.mean_, features.mean(axis=0))


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_the_unit_of_the_features_changes_nothing(unit):
    features, labels, tests, test_labels = make_rows()
    found = learning_curve(unit * features, labels, unit * tests, test_labels)
    expected = learning_curve(features, labels, tests, test_labels)
    np.testing.assert_allclose(found.log_loss, expected.log_loss, atol=1e-7)


def test_a_class_without_a_label_is_an_error_at_a_finite_price():
    features, labels, tests, test_labels = make_rows()
    known = labels < 2
    curve = learning_curve(features[known], labels[known], tests, test_labels)
    assert np.isfinite(curve.log_loss).all()
    assert curve.accuracy.max() <= np.mean(test_labels < 2)


def test_frame_and_table():
    curve = learning_curve(*make_rows())
    table = curve.frame()
    assert table["n_labels"].tolist() == list(range(1, 61))
    assert (table["value_low"] <= table["value"]).all()
    assert (table["value"] <= table["value_high"]).all()
    assert repr(curve).startswith("Learning curve to 60 labels, 3 classes, 40 test examples, ridge")
    assert len(repr(curve).splitlines()) <= 22
    assert "<table>" in curve._repr_html_()
    content = facts(curve.to_json())
    assert content["kind"] == "learning_curve"
    assert content["extra"] == {}
    assert [row["value"] for row in content["rows"]] == curve.accuracy.tolist()
    assert curve.to_csv().count("\n") == 61


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(60, int)}, "labels must hold at least two classes"),
        ({"labels": np.zeros(60)}, "defined for classification labels; these are regression"),
        ({"test_labels": ["a"] * 40}, "must be of one type"),
        ({"test_features": np.ones((40, 4))}, "test_features must have the 5 columns"),
        ({"unlabelled": np.ones((4, 6))}, "unlabelled must have the 5 columns"),
        ({"features": np.ones((60, 5))}, "every column is constant"),
        ({"features": np.full((60, 5), np.nan)}, "features must be finite: 300 NaN"),
        ({"labels": [0, 1]}, "features has 60, labels has 2"),
        ({"alpha": 0}, "alpha must be a finite number above 0"),
        ({"dtype": "int8"}, "dtype must be float64 or float32; got 'int8'"),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_bad_input_is_one_clear_error(change, message):
    names = ("features", "labels", "test_features", "test_labels")
    arguments = dict(zip(names, make_rows(), strict=True)) | change
    data = [arguments.pop(name) for name in names]
    with pytest.raises(ModtoolsError, match=message):
        learning_curve(*data, **arguments)


def test_nothing_given_is_changed():
    data = make_rows()
    before = [part.copy() for part in data]
    learning_curve(*data, seed=1)
    for part, kept in zip(data, before, strict=True):
        np.testing.assert_array_equal(part, kept)


def test_a_test_row_that_is_labelled_is_refused_unless_allowed():
    features, labels, tests, test_labels = make_rows()
    tests[[3, 8]] = features[[0, 59]]
    with pytest.raises(
        ModtoolsError, match="2 of 40 examples in test_features equal examples in features"
    ):
        learning_curve(features, labels, tests, test_labels)
    learning_curve(features, labels, tests, test_labels, allow_overlap=True)


def test_the_first_of_equal_decisions_wins():
    decisions = np.array([[1.0, 0.0, 2.0], [1.0, 3.0, 2.0], [1.0, 3.0, 2.0]])
    for own in np.ndindex(3, 3, 3):
        codes, best = np.array(own), decisions.max(axis=0)
        is_right = decisions[codes, np.arange(3)] == best
        _ridge_curve._lose_ties(is_right, decisions, best, codes)
        np.testing.assert_array_equal(is_right, decisions.argmax(axis=0) == codes)
