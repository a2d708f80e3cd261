from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from modtools.modules import PretrainedModule

CALLS = Counter()  # outside the network, whose attributes are part of what the cache sees


class TinyNet(nn.Module):
    """A convolutional network with a batch norm, an in-place layer and a part that never runs."""

    def __init__(self, width=4):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.act = nn.ReLU(inplace=True)
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(3))
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(width, 5)
        self.unused = nn.Linear(2, 2)
        CALLS[id(self)] = 0

    @property
    def calls(self):
        return CALLS[id(self)]

    def forward(self, images):
        CALLS[id(self)] += 1
        x = self.act(self.norm(self.stem(images)))
        for block in self.blocks:
            x = torch.tanh(block(x))
        return self.head(self.drop(x.mean((2, 3))))


@pytest.fixture
def network():
    torch.manual_seed(0)
    made = TinyNet()
    with torch.no_grad():
        made.norm.running_mean.uniform_(-1, 1)
        made.norm.running_var.uniform_(0.5, 2)
    return made


@pytest.fixture
def images():
    return np.random.default_rng(0).random((7, 1, 6, 6), dtype=np.float32)


@pytest.fixture
def module(network):
    return PretrainedModule(network, name="tiny", layers=["stem", "norm", "blocks.1", None])


@pytest.fixture
def linear():
    torch.manual_seed(0)
    build = ("torch.nn:Linear", {"in_features": 4, "out_features": 3})
    return PretrainedModule(nn.Linear(4, 3), name="small", build=build)
