"""What every row-wise score keeps to: invariances, edge cases, bad input, the registry."""

import warnings

import numpy as np
import pytest

import modtools.transferability as transferability
from modtools.exceptions import ModtoolsError, ModtoolsWarning
from modtools.tasks._labels import Labels, encode_labels
from modtools.transferability import SCORES, _accuracies, score

pytestmark = pytest.mark.floating_point

ACCURACIES = ["knn", "class_mean", "lda", "ridge", "logistic", "linear_probe"]
ALL = [*ACCURACIES, "half_split", "codelength", "parc"]


@pytest.fixture(autouse=True)
def _quick_probe(monkeypatch):
    """Choose among two alphas, not five: what is tested here is not the choice."""
    monkeypatch.setattr(_accuracies, "_INVERSE_ALPHAS", (0.01, 1.0))


def make_rows(n_samples=60, n_features=6, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n_samples)
    centres = rng.normal(size=(3, n_features))
    return rng.normal(size=(n_samples, n_features)) + centres[labels] + 1, labels


def compute(name, features, labels, **options):
    return getattr(transferability, name)(features, labels, **options)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("names", [[7, -9, 3], ["dog", "cat", "eel"]])
def test_names_of_the_classes_change_nothing(name, names):
    features, labels = make_rows()
    renamed = compute(name, features, np.array(names)[labels])
    assert renamed == pytest.approx(compute(name, features, labels), rel=1e-10)


@pytest.mark.parametrize("name", ALL)
def test_order_of_the_rows_changes_nothing(name):
    features, labels = make_rows()
    order = np.random.default_rng(1).permutation(len(labels))
    shuffled = compute(name, features[order], labels[order])
    assert shuffled == pytest.approx(compute(name, features, labels), rel=1e-10)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("factor", [6e-10, 1e9])
def test_size_of_the_features_changes_nothing(name, factor):
    features, labels = make_rows()
    scaled = compute(name, features * factor, labels)
    assert scaled == pytest.approx(compute(name, features, labels), rel=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_an_offset_changes_nothing(name):
    features, labels = make_rows()
    moved = compute(name, features + 1e6, labels)
    assert moved == pytest.approx(compute(name, features, labels), rel=1e-6)


@pytest.mark.parametrize("name", [name for name in ALL if name != "parc"])
def test_constant_columns_change_nothing(name):
    """For parc a constant column takes part in the correlation of rows."""
    features, labels = make_rows()
    wider = np.column_stack([np.full(60, 5.0), features, np.zeros(60)])
    assert compute(name, wider, labels) == pytest.approx(compute(name, features, labels), rel=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_more_columns_than_rows(name):
    features, labels = make_rows(30, 100)
    value = compute(name, features, labels)
    chance = {"codelength": -np.log2(3), "half_split": -np.log(3), "parc": 0.0}.get(name, 0.4)
    assert chance < value <= (1 if name in ACCURACIES else 100)


@pytest.mark.parametrize("name", ACCURACIES)
def test_two_rows_of_two_classes_are_both_wrong(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModtoolsWarning)
        assert compute(name, [[0.0], [1.0]], [0, 1]) == 0.0


@pytest.mark.parametrize("name", ALL)
def test_a_class_with_one_row(name):
    features, labels = make_rows()
    labels[0] = 8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = compute(name, features, labels)
    assert np.isfinite(value)
    if name in ACCURACIES:
        assert value <= 59 / 60


@pytest.mark.parametrize("name", ALL)
def test_half_precision_is_close(name):
    features, labels = make_rows()
    value = compute(name, features.astype(np.float16), labels)
    assert value == pytest.approx(compute(name, features, labels), rel=0.05)


@pytest.mark.parametrize("name", ALL)
def test_integer_features_count_as_numbers(name):
    features, labels = make_rows()
    whole = np.round(100 * features).astype(int)
    assert compute(name, whole, labels) == pytest.approx(compute(name, whole * 1.0, labels))


@pytest.mark.parametrize("name", ALL)
def test_inputs_are_not_changed(name):
    features, labels = make_rows()
    before = features.copy(), labels.copy()
    compute(name, features, labels)
    np.testing.assert_array_equal(features, before[0])
    np.testing.assert_array_equal(labels, before[1])


@pytest.mark.parametrize("name", ALL)
def test_global_seed_is_not_touched(name):
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - the state others may rely on
    compute(name, *make_rows())
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.mark.parametrize("name", ALL)
def test_classes_without_rows_change_nothing(name):
    features, labels = make_rows()
    with_absent = encode_labels(labels, classes=[-1, 0, 1, 2, 5])
    value = SCORES[name].compute(features, with_absent, 0)
    expected = SCORES[name].compute(features, encode_labels(labels), 0)
    assert value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_score_returns_the_same_value_and_its_standard_error(name):
    features, labels = make_rows()
    result = score(features, labels, [name])
    assert result[name] == pytest.approx(compute(name, features, labels), rel=1e-12)
    assert (name in result.standard_errors) == (name != "parc")


@pytest.mark.parametrize("name", ["knn", "class_mean", "ridge", "logistic", "linear_probe"])
def test_copies_in_one_group_do_not_help(name):
    rng = np.random.default_rng(0)
    noise, labels = rng.normal(size=(60, 40)), rng.integers(0, 2, 60)
    copies, twice = np.vstack([noise, noise]), np.tile(labels, 2)
    groups = [f"image {i}" for i in np.tile(np.arange(60), 2)]
    kept_together = compute(name, copies, twice, groups=groups)
    assert kept_together < compute(name, copies, twice) - 0.1
    assert kept_together == pytest.approx(compute(name, noise, labels), abs=0.12)


@pytest.mark.parametrize("name", ALL)
def test_informative_features_score_higher_than_noise(name):
    features, labels = make_rows(150)
    noise = np.random.default_rng(5).normal(size=features.shape)
    assert compute(name, features, labels) > compute(name, noise, labels)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("break_rows", "message"),
    [
        (lambda x, y: (np.where(x == x[3, 1], np.nan, x), y), "1 NaN in 1 row, first at row 3"),
        (lambda x, y: (np.where(x == x[3, 1], np.inf, x), y), "1 infinite in 1 row"),
        (lambda x, y: (x, y[:-1]), "features has 60, labels has 59"),
        (lambda x, y: (x[:, 0], y), "must have shape"),
        (lambda x, y: (x[:0], y[:0]), "at least 2 rows"),
        (lambda x, y: (x, np.zeros(60, dtype=int)), "at least two classes"),
        (lambda x, y: (x, np.where(y == 0, np.nan, y)), "labels must not be missing"),
    ],
    ids=["nan", "inf", "lengths", "one-dimensional", "empty", "one class", "missing labels"],
)
def test_bad_input_is_refused(name, break_rows, message):
    with pytest.raises(ModtoolsError, match=message):
        compute(name, *break_rows(*make_rows()))


@pytest.mark.parametrize("name", [name for name in ALL if name not in {"ridge", "knn"}])
def test_real_targets_are_refused(name):
    features, _ = make_rows()
    with pytest.raises(ModtoolsError, match=f"{name} is defined for classification"):
        compute(name, features, features[:, 0])


@pytest.mark.parametrize("name", ["ridge", "knn"])
def test_real_targets_give_at_most_one(name):
    features, _ = make_rows()
    assert 0 < compute(name, features, features[:, 0]) <= 1
    constant = Labels("regression", np.arange(1), targets=np.ones((60, 1)))
    with pytest.raises(ModtoolsError, match="every column is constant"):
        compute(name, features, constant)
