"""Racing modules: the promise by simulation, the accuracies by refitting, and what goes wrong."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import modtools as mt
from modtools.exceptions import ModtoolsError
from modtools.modules import ModuleCollection, PretrainedModule, Zoo
from modtools.outputs import RidgeOutput
from modtools.outputs._ridge import ridge_basis, ridge_leave_one_out
from modtools.outputs._standardize import StandardizedRows
from modtools.selection import race_modules
from modtools.selection._race import _order
from modtools.selection._race_bets import PairedBets
from modtools.selection._race_field import Field, Runner
from modtools.selection._race_rules import Certified, _batches, _independent
from modtools.tasks import Task
from tests.documents import facts

pytestmark = pytest.mark.floating_point

N = 900


def shelf(alphas, seed=0, n=N, n_classes=3):
    """Return modules that carry the classes the better the larger their alpha, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    centres = np.eye(n_classes)[labels]
    names = alphas if isinstance(alphas, dict) else {f"m{s:g}": s for s in alphas}
    return {
        name: (s * centres + rng.normal(size=centres.shape)).astype(np.float32)
        for name, s in names.items()
    }, labels


# --- what it finds, and what it costs


def test_the_best_module_wins_and_the_others_stop_early():
    modules, labels = shelf([0.0, 1.0, 2.0, 4.0])
    race = race_modules(modules, labels)
    table = race.frame().set_index("module")
    assert race.best == "m4"
    assert race.remaining == ["m4"]
    assert race.top(2)[0] == "m4"
    assert race.top(9) == race.frame()["module"].tolist()
    assert table.loc["m0", "examples"] <= table.loc["m2", "examples"] < N
    assert race.pass_fraction == pytest.approx(table["examples"].sum() / (4 * N))
    assert len(race) == 4
    assert race.seconds > 0


def test_accuracy_and_evidence_are_those_of_refitted_output_modules():
    modules, labels = shelf([1.0, 1.05, 1.1], n=400)
    race = race_modules(modules, labels, look_every=50, seed=3, error=1e-6)
    order = np.random.default_rng(3).permutation(400)
    assert len(race.remaining) == 3  # too alike: everyone ran on all rows
    right = {}
    for name, features in modules.items():
        rows, codes, right[name] = features[order], labels[order], []
        fitted = alpha = None
        for start in range(50, 400, 50):
            if fitted is None or start >= 1.1 * fitted:
                fitted = start
                if alpha is None or start in (100, 200):
                    alpha = RidgeOutput().fit(rows[:start], codes[:start]).alpha_
                output = RidgeOutput(alpha=alpha).fit(rows[:start], codes[:start])
            batch = slice(start, start + 50)
            right[name].extend(output.predict(rows[batch]) == codes[batch])
    table = race.frame().set_index("module")
    for name in modules:
        assert table.loc[name, "value"] == pytest.approx(np.mean(right[name]), abs=1e-12)
        others = [np.array(right[o], int) - right[name] for o in modules if o != name]
        shares = (np.arange(128) + 0.5) / 128
        held = [
            min(np.prod(1 + np.outer(part, shares), axis=0).mean() for part in (d, d[150:]))
            for d in others  # over all seven batches, and over the last four
        ]
        assert table.loc[name, "e_value"] == pytest.approx(max(held), rel=1e-8)


def test_layers_of_one_network_share_its_passes():
    modules, labels = shelf({"deep@1": 0.5, "deep@2": 4.0, "other": 0.0})
    race = race_modules(modules, labels)
    table = race.frame().set_index("module")
    assert table["network"].to_dict() == {"deep@1": "deep", "deep@2": "deep", "other": "other"}
    longest = table.groupby("network")["examples"].max()
    assert race.pass_fraction == pytest.approx(longest.sum() / (2 * N))


def test_one_seed_gives_one_race_and_labels_may_have_any_name():
    modules, labels = shelf([1.0, 1.5, 2.0])
    first = race_modules(modules, labels, seed=5).frame()
    named = race_modules(modules, np.array(["cat", "dog", "emu"])[labels], seed=5).frame()
    pd.testing.assert_frame_equal(first, named, rtol=1e-9)
    other = race_modules(modules, labels, seed=6).frame()
    assert not np.allclose(first["value"], other["value"], rtol=1e-6)


