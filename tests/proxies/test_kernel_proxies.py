"""Kernel proxies and supcon: golden values, definitions, gradients, optima, limits."""

import math
import warnings

import numpy as np
import pytest
import torch

import modtools.transferability as transferability
from modtools import ModtoolsError
from modtools.exceptions import ModtoolsWarning
from modtools.proxies import PROXIES, Pairs
from modtools.transferability import FEATURE_MAPS
from tests.proxies.definitions import WITH_PAIRS, all_pairs, kernel_loss, supcon
from tests.transferability.definitions import golden

pytestmark = pytest.mark.floating_point

GOLDEN = [
    ("log_contrastive", {}, -1.0629974004),
    ("log_contrastive", {"negatives_only": True}, -0.4612530302),
    ("raw", {}, -0.0897772925),
    ("raw", {"negatives_only": True}, -0.4071631653),
    ("nmse", {}, -0.2250212820),
    ("alignment", {}, 0.6993665962),
    ("upper_triangle_alignment", {}, 0.6280090312),
]
SCORES = ("raw", "nmse", "alignment", "upper_triangle_alignment")
MAPS = list(FEATURE_MAPS)


def example(n=12, d=5, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(n_classes), rng.choice(n_classes, size=n - n_classes)]
    features = rng.normal(size=(n, d)) + 0.8 * np.eye(n_classes, d)[labels]
    return torch.from_numpy(features), labels


def options_of(name, feature_map="relu_normalised", negatives_only=False):
    """Return the constructor's options, or None where the combination is refused."""
    if name == "supcon":
        return None if negatives_only else {"feature_map": feature_map}
    if name.endswith("alignment") and negatives_only and FEATURE_MAPS[feature_map].k_min == 0:
        return None
    return {"feature_map": feature_map, "negatives_only": negatives_only}


CASES = [
    (name, options)
    for name in WITH_PAIRS
    for feature_map in MAPS
    for negatives_only in (False, True)
    if (options := options_of(name, feature_map, negatives_only)) is not None
]

# sigmoid only approaches its optimum, identity has none, supcon has its own test
ATTAINED = [
    (name, options)
    for name, options in CASES
    if name != "supcon" and options["feature_map"] not in ("sigmoid", "identity")
]


def by_definition(name, features, pairs, options):
    if name == "supcon":
        return supcon(features.numpy(), pairs, **options)
    return kernel_loss(name, features.numpy(), pairs, **options)


def as_pairs(known):
    i, j = np.array(list(known)).T
    return Pairs(i, j, np.array(list(known.values())))


