"""`score` and the registry: what runs, what is left out and why, and bad input."""

import numpy as np
import pytest

from modtools import ModtoolsError, Moments
from modtools.transferability import SCORES, Estimate, Score, score

pytestmark = pytest.mark.floating_point

NAMES = [
    "nce",
    "leep",
    "hscore",
    "regularized_hscore",
    "logme",
    "transrate",
    "gbc",
    "sfda",
    "lfc",
    "parc",
    "alignment",
    "upper_triangle_alignment",
    "centered_alignment",
    "nmse",
    "raw",
    "hsic",
    "nhsic",
    "knn",
    "class_mean",
    "lda",
    "ridge",
    "logistic",
    "linear_probe",
    "half_split",
    "codelength",
]
RNG = np.random.default_rng(0)
LABELS = np.repeat([3, 7, 9], 20)
FEATURES = RNG.normal(size=(60, 4)) + 0.7 * np.eye(3, 4)[LABELS // 3 - 1]
PROBABILITIES = RNG.dirichlet(np.ones(5), size=60)


def test_the_registry_holds_exactly_the_documented_scores_in_order():
    assert list(SCORES) == NAMES
    relu = [name for name, entry in SCORES.items() if entry.feature_map == "relu_normalised"]
    assert sorted(relu) == ["alignment", "nmse", "raw", "upper_triangle_alignment"]
    for entry in SCORES.values():
        assert entry.range
        assert entry.reference
        assert entry.kinds


def test_everything_that_applies_runs_and_the_rest_says_why():
    result = score(FEATURES, LABELS)
    assert set(result) == set(NAMES) - {"nce", "leep"}
    assert list(result) == [name for name in NAMES if name in result]
    assert set(result.skipped) == {"nce", "leep"}
    assert "it needs source_probabilities" in result.skipped["leep"]
    assert set(result.seconds) == set(result)
    assert {"knn", "ridge", "logistic"} <= set(result.standard_errors)
    assert all(type(value) is float and np.isfinite(value) for value in result.values())
    assert set(score(FEATURES, LABELS, source_probabilities=PROBABILITIES)) == set(NAMES)


def test_other_kinds_of_labels_run_what_is_defined_for_them():
    regression = score(FEATURES, FEATURES[:, 0] + 0.5)
    assert {"logme", "ridge", "knn", "centered_alignment", "hsic", "nhsic"} == set(regression)
    assert "not regression" in regression.skipped["hscore"]
    many = score(FEATURES, (FEATURES[:, :2] > 0.4).astype(int))
    assert {"logme", "alignment", "centered_alignment", "hsic", "nhsic", "parc"} == set(many)


def test_the_same_seed_gives_the_same_scores_and_touches_no_global_seed():
    np.random.seed(1)  # noqa: NPY002 - the global state is what is under test
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    expected = dict(score(FEATURES, LABELS, seed=3))
    assert dict(score(FEATURES, LABELS, seed=3)) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_inputs_are_not_changed():
    features, labels, probabilities = FEATURES.copy(), LABELS.copy(), PROBABILITIES.copy()
    for array in (features, labels, probabilities):
        array.flags.writeable = False
    score(features, labels, source_probabilities=probabilities)


BAD = [
    ({"scores": ["log_me"]}, 'unknown score "log_me"; did you mean "logme"? modtools score --list'),
    ({"scores": ["leep"]}, 'score "leep" does not apply: it needs source_probabilities'),
    ({"features": FEATURES[:, 0]}, "features must have shape (n_samples, n_features); got (60,)"),
    ({"features": FEATURES[None]}, "got (1, 60, 4)"),
    ({"features": FEATURES[:0], "labels": []}, "features must have at least 2 rows and 1 column"),
    ({"labels": LABELS[:-1]}, "features has 60, labels has 59"),
    ({"labels": np.zeros(60, int)}, "labels must hold at least two classes; all 60 examples are 0"),
    (
        {"labels": [None, *["a"] * 59]},
        "labels must not be missing or infinite: 1 such, first at example 0",
    ),
    ({"source_probabilities": PROBABILITIES * 3}, "If these are logits, apply a softmax first"),
    (
        {"source_probabilities": np.log(PROBABILITIES)},
        "must be non-negative with rows that sum to 1",
    ),
    ({"source_probabilities": PROBABILITIES[:9]}, "source_probabilities has 9, labels has 60"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_gets_one_clear_error(change, message):
    options = {"features": FEATURES, "labels": LABELS, "scores": None} | change
    features, labels = options.pop("features"), options.pop("labels")
    with pytest.raises(ModtoolsError) as caught:
        score(features, labels, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize("names", [None, ["hscore"], ["knn"], ["alignment"]])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("n", [60, 3])
def test_entries_that_are_not_finite_are_located(names, value, n):
    features = np.tile(FEATURES[:, :], (1, 1))[:n].copy()
    features[2, 1] = value
    labels = LABELS if n == 60 else [0, 1, 1]
    with pytest.raises(ModtoolsError, match=r"in 1 row, first at row 2, column 1"):
        score(features, labels, names)


def test_a_score_of_ones_own_joins_and_leaves_the_registry():
    SCORES.register(
        Score("spread", "moments", lambda summary: summary.trace / summary.n, "[0, inf)", "own")
    )
    try:
        expected = FEATURES.var(axis=0).sum()
        assert score(FEATURES, LABELS, "spread")["spread"] == pytest.approx(expected)
        with pytest.raises(ModtoolsError, match='score "spread" is registered already'):
            SCORES.register(SCORES["spread"])
    finally:
        SCORES.unregister("spread")
    assert "spread" not in SCORES


def test_a_score_that_is_not_finite_never_comes_out():
    SCORES.register(Score("broken", "features", lambda x, y, s: Estimate(np.nan), "none", "own"))
    try:
        with pytest.raises(ModtoolsError, match="broken came out as nan; a score must be finite"):
            score(FEATURES, LABELS, ["broken"])
    finally:
        SCORES.unregister("broken")


def test_moments_refuse_what_needs_more_than_moments():
    moments = Moments.from_features(FEATURES, LABELS)
    for name, message in {
        "knn": "it needs features; use score",
        "transrate": "class_second_moments=True",
        "leep": "it needs source probabilities",
        "h_score": 'did you mean "hscore"',
    }.items():
        with pytest.raises(ModtoolsError, match=message):
            moments.score([name])
    skipped = moments.score().skipped
    assert "its feature map is relu_normalised" in skipped["alignment"]
    one = Moments.from_features(FEATURES[:20], LABELS[:20])
    with pytest.raises(ModtoolsError, match="fewer than two classes"):
        one.score(["hscore"])
