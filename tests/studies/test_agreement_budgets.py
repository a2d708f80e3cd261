"""Label budgets and draws, static rankers, intervals, and Kendall's W of the truth."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from modtools.exceptions import ModtoolsError
from modtools.studies import score_agreement
from modtools.studies._tables import MEAN_RANK, SHARED_CLASSES

TASKS, MODULES = ("t", "u", "v"), tuple("abcdef")


def drawn(*, budgets=(5, 20), draws=(0, 1), seed=0):
    """One row a task, budget, draw and module: an accuracy and two scores."""
    rng = np.random.default_rng(seed)
    keys = [(t, b, d, m) for t in TASKS for b in budgets for d in draws for m in MODULES]
    table = pd.DataFrame(keys, columns=["task", "budget", "draw", "module"])
    table["accuracy"] = rng.uniform(0.2, 0.9, len(table))
    table["near"] = table["accuracy"] + 0.1 * rng.normal(size=len(table))
    return table.assign(noise=rng.normal(size=len(table)))


TABLE = drawn()
SCORES = TABLE.drop(columns="accuracy")


@pytest.fixture(scope="module")
def agreement():
    return score_agreement(
        SCORES, TABLE, static={"size": dict(zip(MODULES, range(6), strict=True))}
    )


def test_each_draw_is_judged_by_its_own_truth(agreement):
    frame = agreement.frame().set_index(["score", "task", "budget", "draw"])["kendall"]
    for (task, budget, draw), part in TABLE.groupby(["task", "budget", "draw"]):
        expected = stats.kendalltau(part["near"], part["accuracy"]).statistic
        assert frame["near", task, budget, draw] == pytest.approx(expected)
        expected = stats.kendalltau(range(6), part["accuracy"]).statistic
        assert frame["size", task, budget, draw] == pytest.approx(expected)


def test_means_count_every_task_alike_whatever_its_number_of_draws():
    table = TABLE[(TABLE["task"] != "t") | (TABLE["draw"] == 0)]
    found = score_agreement(table.drop(columns="accuracy"), table)
    by_task = found.frame().groupby(["score", "budget", "task"])["pearson"].mean()
    means = found.means().set_index(["score", "budget"])["pearson"]
    expected = by_task.groupby(level=["score", "budget"]).mean()
    pd.testing.assert_series_equal(means.sort_index(), expected.sort_index())


def test_a_truth_without_budgets_serves_all_and_scores_without_draws_serve_all():
    truth = TABLE[(TABLE["budget"] == 5) & (TABLE["draw"] == 0)][["task", "module", "accuracy"]]
    found = score_agreement(SCORES, truth).frame().set_index(["score", "task", "budget", "draw"])
    part = TABLE[(TABLE["task"] == "u") & (TABLE["budget"] == 20) & (TABLE["draw"] == 1)]
    achieved = truth[truth["task"] == "u"]["accuracy"].to_numpy()
    expected = stats.kendalltau(part["near"], achieved).statistic
    assert found.loc[("near", "u", 20, 1), "kendall"] == pytest.approx(expected)
    once = SCORES[(SCORES["budget"] == 5) & (SCORES["draw"] == 0)].drop(columns=["budget", "draw"])
    spread = score_agreement(once, TABLE).frame()
    assert len(spread[spread["score"] == "near"]) == 3 * 2 * 2


def test_long_wide_and_written_tables_are_read_alike(tmp_path):
    long = SCORES.melt(["task", "budget", "draw", "module"], var_name="score", value_name="value")
    SCORES.to_csv(tmp_path / "scores.csv", index=False)
    TABLE.to_parquet(tmp_path / "truth.parquet")
    expected = score_agreement(SCORES, TABLE).frame()
    pd.testing.assert_frame_equal(score_agreement(long, TABLE).frame(), expected)
    read = score_agreement(tmp_path / "scores.csv", str(tmp_path / "truth.parquet"))
    pd.testing.assert_frame_equal(read.frame(), expected)


def test_an_empty_cell_leaves_the_module_out():
    scores = SCORES.copy()
    scores.loc[scores["module"] == "a", "noise"] = np.nan
    frame = score_agreement(scores, TABLE).frame()
    assert set(frame[frame["score"] == "noise"]["n_modules"]) == {5}
    assert set(frame[frame["score"] == "near"]["n_modules"]) == {6}


def test_the_mean_rank_is_that_on_the_other_tasks(agreement):
    means = TABLE.groupby(["budget", "task", "module"])["accuracy"].mean().unstack()
    frame = agreement.frame()
    for budget in (5, 20):
        ranks = means.loc[budget].rank(axis=1)
        others = ranks.loc[["u", "v"]].mean()
        part = TABLE[(TABLE["task"] == "t") & (TABLE["budget"] == budget) & (TABLE["draw"] == 1)]
        expected = stats.kendalltau(others, part["accuracy"]).statistic
        row = frame[(frame["score"] == MEAN_RANK) & (frame["task"] == "t")]
        row = row[(row["budget"] == budget) & (row["draw"] == 1)]
        assert row["kendall"].item() == pytest.approx(expected)


def test_a_single_task_has_no_other_tasks():
    truth = {"t": {"a": 0.9, "b": 0.8}}
    found = score_agreement({"t": {"knn": {"a": 1, "b": 2}}}, truth)
    assert found.means()["score"].tolist() == ["knn"]
    assert not len(found.concordance())
    assert "Kendall's W" not in repr(found)


def test_shared_classes_are_counted_where_both_are_known():
    truth = {t: {"a": 0.9, "b": 0.5, "c": 0.7} for t in ("t", "u")}
    scores = {"t": {"knn": truth["t"]}, "u": {"knn": truth["u"]}}
    modules, tasks = {"a": [1, 2, 3], "b": ["2"], "c": (1, 2)}, {"t": [1, 2, 3, 4]}
    found = score_agreement(scores, truth, module_classes=modules, task_classes=tasks).frame()
    (row,) = found[found["score"] == SHARED_CLASSES].to_dict("records")
    assert (row["task"], row["kendall"], row["static"]) == ("t", pytest.approx(1.0), True)
    with pytest.raises(ModtoolsError, match=r"task_classes is absent\."):
        score_agreement(scores, truth, module_classes=modules)
    with pytest.raises(ModtoolsError, match="module_classes must list classes; \"a\" has '23'"):
        score_agreement(scores, truth, module_classes={"a": "23"}, task_classes=tasks)


def test_static_rankers_stand_alone_where_no_score_is_known():
    truth = TABLE[TABLE["budget"] == 5].groupby(["task", "module"])["accuracy"].mean()
    sizes = pd.DataFrame({"module": MODULES, "size": range(6), "depth": [1, 2, 1, 2, 1, 2]})
    found = score_agreement({}, truth.reset_index(), static=sizes)
    assert set(found.means()["score"]) == {"size", "depth", MEAN_RANK}
    assert found.means()["static"].all()
    assert found.best == found.means()["score"].iloc[0]


def test_intervals_hold_the_mean_and_are_the_same_for_one_seed(agreement):
    means = agreement.means()
    for measure in ("weighted_tau", "kendall", "pearson", "regret"):
        low, high = means[f"{measure}_low"], means[f"{measure}_high"]
        assert (low <= high).all()
        assert low.ge(0 if measure == "regret" else -1).all()
        assert high.le(100 if measure == "regret" else 1).all()
    assert np.isfinite(means.select_dtypes("number").to_numpy()).all()
    static = {"size": dict(zip(MODULES, range(6), strict=True))}
    again = score_agreement(SCORES, TABLE, static=static)
    pd.testing.assert_frame_equal(again.means(), means)


def test_intervals_hold_the_tau_of_all_tasks_and_modules():
    """Pools of 12 modules and 6 tasks, of a population whose mean tau is known."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(400, 1)) + 0.7 * rng.normal(size=(400, 40))
    scores = truth + 0.8 * rng.normal(size=truth.shape)
    whole = np.mean(
        [stats.kendalltau(s, t).statistic for s, t in zip(scores.T, truth.T, strict=True)]
    )
    held = []
    for _ in range(12):
        modules, tasks = rng.choice(400, 12, replace=False), rng.choice(40, 6, replace=False)
        named = [
            {
                f"t{t}": dict(zip(map(str, modules), values[modules, t].tolist(), strict=True))
                for t in tasks
            }
            for values in (scores, 1 / (1 + np.exp(-truth)))
        ]
        found = score_agreement({t: {"s": v} for t, v in named[0].items()}, named[1])
        row = found.means().set_index("score").loc["s"]
        held.append(row["kendall_low"] <= whole <= row["kendall_high"])
    assert np.mean(held) >= 0.8


