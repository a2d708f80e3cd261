"""`task_space`: distances by their definition, agreement by another route, and bad input."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import pearsonr, spearmanr

import modtools as mt
from modtools.exceptions import ModtoolsError
from modtools.studies import TaskSpace, task_space
from modtools.studies._task_distances import associate, embed, task_distances
from tests.documents import facts

pytestmark = pytest.mark.floating_point

SETTINGS = {"by": "lda", "seed": 0}


def make_space(values, source=None):
    tasks = [f"t{row}" for row in range(len(values))]
    modules = [f"m{column}" for column in range(np.shape(values)[1])]
    matrix = pd.DataFrame(np.asarray(values, dtype=float), index=tasks, columns=modules)
    return TaskSpace(matrix, source=source or {}, settings=SETTINGS, seconds=1.0)


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(6, 9))


@pytest.fixture
def cached():
    """Return modules that each see one column, and tasks that each ask for one."""
    inputs = np.random.default_rng(1).normal(size=(80, 3))
    tasks = {"a": inputs[:, 0] > 0, "b": inputs[:, 0] > 0.4, "c": inputs[:, 2] > 0}
    modules = {f"m{j}": dict.fromkeys(tasks, inputs[:, [j]]) for j in (2, 1, 0)}
    return modules, tasks


def test_distance_is_the_root_of_half_one_minus_the_correlation(values):
    found = task_distances(values, np.zeros(values.shape, dtype=bool))
    for one in range(6):
        for other in range(6):
            r = pearsonr(values[one], values[other]).statistic
            assert found[one, other] == pytest.approx(np.sqrt(max(0.0, 1 - r) / 2), abs=1e-7)


def test_own_modules_are_left_out_of_the_pairs_of_their_task(values):
    own = np.zeros(values.shape, dtype=bool)
    own[range(6), range(6)] = True
    found = task_distances(values, own)
    kept = [0, 2, 3, 5, 6, 7, 8]
    r = pearsonr(values[1, kept], values[4, kept]).statistic
    assert found[1, 4] == pytest.approx(np.sqrt((1 - r) / 2), abs=1e-12)
    changed = values.copy()
    changed[range(6), range(6)] = 1e6  # what an own module reaches does not count
    np.testing.assert_allclose(task_distances(changed, own), found, atol=1e-7)


def test_neither_level_nor_spread_of_a_task_nor_the_order_of_modules_matters(values):
    found = make_space(values).distances().to_numpy()
    scales = np.array([[1e-8], [1.0], [3.0], [1e5], [7.0], [1e60]])
    assert make_space(scales * values + scales).distances().to_numpy() == pytest.approx(found)
    assert make_space(values[:, ::-1]).distances().to_numpy() == pytest.approx(found)
    assert found == pytest.approx(found.T)
    assert ((found >= 0) & (found <= 1)).all()


def test_a_task_that_all_modules_serve_alike_has_no_direction(values):
    values[2], values[3] = 0.9, 0.1
    found = make_space(values).distances().to_numpy()
    assert found[2, 3] == 0.0
    assert found[2, [0, 1, 4, 5]] == pytest.approx(0.5)


def test_the_embedding_keeps_distances_that_lie_in_a_plane():
    places = np.random.default_rng(2).normal(size=(7, 2))
    found, share = embed(squareform(pdist(places)))
    assert pdist(found) == pytest.approx(pdist(places))
    assert share == pytest.approx(1.0)
    assert embed(np.zeros((3, 3)))[1] == 1.0


def test_the_tree_joins_the_nearest_first(values):
    values[5] = 2 * values[1] + 3
    space = make_space(values)
    one, other, distance = space.nearest()
    assert (one, other) == ("t1", "t5")
    assert distance == pytest.approx(0.0, abs=1e-7)
    tree = space.linkage()
    assert tree.shape == (5, 4)
    assert set(tree[0, :2]) == {1, 5}
    assert tree[0, 2] == pytest.approx(0.0, abs=1e-7)
    table = space.embedding().set_index("task")
    assert table.loc["t1"].tolist() == pytest.approx(table.loc["t5"].tolist(), abs=1e-7)
    assert 0 < space.embedding().attrs["share"] <= 1


def test_agreement_is_spearman_over_pairs_of_different_tasks(values):
    noisy = values + 0.5 * np.random.default_rng(3).normal(size=values.shape)
    achieved = 1 / (1 + np.exp(-noisy))
    space = make_space(values)
    found = space.agreement(pd.DataFrame(achieved, space.matrix().index, space.matrix().columns))
    theirs = make_space(achieved).distances().to_numpy()
    pairs = np.triu_indices(6, 1)
    expected = spearmanr(space.distances().to_numpy()[pairs], theirs[pairs]).statistic
    assert found.spearman == pytest.approx(expected)
    assert -1 <= found.spearman_low < found.spearman < found.spearman_high <= 1
    assert 0.001 <= found.p_value <= 1
    assert len(found.pairs) == 15
    assert found.pairs.iloc[0].tolist()[:2] == ["t0", "t1"]
    assert repr(found).startswith(f"Spearman {found.spearman:.2f}, 95 % interval [")


def test_the_same_matrix_agrees_fully_and_an_unrelated_one_does_not():
    rng = np.random.default_rng(4)
    first, second = (squareform(pdist(rng.normal(size=(15, 2)))) for _ in range(2))
    same, other = associate(first, first**2, seed=0), associate(first, second, seed=0)
    assert (same.spearman, same.spearman_high, same.p_value) == pytest.approx((1.0, 1.0, 0.001))
    assert other.spearman_low < 0 < other.spearman_high
    assert other.p_value > 0.05
    assert associate(first, second, seed=0) == pytest.approx(other)


def test_the_interval_holds_the_correlation_of_many_tasks_about_as_often_as_it_says():
    rng = np.random.default_rng(5)

    def draw(n_tasks):
        places = rng.normal(size=(n_tasks, 3))
        noisy = (places + 0.5 * rng.normal(size=places.shape) for _ in range(2))
        return tuple(squareform(pdist(rows)) for rows in noisy)

    first, second = draw(300)
    pairs = np.triu_indices(300, 1)
    truth = spearmanr(first[pairs], second[pairs]).statistic
    found = [associate(*draw(12), seed=0) for _ in range(12)]
    assert sum(one.spearman_low <= truth <= one.spearman_high for one in found) >= 10


def test_equal_distances_agree_with_nothing_and_three_tasks_have_no_interval():
    flat = np.ones((4, 4)) - np.eye(4)
    found = associate(flat, squareform(np.arange(1.0, 7.0)), seed=0)
    assert found.spearman == 0.0
    assert found.p_value == 1.0
    three = squareform([1.0, 2.0, 3.0])
    assert associate(three, three, seed=0)[:3] == pytest.approx((1.0, -1.0, 1.0))


def test_cached_features_are_scored_task_by_task(cached):
    modules, tasks = cached
    space = task_space(modules, tasks, by="lda")
    assert space.matrix().index.tolist() == ["a", "b", "c"]
    assert space.matrix().columns.tolist() == ["m2", "m1", "m0"]  # as given
    for task, labels in tasks.items():
        for module, features in modules.items():
            expected = mt.score(features[task], labels, ["lda"])["lda"]
            assert space.matrix().loc[task, module] == expected
    assert space.distances().loc["a", "b"] < 0.3 < space.distances().loc["a", "c"]
    assert space.settings["n_labels"] == {"a": 80, "b": 80, "c": 80}
    assert space.seconds > 0


def test_networks_read_every_task_and_a_source_serves_all_layers():
    from torch import nn

    from modtools.modules import PretrainedModule

    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    small = PretrainedModule(network, name="small", layers=["0", "1"])
    more = [PretrainedModule(nn.Linear(3, 2), name=name) for name in "xy"]
    inputs = np.random.default_rng(6).normal(size=(40, 3)).astype(np.float32)
    tasks = [mt.Task(inputs, inputs[:, j] > 0, name=f"t{j}") for j in range(2)]
    space = task_space([small, *more], tasks, by="nmse", source={"small": "t1"})
    assert space.matrix().columns.tolist() == ["small@0", "small@1", "x", "y"]
    assert space.source == {"small@0": "t1", "small@1": "t1"}
    own = space.frame().query("own")
    assert set(zip(own["task"], own["module"], strict=True)) == {
        ("t1", "small@0"),
        ("t1", "small@1"),
    }


def test_json_holds_all_of_it_without_a_missing_number(values, tmp_path):
    space = make_space(values, source={"m0": "t0"})
    text = space.to_json(tmp_path / "space.json")
    content = facts((tmp_path / "space.json").read_text())
    assert facts(text) == content
    assert len(content["rows"]) == 54
    assert content["distances"]["t0"]["t1"] == space.distances().loc["t0", "t1"]
    assert content["source"] == {"m0": "t0"}
    assert set(content["versions"]) >= {"modtools", "numpy"}


def test_it_prints_the_nearest_task_of_each(values):
    values[5] = values[1]
    space = make_space(values)
    lines = repr(space).splitlines()
    assert lines[0] == "6 tasks by lda of 9 modules (distance 0: served alike, 0.71: unrelated)"
    assert ["t1", "t5", "0.00"] in [line.split() for line in lines]
    assert "<td>t5</td>" in space._repr_html_()


def test_what_comes_out_is_a_copy(values):
    space = make_space(values)
    taken = space.matrix()
    taken.iloc[0, 0] = 5.0
    assert space.matrix().iloc[0, 0] == values[0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": {}}, "give at least two; got 0"),
        ({"tasks": [1, 2]}, "tasks must be a list of Task or a dict"),
        ({"source": {"nobody": "a"}}, 'source names "nobody", which is no module; they are m2'),
        ({"source": {"m0": "a", "m1": "b"}}, "at least two; 1 of 3 are left"),
        ({"by": "log_me"}, 'unknown score "log_me"; did you mean "logme"'),
        ({"by": "leep"}, 'task "a": '),
        ({"by": ["lda"]}, "by must be the name of a score; got ['lda']"),
    ],
)
def test_bad_input_is_named(cached, change, message):
    modules, tasks = cached
    arguments = {"tasks": tasks, "by": "lda", **change}
    with pytest.raises(ModtoolsError) as caught:
        task_space(modules, arguments.pop("tasks"), **arguments)
    assert message in str(caught.value)


def test_a_module_without_features_of_a_task_is_named(cached):
    modules, tasks = cached
    del modules["m1"]["b"]
    with pytest.raises(ModtoolsError, match='module "m1" has no features of task "b"'):
        task_space(modules, tasks)


def test_two_tasks_of_one_name_are_refused():
    task = mt.Task(np.eye(4), [0, 1, 0, 1], name="same")
    with pytest.raises(ModtoolsError, match='two tasks are named "same"'):
        task_space({"a": np.eye(4)}, [task, task])


@pytest.mark.parametrize(
    ("achieved", "message"),
    [
        (3, "achieved must be a frame of tasks by modules"),
        ({"t0": 3}, "achieved must be a frame of tasks by modules"),
        ({"t0": {"m0": 90}}, 'module "m0" on task "t0"; got 90. Divide percent by 100'),
        ({"t0": {"m0": 0.9}}, 'module "m1" on task "t0"; it has no number there (53 such'),
    ],
)
def test_achieved_accuracies_must_be_there_as_fractions(values, achieved, message):
    with pytest.raises(ModtoolsError) as caught:
        make_space(values).agreement(achieved)
    assert message in str(caught.value)


def test_two_tasks_have_one_distance_and_no_agreement(values):
    with pytest.raises(ModtoolsError, match="over at least 3 tasks; got 2"):
        make_space(values[:2]).agreement({})


def test_a_source_that_names_no_module_stops_before_any_network_runs():
    runs = []

    def network(batch):
        runs.append(len(batch))
        return batch.reshape(len(batch), -1).float()

    rng = np.random.default_rng(0)
    tasks = [mt.Task(rng.normal(size=(8, 3)), np.arange(8) % 2, name=name) for name in "ab"]
    candidates = [mt.PretrainedModule(network, name=name) for name in ("one", "two")]
    with pytest.raises(ModtoolsError, match='source names "three", which is no module'):
        task_space(candidates, tasks, source={"three": "a"})
    assert runs == []


def test_rounding_is_no_distance_and_equal_tasks_are_drawn():
    column = np.random.default_rng(0).normal(size=(60, 3))
    labels = {"a": column[:, 0] > 0, "b": column[:, 0] > 0.5, "c": column[:, 0] > 0.2}
    cached = {f"m{place}": dict.fromkeys(labels, column[:, [place]]) for place in range(2)}
    space = task_space(cached, labels, by="lda")
    assert (space.distances().to_numpy() == 0).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = space.plot().figure_.axes[0]
    assert tree.get_xlim() == (1.0, 0.0)
