"""Rank agreement against its definitions, written out pair by pair."""

import json
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from modtools.exceptions import ModtoolsError
from modtools.studies import score_agreement
from modtools.studies._rank_agreement import kendall, pearson, regret_of_pick, weighted_tau


def kendall_by_definition(scores, truth):
    """Concordant minus discordant pairs, over the pairs that each list can order."""
    pairs = list(combinations(range(len(scores)), 2))
    total = sum(np.sign(scores[i] - scores[j]) * np.sign(truth[i] - truth[j]) for i, j in pairs)
    n_scores = sum(scores[i] != scores[j] for i, j in pairs)
    n_truth = sum(truth[i] != truth[j] for i, j in pairs)
    return total / np.sqrt(n_scores * n_truth)


def one_sided_weighted_tau(scores, truth, leading, other):
    """Vigna's product with additive hyperbolic weights of the ranks by `leading`, then `other`."""
    order = sorted(range(len(scores)), key=lambda i: (leading[i], other[i]), reverse=True)
    rank = {module: place for place, module in enumerate(order)}

    def product(first, second):
        return sum(
            np.sign(first[i] - first[j])
            * np.sign(second[i] - second[j])
            * (1 / (rank[i] + 1) + 1 / (rank[j] + 1))
            for i, j in combinations(range(len(first)), 2)
        )

    return product(scores, truth) / np.sqrt(product(scores, scores) * product(truth, truth))


def weighted_tau_by_definition(scores, truth):
    by_scores = one_sided_weighted_tau(scores, truth, scores, truth)
    return (by_scores + one_sided_weighted_tau(scores, truth, truth, scores)) / 2


def lists(seed, *, ties):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.2, 0.9, size=11)
    scores = truth + rng.normal(scale=0.2, size=11)
    return (scores.round(1), truth.round(1)) if ties else (scores, truth)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_correlations_follow_their_definitions(seed, ties):
    scores, truth = lists(seed, ties=ties)
    assert kendall(scores, truth) == pytest.approx(kendall_by_definition(scores, truth), abs=1e-12)
    assert pearson(scores, truth) == pytest.approx(np.corrcoef(scores, truth)[0, 1], abs=1e-12)
    if not ties:
        expected = weighted_tau_by_definition(scores, truth)
        assert weighted_tau(scores, truth) == pytest.approx(expected, abs=1e-12)


def test_weighted_tau_is_symmetric_and_weighs_the_top_most():
    scores, truth = lists(0, ties=False)
    assert weighted_tau(scores, truth) == pytest.approx(weighted_tau(truth, scores), abs=1e-12)
    ordered = np.arange(8.0)
    wrong_top, wrong_bottom = ordered.copy(), ordered.copy()
    wrong_top[[6, 7]] = wrong_top[[7, 6]]
    wrong_bottom[[0, 1]] = wrong_bottom[[1, 0]]
    assert weighted_tau(wrong_top, ordered) < weighted_tau(wrong_bottom, ordered)
    assert kendall(wrong_top, ordered) == pytest.approx(kendall(wrong_bottom, ordered))


@pytest.mark.parametrize("measure", [weighted_tau, kendall, pearson])
@pytest.mark.parametrize("order", [1, -1])
def test_a_constant_list_counts_as_zero(measure, order):
    flat, truth = np.full(4, 0.3), np.array([0.1, 0.5, 0.2, 0.9])
    assert measure(*(flat, truth)[::order]) == 0.0


def test_pearson_of_tiny_and_of_shifted_values():
    truth = np.array([0.2, 0.4, 0.9])
    assert pearson(1e-200 * truth, truth) == pytest.approx(1.0)
    assert pearson(1e6 + truth, truth) == pytest.approx(1.0)


def test_regret_is_the_mean_over_modules_tied_at_the_top():
    truth = np.array([0.9, 0.7, 0.8])
    assert regret_of_pick(np.array([1.0, 5.0, 5.0]), truth, 0.9) == pytest.approx(15.0)
    assert regret_of_pick(np.array([7.0, 5.0, 5.0]), truth, 0.9) == 0.0


