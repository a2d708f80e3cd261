"""Small tasks and networks, so that a whole training takes a fraction of a second."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from modtools.tasks import Task
from modtools.training import Augmentation, Recipe, _trainer

_OUTPUT_STEPS = _trainer._OUTPUT_STEPS


@pytest.fixture(autouse=True)
def _few_output_steps(monkeypatch):
    """Let an output module take few steps at least, instead of 300."""
    monkeypatch.setattr(_trainer, "_OUTPUT_STEPS", 12)


@pytest.fixture
def all_output_steps(_few_output_steps, monkeypatch):
    """Let it take all of them."""
    monkeypatch.setattr(_trainer, "_OUTPUT_STEPS", _OUTPUT_STEPS)


@pytest.fixture(scope="session")
def small_digits(digits):
    """Return 200 images of 8x8 pixels in 4 classes, in the order of the classes."""
    chosen = np.concatenate([np.flatnonzero(digits.labels == label)[:50] for label in range(4)])
    return Task(digits.batch(chosen), digits.labels[chosen], name="small digits")


@pytest.fixture(scope="session")
def images(small_digits):
    """Return 80 of these images, 20 of each class."""
    return small_digits.few_labels(per_class=20, seed=0)


@pytest.fixture(scope="session")
def held_out(small_digits, images):
    """Return 40 others, in the order of the classes."""
    others = small_digits.complement(images)
    return others.subset(slice(None, None, 3))


@pytest.fixture(scope="session")
def rows():
    """Return 60 examples of 5 numbers in 3 classes that can be learned."""
    rng = np.random.default_rng(0)
    labels = np.repeat(["ant", "bee", "cow"], 20)
    centres = 3 * rng.normal(size=(3, 5))
    features = centres[np.repeat(np.arange(3), 20)] + rng.normal(size=(60, 5))
    return Task(features.astype(np.float32), labels, name="rows")


@pytest.fixture
def recipe():
    """Return a recipe of small steps, with augmentation."""
    return Recipe(batch_size=16, learning_rate=0.01, augmentation=Augmentation(shift=1))


def convolutions(n_classes=4, seed=0):
    """Return five named blocks with batch norm, in-place layers and dropout."""
    torch.manual_seed(seed)
    blocks = {
        "first": nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2)
        ),
        "second": nn.Sequential(
            nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Dropout(0.2)
        ),
        "third": nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 8)),
        "features": nn.Sequential(nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.1)),
        "output": nn.Linear(8, n_classes),
    }
    return nn.Sequential(OrderedDict(blocks))


def perceptron(n_classes=3, seed=0):
    """Return four numbered blocks that read rows of five numbers."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(5, 12),
        nn.ReLU(inplace=True),
        nn.Sequential(nn.Linear(12, 6), nn.Tanh()),
        nn.Linear(6, n_classes),
    )


@pytest.fixture
def conv():
    """Return `convolutions`, the factory of networks for `images`."""
    return convolutions


@pytest.fixture
def mlp():
    """Return `perceptron`, the factory of networks for `rows`."""
    return perceptron


def state_of(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def differing(one, other):
    """Return the names of the tensors that are not the same bit for bit."""
    assert one.keys() == other.keys()
    return {name for name in one if not torch.equal(one[name], other[name])}


@pytest.fixture
def state():
    """Return a function that copies the weights and statistics of a network."""
    return state_of


@pytest.fixture
def differ():
    """Return a function that names the tensors in which two states differ."""
    return differing
