"""`register_score`: a score of one's own has the rights of the built-in ones."""

import inspect

import numpy as np
import pytest

from modtools import ModtoolsError, ModtoolsWarning, rank_modules
from modtools.testing import check_score
from modtools.transferability import (
    SCORES,
    Estimate,
    Moments,
    hscore,
    knn,
    logistic,
    nce,
    raw,
    register_score,
    score,
)

pytestmark = pytest.mark.floating_point

FACTS = {"range": "any", "reference": "own"}


@pytest.fixture(autouse=True)
def _registry_as_before():
    before = list(SCORES)
    yield
    for name in set(SCORES) - set(before):
        SCORES.unregister(name)


def example(n_samples=60, n_features=4):
    rng = np.random.default_rng(0)
    labels = np.arange(n_samples) % 3
    return rng.normal(size=(n_samples, n_features)) + np.eye(3, n_features)[labels], labels


def between(summary, *, power=1.0):
    """Share of the variance between the classes."""
    means = summary.offsets / summary.counts[:, None]
    return float((means * summary.offsets).sum() / max(summary.trace, 1e-300)) ** power


def test_one_function_makes_the_entry_and_the_checked_public_function():
    public = register_score(needs="moments", **FACTS)(between)
    features, labels = example()
    value = public(features, labels)
    assert 0 < value < 1
    assert public(features=features, labels=labels, power=2) == pytest.approx(value**2)
    assert score(features, labels, ["between"])["between"] == pytest.approx(value)
    assert Moments.from_features(features, labels).score(["between"])["between"] == value
    assert Moments.from_features(features, labels).score()["between"] == value
    assert rank_modules({"a": features}, labels, by="between").best == "a"
    check_score("between")


def test_the_public_function_checks_as_the_built_in_ones_do():
    public = register_score(needs="moments", **FACTS)(between)
    features, labels = example()
    with pytest.raises(ModtoolsError, match="features must be finite"):
        public(np.full((60, 4), np.nan), labels)
    with pytest.raises(ModtoolsError, match="at least two classes"):
        public(features, np.zeros(60, dtype=int))
    with pytest.raises(ModtoolsError, match="between is defined for classification labels"):
        public(features, features[:, 0])
    with pytest.raises(ModtoolsError, match="is registered already"):
        register_score(needs="moments", **FACTS)(between)
    with pytest.raises(TypeError, match="alpha"):
        public(features, labels, alpha=2)


def test_the_documentation_holds_what_all_scores_share():
    text = register_score(needs="moments", kinds=("classification", "regression"), **FACTS)(
        between
    ).__doc__
    assert text.startswith("Share of the variance between the classes.\n\nParameters\n---")
    assert "labels : array-like of shape (n_samples,) or (n_samples, n_targets)\n" in text
    assert "    Classes or real targets.\n" in text
    assert text.endswith(
        "Features that are not finite, lengths that differ, fewer than two classes."
    )
    names = ("Parameters", "Returns", "Raises", "References", "Examples")
    for public in (hscore, knn, logistic, raw, nce):
        places = [public.__doc__.find(f"\n{name}\n-") for name in names]
        assert [place for place in places if place >= 0] == sorted(p for p in places if p >= 0)
        for name in inspect.signature(public).parameters:
            assert f"\n{name} : " in public.__doc__
    assert "fewer than two classes.\nModtoolsError\n    Fewer than k" in knn.__doc__


def test_groups_and_the_seed_come_to_a_score_that_takes_them():
    @register_score(needs="features", **FACTS)
    def largest_group(features, labels, *, groups=None, seed=0):
        return Estimate(seed + (0.0 if groups is None else float(np.bincount(groups).max())), 0.5)

    features, labels = example()
    groups = np.array(["a", "b", "c", "c"] * 15)
    assert SCORES["largest_group"].knows_groups
    found = score(features, labels, ["largest_group"], groups=groups, seed=100)
    assert found == {"largest_group": 130.0}
    assert found.standard_errors == {"largest_group": 0.5}
    assert largest_group(features, labels, groups=groups, seed=7) == 37.0
    assert largest_group(features, labels) == 0.0
    with pytest.raises(ModtoolsError, match="seed"):
        largest_group(features, labels, seed=-1)
    with pytest.raises(ModtoolsError, match="groups"):
        largest_group(features, labels, groups=groups[1:])


