"""Every public function that takes features, labels, tasks or paths, given what it cannot use."""

from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from torch import nn

import modtools as mt
from modtools.exceptions import ModtoolsError
from modtools.modules import PretrainedModule, extract, run
from modtools.proxies import PROXIES, Proxy
from modtools.tasks import Task
from modtools.transferability import SCORES, Score

LABELS = np.arange(12) % 2
FEATURES = np.random.default_rng(0).normal(size=(12, 3)) + LABELS[:, None]
TASK = Task(FEATURES.astype(np.float32), LABELS)
NETWORK = PretrainedModule(nn.Linear(3, 2), name="net")


class Refuses:
    """Fails whatever is asked of it."""

    def __array__(self, *_args, **_options):
        raise RuntimeError("no array")

    def __len__(self):
        raise RuntimeError("no length")

    def __getitem__(self, row):
        raise RuntimeError("no item")


def hostile():
    """Values that are no features, labels, groups, tasks, modules or paths."""
    ones = torch.ones(12, 3)
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    return {
        "None": None,
        "number": 3,
        "nan": float("nan"),
        "text": "no such thing",
        "null byte": "a\0b",
        "surrogate": "\ud800",
        "long": 5000 * "a",
        "nobody's home": "~nosuchuser/x.npz",
        "bytes": b"bytes",
        "empty list": [],
        "empty dict": {},
        "dict": {"a": 1},
        "set": {1, 2},
        "function": len,
        "type": dict,
        "ragged": [[1.0], [1.0, 2.0]] * 6,
        "deep": [[[[1.0]]]] * 12,
        "objects": [object()] * 12,
        "Nones": [None] * 12,
        "mixed": [1, "a"] * 6,
        "huge": [10**400] * 12,
        "infinite": np.full((12, 3), np.inf),
        "scalar array": np.array(1.0),
        "empty": np.zeros((0, 3)),
        "no column": np.zeros((12, 0)),
        "complex": np.ones((12, 3)) * 1j,
        "structured": np.zeros(12, dtype=[("a", float)]),
        "object array": np.array([[object()] * 3] * 12),
        "dates": np.zeros((12, 3), dtype="datetime64[s]"),
        "strings": np.full((12, 3), "a"),
        "masked": np.ma.masked_array(np.ones((12, 3)), mask=np.eye(12, 3)),
        "sparse matrix": scipy.sparse.eye(12).tocsr(),
        "sparse": ones.to_sparse(),
        "sparse csr": ones.to_sparse_csr(),
        "meta": ones.to("meta"),
        "quantised": torch.quantize_per_tensor(ones, 0.1, 0, torch.quint8),
        "nested": nested,
        "complex tensor": ones * 1j,
        "frame of words": pd.DataFrame({"a": ["x"] * 12, "b": [1] * 12}),
        "missing": pd.Series([1, None] * 6),
        "refuses": Refuses(),
        "network": nn.Linear(3, 2),
        "module": NETWORK,
        "task": TASK,
    }


