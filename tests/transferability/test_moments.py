"""`Moments`: one pass equals the definition, shards merge in any order, nothing changes."""

import functools
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from modtools import ModtoolsError, Moments
from modtools.transferability import FEATURE_MAPS

pytestmark = pytest.mark.floating_point

KINDS = ["classification", "multilabel", "regression"]


def make(kind, n=211, d=7, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.choice([3, 7, 9], size=n)
    features = rng.normal(size=(n, d)) * 1.6 + 0.5 * (codes[:, None] == 7) + 4.0
    if kind == "classification":
        return features, codes
    if kind == "multilabel":
        return features, (rng.random((n, 4)) < [0.5, 0.2, 0.9, 0.4]).astype(int)
    return features, features[:, :2] @ rng.normal(size=(2, 2)) + rng.normal(size=(n, 2)) + 100.0


def numbers(summary):
    """Every number of a summary, by name."""
    spectrum = summary.spectrum
    order = np.argsort(spectrum.values)
    plain = {
        name: np.asarray(getattr(summary, name), dtype=float)
        for name in [
            "n",
            "counts",
            "target_second",
            "target_scatter",
            "mean",
            "offsets",
            "trace",
            "scatter_norm2",
            "mean_scatter_mean",
            "within_squares",
        ]
    }
    diagonal = {f"diagonal.{k}": np.asarray(v) for k, v in vars(summary.diagonal).items()}
    return plain | diagonal | {"values": spectrum.values[order], "mean2": spectrum.mean**2}


def by_definition(features, targets, kind):
    """The same numbers, row by row from their definitions."""
    n = len(features)
    mean, t_mean = features.mean(axis=0), targets.mean(axis=0)
    x, t = features - mean, targets - t_mean
    scatter = sum(np.outer(row, row) for row in x)
    x2, t2 = (x**2).sum(axis=1), (t**2).sum(axis=1)
    within = np.zeros((targets.shape[1], features.shape[1]))
    if kind == "classification":
        for c in range(targets.shape[1]):
            rows = features[targets[:, c] == 1]
            within[c] = ((rows - rows.mean(axis=0)) ** 2).sum(axis=0)
    origin2 = (features**2).sum(axis=1)
    values, vectors = np.linalg.eigh(scatter)
    return {
        "n": n,
        "counts": targets.sum(axis=0),
        "target_second": targets.T @ targets,
        "target_scatter": t.T @ t,
        "mean": mean,
        "offsets": t.T @ x,
        "trace": np.trace(scatter),
        "scatter_norm2": (scatter**2).sum(),
        "mean_scatter_mean": mean @ scatter @ mean,
        "within_squares": within,
        "diagonal.n": n,
        "diagonal.norm2": origin2.sum(),
        "diagonal.norm4": (origin2**2).sum(),
        "diagonal.centred_norm2": x2.sum(),
        "diagonal.centred_norm4": (x2**2).sum(),
        "diagonal.cross": (x2 * t2).sum(),
        "diagonal.target_norm2": t2.sum(),
        "values": values,
        "mean2": (mean @ vectors) ** 2,
    }


def target_matrix(labels, kind):
    if kind != "classification":
        return np.asarray(labels, dtype=float)
    return (np.asarray(labels)[:, None] == np.unique(labels)).astype(float)


def assert_same(left, right, rel):
    assert left.keys() == right.keys()
    for name, value in left.items():
        scale = np.abs(right[name]).max()
        np.testing.assert_allclose(value, right[name], rtol=rel, atol=rel * scale, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_one_pass_gives_every_number_of_the_definition(kind):
    features, labels = make(kind)
    if kind == "multilabel":
        labels = labels[:, [0, 1, 3]]
    expected = by_definition(features, target_matrix(labels, kind), kind)
    assert_same(numbers(Moments.from_features(features, labels).summary()), expected, 1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_shards", [2, 3, 7])
def test_shards_merge_in_any_order_to_the_whole(kind, n_shards):
    features, labels = make(kind)
    options = {"classes": [3, 7, 9]} if kind == "classification" else {}
    whole = numbers(Moments.from_features(features, labels, **options).summary())
    rng = np.random.default_rng(n_shards)
    shards = np.array_split(rng.permutation(len(features)), n_shards)
    parts = [Moments.from_features(features[rows], labels[rows], **options) for rows in shards]
    for order in itertools.islice(itertools.permutations(parts), 3):
        merged = functools.reduce(lambda left, right: left.merge(right), order)
        assert merged.n_samples == len(features)
        assert_same(numbers(merged.summary()), whole, 1e-9)


def test_float32_blocks_merge_to_a_millionth_of_the_largest_entry():
    features, labels = make("classification", n=4000, d=60)
    features = features.astype(np.float32)
    exact = Moments.from_features(features, labels, precision="float64")
    parts = [
        Moments.from_features(features[i::3], labels[i::3], precision="float32") for i in range(3)
    ]
    merged = parts[2].merge(parts[0]).merge(parts[1])
    assert merged.precision == "float32"
    for name in ("scatter", "second_moment", "mean", "class_means"):
        ours, truth = getattr(merged, name), getattr(exact, name)
        assert np.abs(ours - truth).max() <= 1e-6 * np.abs(truth).max(), name


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 59), min_size=1, max_size=4, unique=True),
    offset=st.sampled_from([0.0, 1e3, 1e6]),
)
def test_streaming_updates_equal_one_shot(cuts, offset):
    features, labels = make("classification", n=60, d=3)
    features = features + offset
    edges = [0, *sorted(cuts), 60]
    pieces = [slice(a, b) for a, b in itertools.pairwise(edges)]
    streamed = Moments.from_features(features[pieces[0]], labels[pieces[0]])
    for piece in pieces[1:]:
        streamed = streamed.update(features[piece], labels[piece])
    batched = Moments.from_batches((features[p], labels[p]) for p in pieces)
    whole = Moments.from_features(features, labels)
    for found in (streamed, batched):
        np.testing.assert_allclose(found.scatter, whole.scatter, rtol=1e-9, atol=1e-9 * 60)
        np.testing.assert_array_equal(found.classes, whole.classes)
        np.testing.assert_allclose(found.counts, whole.counts)