TRUTH = {
    "digits": {"a": 0.9, "b": 0.8, "c": 0.7},
    "clothes": {"a": 0.5, "b": 0.6, "c": 0.4},
}
SCORES = {
    "digits": {"logme": {"a": 1.0, "b": 3.0, "c": 2.0}, "knn": {"a": 0.8, "b": 0.7, "c": 0.6}},
    "clothes": {"logme": {"a": 2.0, "b": 1.0, "c": 3.0}, "knn": {"a": 0.5, "b": 0.7, "c": 0.3}},
}


def test_table_is_sorted_by_mean_weighted_tau_with_regret_in_points():
    agreement = score_agreement(SCORES, TRUTH)
    means = agreement.means()
    assert means["score"].tolist() == ["knn", "logme"]
    assert means["regret"].tolist() == pytest.approx([0.0, (10.0 + 20.0) / 2])
    assert means["weighted_tau"].tolist()[0] == pytest.approx(1.0)
    assert means["n_tasks"].tolist() == [2, 2]
    frame = agreement.frame()
    assert frame["score"].tolist() == ["knn", "knn", "logme", "logme"]
    assert frame["task"].tolist() == ["digits", "clothes"] * 2
    assert agreement.best == "knn"


@pytest.mark.parametrize("n_modules", [2, 9])
def test_each_row_holds_the_four_measures(n_modules):
    rng = np.random.default_rng(n_modules)
    names = [f"m{i}" for i in range(n_modules)]
    truth, values = rng.uniform(size=n_modules), rng.normal(size=n_modules)
    agreement = score_agreement(
        {"t": {"s": dict(zip(names, values, strict=True))}},
        {"t": dict(zip(reversed(names), truth[::-1], strict=True))},
    )
    (row,) = agreement.frame().to_dict("records")
    assert row == {
        "score": "s",
        "task": "t",
        "weighted_tau": pytest.approx(weighted_tau_by_definition(values, truth)),
        "kendall": pytest.approx(kendall_by_definition(values, truth)),
        "pearson": pytest.approx(np.corrcoef(values, truth)[0, 1]),
        "regret": pytest.approx(100 * (truth.max() - truth[values.argmax()])),
        "n_modules": n_modules,
        "static": False,
    }


def test_frames_are_read_like_dicts():
    scores = pd.DataFrame(
        [
            {"task": task, "score": score, "module": module, "value": value, "seconds": 1.0}
            for task, by_score in SCORES.items()
            for score, values in by_score.items()
            for module, value in values.items()
        ]
    )
    truth = pd.DataFrame(
        [
            {"task": task, "module": module, "accuracy": accuracy}
            for task, accuracies in TRUTH.items()
            for module, accuracy in accuracies.items()
        ]
    )
    expected = score_agreement(SCORES, TRUTH).frame()
    pd.testing.assert_frame_equal(score_agreement(scores, truth).frame(), expected)


def test_static_rankers_stand_beside_and_never_win():
    static = {"n_parameters": {"a": 3, "b": 3, "c": 3}, "size": TRUTH["digits"]}
    scores = {task: {"logme": values["logme"]} for task, values in SCORES.items()}
    agreement = score_agreement(scores, TRUTH, static=static)
    means = agreement.means().set_index("score")
    assert means["static"].to_dict() == {"size": True, "n_parameters": True, "logme": False}
    assert means.loc["n_parameters", ["weighted_tau", "kendall", "pearson"]].tolist() == [0, 0, 0]
    assert means.loc["n_parameters", "regret"] == pytest.approx(10.0)
    assert agreement.best == "logme"


def test_static_rankers_may_differ_by_task():
    static = {task: {"n_features": {"a": 1, "b": 2, "c": 3}} for task in TRUTH}
    same = score_agreement(SCORES, TRUTH, static={"n_features": {"a": 1, "b": 2, "c": 3}})
    given = score_agreement(SCORES, TRUTH, static=static)
    pd.testing.assert_frame_equal(given.frame(), same.frame())


