"""hsic_bottleneck, predsim, local_classifier: definitions, gradients, optima, shapes, limits."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from modtools import ModtoolsError
from modtools.proxies import PROXIES, Pairs
from tests.proxies.definitions import nhsic, similarities

pytestmark = pytest.mark.floating_point

LABELS = np.array([0, 1, 2, 1, 0, 2, 2, 0])


def rows(d=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(LABELS), d, generator=generator, dtype=torch.float64)


def build(name, shape=5, **options):
    torch.manual_seed(0)
    return PROXIES[name](shape, 3, **options).double()


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_hsic_bottleneck_by_its_definition(scale):
    features, inputs = scale * rows(), rows(d=24, seed=1)
    one_hot = np.eye(3)[LABELS]
    expected = nhsic(features.numpy(), inputs.numpy()) - 7 * nhsic(features.numpy(), one_hot)
    proxy = PROXIES["hsic_bottleneck"](beta=7)
    found = proxy(features, LABELS, inputs=inputs.reshape(8, 2, 3, 4))
    assert float(found) == pytest.approx(expected, rel=1e-8)
    without = -7 * nhsic(features.numpy(), one_hot)
    assert float(proxy(features, LABELS)) == pytest.approx(without, rel=1e-8)


def test_the_gradient_of_hsic_bottleneck():
    proxy, inputs = PROXIES["hsic_bottleneck"](beta=2), rows(seed=1)
    features = (8 * rows()).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: proxy(x, LABELS, inputs=inputs), features, atol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_hsic_bottleneck_approaches_its_bound_in_closed_form(n_classes):
    """For classes of equal size tr(Ky) = (C - 1) (1 - a) / (1 - a + eps C)."""
    labels = np.repeat(np.arange(n_classes), 5)
    proxy = PROXIES["hsic_bottleneck"](beta=1)
    other = np.exp(-2 / (2 * 25 * n_classes))
    bound = (n_classes - 1) * (1 - other) / (1 - other + 1e-5 * n_classes)
    assert proxy.optimum(labels) == pytest.approx(-bound, rel=1e-9)
    far_apart = torch.from_numpy(100.0 * np.eye(n_classes)[labels])
    found = float(proxy(far_apart, labels))
    assert -bound <= found <= -bound * (1 - 1e-4)
    noise = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(0))
    assert float(proxy(noise, labels)) > found


@pytest.mark.parametrize("labels", [[1, 1, 1, 1], [0, 1, 2, 3]])
@pytest.mark.parametrize("features", [torch.zeros(4, 3), torch.ones(4, 3), 1e4 * torch.eye(4)])
def test_hsic_bottleneck_stays_finite(labels, features):
    features = features.double().requires_grad_()
    loss = PROXIES["hsic_bottleneck"]()(features, labels, inputs=torch.ones(4, 2))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(features.grad).all()


def test_hsic_bottleneck_of_one_class_has_no_label_term():
    assert float(PROXIES["hsic_bottleneck"]()(rows(), [4] * 8)) == pytest.approx(0, abs=1e-9)


def test_predsim_by_its_definition():
    proxy, features = build("predsim"), rows()
    with torch.no_grad():
        logits, projected = proxy.classifier(features), proxy.similarity(features)
        found = float(proxy(features, LABELS))
    pred = float(functional.cross_entropy(logits, torch.from_numpy(LABELS)))
    ideal = np.where(LABELS[:, None] == LABELS, 1, -1 / 2)
    np.testing.assert_allclose(similarities(np.eye(3)[LABELS]), ideal, atol=1e-12)
    sim = np.mean((similarities(projected.numpy()) - ideal) ** 2)
    assert found == pytest.approx(0.01 * pred + 0.99 * sim, rel=1e-10)


def test_predsim_of_maps_compares_spatial_deviations():
    proxy = build("predsim", (4, 6, 6), beta=1)
    maps = rows(d=4 * 36).reshape(8, 4, 6, 6)
    with torch.no_grad():
        spread = proxy.similarity(maps).numpy().std(axis=(2, 3))
        found = float(proxy(maps, LABELS))
    ideal = np.where(LABELS[:, None] == LABELS, 1, -1 / 2)
    assert found == pytest.approx(np.mean((similarities(spread) - ideal) ** 2), rel=1e-6)


def test_predsim_pools_large_maps_for_its_classifier():
    assert PROXIES["predsim"]((64, 32, 32), 10).classifier[-1].in_features <= 4096
    assert PROXIES["predsim"]((8, 4, 4), 10).classifier[-1].in_features == 128


def test_local_classifier_is_the_cross_entropy_of_its_head():
    proxy, features = build("local_classifier", n_hidden=7), rows()
    expected = functional.cross_entropy(proxy.classifier(features), torch.from_numpy(LABELS))
    torch.testing.assert_close(proxy(features, LABELS), expected)


@pytest.mark.parametrize("name", ["predsim", "local_classifier"])
@pytest.mark.parametrize("shape", [5, (4, 3, 3), (2, 1, 1)])
def test_gradients_equal_finite_differences(name, shape):
    proxy = build(name, shape)
    sizes = (shape,) if isinstance(shape, int) else shape
    features = rows(d=int(np.prod(sizes))).reshape(8, *sizes).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: proxy(x, LABELS), features)


@pytest.mark.parametrize("name", ["predsim", "local_classifier"])
def test_training_approaches_the_optimum(name):
    proxy = build(name)
    features = rows().requires_grad_()
    optimizer = torch.optim.Adam([features, *proxy.parameters()], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        loss = proxy(features, LABELS)
        loss.backward()
        optimizer.step()
    assert proxy.optimum(LABELS) == 0 <= float(loss.detach()) < 0.02


def test_a_fixed_head_does_not_learn():
    assert all(p.requires_grad for p in build("local_classifier").parameters())
    fixed = build("local_classifier", fixed=True)
    assert not any(p.requires_grad for p in fixed.parameters())
    features = rows().requires_grad_()
    fixed(features, LABELS).backward()
    assert features.grad.any()


@pytest.mark.parametrize("name", ["predsim", "local_classifier"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_gives_a_single_precision_loss(name, dtype, autocast):
    torch.manual_seed(0)
    proxy = PROXIES[name](5, 3)
    features = rows().to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        loss = proxy(features, LABELS)
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(features.grad).all()
    exact = float(proxy(features.detach().float(), LABELS).detach())
    assert float(loss.detach()) == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("name", ["predsim", "local_classifier"])
def test_constant_rows_and_single_rows_stay_finite(name):
    proxy = build(name, (4, 3, 3))
    for n in (1, 4):
        features = torch.zeros(n, 4, 3, 3, dtype=torch.float64, requires_grad=True)
        loss = proxy(features, [1] * n)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize("name", ["hsic_bottleneck", "predsim", "local_classifier"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_the_network_broke_stays_visible(name, value):
    features = rows().clone()
    features[0, 0] = value
    proxy = PROXIES[name]() if name == "hsic_bottleneck" else build(name)
    assert torch.isnan(proxy(features, LABELS))


def test_bad_input_is_named():
    proxy = build("predsim")
    pairs = Pairs([0], [1], [True])
    cases = [
        (lambda: proxy(rows(), pairs), "predsim needs the class of each example; got Pairs"),
        (
            lambda: PROXIES["hsic_bottleneck"]()(rows(), pairs),
            "hsic_bottleneck needs the class of each example",
        ),
        (lambda: proxy(rows(), LABELS + 1), r"lie in 0\.\.2 because n_classes=3; got 3 in row 2"),
        (lambda: proxy(rows(), LABELS - 1), r"got -1 in row 0 \(3 such\)"),
        (lambda: proxy(rows(d=4), LABELS), r"shape \(n_samples, 5\), as predsim was built for"),
        (lambda: proxy(rows()[0], LABELS), r"or \(n_samples, channels, height, width\); got"),
        (lambda: PROXIES["predsim"]((3, 4), 3), r"a number of features or \(channels"),
        (lambda: PROXIES["predsim"](0, 3), "size of features must be a whole number"),
        (lambda: PROXIES["predsim"](5, 1), "n_classes must be a whole number of at least 2"),
        (lambda: PROXIES["predsim"](5, 3, beta=2), r"beta must lie in \[0, 1\]; got 2"),
        (lambda: PROXIES["local_classifier"](5, 3, n_hidden=0), "n_hidden must be a whole number"),
        (lambda: PROXIES["predsim"](5, 3, beta=True), r"beta must lie in \[0, 1\]; got True"),
        (lambda: PROXIES["predsim"](None, 3), "size of features must be a whole number"),
        (lambda: PROXIES["local_classifier"](5, 3, fixed=1), "fixed must be True or False; got 1"),
        (lambda: proxy(rows()[:0], []), r"features must not be empty; got shape \(0, 5\)"),
        (lambda: proxy("rows", LABELS), "features must be a tensor; got str"),
        (lambda: PROXIES["hsic_bottleneck"](sigma=0), "sigma must be a finite number above 0"),
        (lambda: PROXIES["hsic_bottleneck"]()(rows()[:0], []), "features must not be empty"),
        (lambda: PROXIES["hsic_bottleneck"]().optimum([]), "labels must not be empty"),
        (
            lambda: PROXIES["hsic_bottleneck"](eps=1e-300)(rows(), LABELS),
            "hsic_bottleneck cannot be inverted with eps=1e-300",
        ),
        (
            lambda: PROXIES["hsic_bottleneck"]()(rows(), LABELS, inputs=rows() * torch.nan),
            "cannot be inverted .*: inputs are not finite",
        ),
        (
            lambda: PROXIES["hsic_bottleneck"]()(rows(), LABELS, inputs=rows()[:3]),
            r"features has 8, inputs has shape \(3, 5\)",
        ),
    ]
    for call, message in cases:
        with pytest.raises(ModtoolsError, match=message):
            call()