def test_differences_are_paired_over_tasks(agreement):
    table = agreement.differences()
    assert set(table["baseline"]) == {"size", MEAN_RANK}
    assert set(table["score"]) == {"near", "noise"}
    means = agreement.means().set_index(["score", "budget"])
    for row in table.to_dict("records"):
        ours, theirs = means.loc[[(row[k], row["budget"]) for k in ("score", "baseline")], "regret"]
        assert row["regret"] == pytest.approx(ours - theirs, abs=1e-9)
        assert row["weighted_tau_low"] <= row["weighted_tau"] <= row["weighted_tau_high"]
    chosen = agreement.differences("noise")
    assert set(chosen["score"]) == {"near"}
    with pytest.raises(ModtoolsError, match='unknown score "noize"; did you mean "noise"'):
        agreement.differences(["noize"])


def test_a_score_does_not_differ_from_a_copy_of_itself():
    twice = SCORES.assign(copy=SCORES["near"])
    row = score_agreement(twice, TABLE).differences("copy").query("score == 'near'").iloc[0]
    assert row[["weighted_tau", "weighted_tau_low", "weighted_tau_high"]].tolist() == [0, 0, 0]


@pytest.mark.parametrize("ties", [False, True])
def test_concordance_is_kendalls_w_with_its_correction_for_ties(ties):
    rng = np.random.default_rng(3)
    values = (rng.uniform(size=6) + 0.3 * rng.uniform(size=(4, 6))).round(1 if ties else 6) / 2
    truth = {f"t{i}": dict(zip(MODULES, row, strict=True)) for i, row in enumerate(values)}
    (row,) = score_agreement({"t0": {"s": truth["t0"]}}, truth).concordance().to_dict("records")
    ranks = stats.rankdata(values, axis=1)
    m, n = ranks.shape
    spread = ((ranks.sum(axis=0) - m * (n + 1) / 2) ** 2).sum()
    tied = sum((t**3 - t) for line in values for t in np.unique(line, return_counts=True)[1])
    expected = 12 * spread / (m**2 * (n**3 - n) - m * tied)
    assert row["concordance"] == pytest.approx(expected)
    assert 0 <= row["low"] <= row["high"] <= 1
    assert (row["n_tasks"], row["n_modules"]) == (4, 6)