def test_a_shard_without_some_classes_merges_by_label_value():
    features, labels = make("classification")
    left = Moments.from_features(features[labels != 9], labels[labels != 9])
    right = Moments.from_features(features[labels == 9], labels[labels == 9])
    merged = right.merge(left)
    assert merged.classes.tolist() == [3, 7, 9]
    whole = Moments.from_features(features, labels)
    np.testing.assert_allclose(merged.class_means, whole.class_means, rtol=1e-12)


def test_a_large_offset_costs_no_digits():
    features, labels = make("classification")
    shifted = Moments.from_features(features + 1e6, labels).scatter
    plain = Moments.from_features(features, labels).scatter
    np.testing.assert_allclose(shifted, plain, rtol=1e-9, atol=1e-9 * np.abs(plain).max())


@pytest.mark.parametrize("scale", [1e-30, 6e-10, 1e15])
def test_extreme_scales_survive_float32_products(scale):
    features, labels = make("classification", n=300)
    features = (features * scale).astype(np.float32)
    narrow = Moments.from_features(features, labels, precision="float32").scatter
    wide = Moments.from_features(features, labels, precision="float64").scatter
    np.testing.assert_allclose(narrow, wide, rtol=1e-4, atol=1e-6 * np.abs(wide).max())


def test_merging_changes_neither_operand_and_never_counts_twice():
    features, labels = make("classification")
    left = Moments.from_features(features[:100], labels[:100], classes=[3, 7, 9])
    right = Moments.from_features(features[100:], labels[100:], classes=[3, 7, 9])
    before = left.scatter.copy(), right.scatter.copy()
    merged = left.merge(right)
    np.testing.assert_array_equal(left.scatter, before[0])
    np.testing.assert_array_equal(right.scatter, before[1])
    for again in (left, right, merged):
        with pytest.raises(ModtoolsError, match="would count twice"):
            merged.merge(again)
    with pytest.raises(AttributeError):
        left.n_samples = 5


def test_the_callers_arrays_stay_as_they_were():
    features, labels = make("classification")
    features.flags.writeable = labels.flags.writeable = False
    for name in FEATURE_MAPS:
        Moments.from_features(features, labels, feature_map=name)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "torch", "bfloat16", "int"])
def test_numbers_of_any_width_are_accepted(kind):
    features, labels = make("classification")
    features = np.round(features)
    exact = Moments.from_features(features, labels).scatter
    given_features = {
        "torch": lambda: torch.from_numpy(features),
        "bfloat16": lambda: torch.from_numpy(features).bfloat16(),
        "int": lambda: features.astype(int),
    }.get(kind, lambda: features.astype(kind))()
    np.testing.assert_allclose(
        Moments.from_features(given_features, labels).scatter, exact, rtol=1e-9, atol=1e-7
    )


@pytest.mark.parametrize("name", list(FEATURE_MAPS))
def test_feature_maps_agree_between_numpy_and_torch_and_keep_zero_rows(name):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 6))
    rows[7] = 0
    mapped = FEATURE_MAPS[name](rows)
    np.testing.assert_allclose(mapped, FEATURE_MAPS[name](torch.from_numpy(rows)).numpy(), 1e-12)
    if name != "identity":
        lengths = np.linalg.norm(mapped, axis=1)
        assert np.all(np.isclose(lengths, 1, rtol=1e-12) | (lengths == 0))
    if name in {"relu_normalised", "sigmoid", "tanh", "unit"}:
        kernel = mapped @ mapped.T
        assert kernel.min() >= FEATURE_MAPS[name].k_min - 1e-12
        assert kernel.max() <= FEATURE_MAPS[name].k_max + 1e-12


