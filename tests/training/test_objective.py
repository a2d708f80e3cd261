"""What modules minimise: every proxy on rows and on maps, and cross-entropy."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from modtools import ModtoolsError
from modtools.proxies import PROXIES, Pairs, PredSim, Proxy, SupCon
from modtools.training._objective import CrossEntropy, Objective, make_objective
from tests.proxies.definitions import WITH_PAIRS

pytestmark = pytest.mark.floating_point

HEADS = ("predsim", "local_classifier")
SHAPES = {"rows": (6,), "maps": (5, 4, 3), "points": (5, 1, 1)}
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
PAIRS = Pairs([0, 0, 1, 3], [3, 1, 4, 5], [True, False, True, False])


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(params=SHAPES)
def shape(request):
    return SHAPES[request.param]


@pytest.fixture
def outputs(shape):
    return torch.randn(8, *shape).requires_grad_()


@pytest.fixture
def inputs():
    return torch.rand(8, 1, 6, 6)


def gradients(objective, loss, outputs):
    """Return the gradients with respect to the outputs and to the objective's own parameters."""
    wanted = [outputs, *(p for p in objective.parameters() if p.requires_grad)]
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(wanted, found, strict=True)]


@pytest.mark.parametrize("name", PROXIES)
def test_every_proxy_trains_rows_and_maps(name, shape, outputs, inputs):
    objective = make_objective(name, shape, 3)
    loss = objective(outputs, LABELS, inputs)
    assert isinstance(objective, Objective)
    assert loss.ndim == 0
    found = gradients(objective, loss, outputs)
    assert all(bool(gradient.isfinite().all()) for gradient in found)
    assert bool(found[0].any())


@pytest.mark.parametrize("name", PROXIES)
def test_a_batch_of_one_class_does_no_harm(name, shape, outputs, inputs):
    objective = make_objective(name, shape, 3)
    loss = objective(outputs, torch.ones(8, dtype=torch.long), inputs)
    assert bool(loss.isfinite())
    found = gradients(objective, loss, outputs)
    assert all(bool(gradient.isfinite().all()) for gradient in found)
    if name in WITH_PAIRS:  # nothing to compare
        assert not any(bool(gradient.any()) for gradient in found)


@pytest.mark.parametrize("name", PROXIES)
def test_rows_reach_the_proxy_unchanged(name, inputs):
    rows = torch.randn(8, 6)
    objective = make_objective(name, (6,), 3)
    uses_inputs = {"inputs": inputs} if objective.uses_inputs else {}
    found = objective(rows, LABELS, inputs)
    torch.testing.assert_close(found, objective.proxy(rows, LABELS, **uses_inputs))
    assert not list(objective.projection.parameters())


@pytest.mark.parametrize("name", PROXIES)
def test_maps_are_projected_unless_the_proxy_has_a_head_for_them(name):
    objective = make_objective(name, (5, 4, 3), 3)
    maps = torch.randn(8, 5, 4, 3)
    projected = objective.projection(maps)
    if name in HEADS:
        assert projected is maps
        return
    assert projected.shape == (8, 128)
    torch.testing.assert_close(projected.mean(0), torch.zeros(128), rtol=0, atol=1e-5)
    assert sum(p.numel() for p in objective.parameters()) == 5 * 2 * 2 * 128 + 2 * 128


@pytest.mark.parametrize(
    ("shape", "n_inputs"),
    [((3, 8, 8), 12), ((3, 2, 2), 12), ((3, 5, 1), 6), ((3, 1, 2), 6), ((3, 1, 1), 3)],
)
def test_a_projection_keeps_at_most_four_places(shape, n_inputs):
    objective = make_objective("supcon", shape, 3)
    (linear,) = (part for part in objective.modules() if isinstance(part, nn.Linear))
    assert (linear.in_features, linear.bias) == (n_inputs, None)


def test_the_hsic_bottleneck_is_given_the_inputs(inputs):
    objective = make_objective("hsic_bottleneck", (6,), 3)
    rows = torch.randn(8, 6)
    with_inputs = objective(rows, LABELS, inputs)
    assert objective.uses_inputs
    assert with_inputs != objective(rows, LABELS)
    torch.testing.assert_close(with_inputs, objective.proxy(rows, LABELS, inputs=inputs))


@pytest.mark.parametrize("name", WITH_PAIRS)
def test_pairs_are_enough_for_kernel_proxies(name, shape, outputs):
    objective = make_objective(name, shape, 3)
    assert objective.required_labels == "pairs"
    loss = objective(outputs, PAIRS)
    assert bool(loss.isfinite())
    assert bool(gradients(objective, loss, outputs)[0].any())


@pytest.mark.parametrize("name", [*HEADS, "hsic_bottleneck"])
def test_the_others_need_classes(name):
    objective = make_objective(name, (6,), 3)
    assert objective.required_labels == "classes"
    with pytest.raises(ModtoolsError, match=f"{name} needs the class of each example; got Pairs"):
        objective(torch.randn(8, 6), PAIRS)


