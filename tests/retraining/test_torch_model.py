import copy

import numpy as np
import pytest
import torch
from torch import nn

from modtools.exceptions import ModtoolsError
from modtools.modules import PretrainedModule, image_preprocess, pixels
from modtools.outputs import ClassMeanOutput, LogisticOutput, RidgeOutput
from modtools.retraining import retrain
from modtools.tasks import Task

pytestmark = pytest.mark.floating_point

OUTPUTS = [LogisticOutput(), RidgeOutput(), ClassMeanOutput(), ClassMeanOutput(metric="cosine")]


@pytest.fixture
def convolutional():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(216, 4)
    )
    preprocess = image_preprocess(channels=None)
    return PretrainedModule(network, name="conv", layers="2", preprocess=preprocess)


def assert_close(logits, wanted):
    wanted = torch.as_tensor(wanted, dtype=torch.float32)
    largest = max(1.0, float(wanted.abs().max()))
    assert float((logits.detach() - wanted).abs().max()) <= 1e-5 * largest


@pytest.mark.parametrize("output", OUTPUTS, ids=str)
def test_gives_the_same_logits(parts, convolutional, output):
    train, test = parts
    for module in (pixels(), convolutional, convolutional.at(None)):
        model = retrain(module, train, output=output)
        network = model.to_torch()
        assert_close(network(test.inputs), model.decision_function(test))
        predicted = model.labelled_classes[network(test.inputs).argmax(dim=1).numpy()]
        assert np.mean(predicted == model.predict(test)) > 0.98


def test_a_large_mean_costs_no_digits(parts):
    class Shifted(nn.Flatten):
        def forward(self, images):
            return super().forward(images) + 1000

    module = PretrainedModule(Shifted(), name="shifted", preprocess=pixels().preprocess)
    model = retrain(module, parts[0], output="ridge")
    assert_close(model.to_torch()(parts[1].inputs), model.decision_function(parts[1]))


def test_without_preprocessing_it_takes_what_the_network_reads(parts, convolutional):
    model = retrain(convolutional, parts[0], output="ridge")
    prepared = convolutional.preprocess(parts[1].inputs)
    network = model.to_torch(preprocess=False)
    assert_close(network(prepared), model.decision_function(parts[1]))


def test_mappings_of_tensors_pass_through(parts):
    class Twice(nn.Module):
        def forward(self, pixels):
            return 2 * pixels.flatten(1)

    def as_mapping(batch):
        return {"pixels": torch.as_tensor(batch).float() / 16}

    module = PretrainedModule(Twice(), name="twice", preprocess=as_mapping)
    model = retrain(module, parts[0], output="ridge")
    assert_close(model.to_torch()(parts[1].inputs), model.decision_function(parts[1]))


def test_training_the_copy_leaves_the_model_alone(parts, convolutional):
    model = retrain(convolutional, parts[0], output="ridge")
    before = copy.deepcopy(convolutional.network.state_dict())
    decisions = model.decision_function(parts[1])
    network = model.to_torch()
    assert not network.training
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        target = torch.as_tensor(parts[0].labels)
        loss = nn.functional.cross_entropy(network(parts[0].inputs), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert network.network[0].weight.grad.abs().sum() > 0
    after = convolutional.network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert_close(torch.as_tensor(model.decision_function(parts[1])), decisions)


def test_its_state_survives_a_copy(parts, convolutional):
    network = retrain(convolutional, parts[0], output="ridge").to_torch()
    other = copy.deepcopy(network)
    other.load_state_dict(network.state_dict())
    assert_close(other(parts[1].inputs), network(parts[1].inputs).detach())
    with torch.no_grad():
        other.network[0].weight.zero_()
    assert not torch.equal(other(parts[1].inputs), network(parts[1].inputs))


def test_says_what_cannot_become_a_network(parts):
    from sklearn.linear_model import LogisticRegression

    model = retrain(pixels(), parts[0], output=LogisticRegression(max_iter=300))
    with pytest.raises(ModtoolsError, match="LogisticRegression cannot become a torch network"):
        model.to_torch()
    plain = PretrainedModule(lambda images: images.flatten(1).float(), name="plain")
    task = Task(parts[0].inputs, parts[0].labels)
    with pytest.raises(ModtoolsError, match="plain is a plain callable"):
        retrain(plain, task, output="ridge").to_torch()