def test_class_weights_weigh_rows_as_repeating_them_would():
    features, labels = make("classification", n=40)
    weights = {3: 1.0, 7: 2.0, 9: 3.0}
    rows = np.repeat(np.arange(40), [int(weights[label]) for label in labels])
    repeated = Moments.from_features(features[rows], labels[rows])
    weighted = Moments.from_features(features, labels, class_weights=weights)
    for name in ("scatter", "mean", "counts", "class_means", "second_moment"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(repeated, name), rtol=1e-10)
    squared = {label: weight**2 for label, weight in weights.items()}
    origin2 = (features**2).sum(axis=1)
    row_weights = np.array([squared[label] for label in labels])
    diagonal = weighted.summary().diagonal
    assert diagonal.norm2 == pytest.approx(row_weights @ origin2, rel=1e-10)
    assert diagonal.norm4 == pytest.approx(row_weights @ origin2**2, rel=1e-10)


def test_balanced_weights_give_every_class_the_same_mass():
    features, labels = make("classification", n=100)
    moments = Moments.from_features(features, labels, class_weights="balanced")
    np.testing.assert_allclose(moments.counts, 100 / 3)


def test_class_second_moments_add_up_to_the_whole():
    features, labels = make("classification")
    moments = Moments.from_features(features, labels, class_second_moments=True)
    logdets = moments.summary().class_logdets(0.5)
    for c, label in enumerate(np.unique(labels)):
        rows = features[labels == label] - features.mean(axis=0)
        matrix = np.eye(7) + 0.5 * rows.T @ rows / len(rows)
        assert logdets[c] == pytest.approx(np.linalg.slogdet(matrix)[1], rel=1e-10)


