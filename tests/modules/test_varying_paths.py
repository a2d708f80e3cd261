"""Networks that run their layers now once, now twice, now not at all."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from modtools.exceptions import ModtoolsError
from modtools.modules import PretrainedModule, extract, iter_features

N_CALLS = []


class Net(nn.Module):
    """Runs its block twice where `is_hard` says so; the head is run and not read."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.block, self.head = nn.Linear(4, 4), nn.Linear(4, 4)
        self.n = 0
        self.kept = SimpleNamespace(n=0)
        self.list = []
        self.register_buffer("count", torch.zeros(()))

    def is_hard(self, x):
        raise NotImplementedError

    def forward(self, x):
        h = torch.relu(self.block(x))
        if self.is_hard(x):
            h = self.block(h)
        return self.head(h)


class ByMean(Net):
    def is_hard(self, x):
        return x.abs().mean() > 1


class ByItem(Net):
    def is_hard(self, x):
        return x[0, 0].item() > 1


class ByFloat(Net):
    def is_hard(self, x):
        return float(x.max()) > 1


class ByNumpy(Net):
    def is_hard(self, x):
        return x.numpy()[0, 0] > 1


class ByArray(Net):
    def is_hard(self, x):
        return np.asarray(x).mean() > 1


class ByList(Net):
    def is_hard(self, x):
        return x.tolist()[0][0] > 1


class ByText(Net):
    def is_hard(self, x):
        return "3." in str(x)


class ByMask(Net):
    def is_hard(self, x):
        return len(x[x > 1])


class ByNonzero(Net):
    def is_hard(self, x):
        return torch.where(x > 1)[0].shape[0]


class ByUnique(Net):
    def is_hard(self, x):
        return len((x > 1).unique(return_counts=True)[0]) == 1 and len(torch.nonzero(x > 1))


class ByEqual(Net):
    def is_hard(self, x):
        return not torch.equal(x.clamp(max=1), x)


class ByContains(Net):
    def is_hard(self, x):
        return 3.0 in x


class ByCounter(Net):
    def is_hard(self, x):
        self.n += 1
        return self.n > 1


class ByCounterOfAnObject(Net):
    def is_hard(self, x):
        self.kept.n += 1
        return self.kept.n > 1


class ByLength(Net):
    def is_hard(self, x):
        self.list.append(1)
        return len(self.list) > 1


class ByBuffer(Net):
    def is_hard(self, x):
        self.count += 1
        return self.count > 1


class ByClosure(Net):
    def forward(self, x):
        N_CALLS.append(1)
        h = torch.relu(self.block(x))
        return self.head(self.block(h) if len(N_CALLS) > 1 else h)


def hard_and_easy():
    return torch.cat([torch.full((4, 4), 0.1), torch.full((4, 4), 3.0)])


def last_outputs(kind, inputs):
    """The last output of the block in each of two batches, with plain torch."""
    N_CALLS.clear()
    network, found = kind().eval(), []
    for batch in inputs.split(4):
        outputs = []
        handle = network.block.register_forward_hook(lambda *args, o=outputs: o.append(args[2]))
        with torch.inference_mode():
            network(batch)
        handle.remove()
        found.append(outputs)
    N_CALLS.clear()
    assert [len(outputs) for outputs in found] == [1, 2]
    return torch.cat([outputs[-1] for outputs in found]).numpy()


@pytest.mark.parametrize("kind", Net.__subclasses__(), ids=lambda kind: kind.__name__)
def test_the_last_output_is_read_in_every_batch(kind):
    inputs = hard_and_easy()
    expected = last_outputs(kind, inputs)
    module = PretrainedModule(kind(), name="net", layers="block")
    np.testing.assert_allclose(extract(module, inputs, batch_size=4), expected, atol=1e-6)


def test_a_random_path_is_run_to_its_end():
    class ByChance(Net):
        def is_hard(self, x):
            return random.random() < 0.5

    network, calls = ByChance(), []
    network.head.register_forward_hook(lambda *_: calls.append(1))
    extract(PretrainedModule(network, name="net", layers="block"), torch.ones(6, 4), batch_size=1)
    assert len(calls) == 6


