"""`score` hands groups to the scores that hold rows out, and to no other."""

import numpy as np
import pytest

import modtools.transferability as transferability
from modtools.exceptions import ModtoolsError
from modtools.transferability import SCORES, score

pytestmark = pytest.mark.floating_point

KNOWING = [name for name, entry in SCORES.items() if entry.knows_groups]


def make_copies():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 3)
    labels = (np.arange(20) % 2)[groups]
    return rng.normal(size=(20, 30))[groups] + 0.01 * rng.normal(size=(60, 30)), labels, groups


def test_the_scores_that_know_groups_are_those_with_the_argument():
    assert KNOWING == [
        "knn", "class_mean", "ridge", "logistic", "linear_probe", "half_split",
    ]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in KNOWING if name != "linear_probe"])
def test_copies_are_held_out_together(name):
    features, labels, groups = make_copies()
    found = score(features, labels, [name], groups=groups)[name]
    alone = getattr(transferability, name)(features, labels, groups=groups)
    assert found == pytest.approx(alone, rel=1e-12)
    assert found < score(features, labels, [name])[name]


def test_other_scores_read_every_row_alike():
    features, labels, groups = make_copies()
    names = ["logme", "lda", "codelength", "centered_alignment"]
    expected = dict(score(features, labels, names))
    found = dict(score(features, labels, names, groups=groups))
    assert found == pytest.approx(expected, rel=1e-12)


def test_groups_have_one_entry_a_row():
    features, labels, groups = make_copies()
    with pytest.raises(ModtoolsError, match="groups"):
        score(features, labels, ["knn"], groups=groups[1:])
