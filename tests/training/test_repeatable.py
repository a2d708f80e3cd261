"""One seed gives one result, and nothing outside the network is touched."""

import random

import numpy as np
import pytest
import torch

from modtools.training import _trainer, train_end_to_end, train_modular

pytestmark = pytest.mark.floating_point

METHODS = ["sequential", "simultaneous", "end_to_end"]


@pytest.fixture
def train(images, recipe):
    """Return a function that trains a network by a method."""

    def train(method, network, **options):
        options = {"epochs": 2, "recipe": recipe, **options}
        if method == "end_to_end":
            return train_end_to_end(network, images, **options)
        return train_modular(
            network,
            images,
            proxy=["predsim", "supcon"],
            schedule=method,
            at=["second", "features"],
            **options,
        )

    return train


@pytest.mark.parametrize("method", METHODS)
def test_one_seed_gives_one_result(method, train, conv, state, differ):
    runs = []
    for noise in (0, 1):
        network = conv()
        torch.manual_seed(noise)  # what the caller drew before does not matter
        np.random.seed(noise)  # noqa: NPY002
        result = train(method, network, seed=7)
        runs.append((state(network), result.history.drop(columns="seconds")))
    assert not differ(runs[0][0], runs[1][0])
    assert runs[0][1].equals(runs[1][1])


@pytest.mark.parametrize("method", METHODS)
def test_another_seed_gives_another_result(method, train, conv, state, differ):
    states = []
    for seed in (0, 1):
        network = conv()
        train(method, network, seed=seed, epochs=1)
        states.append(state(network))
    changed = differ(*states)
    assert all(name in changed for name in states[0] if name.endswith("weight"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_random_states_are_left_alone(method, precision, train, conv, monkeypatch):
    def try_both(step):
        step("float32")
        step("bfloat16")
        return "float32"

    monkeypatch.setattr(_trainer, "measured_precision", try_both)
    network = conv()
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    train(method, network, epochs=1, precision=precision)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert random.getstate() == before[2]


@pytest.mark.parametrize("method", METHODS)
def test_measuring_the_precision_leaves_no_trace(method, train, conv, state, differ, monkeypatch):
    def try_both(step):
        step("float32")
        step("bfloat16")
        return "float32"

    monkeypatch.setattr(_trainer, "measured_precision", try_both)
    states = []
    for precision in ("float32", "auto"):
        network = conv()
        train(method, network, epochs=1, precision=precision)
        states.append(state(network))
    assert not differ(*states)


@pytest.mark.parametrize("method", METHODS)
def test_bfloat16_trains_float32_weights(method, train, conv, state, differ):
    states, losses = [], []
    for precision in ("float32", "bfloat16"):
        network = conv()
        losses.append(train(method, network, epochs=1, precision=precision).history["loss"])
        states.append(state(network))
        floats = [tensor for tensor in states[-1].values() if tensor.is_floating_point()]
        assert {tensor.dtype for tensor in floats} == {torch.float32}
    assert differ(*states)
    np.testing.assert_allclose(*losses, rtol=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_validation_leaves_training_alone(method, train, conv, held_out, state, differ):
    states = []
    for validation in (None, held_out):
        network = conv()
        train(method, network, validation=validation)
        states.append(state(network))
    assert not differ(*states)


@pytest.mark.parametrize("method", METHODS)
def test_the_network_is_trained_in_place(method, train, conv, images, state, differ):
    network = conv()
    before, parameters = state(network), list(network.parameters())
    pixels, labels = np.array(images.inputs), images.labels.copy()
    result = train(method, network, epochs=1)
    assert result.network is network
    assert all(a is b for a, b in zip(network.parameters(), parameters, strict=True))
    changed = differ(before, state(network))
    assert all(name in changed for name, _ in network.named_parameters())
    assert np.array_equal(images.inputs, pixels)
    assert np.array_equal(images.labels, labels)
