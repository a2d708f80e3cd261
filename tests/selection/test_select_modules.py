"""Choosing several modules: the judge against refits, the greedy choice by brute force, costs."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import log_softmax
from torch import nn

from modtools.exceptions import ModtoolsError
from modtools.modules import CombinedModule, PretrainedModule, Zoo, extract, pixels
from modtools.outputs import LogisticOutput
from modtools.outputs._folds import stratified_folds
from modtools.outputs._standardize import StandardizedRows
from modtools.retraining import retrain
from modtools.selection import select_modules
from modtools.selection._held_out_kernels import HeldOut, KernelJudge, unit_kernel
from modtools.selection._select_modules import _stratified_examples
from modtools.tasks import Task
from tests.documents import facts

pytestmark = pytest.mark.floating_point

N, N_CLASSES = 60, 4
LABELS = np.arange(N) % N_CLASSES


def noisy(columns, seed, noise=0.4):
    rng = np.random.default_rng(seed)
    columns = np.asarray(columns, dtype=float).reshape(N, -1)
    return np.hstack([columns, columns]) + noise * rng.normal(size=(N, 2 * columns.shape[1]))


@pytest.fixture
def shelf():
    return {
        "parity": noisy(LABELS % 2, 0),
        "parity again": noisy(LABELS % 2, 1),
        "half": 1e6 * noisy(LABELS // 2, 2, noise=0.5),
        "noise": noisy(np.zeros(N), 3),
    }


def ridge_decisions(rows, targets, others, alpha):
    """Return what a ridge machine with a free intercept predicts, by its normal equations."""
    centre, level = rows.mean(axis=0), targets.mean(axis=0)
    centred = rows - centre
    system = centred.T @ centred + alpha * np.eye(rows.shape[1])
    return (others - centre) @ np.linalg.solve(system, centred.T @ (targets - level)) + level


@pytest.mark.parametrize("names", [["parity"], ["parity", "half"]])
def test_held_out_predictions_are_those_of_refits_on_scaled_blocks(shelf, names):
    features = np.hstack([shelf[name] for name in names])
    rows = StandardizedRows.of(features, blocks=[shelf[name].shape[1] for name in names])
    scaled = rows.dense() / np.sqrt(np.square(rows.dense()).sum() / N)
    judge = KernelJudge(LABELS, seed=3)
    found = judge.judge(sum(unit_kernel(shelf[name]) for name in names), total=len(names))
    targets, losses, right = np.eye(N_CLASSES)[LABELS], np.zeros(N), np.zeros(N)
    halves = [stratified_folds(LABELS, 2, (3, split)) for split in range(20)]
    folds = [stratified_folds(LABELS, 5, (3, split)) for split in range(8)]
    for split in (*halves, *folds):
        for fold in range(split.max() + 1):
            held_out = split == fold
            decisions = ridge_decisions(
                scaled[~held_out], targets[~held_out], scaled[held_out], alpha=1.0
            )
            if split.max() == 1:
                logs = log_softmax(6 * decisions, axis=1)
                losses[held_out] -= logs[np.arange(len(logs)), LABELS[held_out]] / len(halves)
            else:
                right[held_out] += (decisions.argmax(axis=1) == LABELS[held_out]) / len(folds)
    assert np.allclose(found.losses, losses, atol=1e-5)
    assert np.allclose(found.right, right)
    assert found.accuracy == pytest.approx(right.mean())


def test_the_greedy_choice_is_that_of_brute_force(shelf):
    judge = KernelJudge(LABELS, seed=0)
    kernels = {name: unit_kernel(features) for name, features in shelf.items()}

    def loss(names):
        return judge.judge(sum(kernels[name] for name in names), total=len(names)).loss

    first = min(shelf, key=lambda name: loss([name]))
    second = min(set(shelf) - {first}, key=lambda name: loss([first, name]))
    found = select_modules(shelf, LABELS)
    assert found.modules == [first, second]
    assert {first, second} > {"half"}
    assert found.frame()["loss"].tolist() == pytest.approx([loss([first]), loss([first, second])])
    # Both kinds of module together know what neither knows alone.
    assert found.frame()["value"].diff().iloc[1] > 0.2
    assert found.frame()["gain_low"].iloc[1] > 0


def test_the_choice_depends_on_neither_units_nor_names_of_classes(shelf):
    other = {name: 1e-9 * features + 5 for name, features in shelf.items()}
    words = np.array(["d", "b", "a", "c"])[LABELS]
    assert select_modules(other, words).modules == select_modules(shelf, LABELS).modules


def test_equal_modules_keep_the_order_given(shelf):
    twice = {"first": shelf["half"], "second": shelf["half"], "other": shelf["noise"]}
    assert select_modules(twice, LABELS, k=1).modules == ["first"]
    assert select_modules(dict(reversed(twice.items())), LABELS, k=1).modules == ["second"]


def test_the_same_seed_gives_the_same_choice_and_nothing_is_changed(shelf):
    before = {name: features.copy() for name, features in shelf.items()}
    first, second = (select_modules(shelf, LABELS, k=3, seed=1) for _ in range(2))
    pd.testing.assert_frame_equal(first.frame(), second.frame(), rtol=1e-9)
    assert all(np.array_equal(before[name], shelf[name]) for name in shelf)


def test_all_takes_every_module_the_best_first(shelf):
    found = select_modules(shelf, LABELS, combine="all")
    assert sorted(found.modules) == sorted(shelf)
    alone = {m: select_modules({m: shelf[m], "x": shelf["noise"]}, LABELS, k=1) for m in shelf}
    losses = [alone[m].frame()["loss"][0] for m in found.modules[:-1]]
    assert losses == sorted(losses)
    assert found.modules[-1] == "noise"
    assert found.frame()["step"].tolist() == [1, 2, 3, 4]


def test_fewer_modules_than_asked_for_are_all_taken(shelf):
    assert len(select_modules(shelf, LABELS, k=9)) == 4


# Costs


def test_max_cost_counts_a_network_once(shelf):
    layers = {"net@a": shelf["parity"], "net@b": shelf["half"], "raw": shelf["noise"]}
    costs = {"net@a": 10, "net@b": 30, "raw": 25}
    found = select_modules(layers, LABELS, max_cost=30, cost=costs, k=3)
    assert sorted(found.modules) == ["net@a", "net@b"]
    assert found.frame()["cost"].max() == 30
    cheap = select_modules(layers, LABELS, max_cost=26, cost=costs, k=3)
    assert cheap.modules == ["net@a"]


def test_without_k_modules_join_while_they_help(shelf):
    costs = dict.fromkeys(shelf, 1)
    found = select_modules(shelf, LABELS, k=None, cost=costs)
    assert 2 <= len(found) <= 3
    assert "noise" not in found.modules
    assert found.frame()["loss"].is_monotonic_decreasing
    frame = found.pareto()
    # What was tried last did not help, and is told beside the rest.
    assert frame["n_modules"].max() == len(found) + 1


def test_the_front_is_what_nothing_beats(shelf):
    costs = {"parity": 3.0, "parity again": 1.0, "half": 2.0, "noise": 0.0}
    found = select_modules(shelf, LABELS, k=3, cost=costs)
    table = found.pareto()
    assert len(table) == 4 + 3 + 2
    assert table["chosen"].sum() == 1
    for row in table.itertuples():
        names = row.modules.split(" + ")
        assert row.cost == sum(costs[name] for name in names)
        beaten = [
            other
            for other in table.itertuples()
            if other.cost <= row.cost
            and other.value >= row.value
            and (other.cost < row.cost or other.value > row.value)
        ]
        assert row.on_front == (not beaten)
    assert table["cost"].is_monotonic_increasing


def test_parameters_and_milliseconds_of_networks(digits):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.Tanh(), nn.Linear(20, 5))
    deep = PretrainedModule(
        network, name="net", layers=["1", "3"], preprocess=lambda x: torch.as_tensor(x).float() / 16
    )
    few = digits.few_labels(per_class=6, seed=0)
    by_size = select_modules([pixels(), deep], few, k=2)
    costs = by_size.pareto().set_index("modules")["cost"]
    assert costs["pixels"] == 0
    assert costs["net@1"] == 64 * 20 + 20
    assert costs["net@3"] == 64 * 20 + 20 + 105
    by_time = select_modules([pixels(), deep], few, k=2, cost="milliseconds", batch_size=8)
    assert (by_time.pareto()["cost"] > 0).all()
    assert "ms per example, in batches of 8" in repr(by_time)
    assert by_time.modules == by_size.modules


# The combination


@pytest.fixture
def networks():
    torch.manual_seed(0)
    build = ("torch.nn:Conv2d", {"in_channels": 1, "out_channels": 4, "kernel_size": 3})
    options = {"pooling": "flatten", "preprocess": pixels().preprocess}
    conv = PretrainedModule(nn.Conv2d(1, 4, 3), name="conv", build=build, **options)
    return [pixels(), conv]


def test_what_is_chosen_is_what_retrain_takes(networks, digits):
    few = digits.few_labels(per_class=6, seed=0)
    found = select_modules(networks, few)
    combined = found.combined
    assert isinstance(combined, CombinedModule)
    assert list(combined.members) == found.modules
    model = retrain(combined, few)
    assert model.output.blocks == found.blocks
    features = {module.name: extract(module, few) for module in networks}
    direct = LogisticOutput(blocks=found.blocks).fit(found.join(features), few.labels)
    assert np.allclose(direct.coef_, model.output.coef_)


def test_a_zoo_gives_the_same_choice(networks, digits, tmp_path):
    zoo, few = Zoo(tmp_path), digits.few_labels(per_class=6, seed=0)
    for module in networks:
        zoo.save(module)
    found, wanted = select_modules(zoo, few), select_modules(networks, few)
    assert set(found.modules) == set(wanted.modules)
    assert np.array_equal(
        extract(found.combined, few).sum(axis=1), extract(wanted.combined, few).sum(axis=1)
    ) or np.allclose(extract(found.combined, few), extract(wanted.combined, few))


def test_one_module_is_not_combined(networks, digits):
    found = select_modules(networks, digits.few_labels(per_class=6, seed=0), k=1)
    assert isinstance(found.combined, PretrainedModule)


def test_cached_features_have_no_network(shelf):
    found = select_modules(shelf, LABELS)
    with pytest.raises(ModtoolsError, match="was given as features, so there is no network"):
        _ = found.combined
    with pytest.raises(ModtoolsError, match="is not known: cached features have no parameters"):
        found.plot()


def test_join_checks_what_it_is_given(shelf):
    found = select_modules(shelf, LABELS)
    assert found.join(shelf).shape == (N, sum(found.blocks))
    with pytest.raises(ModtoolsError, match="features lack the chosen module"):
        found.join({"noise": shelf["noise"]})
    with pytest.raises(ModtoolsError, match="must have one row each per example"):
        found.join(shelf | {found.modules[0]: shelf[found.modules[0]][:5]})
    with pytest.raises(ModtoolsError, match=r"must have shape \(n_samples, 2\)"):
        found.join(shelf | {found.modules[0]: np.ones((N, 7))})


# Results


def test_prints_travels_and_draws(shelf, tmp_path):
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    found = select_modules(shelf, LABELS, k=3, cost=dict.fromkeys(shelf, 10.0))
    text = repr(found)
    assert "3 of 4 modules together on these labels (60 labels, 4 classes)" in text
    assert "gain (points)" in text
    assert "a little too high" in text
    assert "<table>" in found._repr_html_()
    told = facts(found.to_json(tmp_path / "selection.json"))
    assert told["modules"] == found.modules
    assert told["rows"][0]["gain"] is None
    assert told["versions"]["modtools"]
    assert math.isfinite(found.seconds)
    assert found.plot().ax_.get_xlabel() == "cost"
    assert "cost (" not in text
    plt.close("all")


def test_says_when_a_module_may_add_nothing(shelf):
    found = select_modules({"parity": shelf["parity"], "noise": shelf["noise"]}, LABELS)
    assert "not certain that noise adds anything" in repr(found)


def test_an_interval_covers_the_accuracy_of_other_examples():
    """95 % intervals of one module cover the accuracy of new examples, over many draws."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(40):
        labels = np.arange(230) % 3
        features = rng.normal(size=(230, 4)) + np.eye(3)[labels] @ np.eye(3, 4) * 1.2
        few = slice(0, 30)
        kernel = unit_kernel(features[few])
        low, high = KernelJudge(labels[few], seed=0).judge(kernel).interval()
        rows = StandardizedRows.of(features[few])
        scale = 1 / np.sqrt(rows.n_varying)
        new = StandardizedRows(features[30:], rows.mean, rows.scale).dense() * scale
        decisions = ridge_decisions(rows.dense() * scale, np.eye(3)[labels[few]], new, 1.0)
        accuracy = np.mean(decisions.argmax(axis=1) == labels[30:])
        covered.append(low <= accuracy <= high)
    assert 0.88 <= np.mean(covered) <= 1.0


