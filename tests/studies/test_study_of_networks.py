"""Studies of modules as networks: extracted once, and compared with one trained from scratch."""

import numpy as np
import pandas as pd
import pytest

from modtools.exceptions import ModtoolsError
from modtools.modules import PretrainedModule, Zoo, extract, pixels
from modtools.studies import _from_scratch, label_efficiency
from modtools.studies._from_scratch import Baseline
from modtools.tasks import Task

pytestmark = pytest.mark.floating_point


@pytest.fixture(scope="module")
def tasks(digits):
    train = digits.few_labels(n=120, seed=0)
    return train, digits.complement(train).few_labels(n=80, seed=0)


def small_network():
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


def test_networks_give_what_their_features_give(tasks, tmp_path):
    zoo = Zoo(tmp_path)
    zoo.save(pixels())
    features = tuple(extract(pixels(), task) for task in tasks)
    expected = label_efficiency({"pixels": features}, *tasks, n_labels=[10, 40], repeats=2).frame()
    for modules in ([pixels()], zoo, {"pixels": pixels(name="other")}):
        found = label_efficiency(modules, *tasks, n_labels=[10, 40], repeats=2).frame()
        pd.testing.assert_frame_equal(found, expected)


def test_a_resumed_study_runs_no_network_again(tasks, tmp_path, monkeypatch):
    first = label_efficiency([pixels()], *tasks, n_labels=[10, 40], repeats=2, folder=tmp_path)
    assert list((tmp_path / "features").iterdir())
    monkeypatch.setattr("modtools.modules._module_facts.run", None)
    again = label_efficiency([pixels()], *tasks, n_labels=[10, 40], repeats=2, folder=tmp_path)
    pd.testing.assert_frame_equal(first.frame(), again.frame(), check_exact=True)  # kept cells


def test_a_baseline_from_scratch(tasks, tmp_path):
    options = {"n_labels": [20, 60], "repeats": 1, "folder": tmp_path}
    options |= {"network": small_network, "training": {"epochs": 30}}
    study = label_efficiency([pixels()], *tasks, **options)
    table = study.frame()
    scratch = table[table["module"] == "from scratch"]
    assert scratch["output"].unique().tolist() == ["end to end"]
    assert (scratch["value"] > 0.2).all()
    assert np.isfinite(scratch["log_loss"]).all()
    savings = study.savings("pixels", "from scratch")
    assert savings["n_labels"].tolist() == [20, 60]
    drawn = study.plot(target=None).frame().drop_duplicates("line").set_index("line")
    assert drawn["baseline"].to_dict() == {"pixels": False, "from scratch": True}
    again = label_efficiency([pixels()], *tasks, **{**options, "training": {"epochs": 30}})
    pd.testing.assert_frame_equal(again.frame(), table, check_exact=True)  # kept cells
    with pytest.raises(ModtoolsError, match=r'baseline was .*"30".* now .*"31"'):
        label_efficiency([pixels()], *tasks, **{**options, "training": {"epochs": 31}})


@pytest.mark.parametrize("name", ["checkpoint", "seed"])
def test_a_baseline_shares_neither_checkpoint_nor_seed(tasks, name):
    message = f"training= must leave out {name}: each repeat and label count"
    with pytest.raises(ModtoolsError, match=message):
        label_efficiency([pixels()], *tasks, network=small_network, training={name: 1})


def test_what_defines_a_baseline_holds_no_addresses_and_no_device(tasks):
    training = {"preprocess": lambda batch: batch, "validation": tasks[1], "device": "cpu"}
    baseline = Baseline.checked(small_network, training, *tasks, device="cpu")
    found = baseline.describe()["training"]
    assert sorted(found) == ["preprocess", "validation"]
    assert "<lambda>" in found["preprocess"]
    assert " at 0x" not in found["preprocess"]
    assert found["validation"] == tasks[1].fingerprint


def test_a_baseline_runs_on_the_device_of_the_study(tasks, monkeypatch):
    from modtools import training

    seen = []

    def spy(run):
        def recorded(*arguments, device=None, **options):
            seen.append(device)
            return run(*arguments, device=device, **options)

        return recorded

    monkeypatch.setattr(training, "train_end_to_end", spy(training.train_end_to_end))
    monkeypatch.setattr(_from_scratch, "extract", spy(_from_scratch.extract))
    for options in ({"device": "cpu"}, {"training": {"device": "cpu", "recipe": None}}):
        options = {"network": small_network, "n_labels": [10], "repeats": 1, **options}
        label_efficiency([pixels()], *tasks, **options)
    assert seen == ["cpu"] * 4


def test_a_class_of_the_test_rows_only_costs_its_share():
    rng = np.random.default_rng(0)
    inputs = rng.random(size=(30, 8, 8)).astype(np.float32)
    train, test = Task(inputs[:20], np.arange(20) % 10), Task(inputs[20:], np.full(10, 10))
    options = {"network": small_network, "training": {"epochs": 1}, "n_labels": [20], "repeats": 1}
    table = label_efficiency([pixels()], train, test, **options).frame().set_index("module")
    assert table.loc["from scratch", "log_loss"] == pytest.approx(np.log(21 * 11))


def test_networks_need_tasks_and_names_of_their_own(tasks):
    with pytest.raises(ModtoolsError, match="networks read the inputs of tasks"):
        label_efficiency([pixels()], tasks[0].labels, tasks[1].labels)
    with pytest.raises(ModtoolsError, match='two modules are named "pixels"'):
        label_efficiency([pixels(), pixels()], *tasks)


def test_a_network_that_fails_is_named(tasks, tmp_path):
    broken = PretrainedModule(lambda batch: batch.broken, name="broken")
    with pytest.raises(ModtoolsError, match=r'module "broken" failed .*AttributeError'):
        label_efficiency([broken], *tasks, n_labels=[10])
    with pytest.raises(ModtoolsError, match='"broken" cannot be identified'):
        label_efficiency([broken], *tasks, n_labels=[10], folder=tmp_path)


def test_a_network_from_scratch_must_be_made_anew(tasks):
    with pytest.raises(ModtoolsError, match="network must be a function without arguments"):
        label_efficiency([pixels()], *tasks, network=small_network())
    with pytest.raises(ModtoolsError, match="it returned int"):
        label_efficiency([pixels()], *tasks, n_labels=[10], repeats=1, network=lambda: 3)


def test_regression_is_refused():
    task = Task(np.arange(9), np.linspace(0, 1, 9))
    with pytest.raises(ModtoolsError, match="label_efficiency is defined for classification"):
        label_efficiency([pixels()], task, task)