def test_more_features_than_rows_and_constant_columns_race_too():
    modules, labels = shelf([0.0, 3.0], n=300)
    wide = {n: np.hstack([f, np.ones((300, 200)), np.zeros((300, 3))]) for n, f in modules.items()}
    rng = np.random.default_rng(1)
    wide["m3"] = np.hstack([wide["m3"], 0.1 * rng.normal(size=(300, 200))])
    assert race_modules(wide, labels, look_every=30).best == "m3"


# --- what it promises


class Oracle:
    """An output module that predicts what the features say."""

    def predict(self, features):
        return features[:, 0]

    def learn(self, features, codes, groups=None):
        pass


def simulate(accuracies, *, seed, n_rows=1500, n_copies=1, **rule):
    """Race modules of known accuracy whose mistakes are half shared; return who is still in.

    Every row comes in a group of identical copies.
    """
    rng = np.random.default_rng(seed)
    groups = None if n_copies == 1 else np.repeat(np.arange(n_rows), n_copies)
    shared, own = rng.random(n_rows), rng.random((len(accuracies), n_rows))
    is_shared = rng.random(n_rows) < 0.5
    runners, features = [], {}
    for place, accuracy in enumerate(accuracies):
        right = np.repeat(np.where(is_shared, shared, own[place]) < accuracy, n_copies)
        name = str(place)
        features[name] = np.where(right, 1.0, 0.0)[:, None]
        runners.append(Runner(place, name, name, Oracle()))
    n_all = n_rows * n_copies
    task = Task(np.zeros(n_all), np.ones(n_all, dtype=int), classes=[0, 1], groups=groups)
    field = Field(runners, ModuleCollection.of(features), task)
    rule = {"error": 0.05, "tolerance": 0.0, "look_every": 100, **rule}
    Certified(**rule).run(field, np.arange(n_all), lambda share, note: None)
    return [runner.place for runner in field.running], field.passes / (len(accuracies) * n_all)


def share(events):
    return np.mean(list(events))


def test_the_best_of_equals_and_near_equals_is_dropped_as_rarely_as_promised():
    n_races, level = 80, 0.1
    for accuracies in ([0.7] * 5, [0.72, 0.71, 0.7, 0.6, 0.5]):
        lost = share(0 not in simulate(accuracies, seed=s, error=level)[0] for s in range(n_races))
        assert lost <= level


def test_a_clear_best_is_found_with_few_passes():
    found = [simulate([0.8, 0.6, 0.6, 0.5, 0.4], seed=seed) for seed in range(20)]
    assert all(places == [0] for places, _ in found)
    assert np.mean([passes for _, passes in found]) < 0.35


def test_losses_within_the_tolerance_do_not_add_up():
    """Each module is within 3 points of the next: a chain of drops could lose 12 points."""
    accuracies, n_races, level = [0.82, 0.80, 0.78, 0.76, 0.74, 0.70], 80, 0.1
    best = [
        max(accuracies[p] for p in simulate(accuracies, seed=s, error=level, tolerance=0.03)[0])
        for s in range(n_races)
    ]
    assert share(b < 0.82 - 0.03 - 1e-9 for b in best) <= level


def test_a_tolerance_saves_passes_where_modules_are_nearly_equal():
    accuracies = [0.705, 0.7, 0.7, 0.695]
    strict = np.mean([simulate(accuracies, seed=seed)[1] for seed in range(10)])
    tolerant = np.mean([simulate(accuracies, seed=seed, tolerance=0.1)[1] for seed in range(10)])
    assert tolerant < 0.75 * strict


def test_a_keeper_leaves_only_by_a_test_without_tolerance_at_a_higher_level():
    rule = Certified(error=0.05, tolerance=0.5, look_every=100)
    rng = np.random.default_rng(0)
    field = Field([Runner(p, str(p), str(p), Oracle()) for p in range(3)], {}, Task.of([0, 1]))
    for runner, accuracy in zip(field.runners, (0.7, 0.69, 0.68), strict=True):
        runner.accuracy = accuracy
    bets, keepers = PairedBets(3), set()
    bets.add(np.arange(3), rng.random((3, 100)) < 0.7)
    rule._drop(field, bets, keepers)
    assert keepers == {0}
    assert [runner.place for runner in field.running] == [0]
    assert [list(runner.beaten_by) for runner in field.runners] == [[], ["0"], ["0", "1"]]