def test_gain_is_paired():
    rng = np.random.default_rng(0)
    right = (rng.random(400) < 0.7).astype(float)
    better = np.maximum(right, rng.random(400) < 0.1)
    gain, low, high = HeldOut(better, right).gain(HeldOut(right, right))
    assert low < gain < high
    assert gain == pytest.approx(np.mean(better - right))
    assert high - low < 0.08


# Bad input


def test_a_module_without_variance_is_left_out(shelf):
    found = select_modules(shelf | {"flat": np.ones((N, 3))}, LABELS)
    assert found.skipped == {"flat": "its features do not vary"}
    assert "Left out: flat" in repr(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be a whole number of at least 1"),
        ({"max_cost": -1}, "max_cost must be a finite number above 0"),
        ({"combine": "sum"}, 'unknown combine "sum"'),
        ({"combine": "all", "max_cost": 2}, "leave max_cost out"),
        ({"combine": "all", "k": 1}, 'combine="all" takes every module; leave k out; got 1'),
        ({"cost": "watts"}, 'unknown cost "watts"'),
        ({"cost": 3}, 'cost must be "parameters", "milliseconds" or a dict'),
        ({"cost": {"parity": -1}}, 'cost of "parity" must be a finite number of at least 0'),
        ({"cost": {"parity": 1}}, 'cost lacks a number for "parity again"'),
        ({"max_cost": 5}, "needs the cost of every module, and that of"),
        (
            {"max_cost": 5, "cost": dict.fromkeys(["parity", "parity again", "half", "noise"], 9)},
            "no module fits a max_cost of 5; the cheapest, parity, costs 9",
        ),
        ({"seed": -1}, "seed must be"),
    ],
    ids=str,
)
def test_says_what_is_wrong(shelf, options, message):
    with pytest.raises(ModtoolsError, match=message):
        select_modules(shelf, LABELS, **options)


