"""Options of forward passes at every public function that takes modules or their features."""

from functools import partial

import numpy as np
import pytest
from torch import nn

import modtools as mt
from modtools.exceptions import ModtoolsError

LABELS = np.arange(40) % 2
FEATURES = np.random.default_rng(0).normal(size=(40, 3)) + LABELS[:, None]
TASK = mt.Task(FEATURES.astype(np.float32), LABELS, name="one")
OTHER = mt.Task(TASK.inputs, LABELS[::-1], name="other")
CACHED = {"a": FEATURES, "b": FEATURES[:, :2]}
PAIRS = {name: (features, features + 1) for name, features in CACHED.items()}
NETWORKS = [mt.PretrainedModule(nn.Linear(3, 2), name=name) for name in "ab"]
STUDY = {"n_labels": [4], "repeats": 1, "allow_overlap": True}

GIVEN = {
    "label_efficiency": partial(mt.label_efficiency, PAIRS, LABELS, LABELS, **STUDY),
    "race_modules": partial(mt.race_modules, CACHED, LABELS, look_every=5),
    "rank_modules": partial(mt.rank_modules, CACHED, LABELS, by="knn"),
    "retrain features": partial(mt.retrain, FEATURES, LABELS),
    "retrain dict": partial(mt.retrain, {"a": FEATURES}, LABELS),
    "retrain beside": partial(mt.retrain, NETWORKS[0], TASK, features=FEATURES),
    "select_modules": partial(mt.select_modules, CACHED, LABELS, k=1),
    "task_space": partial(mt.task_space, CACHED, {"one": LABELS, "other": LABELS[::-1]}, by="knn"),
}
RUNNING = {
    "label_efficiency": partial(mt.label_efficiency, NETWORKS, TASK, TASK, **STUDY),
    "race_modules": partial(mt.race_modules, NETWORKS, TASK, look_every=5),
    "rank_modules": partial(mt.rank_modules, NETWORKS, TASK, by="knn"),
    "retrain": partial(mt.retrain, NETWORKS[0], TASK),
    "retrain dict": partial(mt.retrain, {"a": NETWORKS[0]}, TASK),
    "select_modules": partial(mt.select_modules, NETWORKS, TASK, k=1),
    "task_space": partial(mt.task_space, NETWORKS, {"one": TASK, "other": OTHER}, by="knn"),
}
BAD = [
    ({"device": "nowhere:0"}, 'device "nowhere:0" is not available here; known: cpu'),
    ({"device": "meta"}, 'a network on the device "meta" has no weights; load them first.'),
    ({"precision": "int8"}, 'unknown precision "int8"'),
    ({"batch_size": -3}, "batch_size must be a whole number of at least 1; got -3."),
    ({"cache": 7}, "cache must be True, a folder or None; got 7."),
]
UNUSED = [{"device": "cpu"}, {"precision": "bfloat16"}, {"batch_size": 8}, {"cache": True}]
# A race reads look_every examples at a time.
DOORS = [
    *((name, given) for name, given in GIVEN.items()),
    *((f"{name}, running", run) for name, run in RUNNING.items()),
]


def fits(name, options):
    return not (name.startswith("race") and "batch_size" in options)


@pytest.mark.parametrize(("name", "call"), DOORS, ids=[name for name, _ in DOORS])
@pytest.mark.parametrize(("options", "text"), BAD, ids=[str(options) for options, _ in BAD])
def test_a_bad_option_is_one_error_before_anything_runs(name, call, options, text):
    if fits(name, options):
        with pytest.raises(ModtoolsError) as caught:
            call(**options)
        task = 'task "one": ' * name.startswith("task_space")
        assert str(caught.value).startswith(task + text)


@pytest.mark.parametrize(("name", "call"), GIVEN.items(), ids=GIVEN)
@pytest.mark.parametrize("options", UNUSED, ids=str)
def test_an_option_without_a_network_is_refused(name, call, options):
    if fits(name, options):
        [word] = options
        with pytest.raises(ModtoolsError) as caught:
            call(**options)
        text = f"features were given, so no network runs: leave out {word}=."
        assert str(caught.value) == 'task "one": ' * (name == "task_space") + text


@pytest.mark.parametrize(("name", "call"), GIVEN.items(), ids=GIVEN)
def test_the_defaults_may_be_given(name, call):
    defaults = {"device": None, "precision": "float32", "batch_size": 64, "cache": False}
    if name == "race_modules":
        del defaults["batch_size"]
    assert call(**defaults) is not None


def test_features_beside_a_network_take_the_options_of_the_network():
    mixed = {"a": NETWORKS[0], "b": FEATURES}
    ranking = mt.rank_modules(mixed, TASK, by="knn", device="cpu", batch_size=8)
    assert ranking.settings["batch_size"] == 8


def test_a_baseline_runs_on_the_device_beside_features():
    network = partial(nn.Linear, 3, 2)
    study = partial(mt.label_efficiency, PAIRS, TASK, TASK, **STUDY, network=network)
    with pytest.raises(ModtoolsError, match=r'^device "nowhere:0" is not available here'):
        study(device="nowhere:0")
    with pytest.raises(ModtoolsError, match=r"^features were given, .*: leave out batch_size=\.$"):
        study(device="cpu", batch_size=8)
    done = study(device="cpu", training={"epochs": 1})
    assert "from scratch" in set(done.frame()["module"])
