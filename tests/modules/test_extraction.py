import numpy as np
import pytest
import torch
from torch import nn

from modtools.exceptions import ModtoolsError
from modtools.modules import PretrainedModule, extract, image_preprocess, iter_features, run
from modtools.tasks import Task
from tests.rounding import assert_same_but_for_rounding

pytestmark = pytest.mark.floating_point


def by_hand(network, images):
    """Features of each layer with plain torch, layer by layer."""
    network = network.eval()
    with torch.no_grad():
        stem = network.stem(torch.from_numpy(images))
        norm = network.norm(stem)
        x = torch.relu(norm)
        for block in network.blocks[:2]:
            before = block(x)
            x = torch.tanh(before)
        output = network(torch.from_numpy(images))
    pooled = {
        "stem": stem.mean((2, 3)),
        "norm": norm.mean((2, 3)),
        "blocks.1": before.mean((2, 3)),
        None: output,
    }
    return {layer: value.numpy() for layer, value in pooled.items()}


def test_every_layer_equals_plain_torch_even_before_an_in_place_layer(module, images):
    found = extract(module, images, batch_size=3)
    assert tuple(found) == module.names
    expected = by_hand(module.network, images)
    for layer, name in zip(module.layers, module.names, strict=True):
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], expected[layer], atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 100])
@pytest.mark.parametrize("layer", ["norm", None])
def test_batches_do_not_change_the_features(module, images, batch_size, layer):
    whole = extract(module.at(layer), images)
    np.testing.assert_allclose(
        extract(module.at(layer), images, batch_size=batch_size), whole, atol=1e-6
    )


def test_task_array_tensor_list_and_dataset_agree(module, images):
    tensor = torch.from_numpy(images)
    dataset = torch.utils.data.TensorDataset(tensor, torch.arange(7))
    expected = extract(module.at("stem"), images)
    for inputs in (Task(images, list("aabbccc")), tensor, Task(dataset), list(images)):
        assert_same_but_for_rounding(extract(module.at("stem"), inputs), expected)


def test_iter_features_yields_what_extract_stacks(module, images):
    blocks = list(iter_features(module.at("norm"), images, batch_size=3))
    assert [len(block) for block in blocks] == [3, 3, 1]
    assert_same_but_for_rounding(
        np.concatenate(blocks), extract(module.at("norm"), images, batch_size=3)
    )
    both = module.at(["stem", None])
    several = list(iter_features(both, images, batch_size=4))
    assert [list(block) for block in several] == [["tiny@stem", "tiny"]] * 2
    for name, whole in extract(both, images, batch_size=4).items():
        found = np.concatenate([block[name] for block in several])
        assert_same_but_for_rounding(found, whole)


def test_run_names_features(module, images):
    done = run(module.at(["stem", None]), images)
    assert list(done.features) == ["tiny@stem", "tiny"]
    assert done.source_probabilities is None
    assert done.seconds > 0


@pytest.mark.parametrize("n_layers", [1, 2, 4])
def test_all_layers_of_a_network_cost_one_forward_pass(module, images, n_layers):
    extract(module.at(module.layers[:n_layers]), images, batch_size=2)
    assert module.network.calls == 4


def test_the_pass_stops_after_the_last_layer_unless_the_rest_is_wanted(images):
    calls = []
    last = nn.Identity()
    last.register_forward_hook(lambda *_: calls.append(1))
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 3), last)
    module = PretrainedModule(network, name="net", layers="1", source_head=True)
    extract(module, images, batch_size=2)
    assert len(calls) == 2  # the first batch of two and of one, to find the order of the layers
    extract(module.at(["1", None]), images, batch_size=2)
    assert len(calls) == 6
    run(module, images, batch_size=2)
    assert len(calls) == 10
    run(module, images, batch_size=2, with_source=False)
    assert len(calls) == 12


def test_an_inner_module_that_runs_twice_gives_its_last_output(images):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(36, 36)

        def forward(self, x):
            return self.layer(self.layer(x.flatten(1))).sum(1, keepdim=True)

    network = Twice()
    found = extract(PretrainedModule(network, name="twice", layers="layer"), images, batch_size=2)
    with torch.no_grad():
        flat = torch.from_numpy(images).flatten(1)
        expected = network.layer(network.layer(flat))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)


