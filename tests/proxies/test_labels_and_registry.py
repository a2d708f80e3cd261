"""Pairs, class codes, the registry, and the messages about what does not fit."""

import numpy as np
import pytest
import torch

from modtools import ModtoolsError
from modtools.proxies import PROXIES, Pairs, Proxy, Raw
from tests.proxies.definitions import KERNEL_PROXIES, WITH_PAIRS

FEATURES = torch.eye(3)


def test_the_registry_holds_every_proxy_and_what_it_must_know():
    needs_classes = ("hsic_bottleneck", "predsim", "local_classifier")
    assert list(PROXIES) == [*KERNEL_PROXIES, "supcon", *needs_classes]
    assert len(PROXIES) == 10
    assert all(issubclass(proxy, Proxy) for proxy in PROXIES.values())
    for name in WITH_PAIRS:
        assert PROXIES[name].required_labels == "pairs"
    for name in needs_classes:
        assert PROXIES[name].required_labels == "classes"
    assert [name for name in PROXIES if PROXIES[name].uses_inputs] == ["hsic_bottleneck"]


def test_an_unknown_proxy_is_told_the_nearest_name():
    with pytest.raises(ModtoolsError, match='unknown proxy "sup_con"; did you mean "supcon"'):
        PROXIES["sup_con"]
    assert "sup_con" not in PROXIES


def test_own_proxies_register_once():
    PROXIES.register("mine", Raw)
    try:
        assert PROXIES["mine"] is Raw
        with pytest.raises(ModtoolsError, match='"mine" is registered already'):
            PROXIES.register("mine", Raw)
    finally:
        assert PROXIES.unregister("mine") is Raw
    assert "mine" not in PROXIES


def test_settings_are_printed():
    assert "temperature=0.2" in repr(PROXIES["log_contrastive"](temperature=0.2))
    assert "beta=500.0" in repr(PROXIES["hsic_bottleneck"]())
    assert "n_classes=3" in repr(PROXIES["local_classifier"](4, 3))


@pytest.mark.parametrize(
    "labels",
    [
        [7, 7, -4],
        np.array([1, 1, 0], dtype=np.uint8),
        np.array([True, True, False]),
        torch.tensor([5, 5, 6]),
        Pairs(np.array([0, 0, 1]), torch.tensor([1, 2, 2]), [1, 0, 0]),
    ],
    ids=["list", "uint8", "bool", "tensor", "pairs"],
)
def test_every_form_of_the_same_labels_gives_the_same_loss(labels):
    features = torch.tensor([[1.0, 0.2], [0.7, 0.4], [0.1, 1.0]])
    expected = float(PROXIES["supcon"]()(features, [0, 0, 1]))
    assert float(PROXIES["supcon"]()(features, labels)) == pytest.approx(expected, rel=1e-4)


def test_a_batch_takes_its_own_pairs():
    pairs = Pairs([0, 5, 2, 3], [5, 3, 0, 1], [True, False, True, False])
    batch = pairs.take(torch.tensor([5, 0, 3]))
    assert (batch.i.tolist(), batch.j.tolist()) == ([1, 0], [0, 2])
    assert batch.same.tolist() == [True, False]
    assert len(pairs.take([4])) == 0
    assert len(pairs.take([])) == 0
    assert pairs.take([9, 2, 0]).i.tolist() == [1]
    assert len(pairs) == 4  # unchanged


def test_pairs_copy_nothing_they_are_given():
    i = np.array([0, 1])
    Pairs(i, [1, 2], [True, False])
    assert i.tolist() == [0, 1]


BAD_PAIRS = [
    (([0], [1, 2], [True]), "Pairs.i has 1, Pairs.j has 2, Pairs.same has 1"),
    (([0, 1], [1, 1], [True, True]), "pair 1 joins row 1 with itself"),
    (([-1], [1], [True]), r"Pairs\.i must be row numbers from 0; got -1"),
    (([0.5], [1], [True]), r"Pairs\.i must be whole numbers"),
    (([0], [1], [2]), "Pairs.same must be True or False"),
    (([[0]], [1], [True]), r"got torch.int64 \(1, 1\)"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_PAIRS)
def test_bad_pairs_are_refused(arguments, message):
    with pytest.raises(ModtoolsError, match=message):
        Pairs(*arguments)


BAD_LABELS = [
    ([0, 1], "features has 3, labels has 2"),
    ([0.0, 1.0, 1.0], "labels must be whole numbers of shape .n,.; got torch.float32"),
    (["cat", "dog", "cat"], r"labels must be whole numbers; got list.*task\.encoded\.codes"),
    (np.array(["cat", "dog", "cat"]), "labels must be whole numbers; got ndarray"),
    (np.eye(3, dtype=int), r"got torch.int64 \(3, 3\)"),
    (None, "labels must be whole numbers"),
    (Pairs([0], [3], [True]), r"rows 0\.\.2 of the features; got row 3.*pairs\.take\(rows\)"),
    (Pairs([0, 1], [1, 0], [True, False]), "rows 0 and 1 are given as of the same class and"),
    (Pairs([0, 1, 1], [2, 2, 2], [True, False, True]), "rows 1 and 2 are given as of the same"),
    (Pairs([0, 1, 2], [2, 2, 0], [True, True, False]), "rows 0 and 2 are given as of the same"),
]


@pytest.mark.parametrize(("labels", "message"), BAD_LABELS)
@pytest.mark.parametrize("name", ["raw", "supcon"])
def test_labels_of_the_wrong_kind_are_refused(name, labels, message):
    with pytest.raises(ModtoolsError, match=message):
        PROXIES[name]()(FEATURES, labels)


def test_features_and_settings_that_do_not_fit_are_refused():
    cases = [
        (lambda: Raw()(torch.ones(3, 2, 2), [0, 1, 1]), "got torch.float32 .3, 2, 2.. Pool"),
        (lambda: Raw()(torch.ones(3, 2).long(), [0, 1, 1]), "features must be floats"),
        (lambda: Raw(feature_map="relu"), 'unknown feature_map "relu"'),
        (lambda: PROXIES["supcon"](temperature=0), "temperature must be a finite number above 0"),
        (lambda: PROXIES["alignment"](negatives_only=True), 'Use "tanh" or "unit"'),
    ]
    for call, message in cases:
        with pytest.raises(ModtoolsError, match=message):
            call()
