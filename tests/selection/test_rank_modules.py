"""Ranking modules: from a zoo, a list or cached features to one tidy table."""

import warnings

import numpy as np
import pandas as pd
import pytest
from torch import nn

from modtools.exceptions import ModtoolsError, ModtoolsWarning
from modtools.modules import PretrainedModule, Zoo
from modtools.selection import rank_modules
from modtools.tasks import Task
from modtools.transferability import SCORES, score

pytestmark = pytest.mark.floating_point

COLUMNS = [
    "module",
    "score",
    "value",
    "standard_error",
    "seconds",
    "n_features",
    "n_parameters",
    "milliseconds",
]


def cached(seed=0, n_per_class=20):
    """Return features that carry the classes well, weakly and not at all, and the labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([3, 7, 9], n_per_class)
    centres = np.eye(3)[np.searchsorted([3, 7, 9], labels)]
    noise = rng.normal(size=(3, len(labels), 3))
    return {
        "none": noise[0],
        "weak": centres + noise[1],
        "good": 4 * centres + noise[2],
    }, labels


class Counting(nn.Module):
    """Two linear layers that count how often they run."""

    def __init__(self, seed=0):
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)
        self.calls = 0

    def forward(self, inputs):
        self.calls += 1
        return self.second(self.first(inputs).relu())


def network_task():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 30)
    inputs = (rng.normal(size=(60, 4)) + labels[:, None]).astype(np.float32)
    return Task(inputs, labels, name="blobs")


def test_cached_features_and_labels_are_enough():
    features, labels = cached()
    ranking = rank_modules(features, labels, by="ridge")
    assert ranking.best == "good"
    assert ranking.top(2) == ["good", "weak"]
    assert ranking.top(9) == ["good", "weak", "none"]
    assert len(ranking) == 3


def test_values_are_those_of_score():
    features, labels = cached()
    frame = rank_modules(features, labels, by="ridge", scores=["logme", "knn"]).frame()
    assert list(frame.columns) == COLUMNS
    assert frame["score"].tolist() == ["ridge"] * 3 + ["logme"] * 3 + ["knn"] * 3
    for row in frame.to_dict("records"):
        direct = score(features[row["module"]], labels, [row["score"]])
        assert row["value"] == pytest.approx(direct[row["score"]], rel=1e-12)
        expected = direct.standard_errors.get(row["score"])
        if expected is None:
            assert np.isnan(row["standard_error"])
        else:
            assert row["standard_error"] == pytest.approx(expected, rel=1e-9)
        assert row["n_features"] == 3
    for name in ("ridge", "logme", "knn"):
        values = frame.loc[frame["score"] == name, "value"].tolist()
        assert values == sorted(values, reverse=True)


def test_a_task_may_stand_for_its_labels():
    features, labels = cached()
    task = Task(np.zeros((60, 1)), labels, name="three")
    by_task, by_labels = (rank_modules(features, given, by="knn") for given in (task, labels))
    assert by_task.frame()["value"].tolist() == by_labels.frame()["value"].tolist()
    assert by_task.settings["task"] == "three"
    assert by_labels.settings["task"] == "these labels"


@pytest.mark.parametrize("labels", ["text", "negative", "gaps"])
def test_label_values_do_not_matter(labels):
    features, gaps = cached()
    other = {"text": np.array(["c", "x", "z"]), "negative": np.array([-5, -1, 2])}
    values = other[labels][np.searchsorted([3, 7, 9], gaps)] if labels in other else gaps
    expected = rank_modules(features, gaps, by="logistic").frame()["value"].tolist()
    assert rank_modules(features, values, by="logistic").frame()["value"].tolist() == expected


def test_one_network_runs_once_for_all_its_layers():
    network = Counting()
    module = PretrainedModule(network, name="net", layers=["first", "second", None])
    ranking = rank_modules([module], network_task(), by="knn", batch_size=60, scores=["ridge"])
    assert network.calls == 1
    frame = ranking.frame()
    assert set(frame["module"]) == {"net@first", "net@second", "net"}
    facts = frame[frame["score"] == "knn"].set_index("module")
    assert facts["n_features"].to_dict() == {"net@first": 6, "net@second": 3, "net": 3}
    assert facts["n_parameters"].to_dict() == {"net@first": 30, "net@second": 51, "net": 51}
    assert (facts["milliseconds"] > 0).all()
    assert facts["milliseconds"].nunique() == 1


def test_a_zoo_ranks_like_its_modules(tmp_path):
    task = network_task()
    modules = [
        PretrainedModule(
            nn.Linear(4, width), name=f"linear{width}", build=("torch.nn:Linear", arguments)
        )
        for width in (2, 5)
        for arguments in ({"in_features": 4, "out_features": width},)
    ]
    zoo = Zoo(tmp_path)
    for module in modules:
        zoo.save(module)
    from_zoo, from_list = (rank_modules(given, task, by="ridge") for given in (zoo, modules))
    columns = ["module", "score", "value", "n_features", "n_parameters"]
    pd.testing.assert_frame_equal(from_zoo.frame()[columns], from_list.frame()[columns])


def test_a_network_of_a_zoo_with_several_layers_is_loaded_and_run_once(tmp_path, monkeypatch):
    arguments = {"d_model": 4, "nhead": 1, "dim_feedforward": 7}
    network = nn.TransformerEncoderLayer(**arguments)
    build = ("torch.nn:TransformerEncoderLayer", arguments)
    Zoo(tmp_path).save(
        PretrainedModule(network, name="net", layers=["linear1", "linear2"], build=build)
    )
    loads = []
    original = Zoo.load
    monkeypatch.setattr(Zoo, "load", lambda self, name: loads.append(name) or original(self, name))
    ranking = rank_modules(Zoo(tmp_path), network_task(), by="knn")
    assert loads == ["net"]
    assert sorted(ranking.top(2)) == ["net@linear1", "net@linear2"]


@pytest.mark.parametrize("n_jobs", [2, pytest.param(-1, marks=pytest.mark.slow)])
def test_parallel_scoring_gives_the_same_table(n_jobs):
    features, labels = cached()
    one, many = (
        rank_modules(features, labels, by="logistic", scores=["codelength"], n_jobs=jobs, seed=3)
        for jobs in (None, n_jobs)
    )
    columns = ["module", "score", "value", "standard_error"]
    pd.testing.assert_frame_equal(one.frame()[columns], many.frame()[columns], rtol=1e-9)


def test_the_same_seed_gives_the_same_table():
    features, labels = cached()
    first, second = (
        rank_modules(features, labels, by="linear_probe", seed=1).frame() for _ in range(2)
    )
    assert first["value"].tolist() == second["value"].tolist()


def test_equal_values_keep_the_order_given_and_the_table_says_so():
    features, labels = cached()
    copies = {"b": features["good"], "a": features["good"].copy(), "c": features["none"]}
    ranking = rank_modules(copies, labels, by="logme")
    assert ranking.top(3) == ["b", "a", "c"]
    assert ranking.notes() == ["Equal values keep the order given: b, a."]


def test_a_score_that_does_not_apply_is_listed_and_leaves_no_hole():
    features, labels = cached()
    ranking = rank_modules(features, labels, by="knn", scores=["leep", "ridge"])
    assert set(ranking.frame()["score"]) == {"knn", "ridge"}
    assert not ranking.frame()["value"].isna().any()
    reason = "it needs source_probabilities, the module's own class probabilities"
    assert ranking.skipped == {name: {"leep": reason} for name in features}
    assert ranking.notes() == [f"Left out: leep for none, weak, good ({reason})."]


def test_source_probabilities_of_a_module_serve_leep():
    task = network_task()
    with_head = PretrainedModule(nn.Linear(4, 5), name="head", source_head=True)
    without = PretrainedModule(nn.Linear(4, 5), name="bare")
    ranking = rank_modules([with_head, without], task, by="knn", scores=["leep"])
    assert ranking.frame().groupby("module")["score"].apply(list).to_dict() == {
        "bare": ["knn"],
        "head": ["knn", "leep"],
    }
    assert list(ranking.skipped) == ["bare"]


def test_source_heads_do_not_run_when_no_score_reads_them():
    def fail(_output):
        raise AssertionError("the source head ran")

    module = PretrainedModule(nn.Linear(4, 5), name="head", source_head=fail)
    assert rank_modules([module], network_task(), by="knn").best == "head"


def test_all_scores_at_once_name_what_they_leave_out():
    features, labels = cached()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModtoolsWarning)
        ranking = rank_modules(features, labels, by="ridge", scores="all")
    computed = set(ranking.frame()["score"])
    assert computed | set(ranking.skipped["good"]) == set(SCORES)
    assert ranking.settings["scores"][0] == "ridge"
    assert "In frame(), not shown here:" in repr(ranking)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_warning_about_the_labels_comes_once_at_the_callers_line(n_jobs):
    features = {name: np.random.default_rng(0).normal(size=(21, 3)) for name in "abc"}
    labels = [0] * 10 + [1] * 10 + [2]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rank_modules(features, labels, by="logistic", n_jobs=n_jobs)
    (said,) = [w for w in caught if "MT006" in str(w.message)]
    message = "MT006: 1 class has one example, which logistic counts as an error."
    assert str(said.message) == message
    assert said.filename == __file__


def test_warnings_name_the_module():
    features, labels = cached()
    wide = {"wide": np.random.default_rng(0).normal(size=(60, 80)), "good": features["good"]}
    with pytest.warns(ModtoolsWarning, match=r"^MT003: wide: n=60 examples, d=80 features: hscore"):
        rank_modules(wide, labels, by="hscore")


def test_regression_and_multilabel_tasks_are_ranked():
    rng = np.random.default_rng(0)
    target = rng.normal(size=40)
    features = {"noise": rng.normal(size=(40, 2)), "copy": target[:, None] * [1.0, -2.0]}
    features["copy"] = features["copy"] + 0.1 * rng.normal(size=(40, 2))
    ranking = rank_modules(features, target, by="logme")
    assert ranking.best == "copy"
    assert ranking.settings["chance"] is None
    many = rank_modules(features, (np.stack([target, -target], 1) > 0).astype(int), by="logme")
    assert many.settings["kind"] == "multilabel"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16])
def test_inputs_keep_their_bytes_and_their_type(dtype):
    features, labels = cached()
    given = {name: (100 * rows).astype(dtype) for name, rows in features.items()}
    before = {name: rows.tobytes() for name, rows in given.items()}, labels.tobytes()
    rank_modules(given, labels, by="logistic", scores=["ridge", "knn", "logme", "sfda"])
    assert ({name: rows.tobytes() for name, rows in given.items()}, labels.tobytes()) == before


def failing(_inputs):
    raise RuntimeError("out of luck")


LINEAR = PretrainedModule(nn.Linear(4, 2), name="linear")


@pytest.mark.parametrize(
    ("modules", "options", "text"),
    [
        ({}, {}, "modules is empty; give at least one module or array of features."),
        (
            "zoo/",
            {},
            "there is no zoo folder zoo/.",
        ),
        (
            {"a": np.zeros((60, 2)), "b": np.zeros((59, 2))},
            {},
            'features of "b" have 59 rows, the task has 60 labels; each row must belong to one '
            "label, in the same order.",
        ),
        (
            {"a": np.zeros(60)},
            {},
            'features of "a" must have shape (n_samples, n_features); got (60,). Reshape or pool '
            "them to one row per example.",
        ),
        (
            [LINEAR, LINEAR],
            {},
            'two modules are named "linear"; give each PretrainedModule its own name.',
        ),
        (
            [np.zeros((60, 2))],
            {},
            "modules[0] is a ndarray, not a PretrainedModule; pass cached features as a dict "
            "{name: features}.",
        ),
        (
            {"a": np.zeros((60, 2))},
            {"by": "log_me"},
            'unknown score "log_me"; did you mean "logme"? modtools score --list shows all '
            f"{len(SCORES)}.",
        ),
        ({"a": np.zeros((60, 2))}, {"by": 3}, "by must be the name of a score; got 3."),
        (
            {"a": np.zeros((60, 2))},
            {"scores": ["knnn"]},
            'unknown score "knnn"; did you mean "knn"? modtools score --list shows all '
            f"{len(SCORES)}.",
        ),
        (
            {"a": np.zeros((60, 2))},
            {"scores": "knn"},
            "scores must be a list of names or \"all\"; got 'knn'.",
        ),
        (
            {"a": np.ones((60, 2))},
            {"by": "leep"},
            'the modules cannot be ranked by "leep": it needs source_probabilities, the module\'s '
            "own class probabilities.",
        ),
        (
            [PretrainedModule(failing, name="broken")],
            {},
            'module "broken" failed on a batch of 60 inputs of shape (60, 4): RuntimeError: out of '
            "luck. Does it need preprocess=?",
        ),
        (
            {"a": np.zeros((60, 2))},
            {"seed": -1},
            "seed must be a whole number of at least 0; got -1.",
        ),
    ],
)
def test_bad_input_is_one_clear_error(modules, options, text):
    with pytest.raises(ModtoolsError) as caught:
        rank_modules(modules, network_task(), **options)
    assert str(caught.value) == text


def test_a_device_that_is_not_there_is_refused_before_a_module_runs():
    with pytest.raises(ModtoolsError, match=r'^device "nowhere:0" is not available here'):
        rank_modules([LINEAR], network_task(), device="nowhere:0")


def test_whatever_a_preprocessing_raises_names_the_module():
    def fail(_batch):
        raise KeyError("pixel_values")

    module = PretrainedModule(nn.Linear(4, 2), name="odd", preprocess=fail)
    with pytest.raises(ModtoolsError) as caught:
        rank_modules([module], network_task())
    assert str(caught.value) == (
        "preprocess of module \"odd\" failed on a batch of 60 inputs: KeyError: 'pixel_values'."
    )


def test_networks_need_a_task_not_labels_alone():
    with pytest.raises(ModtoolsError) as caught:
        rank_modules([LINEAR], np.repeat([0, 1], 30))
    assert str(caught.value) == (
        "networks read the inputs of a task, and labels alone have none: pass a Task, for example "
        "Task(inputs, labels)."
    )


def test_features_that_are_not_finite_name_the_module():
    features, labels = cached()
    features["weak"][17, 2] = np.nan
    with pytest.raises(ModtoolsError, match=r'^module "weak": .*1 NaN in 1 row, first at row 17'):
        rank_modules(features, labels, by="ridge")


def test_one_class_is_said_of_the_labels():
    with pytest.raises(ModtoolsError, match=r"^labels must hold at least two classes"):
        rank_modules({"a": np.ones((4, 2))}, [1, 1, 1, 1])


def test_nothing_is_extracted_before_all_is_checked():
    network = Counting()
    module = PretrainedModule(network, name="net")
    with pytest.raises(ModtoolsError, match="two modules are named"):
        rank_modules([module, PretrainedModule(network, name="net")], network_task())
    assert network.calls == 0


def test_a_score_that_does_not_fit_the_labels_is_refused_before_anything_runs():
    message = r'by "predicted": it is defined for classification labels, not regression\. '
    with pytest.raises(ModtoolsError, match=message + r"Choose by= among logme, .*ridge"):
        rank_modules({"a": np.ones((9, 2)), "b": np.eye(9)}, np.linspace(0, 1, 9))


def test_accuracy_is_the_only_metric_of_a_ranking_so_far():
    features, labels = cached()
    named = rank_modules(features, labels, metric="accuracy")
    timings = ["seconds", "milliseconds"]
    tables = [
        found.frame().drop(columns=timings) for found in (named, rank_modules(features, labels))
    ]
    pd.testing.assert_frame_equal(*tables)
    with pytest.raises(ModtoolsError, match="metric f1_macro is not available in rank_modules: on"):
        rank_modules(features, labels, metric="f1_macro")
    with pytest.raises(ModtoolsError, match=r'unknown metric "f1".*Known: accuracy, balanced_accu'):
        rank_modules(features, labels, metric="f1")
