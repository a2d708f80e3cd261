"""What is fitted comes back as it lay in memory: products of a copy then round as the original."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from modtools.exceptions import ModtoolsError
from modtools.modules import CombinedModule, PretrainedModule, image_preprocess, pixels
from modtools.outputs import ClassMeanOutput, LogisticOutput, RidgeOutput, RidgeRegressionOutput
from modtools.retraining import ReusedModel, retrain
from modtools.tasks import Task

pytestmark = pytest.mark.floating_point

LOGISTIC = LogisticOutput(alpha=1.0)
NAMES = np.array(["even", "odd"], dtype="<U9")
TARGETS = {
    "classes": lambda digits: digits,
    "two classes": lambda digits: digits % 2,
    "names wider than needed": lambda digits: NAMES[digits % 2],
    "big-endian classes": lambda digits: digits.astype(">i4"),
    "labels": lambda digits: np.column_stack([digits > 4, digits % 2]).astype(int),
    "one number": lambda digits: digits.astype(float),
    "two numbers": lambda digits: np.column_stack([digits, np.cos(digits)]),
}
CASES = [
    *[("classes", output) for output in (LOGISTIC, RidgeOutput(), ClassMeanOutput())],
    ("classes", ClassMeanOutput(metric="cosine")),
    ("classes", "unlabelled"),
    *[("two classes", output) for output in (LOGISTIC, RidgeOutput(), ClassMeanOutput())],
    *[("names wider than needed", output) for output in (LOGISTIC, ClassMeanOutput())],
    ("big-endian classes", RidgeOutput()),
    ("labels", RidgeOutput()),
    ("one number", RidgeRegressionOutput()),
    ("two numbers", RidgeRegressionOutput()),
]


def convolution():
    torch.manual_seed(0)
    build = ("torch.nn:Conv2d", {"in_channels": 1, "out_channels": 6, "kernel_size": 3})
    network = nn.Conv2d(1, 6, 3)
    preprocess = image_preprocess(size=None, channels=1)
    options = {"pooling": "flatten", "preprocess": preprocess, "build": build}
    return PretrainedModule(network, name="conv", **options)


MODULES = {
    "fewer rows than columns": pixels,
    "combined": lambda: CombinedModule([pixels(), convolution()]),
}


def fitted(module, digits, target, output, n_rows):
    """Return a model of some digits; "unlabelled" finds clusters, two more than classes."""
    rows = digits.subset(np.arange(n_rows))
    task = Task(rows.inputs, TARGETS[target](rows.labels), name="digits")
    if output == "unlabelled":
        return retrain(module, task, output=ClassMeanOutput(n_classes=12), unlabelled=rows)
    return retrain(module, task, output=output)


def lie(array):
    """Return all that tells one array from another: type, values, and how they lie in memory."""
    flags = array.flags
    kept = (flags.c_contiguous, flags.f_contiguous, flags.aligned, flags.writeable)
    return array.dtype.str, array.shape, array.strides, kept, array.tobytes()


def arrays_of(model):
    found = {name: value for name, value in vars(model.output).items() if name.endswith("_")}
    found |= {"classes": model.classes, "missing_classes": model.missing_classes}
    return {k: lie(v) if isinstance(v, np.ndarray) else (type(v), v) for k, v in found.items()}


@pytest.mark.parametrize(("target", "output"), CASES, ids=str)
@pytest.mark.parametrize("module", MODULES)
def test_every_fitted_array_comes_back_as_it_lay_in_memory(
    digits, module, target, output, tmp_path
):
    model = fitted(MODULES[module](), digits, target, output, n_rows=60)
    loaded = ReusedModel.load(model.save(tmp_path / "model"))
    assert arrays_of(loaded) == arrays_of(model)
    again = ReusedModel.load(loaded.save(tmp_path / "copy"))
    assert arrays_of(again) == arrays_of(model)


@pytest.mark.parametrize(("target", "output"), CASES, ids=str)
def test_more_rows_than_columns_make_no_difference(digits, target, output, tmp_path):
    model = fitted(pixels(), digits, target, output, n_rows=100)
    assert arrays_of(ReusedModel.load(model.save(tmp_path / "model"))) == arrays_of(model)


def test_a_network_comes_back_with_its_memory_format(digits, tmp_path):
    module = convolution()
    module.network.to(memory_format=torch.channels_last)
    model = retrain(module, digits.subset(np.arange(40)), output="ridge")
    network = ReusedModel.load(model.save(tmp_path / "model")).module.network
    strides = {name: part.stride() for name, part in module.network.state_dict().items()}
    assert strides["weight"] == (9, 1, 3, 1)
    assert {name: part.stride() for name, part in network.state_dict().items()} == strides


@pytest.mark.parametrize("target", ["classes", "two numbers"])
def test_a_torch_network_is_plain_in_memory_and_can_be_saved(digits, target, tmp_path):
    output = RidgeOutput() if target == "classes" else RidgeRegressionOutput()
    model = fitted(pixels(), digits, target, output, n_rows=40)
    loaded = ReusedModel.load(model.save(tmp_path / "model"))
    states = [m.to_torch(preprocess=False).state_dict() for m in (model, loaded)]
    assert all(part.is_contiguous() for part in states[0].values())
    save_file(states[0], tmp_path / "network.safetensors")
    assert all(torch.equal(part, states[1][name]) for name, part in states[0].items())


@pytest.fixture
def saved(digits, tmp_path):
    return fitted(pixels(), digits, "classes", RidgeOutput(), n_rows=40).save(tmp_path / "model")


def test_a_model_saved_before_the_order_was_kept_still_opens(saved, digits):
    new = ReusedModel.load(saved)
    edit(saved, lambda card: card.pop("layouts"))
    old = ReusedModel.load(saved)
    np.testing.assert_array_equal(old.output.coef_, new.output.coef_)
    assert old.output.coef_.flags.c_contiguous
    rows = digits.subset(np.arange(40, 80))
    np.testing.assert_array_equal(old.predict(rows), new.predict(rows))


def edit(folder, change):
    card = json.loads((folder / "card.json").read_text())
    change(card)
    (folder / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    "layout",
    [
        {"dtype": "<f8", "axes": [0]},
        {"dtype": "<f8", "axes": [0, 0]},
        {"dtype": "<f8", "axes": [0, -1]},
        {"dtype": "<f8", "axes": "01"},
        {"dtype": "<f8", "axes": None},
        {"dtype": "<f4", "axes": [0, 1]},
        {"dtype": "<i8", "axes": [0, 1]},
        {"dtype": "O", "axes": [0, 1]},
        {"dtype": "<U1000000000", "axes": [0, 1]},
        {"dtype": 8, "axes": [0, 1]},
        {"dtype": "<f8"},
        [],
        None,
    ],
    ids=str,
)
def test_a_layout_that_does_not_fit_its_array_is_refused(saved, layout):
    edit(saved, lambda card: card["layouts"].update(coef_=layout))
    with pytest.raises(ModtoolsError, match=r"does not match its card: .*Nothing was loaded"):
        ReusedModel.load(saved)


def test_a_layout_of_nothing_is_refused(saved):
    edit(saved, lambda card: card.update(layouts=["coef_"]))
    with pytest.raises(ModtoolsError, match="lacks or mistypes layouts"):
        ReusedModel.load(saved)


def test_wide_class_names_cannot_exhaust_memory(saved):
    edit(saved, lambda card: card.update(class_dtype="<U1000000000"))
    with pytest.raises(ModtoolsError, match="Nothing was loaded"):
        ReusedModel.load(saved)
