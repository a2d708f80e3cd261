"""Studies of modules as networks: extracted once, and compared with one trained from scratch."""

import numpy as np
import pytest

from modtools.exceptions import ModtoolsError
from modtools.modules import PretrainedModule, Zoo, extract, pixels
from modtools.studies import label_efficiency
from modtools.tasks import Task


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
    expected = label_efficiency({"pixels": features}, *tasks, budgets=[10, 40], repeats=2).frame()
    for modules in ([pixels()], zoo, {"pixels": pixels(name="other")}):
        found = label_efficiency(modules, *tasks, budgets=[10, 40], repeats=2).frame()
        assert found.equals(expected)


def test_a_resumed_study_runs_no_network_again(tasks, tmp_path, monkeypatch):
    from modtools import modules

    first = label_efficiency([pixels()], *tasks, budgets=[10, 40], repeats=2, folder=tmp_path)
    assert list((tmp_path / "features").iterdir())
    monkeypatch.setattr(modules, "run", None)
    again = label_efficiency([pixels()], *tasks, budgets=[10, 40], repeats=2, folder=tmp_path)
    assert first.frame().equals(again.frame())


def test_a_baseline_from_scratch(tasks, tmp_path):
    options = {"budgets": [20, 60], "repeats": 1, "folder": tmp_path}
    options |= {"network": small_network, "training": {"epochs": 30}}
    study = label_efficiency([pixels()], *tasks, **options)
    table = study.frame()
    scratch = table[table["module"] == "from scratch"]
    assert scratch["output"].unique().tolist() == ["end to end"]
    assert (scratch["accuracy"] > 0.2).all()
    assert np.isfinite(scratch["log_loss"]).all()
    savings = study.savings("pixels", "from scratch")
    assert savings["n_labels"].tolist() == [20, 60]
    drawn = study.plot(target=None).frame().drop_duplicates("line").set_index("line")
    assert drawn["baseline"].to_dict() == {"pixels": False, "from scratch": True}
    again = label_efficiency([pixels()], *tasks, **{**options, "training": {"epochs": 30}})
    assert again.frame().equals(table)
    with pytest.raises(ModtoolsError, match=r'baseline was .*"30".* now .*"31"'):
        label_efficiency([pixels()], *tasks, **{**options, "training": {"epochs": 31}})


def test_networks_need_tasks_and_names_of_their_own(tasks):
    with pytest.raises(ModtoolsError, match="networks read the inputs of tasks"):
        label_efficiency([pixels()], tasks[0].labels, tasks[1].labels)
    with pytest.raises(ModtoolsError, match='two modules are named "pixels"'):
        label_efficiency([pixels(), pixels()], *tasks)


def test_a_network_that_fails_is_named(tasks, tmp_path):
    broken = PretrainedModule(lambda batch: batch.broken, name="broken")
    with pytest.raises(ModtoolsError, match=r'module "broken" failed .*AttributeError'):
        label_efficiency([broken], *tasks, budgets=[10])
    with pytest.raises(ModtoolsError, match='"broken" cannot be told from others'):
        label_efficiency([broken], *tasks, budgets=[10], folder=tmp_path)


def test_a_network_from_scratch_must_be_made_anew(tasks):
    with pytest.raises(ModtoolsError, match="network must be a function without arguments"):
        label_efficiency([pixels()], *tasks, network=small_network())
    with pytest.raises(ModtoolsError, match="it returned int"):
        label_efficiency([pixels()], *tasks, budgets=[10], repeats=1, network=lambda: 3)


def test_regression_is_refused():
    task = Task(np.arange(9), np.linspace(0, 1, 9))
    with pytest.raises(ModtoolsError, match="label_efficiency is defined for classification"):
        label_efficiency([pixels()], task, task)