CALLS = {
    "CombinedModule": [lambda x: mt.CombinedModule(x), lambda x: mt.CombinedModule([NETWORK, x])],
    "ModuleCollection": [
        lambda x: mt.ModuleCollection.of(x),
        lambda x: mt.ModuleCollection.of([NETWORK, x]),
        lambda x: mt.ModuleCollection.of({"a": x}),
        lambda x: mt.ModuleCollection.of_pairs({"a": x}),
        lambda x: mt.ModuleCollection.of_pairs({"a": (x, FEATURES)}),
        lambda x: mt.ModuleCollection.of_task({"a": {"task": x}}, "task"),
        lambda x: mt.ModuleCollection.of(NETWORK).costs(x),
    ],
    "Moments": [
        lambda x: mt.Moments.from_features(x, LABELS).score(),
        lambda x: mt.Moments.from_features(FEATURES, x).score(),
    ],
    "PretrainedModule": [
        lambda x: PretrainedModule(x, name="net"),
        lambda x: PretrainedModule(nn.ReLU(), name=x),
        lambda x: PretrainedModule(nn.ReLU(), name="net", layers=x),
        lambda x: PretrainedModule(nn.ReLU(), name="net", pooling=x),
    ],
    "Task": [
        lambda x: Task.of(x),
        lambda x: Task(x, LABELS).fingerprint,
        lambda x: Task(FEATURES, x).fingerprint,
        lambda x: Task(FEATURES, LABELS, groups=x).split(),
        lambda x: Task(FEATURES, LABELS, classes=x),
        lambda x: TASK.subset(x),
        lambda x: TASK.batch(x),
        lambda x: TASK.split(x),
        lambda x: TASK.few_labels(n=x),
        lambda x: TASK.complement(x),
        lambda x: TASK.overlap(x),
    ],
    "choose_labels": [
        lambda x: mt.choose_labels(x, n=4),
        lambda x: mt.choose_labels(FEATURES, n=x),
    ],
    "extract": [
        lambda x: extract(NETWORK, x),
        lambda x: extract(x, TASK),
        lambda x: extract(NETWORK, TASK, batch_size=x),
        lambda x: extract(NETWORK, TASK, precision=x),
    ],
    "iter_features": [lambda x: list(mt.iter_features(NETWORK, x))],
    "label_efficiency": [
        lambda x: mt.label_efficiency(x, TASK, TASK, repeats=1, allow_overlap=True),
        lambda x: mt.label_efficiency({"a": (x, FEATURES)}, LABELS, LABELS, repeats=1),
        lambda x: mt.label_efficiency({"a": (FEATURES, FEATURES + 1)}, LABELS, x, repeats=1),
        lambda x: mt.label_efficiency(
            {"a": (FEATURES, FEATURES + 1)}, LABELS, LABELS, repeats=1, n_labels=x
        ),
    ],
    "extrapolate": [
        lambda x: mt.extrapolate(x, LABELS),
        lambda x: mt.extrapolate(FEATURES, x),
        lambda x: mt.extrapolate(FEATURES, LABELS, strategy=x),
    ],
    "learning_curve": [
        lambda x: mt.learning_curve(x, LABELS, FEATURES, LABELS),
        lambda x: mt.learning_curve(FEATURES, x, FEATURES, LABELS),
        lambda x: mt.learning_curve(FEATURES, LABELS, x, LABELS),
        lambda x: mt.learning_curve(FEATURES, LABELS, FEATURES, x),
    ],
    "load_task": [
        lambda x: mt.load_task(x),
        lambda x: mt.load_task("fashion-mnist", folder=x),
        lambda x: mt.load_task(".", split=x),
        lambda x: mt.load_task(".", image_size=x),
    ],
    "race_modules": [
        lambda x: mt.race_modules({"a": x, "b": FEATURES}, LABELS),
        lambda x: mt.race_modules({"a": FEATURES, "b": FEATURES}, x),
    ],
    "rank_modules": [
        lambda x: mt.rank_modules(x, TASK),
        lambda x: mt.rank_modules({"a": x}, LABELS),
        lambda x: mt.rank_modules({"a": FEATURES}, x),
        lambda x: mt.rank_modules({"a": FEATURES}, LABELS, scores=x),
        lambda x: mt.rank_modules({"a": FEATURES}, LABELS, metric=x),
    ],
    "retrain": [
        lambda x: mt.retrain(x, TASK),
        lambda x: mt.retrain({"a": x}, LABELS),
        lambda x: mt.retrain(FEATURES, x),
        lambda x: mt.retrain(NETWORK, x),
    ],
    "score": [
        lambda x: mt.score(x, LABELS),
        lambda x: mt.score(FEATURES, x),
        lambda x: mt.score(FEATURES, LABELS, x),
        lambda x: mt.score(FEATURES, LABELS, groups=x),
        lambda x: mt.score(FEATURES, LABELS, source_probabilities=x),
        lambda x: mt.score(FEATURES, LABELS, seed=x),
    ],
    "score_agreement": [
        lambda x: mt.score_agreement(x, {"t": {"a": 0.5, "b": 0.6}}),
        lambda x: mt.score_agreement({"t": {"knn": {"a": 0.5, "b": 0.6}}}, x),
    ],
    "select_modules": [
        lambda x: mt.select_modules({"a": x, "b": FEATURES}, LABELS),
        lambda x: mt.select_modules({"a": FEATURES, "b": FEATURES}, x),
    ],
    "task_space": [
        lambda x: mt.task_space(x, [TASK, TASK]),
        lambda x: mt.task_space([NETWORK], x),
    ],
    "train_end_to_end": [
        lambda x: mt.train_end_to_end(nn.Linear(3, 2), x, epochs=1),
        lambda x: mt.train_end_to_end(x, TASK, epochs=1),
        lambda x: mt.train_end_to_end(nn.Linear(3, 2), TASK, epochs=x),
    ],
    "train_modular": [
        lambda x: mt.train_modular(nn.Linear(3, 2), x, epochs=1),
        lambda x: mt.train_modular([nn.Linear(3, 2), nn.Linear(2, 2)], TASK, epochs=1, proxy=x),
    ],
}
CALLS |= {
    "ReusedModel": [lambda x: mt.ReusedModel.load(x)],
    "Zoo": [lambda x: mt.Zoo(x).names, lambda x: mt.Zoo("zoo").save(x)],
}
READ_ONLY = {
    *("ModtoolsError", "ModtoolsWarning", "__version__", "PROXIES", "SCORES"),
    *("Agreement", "Forecast", "LabelEfficiency", "LearningCurve", "Race", "Ranking", "Selection"),
    *("TaskSpace", "TrainingResult"),
}


