"""Fidelity: gaps of scores against gaps of accuracies, pair by pair."""

from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.isotonic import IsotonicRegression

from modtools.exceptions import ModtoolsError
from modtools.studies import score_agreement
from tests.studies.tables import wide

pytestmark = pytest.mark.floating_point

TASKS, MODULES = ("t", "u", "v", "w"), tuple("abcdefg")


@pytest.fixture(scope="module")
def values():
    """Return (scores, achieved) by task: related, with ties in both."""
    rng = np.random.default_rng(0)
    found = {}
    for place, task in enumerate(TASKS):
        achieved = rng.uniform(0.3, 0.9, len(MODULES)).round(1 if place == 0 else 3)
        found[task] = (achieved + 0.1 * rng.normal(size=len(MODULES))).round(1), achieved
    return found


@pytest.fixture(scope="module")
def agreement(values):
    named = {t: [dict(zip(MODULES, v, strict=True)) for v in pair] for t, pair in values.items()}
    scores = {task: {"score": pair[0]} for task, pair in named.items()}
    return score_agreement(scores, {task: pair[1] for task, pair in named.items()})


def row_of(agreement, **options):
    return agreement.fidelity(**options).set_index("score").loc["score"]


def test_gaps_of_all_tasks_are_correlated(agreement, values):
    gaps = np.array(
        [
            (s[i] - s[j], a[i] - a[j])
            for s, a in values.values()
            for i, j in permutations(range(len(s)), 2)
        ]
    )
    row = row_of(agreement)
    assert row["gap_pearson"] == pytest.approx(np.corrcoef(gaps.T)[0, 1])
    # A module's gap to itself is 0 in both lists and stays in the ranks.
    own = np.zeros((len(TASKS) * len(MODULES), 2))
    expected = stats.spearmanr(np.vstack([gaps, own])).statistic
    assert row["gap_spearman"] == pytest.approx(expected)


def test_on_one_task_gaps_correlate_as_the_values_do(values):
    scores, achieved = (dict(zip(MODULES, v, strict=True)) for v in values["u"])
    one = score_agreement({"u": {"score": scores}}, {"u": achieved})
    assert row_of(one)["gap_pearson"] == pytest.approx(wide(one.means())["pearson"].iloc[0])


def test_the_share_of_ordered_pairs_counts_ties_of_the_score_half(agreement, values):
    shares = []
    for scores, achieved in values.values():
        right = [
            0.5 + 0.5 * np.sign(scores[i] - scores[j]) * np.sign(achieved[i] - achieved[j])
            for i, j in combinations(range(len(achieved)), 2)
            if achieved[i] != achieved[j]
        ]
        shares.append(np.mean(right))
    row = row_of(agreement)
    assert row["ordered"] == pytest.approx(np.mean(shares))
    assert 0 <= row["ordered_low"] < row["ordered"] < row["ordered_high"] <= 1


def test_quarters_of_the_gap_are_those_of_the_ordered_pairs(values):
    scores, achieved = np.arange(7.0) ** 2, values["u"][1]
    named = (
        {"u": {"score": dict(zip(MODULES, scores, strict=True))}},
        {"u": dict(zip(MODULES, achieved, strict=True))},
    )
    row = row_of(score_agreement(*named))
    pairs = sorted(
        (abs(scores[i] - scores[j]), np.sign((scores[i] - scores[j]) * (achieved[i] - achieved[j])))
        for i, j in combinations(range(7), 2)
    )
    gaps, signs = np.array(pairs).T
    quarters = np.ceil(4 * stats.rankdata(gaps) / len(gaps))
    for quarter in range(1, 5):
        expected = 0.5 + 0.5 * signs[quarters == quarter].mean()
        assert row[f"ordered_q{quarter}"] == pytest.approx(expected)


def test_modules_of_one_size_are_compared_among_themselves(agreement, values):
    sizes = {"a": 100, "b": 140, "c": 151, "d": 1000, "e": 1500, "f": 0, "g": 0}
    close = [("a", "b"), ("b", "c"), ("d", "e"), ("f", "g")]
    shares = []
    for scores, achieved in values.values():
        s, a = (dict(zip(MODULES, v, strict=True)) for v in (scores, achieved))
        right = [
            0.5 + 0.5 * np.sign(s[i] - s[j]) * np.sign(a[i] - a[j])
            for i, j in close
            if a[i] != a[j]
        ]
        if right:
            shares.append(np.mean(right))
    assert row_of(agreement, sizes=sizes)["same_size"] == pytest.approx(np.mean(shares))
    assert "same_size" not in row_of(agreement)
    with pytest.raises(ModtoolsError, match=r'sizes must be finite and at least 0; "a" has -1\.'):
        agreement.fidelity(sizes={"a": -1})


def test_calibrated_errors_are_those_of_tasks_left_out(agreement, values):
    def fitted(without, at):
        rest = [pair for task, pair in values.items() if task not in without]
        model = IsotonicRegression(out_of_bounds="clip")
        model.fit(np.concatenate([s for s, _ in rest]), np.concatenate([a for _, a in rest]))
        return model.predict(at)

    errors, coverage, widths = [], [], []
    for task, (scores, achieved) in values.items():
        off = achieved - fitted([task], scores)
        residuals = np.concatenate(
            [values[t][1] - fitted([task, t], values[t][0]) for t in TASKS if t != task]
        )
        low, high = np.quantile(residuals, [0.1, 0.9])
        errors.append(100 * np.abs(off).mean())
        coverage.append(((off >= low) & (off <= high)).mean())
        widths.append(100 * (high - low))
    row = row_of(agreement)
    assert row["error"] == pytest.approx(np.mean(errors))
    assert row["coverage"] == pytest.approx(np.mean(coverage))
    assert row["band"] == pytest.approx(np.mean(widths))


def test_a_perfect_score_is_faithful_in_every_way():
    rng = np.random.default_rng(1)
    achieved = {t: dict(zip(MODULES, rng.uniform(0.2, 0.9, 7), strict=True)) for t in TASKS}
    row = row_of(score_agreement({t: {"score": achieved[t]} for t in TASKS}, achieved))
    names = ["gap_pearson", "gap_spearman", "ordered", *(f"ordered_q{q}" for q in range(1, 5))]
    assert row[names].tolist() == pytest.approx([1.0] * 7)
    assert row[[f"{name}_low" for name in names]].tolist() == pytest.approx([1.0] * 7)
    assert row["error"] < 10


def test_two_tasks_leave_nothing_to_calibrate_on():
    achieved = {"t": {"a": 0.5, "b": 0.6}, "u": {"a": 0.4, "b": 0.7}}
    found = score_agreement({t: {"score": achieved[t]} for t in achieved}, achieved).fidelity()
    assert "error" not in found
    assert np.isfinite(found.select_dtypes("number").to_numpy()).all()


def test_label_counts_are_rows_of_their_own():
    rng = np.random.default_rng(2)
    rows = [
        {"task": t, "n_labels": n, "repeat": r, "module": m, "accuracy": a, "knn": a + e}
        for t in TASKS[:3] for n in (5, 20) for r in (0, 1) for m in MODULES[:4]
        for a, e in [(rng.uniform(), 0.1 * rng.normal())]
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    found = score_agreement(table.drop(columns="accuracy"), table).fidelity()
    rows = found[found["score"] == "knn"]
    assert rows["n_labels"].tolist() == [5, 20]
    assert rows["error"].gt(0).all()
