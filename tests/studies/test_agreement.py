"""Agreement of scores with achieved accuracies: tables, label-free baselines, errors, picture."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from modtools.exceptions import ModtoolsError
from modtools.studies import score_agreement
from modtools.studies._rank_agreement import MEASURES, rank_agreement
from modtools.studies._tables import MEAN_RANK
from tests.documents import facts
from tests.studies.tables import wide

ACHIEVED = {
    "digits": {"a": 0.9, "b": 0.8, "c": 0.7},
    "clothes": {"a": 0.5, "b": 0.6, "c": 0.4},
}
SCORES = {
    "digits": {"logme": {"a": 1.0, "b": 3.0, "c": 2.0}, "knn": {"a": 0.8, "b": 0.7, "c": 0.6}},
    "clothes": {"logme": {"a": 2.0, "b": 1.0, "c": 3.0}, "knn": {"a": 0.5, "b": 0.7, "c": 0.3}},
}


def test_table_is_sorted_by_mean_weighted_tau_with_regret_in_points():
    agreement = score_agreement(SCORES, ACHIEVED)
    means = wide(agreement.means()).query("not is_baseline")
    assert means["score"].tolist() == ["knn", "logme"]
    assert means["regret"].tolist() == pytest.approx([0.0, (10.0 + 20.0) / 2])
    assert means["weighted_tau"].tolist()[0] == pytest.approx(1.0)
    assert means["n_tasks"].tolist() == [2, 2]
    frame = agreement.frame().query("not is_baseline")
    assert frame["score"].tolist() == ["knn", "knn", "logme", "logme"]
    assert frame["task"].tolist() == ["digits", "clothes"] * 2
    assert agreement.best == "knn"


@pytest.mark.parametrize("n_modules", [2, 9])
def test_each_row_holds_every_measure(n_modules):
    rng = np.random.default_rng(n_modules)
    names = [f"m{i}" for i in range(n_modules)]
    achieved, values = rng.uniform(size=n_modules), rng.normal(size=n_modules)
    agreement = score_agreement(
        {"t": {"s": dict(zip(names, values, strict=True))}},
        {"t": dict(zip(reversed(names), achieved[::-1], strict=True))},
    )
    (row,) = agreement.frame().to_dict("records")
    expected = rank_agreement(values, achieved, np.ones((n_modules, 1), dtype=int))[:, 0]
    assert row == {
        "score": "s",
        "task": "t",
        **dict(zip(MEASURES, map(pytest.approx, expected), strict=True)),
        "n_modules": n_modules,
        "is_baseline": False,
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
    achieved = pd.DataFrame(
        [
            {"task": task, "module": module, "accuracy": accuracy}
            for task, accuracies in ACHIEVED.items()
            for module, accuracy in accuracies.items()
        ]
    )
    expected = score_agreement(SCORES, ACHIEVED).frame()
    pd.testing.assert_frame_equal(score_agreement(scores, achieved).frame(), expected)


def test_baselines_stand_beside_and_never_win():
    baselines = {"n_parameters": {"a": 3, "b": 3, "c": 3}, "size": ACHIEVED["digits"]}
    scores = {task: {"logme": values["logme"]} for task, values in SCORES.items()}
    agreement = score_agreement(scores, ACHIEVED, baselines=baselines)
    means = wide(agreement.means()).set_index("score")
    assert means["is_baseline"].to_dict() == {
        "size": True,
        MEAN_RANK: True,
        "n_parameters": True,
        "logme": False,
    }
    assert means.loc["n_parameters", ["weighted_tau", "kendall", "pearson"]].tolist() == [0, 0, 0]
    assert means.loc["n_parameters", "regret"] == pytest.approx(10.0)
    assert agreement.best == "logme"
    assert agreement.verdicts()[0].startswith("size: ")
    (line,) = agreement.verdicts(["n_parameters"])
    assert re.match(r"n_parameters: .+, weighted tau [+-]\d\.\d\d \[", line)
    assert all(
        note.startswith("2 tasks order 3 modules with Kendall's W") for note in agreement.notes()
    )


def test_baselines_may_differ_by_task():
    baselines = {task: {"n_features": {"a": 1, "b": 2, "c": 3}} for task in ACHIEVED}
    same = score_agreement(SCORES, ACHIEVED, baselines={"n_features": {"a": 1, "b": 2, "c": 3}})
    given = score_agreement(SCORES, ACHIEVED, baselines=baselines)
    pd.testing.assert_frame_equal(given.frame(), same.frame())


def test_a_score_that_leaves_the_best_module_out_pays_for_it():
    scores = {"digits": {"leep": {"b": 1.0, "c": 0.5}}}
    (row,) = score_agreement(scores, ACHIEVED).frame().query("not is_baseline").to_dict("records")
    assert row["n_modules"] == 2
    assert row["regret"] == pytest.approx(10.0)


def test_equal_scores_keep_the_order_given():
    values = SCORES["digits"]["knn"]
    scores = {"digits": {"second": values, "first": values}}
    agreement = score_agreement(scores, ACHIEVED)
    assert agreement.means()["score"].unique().tolist()[:2] == ["second", "first"]
    assert agreement.best == "second"


@pytest.mark.parametrize(
    ("scores", "achieved", "text"),
    [
        (
            {"digits": {"knn": {"a": 1.0, "z": 2.0}}},
            ACHIEVED,
            'module "z" has knn on task "digits" but no accuracy in achieved.',
        ),
        (
            {"sea": {"knn": {"a": 1.0, "b": 2.0}}},
            ACHIEVED,
            'scores name the task "sea", achieved has digits, clothes.',
        ),
        (
            {"digits": {"knn": {"a": float("nan"), "b": 2.0}}},
            ACHIEVED,
            'knn of module "a" on task "digits" is nan.',
        ),
        (
            {"digits": {"knn": {"a": 1.0}}},
            ACHIEVED,
            'a ranking needs at least two modules; knn on task "digits" has 1.',
        ),
        (
            SCORES,
            {"digits": {"a": 96.8}},
            'accuracies in achieved are fractions in [0, 1]; module "a" on task "digits" has 96.8. '
            'If these are percent, pass unit="percent".',
        ),
        (
            {},
            {"digits": ACHIEVED["digits"]},
            "scores is empty: give at least one score of two modules on one task.",
        ),
        (
            pd.DataFrame({"task": ["digits"], "score": ["knn"], "module": ["a"]}),
            ACHIEVED,
            "scores must have the columns task, score, module, value; value is absent.",
        ),
        (
            pd.DataFrame(
                {"task": ["t"] * 2, "score": ["s"] * 2, "module": ["a"] * 2, "value": 1.0}
            ),
            ACHIEVED,
            'scores has two values of s for "a" on "t".',
        ),
    ],
)
def test_bad_input_is_one_clear_error(scores, achieved, text):
    with pytest.raises(ModtoolsError) as caught:
        score_agreement(scores, achieved)
    assert str(caught.value) == text


def test_text_html_and_json():
    agreement = score_agreement(SCORES, ACHIEVED, baselines={"size": {"a": 3, "b": 2, "c": 1}})
    lines = repr(agreement).splitlines()
    assert lines[0].startswith("Agreement with achieved accuracy, 95 % intervals; Kendall's W of")
    assert re.split(r"\s{2,}", lines[1]) == [
        "score", "weighted tau", "Kendall tau", "Pearson", "regret@1 (points)", "regret@3 (points)",
        "tasks",
    ]  # fmt: skip
    assert re.fullmatch(r"knn +1\.000 \[1\.000, 1\.000\] +1\.000 +1\.000 .*", lines[2])
    assert "size (label-free)" in repr(agreement)
    assert "<td>size (label-free)</td>" in agreement._repr_html_()
    content = facts(agreement.to_json())
    assert next(row["score"] for row in content["means"]) == "knn"
    assert {row["baseline"] for row in content["differences"]} == {"size", MEAN_RANK}
    assert content["concordance"][0]["n_tasks"] == 2
    assert content["settings"] == {"unit": "fraction", "seed": 0, "tasks": ["digits", "clothes"]}
    assert content["seconds"] == agreement.seconds > 0
    assert set(content["versions"]) == {"modtools", "numpy", "python", "scikit-learn", "torch"}
    assert content["versions"] == agreement.versions


def test_json_file_is_the_text(tmp_path):
    agreement = score_agreement(SCORES, ACHIEVED)
    assert agreement.to_json(tmp_path / "a.json") == (tmp_path / "a.json").read_text()


def test_plot_draws_the_best_score_or_the_one_asked_for():
    from matplotlib.figure import Figure

    agreement = score_agreement(SCORES, ACHIEVED)
    display = agreement.plot(Figure().subplots(1, 2))
    assert (display.score, display.accuracy) == ("knn", True)
    assert display.frame()["predicted"].tolist() == [0.8, 0.7, 0.6, 0.5, 0.7, 0.3]
    other = agreement.plot(Figure().subplots(), score="logme")
    assert (other.score, other.accuracy) == ("logme", False)
    with pytest.raises(ModtoolsError, match='unknown score "log_me"; did you mean "logme"'):
        agreement.plot(score="log_me")


def test_inputs_are_not_changed():
    before = json.dumps([SCORES, ACHIEVED])
    score_agreement(SCORES, ACHIEVED)
    assert json.dumps([SCORES, ACHIEVED]) == before


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda found: found.differences(3), "baselines must be names of scores; got 3"),
        (lambda found: found.plot(n_labels=5), "n_labels is for scores with several label counts"),
        (lambda found: found.plot(3), "ax must be one or two axes of matplotlib; got 3"),
        (lambda found: found.fidelity(3), r"sizes must be \{module: number\}; got int"),
        (lambda found: found.fidelity({"a": "x"}), "sizes must be finite .*; \"a\" has 'x'"),
        (lambda found: found.fidelity({"a": None}), 'sizes must be finite .*; "a" has None'),
    ],
)
def test_questions_that_make_no_sense_are_one_clear_error(ask, message):
    with pytest.raises(ModtoolsError, match=message):
        ask(score_agreement(SCORES, ACHIEVED))


def test_classes_that_are_no_mapping_are_refused():
    with pytest.raises(ModtoolsError, match=r"module_classes must be \{name: classes\}; got int"):
        score_agreement(SCORES, ACHIEVED, module_classes=3, task_classes={})