# --- halving


def test_halving_keeps_to_its_budget_and_finds_the_best():
    modules, labels = shelf([0.0, 0.5, 1.0, 2.0, 4.0, 0.2, 0.1, 0.3], n=2000)
    race = race_modules(modules, labels, mode="halving", passes=0.1)
    assert race.best == "m4"
    assert race.remaining == ["m4"]
    assert 0.09 < race.pass_fraction <= 0.1
    rows = race.frame()["examples"].tolist()
    assert rows == sorted(rows, reverse=True)
    assert len(set(rows)) == 3  # three rounds: 8, 4 and 2 modules
    assert race.frame()["e_value"].isna().all()
    assert "No guarantee" in repr(race)


def test_the_accuracy_of_halving_is_leave_one_out_on_the_rows_so_far():
    modules, labels = shelf([1.0, 2.0, 3.0], n=600)
    race = race_modules(modules, labels, mode="halving", passes=0.3, seed=2)
    order = np.random.default_rng(2).permutation(600)
    for row in race.frame().to_dict("records"):
        rows = order[: row["examples"]]
        predicted = RidgeOutput().leave_one_out(modules[row["module"]][rows], labels[rows])
        assert row["value"] == pytest.approx((predicted == labels[rows]).mean(), abs=1e-12)


def test_halving_with_passes_for_all_rows_stops_at_the_last_row():
    modules, labels = shelf([1.0, 2.0], n=60)
    assert (
        race_modules(modules, labels, mode="halving", passes=0.99).frame()["examples"].max() <= 60
    )


# --- groups of rows that belong together