def test_a_proxy_is_copied_with_its_settings_and_weights():
    proxy = PredSim((5, 4, 3), 3, beta=0.5)
    weights = copy.deepcopy(proxy.state_dict())
    first, second = (make_objective(proxy, (5, 4, 3), 3) for _ in range(2))
    assert first.proxy.beta == 0.5
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    for kept in (proxy, second.proxy):
        for name, tensor in kept.state_dict().items():
            torch.testing.assert_close(tensor, weights[name], rtol=0, atol=0)


def test_a_proxy_with_settings_of_its_own_on_maps(inputs):
    maps = torch.randn(8, 5, 4, 3)
    objective = make_objective(SupCon(temperature=0.5), (5, 4, 3), 3)
    projected = objective.projection(maps)
    expected = SupCon(temperature=0.5)(projected, LABELS)
    torch.testing.assert_close(objective(maps, LABELS), expected)


def test_a_head_for_another_shape_says_so():
    objective = make_objective(PredSim((5, 4, 3), 3), (6, 4, 3), 3)
    with pytest.raises(ModtoolsError, match=r"features must have shape \(n_samples, 5, 4, 3\)"):
        objective(torch.randn(8, 6, 4, 3), LABELS)


def test_the_state_holds_what_is_trained_with_the_module(inputs):
    maps = torch.randn(8, 5, 4, 3)
    for name in ("supcon", "local_classifier"):
        objective, other = (make_objective(name, (5, 4, 3), 3) for _ in range(2))
        other.load_state_dict(objective.state_dict())
        torch.testing.assert_close(objective.eval()(maps, LABELS), other.eval()(maps, LABELS))


def test_a_projection_learns():
    maps, objective = torch.randn(8, 5, 4, 3), make_objective("supcon", (5, 4, 3), 3)
    losses = []
    for _ in range(10):
        loss = objective(maps, LABELS)
        losses.append(float(loss.detach()))
        found = torch.autograd.grad(loss, list(objective.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(objective.parameters(), found, strict=True):
                parameter.sub_(gradient)
    assert losses[-1] < losses[0] - 0.1


class OwnHead(Proxy):
    """A proxy of a user, with a head that is built like those of modtools."""

    required_labels = "classes"
    needs_shape = True

    def __init__(self, shape, n_classes):
        super().__init__()
        self.shape = shape
        self.head = nn.Sequential(nn.Flatten(), nn.LazyLinear(n_classes))

    def forward(self, features, labels):
        return functional.cross_entropy(self.head(features), labels)

    def optimum(self, labels):
        return 0.0


def test_a_registered_head_is_built_for_the_module():
    PROXIES.register("own_head", OwnHead)
    try:
        objective = make_objective("own_head", (5, 4, 3), 3)
    finally:
        PROXIES.unregister("own_head")
    assert objective.proxy.shape == (5, 4, 3)
    assert bool(objective(torch.randn(8, 5, 4, 3), LABELS).isfinite())


@pytest.mark.parametrize("name", PROXIES)
def test_half_precision_under_autocast(name, shape, inputs):
    objective = make_objective(name, shape, 3)
    outputs = torch.randn(8, *shape).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective(outputs, LABELS, inputs)
    assert loss.dtype == torch.float32
    assert all(bool(g.isfinite().all()) for g in gradients(objective, loss, outputs))


def test_cross_entropy_is_that_of_torch(inputs):
    logits = torch.randn(8, 3)
    objective = CrossEntropy()
    expected = functional.cross_entropy(logits, LABELS)
    torch.testing.assert_close(objective(logits, LABELS, inputs), expected)
    assert objective(logits.bfloat16(), LABELS).dtype == torch.float32
    assert objective(logits.double(), LABELS).dtype == torch.float64
    assert (objective.required_labels, objective.uses_inputs) == ("classes", False)
    assert not list(objective.parameters())


def test_cross_entropy_needs_classes():
    with pytest.raises(
        ModtoolsError, match="cross-entropy needs the class of each example; got Pairs"
    ):
        CrossEntropy()(torch.randn(8, 3), PAIRS)


@pytest.mark.parametrize(
    ("proxy", "shape", "message"),
    [
        ("sup_con", (6,), 'unknown proxy "sup_con"; did you mean "supcon"'),
        (SupCon, (6,), "proxy must be a name, as .* or a Proxy; got <class"),
        (None, (6,), "proxy must be a name, as .* or a Proxy; got None"),
        ("supcon", (7, 6), r"the module returns \(7, 6\)\. Cut elsewhere"),
        ("supcon", (), r"the module returns \(\)\. Cut elsewhere"),
        ("local_classifier", (6,), "n_classes must be a whole number of at least 2; got 1"),
    ],
)
def test_objectives_that_cannot_be_made(proxy, shape, message):
    with pytest.raises(ModtoolsError, match=message):
        make_objective(proxy, shape, 1)