def test_the_network_stays_as_it_was(module, images):
    network = module.network.train()
    network.blocks[1].eval()
    flags = [part.training for part in network.modules()]
    state = {name: value.clone() for name, value in network.state_dict().items()}
    extract(module, images)
    assert [part.training for part in network.modules()] == flags
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name])
    assert not any(part._forward_hooks for part in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_the_network_is_restored_after_an_error_and_after_a_broken_loop(module, images):
    network = module.network.train()
    blocks = iter_features(module, images, batch_size=2)
    next(blocks)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    blocks.close()
    assert network.training
    with pytest.raises(ModtoolsError):
        extract(module, images[:, :, :2])
    assert network.training
    assert not any(part._forward_hooks for part in network.modules())


def test_neither_inputs_nor_the_random_state_change(images):
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten())
    array = images - np.float32(0.5)
    for inputs, preprocess in (
        (array, None),
        (torch.from_numpy(array), None),
        (array, torch.from_numpy),
        (array, lambda batch: {"input": torch.from_numpy(batch)}),
    ):
        before, state = np.asarray(inputs).copy(), torch.get_rng_state()
        extract(PretrainedModule(network, name="net", preprocess=preprocess), inputs)
        np.testing.assert_array_equal(np.asarray(inputs), before)
        assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_inputs_take_the_number_type_of_the_weights(images, dtype):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    expected = extract(PretrainedModule(network, name="net"), images)
    found = extract(PretrainedModule(network.to(dtype), name="net"), images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_autocast_is_close_to_float32_and_used(module, images, precision):
    exact, found = (extract(module.at("stem"), images, precision=p) for p in ("float32", precision))
    np.testing.assert_allclose(found, exact, atol=0.02)
    assert not np.array_equal(found, exact)


def test_a_dict_of_tensors_is_given_as_keywords_with_its_mask():
    class Embed(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(10, 4)

        def forward(self, input_ids, attention_mask):
            return {"last_hidden_state": self.table(input_ids)}

    def tokens(batch):
        ids = [[len(word) for word in text.split()] for text in batch]
        longest = max(map(len, ids))
        return {
            "input_ids": torch.tensor([row + [9] * (longest - len(row)) for row in ids]),
            "attention_mask": torch.tensor(
                [[1] * len(row) + [0] * (longest - len(row)) for row in ids]
            ),
        }

    network = Embed()
    module = PretrainedModule(network, name="bag", pooling="masked_mean", preprocess=tokens)
    found = extract(module, ["a bb ccc", "dddd"])
    table = network.table.weight.detach().numpy()
    np.testing.assert_allclose(found, [table[[1, 2, 3]].mean(0), table[4]], atol=1e-6)


@pytest.mark.parametrize("head", [True, "head", lambda output: output.softmax(1)])
def test_source_probabilities(network, images, head):
    module = PretrainedModule(network, name="tiny", layers="stem", source_head=head)
    found = run(module, images, batch_size=3)
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(images)).softmax(1)
    np.testing.assert_allclose(found.source_probabilities, expected.numpy(), atol=1e-6)
    assert list(found.features) == ["tiny@stem"]


def test_a_head_that_is_also_a_layer_and_outputs_that_are_probabilities(network, images):
    module = PretrainedModule(network, name="tiny", layers="head", source_head="head")
    done = run(module, images)
    rows = torch.from_numpy(done.features["tiny@head"]).softmax(1)
    np.testing.assert_allclose(done.source_probabilities, rows.numpy(), atol=1e-6)
    ready = PretrainedModule(
        nn.Sequential(network, nn.Softmax(1)), name="ready", layers="0", source_head=True
    )
    np.testing.assert_allclose(
        run(ready, images).source_probabilities, done.source_probabilities, atol=1e-6
    )


def test_a_head_that_gives_no_probabilities(network, images):
    module = PretrainedModule(network, name="tiny", source_head=lambda output: output)
    with pytest.raises(ModtoolsError, match=r'source probabilities of module "tiny".*softmax'):
        run(module, images)


def test_a_plain_callable(images):
    module = PretrainedModule(lambda x: x.flatten(1) * 2, name="double")
    np.testing.assert_allclose(extract(module, images), images.reshape(7, -1) * 2)


class Broken(nn.Module):
    """Divides by the first pixel, so that a black one gives infinity."""

    def forward(self, x):
        return 1 / x.flatten(1)


def test_infinite_features_name_module_layer_and_row(images):
    images[5, 0, 0, 2] = 0
    module = PretrainedModule(nn.Sequential(Broken()), name="net", layers="0")
    message = (
        r'features of module "net@0" must be finite: inf at example 5, column 2. Drop this '
        "example or check the module's precision"
    )
    with pytest.raises(ModtoolsError, match=message):
        extract(module, images, batch_size=2)


@pytest.mark.parametrize(
    ("layer", "options", "message"),
    [
        ("unused", {}, 'layer "unused" of tiny is never reached by the forward pass'),
        (None, {"precision": "float61"}, 'unknown precision "float61"; did you mean "float16"'),
        (None, {"batch_size": 0}, "batch_size must be a whole number of at least 1"),
        (None, {"device": "gpu"}, 'device "gpu" is not available here; known: cpu'),
        (None, {"device": "cuda:63"}, 'device "cuda:63" is not available here'),
    ],
)
def test_bad_options(module, images, layer, options, message):
    for reader in (extract, iter_features):
        with pytest.raises(ModtoolsError, match=message):
            list(reader(module.at(layer), images, **options))


def test_options_are_checked_before_the_first_batch(module, images):
    with pytest.raises(ModtoolsError, match="unknown precision"):
        iter_features(module, images, precision="half")
    assert module.network.calls == 0


@pytest.mark.parametrize("inputs", [[], np.zeros((0, 1, 6, 6), np.float32)])
def test_an_empty_task(module, inputs):
    with pytest.raises(ModtoolsError, match="the task is empty"):
        extract(module, inputs)


def test_inputs_without_a_length(module):
    with pytest.raises(ModtoolsError, match="inputs must be a task, an array or a list"):
        extract(module, 3)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.mean(), r'module "bad" returned shape \(\) for a batch of 7'),
        (lambda x: x[0], r"returned shape \(1, 6, 6\) for a batch of 7.*first axis"),
        (lambda x: "text", "returned str, no tensor in it"),
        (lambda x: x * 1j, r"returned torch.complex64 of shape .* must be real numbers"),
        (lambda x: x[:, :0], "must be real numbers, at least one per example"),
        (lambda x: x @ torch.ones(3), 'module "bad" failed on a batch of 7 inputs of shape'),
        (lambda x: x.no_such_method(), "AttributeError.*preprocess="),
    ],
)
def test_bad_outputs(images, function, message):
    with pytest.raises(ModtoolsError, match=message):
        extract(PretrainedModule(function, name="bad"), images)


