"""A proxy may be a plain function of features and class codes."""

import signal
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from modtools import ModtoolsError, Zoo, train_modular
from modtools.proxies import PROXIES, Pairs, Proxy, SupCon
from modtools.training import Callback, Recipe, networks
from modtools.training._objective import make_objective

pytestmark = pytest.mark.floating_point

RECIPE = Recipe(batch_size=20)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def contrast(features, labels):
    return SupCon()(features, labels)


def weighed(features, labels, *, by):
    return by * contrast(features, labels)


def spread(features, labels):
    """Return minus the distance of the class means."""
    means = torch.stack([features[labels == code].mean(dim=0) for code in labels.unique()])
    return -torch.pdist(means).mean() + features.square().mean()


class WithHead(nn.Module):
    """A loss of another library: a torch module with weights, that is no Proxy of modtools."""

    def __init__(self, n_features=6, n_classes=3):
        super().__init__()
        self.classifier = nn.Linear(n_features, n_classes)

    def forward(self, features, labels):
        return functional.cross_entropy(self.classifier(features), labels)

    def extra_repr(self):
        return "head=1"


class Counting:
    """An object that can be called; it counts, and so must not be copied."""

    n_calls = 0

    def loss(self, features, labels):
        self.n_calls += 1
        return contrast(features, labels)

    __call__ = loss


class StopAt(Callback):
    """Presses Ctrl-C after a step of the second phase."""

    def __init__(self, step=None):
        self.step = step

    def on_batch_end(self, state):
        if (state.phase, state.step) == (1, self.step):
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def train(rows, mlp):
    """Return a function that trains a perceptron with a proxy."""

    def train(proxy, **options):
        return train_modular(mlp(), rows, proxy=proxy, recipe=RECIPE, epochs=2, **options)

    return train


@pytest.mark.parametrize("schedule", ["sequential", "simultaneous"])
def test_a_function_trains_as_the_proxy_that_it_calls(schedule, train, state, differ):
    options = {"at": ["0", "2"], "schedule": schedule}
    named, own = (train(proxy, **options) for proxy in ("supcon", contrast))
    assert not differ(state(named.network), state(own.network))
    assert named.history["loss"].tolist() == own.history["loss"].tolist()
    assert own.labels_needed == "classes"


def test_maps_come_as_rows(images, conv, recipe):
    shapes = set()

    def note(features, labels):
        shapes.add((tuple(features.shape), features.dtype, tuple(labels.shape), labels.dtype))
        return spread(features, labels)

    options = {"at": ["first"], "epochs": 1, "recipe": recipe, "precision": "bfloat16"}
    train_modular(conv(), images, proxy=note, **options)
    assert shapes == {((16, 128), torch.float32, (16,), torch.int64)}


def test_functions_and_others_are_mixed(train, rows):
    result = train([spread, "nmse"], at=["0", "2"], validation=rows)
    assert result.settings["proxy"] == ["spread", "nmse"]
    assert result.history["validation_loss"].notna().all()
    assert result.accuracy(rows) > 0.5


def test_a_loss_that_is_a_torch_module_is_copied_and_trained():
    loss, features = WithHead(), torch.randn(8, 6)
    before = loss.classifier.weight.detach().clone()
    objective = make_objective(loss, (6,), 3)
    assert len(list(objective.parameters())) == 2
    objective(features, LABELS).backward()
    assert objective.proxy.function.classifier.weight.grad is not None
    assert loss.classifier.weight.grad is None
    assert torch.equal(loss.classifier.weight, before)
    other = make_objective(WithHead(), (6,), 3)
    other.load_state_dict(objective.state_dict())
    torch.testing.assert_close(other(features, LABELS), objective(features, LABELS))


def test_any_other_object_is_called_itself(train):
    for proxy in (counting := Counting()), counting.loss:
        counting.n_calls = 0
        train(proxy)
        assert counting.n_calls == 6


@pytest.mark.parametrize(
    ("proxy", "name", "in_zoo"),
    [
        (contrast, "contrast", "sequential-contrast"),
        (lambda *batch: contrast(*batch), "<lambda>", "sequential-lambda"),
        (partial(weighed, by=0.5), "weighed(by=0.5)", "sequential-weighed"),
        (WithHead(), "WithHead(head=1)", "sequential-WithHead"),
        (Counting(), "Counting", "sequential-Counting"),
        (Counting().loss, "loss", "sequential-loss"),
    ],
)
def test_settings_and_modules_have_its_name(proxy, name, in_zoo, train):
    result = train(proxy)
    assert result.settings["proxy"] == [name]
    assert result.modules[0].name == in_zoo