def test_the_table_holds_every_public_function_and_class():
    assert set(mt.__all__) == set(CALLS) | READ_ONLY


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_hostile_arguments_are_used_or_refused_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call in CALLS[name]:
        for value in hostile().values():
            with suppress(ModtoolsError):  # whatever else is raised fails the test
                call(value)


def test_an_error_is_one_line_whatever_it_quotes():
    with pytest.raises(ModtoolsError) as caught:
        mt.score(FEATURES, LABELS, seed=np.ones((9, 9)))
    assert "\n" not in str(caught.value)


# items of a Dataset


class Items:
    """A Dataset of twelve items, one of which goes wrong as told."""

    def __init__(self, bad, length=12):
        self.bad, self.length = bad, length

    def __len__(self):
        return self.length() if callable(self.length) else self.length

    def __getitem__(self, row):
        if row >= 12:
            raise IndexError("no such row")
        return self.bad(row) if row == 7 else (np.ones(3, dtype=np.float32), row % 2)


def fails(error):
    def read(_row):
        raise error

    return read


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (fails(KeyError("x")), r"item 7 of the Dataset \(Items, 12 items.*KeyError: 'x'"),
        (fails(OSError("disk")), "item 7 of the Dataset .*OSError: disk"),
        (fails(ZeroDivisionError("0")), "item 7 of the Dataset .*ZeroDivisionError"),
        (lambda _: (None, 1), "item 7 of the Dataset is None"),
        (lambda _: None, "item 7 of the Dataset is None"),
        (lambda _: (), "item 7 of the Dataset is an empty tuple"),
        (lambda _: (np.ones(4, "f"), 1), r"item 7 gives an array of float32 \(4,\)"),
        (lambda _: (np.ones(3), 1), r"item 7 gives an array of float64 \(3,\)"),
        (lambda _: (torch.ones(3), 1), r"item 7 gives a tensor of float32 \(3,\)"),
        (lambda _: ("text", 1), "item 7 gives a str"),
        (lambda _: (torch.ones(3).to_sparse(), 1), "item 7 of the Dataset must be dense"),
        (lambda _: (torch.ones(3, device="meta"), 1), "item 7 of the Dataset must hold values"),
    ],
)
def test_a_bad_item_of_a_dataset_is_named_by_its_row(bad, message):
    task = Task(Items(bad), LABELS)
    for use in (lambda: extract(NETWORK, task), lambda: task.fingerprint, lambda: task.inputs):
        with pytest.raises(ModtoolsError, match=message):
            use()


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (14, "item 12 of the Dataset .* 14 items by its length.*IndexError"),
        (-1, "inputs must have a length; that of Items failed: ValueError"),
        (2.5, "inputs must have a length; that of Items failed: TypeError"),
        (lambda: 1 // 0, "inputs must have a length; that of Items failed: ZeroDivisionError"),
    ],
)
def test_a_length_that_lies(length, message):
    with pytest.raises(ModtoolsError, match=message):
        Task(Items(None, length=length), [0, 1] * 7).batch(slice(8, None))