def test_features_that_depend_on_the_size_of_the_input():
    def tokens(batch):
        return torch.ones(len(batch), max(map(len, batch)), 2)

    module = PretrainedModule(nn.Identity(), name="net", pooling="flatten", preprocess=tokens)
    with pytest.raises(
        ModtoolsError, match="returned 6 features at example 1, 2 before; choose a po"
    ):
        extract(module, ["a", "bbb"], batch_size=1)


def test_a_failing_network_with_preprocessing_gets_no_hint(network):
    module = PretrainedModule(network, name="tiny", preprocess=image_preprocess(channels=3))
    with pytest.raises(ModtoolsError, match=r"shape \(2, 3, 8, 8\): RuntimeError") as caught:
        extract(module, np.zeros((2, 8, 8), np.uint8))
    assert "preprocess=" not in str(caught.value)


class Viewing(nn.Module):
    """Insists on rows innermost in memory, which channels-last images do not have."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.stem(x).view(len(x), -1)


def test_a_network_that_views_its_activations(images):
    network = Viewing()
    prepare = image_preprocess()
    assert not prepare(images).is_contiguous()
    module = PretrainedModule(network, name="view", layers=["stem", None], preprocess=prepare)
    found = extract(module, images, batch_size=2)
    assert network.calls == 5  # once more for the first batch
    with torch.no_grad():
        maps = network.stem(prepare(images).contiguous())
    np.testing.assert_allclose(found["view"], maps.reshape(7, -1).numpy(), atol=1e-6)
    np.testing.assert_allclose(found["view@stem"], maps.mean((2, 3)).numpy(), atol=1e-6)


@pytest.mark.gpu
def test_a_device_gives_the_same_features_and_the_network_comes_back(module, images):
    exact = extract(module, images)
    state = {name: value.clone() for name, value in module.network.state_dict().items()}
    found = extract(module, images, device="cuda")
    for layer, expected in exact.items():
        np.testing.assert_allclose(found[layer], expected, atol=1e-2)
    for name, value in module.network.state_dict().items():
        assert value.device.type == "cpu"
        assert torch.equal(value, state[name])
    half = extract(module.at(None), images, device="cuda", precision="bfloat16")
    np.testing.assert_allclose(half, exact[None], atol=0.05)


def test_a_bare_network_is_not_a_module():
    with pytest.raises(ModtoolsError, match="module must be a PretrainedModule; got Linear"):
        extract(nn.Linear(2, 2), np.zeros((3, 2)))


def test_lazy_layers_without_weights_are_refused_and_left_alone(images):
    network = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    module = PretrainedModule(network, name="lazy")
    assert module.n_parameters() == 0
    assert "0 parameters" in repr(module)
    with pytest.raises(ModtoolsError, match="the network has lazy layers without weights"):
        extract(module, images)
    assert network[1].has_uninitialized_params()
