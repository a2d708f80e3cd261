"""Where batches come from: caches change nothing, augmentation is drawn by step alone."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from modtools import ModtoolsError
from modtools.modules import ImagePreprocess
from modtools.tasks import Task
from modtools.training import (
    Augmentation,
    Recipe,
    _batches,
    networks,
    train_end_to_end,
    train_modular,
)
from modtools.training._batches import (
    CachedSource,
    FrozenSource,
    TaskSource,
    default_preprocess,
    derive_seed,
)

pytestmark = pytest.mark.floating_point

CPU = torch.device("cpu")


@pytest.fixture
def source(images):
    return TaskSource(images, default_preprocess(images), device=CPU)


@pytest.mark.parametrize("proxy", ["supcon", "hsic_bottleneck"])
def test_kept_and_streamed_features_train_alike(proxy, images, conv, recipe, monkeypatch):
    plain, states, kept = Recipe(batch_size=16), [], []
    of = CachedSource.of.__func__

    def noting(cls, source, n_rows):
        kept.append(of(cls, source, n_rows))
        return kept[-1]

    monkeypatch.setattr(CachedSource, "of", classmethod(noting))
    for limit in (1 << 30, 0):
        monkeypatch.setattr(_batches, "_CACHE_BYTES", limit)
        result = train_modular(
            conv(), images, proxy=proxy, at=["first", "features"], epochs=2, recipe=plain
        )
        states.append(result.network.state_dict())
    # A proxy that reads the network's inputs needs these too, which are not kept.
    n_kept = 2 if proxy == "supcon" else 1
    assert [one is not None for one in kept] == [True] * n_kept + [False] * n_kept
    for name in states[0]:
        # Batch norm takes out the bias before it, so its gradient is rounding, and Adam makes steps
        # of any gradient; only the mean that batch norm keeps follows it.
        if not re.search(r"(first|second)\.(0\.bias|1\.running_mean)", name):
            torch.testing.assert_close(states[0][name], states[1][name], rtol=0, atol=1e-4)


def test_features_of_augmented_images_are_not_kept(images, conv, recipe, monkeypatch):
    asked = []
    monkeypatch.setattr(CachedSource, "of", classmethod(lambda cls, *_: asked.append(1)))
    train_modular(conv(), images, at=["first", "features"], epochs=1, recipe=recipe)
    assert len(asked) == 1  # those of the output module, which are not augmented


def test_a_cache_is_what_it_was_made_of(source, monkeypatch, conv):
    monkeypatch.setattr(_batches, "_READ_ROWS", 30)  # several blocks, the last one shorter
    frozen = FrozenSource(source, conv()[:2].eval())
    cache = CachedSource.of(frozen, 80)
    rows = np.array([79, 0, 31, 31])
    torch.testing.assert_close(cache.batch(rows).features, frozen.batch(rows).features)
    assert cache.batch(rows).features.shape == (4, 6, 4, 4)


@pytest.mark.parametrize(("limit", "fits"), [(80 * 256, True), (80 * 256 - 1, False)])
def test_a_cache_has_a_limit_in_bytes(source, limit, fits, monkeypatch):
    monkeypatch.setattr(_batches, "_CACHE_BYTES", limit)  # 64 pixels of four bytes an image
    assert (CachedSource.of(source, 80) is not None) == fits


def test_a_frozen_source_gives_inputs_and_features_without_a_graph(source, conv):
    prefix = conv()[:2].eval()
    inputs, features = FrozenSource(source, prefix).batch(np.arange(3))
    assert torch.equal(inputs, source.batch(np.arange(3)).inputs)
    assert features.grad_fn is None
    assert not features.requires_grad
    torch.testing.assert_close(features, prefix(inputs))


def test_only_a_generator_augments(images):
    plain = TaskSource(images, default_preprocess(images), device=CPU)
    source = TaskSource(
        images, default_preprocess(images), device=CPU, augmentation=Augmentation(shift=2)
    )
    rows = np.arange(6)
    assert torch.equal(source.batch(rows).inputs, plain.batch(rows).inputs)
    drawn = [source.batch(rows, torch.Generator().manual_seed(k)).inputs for k in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_images_are_normalised_by_the_task(small_digits, source):
    prepare = default_preprocess(small_digits)
    assert isinstance(prepare, ImagePreprocess)
    inputs = prepare(torch.as_tensor(small_digits.inputs))
    assert inputs.shape == (200, 1, 8, 8)
    assert abs(float(inputs.mean())) < 1e-3
    assert float(inputs.std()) == pytest.approx(1, abs=1e-3)


def test_images_of_one_colour_are_prepared_too():
    task = Task(np.full((4, 6, 6, 3), 200, np.uint8), [0, 1, 0, 1])
    inputs = default_preprocess(task)(torch.as_tensor(task.inputs))
    assert inputs.shape == (4, 3, 6, 6)
    assert inputs.isfinite().all()


def test_other_arrays_are_used_as_they_are(rows):
    assert default_preprocess(rows) is None
    assert default_preprocess(Task(np.zeros((4, 7), np.uint8), [0, 1, 0, 1])) is None
    assert default_preprocess(Task(np.zeros((4, 3, 8, 8)), [0, 1, 0, 1])) is None


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_become_float32(dtype):
    source = TaskSource(Task(np.ones((4, 7), dtype), [0, 1, 0, 1]), None, device=CPU)
    assert source.batch(np.arange(2)).inputs.dtype == torch.float32


def test_whole_numbers_stay_for_embeddings():
    tokens = Task(np.arange(40).reshape(8, 5), [0, 1] * 4)
    network = nn.Sequential(nn.Embedding(40, 6), nn.Flatten(), nn.Linear(30, 2))
    recipe = Recipe(batch_size=4, learning_rate=0.05)
    assert train_end_to_end(network, tokens, epochs=20, recipe=recipe).accuracy(tokens) == 1


def test_a_layer_that_works_in_place_changes_no_inputs(rows):
    kept = rows.inputs.copy()
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(5, 3))
    train_end_to_end(network, rows, epochs=1)
    tensors = Task(torch.as_tensor(kept.copy()), rows.labels)
    train_end_to_end(network, tensors, epochs=1)
    assert np.array_equal(rows.inputs, kept)
    assert np.array_equal(tensors.inputs.numpy(), kept)


def test_seeds_of_all_places_differ():
    places = [
        (seed, phase, use, step)
        for seed in (0, 1)
        for phase in range(3)
        for use in range(3)
        for step in range(20)
    ]
    seeds = {derive_seed(*place) for place in places}
    assert len(seeds) == len(places)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_modules_keep_less_for_their_backward_pass_than_the_whole(small_digits):
    peaks = {}
    options = {"epochs": 1, "recipe": Recipe(batch_size=64)}
    task = small_digits.subset(slice(64, 192))
    for n_modules in (2, 4):
        network = networks.CompactConvNet(len(task.classes))
        result = train_modular(network, task, at=n_modules, **options)
        peaks[n_modules] = result.peak_activation_bytes
    network = networks.CompactConvNet(len(task.classes))
    whole = train_end_to_end(network, task, **options).peak_activation_bytes
    assert 0 < peaks[4] < 0.6 * whole
    assert peaks[4] < peaks[2] < 1.1 * whole
    weakly = train_modular(
        networks.CompactConvNet(len(task.classes)), task, at=4, schedule="simultaneous", **options
    )
    assert weakly.peak_activation_bytes == peaks[4]


def test_a_preprocess_must_return_a_tensor(rows):
    with pytest.raises(ModtoolsError, match="must return a tensor for training; got ndarray"):
        TaskSource(rows, np.asarray, device=CPU).batch(np.arange(2))
