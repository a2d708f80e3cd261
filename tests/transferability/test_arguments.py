"""Arguments that make no sense give one clear error, and never a bare TypeError."""

import numpy as np
import pytest

from modtools import Moments, rank_modules, score_agreement
from modtools.exceptions import ModtoolsError
from modtools.testing import check_score
from modtools.transferability import SCORES, Score, class_mean, knn, linear_probe, ridge, score

LABELS = np.arange(30) % 3
FEATURES = np.random.default_rng(0).normal(size=(30, 4)) + LABELS[:, None]


@pytest.mark.parametrize("names", [5, [5], [["logme"]], [None], {"logme": 1, 3: 2}])
def test_names_of_scores_that_are_no_names(names):
    doors = (
        lambda: score(FEATURES, LABELS, names),
        lambda: Moments.from_features(FEATURES, LABELS).score(names),
        lambda: rank_modules({"a": FEATURES}, LABELS, scores=names),
        lambda: rank_modules({"a": FEATURES}, LABELS, by=names),
    )
    for door in doors:
        with pytest.raises(ModtoolsError, match=r"must be (names of scores|the name of a score);"):
            door()


def test_names_may_come_from_a_generator():
    found = score(FEATURES, LABELS, (name for name in ("knn", "hscore")))
    assert list(found) == ["knn", "hscore"]
    ranking = rank_modules({"a": FEATURES}, LABELS, by="lda", scores=iter(["knn"]))
    assert list(ranking.frame()["score"]) == ["lda", "knn"]


def test_names_may_come_as_an_array():
    names = np.array(["logme", "hscore"])
    found = Moments.from_features(FEATURES, LABELS).score(names)
    assert [type(name) for name in found] == [str, str]
    assert found == pytest.approx(score(FEATURES, LABELS, names))
    ranking = rank_modules({"a": FEATURES}, LABELS, by="lda", scores=names)
    assert list(ranking.frame()["score"]) == ["lda", "logme", "hscore"]


@pytest.mark.parametrize("seed", [-1, 1.5, None, "0", True])
def test_seeds_that_are_no_whole_numbers(seed):
    with pytest.raises(ModtoolsError, match="seed must be a whole number of at least 0"):
        score(FEATURES, LABELS, ["hscore"], seed=seed)


@pytest.mark.parametrize("function", [knn, class_mean, ridge, linear_probe])
def test_groups_with_missing_names(function):
    with pytest.raises(
        ModtoolsError, match="groups must not be missing or mixed; got None in row 0"
    ):
        function(FEATURES, LABELS, groups=[None, *"ab" * 14, "c"])


@pytest.mark.parametrize("value", ["high", None, [1.0, 2.0], float("inf")])
def test_own_score_that_returns_no_finite_number(value):
    SCORES.register(Score("own", "features", lambda *_: value, "any", "own"))
    try:
        with pytest.raises(ModtoolsError, match=r"own came out as .*; a score must be finite"):
            score(FEATURES, LABELS, ["own"])
    finally:
        SCORES.unregister("own")


def test_own_score_may_return_an_array_of_one_number():
    SCORES.register(Score("own", "features", lambda *_: np.array(2), "any", "own"))
    try:
        assert score(FEATURES, LABELS, ["own"]) == {"own": 2.0}
    finally:
        SCORES.unregister("own")


def test_only_scores_can_be_registered():
    with pytest.raises(ModtoolsError, match="only a Score can be registered; got str"):
        SCORES.register("hscore")


def test_check_score_finds_the_score_that_overwrites_its_input():
    def overwrite(features, labels, seed):
        features[:] = 0
        return 1.0

    with pytest.raises(ModtoolsError, match="inputs stay as they are"):
        check_score(Score("own", "features", overwrite, "any", "own"))


def test_classes_of_any_iterable_form():
    for classes in ({0, 1, 2}, range(3), (c for c in (0, 1, 2)), np.arange(3)):
        found = Moments.from_features(FEATURES, LABELS, classes=classes)
        assert found.classes.tolist() == [0, 1, 2]
    with pytest.raises(ModtoolsError, match="classes must be a sequence of label values; got 3"):
        Moments.from_features(FEATURES, LABELS, classes=3)


def test_moments_that_do_not_fit_together():
    moments = Moments.from_features(FEATURES, LABELS)
    with pytest.raises(ModtoolsError, match="merge needs Moments; got NoneType"):
        moments.merge(None)
    with pytest.raises(ModtoolsError, match="labels of one type"):
        moments.merge(Moments.from_features(FEATURES, LABELS.astype(str)))
    with pytest.raises(ModtoolsError, match="same number of features"):
        Moments.from_batches([(FEATURES, LABELS), (FEATURES[:, :2], LABELS)])
    with pytest.raises(ModtoolsError, match="share their kind"):
        Moments.from_batches([(FEATURES, LABELS), (FEATURES, LABELS * 0.5)])


def test_update_keeps_the_precision():
    moments = Moments.from_features(FEATURES.astype(np.float32), LABELS, precision="float32")
    assert moments.update(FEATURES, LABELS).precision == "float32"


@pytest.mark.parametrize("n_jobs", [0, 1.5, "all"])
def test_numbers_of_workers_that_make_no_sense(n_jobs):
    with pytest.raises(
        ModtoolsError, match="n_jobs must be a whole number other than 0; -1 uses all"
    ):
        rank_modules({"a": FEATURES}, LABELS, n_jobs=n_jobs)


@pytest.mark.parametrize(
    ("scores", "achieved", "text"),
    [
        (None, None, "achieved must have the columns task, module, accuracy"),
        ([1, 2], [0.1, 0.2], "achieved must have the columns task, module, accuracy"),
        ({"a": 1}, {"a": 0.5}, r"achieved must be \{task: .* or a frame; got 0.5"),
        ({"a": 1}, {"t": {"a": 0.5}}, r"scores must be \{task: .* or a frame; got 1 inside"),
        ({"t": {"a": 1}}, {"t": {"a": 0.5}}, r"scores must be \{task: .* or a frame; got 1 inside"),
        (None, {"t": {"a": 0.5}}, "scores must have the columns task, score, module, value"),
    ],
)
def test_agreement_of_flat_or_missing_tables(scores, achieved, text):
    with pytest.raises(ModtoolsError, match=text):
        score_agreement(scores, achieved)
