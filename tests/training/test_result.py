"""What training gives back: modules that can be scored, saved and drawn."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import modtools as mt
from modtools import ModtoolsError
from modtools._intervals import wilson
from modtools.proxies import SupCon
from modtools.tasks import Task
from modtools.training import Recipe, networks, train_end_to_end, train_modular
from tests.documents import facts

pytestmark = pytest.mark.floating_point

SIZES = [64, 24, 16, 5]
RECIPE = Recipe(batch_size=16, learning_rate=0.03)


@pytest.fixture(scope="module")
def halves(digits):
    """Return 80 digits 0-4 and 80 digits 5-9."""
    low = np.flatnonzero(digits.labels < 5)[:80]
    high = np.flatnonzero(digits.labels >= 5)[:80]
    return tuple(
        Task(digits.batch(rows), digits.labels[rows], name=name)
        for name, rows in (("digits 0-4", low), ("digits 5-9", high))
    )


@pytest.fixture(scope="module")
def result(halves):
    torch.manual_seed(0)
    network = networks.MultilayerPerceptron(SIZES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("modtools.training._trainer._OUTPUT_STEPS", 12)
        return train_modular(
            network,
            halves[0],
            proxy=["nmse", SupCon(temperature=0.2)],
            at=["block1", "features"],
            epochs=8,
            recipe=RECIPE,
            validation=halves[0].subset(slice(40)),
            seed=3,
        )


def test_settings_are_plain_json_and_say_all(result, halves):
    settings = result.settings
    assert json.loads(json.dumps(settings)) == settings
    expected = {
        "schedule": "sequential",
        "proxy": ["nmse", "SupCon(feature_map='unit', temperature=0.2)"],
        "at": ["block1", "features"],
        "epochs": 8,
        "max_seconds": None,
        "recipe": RECIPE.as_dict(),
        "patience": None,
        "precision": "float32",
        "seed": 3,
        "source_task": "digits 0-4",
        "source_classes": [0, 1, 2, 3, 4],
        "n_rows": 80,
        "task_fingerprint": halves[0].fingerprint,
        "network": "MultilayerPerceptron",
        "pairs": None,
    }
    assert {name: settings[name] for name in expected} == expected


def test_hidden_modules_give_what_the_network_gives_by_hand(result, halves):
    assert [module.names for module in result.modules] == [
        ("multilayerperceptron-nmse-SupCon@block1",),
        ("multilayerperceptron-nmse-SupCon@features",),
    ]
    network, prepare = result.network, result.modules[0].preprocess
    inputs = prepare(torch.as_tensor(halves[1].inputs))
    for module, n_blocks in zip(result.modules, (1, 2), strict=True):
        with torch.no_grad():
            by_hand = network[:n_blocks](inputs)
        np.testing.assert_allclose(mt.extract(module, halves[1]), by_hand, atol=1e-6)


def test_predictions_and_accuracy_are_those_of_the_network(result, halves):
    with torch.no_grad():
        prepared = result.modules[0].preprocess(torch.as_tensor(halves[0].inputs))
        by_hand = result.network(prepared).argmax(dim=1).numpy()
    assert np.array_equal(result.predict(halves[0]), by_hand)
    assert result.accuracy(halves[0]) == np.mean(by_hand == halves[0].labels)
    assert result.accuracy(halves[0]) > 0.5


def test_predictions_are_label_values(rows, mlp):
    result = train_end_to_end(mlp(), rows, epochs=20, recipe=RECIPE)
    assert set(result.predict(rows)) <= {"ant", "bee", "cow"}
    assert result.accuracy(rows) == np.mean(result.predict(rows) == rows.labels) > 0.8


def test_accuracy_on_rows_of_other_classes_is_refused(result, halves):
    with pytest.raises(ModtoolsError, match=r"labels must be among classes=\[0, 1, 2, 3, 4\]"):
        result.accuracy(halves[1])
    assert len(result.predict(halves[1])) == 80  # whose labels are not read


def test_a_saved_result_is_scored_on_another_task(result, halves, tmp_path):
    torch.manual_seed(1)
    whole = train_end_to_end(networks.MultilayerPerceptron(SIZES), halves[0], epochs=2)
    zoo = mt.Zoo(tmp_path / "zoo")
    folder = result.save(zoo, name="modular", test=halves[0], description="Two modules.")
    assert folder == tmp_path / "zoo" / "modular"
    whole.save(tmp_path / "zoo", name="whole")
    assert list(zoo) == ["modular@block1", "modular@features", "whole@features"]
    frame = mt.rank_modules(zoo, halves[1], by="logme").frame()
    assert sorted(frame["module"]) == sorted(zoo)
    for layer, module in zip(("block1", "features"), result.modules, strict=True):
        np.testing.assert_allclose(
            mt.extract(zoo[f"modular@{layer}"], halves[1]), mt.extract(module, halves[1]), atol=1e-6
        )


def test_the_card_says_how_the_module_was_made(result, halves, tmp_path):
    zoo = mt.Zoo(tmp_path)
    folder = result.save(zoo, test=halves[0])
    card = zoo.card("multilayerperceptron-nmse-SupCon")
    training = card["training"]
    assert card["source_task"] == "digits 0-4"
    assert card["proxy"] == "nmse, SupCon(feature_map='unit', temperature=0.2)"
    assert {**training, **result.settings} == training
    assert training["accuracy"] == result.accuracy(halves[0])
    assert (training["n_test_rows"], training["labels_needed"]) == (80, "pairs")
    assert training["seconds"] == result.seconds
    readme = (folder / "README.md").read_text()
    for text in ("digits 0-4", "0, 1, 2, 3, 4", "sequential", "pairs"):
        assert text in readme
    assert f"{100 * training['accuracy']:.2f} %" in readme


def test_an_end_to_end_card_names_no_proxy(rows, tmp_path):
    torch.manual_seed(0)
    result = train_end_to_end(networks.MultilayerPerceptron([5, 8, 3]), rows, epochs=1)
    assert result.labels_needed == "classes"
    assert [module.names[0] for module in result.modules] == [
        "multilayerperceptron-end_to_end@features"
    ]
    result.save(tmp_path)
    card = mt.Zoo(tmp_path).card("multilayerperceptron-end_to_end")
    assert card["proxy"] is None
    assert card["training"]["source_classes"] == ["ant", "bee", "cow"]
    assert "accuracy" not in card["training"]


def test_saving_needs_a_way_to_rebuild_the_network(rows, mlp, tmp_path):
    result = train_end_to_end(nn.Sequential(nn.Linear(5, 3)), rows, epochs=1)
    with pytest.raises(ModtoolsError, match="build"):
        result.save(tmp_path, name="own")
    assert list(tmp_path.iterdir()) == []
    _save_linear(rows, tmp_path)
    with pytest.raises(ModtoolsError, match="overwrite"):
        _save_linear(rows, tmp_path)
    _save_linear(rows, tmp_path, overwrite=True)
    assert list(mt.Zoo(tmp_path)) == ["own"]


def _save_linear(rows, folder, **options):
    result = train_end_to_end(nn.Linear(5, 3), rows, epochs=1)
    build = ("torch.nn:Linear", {"in_features": 5, "out_features": 3})
    return result.save(folder, name="own", build=build, **options)


def test_labels_needed_are_those_of_the_neediest_proxy(rows, mlp):
    options = {"at": ["0", "2"], "epochs": 1}
    for proxy, needed in (
        ("supcon", "pairs"),
        (["local_classifier", "supcon"], "classes"),
        (["supcon", "predsim"], "classes"),
    ):
        assert train_modular(mlp(), rows, proxy=proxy, **options).labels_needed == needed


def test_the_picture_shows_validation_accuracy_against_seconds(result):
    frame = result.display().frame()
    assert len(frame) == len(result.history)
    assert result.plot() is not None


def test_without_validation_there_is_no_picture(rows, mlp):
    with pytest.raises(ModtoolsError, match="train with validation="):
        train_end_to_end(mlp(), rows, epochs=1).plot()


def test_what_is_shown_of_a_result(result):
    text = repr(result)
    assert text.startswith("TrainingResult(MultilayerPerceptron on digits 0-4, sequential (nmse, ")
    assert "2 hidden modules" in text
    assert isinstance(result.history, pd.DataFrame)
    assert 0 < result.history["seconds"].iloc[-1] <= result.seconds
    assert "<caption>MultilayerPerceptron on digits 0-4, sequential (nmse, " in result._repr_html_()
    assert result.table()[0][:3] == ["module", "epoch", "loss"]


def test_a_result_travels_as_json_and_csv(result):
    content = facts(result.to_json())
    assert list(content["rows"][0]) == list(result.history)
    assert content["peak_activation_bytes"] == result.peak_activation_bytes
    assert content["settings"] == json.loads(json.dumps(result.settings))
    assert result.to_csv().count("\n") == len(result.history) + 1


def test_an_accuracy_has_the_interval_of_its_rows(result, halves):
    test = halves[0]
    value, low, high = result.evaluate(test)
    assert value == result.accuracy(test)
    assert (low, high) == wilson(value, len(test))
