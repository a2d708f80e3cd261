"""`check_score` passes every built-in score and catches each way to break the contract."""

import numpy as np
import pytest

from modtools import ModtoolsError
from modtools.testing import check_score
from modtools.transferability import SCORES, Score

pytestmark = pytest.mark.floating_point


SLOW = "linear_probe"  # fits five folds of five folds


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == SLOW)) for name in SCORES],
)
def test_every_built_in_score_keeps_the_contract(name):
    check_score(name)


def named(compute, needs="features"):
    return Score("mine", needs, compute, "any", "own")


def in_place(features, labels, seed):
    try:
        features += 1
    except ValueError:
        return 0.0
    return 0.0


def separation(features, labels):
    means = [features[labels.codes == c].mean(axis=0) for c in range(labels.n_classes)]
    return float(np.var(means, axis=0).sum())


BROKEN = {
    "two calls give two values": lambda x, y, s: np.random.default_rng().normal(),
    "an input array was changed": in_place,
    "global random state was touched": lambda x, y, s: 0.0 * np.random.normal(),  # noqa: NPY002
    "another order of examples gives": lambda x, y, s: float(x[0, 0]),
    "classes renamed to": lambda x, y, s: float(np.sum(y.classes.astype(str) == "0")),
    "must be finite": lambda x, y, s: float(np.log(np.abs(x).sum())),
    "higher must be better": lambda x, y, s: -separation(x, y),
}


@pytest.mark.parametrize("message", list(BROKEN))
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_each_breach_is_caught_and_named(message):
    with pytest.raises(ModtoolsError, match='score "mine" breaks its contract') as caught:
        check_score(named(BROKEN[message]))
    assert message in str(caught.value)
    assert "mine" not in SCORES


def test_a_known_breach_is_excused_by_name_only():
    check_score(
        named(lambda x, y, s: separation(x, y) + 0 * s),
        except_for={"the order of rows does not matter": "not needed, but allowed"},
    )
    with pytest.raises(
        ModtoolsError, match=r'unknown check "speed"\. Known: inputs stay as they are'
    ):
        check_score("hscore", except_for={"speed": "slow"})
    with pytest.raises(ModtoolsError, match='did you mean "hscore"'):
        check_score("h_score")
    for given in (None, len, SCORES):
        with pytest.raises(ModtoolsError, match="check_score takes a"):
            check_score(given)
