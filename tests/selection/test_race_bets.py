"""E-values of a race: against their definition, a closed form, and their promise."""

import numpy as np
import pytest
from scipy.special import betaln
from scipy.stats import beta

from modtools.selection._race_bets import PairedBets, log_e_value

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


def test_pairs_are_counted_only_while_both_run():
    right = np.random.default_rng(1).random((3, 40)) < 0.6
    bets = PairedBets(3)
    bets.add(np.array([0, 1, 2]), right[:, :25])
    bets.add(np.array([0, 2]), right[[0, 2], 25:])
    for i in range(3):
        for j in range(3):
            n_rows = 25 if 1 in (i, j) else 40
            d = right[i, :n_rows].astype(int) - right[j, :n_rows]
            expected = np.log(held(d, 0.03)[-1])
            assert bets.log_e_values(0.03)[i, j] == pytest.approx(expected, abs=1e-9)


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