def test_a_path_that_depends_on_the_size_of_a_batch():
    class BySize(Net):
        def is_hard(self, x):
            return len(x) < 4

    network, inputs = BySize().eval(), torch.rand(6, 4)
    with torch.inference_mode():
        first, second = torch.relu(network.block(inputs[:4])), network.block(inputs[4:])
        expected = torch.cat([network.block(inputs[:4]), network.block(torch.relu(second))])
    found = extract(PretrainedModule(network, name="net", layers="block"), inputs, batch_size=4)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)
    assert first.shape == (4, 4)


def test_a_fixed_path_stops_after_its_last_layer_though_it_asks_for_shapes():
    class Asks(Net):
        def is_hard(self, x):
            n, _ = x.shape
            return x.size(0) != n or x.dim() != 2 or len(x) != n or not x.is_floating_point()

    network, calls = Asks(), []
    network.head.register_forward_hook(lambda *_: calls.append(1))
    inputs = torch.ones(12, 4)
    extract(PretrainedModule(network, name="net", layers="block"), inputs, batch_size=4)
    assert len(calls) == 1


def test_a_network_that_prepares_something_in_its_first_pass_stops_after_the_second():
    class Lazy(Net):
        scale = None

        def is_hard(self, x):
            self.scale = torch.ones(4)
            return False

    network, calls = Lazy(), []
    network.head.register_forward_hook(lambda *_: calls.append(1))
    extract(PretrainedModule(network, name="net", layers="block"), torch.ones(16, 4), batch_size=4)
    assert len(calls) == 2


def test_a_layer_that_an_early_exit_skips_is_named_with_what_to_do():
    class EarlyExit(Net):
        def forward(self, x):
            h = self.block(x)
            return h if x.mean() > 1 else self.head(h)

    module = PretrainedModule(EarlyExit(), name="exits", layers="head")
    message = (
        'layer "head" of exits was reached for some batches and is not for this one: .*layers=None'
    )
    with pytest.raises(ModtoolsError, match=message):
        extract(module, hard_and_easy(), batch_size=4)
    with pytest.raises(ModtoolsError, match="is never reached by the forward pass"):
        extract(module, hard_and_easy()[4:], batch_size=4)
    assert extract(module.at(None), hard_and_easy(), batch_size=4).shape == (8, 4)


def test_several_layers_of_a_network_that_varies_nested_and_shared():
    class Nested(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
            self.again = self.inner
            self.end = nn.Linear(4, 4)

        def forward(self, x):
            h = self.inner(x)
            return self.end(self.again(h) if x.mean() > 1 else h)

    network, inputs = Nested().eval(), hard_and_easy()
    with torch.inference_mode():
        once = network.inner(inputs)
        hard = network.inner(once[4:])
        expected = {
            "inner": torch.cat([once[:4], hard]),
            "inner.0": torch.cat([network.inner[0](inputs[:4]), network.inner[0](once[4:])]),
            "again": torch.cat([once[:4], hard]),
            "end": network.end(torch.cat([once[:4], hard])),
        }
    module = PretrainedModule(network, name="net", layers=list(expected))
    found = extract(module, inputs, batch_size=4)
    for layer, rows in expected.items():
        np.testing.assert_allclose(found[f"net@{layer}"], rows.numpy(), atol=1e-6)
    for layer in expected:
        blocks = np.concatenate(list(iter_features(module.at(layer), inputs, batch_size=4)))
        np.testing.assert_allclose(blocks, found[f"net@{layer}"], atol=1e-6)


def test_a_layer_whose_output_is_changed_in_place_later_in_some_batches():
    class InPlace(Net):
        def forward(self, x):
            h = self.block(x)
            first = h.clone()
            h.mul_(0) if x.mean() > 1 else h.add_(1)
            return self.head(first)

    network, inputs = InPlace().eval(), hard_and_easy()
    with torch.inference_mode():
        expected = network.block(inputs).numpy()
    found = extract(PretrainedModule(network, name="net", layers="block"), inputs, batch_size=4)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_attention_takes_the_same_way_in_the_first_batch_as_later():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    network = nn.Sequential(layer, nn.Linear(8, 3)).eval()
    inputs = torch.randn(3, 5, 8)
    module = PretrainedModule(network, name="attends", layers="0")
    found = extract(module, torch.cat([inputs, inputs]), batch_size=3)
    with torch.inference_mode():
        expected = layer(inputs).mean(1).numpy()
    np.testing.assert_allclose(found[:3], expected, atol=1e-6)
    np.testing.assert_allclose(found[3:], expected, atol=1e-6)