def test_an_accuracy_of_ones_own_is_shown_in_percent():
    @register_score(needs="features", is_accuracy=True, **FACTS)
    def quarter(features, labels):
        return 0.25

    features, labels = example()
    assert "25.0" in str(rank_modules({"a": features}, labels, by="quarter"))


def test_a_score_that_takes_neither_groups_nor_seed_is_given_neither():
    @register_score(needs="features", kinds=("regression",), **FACTS)
    def width(features, labels):
        return features.shape[1]

    features, _ = example()
    assert not SCORES["width"].knows_groups
    found = score(features, features[:, 0], ["width"], groups=np.arange(60) // 2, seed=3)
    assert found == {"width": 4.0}


def test_source_probabilities_and_feature_maps_are_handed_on():
    @register_score(needs="source_probabilities", **FACTS)
    def sureness(probabilities, labels):
        return float(probabilities.max(axis=1).mean())

    @register_score(needs="moments", feature_map="unit", **FACTS)
    def squares(summary):
        return summary.diagonal.norm2 / summary.n

    features, labels = example()
    assert sureness(np.tile([0.75, 0.25], (60, 1)), labels) == pytest.approx(0.75)
    assert list(inspect.signature(sureness).parameters) == ["source_probabilities", "labels"]
    assert squares(features, labels) == pytest.approx(1.0)
    found = squares(features, labels, feature_map="identity")
    assert found == pytest.approx(np.square(features).sum(axis=1).mean())
    with pytest.raises(ModtoolsError, match="feature_map"):
        squares(features, labels, feature_map="square")


def test_a_score_that_inverts_the_scatter_gets_the_repeat_in_float64(monkeypatch):
    @register_score(needs="moments", **FACTS)
    def smallest(summary):
        return float(1 / summary.spectrum.values[0])

    monkeypatch.setattr("modtools.transferability._moments._EXACT_SIZE", 1000)
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=4000)
    features = rng.normal(size=(4000, 21))
    features[:, 20] = features[:, 0] + 1e-3 * rng.normal(size=4000)
    features = features.astype(np.float32)
    exact = Moments.from_features(features, labels, precision="float64").score(["smallest"])
    assert score(features, labels, ["smallest"]) == pytest.approx(dict(exact), rel=1e-12)
    with pytest.warns(ModtoolsWarning, match="MT008"):
        narrow = Moments.from_features(features, labels).score(["smallest"])
    assert narrow["smallest"] != pytest.approx(exact["smallest"], rel=1e-6)


def test_an_error_of_one_score_skips_it_and_an_error_of_the_features_is_raised():
    @register_score(needs="features", **FACTS)
    def refusing(features, labels):
        raise ModtoolsError("features of this kind are not for me.")

    features, labels = example()
    found = score(features, labels, source_probabilities=None)
    assert found.skipped["refusing"] == "features of this kind are not for me."
    assert "hscore" in found
    with pytest.raises(ModtoolsError, match="not for me"):
        score(features, labels, ["refusing"])
    with pytest.raises(ModtoolsError, match="features must be finite"):
        score(np.where(features > 2, np.inf, features), labels)
    with pytest.raises(ModtoolsError, match="features are too small"):
        score(np.full((60, 4), 1e-160), labels)


@pytest.mark.parametrize(
    "value", [None, "a", np.nan, np.inf, [1.0], 10**400, Estimate(np.nan), Estimate(1.0, np.inf)]
)
def test_a_score_that_is_no_finite_number_is_named_by_the_function_too(value):
    def strange(features, labels):
        """Return what is no number."""
        return value

    public = register_score(needs="features", **FACTS)(strange)
    for call in (lambda: public(*example()), lambda: score(*example(), ["strange"])):
        with pytest.raises(ModtoolsError, match=r"^strange came out as .*; a score must be finite"):
            call()


@pytest.mark.parametrize("fields", [{"kinds": [["a"]]}, {"feature_map": ["unit"]}, {"kinds": 3}])
def test_fields_that_are_no_names_are_refused(fields):
    with pytest.raises(ModtoolsError, match='score "between" cannot be registered: '):
        register_score(needs="moments", **{**FACTS, **fields})(between)