def test_a_score_that_leaves_the_best_module_out_pays_for_it():
    scores = {"digits": {"leep": {"b": 1.0, "c": 0.5}}}
    (row,) = score_agreement(scores, TRUTH).frame().to_dict("records")
    assert row["n_modules"] == 2
    assert row["regret"] == pytest.approx(10.0)


def test_equal_scores_keep_the_order_given():
    values = SCORES["digits"]["knn"]
    scores = {"digits": {"second": values, "first": values}}
    assert score_agreement(scores, TRUTH).means()["score"].tolist() == ["second", "first"]


@pytest.mark.parametrize(
    ("scores", "truth", "text"),
    [
        (
            {"digits": {"knn": {"a": 1.0, "z": 2.0}}},
            TRUTH,
            'module "z" has knn on task "digits" but no accuracy in truth.',
        ),
        (
            {"sea": {"knn": {"a": 1.0, "b": 2.0}}},
            TRUTH,
            'scores name the task "sea", truth has digits, clothes.',
        ),
        (
            {"digits": {"knn": {"a": float("nan"), "b": 2.0}}},
            TRUTH,
            'knn of module "a" on task "digits" is nan.',
        ),
        (
            {"digits": {"knn": {"a": 1.0}}},
            TRUTH,
            'a ranking needs at least two modules; knn on task "digits" has 1.',
        ),
        (
            SCORES,
            {"digits": {"a": 96.8}},
            'accuracies in truth are fractions in [0, 1]; module "a" on task "digits" has 96.8. '
            "Divide percent by 100.",
        ),
        ({}, TRUTH, "scores is empty: give at least one score of two modules on one task."),
        (
            pd.DataFrame({"task": ["digits"], "score": ["knn"], "module": ["a"]}),
            TRUTH,
            "scores must have the columns task, score, module, value; value is absent.",
        ),
        (
            pd.DataFrame(
                {"task": ["t"] * 2, "score": ["s"] * 2, "module": ["a"] * 2, "value": 1.0}
            ),
            TRUTH,
            'scores has two values of s for "a" on "t".',
        ),
    ],
)
def test_bad_input_is_one_clear_error(scores, truth, text):
    with pytest.raises(ModtoolsError) as caught:
        score_agreement(scores, truth)
    assert str(caught.value) == text


def test_text_html_and_json():
    agreement = score_agreement(SCORES, TRUTH, static={"size": {"a": 3, "b": 2, "c": 1}})
    lines = repr(agreement).splitlines()
    assert lines[0] == "Agreement with achieved accuracy"
    assert lines[1].split() == [
        "score", "weighted", "tau", "Kendall", "tau", "Pearson", "regret@1", "(points)", "tasks",
    ]  # fmt: skip
    assert lines[2].startswith("knn ")
    assert "size (static)" in repr(agreement)
    assert "<td>size (static)</td>" in agreement._repr_html_()
    content = json.loads(agreement.to_json())
    assert [row["score"] for row in content["means"]] == ["knn", "size", "logme"]
    assert set(content["versions"]) == {"modtools", "numpy", "python", "scikit-learn", "torch"}


def test_json_file_is_the_text(tmp_path):
    agreement = score_agreement(SCORES, TRUTH)
    assert agreement.to_json(tmp_path / "a.json") == (tmp_path / "a.json").read_text()


def test_plot_draws_the_best_score_or_the_one_asked_for():
    from matplotlib.figure import Figure

    agreement = score_agreement(SCORES, TRUTH)
    display = agreement.plot(Figure().subplots(1, 2))
    assert (display.score, display.accuracy) == ("knn", True)
    assert display.frame()["predicted"].tolist() == [0.8, 0.7, 0.6, 0.5, 0.7, 0.3]
    other = agreement.plot(Figure().subplots(), score="logme")
    assert (other.score, other.accuracy) == ("logme", False)
    with pytest.raises(ModtoolsError, match='unknown score "log_me"; did you mean "logme"'):
        agreement.plot(score="log_me")


def test_inputs_are_not_changed():
    before = json.dumps([SCORES, TRUTH])
    score_agreement(SCORES, TRUTH)
    assert json.dumps([SCORES, TRUTH]) == before
