"""A combination of modules is retrained, saved, loaded and exported as one module is."""

import json

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from modtools.exceptions import ModtoolsError
from modtools.modules import CombinedModule, PretrainedModule, extract, image_preprocess, pixels
from modtools.outputs import ClassMeanOutput, LogisticOutput, RidgeOutput
from modtools.retraining import ReusedModel, retrain
from tests.rounding import assert_same_but_for_rounding

pytestmark = pytest.mark.floating_point


@pytest.fixture(scope="module")
def combined():
    torch.manual_seed(0)
    build = ("torch.nn:Conv2d", {"in_channels": 1, "out_channels": 6, "kernel_size": 3})
    network = nn.Conv2d(1, 6, 3)
    preprocess = image_preprocess(size=None, channels=1)
    options = {"pooling": "flatten", "preprocess": preprocess, "build": build}
    return CombinedModule([pixels(), PretrainedModule(network, name="conv", **options)])


@pytest.fixture(scope="module")
def combined_model(combined, parts):
    return retrain(combined, parts[0], output="ridge")


def test_members_get_equal_energy(combined, combined_model, parts):
    features = extract(combined, parts[0])
    assert combined_model.output.blocks == [64, 216]
    wanted = RidgeOutput(blocks=(64, 216)).fit(features, parts[0].labels)
    assert np.allclose(wanted.coef_, combined_model.output.coef_, rtol=1e-9)
    rows = (features - wanted.mean_) / np.where(wanted.scale_ > 0, wanted.scale_, np.inf)
    energies = [np.square(rows[:, part]).sum() for part in (slice(64), slice(64, None))]
    assert energies[0] == pytest.approx(energies[1], rel=1e-6)
    assert combined_model.accuracy(parts[1]) > 0.6


def test_another_estimator_gets_the_columns_as_they_are(combined, parts):
    model = retrain(combined, parts[0], output=KNeighborsClassifier(1))
    assert model.output.n_features_in_ == 280


def test_blocks_that_the_caller_set_are_kept(combined, parts):
    model = retrain(combined, parts[0], output=RidgeOutput(blocks=[280]))
    assert model.output.blocks == [280]


def test_features_of_the_parts_that_are_there_give_the_same_model(combined, combined_model, parts):
    features = extract(combined, parts[0])
    blocks = {"a": features[:, :64], "b": features[:, 64:]}
    model = retrain(combined, parts[0], features=blocks, output="ridge")
    assert model.output.blocks == [64, 216]
    assert np.array_equal(model.predict(parts[1]), combined_model.predict(parts[1]))


def test_features_of_the_parts_are_one_entry_each(combined, parts):
    features = extract(combined, parts[0])
    with pytest.raises(ModtoolsError, match="of pixels, conv, in this order; got one array"):
        retrain(combined, parts[0], features=features)


def test_unlabelled_inputs_have_the_same_columns(combined, parts):
    model = retrain(combined, parts[0], output=ClassMeanOutput(), unlabelled=parts[1])
    assert model.output.blocks == [64, 216]
    assert model.predict(parts[1]).shape == (100,)


@pytest.mark.parametrize("output", [LogisticOutput(alpha=1.0), RidgeOutput()], ids=str)
def test_a_loaded_model_predicts_the_same(combined, parts, output, tmp_path):
    model = retrain(combined, parts[0], output=output)
    loaded = ReusedModel.load(model.save(tmp_path / "model"))
    assert_same_but_for_rounding(
        loaded.decision_function(parts[1]), model.decision_function(parts[1]), dtype=np.float32
    )
    assert repr(loaded) == repr(model)
    assert "pixels + conv" in repr(loaded)
    assert loaded.module.members == combined.members


def test_a_changed_network_is_refused(combined_model, tmp_path):
    path = combined_model.save(tmp_path / "model")
    card = json.loads((path / "card.json").read_text())
    card["module_sha256"]["conv"] = "0" * 64
    (path / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModtoolsError, match="its module conv is another one"):
        ReusedModel.load(path)


@pytest.mark.parametrize(
    "change",
    [
        {"module": ["pixels"]},
        {"module": [3, None]},
        {"module": []},
        {"module": ["pixels", "conv@../x"]},
        {"module": ["pixels", "other"]},
        {"module_sha256": "0" * 64},
        {"module_sha256": {}},
    ],
    ids=str,
)
def test_a_damaged_card_is_refused(combined_model, tmp_path, change):
    path = combined_model.save(tmp_path / "model")
    card = json.loads((path / "card.json").read_text())
    (path / "card.json").write_text(json.dumps(card | change))
    with pytest.raises(ModtoolsError, match="Nothing was loaded"):
        ReusedModel.load(path)


def test_one_torch_network_gives_the_same_logits(combined, combined_model, parts):
    network = combined_model.to_torch()
    logits = network(parts[1].inputs).detach().numpy()
    wanted = combined_model.decision_function(parts[1])
    assert np.abs(logits - wanted).max() < 1e-5 * max(1.0, np.abs(wanted).max())
    prepared = [part.preprocess(parts[1].inputs) for part in combined.networks]
    plain = combined_model.to_torch(preprocess=False)
    assert torch.allclose(plain(prepared), network(parts[1].inputs), atol=1e-5)
    with torch.no_grad():
        network.network[1].weight.zero_()
    assert_same_but_for_rounding(
        combined_model.decision_function(parts[1]), wanted, dtype=np.float32
    )
