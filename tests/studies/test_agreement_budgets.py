"""Label counts and repeats, label-free baselines, intervals, and Kendall's W."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from modtools.exceptions import ModtoolsError
from modtools.studies import score_agreement
from modtools.studies._tables import MEAN_RANK, SHARED_CLASSES
from tests.studies.tables import wide

TASKS, MODULES = ("t", "u", "v"), tuple("abcdef")


def drawn(*, counts=(5, 20), repeats=(0, 1), seed=0):
    """One row per task, label count, repeat and module: an accuracy and two scores."""
    rng = np.random.default_rng(seed)
    keys = [(t, n, r, m) for t in TASKS for n in counts for r in repeats for m in MODULES]
    table = pd.DataFrame(keys, columns=["task", "n_labels", "repeat", "module"])
    table["accuracy"] = rng.uniform(0.2, 0.9, len(table))
    table["near"] = table["accuracy"] + 0.1 * rng.normal(size=len(table))
    return table.assign(noise=rng.normal(size=len(table)))


TABLE = drawn()
SCORES = TABLE.drop(columns="accuracy")


@pytest.fixture(scope="module")
def agreement():
    return score_agreement(
        SCORES, TABLE, baselines={"size": dict(zip(MODULES, range(6), strict=True))}
    )


def test_each_repeat_is_judged_by_its_own_accuracies(agreement):
    frame = agreement.frame().set_index(["score", "task", "n_labels", "repeat"])["kendall"]
    for (task, n_labels, repeat), part in TABLE.groupby(["task", "n_labels", "repeat"]):
        expected = stats.kendalltau(part["near"], part["accuracy"]).statistic
        assert frame["near", task, n_labels, repeat] == pytest.approx(expected)
        expected = stats.kendalltau(range(6), part["accuracy"]).statistic
        assert frame["size", task, n_labels, repeat] == pytest.approx(expected)


def test_means_count_every_task_alike_whatever_its_number_of_repeats():
    table = TABLE[(TABLE["task"] != "t") | (TABLE["repeat"] == 0)]
    found = score_agreement(table.drop(columns="accuracy"), table)
    by_task = found.frame().groupby(["score", "n_labels", "task"])["pearson"].mean()
    means = wide(found.means()).set_index(["score", "n_labels"])["pearson"]
    expected = by_task.groupby(level=["score", "n_labels"]).mean()
    pd.testing.assert_series_equal(means.sort_index(), expected.sort_index())


def test_accuracies_without_label_counts_serve_all_and_scores_without_repeats_serve_all():
    achieved = TABLE[(TABLE["n_labels"] == 5) & (TABLE["repeat"] == 0)][
        ["task", "module", "accuracy"]
    ]
    found = (
        score_agreement(SCORES, achieved).frame().set_index(["score", "task", "n_labels", "repeat"])
    )
    part = TABLE[(TABLE["task"] == "u") & (TABLE["n_labels"] == 20) & (TABLE["repeat"] == 1)]
    achieved = achieved[achieved["task"] == "u"]["accuracy"].to_numpy()
    expected = stats.kendalltau(part["near"], achieved).statistic
    assert found.loc[("near", "u", 20, 1), "kendall"] == pytest.approx(expected)
    once = SCORES[(SCORES["n_labels"] == 5) & (SCORES["repeat"] == 0)].drop(
        columns=["n_labels", "repeat"]
    )
    spread = score_agreement(once, TABLE).frame()
    assert len(spread[spread["score"] == "near"]) == 3 * 2 * 2


def test_long_wide_and_written_tables_are_read_alike(tmp_path):
    long = SCORES.melt(
        ["task", "n_labels", "repeat", "module"], var_name="score", value_name="value"
    )
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
    means = TABLE.groupby(["n_labels", "task", "module"])["accuracy"].mean().unstack()
    frame = agreement.frame()
    for n_labels in (5, 20):
        ranks = means.loc[n_labels].rank(axis=1)
        others = ranks.loc[["u", "v"]].mean()
        part = TABLE[
            (TABLE["task"] == "t") & (TABLE["n_labels"] == n_labels) & (TABLE["repeat"] == 1)
        ]
        expected = stats.kendalltau(others, part["accuracy"]).statistic
        row = frame[(frame["score"] == MEAN_RANK) & (frame["task"] == "t")]
        row = row[(row["n_labels"] == n_labels) & (row["repeat"] == 1)]
        assert row["kendall"].item() == pytest.approx(expected)


def test_a_single_task_has_no_other_tasks():
    achieved = {"t": {"a": 0.9, "b": 0.8}}
    found = score_agreement({"t": {"knn": {"a": 1, "b": 2}}}, achieved)
    assert found.means()["score"].unique().tolist() == ["knn"]
    assert not len(found.concordance())
    assert "Kendall's W" not in repr(found)


def test_shared_classes_are_counted_where_both_are_known():
    achieved = {t: {"a": 0.9, "b": 0.5, "c": 0.7} for t in ("t", "u")}
    scores = {"t": {"knn": achieved["t"]}, "u": {"knn": achieved["u"]}}
    modules, tasks = {"a": [1, 2, 3], "b": ["2"], "c": (1, 2)}, {"t": [1, 2, 3, 4]}
    found = score_agreement(scores, achieved, module_classes=modules, task_classes=tasks).frame()
    (row,) = found[found["score"] == SHARED_CLASSES].to_dict("records")
    assert (row["task"], row["kendall"], row["is_baseline"]) == ("t", pytest.approx(1.0), True)
    with pytest.raises(ModtoolsError, match=r"task_classes is absent\."):
        score_agreement(scores, achieved, module_classes=modules)
    with pytest.raises(ModtoolsError, match="module_classes must list classes; \"a\" has '23'"):
        score_agreement(scores, achieved, module_classes={"a": "23"}, task_classes=tasks)


def test_baselines_stand_alone_where_no_score_is_known():
    achieved = TABLE[TABLE["n_labels"] == 5].groupby(["task", "module"])["accuracy"].mean()
    sizes = pd.DataFrame({"module": MODULES, "size": range(6), "depth": [1, 2, 1, 2, 1, 2]})
    found = score_agreement({}, achieved.reset_index(), baselines=sizes)
    assert set(found.means()["score"]) == {"size", "depth", MEAN_RANK}
    assert found.means()["is_baseline"].all()
    assert found.best == found.means()["score"].iloc[0]


def test_intervals_hold_the_mean_and_are_the_same_for_one_seed(agreement):
    means = wide(agreement.means())
    for measure in ("weighted_tau", "kendall", "pearson", "regret"):
        low, high = means[f"{measure}_low"], means[f"{measure}_high"]
        assert (low <= high).all()
        assert low.ge(0 if measure == "regret" else -1).all()
        assert high.le(100 if measure == "regret" else 1).all()
    assert np.isfinite(means.select_dtypes("number").to_numpy()).all()
    baselines = {"size": dict(zip(MODULES, range(6), strict=True))}
    again = score_agreement(SCORES, TABLE, baselines=baselines)
    pd.testing.assert_frame_equal(wide(again.means()), means)


def test_intervals_hold_the_tau_of_all_tasks_and_modules():
    """Pools of 12 modules and 6 tasks, of a population whose mean tau is known."""
    rng = np.random.default_rng(0)
    achieved = rng.normal(size=(400, 1)) + 0.7 * rng.normal(size=(400, 40))
    scores = achieved + 0.8 * rng.normal(size=achieved.shape)
    whole = np.mean(
        [stats.kendalltau(s, t).statistic for s, t in zip(scores.T, achieved.T, strict=True)]
    )
    held = []
    for _ in range(12):
        modules, tasks = rng.choice(400, 12, replace=False), rng.choice(40, 6, replace=False)
        named = [
            {
                f"t{t}": dict(zip(map(str, modules), values[modules, t].tolist(), strict=True))
                for t in tasks
            }
            for values in (scores, 1 / (1 + np.exp(-achieved)))
        ]
        found = score_agreement({t: {"s": v} for t, v in named[0].items()}, named[1])
        row = wide(found.means()).set_index("score").loc["s"]
        held.append(row["kendall_low"] <= whole <= row["kendall_high"])
    assert np.mean(held) >= 0.8


def test_differences_are_paired_over_tasks(agreement):
    table = wide(agreement.differences())
    assert set(table["baseline"]) == {"size", MEAN_RANK}
    assert set(table["score"]) == {"near", "noise"}
    means = wide(agreement.means()).set_index(["score", "n_labels"])
    for row in table.to_dict("records"):
        ours, theirs = means.loc[
            [(row[k], row["n_labels"]) for k in ("score", "baseline")], "regret"
        ]
        assert row["regret"] == pytest.approx(ours - theirs, abs=1e-9)
        assert row["weighted_tau_low"] <= row["weighted_tau"] <= row["weighted_tau_high"]
    chosen = agreement.differences("noise")
    assert set(chosen["score"]) == {"near"}
    with pytest.raises(ModtoolsError, match='unknown score "noize"; did you mean "noise"'):
        agreement.differences(["noize"])


def test_a_score_does_not_differ_from_a_copy_of_itself():
    twice = SCORES.assign(copy=SCORES["near"])
    table = wide(score_agreement(twice, TABLE).differences("copy"))
    row = table.query("score == 'near'").iloc[0]
    assert row[["weighted_tau", "weighted_tau_low", "weighted_tau_high"]].tolist() == [0, 0, 0]


@pytest.mark.parametrize("ties", [False, True])
def test_concordance_is_kendalls_w_with_its_correction_for_ties(ties):
    rng = np.random.default_rng(3)
    values = (rng.uniform(size=6) + 0.3 * rng.uniform(size=(4, 6))).round(1 if ties else 6) / 2
    achieved = {f"t{i}": dict(zip(MODULES, row, strict=True)) for i, row in enumerate(values)}
    (row,) = (
        score_agreement({"t0": {"s": achieved["t0"]}}, achieved).concordance().to_dict("records")
    )
    ranks = stats.rankdata(values, axis=1)
    m, n = ranks.shape
    spread = ((ranks.sum(axis=0) - m * (n + 1) / 2) ** 2).sum()
    tied = sum((t**3 - t) for line in values for t in np.unique(line, return_counts=True)[1])
    expected = 12 * spread / (m**2 * (n**3 - n) - m * tied)
    assert row["concordance"] == pytest.approx(expected)
    assert 0 <= row["concordance_low"] <= row["concordance_high"] <= 1
    assert (row["n_tasks"], row["n_modules"]) == (4, 6)


def test_concordance_is_one_where_all_tasks_agree_and_zero_where_nothing_differs():
    order = {m: 0.1 * i for i, m in enumerate(MODULES)}
    same = score_agreement({"t": {"s": order}}, dict.fromkeys(TASKS, order)).concordance()
    ends = ["concordance", "concordance_low", "concordance_high"]
    assert same[ends].to_numpy().tolist() == [[pytest.approx(1.0)] * 3]
    flat = dict.fromkeys(MODULES, 0.5)
    none = score_agreement({"t": {"s": order}}, dict.fromkeys(TASKS, flat))
    assert none.concordance()["concordance"].tolist() == [0.0]
    assert wide(none.means())["weighted_tau"].tolist() == [0.0, 0.0]


def test_percent_is_asked_for_not_guessed():
    achieved = {"t": {"a": 90.0, "b": 80.0}}
    scores = {"t": {"s": {"a": 1.0, "b": 2.0}}}
    assert score_agreement(scores, achieved, unit="percent").frame()[
        "regret"
    ].item() == pytest.approx(10.0)
    with pytest.raises(ModtoolsError, match='If these are percent, pass unit="percent"'):
        score_agreement(scores, achieved)
    with pytest.raises(ModtoolsError, match=r"accuracies in achieved are percent in \[0, 100\]"):
        score_agreement(scores, {"t": {"a": 190.0, "b": 80.0}}, unit="percent")
    with pytest.raises(ModtoolsError, match="in achieved is above 1, so they cannot be percent"):
        score_agreement(scores, {"t": {"a": 0.9, "b": 0.8}}, unit="percent")
    with pytest.raises(ModtoolsError, match='unknown unit "points"'):
        score_agreement(scores, achieved, unit="points")


def changed(**columns):
    return TABLE.assign(**columns)


@pytest.mark.parametrize(
    ("scores", "achieved", "text"),
    [
        (SCORES.replace({"n_labels": {5: 7}}), TABLE, '7 on task "t", repeat 0, achieved has'),
        (SCORES.replace({"repeat": {1: 9}}), TABLE, '9 on task "t", n_labels 5, achieved has 0, 1'),
        (SCORES.assign(repeat=np.nan), TABLE, "repeat of scores has an empty cell; fill it."),
        (SCORES.assign(repeat="x"), TABLE, "column repeat of scores must be numbers; "),
        (SCORES.assign(note="x"), TABLE, 'column "note" has text. Drop it.'),
        (SCORES, changed(accuracy=np.nan), 'module "a" on task "t", n_labels 5, repeat 0 has'),
        (SCORES, pd.concat([TABLE, TABLE]), 'achieved has two accuracies for "a" on "t", n_'),
        ("no.csv", TABLE, "scores is the file no.csv, which does not exist."),
    ],
)  # fmt: skip
def test_bad_tables_are_one_clear_error(scores, achieved, text):
    with pytest.raises(ModtoolsError) as caught:
        score_agreement(scores, achieved)
    assert text in str(caught.value)


def test_two_baselines_of_one_name_are_refused():
    with pytest.raises(ModtoolsError, match='"near" is the name of two scores or baselines'):
        score_agreement(SCORES, TABLE, baselines={"near": dict.fromkeys(MODULES, 1)})


def test_the_printed_table_has_label_counts_side_by_side(agreement):
    header, rows = agreement.table()
    assert header == [
        "score", "weighted tau, 5 labels", "weighted tau, 20 labels",
        "regret@1 (points), 5 labels", "regret@1 (points), 20 labels",
    ]  # fmt: skip
    assert {row[0] for row in rows} == {
        "near",
        "noise",
        "size (label-free)",
        f"{MEAN_RANK} (label-free)",
    }
    assert "with 5 labels" in agreement.title()


def test_one_label_count_is_drawn_with_intervals(agreement):
    from matplotlib.figure import Figure

    display = agreement.plot(Figure().subplots(1, 2), n_labels=5)
    means = TABLE[TABLE["n_labels"] == 5].groupby(["task", "module"])["near"].mean()
    assert display.frame()["predicted"].tolist() == pytest.approx(means.tolist())
    assert display.intervals["n_labels"].tolist() == [5] * 4
    largest = agreement.plot(Figure().subplots(1, 2))
    assert largest.intervals["n_labels"].tolist() == [20] * 4
    with pytest.raises(ModtoolsError, match=r"unknown n_labels 7\. Known: 5, 20\."):
        agreement.plot(n_labels=7)