BAD = [
    ({"features": [1.0, 2.0]}, r"features must have shape \(n_samples, n_features\); got \(2,\)"),
    ({"features": np.zeros((2, 2, 2))}, r"got \(2, 2, 2\)"),
    ({"features": np.zeros((0, 3)), "labels": []}, "at least 1 rows and 1 column"),
    ({"features": np.zeros((3, 2))}, "features has 3, labels has 2"),
    ({"features": [[1.0], [np.nan]]}, "1 NaN in 1 row, first at row 1, column 0"),
    ({"features": [[np.inf], [0.0]]}, "1 infinite in 1 row, first at row 0, column 0"),
    ({"feature_map": "relu_normalized"}, 'did you mean "relu_normalised"'),
    ({"precision": "float16"}, 'unknown precision "float16"'),
    ({"class_weights": {0: 1.0}}, "class_weights must name every class; 1 is missing"),
    ({"class_weights": {0: 1.0, 1: -1.0}}, r"class_weights\[1\] must be a finite number above 0"),
    ({"classes": [0, 5]}, r"labels must be among classes=\[0, 5\]; got .*1.* in example 1"),
    ({"features": [["a"], ["b"]]}, "features must be real numbers"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_is_named(change, message):
    options = {"features": [[0.0], [1.0]], "labels": [0, 1]} | change
    features, labels = options.pop("features"), options.pop("labels")
    with pytest.raises(ModtoolsError, match=message):
        Moments.from_features(features, labels, **options)


def test_moments_that_do_not_belong_together_are_not_merged():
    features, labels = make("classification")
    moments = Moments.from_features(features, labels)
    others = {
        "feature_map": Moments.from_features(features, labels, feature_map="unit"),
        "number of features": Moments.from_features(features[:, :3], labels),
        "kind": Moments.from_features(features, features[:, 0]),
        "class weights": Moments.from_features(features, labels, class_weights="balanced"),
    }
    for message, other in others.items():
        with pytest.raises(ModtoolsError, match=message):
            moments.merge(other)
    with pytest.raises(ModtoolsError, match="share their class weights; class 3 has"):
        others["class weights"].merge(
            Moments.from_features(features, labels, class_weights={3: 1.0, 7: 1.0, 9: 1.0})
        )
    with pytest.raises(ModtoolsError, match="the stream was empty"):
        Moments.from_batches([])


def test_batches_that_do_not_belong_together_are_refused():
    features, labels = make("classification")
    for other, message in (
        ((features[:, :3], labels), "same number of features; got 7 and 3"),
        ((features, features[:, 0]), "share their kind; got classification, regression"),
    ):
        with pytest.raises(ModtoolsError, match=message):
            Moments.from_batches([(features, labels), other])


@pytest.mark.parametrize("batches", [3, None, [3], [(np.eye(3), [0, 1, 1], [0, 1, 1])], [[]]])
def test_batches_that_are_no_pairs_are_refused(batches):
    with pytest.raises(ModtoolsError, match=r"batches must be .*pairs? \(features, labels\); got"):
        Moments.from_batches(batches)


@pytest.mark.parametrize("weights", [3, [1.0, 1.0], {1.0}])
def test_class_weights_that_are_no_dict_are_refused(weights):
    with pytest.raises(ModtoolsError, match='class_weights must be "balanced" or a dict'):
        Moments.from_features(np.eye(3), [0, 1, 1], class_weights=weights)


@pytest.mark.parametrize(
    ("left", "right", "kind"),
    [
        (np.array([2**60, 2**60 + 1]), np.array([2**60 + 1, 2**60 + 2], dtype=np.uint64), np.int64),
        (np.array([0, 1]), np.array([2**63, 2**63 + 1], dtype=np.uint64), np.uint64),
        (np.array([-1, 1]), np.array([1, 2], dtype=np.uint64), np.int64),
        (np.array([0, 1]), np.array([1.0, 2.0]), np.float64),
    ],
)
def test_labels_of_two_number_types_stay_apart(left, right, kind):
    rows, pick = np.eye(4), [0, 1, 0, 1]
    one = Moments.from_features(rows, left[pick])
    two = Moments.from_features(2 * rows, right[pick], kind="classification")
    expected = sorted({*left.tolist(), *right.tolist()})
    for both in (one.merge(two), two.merge(one)):
        assert both.classes.dtype == kind
        assert both.classes.tolist() == expected
        counts = [2 * (c in left.tolist()) + 2 * (c in right.tolist()) for c in expected]
        assert both.counts.tolist() == counts


@pytest.mark.parametrize(
    "right", [np.array([2**63, 2**63 + 1], dtype=np.uint64), np.array([0.5, 2.0**60])]
)
def test_labels_that_no_number_type_holds_are_not_merged(right):
    left = Moments.from_features(np.eye(2), [-1, 2**60 + 1])
    other = Moments.from_features(np.eye(2), right, kind="classification")
    with pytest.raises(ModtoolsError, match="no number holds all labels of int64 and "):
        left.merge(other)


def test_regression_targets_have_no_class_means():
    features, labels = make("regression")
    with pytest.raises(ModtoolsError, match="class_means needs classes"):
        _ = Moments.from_features(features, labels).class_means


@pytest.mark.gpu
def test_a_tensor_on_an_accelerator_gives_the_same_moments():
    for kind in KINDS:
        features, labels = make(kind, n=500)
        for options in ({}, {"feature_map": "tanh"}, {"precision": "float32"}):
            here = Moments.from_features(features, labels, **{**options, "precision": "float64"})
            there = Moments.from_features(torch.from_numpy(features).cuda(), labels, **options)
            rel = 1e-5 if options.get("precision") else 1e-9
            assert_same(numbers(there.summary()), numbers(here.summary()), rel)


@pytest.mark.parametrize(
    ("kind", "weights"),
    [(kind, None) for kind in KINDS] + [("classification", {3: 1.0, 7: 2.0, 9: 0.5})],
)
def test_the_tensor_pass_agrees_with_the_array_pass(kind, weights, monkeypatch):
    """The pass for accelerators runs on any torch device; here on the processor."""
    features, labels = make(kind, n=500)
    options = {"class_weights": weights, "class_second_moments": kind == "classification"}
    here = Moments.from_features(features, labels, **options)
    monkeypatch.setattr("modtools.transferability._moments._is_on_device", lambda _: True)
    monkeypatch.setattr("modtools.transferability._accumulate._TENSOR_ROWS", 128)
    there = Moments.from_features(torch.from_numpy(features), labels, **options)
    assert_same(numbers(there.summary()), numbers(here.summary()), 1e-9)
    if kind == "classification":
        np.testing.assert_allclose(
            there.summary().class_logdets(0.5), here.summary().class_logdets(0.5), rtol=1e-9
        )


@pytest.mark.parametrize("feature_map", ["identity", "relu_normalised", "tanh", "sigmoid", "unit"])
def test_the_tensor_pass_finds_what_a_map_would_hide(feature_map, monkeypatch):
    monkeypatch.setattr("modtools.transferability._moments._is_on_device", lambda _: True)
    features = torch.ones(6, 2)
    features[4, 1] = -torch.inf
    with pytest.raises(ModtoolsError, match="1 infinite in 1 row, first at row 4, column 1"):
        Moments.from_features(features, [0, 1, 0, 1, 0, 1], feature_map=feature_map)