def test_what_it_trained_goes_into_a_zoo(images, recipe, tmp_path):
    network = networks.CompactConvNet(4)
    result = train_modular(network, images, proxy=spread, epochs=1, recipe=recipe)
    result.save(tmp_path / "zoo")
    assert Zoo(tmp_path / "zoo").card("compactconvnet-spread")["proxy"] == "spread"


def test_a_stopped_run_goes_on_with_the_same_function_only(train, tmp_path, state, differ):
    path, options = tmp_path / "run.pt", {"at": ["0", "2"]}
    proxies = [contrast, WithHead(6)]
    expected = train(proxies, **options, callbacks=[StopAt()])
    with pytest.raises(KeyboardInterrupt):
        train(proxies, checkpoint=path, **options, callbacks=[StopAt(4)])
    with pytest.raises(ModtoolsError, match=r"proxy is \['contrast', .* and \['spread', .* here"):
        train([spread, WithHead(6)], checkpoint=path, **options, callbacks=[StopAt()])
    result = train(proxies, checkpoint=path, **options, callbacks=[StopAt()])
    assert not differ(state(result.network), state(expected.network))


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        (len, r"the proxy len failed on features \(20, 6\) and labels \(20,\): TypeError: len\(\)"),
        (
            lambda features, labels: features,
            r"<lambda> must return a loss, .* shape \(20, 6\)\.",
        ),
        (lambda features, labels: 0.0, "<lambda> must return a loss, a tensor .*; got 0.0"),
        (lambda features, labels: features.detach().sum(), "<lambda> has no gradient: compute it"),
        (lambda features, labels: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_what_goes_wrong_in_it_is_told(proxy, message, train):
    with pytest.raises(ModtoolsError, match=message):
        train(proxy)


class Own(Proxy):
    """A proxy of the user with a loss that is a function."""

    required_labels = "pairs"

    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, features, labels):
        return self.loss(features)

    def optimum(self, labels):
        return 0.0


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda x: 1 / 0, r"Own\(\) failed on features \(20, 6\) .*: ZeroDivisionError"),
        (lambda x: x, r"Own\(\) must return a loss, .* torch.float32 of shape \(20, 6\)"),
        (lambda x: 1.0, r"Own\(\) must return a loss, a tensor with one number; got 1.0"),
        (lambda x: x.sum().to(torch.complex64), "must return a loss, .* got torch.complex64"),
        (lambda x: x.detach().sum(), r"the loss of the proxy Own\(\) has no gradient"),
        (lambda x: x.sum() * float("nan"), "the loss of module 2 became nan at step 0"),
    ],
)
@pytest.mark.parametrize("with_pairs", [False, True])
def test_what_goes_wrong_in_a_proxy_is_told_too(loss, message, with_pairs, train):
    pairs = Pairs(*torch.triu_indices(60, 60, offset=1), [True] * 1770) if with_pairs else None
    with pytest.raises(ModtoolsError, match=message):
        train(Own(loss), pairs=pairs)


@pytest.mark.parametrize("needs", ["labels", None])
def test_a_proxy_declares_the_labels_that_it_needs(needs, train):
    proxy = Own(torch.sum)
    proxy.required_labels = needs
    with pytest.raises(ModtoolsError, match='proxy "Own" must declare required_labels as one of'):
        train(proxy)


@pytest.mark.parametrize("proxy", [WithHead, dict, [contrast, 3], [WithHead, contrast]])
def test_classes_and_other_things_are_no_functions(proxy, train):
    with pytest.raises(ModtoolsError, match="proxy must be a name"):
        train(proxy, at=["0", "2"])


def test_pairs_need_a_proxy_that_can_learn_from_them(train):
    with pytest.raises(ModtoolsError, match="pairs= cannot train spread: it needs the class"):
        train(spread, pairs=Pairs([0], [1], [True]))


def test_a_head_that_does_not_declare_itself_is_told_how():
    class Undeclared(Proxy):
        required_labels = "classes"

        def __init__(self, shape, n_classes):
            super().__init__()

        def forward(self, features, labels):
            return features.sum()

        def optimum(self, labels):
            return 0.0

    PROXIES.register("undeclared", Undeclared)
    try:
        with pytest.raises(ModtoolsError, match=r'"undeclared" cannot .* needs_shape = True'):
            make_objective("undeclared", (6,), 3)
    finally:
        PROXIES.unregister("undeclared")