def test_says_what_is_wrong_with_modules_and_labels(shelf):
    with pytest.raises(ModtoolsError, match="at least two; got 1"):
        select_modules({"parity": shelf["parity"]}, LABELS)
    with pytest.raises(ModtoolsError, match="got 1; flat: its features do not vary"):
        select_modules({"parity": shelf["parity"], "flat": np.ones((N, 2))}, LABELS)
    with pytest.raises(ModtoolsError, match="have 59 rows"):
        select_modules(shelf | {"parity": shelf["parity"][1:]}, LABELS)
    with pytest.raises(ModtoolsError, match='features of "parity" must be finite'):
        select_modules(shelf | {"parity": np.full((N, 2), np.nan)}, LABELS)
    with pytest.raises(ModtoolsError, match="these labels are regression"):
        select_modules(shelf, LABELS + 0.5)
    with pytest.raises(ModtoolsError, match="takes two classes and a class of two examples"):
        select_modules(shelf, np.arange(N).astype(str))
    with pytest.raises(ModtoolsError, match="networks read the inputs of a task"):
        select_modules([pixels()], LABELS)


def test_a_stratified_share_of_many_examples_decides(shelf, monkeypatch):
    monkeypatch.setitem(select_modules.__globals__, "_MOST_EXAMPLES", 50)
    found = select_modules(shelf, Task(shelf["half"], LABELS, name="large"))
    assert found.settings["n_examples_judged"] == 50
    assert "half" in found.modules
    assert "of the examples, stratified, decided" in repr(found)


