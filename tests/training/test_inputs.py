"""Networks and tasks of every form that is promised."""

import numpy as np
import pytest
import torch
from torch import nn

import modtools as mt
from modtools.tasks import Task
from modtools.training import Recipe, networks, train_end_to_end, train_modular

pytestmark = pytest.mark.floating_point

METHODS = [train_modular, train_end_to_end]
RECIPE = Recipe(batch_size=20, learning_rate=0.03)


def test_a_list_of_blocks_is_trained_in_place(rows, mlp, state, differ):
    whole, blocks = mlp(), list(mlp())
    train_modular(whole, rows, at=["0", "2"], epochs=2, recipe=RECIPE)
    result = train_modular(blocks, rows, at=["0", "2"], epochs=2, recipe=RECIPE)
    assert not differ(state(whole), state(result.network))
    assert all(a is b for a, b in zip(result.network, blocks, strict=True))
    assert [module.layers for module in result.modules] == [("0",), ("2",)]


@pytest.mark.parametrize("train", METHODS)
def test_numbered_blocks(train, rows, mlp):
    result = train(mlp(), rows, epochs=20, recipe=RECIPE)
    assert result.accuracy(rows) > 0.8
    assert result.modules[-1].layers == ("2",)
    assert mt.extract(result.modules[-1], rows).shape == (60, 6)


def test_a_network_that_is_no_sequence_is_trained_end_to_end(rows):
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(5, 5), nn.Linear(5, 3)

        def forward(self, rows):
            return self.last(rows + torch.relu(self.first(rows)))

    result = train_end_to_end(Residual(), rows, epochs=30, recipe=RECIPE)
    assert result.accuracy(rows) > 0.8
    assert result.modules[0].layers == (None,)
    assert mt.extract(result.modules[0], rows).shape == (60, 3)


@pytest.mark.parametrize("train", METHODS)
def test_rows_of_floats_with_a_reference_network(train, rows):
    torch.manual_seed(0)
    network = networks.MultilayerPerceptron([5, 16, 8, 3])
    result = train(network, rows, epochs=15, recipe=RECIPE)
    assert result.modules[0].preprocess is None
    assert result.accuracy(rows) > 0.8


def same_rows(rows, form):
    """Return the rows of a task in another form."""
    tensors = torch.as_tensor(rows.inputs)
    if form == "float64":
        return Task(rows.inputs.astype(np.float64), rows.labels)
    if form == "tensor":
        return Task(tensors, rows.labels)
    if form == "subset":
        doubled = np.concatenate([rows.inputs, rows.inputs])
        return Task(doubled, [*rows.labels, *rows.labels]).subset(np.arange(60, 120))
    pairs = list(zip(tensors, rows.labels.tolist(), strict=True))

    class Items(torch.utils.data.Dataset):
        def __len__(self):
            return len(pairs)

        def __getitem__(self, index):
            return pairs[index]

    return Task(Items())


@pytest.mark.parametrize("form", ["float64", "tensor", "subset", "dataset"])
@pytest.mark.parametrize("train", METHODS)
def test_forms_of_a_task_train_alike(train, form, rows, mlp, state, differ):
    states = []
    for task in (rows, same_rows(rows, form)):
        network = mlp()
        train(network, task, epochs=2, recipe=RECIPE)
        states.append(state(network))
    assert not differ(*states)


@pytest.mark.parametrize("form", ["in front", "behind", "tensor"])
def test_images_with_channels_in_front_and_behind(form, images, conv):
    pixels = np.asarray(images.batch(slice(None)))
    inputs = {
        "in front": pixels[:, None],
        "behind": pixels[..., None],
        "tensor": torch.as_tensor(pixels),
    }[form]
    runs = []
    for task in (images, Task(inputs, images.labels)):
        result = train_end_to_end(conv(), task, epochs=1, recipe=RECIPE)
        prepared = result.modules[0].preprocess(torch.as_tensor(task.batch(slice(None))))
        runs.append((prepared, result.settings["preprocess"]))
    assert torch.equal(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]


def test_text_with_a_preprocess_of_its_own():
    words = ["good", "bad", "fine", "poor"] * 5
    task = Task(words, [1, 0, 1, 0] * 5, name="words")

    def letters(batch):
        return torch.tensor([[word.count(c) for c in "abdefginopr"] for word in batch]).float()

    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(11, 8), nn.Tanh(), nn.Linear(8, 2))
    result = train_modular(network, task, preprocess=letters, epochs=20)
    assert result.accuracy(task) == 1
    assert result.settings["preprocess"].endswith("letters")


def test_classes_that_have_no_row_have_an_output(rows, mlp):
    task = Task(rows.inputs, rows.labels, classes=["ant", "bee", "cow", "dog"])
    for proxy in ("supcon", "predsim", "local_classifier", "hsic_bottleneck"):
        result = train_modular(mlp(4), task, proxy=proxy, epochs=1, recipe=RECIPE)
        assert result.history["loss"].notna().all()


def test_parts_frozen_by_the_caller_stay_frozen(rows, mlp, state, differ):
    network = mlp()
    network[0].requires_grad_(False)
    before = state(network)
    train_modular(network, rows, epochs=2, recipe=RECIPE)
    changed = differ(before, state(network))
    assert changed
    assert not any(name.startswith("0.") for name in changed)


def test_modules_are_cut_by_number(small_digits):
    torch.manual_seed(0)
    network = networks.CompactConvNet(len(small_digits.classes))
    result = train_modular(network, small_digits.subset(slice(40, 80)), at=3, epochs=1)
    assert len(result.modules) == 2
    assert result.settings["at"] == [module.layers[0] for module in result.modules]
    assert result.settings["at"][-1] == "features"


@pytest.mark.gpu
@pytest.mark.parametrize("train", METHODS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gpu_trains_too(train, precision, images, conv, recipe, tmp_path):
    options = {"device": "cuda", "precision": precision, "recipe": recipe, "validation": images}
    before = torch.cuda.get_rng_state()
    results = [train(conv(), images, epochs=3, **options) for _ in range(2)]
    assert torch.equal(torch.cuda.get_rng_state(), before)
    assert next(results[0].network.parameters()).is_cuda
    assert results[0].accuracy(images) == pytest.approx(results[1].accuracy(images), abs=0.1)
    assert mt.extract(results[0].modules[0], images).shape[0] == 80
