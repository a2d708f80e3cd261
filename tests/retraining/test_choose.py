import numpy as np
import pytest

from modtools.exceptions import ModtoolsError
from modtools.modules import extract, pixels
from modtools.retraining import choose_labels

pytestmark = pytest.mark.floating_point

STRATEGIES = ["random", "k_center", "herding", "typical", "cover", "variance"]
RNG = np.random.default_rng(0)
# Three clusters far apart, of 30, 20 and 10 rows.
OWNERS = np.repeat([0, 1, 2], [30, 20, 10])
ROWS = 20 * np.eye(3)[OWNERS] + RNG.normal(size=(60, 3))


@pytest.fixture(scope="module")
def pool(digits):
    few = digits.few_labels(per_class=15, seed=1)
    return extract(pixels(), few), few.labels


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("n", [1, 7, 60])
def test_gives_n_different_rows_and_changes_nothing(strategy, n):
    before = ROWS.copy()
    chosen = choose_labels(ROWS, n, strategy=strategy, seed=3)
    assert chosen.shape == (n,)
    assert chosen.dtype == np.intp
    assert len(np.unique(chosen)) == n
    assert 0 <= chosen.min() <= chosen.max() < 60
    assert np.array_equal(ROWS, before)
    assert np.array_equal(chosen, choose_labels(ROWS, n, strategy=strategy, seed=3))


@pytest.mark.parametrize("strategy", ["k_center", "typical", "cover"])
def test_finds_every_cluster_without_a_label(strategy):
    chosen = choose_labels(ROWS, 3, strategy=strategy)
    assert sorted(OWNERS[chosen]) == [0, 1, 2]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("unit", [2.0**-40, 2.0**40])
def test_the_unit_of_the_features_changes_nothing(pool, strategy, normalize, unit):
    features = pool[0][:50].astype(np.float64)
    options = {"strategy": strategy, "normalize": normalize}
    chosen = choose_labels(features, 8, **options)
    assert np.array_equal(choose_labels(features * unit, 8, **options), chosen)


@pytest.mark.parametrize("strategy", ["random", "k_center", "herding", "variance"])
def test_a_smaller_choice_is_the_beginning_of_a_larger(pool, strategy):
    many = choose_labels(pool[0], 20, strategy=strategy, seed=5)
    assert np.array_equal(choose_labels(pool[0], 9, strategy=strategy, seed=5), many[:9])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_equal_rows_are_still_different_rows(strategy):
    for rows in (np.zeros((9, 2)), np.repeat([[1.0, 0.0], [0.0, 1.0]], [4, 5], axis=0)):
        chosen = choose_labels(rows, 9, strategy=strategy)
        assert sorted(chosen) == list(range(9))


def test_k_center_takes_the_farthest_row():
    rows = np.array([[0.0], [1.0], [2.0], [4.0], [10.0]])
    chosen = choose_labels(rows, 3, strategy="k_center", normalize=False)
    assert chosen.tolist() == [3, 4, 0]


def test_herding_keeps_the_mean():
    centred = ROWS - ROWS.mean(axis=0)
    chosen = choose_labels(ROWS, 12, strategy="herding", normalize=False)
    drawn = choose_labels(ROWS, 12, strategy="random")
    assert np.linalg.norm(centred[chosen].mean(axis=0)) < np.linalg.norm(
        centred[drawn].mean(axis=0)
    )


def test_variance_is_the_pivoted_factor_of_the_centred_kernel(pool):
    rows, alpha = pool[0][:40].astype(np.float64), 0.3
    chosen = choose_labels(rows, 10, strategy="variance", alpha=alpha)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows -= rows.mean(axis=0)
    kernel = rows @ rows.T
    for position in range(10):
        known = chosen[:position]
        inverse = np.linalg.inv(kernel[np.ix_(known, known)] + alpha * np.eye(position))
        explained = np.einsum("ij,jk,ik->i", kernel[:, known], inverse, kernel[:, known])
        variances = np.diag(kernel) - explained
        variances[known] = -np.inf
        assert chosen[position] == variances.argmax()


def test_typical_takes_the_middle_of_clusters_the_largest_first():
    chosen = choose_labels(ROWS, 3, strategy="typical", normalize=False)
    assert OWNERS[chosen].tolist() == [0, 1, 2]
    for row in chosen:
        own = ROWS[OWNERS[row] == OWNERS]
        away = np.linalg.norm(own - own.mean(axis=0), axis=1)
        assert np.linalg.norm(ROWS[row] - own.mean(axis=0)) <= np.median(away)


