"""E-values of a race: against their definition, a closed form, and their promise."""

import numpy as np
import pytest
from scipy.special import betaln
from scipy.stats import beta

from modtools.selection._race_bets import PairedBets, log_e_value

pytestmark = pytest.mark.floating_point

SHARES = [(k + 0.5) / 128 for k in range(128)]


def held(differences, margin=0.0):
    """Return what the mixture holds after each row, bet by bet: the definition."""
    stakes = np.cumprod([[1 + s * (d + margin) for s in SHARES] for d in differences], axis=0)
    return stakes.mean(axis=1)


@pytest.mark.parametrize("margin", [0.0, 0.02, 0.3])
def test_the_counts_hold_what_bets_row_by_row_hold(margin):
    differences = np.random.default_rng(0).choice([-1, 0, 1], 60, p=[0.1, 0.6, 0.3])
    won, lost = int((differences == 1).sum()), int((differences == -1).sum())
    found = log_e_value(np.array(won), np.array(lost), np.array(60), margin)
    assert np.exp(found) == pytest.approx(held(differences, margin)[-1], rel=1e-10)


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (9, 0), (0, 9), (30, 12), (200, 150)])
def test_without_margin_it_is_near_the_integral_over_all_shares(won, lost):
    """2 times the integral of p^w (1 - p)^l 2^(w + l) over p from one half to one."""
    a, b = won + 1, lost + 1
    log_integral = (a + b - 1) * np.log(2) + betaln(a, b) + beta.logsf(0.5, a, b)
    found = log_e_value(np.array(won), np.array(lost), np.array(500))
    assert found == pytest.approx(log_integral, abs=0.02)


def test_no_rows_are_no_evidence_and_many_rows_overflow_nothing():
    nothing = np.zeros((2, 2), dtype=int)
    assert log_e_value(nothing, nothing, nothing, 0.1) == pytest.approx(0.0)
    million = np.array(1_000_000)
    for won, lost in ((million, 0 * million), (0 * million, million)):
        assert np.isfinite(log_e_value(won, lost, million, 0.01))


def test_evidence_grows_with_the_margin_and_with_wins_and_falls_with_losses():
    def at(won, lost, margin):
        return float(log_e_value(np.array(won), np.array(lost), np.array(100), margin))

    assert at(10, 10, 0.0) < at(10, 10, 0.01) < at(10, 10, 0.1)
    assert at(9, 10, 0.01) < at(10, 10, 0.01) < at(10, 9, 0.01)


def test_evidence_is_that_of_all_batches_or_of_the_recent_half_where_that_is_less():
    right = np.random.default_rng(1).random((3, 50)) < [[0.9], [0.6], [0.5]]
    bets = PairedBets(3)
    for start in range(0, 50, 10):
        running = np.array([0, 1, 2]) if start < 30 else np.array([0, 2])
        bets.add(running, right[running, start : start + 10])
    found = bets.log_e_values(0.03)
    for i in range(3):
        for j in range(3):
            d = right[i].astype(int) - right[j]
            d = d[:30] if 1 in (i, j) else d
            all_rows, recent = held(d, 0.03)[-1], held(d[20:], 0.03)[-1]  # two batches of five
            assert found[i, j] == pytest.approx(np.log(min(all_rows, recent)), abs=1e-9)


def test_a_module_that_has_caught_up_is_not_beaten_by_its_slow_start():
    bets, rng = PairedBets(2), np.random.default_rng(3)
    for batch in range(10):
        accuracies = [[0.9], [0.5]] if batch < 3 else [[0.8], [0.8]]
        bets.add(np.arange(2), rng.random((2, 100)) < accuracies)
        if batch == 2:
            assert bets.log_e_values()[0, 1] > np.log(1e6)
    assert bets.log_e_values()[0, 1] < np.log(20)


def worst_case(name, n_rows):
    """Return the mean difference of each row: never above minus the margin on average so far."""
    half = np.arange(n_rows) < n_rows // 2
    return {
        "equal": np.zeros(n_rows),
        "worse by the margin": np.full(n_rows, -0.05),
        "worse, then better": np.where(half, -0.1, 0.1),
    }[name]


@pytest.mark.parametrize(
    ("name", "margin"),
    [("equal", 0.0), ("worse by the margin", 0.05), ("worse, then better", 0.0)],
)
def test_false_evidence_is_as_rare_as_promised_at_whatever_row_one_looks(name, margin):
    n_runs, n_rows, level = 800, 500, 0.1
    mean = worst_case(name, n_rows)
    uniform = np.random.default_rng(2).random((n_runs, n_rows))
    d = np.where(uniform < 0.15 + mean / 2, 1, np.where(uniform < 0.3, -1, 0))
    won, lost = (d == 1).cumsum(axis=1)[:, 24::25], (d == -1).cumsum(axis=1)[:, 24::25]
    scored = np.broadcast_to(np.arange(25, n_rows + 1, 25), won.shape)
    evidence = log_e_value(won, lost, scored, margin)
    false = (evidence.max(axis=1) >= np.log(1 / level)).mean()
    assert false <= level + 2 * np.sqrt(level * (1 - level) / n_runs)
    assert false > 0  # and the test is not empty