def grouped(n_groups=200, n_copies=5):
    """Return a task of groups of near-copies, and two modules: one knows only the groups."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(n_groups), n_copies)
    labels = rng.integers(0, 2, n_groups)[groups]
    rows = np.arange(len(groups))[:, None]
    codes = rng.normal(size=(n_groups, 40))[groups]
    modules = {
        "groups": codes + 0.01 * rng.normal(size=codes.shape),
        "classes": labels[:, None] + rng.normal(size=(len(labels), 3)),
    }
    return modules, Task(rows.astype(np.float32), labels, groups=groups, name="copies")


@pytest.mark.parametrize("options", [{}, {"mode": "halving", "passes": 0.5}])
def test_a_module_that_knows_only_the_groups_loses(options):
    modules, task = grouped()
    race = race_modules(modules, task, look_every=50, **options)
    assert race.best == "classes"
    accuracy = race.frame().set_index("module")["value"]
    assert accuracy["groups"] < 0.6 < accuracy["classes"]
    assert race.settings["n_groups"] == 200
    assert ("one example of each of 200 groups" in repr(race)) == (not options)


def test_the_accuracy_of_halving_leaves_whole_groups_out():
    modules, task = grouped()
    race = race_modules(modules, task, mode="halving", passes=0.5, seed=1)
    order = np.random.default_rng(1).permutation(len(task))
    for row in race.frame().to_dict("records"):
        rows = order[: row["examples"]]
        standardized = StandardizedRows.of(modules[row["module"]][rows])
        codes, groups = task.labels[rows], task.groups[rows]
        left_out = ridge_leave_one_out(ridge_basis(standardized), np.eye(2)[codes], groups=groups)
        right = left_out.decisions.argmax(axis=1) == codes
        assert row["value"] == pytest.approx(right.mean(), abs=1e-12)


def test_no_group_is_divided_between_batches():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 60, 500)
    order = _order(500, groups, seed=3)
    batches = list(_batches(order, groups[order], 40))
    assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(500))
    seen = [set(groups[rows]) for rows in batches]
    assert sum(map(len, seen)) == len(np.unique(groups))
    assert all(len(rows) >= 40 for rows in batches[:-1])
    for rows in batches:
        task = Task(groups, groups, kind="classification", groups=groups)
        counted = _independent(Field([], {}, task), rows)
        assert sorted(groups[rows[counted]]) == sorted(set(groups[rows]))


def test_copies_of_rows_do_not_raise_the_error_level():
    lost = share(
        0 not in simulate([0.7] * 4, seed=s, n_rows=600, n_copies=4, error=0.1)[0]
        for s in range(80)
    )
    assert lost <= 0.1


def test_groups_that_leave_no_rows_to_predict_are_refused():
    modules, labels = shelf([1.0, 2.0], n=100)
    task = Task(np.zeros((100, 1), np.float32), labels, groups=np.repeat([0, 1], [95, 5]))
    with pytest.raises(ModtoolsError, match="100 labels and a group is never divided"):
        race_modules(modules, task, look_every=96)


# --- networks


class Counting(nn.Module):
    """Two layers that count the rows they see, and may stop or fail.

    What changes is kept outside the network, which must stay the same for its features to be found
    in a cache.
    """

    log = {}  # noqa: RUF012

    def __init__(self, seed=0, **limits):
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)
        self.seed = seed
        self.log[seed] = {"rows": 0, **limits}
        rng = np.random.default_rng(seed)
        for weights in self.parameters():
            weights.data = torch.as_tensor(rng.normal(size=weights.shape).astype(np.float32))

    def forward(self, inputs):
        log = self.log[self.seed]
        if log["rows"] >= log.get("stops_after", np.inf):
            raise KeyboardInterrupt
        if log["rows"] >= log.get("fails_after", np.inf):
            raise RuntimeError("out of memory")
        log["rows"] += len(inputs)
        return self.second(self.first(inputs).relu())


def rows_run():
    """Return the rows that the two networks have run on since they were made."""
    return [Counting.log[seed]["rows"] for seed in (0, 1)]


def network_task(n=400):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, n)
    return Task(
        (rng.normal(size=(n, 4)) + labels[:, None]).astype(np.float32), labels, name="blobs"
    )


def networks(**options):
    one = PretrainedModule(Counting(0, **options), name="one", layers=["first", None])
    return [one, PretrainedModule(Counting(1), name="two")]


def test_networks_run_batch_by_batch_and_give_what_cached_features_give():
    task = network_task()
    race = race_modules(networks(), task, look_every=50)
    assert sum(rows_run()) == pytest.approx(race.pass_fraction * 2 * len(task))
    features = {
        name: mt.extract(module.at(layer), task)
        for module in networks()
        for name, layer in zip(module.names, module.layers, strict=True)
    }
    cached = race_modules(features, task, look_every=50)
    assert race.frame()["module"].tolist() == cached.frame()["module"].tolist()
    assert race.frame()["value"].tolist() == pytest.approx(cached.frame()["value"].tolist())
    assert race.pass_fraction == cached.pass_fraction


def test_layers_given_as_modules_of_their_own_share_the_passes_of_their_network():
    task, (one, two) = network_task(), networks()
    race = race_modules([one.at("first"), two, one.at(None)], task, look_every=50)
    assert race.settings["n_networks"] == 2
    other = PretrainedModule(Counting(5), name="one", layers="second")
    assert race_modules([one, other], task).settings["n_networks"] == 2


def test_networks_and_features_that_share_a_name_are_told_apart():
    task, (one, two) = network_task(), networks()
    noise = np.random.default_rng(0).normal(size=(len(task), 3))
    mixed = {"one": one.at("first"), "one@noise": noise, "one@more": noise, "two": two}
    race = race_modules(mixed, task, look_every=50)
    assert race.frame().set_index("module")["network"].to_dict() == {
        "one@first": "one", "one@noise": "one (2)", "one@more": "one (2)", "two": "two",
    }  # fmt: skip
    assert not race.failed
    features_first = {"one@noise": noise, "one": one.at("first")}
    assert race_modules(features_first, task, look_every=50).settings["n_networks"] == 2
    namesake = PretrainedModule(Counting(5), name="one")
    frame = race_modules([one.at("first"), namesake], task, look_every=50).frame()
    assert set(frame["network"]) == {"one", "one (2)"}


def test_a_zoo_races(tmp_path):
    zoo = Zoo(tmp_path)
    for seed, name in enumerate(["left", "right"]):
        network = nn.Sequential(nn.Linear(4, 5 + seed), nn.ReLU())
        build = ("torch.nn:Linear", {"in_features": 4, "out_features": 5 + seed})
        zoo.save(PretrainedModule(network[0], name=name, build=build))
    race = race_modules(zoo, network_task(), look_every=50)
    assert set(race.frame()["module"]) == {"left", "right"}


def test_a_race_that_was_stopped_goes_on_from_the_cache(tmp_path):
    task = network_task(300)
    whole = race_modules(networks(), task, look_every=50).frame().drop(columns="e_value")
    ran = rows_run()
    with pytest.raises(KeyboardInterrupt, match="run it again with the same cache"):
        race_modules(networks(stops_after=150), task, look_every=50, cache=tmp_path)
    race = race_modules(networks(), task, look_every=50, cache=tmp_path)
    found = race.frame().drop(columns="e_value")
    pd.testing.assert_frame_equal(found, whole, rtol=1e-6)
    assert rows_run() == [ran[0] - 150, ran[1] - 150]
    race_modules(networks(), task, look_every=50, cache=tmp_path)
    assert rows_run() == [0, 0]


def test_without_a_cache_the_interrupt_says_what_would_have_helped():
    with pytest.raises(KeyboardInterrupt, match="with a cache"):
        race_modules(networks(stops_after=100), network_task(), look_every=50)


# --- what goes wrong


def test_a_network_that_fails_leaves_and_the_others_go_on():
    race = race_modules(networks(fails_after=100), network_task(), look_every=50)
    table = race.frame().set_index("module")
    assert race.best == "two"
    assert set(race.failed) == {"one", "one@first"}
    assert "out of memory" in race.failed["one"]
    assert table.loc["one", "status"] == "failed"
    assert table.loc["one", "examples"] == 100
    assert "Failed and left the race: one@first" in repr(race)
    assert "failed" in race.to_json()


def test_cached_features_that_are_not_finite_fail_alone():
    modules, labels = shelf({"net@1": 1.0, "net@2": 2.0, "other": 1.5})
    modules["net@1"][np.random.default_rng(0).permutation(N)[150]] = np.nan
    race = race_modules(modules, labels)
    assert list(race.failed) == ["net@1"]
    assert "finite" in race.failed["net@1"]
    assert race.frame().set_index("module").loc["net@2", "status"] != "failed"


def test_a_failure_names_the_row_of_the_task():
    modules, labels = shelf({"a": 1.0, "b": 1.1})
    bad = np.random.default_rng(0).permutation(N)[350]
    modules["a"][bad] = np.nan
    race = race_modules(modules, labels, error=1e-9)
    assert (
        f"in 1 of 100 examples run together, first in example {bad} of the task" in race.failed["a"]
    )


def test_those_beaten_only_by_a_module_that_failed_later_are_named(monkeypatch):
    monkeypatch.setattr("modtools.selection._race_field.LearningOutput", lambda _: Oracle())
    labels = np.tile([0, 1], 150)
    wrong = {"good": (), "fair": range(3, 15), "poor": range(20, 40)}  # of each hundred rows
    order = np.random.default_rng(0).permutation(300)
    modules = {}
    for name, places in wrong.items():
        is_wrong = np.isin(np.arange(300) % 100, list(places))
        modules[name] = np.empty((300, 1))
        modules[name][order, 0] = np.where(is_wrong, 1 - labels[order], labels[order])
    assert race_modules(modules, labels, error=0.002).best == "good"
    modules["good"][order[250]] = np.nan
    race = race_modules(modules, labels, error=0.002)
    assert race.remaining == ["fair"]
    assert race.frame().set_index("module").loc["poor", "dropped_by"] == "good"
    assert "Only good, which failed later, beat poor: what is left may be worse" in repr(race)


def test_a_winner_that_did_not_fail_is_named_first():
    runner = Runner(0, "lost", "net", None, "dropped", beaten_by={"good": 5.0, "fair": 3.0})
    for failed, winner, log_e in (({}, "good", 5), ({"good": "broke"}, "fair", 3)):
        facts = runner.facts(failed)
        assert facts["dropped_by"] == winner
        assert facts["e_value"] == pytest.approx(np.exp(log_e))
    assert runner.facts({"good": "broke", "fair": "broke"})["dropped_by"] == "good"


def test_if_all_fail_the_first_reason_is_raised():
    modules, labels = shelf([1.0, 2.0])
    for features in modules.values():
        features[:] = np.nan
    with pytest.raises(ModtoolsError, match=r"no module is left in the race: .* must be finite"):
        race_modules(modules, labels)


def test_a_class_absent_in_the_first_batches_is_learned_when_it_comes():
    modules, labels = shelf([0.5, 4.0], n=400)
    order = np.random.default_rng(0).permutation(400)
    labels[order[:120]] = np.minimum(labels[order[:120]], 1)
    rng = np.random.default_rng(1)
    modules["m4"] = (4 * np.eye(3)[labels] + rng.normal(size=(400, 3))).astype(np.float32)
    race = race_modules(modules, labels, look_every=40)
    assert race.best == "m4"


def test_a_first_batch_of_one_class_predicts_that_class():
    modules, labels = shelf([0.5, 4.0], n=300)
    order = np.random.default_rng(0).permutation(300)
    labels[order[:10]] = 0
    table = race_modules(modules, labels, look_every=10).frame()
    assert np.isfinite(table["value"]).all()


def test_identical_modules_stay_in_the_order_given_and_it_is_said():
    modules, labels = shelf([2.0])
    race = race_modules({"b": modules["m2"], "a": modules["m2"], "c": modules["m2"]}, labels)
    assert race.remaining == ["b", "a", "c"]
    assert race.pass_fraction == 1.0
    assert "do not distinguish 3 modules: b, a, c" in repr(race)
    assert "Equal accuracies keep the order given: b, a, c." in repr(race)
    assert race_modules({"b": modules["m2"], "a": modules["m2"]}, labels, tolerance=5).best == "b"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "certifed"}, 'unknown mode "certifed"; did you mean "certified"'),
        ({"error": 0}, "error must lie strictly between 0 and 1"),
        ({"tolerance": -1}, "tolerance must be points of accuracy"),
        ({"tolerance": 100}, "tolerance must be points of accuracy"),
        ({"tolerance": 1, "mode": "halving"}, "tolerance= belongs to mode"),
        ({"passes": 1.5, "mode": "halving"}, "passes must lie strictly between 0 and 1"),
        ({"passes": 0.001, "mode": "halving"}, r"fewer than the 3 classes; use passes=0.0\d"),
        ({"look_every": 1}, "look_every must be a whole number of at least 2"),
        (
            {"look_every": N},
            "look_every must leave examples to predict: it is 900, and there are 900",
        ),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
    ],
)
def test_bad_options_are_refused(options, message):
    modules, labels = shelf([1.0, 2.0])
    with pytest.raises(ModtoolsError, match=message):
        race_modules(modules, labels, **options)


def test_bad_modules_and_labels_are_refused():
    modules, labels = shelf([1.0, 2.0])
    with pytest.raises(ModtoolsError, match=r"a race needs at least two modules; got 1 \(m1\)"):
        race_modules({"m1": modules["m1"]}, labels)
    with pytest.raises(ModtoolsError, match="900 rows, the task has 899 labels"):
        race_modules(modules, labels[:-1])
    with pytest.raises(ModtoolsError, match="a race is defined for classification labels"):
        race_modules(modules, labels.astype(float) + 0.5)
    with pytest.raises(ModtoolsError, match="at least two classes"):
        race_modules(modules, np.zeros(N, dtype=int))
    with pytest.raises(ModtoolsError, match="modules is empty"):
        race_modules({}, labels)


def test_nothing_given_is_changed():
    modules, labels = shelf([1.0, 2.0])
    before = {name: features.copy() for name, features in modules.items()}
    race_modules(modules, labels)
    assert all(np.array_equal(before[name], modules[name]) for name in modules)


# --- the result


def test_a_race_prints_travels_and_draws():
    modules, labels = shelf({"<b>": 0.0, "good": 3.0})
    race = race_modules(modules, labels)
    text = repr(race)
    assert text.startswith("2 modules raced on these labels (certified, 900 labels): 22 % of the")
    assert "accuracy (%)" in text
    assert "at most 5 %" in text
    assert "&lt;b&gt;" in race._repr_html_()
    content = facts(race.to_json())
    assert content["best"] == "good"
    assert content["pass_fraction"] == pytest.approx(2 / 9)
    assert content["settings"]["error"] == 0.05
    assert content["rows"][0]["dropped_by"] is None
    assert content["versions"] == race.versions
    tolerant = repr(race_modules(modules, labels, tolerance=2))
    assert "by 2 points or more" in tolerant
    assert race.display().frame()["examples"].tolist() == [200, 200]


def test_a_race_writes_its_json(tmp_path):
    modules, labels = shelf([0.0, 3.0])
    race = race_modules(modules, labels)
    text = race.to_json(tmp_path / "race.json")
    assert (tmp_path / "race.json").read_text(encoding="utf-8") == text