def test_small_clusters_come_last():
    outliers = np.array([[0.0, 0.0, 90.0], [0.0, 0.0, 91.0]])
    rows = np.concatenate([ROWS[:50], outliers])
    chosen = choose_labels(rows, 3, strategy="typical", normalize=False)
    assert chosen[-1] >= 50 or chosen.max() < 50
    assert chosen[0] < 50


def test_cover_takes_the_ball_that_covers_most():
    # Two clusters, so near that balls are smaller than clusters: the ends have the fewest rows.
    rows = np.r_[np.linspace(0, 10, 31), np.linspace(12, 22, 51)][:, None]
    chosen = choose_labels(rows, 2, strategy="cover", normalize=False)
    assert 31 < chosen[0] < 81
    assert abs(rows[chosen[1]] - rows[chosen[0]]) > 2  # fresh rows only


def test_cover_goes_on_with_the_farthest_row_once_all_is_covered():
    rows = np.array([[0.0], [1.0], [2.0], [50.0], [51.0], [53.0]])
    chosen = choose_labels(rows, 3, strategy="cover", normalize=False)
    assert chosen[2] in (2, 5)


def test_seeds_draw_differently(pool):
    first, second = (choose_labels(pool[0], 10, strategy="random", seed=s) for s in (0, 1))
    assert not np.array_equal(first, second)


def test_the_oracle_is_balanced_and_the_only_one_to_see_labels(pool):
    features, labels = pool
    chosen = choose_labels(features, 25, strategy="oracle_balanced", labels=labels, seed=2)
    assert len(np.unique(chosen)) == 25
    assert np.bincount(labels[chosen[:10]]).tolist() == [1] * 10
    assert np.bincount(labels[chosen]).max() == 3
    with pytest.raises(ModtoolsError, match="no other may see a label"):
        choose_labels(features, 5, strategy="typical", labels=labels)
    with pytest.raises(ModtoolsError, match="needs labels="):
        choose_labels(features, 5, strategy="oracle_balanced")
    with pytest.raises(ModtoolsError, match="one row each per example"):
        choose_labels(features, 5, strategy="oracle_balanced", labels=labels[:-1])


class FirstRows:
    """A query strategy with the interface of scikit-activeml."""

    missing_label = np.nan

    def __init__(self, answer=None):
        self.answer = answer

    def query(self, X, y, batch_size, start=0):
        assert X.shape == ROWS.shape
        assert np.isnan(y).all()
        return np.arange(start, start + batch_size) if self.answer is None else self.answer


def test_a_query_strategy_is_asked_and_sees_no_label():
    assert choose_labels(ROWS, 4, strategy=FirstRows()).tolist() == [0, 1, 2, 3]
    options = {"start": 5}
    assert choose_labels(ROWS, 2, strategy=FirstRows(), query_options=options).tolist() == [5, 6]


@pytest.mark.parametrize("name", ["TypiClust", "ProbCover", "CoreSet", "RandomSampling"])
def test_strategies_of_scikit_activeml_are_accepted(name):
    pool = pytest.importorskip("skactiveml.pool", reason="needs the extra active")
    chosen = choose_labels(ROWS, 3, strategy=getattr(pool, name)(random_state=0))
    assert len(np.unique(chosen)) == 3
    if name in ("TypiClust", "ProbCover"):
        ours = choose_labels(ROWS, 3, strategy="typical" if name == "TypiClust" else "cover")
        assert sorted(OWNERS[chosen]) == sorted(OWNERS[ours]) == [0, 1, 2]


@pytest.mark.parametrize("answer", [[0, 0], [0], [0, 60], [0.5, 1.0]])
def test_a_query_strategy_must_give_different_rows(answer):
    with pytest.raises(ModtoolsError, match="must return 2 different row numbers"):
        choose_labels(ROWS, 2, strategy=FirstRows(answer))


def test_refuses_bad_input():
    with pytest.raises(ModtoolsError, match="n must be at most the 60 unlabelled examples; got 61"):
        choose_labels(ROWS, 61)
    with pytest.raises(ModtoolsError, match="n must be a whole number of at least 1"):
        choose_labels(ROWS, 0)
    with pytest.raises(ModtoolsError, match=r'unknown strategy "kcenter"; did you mean "k_center"'):
        choose_labels(ROWS, 2, strategy="kcenter")
    with pytest.raises(ModtoolsError, match="features must be finite"):
        choose_labels(np.full((3, 2), np.nan), 1)
    with pytest.raises(ModtoolsError, match="alpha must be a finite number above 0"):
        choose_labels(ROWS, 2, strategy="variance", alpha=0)
