"""`check_proxy` passes every built-in proxy and catches each way to break the contract."""

import pytest
import torch

from modtools import ModtoolsError
from modtools.proxies import PROXIES, Pairs, Proxy
from modtools.testing import check_proxy

pytestmark = pytest.mark.floating_point

SHAPED = ("predsim", "local_classifier")
OPTIONS = [{}, {"feature_map": "unit"}, {"negatives_only": True, "feature_map": "tanh"}]
KERNEL = [
    (name, options)
    for name in PROXIES
    for options in OPTIONS
    if not options or name not in ("supcon", "hsic_bottleneck", *SHAPED)
]


@pytest.mark.parametrize(("name", "options"), KERNEL)
def test_every_built_in_proxy_keeps_the_contract(name, options):
    check_proxy(PROXIES[name](6, 3) if name in SHAPED else PROXIES[name](**options))


class Mine(Proxy):
    """Squared distance to the mean of the class; `change` breaks something."""

    required_labels = "classes"

    def __init__(self, change=None):
        super().__init__()
        self.change = change or (lambda loss, features, labels: loss)

    def forward(self, features, labels):
        rows = features if features.dtype == torch.float64 else features.float()
        same = (labels[:, None] == labels).to(rows.dtype)
        means = same @ rows / same.sum(dim=1, keepdim=True)
        loss = (rows - means).square().mean() + 1e-3 * rows.square().mean()
        return self.change(loss, features, labels)

    def optimum(self, labels):
        return 0.0


class MinePairs(Mine):
    required_labels = "pairs"

    def forward(self, features, labels):
        if isinstance(labels, Pairs):
            return features.sum() * 0
        return super().forward(features, labels)


def overwrite(loss, features, labels):
    labels += 1
    return loss


BROKEN = {
    "must be a finite scalar with a gradient": lambda loss, x, y: loss.detach(),
    "were changed": overwrite,
    "two calls give two values": lambda loss, x, y: loss + torch.rand(()),
    "reversed examples give": lambda loss, x, y: loss + x[0].sum(),
    "finite differences give": lambda loss, x, y: loss + (x.detach() * x).sum(),
    "a batch of one class give": lambda loss, x, y: loss / (y.max() - y.min()),
    "must give a finite float32 loss": lambda loss, x, y: loss.to(x.dtype),
    "does not reduce the loss": lambda loss, x, y: -2 * loss.detach() + loss,
    "is below the optimum": lambda loss, x, y: loss - 5,
}


def test_an_own_proxy_passes():
    check_proxy(Mine())


@pytest.mark.parametrize("message", list(BROKEN))
def test_each_breach_is_caught_and_named(message):
    with pytest.raises(ModtoolsError, match='proxy "Mine" breaks its contract') as caught:
        check_proxy(Mine(BROKEN[message]))
    assert message in str(caught.value)


@pytest.mark.parametrize("given", ["supcon", None, Mine, print, torch.nn.Linear(2, 2)])
def test_what_is_no_proxy_is_refused(given):
    with pytest.raises(ModtoolsError, match="check_proxy takes an object of a subclass of"):
        check_proxy(given)


def test_what_a_proxy_raises_is_a_breach():
    with pytest.raises(ModtoolsError, match="finite at the limits: it raised ZeroDivisionError"):
        check_proxy(Mine(lambda loss, x, y: loss * (1 // int(y.max() > 0))))  # of one class


def test_a_proxy_that_ignores_pairs_is_caught():
    with pytest.raises(ModtoolsError, match=r"all pairs give 0\.0, not"):
        check_proxy(MinePairs())


def test_labels_that_nobody_knows_are_caught():
    proxy = Mine()
    proxy.required_labels = "colours"
    with pytest.raises(ModtoolsError, match=r"required_labels must be one of .*'colours'"):
        check_proxy(proxy)


def test_a_known_breach_is_excused_by_name_only():
    breach = Mine(BROKEN["is below the optimum"])
    check_proxy(breach, except_for={"it descends towards its optimum": "the bound is loose"})
    with pytest.raises(ModtoolsError, match=r'unknown check "speed"\. Known: a scalar loss'):
        check_proxy(Mine(), except_for={"speed": "slow"})