@pytest.mark.parametrize(("name", "options", "value"), GOLDEN)
def test_golden_value(name, options, value):
    features, labels, _ = golden()
    loss = PROXIES[name](**options)(torch.from_numpy(features), labels)
    assert loss.dtype == torch.float64
    assert -float(loss) == pytest.approx(value, abs=6e-11)


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("d", [5, pytest.param(20, marks=pytest.mark.slow)], ids="d={}".format)
def test_the_definition_pair_by_pair(name, options, d):
    features, labels = example(d=d)
    expected = by_definition(name, features, all_pairs(labels), options)
    assert float(PROXIES[name](**options)(features, labels)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", ["contrastive", "log_contrastive", "supcon"])
@pytest.mark.parametrize("temperature", [0.05, 3.0])
def test_the_definition_at_another_temperature(name, temperature):
    features, labels = example()
    options = {"feature_map": "tanh", "temperature": temperature}
    expected = by_definition(name, features, all_pairs(labels), options)
    assert float(PROXIES[name](**options)(features, labels)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_sums_run_over_the_known_pairs_only(name, options):
    features, labels = example()
    known = {(i, j): same for (i, j), same in all_pairs(labels).items() if (i + j) % 3}
    half = {(i, j): same for (i, j), same in known.items() if i < j}
    expected = by_definition(name, features, known, options)
    proxy = PROXIES[name](**options)
    assert float(proxy(features, as_pairs(half))) == pytest.approx(expected, rel=1e-10)
    assert float(proxy(features, as_pairs(known))) == pytest.approx(expected, rel=1e-10)


def value_and_gradient(proxy, features, labels):
    features = features.clone().requires_grad_()
    loss = proxy(features, labels)
    loss.backward()
    return float(loss.detach()), features.grad


@pytest.mark.parametrize(("name", "options"), CASES)
def test_all_pairs_are_as_good_as_classes(name, options):
    features, labels = example()
    proxy = PROXIES[name](**options)
    value, gradient = value_and_gradient(proxy, features, labels)
    from_pairs, pair_gradient = value_and_gradient(proxy, features, as_pairs(all_pairs(labels)))
    assert from_pairs == pytest.approx(value, rel=1e-10)
    torch.testing.assert_close(pair_gradient, gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", WITH_PAIRS)
@pytest.mark.parametrize("with_pairs", [False, True])
def test_single_precision_agrees_with_double(name, with_pairs):
    features, labels = example(n=64, d=8)
    given = as_pairs(all_pairs(labels)) if with_pairs else labels
    proxy = PROXIES[name]()
    value, gradient = value_and_gradient(proxy, features, labels)
    for _ in range(2):  # nothing of the labels may be overwritten
        single, single_gradient = value_and_gradient(proxy, features.float(), given)
        assert single == pytest.approx(value, rel=2e-5)
        torch.testing.assert_close(single_gradient.double(), gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("d", [3, pytest.param(8, marks=pytest.mark.slow)], ids="d={}".format)
@pytest.mark.parametrize("with_pairs", [False, True])
def test_gradients_equal_finite_differences(name, options, d, with_pairs):
    features, labels = example(n=6, d=d)
    known = {pair: same for pair, same in all_pairs(labels).items() if sum(pair) % 4}
    labels = as_pairs(known) if with_pairs else labels
    proxy = PROXIES[name](**options)
    assert torch.autograd.gradcheck(lambda x: proxy(x, labels), features.requires_grad_())


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("feature_map", MAPS)
def test_the_moment_form_equals_the_kernel_matrix(name, feature_map):
    """Columns of zeros change nothing, but make the batch smaller than d."""
    features, labels = example(n=40, d=6)
    if feature_map == "sigmoid":
        feature_map, features = "identity", features.sigmoid()  # sigmoid(0) is not 0
    wide = torch.cat([features, torch.zeros(40, 60, dtype=torch.float64)], dim=1)
    proxy = PROXIES[name](feature_map=feature_map)
    value, gradient = value_and_gradient(proxy, features, labels)
    wide_value, wide_gradient = value_and_gradient(proxy, wide, labels)
    assert wide_value == pytest.approx(value, rel=1e-12)
    torch.testing.assert_close(wide_gradient[:, :6], gradient, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("name", SCORES)
def test_the_moment_form_makes_no_kernel_matrix(name):
    """Half a million rows would need a terabyte."""
    n = 500_000
    features = torch.randn(n, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = PROXIES[name]()(features, torch.arange(n) % 3)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("feature_map", MAPS)
@pytest.mark.parametrize(("n", "d"), [(300, 8), (60, 100)])
def test_minus_the_loss_is_the_score_of_that_name(name, feature_map, n, d):
    features, labels = example(n=n, d=d, n_classes=4)
    expected = getattr(transferability, name)(features.numpy(), labels, feature_map=feature_map)
    found = -float(PROXIES[name](feature_map=feature_map)(features, labels))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


def ideal_features(labels, feature_map):
    """Return features whose kernel is ideal: one direction a class, or two opposite ones."""
    if FEATURE_MAPS[feature_map].k_min == -1:
        return torch.from_numpy(np.where(labels == 0, 1.0, -1.0)[:, None] * np.ones(3))
    return torch.from_numpy(3.0 * np.eye(3)[labels])


@pytest.mark.parametrize(("name", "options"), ATTAINED)
def test_the_ideal_kernel_reaches_the_optimum(name, options):
    labels = np.array([0, 0, 0, 1, 1, 0, 1])
    features = ideal_features(labels, options["feature_map"])
    proxy = PROXIES[name](**options)
    best = proxy.optimum(labels)
    assert float(proxy(features, labels)) == pytest.approx(best, abs=1e-12)
    assert proxy.optimum(as_pairs(all_pairs(labels))) == pytest.approx(best, abs=1e-12)
    noise, _ = example(n=7)
    assert float(proxy(noise, labels)) > best


def test_optima_in_closed_form():
    labels = np.array([0, 0, 0, 1, 1, 2])  # ordered pairs: 8 of one class, 22 of two
    e = math.e
    closed = {
        ("raw", False): -8 / 30,
        ("nmse", False): 0,
        ("alignment", False): -1,
        ("upper_triangle_alignment", False): -1,
        ("contrastive", False): -8 * e / (8 * e + 22),
        ("log_contrastive", False): -math.log(8 * e / (8 * e + 22)),
        ("raw", True): 0,
        ("nmse", True): 0,
        ("contrastive", True): 1,
        ("log_contrastive", True): 0,
    }
    for (name, negatives_only), value in closed.items():
        proxy = PROXIES[name](negatives_only=negatives_only)
        assert proxy.optimum(labels) == pytest.approx(value, abs=1e-12), name
    assert PROXIES["raw"](feature_map="identity").optimum(labels) == -math.inf
    assert PROXIES["contrastive"](feature_map="identity").optimum(labels) == -1
    assert PROXIES["raw"]().optimum([1, 1]) == 0  # nothing to compare


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_supcon_is_least_on_a_simplex(n_classes):
    """log((m - 1) + (C - 1) m exp(-C / ((C - 1) tau))) for C classes of m rows."""
    m, temperature = 4, 0.5
    labels = np.repeat(np.arange(n_classes), m)
    corners = np.eye(n_classes) - 1 / n_classes
    proxy = PROXIES["supcon"](temperature=temperature)
    far = math.exp(-n_classes / ((n_classes - 1) * temperature))
    expected = math.log((m - 1) + (n_classes - 1) * m * far)
    assert proxy.optimum(labels) == pytest.approx(expected, rel=1e-12)
    features = torch.from_numpy(corners[labels]).requires_grad_()
    loss = proxy(features, labels)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-12)
    loss.backward()
    assert features.grad.abs().max() < 1e-12
    with pytest.raises(ModtoolsError, match="equally many examples per class"):
        proxy.optimum([0, 0, 1])


DEGENERATE = {
    "one class": [1, 1, 1, 1],
    "all classes different": [3, 1, 2, 0],
    "no known pair": Pairs([], [], []),
    "pairs of one class only": Pairs([0, 1], [1, 2], [True, True]),
    "pairs of different classes only": Pairs([0, 1], [1, 2], [False, False]),
}


@pytest.mark.parametrize("name", WITH_PAIRS)
@pytest.mark.parametrize("labels", DEGENERATE.values(), ids=DEGENERATE)
def test_a_batch_with_nothing_to_compare_contributes_nothing(name, labels):
    features, _ = example(n=4)
    assert value_and_gradient(PROXIES[name](), features, labels)[0] == 0
    assert not value_and_gradient(PROXIES[name](), features, labels)[1].any()


def test_negatives_alone_suffice_for_negatives_only():
    features, _ = example(n=4)
    for name in ("raw", "nmse", "contrastive", "log_contrastive"):
        assert float(PROXIES[name](negatives_only=True)(features, [3, 1, 2, 0])) != 0
        assert float(PROXIES[name](negatives_only=True)(features, [1, 1, 1, 1])) == 0


@pytest.mark.parametrize("n", [0, 1])
def test_tiny_batches_contribute_nothing(n):
    features = torch.ones(n, 3, requires_grad=True)
    loss = PROXIES["supcon"]()(features, torch.zeros(n, dtype=torch.int64))
    loss.backward()
    assert float(loss.detach()) == 0


@pytest.mark.parametrize(("name", "options"), CASES)
def test_values_and_gradients_stay_finite_at_the_limits(name, options):
    features, labels = example(n=6, d=6)
    first_half = torch.arange(6)[:, None] < 3
    limits = {
        "all dead": torch.zeros(6, 6),
        "some dead": torch.where(first_half, -features.abs(), features),
        "orthogonal": torch.eye(6),
        "tiny": 1e-20 * features,
        "equal": torch.ones(6, 6),
    }
    for what, rows in limits.items():
        value, gradient = value_and_gradient(PROXIES[name](**options), rows.double(), labels)
        assert math.isfinite(value), what
        assert torch.isfinite(gradient).all(), what


def test_dead_rows_give_the_score_and_no_gradient():
    features, labels = example(n=30)
    features[::3] = -features[::3].abs()
    for name in SCORES:
        value, gradient = value_and_gradient(PROXIES[name](), features, labels)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ModtoolsWarning)
            score = getattr(transferability, name)(features.numpy(), labels)
        assert -value == pytest.approx(score, rel=1e-9)
        assert not gradient[::3].any()
        assert gradient[1::3].any()


@pytest.mark.parametrize("name", WITH_PAIRS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 5e3])
def test_half_precision_is_computed_in_single(name, dtype, scale):
    features, labels = example(n=64, d=8)
    half = (scale * features).to(dtype).requires_grad_()
    proxy = PROXIES[name]()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = proxy(half, labels)
    loss.backward()
    assert loss.dtype == torch.float32
    assert half.grad.dtype == dtype
    assert torch.isfinite(half.grad).all()
    exact = float(proxy(half.detach().double(), labels))
    assert float(loss.detach()) == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("name", ["log_contrastive", "supcon"])
def test_a_low_temperature_does_not_overflow(name):
    features, labels = example(n=20)
    proxy = PROXIES[name](feature_map="tanh", temperature=1e-3)
    value, gradient = value_and_gradient(proxy, features.float(), labels)
    assert math.isfinite(value)
    assert torch.isfinite(gradient).all()
    assert value == pytest.approx(float(proxy(features, labels)), rel=1e-3)


def test_what_the_network_broke_stays_visible():
    features, labels = example()
    features[0, 0] = torch.nan
    assert torch.isnan(PROXIES["supcon"]()(features, labels))
    assert value_and_gradient(PROXIES["raw"](), features, np.zeros(12, dtype=int))[0] == 0


@pytest.mark.parametrize("name", WITH_PAIRS)
def test_bad_features_and_options_are_named(name):
    make, labels = PROXIES[name], [0, 0, 1]
    assert float(make()(torch.zeros(0, 4), [])) == 0
    cases = [
        (lambda: make()("rows", labels), "features must be a tensor; got str"),
        (lambda: make()(None, labels), "features must be a tensor; got NoneType"),
        (lambda: make()(torch.zeros(3, 0), labels), r"must not be empty; got shape \(3, 0\)"),
    ]
    if name != "supcon":
        message = "negatives_only must be True or False; got 'yes'"
        cases.append((lambda: make(negatives_only="yes"), message))
    if "contrastive" in name or name == "supcon":
        message = "temperature must be at least 1e-30; got 1e-300"
        cases.append((lambda: make(temperature=1e-300), message))
        tiny = make(temperature=1e-30, feature_map="unit")(torch.randn(3, 4), labels)
        assert not torch.isnan(tiny)
    for call, message in cases:
        with pytest.raises(ModtoolsError, match=message):
            call()


@pytest.mark.parametrize("name", WITH_PAIRS)
def test_training_by_pairs_separates_classes(name):
    features, labels = example(n=30, seed=1)
    features.requires_grad_()
    proxy = PROXIES[name](feature_map="unit")
    before = float(proxy(features, labels).detach())
    optimizer = torch.optim.Adam([features], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        proxy(features, as_pairs(all_pairs(labels))).backward()
        optimizer.step()
    assert float(proxy(features, labels).detach()) < before
    assert transferability.knn(features.detach().numpy(), labels) == 1.0
