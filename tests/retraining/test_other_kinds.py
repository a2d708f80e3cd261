"""Retraining for numbers and for several labels an example."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import hamming_loss, r2_score

from modtools.exceptions import ModtoolsError
from modtools.modules import extract, pixels
from modtools.outputs import RidgeOutput, RidgeRegressionOutput
from modtools.retraining import ReusedModel, retrain
from modtools.tasks import Task
from tests.rounding import assert_same_but_for_rounding

pytestmark = pytest.mark.floating_point

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 255, (90, 4, 4)).astype(np.uint8)
BRIGHTNESS = IMAGES.mean(axis=(1, 2)) + RNG.normal(size=90)
HALVES = np.column_stack([IMAGES[:, :2].mean(axis=(1, 2)), IMAGES[:, 2:].mean(axis=(1, 2))])
LABELS = {
    "one number": BRIGHTNESS,
    "two numbers": HALVES,
    "labels": (np.column_stack([HALVES, BRIGHTNESS]) > 127).astype(int),
}


def parts(name):
    task = Task(IMAGES, LABELS[name], name=name.replace(" ", "-"))
    return task.subset(np.arange(60)), task.subset(np.arange(60, 90))


@pytest.fixture(params=LABELS)
def case(request):
    train, test = parts(request.param)
    return retrain(pixels(), train), train, test


def test_the_default_output_is_ridge(case):
    model, train, test = case
    kinds = {"regression": RidgeRegressionOutput, "multilabel": RidgeOutput}
    assert type(model.output) is kinds[train.kind]
    assert model.kind == train.kind
    predicted = model.predict(test)
    assert predicted.shape == test.labels.shape
    fitted = kinds[train.kind]().fit(extract(pixels(), train), train.labels)
    expected = fitted.predict(extract(pixels(), test))
    np.testing.assert_allclose(predicted, expected, rtol=1e-6)


def test_saved_and_loaded(case, tmp_path):
    model, _, test = case
    loaded = ReusedModel.load(model.save(tmp_path / "model"))
    assert loaded.kind == model.kind
    assert repr(loaded) == repr(model)
    assert_same_but_for_rounding(loaded.predict(test), model.predict(test), dtype=np.float32)


def test_as_a_torch_network(case):
    model, _, test = case
    logits = model.to_torch()(test.inputs).detach().numpy()
    if model.kind == "multilabel":
        np.testing.assert_allclose(logits, model.decision_function(test), atol=1e-5)
        np.testing.assert_array_equal(logits > 0, model.predict(test) == 1)
    else:
        np.testing.assert_allclose(logits.squeeze(), model.predict(test), rtol=1e-5)


@pytest.mark.parametrize("name", ["one number", "two numbers"])
def test_numbers_are_measured_by_r2(name):
    train, test = parts(name)
    model = retrain(pixels(), train)
    assert model.r2(test) == pytest.approx(r2_score(test.labels, model.predict(test)))
    assert model.r2(test) > 0.8
    with pytest.raises(ModtoolsError, match=r"accuracy counts classes; .* has numbers. Use r2"):
        model.accuracy(test)
    with pytest.raises(ModtoolsError, match=r"60 of 60 examples of .* equal training examples"):
        model.r2(train)
    assert model.r2(train, allow_overlap=True) > 0.8


def test_several_labels_are_measured_by_the_share_that_is_right():
    train, test = parts("labels")
    model = retrain(pixels(), train, output="ridge")
    expected = 1 - hamming_loss(test.labels, model.predict(test))
    assert model.accuracy(test) == pytest.approx(expected)
    assert model.accuracy(test) > 0.8
    with pytest.raises(ModtoolsError, match="r2 measures numbers; labels has classes"):
        model.r2(test)


def test_says_what_it_is():
    described = [repr(retrain(pixels(), parts(name)[0])) for name in LABELS]
    assert described == [
        "ReusedModel(pixels + RidgeRegressionOutput: 60 labels of one-number, 1 target)",
        "ReusedModel(pixels + RidgeRegressionOutput: 60 labels of two-numbers, 2 targets)",
        "ReusedModel(pixels + RidgeOutput: 60 labels of labels, 3 label columns)",
    ]


def test_a_label_column_that_no_row_carries():
    train, test = parts("labels")
    wider = Task(train.inputs, np.column_stack([train.labels, np.zeros(60, dtype=int)]))
    with pytest.raises(ModtoolsError, match='class "3" has no labelled example'):
        retrain(pixels(), wider)
    model = retrain(pixels(), wider, allow_missing_classes=True)
    assert model.missing_classes.tolist() == [3]
    carried = Task(test.inputs, np.column_stack([test.labels, np.ones(30, dtype=int)]))
    assert not model.predict(carried)[:, 3].any()
    plain = model.accuracy(carried)
    assert model.accuracy(carried, only_labelled_classes=True) == pytest.approx(plain * 4 / 3)


def test_an_estimator_of_the_right_kind_is_kept():
    model = retrain(pixels(), parts("one number")[0], output=Ridge(alpha=10.0))
    assert type(model.output) is Ridge
    with pytest.raises(ModtoolsError, match="regression task needs a regressor; got LogisticReg"):
        retrain(pixels(), parts("one number")[0], output=LogisticRegression())
    with pytest.raises(ModtoolsError, match="multilabel task needs a classifier; got Ridge"):
        retrain(pixels(), parts("labels")[0], output=Ridge())


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("output", ["logistic", "class_mean"])
def test_output_modules_of_classes_are_refused(name, output):
    train = parts(name)[0]
    with pytest.raises(ModtoolsError, match=f'"{output}" is for classification; a {train.kind}'):
        retrain(pixels(), train, output=output)


def test_test_tasks_of_another_kind_are_refused(case):
    model, _, test = case
    other = Task(test.inputs, np.arange(30) % 3)
    measure = model.r2 if model.kind == "regression" else model.accuracy
    with pytest.raises(ModtoolsError, match=f"needs a {model.kind} task; got Task"):
        measure(other)
    wider = Task(test.inputs, np.tile(test.labels.reshape(30, -1), 2))
    with pytest.raises(ModtoolsError, match=r"must have the \d label columns of"):
        measure(wider)


def test_r2_of_one_example_is_refused():
    rng = np.random.default_rng(0)
    model = retrain(rng.normal(size=(20, 3)), rng.normal(size=20))
    one = Task(rng.normal(size=(1, 3)), [0.5], kind="regression")
    with pytest.raises(ModtoolsError, match="r2 compares with the spread of the labels: give two"):
        model.r2(one)