def test_labels_of_a_bad_item_and_code_of_the_user_are_named_with_their_cause():
    with pytest.raises(ModtoolsError, match="item 7 of the Dataset") as caught:
        Task(Items(fails(OSError("disk"))))
    assert isinstance(caught.value.__cause__, OSError)
    for options, message in (
        (
            {"preprocess": fails(KeyError("x"))},
            'preprocess of module "net" failed on a batch of 12',
        ),
        ({"source_head": fails(KeyError("x"))}, 'source_head of module "net" failed'),
    ):
        module = PretrainedModule(nn.Linear(3, 2), name="net", **options)
        with pytest.raises(ModtoolsError, match=message) as caught:
            run(module, TASK)
        assert isinstance(caught.value.__cause__, KeyError)
    asserts = PretrainedModule(fails(AssertionError("three channels")), name="net")
    with pytest.raises(ModtoolsError, match="AssertionError: three channels"):
        extract(asserts, TASK)


# networks whose layers cannot be read


@pytest.mark.parametrize("make", [torch.jit.script, lambda n: torch.jit.trace(n, torch.ones(1, 3))])
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_layers_of_a_script_module_are_refused_with_what_to_do(make):
    network = make(nn.Sequential(nn.Linear(3, 2), nn.ReLU()))
    with pytest.raises(ModtoolsError, match=r"lies in a ScriptModule.*as it was before torch\.jit"):
        PretrainedModule(network, name="net", layers="0")
    assert extract(PretrainedModule(network, name="net"), TASK).shape == (12, 2)


def test_an_exported_network_is_refused_with_what_to_do():
    class Exported(nn.Module):
        def train(self, mode=True):
            raise NotImplementedError("Calling train() is not supported yet.")

        def eval(self):
            raise NotImplementedError("Calling eval() is not supported yet.")

        def forward(self, x):
            return x

    with pytest.raises(ModtoolsError, match=r"no eval mode, as what torch\.export makes.*lambda"):
        extract(PretrainedModule(Exported(), name="net"), TASK)
    with pytest.raises(ModtoolsError, match='on the device "meta" has no weights'):
        extract(PretrainedModule(nn.Linear(3, 2, device="meta"), name="net"), TASK)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda x: x.to_sparse(), "must be dense; got a sparse_coo tensor"),
        (lambda x: x.to("meta"), "must hold values"),
        (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8), "must not be quantised"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_outputs_without_plain_values_are_named(output, message):
    with pytest.raises(ModtoolsError, match=f'the output of module "net" {message}'):
        extract(PretrainedModule(output, name="net"), TASK)


def test_float8_and_bfloat16_are_read_exactly():
    exact = np.array([[0.5, 1.0, -2.0], [4.0, 0.25, 8.0]] * 6)
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16):
        tensor = torch.tensor(exact).to(dtype)
        assert np.array_equal(Task(tensor, LABELS).inputs.float().numpy(), exact)
        assert mt.score(tensor, LABELS, "knn") == mt.score(exact, LABELS, "knn")


# registries


class Bare(Proxy):
    required_labels = "classes"


class NoLabels(Proxy):
    def forward(self, features, labels):
        return features.sum()

    def optimum(self, labels):
        return 0.0


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        (nn.Linear, "must be a subclass of modtools.proxies.Proxy, the class itself; got Linear"),
        (nn.ReLU(), "the class itself; got an object ReLU"),
        (lambda x: x, "the class itself; got an object function"),
        (Bare, "must define forward and optimum"),
        (NoLabels, "must declare required_labels as one of"),
    ],
)
def test_a_proxy_is_checked_when_it_is_registered(proxy, message):
    with pytest.raises(ModtoolsError, match=message):
        PROXIES.register("mine", proxy)
    with pytest.raises(ModtoolsError, match="the name of a proxy must be a word"):
        PROXIES.register("", Proxy)
    assert "mine" not in PROXIES


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": ""}, "the name of a score must be a word"),
        ({"needs": "rows"}, "needs must be one of moments, features, source_probabilities"),
        ({"compute": 3}, "compute must be a function"),
        ({"kinds": "classification"}, "kinds must be some of"),
        ({"kinds": ("ranking",)}, "kinds must be some of"),
        ({"feature_map": "square"}, "feature_map must be one of identity"),
    ],
)
def test_a_score_is_checked_when_it_is_registered(changed, message):
    fields = {"name": "mine", "needs": "features", "compute": len, "range": "any", "reference": ""}
    with pytest.raises(ModtoolsError, match=message):
        SCORES.register(Score(**{**fields, **changed}))
    assert "mine" not in SCORES
