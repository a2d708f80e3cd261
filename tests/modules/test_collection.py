"""Every form of the argument `modules`, by one door: names, loads, forward passes and refusals."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import modtools as mt
from modtools.exceptions import ModtoolsError
from modtools.modules import (
    CombinedModule,
    ModuleCollection,
    PretrainedModule,
    UnknownModuleError,
    Zoo,
    extract,
)
from modtools.tasks import Task

N_ROWS = 40
SHAPES = {"small": (4, 3), "wide": (4, 6)}


class Counting(nn.Sequential):
    """Two layers that count the batches that they see."""

    def __init__(self, seed=0):
        torch.manual_seed(seed)
        super().__init__(nn.Linear(4, 5), nn.Linear(5, 3))
        self.n_calls = 0

    def forward(self, inputs):
        self.n_calls += 1
        return super().forward(inputs)


class CountingZoo(Zoo):
    """A zoo that counts what is loaded from it."""

    loads: list[str]

    def load(self, name):
        self.loads.append(name)
        return super().load(name)


@pytest.fixture
def task():
    rng = np.random.default_rng(0)
    labels = np.arange(N_ROWS) % 2
    inputs = (rng.normal(size=(N_ROWS, 4)) + labels[:, None]).astype(np.float32)
    return Task(inputs, labels, name="blobs")


@pytest.fixture
def zoo(tmp_path):
    zoo = CountingZoo(tmp_path / "zoo")
    for name, (n_in, n_out) in SHAPES.items():
        build = ("torch.nn:Linear", {"in_features": n_in, "out_features": n_out})
        zoo.save(PretrainedModule(nn.Linear(n_in, n_out), name=name, build=build))
    zoo.loads = []
    return zoo


@pytest.fixture
def module():
    return PretrainedModule(Counting(), name="net", layers=["0", None])


# --- the forms that are accepted


def test_one_module_is_a_collection_of_its_layers(module):
    modules = ModuleCollection.of(module)
    assert modules.names == tuple(modules) == ("net@0", "net")
    assert len(modules) == 2
    assert modules.networks == {"net": ("net@0", "net")}
    assert repr(modules) == "ModuleCollection(2 modules of 1 network: net@0, net)"


def test_a_combination_is_one_module(module, task):
    both = CombinedModule([module])
    modules = ModuleCollection.of([both])
    assert modules.names == both.names
    assert modules[both.name] is both
    [(name, features, facts)] = modules.features(task)
    assert name == both.name
    assert np.array_equal(features, extract(both, task))
    assert facts.n_parameters == both.n_parameters()


@pytest.mark.parametrize("form", [str, lambda path: path, Zoo, lambda path: [str(path)]])
def test_a_zoo_and_its_path_give_the_names_of_the_cards(zoo, form):
    assert ModuleCollection.of(form(zoo.folder)).names == ("small", "wide")


def test_a_zoo_tells_its_names_without_loading_a_network(zoo):
    assert ModuleCollection.of(zoo).names == ("small", "wide")
    assert zoo.loads == []


def test_a_list_holds_any_of_the_forms_in_its_order(zoo, module):
    other = PretrainedModule(nn.Linear(4, 2), name="other")
    modules = ModuleCollection.of([other, zoo, (module,), ModuleCollection.of({"raw": np.eye(3)})])
    assert modules.names == ("other", "small", "wide", "net@0", "net", "raw")


def test_a_dict_holds_modules_and_features(module):
    modules = ModuleCollection.of({"x": module, "raw@1": np.eye(3), "raw@2": np.eye(3)})
    assert modules.names == ("x@0", "x", "raw@1", "raw@2")
    assert modules.networks == {"x": ("x@0", "x"), "raw": ("raw@1", "raw@2")}
    assert modules.has_networks
    assert not ModuleCollection.of({"raw": np.eye(3)}).has_networks


def test_a_collection_is_returned_as_it_is(module):
    modules = ModuleCollection.of(module)
    assert ModuleCollection.of(modules) is modules
    assert ModuleCollection.of_pairs(modules) is modules
    assert ModuleCollection.of_task(modules, "blobs") is modules
    assert mt.ModuleCollection is ModuleCollection


def test_pairs_are_named_by_the_dict(module):
    pairs = {"x": module, "raw": (np.eye(3), np.ones((2, 3)))}
    assert ModuleCollection.of_pairs(pairs).names == ("x@0", "x", "raw")


def test_features_of_several_tasks_come_by_task(module):
    cached = {"raw": {"a": np.eye(3), 7: np.ones((2, 3))}}
    assert ModuleCollection.of_task({**cached, "x": module}, "7").names == ("raw", "x@0", "x")
    with pytest.raises(ModtoolsError, match='module "raw" has no features of task "b"; cached'):
        ModuleCollection.of_task(cached, "b")


# --- taking one by name


def test_a_module_is_taken_by_name_also_at_a_layer_that_was_not_given(module, zoo):
    modules = ModuleCollection.of([module, zoo])
    assert modules["net@0"].names == ("net@0",)
    assert modules["net"].names == ("net",)
    assert modules["net@1"].names == ("net@1",)
    assert modules["wide"].names == ("wide",)
    assert zoo.loads == ["wide"]
    layers = ModuleCollection.of([module.at("0"), module.at("1")])
    assert layers["net"].names == ("net@0", "net@1")


def test_a_name_that_is_not_there_is_answered_with_the_nearest(module):
    with pytest.raises(KeyError) as caught:
        _ = ModuleCollection.of([module])["nett"]
    assert str(caught.value) == (
        'there is no module "nett"; did you mean "net" or "net@0"? There are net@0, net.'
    )


def test_features_have_no_network():
    with pytest.raises(ModtoolsError, match='"raw" was given as features, so there is no network'):
        _ = ModuleCollection.of({"raw": np.eye(3)})["raw"]


def test_several_modules_are_taken_as_one_with_one_load_a_network(zoo, module):
    modules = ModuleCollection.of([zoo, module])
    assert modules.combined(["net", "small", "net@0"]).members == ("net", "small", "net@0")
    assert zoo.loads == ["small"]
    assert modules.combined(["net@0"]).names == ("net@0",)


# --- features, with one load and one pass a network


def test_features_come_in_order_with_their_facts(module, task):
    raw = np.random.default_rng(1).normal(size=(N_ROWS, 2))
    modules = ModuleCollection.of({"net": module, "raw": raw})
    found = {name: (features, facts) for name, features, facts in modules.features(task)}
    assert list(found) == list(modules.names)
    for name in ("net@0", "net"):
        assert np.array_equal(found[name][0], extract(modules[name], task))
    assert found["raw"][0] is raw
    assert [found[name][1].n_parameters for name in found] == [25, 43, None]
    assert found["net"][1].extraction_seconds > 0
    assert found["net"][1].source_probabilities is None
    assert found["raw"][1] == mt.modules.ModuleFacts()


def test_source_probabilities_are_among_the_facts(task):
    module = PretrainedModule(Counting(), name="net", source_head=True)
    [(_, _, facts)] = ModuleCollection.of(module).features(task)
    assert facts.source_probabilities.shape == (N_ROWS, 3)
    [(_, _, facts)] = ModuleCollection.of(module).features(task, with_source=False)
    assert facts.source_probabilities is None


def test_layers_of_one_network_share_a_pass_wherever_they_stand(task):
    network, other = Counting(), Counting(1)
    one = PretrainedModule(network, name="net")
    modules = ModuleCollection.of(
        [one.at("0"), PretrainedModule(other, name="other"), one.at(None), one.at("1")]
    )
    names = [name for name, _, _ in modules.features(task, batch_size=N_ROWS)]
    assert names == ["net@0", "other", "net", "net@1"]
    assert (network.n_calls, other.n_calls) == (1, 1)


def test_another_preprocessing_or_source_head_is_another_pass(task):
    network = Counting()
    one = PretrainedModule(network, name="net")
    other = PretrainedModule(network, name="net", layers="0", preprocess=torch.as_tensor)
    modules = ModuleCollection.of([one, other])
    assert modules.networks == {"net": ("net",), "net (2)": ("net@0",)}
    assert len(list(modules.features(task, batch_size=N_ROWS))) == 2
    assert network.n_calls == 2


def test_some_modules_and_some_rows_are_read(module, task):
    raw = np.random.default_rng(1).normal(size=(N_ROWS, 2))
    modules, rows = ModuleCollection.of({"net": module, "raw": raw}), np.array([5, 2])
    found = modules.features(task, names=["raw", "net@0"], rows=rows)
    parts = {name: features for name, features, _ in found}
    assert np.array_equal(parts["raw"], raw[[5, 2]])
    assert np.array_equal(parts["net@0"], extract(module.at("0"), task.subset(rows)))


def test_train_and_test_are_read_with_one_load(zoo, task):
    modules = ModuleCollection.of_pairs(zoo)
    halves = task.split(test_fraction=0.5, seed=0)
    for name, pair in modules.train_and_test(*halves):
        for part, half in zip(pair, halves, strict=True):
            assert np.array_equal(part, extract(Zoo(zoo.folder)[name], half))
    assert zoo.loads == ["small", "wide"]


def test_networks_are_kept_in_memory_when_asked_for(zoo, task):
    modules = ModuleCollection.of(zoo).loaded()
    for _ in range(3):
        list(modules.features(task))
    assert zoo.loads == ["small", "wide"]
    assert modules.names == ("small", "wide")


@pytest.mark.parametrize(
    "use",
    [
        lambda zoo, task: mt.rank_modules(zoo, task),
        lambda zoo, task: mt.race_modules(zoo, task, look_every=10),
        lambda zoo, task: mt.select_modules(zoo, task),
        lambda zoo, task: mt.select_modules(zoo, task, cost="milliseconds", batch_size=4),
        lambda zoo, task: mt.label_efficiency(zoo, task, task, n_labels=[4], allow_overlap=True),
    ],
)
def test_no_function_loads_a_network_twice(zoo, task, use):
    use(zoo, task)
    assert zoo.loads == ["small", "wide"]


def test_a_study_that_is_kept_loads_a_network_to_know_it_and_to_run_it(zoo, task, tmp_path):
    options = {"n_labels": [4], "allow_overlap": True, "folder": tmp_path / "study"}
    mt.label_efficiency(zoo, task, task, **options)
    assert zoo.loads == 2 * ["small", "wide"]
    mt.label_efficiency(zoo, task, task, **options)
    assert zoo.loads == 3 * ["small", "wide"]


def test_every_function_takes_every_form(zoo, task):
    folder = str(zoo.folder)
    expected = mt.rank_modules(Zoo(folder), task).frame()
    for modules in (folder, zoo.folder, [folder], list(zoo.values()), ModuleCollection.of(folder)):
        found = mt.rank_modules(modules, task).frame()
        assert found["value"].tolist() == expected["value"].tolist()
    assert len(mt.rank_modules(zoo["small"], task)) == 1
    assert mt.race_modules(folder, task, look_every=10).settings["n_networks"] == 2
    assert len(mt.select_modules(folder, task).modules) == 2
    options = {"n_labels": [4], "repeats": 1, "allow_overlap": True}
    study = mt.label_efficiency(folder, task, task, **options)
    assert study.frame()["module"].tolist() == ["small", "wide"]
    space = mt.task_space(folder, {"one": task, "two": task})
    assert space.matrix().columns.tolist() == ["small", "wide"]


def test_a_combination_is_ranked_raced_chosen_and_studied(module, zoo, task):
    modules = [CombinedModule([module]), zoo["small"]]
    names = [name for part in modules for name in part.names]
    assert sorted(mt.rank_modules(modules, task).frame()["module"].unique()) == sorted(names)
    assert set(mt.race_modules(modules, task, look_every=10).frame()["module"]) == set(names)
    chosen = mt.select_modules(modules, task, cost="milliseconds", batch_size=4)
    assert set(chosen.combined.members) == {"net@0", "net", "small"}
    options = {"n_labels": [4], "repeats": 1, "allow_overlap": True}
    study = mt.label_efficiency(modules, task, task, **options)
    assert study.frame()["module"].tolist() == names


def test_a_dataset_is_a_task_for_every_function(task):
    data = TensorDataset(torch.as_tensor(task.inputs), torch.as_tensor(task.labels))
    module = PretrainedModule(nn.Linear(4, 3), name="net")
    whole = mt.rank_modules(module, Task(data)).frame()["value"].tolist()
    assert mt.rank_modules(module, data).frame()["value"].tolist() == whole
    with pytest.raises(ModtoolsError, match="a DataLoader gives batches, not examples"):
        mt.rank_modules(module, DataLoader(data))


# --- costs


def test_costs_are_parameters_time_or_numbers(module, task):
    modules = ModuleCollection.of({"net": module, "raw": np.ones((N_ROWS, 2))})
    assert modules.costs().values == {"net@0": 25.0, "net": 43.0}
    assert modules.costs().of(["net@0", "net"]) == 43.0
    timed = modules.costs("milliseconds", task, batch_size=4)
    assert timed.unit == "ms per example, in batches of 4"
    assert set(timed.values) == {"net@0", "net"}
    assert modules.costs(dict.fromkeys(modules.names, 2)).of(["net", "raw"]) == 4.0


def test_costs_that_cannot_be_known_are_refused(module):
    modules = ModuleCollection.of(module)
    with pytest.raises(ModtoolsError, match=r'^cost lacks a number for "net@0" \(1 such\)\.$'):
        modules.costs({"net": 1})
    with pytest.raises(ModtoolsError, match=r'^cost="milliseconds" is measured on a task; pass'):
        modules.costs("milliseconds")
    with pytest.raises(ModtoolsError, match='unknown cost "watts"'):
        modules.costs("watts")


# --- what identifies modules


def test_identities_tell_weights_layers_and_arrays_from_others(module):
    cached = {"raw": np.eye(3), "same": np.eye(3), "less": np.eye(3)[:2]}
    found = ModuleCollection.of({"net": module, **cached}).identities()
    assert list(found) == ["net@0", "net", "raw", "same", "less"]
    assert found["raw"] == found["same"]
    assert len(set(found.values())) == 4
    again = ModuleCollection.of(module).identities()
    assert again == {name: found[name] for name in again}
    assert ModuleCollection.of(module).identities("bfloat16") != again
    combined = ModuleCollection.of(CombinedModule([module])).identities()
    assert set(combined) == {"net@0 + net"}


# --- refusals

LINEAR = PretrainedModule(nn.Linear(4, 2), name="linear")
FORMS = "modules must be a Zoo, a list of PretrainedModule or a dict {name: features}"
PAIRS = (
    "modules must be a Zoo, a list of PretrainedModule or a dict {name: module} or "
    "{name: (train_features, test_features)}"
)


@pytest.mark.parametrize(
    ("modules", "text"),
    [
        (3, f"{FORMS}, or one module, or a zoo's folder; got int."),
        (None, f"{FORMS}, or one module, or a zoo's folder; got NoneType."),
        (np.eye(3), f"{FORMS}, or one module, or a zoo's folder; got ndarray."),
        (b"zoo", f"{FORMS}, or one module, or a zoo's folder; got bytes."),
        ({"a": "zoo"}, f'{FORMS}; "a" is a str.'),
        ({"a": {"task": np.eye(3)}}, f'{FORMS}; "a" is a dict.'),
        ({}, "modules is empty; give at least one module or array of features."),
        ([], "modules is empty; give at least one module or array of features."),
        (
            [LINEAR, np.eye(3)],
            "modules[1] is a ndarray, not a PretrainedModule; pass cached features as a dict "
            "{name: features}.",
        ),
        (
            [nn.Linear(4, 2)],
            "modules[0] is a Linear, not a PretrainedModule; pass cached features as a dict "
            "{name: features}.",
        ),
        (
            [LINEAR, LINEAR],
            'two modules are named "linear"; give each PretrainedModule its own name.',
        ),
        (
            {1: LINEAR, "1": np.eye(3)},
            'two modules are named "1"; give each PretrainedModule its own name.',
        ),
        ("no/zoo", "there is no zoo folder no/zoo."),
        (
            {"a": np.ones(3)},
            'features of "a" must have shape (n_samples, n_features); got (3,). Reshape or pool '
            "them to one row per example.",
        ),
    ],
)
def test_other_forms_are_refused(modules, text):
    with pytest.raises(ModtoolsError) as caught:
        ModuleCollection.of(modules)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("modules", "text"),
    [
        (3, f"{PAIRS}; got int."),
        ({"a": np.eye(3)}, f'{PAIRS}; "a" is a ndarray.'),
        ({"a": (np.eye(3),)}, f'{PAIRS}; "a" is a tuple.'),
        (
            {"a": (np.eye(3), np.eye(2))},
            'test features of "a" must have the 3 columns of its train features; got 2.',
        ),
    ],
)
def test_other_forms_of_pairs_are_refused(modules, text):
    with pytest.raises(ModtoolsError) as caught:
        ModuleCollection.of_pairs(modules)
    assert str(caught.value) == text


def test_a_folder_without_a_module_is_refused(tmp_path):
    with pytest.raises(ModtoolsError) as caught:
        ModuleCollection.of(tmp_path)
    assert str(caught.value) == (
        f"the folder {tmp_path} holds no module; a zoo has one folder per module, with a card.json."
    )


def test_tasks_must_fit_the_modules(task):
    labels = Task.of([0, 1, 0])
    networks, cached = ModuleCollection.of(LINEAR), ModuleCollection.of({"a": np.eye(4)})
    for modules, tasks, text in (
        (networks, (labels,), "networks read the inputs of a task, and labels alone have none"),
        (networks, (task, labels), "networks read the inputs of tasks, and labels alone have no"),
        (cached, (labels,), 'features of "a" have 4 rows, the task has 3 labels; each row must'),
        (cached, (labels, labels), r'"a" must be \(train_features, test_features\); got 1 arrays'),
    ):
        with pytest.raises(ModtoolsError, match=f"^{text}"):
            modules.check(*tasks)
    pairs = ModuleCollection.of_pairs({"a": (np.eye(3), np.ones((2, 3)))})
    with pytest.raises(
        ModtoolsError, match=r'^test features of "a" have 2 rows, test has 3 labels'
    ):
        pairs.check(labels, labels)
    with pytest.raises(ModtoolsError, match=r'^"a" must be features of one task; got 2 arrays'):
        pairs.check(labels)
    networks.check(task)
    cached.check(Task.of([0, 1, 0, 1]))


@pytest.mark.parametrize("name", ["nope", None, 3, ["small"]])
def test_unknown_names_are_refused_wherever_names_are_given(task, name):
    modules, cached = ModuleCollection.of(LINEAR), ModuleCollection.of({"a": np.eye(N_ROWS)})
    for call in (
        lambda: modules[name],
        lambda: list(modules.features(task, names=[name])),
        lambda: list(modules.train_and_test(task, task, names=[name])),
        lambda: list(cached.features(task, names=[name])),
        lambda: modules.combined([name, "linear"]),
    ):
        with pytest.raises(UnknownModuleError, match=r"^there is no module .* There are "):
            call()


def test_features_are_read_as_they_were_given(task):
    single = ModuleCollection.of({"a": np.eye(N_ROWS)})
    pairs = ModuleCollection.of_pairs({"a": (np.eye(N_ROWS), np.eye(N_ROWS))})
    with pytest.raises(ModtoolsError, match=r'"a" must be features of one task; got 2 arrays\.'):
        list(pairs.features(task))
    with pytest.raises(ModtoolsError, match=r'"a" must be \(train_features, test_features\); got'):
        list(single.train_and_test(task, task))
    with pytest.raises(ModtoolsError, match=r'features of "a" have 40 rows, the task has 2 labels'):
        list(single.features(Task.of([0, 1])))


def test_two_networks_of_one_name_have_no_cost_together(module):
    namesakes = ModuleCollection.of([module, PretrainedModule(Counting(1), name="net", layers="1")])
    with pytest.raises(ModtoolsError, match='two different modules are named "net"'):
        namesakes.check_one_network_a_name()
    again = PretrainedModule(Counting(), name="net", layers="1")
    again.network.n_calls = module.network.n_calls
    ModuleCollection.of([module, again]).check_one_network_a_name()
    ModuleCollection.of({"net": module, "net@1": np.eye(3)}).check_one_network_a_name()


def test_whatever_a_network_raises_names_its_module_once(task):
    def fail(_inputs):
        raise RuntimeError("out of luck")

    for module, text in (
        (PretrainedModule(fail, name="broken"), 'module "broken" failed on a batch of 40 inputs'),
        (PretrainedModule(nn.Linear(3, 2), name="odd"), 'module "odd" failed on a batch of 40'),
        (
            PretrainedModule(nn.Linear(4, 2), name="cls", pooling="cls", preprocess=lambda x: 1),
            'module "cls"',
        ),
    ):
        with pytest.raises(ModtoolsError) as caught:
            list(ModuleCollection.of(module).features(task))
        assert str(caught.value).startswith(text)
        assert str(caught.value).count(f'module "{module.name}"') == 1
    with pytest.raises(ModtoolsError, match=r'^module "linear": device "nowhere:0" is not'):
        list(ModuleCollection.of(LINEAR).features(task, device="nowhere:0"))
