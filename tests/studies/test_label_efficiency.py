"""A study against output modules fitted one by one on the same rows."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax

from modtools.exceptions import ModtoolsError
from modtools.outputs import ClassMeanOutput, LogisticOutput, RidgeOutput
from modtools.retraining import next_target
from modtools.retraining._choose import STRATEGIES
from modtools.studies import label_efficiency
from modtools.studies._cells import Store, _measure_repeat, _Repeat
from modtools.studies._measure import Examples, Line, Plan, label_order, repeat_seed
from modtools.tasks import Task

pytestmark = pytest.mark.floating_point

COUNTS = [3, 8, 20, 60]


def study_of(data, **options):
    modules, labels, test_labels = data
    return label_efficiency(modules, labels, test_labels, **{"n_labels": COUNTS, **options})


@pytest.fixture(scope="module")
def study(data):
    return study_of(data, repeats=3, outputs=["ridge", "logistic", "class_mean"], seed=4)


def standardised(pair):
    mean, scale = pair[0].mean(axis=0, dtype=float), pair[0].std(axis=0, dtype=float)
    return [(part - mean) / scale for part in pair]


def rows_of(repeat, seed=4, n_pool=90):
    return np.random.default_rng(repeat_seed(seed, repeat)).permutation(n_pool)


@pytest.mark.parametrize("output", ["ridge", "logistic", "class_mean"])
def test_accuracies_are_those_of_refitting(data, study, output):
    modules, labels, test_labels = data
    table = study.repeats().set_index(["module", "output", "repeat", "n_labels"])["value"]
    for module, pair in modules.items():
        train, test = standardised(pair)
        for repeat in range(3):
            order = rows_of(repeat)
            for n in COUNTS[1:]:
                rows = order[:n]
                fitted = {
                    "ridge": RidgeOutput(alpha=1.0, standardize=False),
                    "logistic": LogisticOutput(standardize=False),
                    "class_mean": ClassMeanOutput(standardize=False),
                }[output]
                if output == "ridge":
                    fitted.alpha = alpha_of_all(train[order[: COUNTS[-1]]], labels[order])
                predicted = fitted.fit(train[rows], labels[rows]).predict(test)
                expected = np.mean(predicted == test_labels)
                assert table[module, output, repeat, n] == pytest.approx(expected, abs=1e-12)


def alpha_of_all(rows, labels):
    """Return alpha of the largest evidence, by a determinant and a solution for each."""
    n = len(rows)
    centred, targets = rows - rows.mean(axis=0), np.eye(3)[labels[:n]]
    targets = targets - targets.mean(axis=0)
    found = []
    for alpha in n * 10.0 ** np.arange(-6, 2.25, 0.5):
        kernel = centred @ centred.T / alpha + np.eye(n)
        fits = (targets * np.linalg.solve(kernel, targets)).sum(axis=0)
        evidence = -(n - 1) * np.log(fits).sum() - 3 * np.linalg.slogdet(kernel)[1]
        found.append((evidence, alpha))
    return max(found)[1]


def test_log_losses_are_those_of_refitting(data, study):
    modules, labels, test_labels = data
    table = study.repeats().set_index(["module", "output", "repeat", "n_labels"])["log_loss"]
    train, test = standardised(modules["noisy"])
    rows = rows_of(2)[:20]
    fitted = LogisticOutput(standardize=False).fit(train[rows], labels[rows])
    own = np.exp(log_softmax(fitted.decision_values(test), axis=1))[np.arange(70), test_labels]
    expected = -np.log((1 - 1 / 21) * own + 1 / 21 / 3).mean()
    assert table["noisy", "logistic", 2, 20] == pytest.approx(expected, abs=1e-9)
    assert table.xs("class_mean", level="output").isna().all()


def test_the_best_line_and_what_its_labels_are_worth(data, study):
    table = study.standings()
    assert list(table) == ["line", "module", "output", "strategy", "area"]
    assert table["area"].is_monotonic_decreasing
    assert len(table) == 6
    assert study.best == table["module"][0] == "clear"
    assert table["line"][0] == f"clear, {table['output'][0]}"
    assert study.verdict().startswith(f"{table['line'][0]}, by the area under its curve")
    worth = study.savings("clear", "noisy")
    own = worth[worth["output"] == table["output"][0]].set_index("n_labels")
    said = re.match(
        r"with (\d+) labels it is (.*) (as|than) noisy with (\d+)", study.savings_text()
    )
    assert float(said[4]) == round(own.loc[int(said[1]), "equivalent"])
    single = study_of(data, n_labels=[20], repeats=2)
    assert single.savings_text() == ""
    assert single.verdict() == single.standings()["line"][0] == "clear"
    accuracies = single.frame().set_index("module")["value"]
    assert single.standings()["area"].tolist() == accuracies[["clear", "noisy"]].tolist()


def test_a_round_target_is_reached_by_half_of_the_lines(study):
    target = study.round_target()
    highest = study.frame().groupby(["module", "output"])["value"].max()
    assert (highest >= target).mean() >= 0.5
    assert (highest >= next_target(target)).mean() <= 0.5


def test_the_table(study):
    table = study.frame()
    assert list(table) == [
        *("module", "output", "strategy", "n_labels", "per_class", "metric", "value", "value_sd"),
        *("value_low", "value_high", "log_loss", "n_repeats"),
    ]
    assert len(table) == 2 * 3 * 4
    assert (table["value_low"] <= table["value"]).all()
    assert (table["value"] <= table["value_high"]).all()
    repeats = study.repeats().groupby(["module", "output", "strategy", "n_labels"], sort=False)
    np.testing.assert_allclose(table["value"], repeats["value"].mean())
    np.testing.assert_allclose(table["value_sd"], repeats["value"].std())
    lines = repr(study).splitlines()
    title = "Accuracy (%) on 70 test examples, mean ± standard deviation of 3 random subsets"
    assert lines[0].startswith(title)
    assert len(lines) == 2 + 6
    assert "<table>" in study._repr_html_()
    assert study.settings["n_labels"] == COUNTS
    assert '"modtools"' in study.to_json()
    assert study.seconds > 0


def test_modules_see_the_same_subsets_and_the_seed_decides(data):
    modules, labels, test_labels = data
    twins = {"one": modules["noisy"], "two": tuple(8 * part + 1 for part in modules["noisy"])}
    found = study_of((twins, labels, test_labels), repeats=2).frame()
    one, two = (found[found["module"] == name] for name in twins)
    np.testing.assert_array_equal(one["value"], two["value"])
    again = study_of((twins, labels, test_labels), repeats=2).frame()
    pd.testing.assert_frame_equal(found, again)
    other = study_of((twins, labels, test_labels), repeats=2, seed=1).frame()
    assert not found["value"].equals(other["value"])


@pytest.mark.parametrize("strategy", [*STRATEGIES, "oracle_balanced"])
def test_label_counts_are_nested_in_every_strategy(data, strategy):
    modules, labels, test_labels = data
    rows = Examples.of("clear", modules["clear"], labels, test_labels, 3)
    counts = np.array([4, 9, 30])
    order = label_order(rows, strategy, counts, seed=5)
    assert len(set(order.tolist())) == len(order) == 30
    smaller = label_order(rows, strategy, counts[:1], seed=5)
    np.testing.assert_array_equal(order[:4], smaller)


def test_no_strategy_but_the_oracle_sees_a_label(data):
    modules, labels, test_labels = data
    rows = Examples.of("clear", modules["clear"], labels, test_labels, 3)
    blind = Examples.of("clear", modules["clear"], 0 * labels, test_labels, 3)
    for strategy in STRATEGIES:
        chosen = [label_order(r, strategy, np.array([4, 12]), seed=5) for r in (rows, blind)]
        np.testing.assert_array_equal(*chosen)
    balanced = label_order(rows, "oracle_balanced", np.array([6]), seed=5)
    assert np.bincount(labels[balanced]).tolist() == [2, 2, 2]


def test_a_strategy_without_randomness_has_one_repeat(data):
    table = study_of(data, repeats=4, strategies=["random", "k_center"]).frame()
    n_repeats = table.groupby("strategy")["n_repeats"].unique()
    assert (n_repeats["random"].item(), n_repeats["k_center"].item()) == (4, 1)
    assert table[table["strategy"] == "k_center"]["value_sd"].isna().all()


def test_one_label_and_one_class_so_far(data):
    outputs = ["ridge", "logistic", "class_mean"]
    table = study_of(data, n_labels=[1], repeats=2, outputs=outputs).frame()
    shares = np.bincount(data[2]) / len(data[2])
    found = study_of(data, n_labels=[1], repeats=2, outputs=outputs).repeats()["value"]
    assert np.isclose(found.to_numpy()[:, None], shares).any(axis=1).all()
    assert table.groupby("output")["value"].first().nunique() == 1


def test_default_label_counts_are_log_spaced_from_the_number_of_classes(data):
    modules, labels, test_labels = data
    counts = label_efficiency(modules, labels, test_labels, repeats=1).settings["n_labels"]
    assert (counts[0], counts[-1]) == (3, 90)
    assert 20 <= len(counts) <= 30


def test_every_label_count_costs_no_other_numbers(data):
    every = study_of(data, n_labels=range(1, 61), repeats=2).frame()
    few = study_of(data, repeats=2).frame()
    every = every[every["n_labels"].isin(COUNTS)].reset_index(drop=True)
    pd.testing.assert_frame_equal(every, few, check_exact=False, rtol=1e-9)


def test_several_jobs_give_the_same_table(data):
    one, two = (study_of(data, repeats=3, n_jobs=n_jobs).frame() for n_jobs in (1, 2))
    pd.testing.assert_frame_equal(one, two)


def test_what_a_process_is_sent_arrives_whole(data):
    modules, labels, test_labels = data
    rows = Examples.of("clear", modules["clear"], labels, test_labels, 3)
    tasks = Task.of(labels), Task.of(test_labels)
    plan = Plan.of(*tasks, [5], 1, 0, outputs="logistic", strategies="random")
    job = _measure_repeat, rows, _Repeat("clear", "", "random", 0), plan, Store(None, "")
    function, *arguments = pickle.loads(pickle.dumps(job))
    [(line, repeat, measured)] = function(*arguments)
    assert (line, repeat) == (Line("clear", "logistic", "random"), 0)
    expected = study_of(data, n_labels=[5], repeats=1, outputs="logistic").frame()["value"]
    assert measured.accuracy[0] == expected[0]


def test_string_labels_and_tasks(data):
    modules, labels, test_labels = data
    names = np.array(["bag", "coat", "shirt"])
    words = label_efficiency(modules, names[labels], names[test_labels], n_labels=[5, 9], repeats=2)
    numbers = label_efficiency(modules, labels, test_labels, n_labels=[5, 9], repeats=2)
    pd.testing.assert_frame_equal(words.frame(), numbers.frame())
    tasks = [Task(np.arange(90), labels), Task(np.arange(100, 170), test_labels)]
    pd.testing.assert_frame_equal(
        label_efficiency(modules, *tasks, n_labels=[5, 9], repeats=2).frame(), numbers.frame()
    )


def test_a_test_row_of_the_pool_is_refused_unless_allowed(data):
    modules, labels, test_labels = data
    leaking = {
        name: (pair[0], np.concatenate([pair[1][:-1], pair[0][5:6]]))
        for name, pair in modules.items()
    }
    with pytest.raises(
        ModtoolsError, match="1 of 70 examples in test equal examples in train, first"
    ):
        study_of((leaking, labels, test_labels))
    study_of((leaking, labels, test_labels), repeats=1, allow_overlap=True)
    # The same features of one module only are chance: other modules tell the inputs apart.
    study_of(({**leaking, "noisy": modules["noisy"]}, labels, test_labels), repeats=1)
    tasks = [Task(np.arange(90), labels), Task(np.arange(89, 159), test_labels)]
    with pytest.raises(ModtoolsError, match="1 of 70 examples in test equal"):
        label_efficiency(modules, *tasks, n_labels=[5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_labels": [5, 91]}, "n_labels must be at most the 90 examples of train; got 91"),
        ({"n_labels": [0, 5]}, "n_labels must be whole numbers of at least 1"),
        ({"n_labels": []}, "n_labels must be whole numbers"),
        ({"n_labels": [2.5]}, "n_labels must be whole numbers"),
        ({"repeats": 0}, "repeats must be a whole number of at least 1"),
        ({"outputs": 3}, "each output must be a name; got 3. Known: ridge, logistic, class_mean"),
        ({"outputs": "rigde"}, 'unknown output "rigde"; did you mean "ridge"'),
        ({"outputs": []}, "needs at least one output"),
        ({"strategies": ["randon"]}, 'unknown strategy "randon"; did you mean "random"'),
        ({"n_jobs": 0}, "n_jobs must be a whole number other than 0"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"network": 3}, "network must be a function without arguments"),
        ({"network": dict}, "a network from scratch reads the inputs of tasks"),
        ({"training": {"epochs": 1}}, "training= is for the baseline"),
    ],
)
def test_bad_options_are_one_clear_error(data, change, message):
    with pytest.raises(ModtoolsError, match=message):
        study_of(data, **change)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({}, "modules is empty"),
        (3, "modules must be a Zoo, a list of PretrainedModule or a dict"),
        ({"a": np.ones((90, 2))}, '"a" is a ndarray'),
        ({"a": (np.ones((89, 2)), np.ones((70, 2)))}, 'train features of "a" have 89 rows'),
        ({"a": (np.ones((90, 2)), np.ones((70, 3)))}, 'test features of "a" must have the 2'),
        ({"a": (np.full((90, 2), np.nan), np.ones((70, 2)))}, 'train features of "a" must be fini'),
        ({"a": (np.zeros((90, 2)), np.eye(70)[:, :2])}, 'features of "a" are the same, all zero'),
    ],
)
def test_bad_modules_are_one_clear_error(data, modules, message):
    with pytest.raises(ModtoolsError, match=message):
        study_of((modules, data[1], data[2]), allow_overlap=True)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(90, dtype=int), "at least two classes"),
        (np.linspace(0, 1, 90), "label_efficiency is defined for classification"),
        (np.array(["a", "b"] * 45), "must be of one type"),
    ],
)
def test_bad_labels_are_one_clear_error(data, labels, message):
    with pytest.raises(ModtoolsError, match=message):
        study_of((data[0], labels, data[2]))