def test_concordance_is_one_where_all_tasks_agree_and_zero_where_nothing_differs():
    order = {m: 0.1 * i for i, m in enumerate(MODULES)}
    same = score_agreement({"t": {"s": order}}, dict.fromkeys(TASKS, order)).concordance()
    assert same[["concordance", "low", "high"]].to_numpy().tolist() == [[pytest.approx(1.0)] * 3]
    flat = dict.fromkeys(MODULES, 0.5)
    none = score_agreement({"t": {"s": order}}, dict.fromkeys(TASKS, flat))
    assert none.concordance()["concordance"].tolist() == [0.0]
    assert none.means()["weighted_tau"].tolist() == [0.0, 0.0]


def test_percent_is_asked_for_not_guessed():
    truth = {"t": {"a": 90.0, "b": 80.0}}
    scores = {"t": {"s": {"a": 1.0, "b": 2.0}}}
    assert score_agreement(scores, truth, unit="percent").frame()["regret"].item() == pytest.approx(
        10.0
    )
    with pytest.raises(ModtoolsError, match='If these are percent, pass unit="percent"'):
        score_agreement(scores, truth)
    with pytest.raises(ModtoolsError, match=r"accuracies in truth are percent in \[0, 100\]"):
        score_agreement(scores, {"t": {"a": 190.0, "b": 80.0}}, unit="percent")
    with pytest.raises(ModtoolsError, match="no accuracy in truth is above 1, so they cannot be"):
        score_agreement(scores, {"t": {"a": 0.9, "b": 0.8}}, unit="percent")
    with pytest.raises(ModtoolsError, match='unknown unit "points"'):
        score_agreement(scores, truth, unit="points")


def changed(**columns):
    return TABLE.assign(**columns)


@pytest.mark.parametrize(
    ("scores", "truth", "text"),
    [
        (SCORES.replace({"budget": {5: 7}}), TABLE, 'have budget 7 on task "t", draw 0, truth'),
        (SCORES.replace({"draw": {1: 9}}), TABLE, 'draw 9 on task "t", budget 5, truth has 0, 1'),
        (SCORES.assign(draw=np.nan), TABLE, "column draw of scores has an empty cell; fill it."),
        (SCORES.assign(draw="x"), TABLE, "column draw of scores must be numbers; "),
        (SCORES.assign(note="x"), TABLE, 'column "note" has text. Drop it.'),
        (SCORES, changed(accuracy=np.nan), 'module "a" on task "t", budget 5, draw 0 has nan.'),
        (SCORES, pd.concat([TABLE, TABLE]), 'truth has two accuracies for "a" on "t", budget 5'),
        ("no.csv", TABLE, "scores is the file no.csv, which does not exist."),
    ],
)  # fmt: skip
def test_bad_tables_are_one_clear_error(scores, truth, text):
    with pytest.raises(ModtoolsError) as caught:
        score_agreement(scores, truth)
    assert text in str(caught.value)


def test_two_rankers_of_one_name_are_refused():
    with pytest.raises(ModtoolsError, match='"near" is the name of two rankers'):
        score_agreement(SCORES, TABLE, static={"near": dict.fromkeys(MODULES, 1)})


def test_the_printed_table_has_budgets_side_by_side(agreement):
    header, rows = agreement.table()
    assert header == [
        "score", "weighted tau, budget 5", "weighted tau, budget 20",
        "regret@1 (points), budget 5", "regret@1 (points), budget 20",
    ]  # fmt: skip
    assert {row[0] for row in rows} == {"near", "noise", "size (static)", f"{MEAN_RANK} (static)"}
    assert "at budget 5" in agreement.title()


def test_one_budget_is_drawn_with_intervals(agreement):
    from matplotlib.figure import Figure

    display = agreement.plot(Figure().subplots(1, 2), budget=5)
    means = TABLE[TABLE["budget"] == 5].groupby(["task", "module"])["near"].mean()
    assert display.frame()["predicted"].tolist() == pytest.approx(means.tolist())
    assert display.intervals["budget"].tolist() == [5] * 4
    largest = agreement.plot(Figure().subplots(1, 2))
    assert largest.intervals["budget"].tolist() == [20] * 4
    with pytest.raises(ModtoolsError, match=r"unknown budget 7\. Known: 5, 20\."):
        agreement.plot(budget=7)