def test_examples_that_decide_have_the_classes_of_all():
    codes = np.repeat([0, 1, 2, 3], [3000, 1500, 3, 1])
    for seed in range(3):
        rows = _stratified_examples(codes, 2000, seed)
        assert len(np.unique(rows)) == 2000
        counts = np.bincount(codes[rows])
        assert abs(counts[0] - 2 * counts[1]) <= 3
        assert counts[2] >= 2
        assert counts[3] == 1
    swapped = _stratified_examples(np.array([1, 0, 3, 2])[codes], 1999, seed)
    assert set(swapped) == set(_stratified_examples(codes, 1999, seed))


@pytest.fixture
def crops():
    """Forty groups of five crops: one module knows the group, the other the class a little."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 5)
    labels = groups % 2
    shelf = {
        "group": rng.normal(size=(40, 30))[groups] + 0.01 * rng.normal(size=(200, 30)),
        "class": labels[:, None] + rng.normal(size=(40, 2))[groups] * 1.5,
    }
    return shelf, labels, groups


@pytest.mark.parametrize("most", [2000, 120])
def test_groups_are_held_out_as_a_whole(crops, monkeypatch, most):
    monkeypatch.setitem(select_modules.__globals__, "_MOST_EXAMPLES", most)
    shelf, labels, groups = crops
    inputs = np.zeros((200, 1))
    assert select_modules(shelf, Task(inputs, labels), k=1).modules == ["group"]
    found = select_modules(shelf, Task(inputs, labels, groups=groups), k=1)
    assert found.modules == ["class"]
    assert found.frame()["value"][0] < 0.95


def test_the_judge_never_splits_a_group(crops):
    _, labels, groups = crops
    judge = KernelJudge(labels, 0, groups)
    for split in (*judge._halves, *judge._folds):
        assert len(set(zip(groups, split, strict=True))) == 40
        assert len(np.unique(split)) >= 2


def test_examples_of_one_group_cannot_be_held_out(shelf):
    task = Task(shelf["half"], LABELS, groups=np.zeros(N, dtype=int))
    with pytest.raises(ModtoolsError, match="at least two groups"):
        select_modules(shelf, task)


def test_two_networks_of_one_name_are_refused(digits):
    few = digits.few_labels(per_class=6, seed=0)
    preprocess = pixels().preprocess
    one, other = (
        PretrainedModule(
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()),
            name="net",
            layers=layer,
            preprocess=preprocess,
        )
        for layer in ("0", "1")
    )
    with pytest.raises(ModtoolsError, match='two different modules are named "net"'):
        select_modules([one, other], few)


def test_every_set_tried_is_judged_at_equal_energy(shelf):
    """Which of two modules comes first does not matter to what they are worth together."""
    judge = KernelJudge(LABELS, seed=0)
    kernels = {name: unit_kernel(features) for name, features in shelf.items()}
    for one, two in itertools.combinations(shelf, 2):
        forth = judge.judge(kernels[one] + kernels[two], total=2)
        back = judge.judge(kernels[two] + kernels[one], total=2)
        halved = judge.judge((kernels[one] + kernels[two]) / 2)
        assert forth.loss == back.loss == pytest.approx(halved.loss)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (3, r"features must be \{module: features\}; got int"),
        ({"a": "x", "b": "x"}, 'features of "a" must have shape'),
        ({"a": np.ones((4, 3))}, 'features lack the chosen module "b"'),
    ],
)
def test_features_that_cannot_be_joined_are_refused(shelf, features, message):
    chosen = select_modules({"a": shelf["parity"], "b": shelf["half"]}, LABELS)
    chosen.modules = ["a", "b"]
    with pytest.raises(ModtoolsError, match=message):
        chosen.join(features)
