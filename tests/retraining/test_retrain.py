import copy

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from modtools._intervals import wilson
from modtools.exceptions import ModtoolsError
from modtools.modules import PretrainedModule, extract, image_preprocess, pixels
from modtools.outputs import RidgeOutput
from modtools.retraining import ReusedModel, retrain
from modtools.tasks import Task

pytestmark = pytest.mark.floating_point


def convolutional():
    """Return a module with a batch norm in training mode, whose statistics must stay."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5))
    preprocess = image_preprocess(channels=None)
    return PretrainedModule(network.train(), name="conv", pooling="max", preprocess=preprocess)


@pytest.mark.parametrize("output", ["logistic", "ridge", "class_mean"])
def test_predicts_digits_it_has_not_seen(parts, output):
    model = retrain(pixels(), parts[0], output=output)
    assert model.accuracy(parts[1]) > 0.6
    assert model.n_labels == 40
    assert model.labelled_classes.tolist() == list(range(10))
    assert model.seconds > 0


def test_predictions_are_those_of_the_output_module_on_extracted_features(parts, model):
    train, test = parts
    alone = RidgeOutput().fit(extract(pixels(), train), train.labels)
    features = extract(pixels(), test)
    assert np.array_equal(model.predict(test), alone.predict(features))
    assert np.array_equal(model.predict(test.inputs), alone.predict(features))
    np.testing.assert_allclose(model.decision_function(test), alone.decision_function(features))


def test_blocks_of_any_size_give_the_same_predictions(parts, model, monkeypatch):
    whole = model.predict(parts[1])
    monkeypatch.setattr("modtools.retraining._reused.rows_per_block", lambda n_features: 70)
    assert np.array_equal(model.predict(parts[1]), whole)


def test_probabilities_follow_the_named_classes(parts):
    model = retrain(pixels(), parts[0])
    probabilities = model.predict_proba(parts[1])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert np.array_equal(
        model.labelled_classes[probabilities.argmax(axis=1)], model.predict(parts[1])
    )


def test_says_which_output_gives_probabilities(parts):
    model = retrain(pixels(), parts[0], output=NoProbabilities())
    with pytest.raises(ModtoolsError, match="NoProbabilities gives no probabilities"):
        model.predict_proba(parts[1])
    with pytest.raises(ModtoolsError, match="has no decision_function"):
        model.decision_function(parts[1])


class NoProbabilities(LogisticRegression):
    """A classifier of somebody else that gives labels only."""

    predict_proba = property()
    decision_function = property()


def test_a_classifier_is_cloned_and_its_answers_are_kept(parts):
    mine = LogisticRegression(max_iter=300)
    model = retrain(pixels(), parts[0], output=mine)
    assert not hasattr(mine, "coef_")
    assert model.accuracy(parts[1]) > 0.6


def test_the_frozen_module_stays_bit_for_bit(parts):
    module = convolutional()
    before = copy.deepcopy(module.network)
    model = retrain(module, parts[0], output="ridge")
    model.predict(parts[1])
    assert model.module is module
    after = module.network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.state_dict().items())
    assert [p.training for p in module.network.modules()] == [True] * 5
    assert all(p.requires_grad and p.grad is None for p in module.network.parameters())


def test_names_the_class_without_a_label(digits):
    few = digits.subset(np.flatnonzero(~np.isin(digits.labels, [3, 7]))[:60])
    with pytest.raises(ModtoolsError, match=r'classes "3", "7" have no labelled example in digits'):
        retrain(pixels(), few)


def test_allows_missing_classes_and_says_which(digits):
    few = digits.subset(np.flatnonzero(digits.labels != 4)[:90])
    model = retrain(pixels(), few, output="ridge", allow_missing_classes=True)
    test = digits.complement(few).few_labels(per_class=5)
    assert model.missing_classes.tolist() == [4]
    assert 4 not in model.predict(test)
    assert model.accuracy(test, only_labelled_classes=True) * 45 == pytest.approx(
        model.accuracy(test) * 50
    )
    assert "9 of 10 classes" in repr(model)


def test_an_accuracy_has_the_interval_of_the_rows_it_was_counted_on(parts, model):
    test = parts[1]
    value, low, high = model.evaluate(test)
    assert value == model.accuracy(test)
    assert (low, high) == wilson(value, len(test))
    zeros_and_ones = parts[0].subset(parts[0].labels < 2)
    partly = retrain(pixels(), zeros_and_ones, output="ridge", allow_missing_classes=True)
    named = test.subset(test.labels < 2)
    assert partly.evaluate(test, only_labelled_classes=True) == partly.evaluate(named)


def test_accuracy_is_the_only_metric_of_an_evaluation_so_far(parts, model):
    assert model.evaluate(parts[1], metric="accuracy") == model.evaluate(parts[1])
    with pytest.raises(
        ModtoolsError, match="metric roc_auc is not available in evaluate: only acc"
    ):
        model.evaluate(parts[1], metric="roc_auc")
    with pytest.raises(
        ModtoolsError, match=r'unknown metric "auc".* Known: accuracy, balanced_accu'
    ):
        model.evaluate(parts[1], metric="auc")


def test_refuses_test_rows_that_were_learned(parts, digits, model):
    both = digits.subset(np.concatenate([parts[1].rows[:5], parts[0].rows[:3]]))
    with pytest.raises(
        ModtoolsError, match="3 of 8 examples of digits equal training examples, first"
    ):
        model.accuracy(both)
    assert 0 <= model.accuracy(both, allow_overlap=True) <= 1


def test_refuses_labels_of_other_classes(parts, model):
    other = Task(parts[1].inputs[:2], [3, 12])
    with pytest.raises(ModtoolsError, match="got 12 in row 1"):
        model.accuracy(other)
    with pytest.raises(ModtoolsError, match="accuracy needs a classification task"):
        model.accuracy(parts[1].inputs)


def test_refuses_what_cannot_be_retrained(parts):
    train = parts[0]
    with pytest.raises(ModtoolsError, match=r'unknown output "logistics"; did you mean "logistic"'):
        retrain(pixels(), train, output="logistics")
    with pytest.raises(ModtoolsError, match="output must be one of"):
        retrain(pixels(), train, output=RidgeOutput)
    with pytest.raises(ModtoolsError, match="task must be a Task"):
        retrain(pixels(), train.inputs)
    with pytest.raises(ModtoolsError, match='"logistic" is for classification; a regression'):
        retrain(pixels(), Task(train.inputs, np.linspace(0, 1, 40)), output="logistic")
    with pytest.raises(ModtoolsError, match="read at 2 layers"):
        retrain(convolutional().at(["0", "1"]), train)
    with pytest.raises(ModtoolsError, match="RidgeOutput does not"):
        retrain(pixels(), train, output="ridge", unlabelled=train)
    with pytest.raises(ModtoolsError, match="module must be a PretrainedModule"):
        retrain(nn.Flatten(), train)


def test_refuses_features_that_do_not_vary(parts):
    black = Task(np.zeros_like(parts[0].inputs), parts[0].labels)
    with pytest.raises(ModtoolsError, match="are the same, all zero, in all 40 examples"):
        retrain(pixels(), black)
    grey = Task(np.full_like(parts[0].inputs, 1), parts[0].labels)
    with pytest.raises(ModtoolsError, match='features of "pixels" are the same in all 40 examples'):
        retrain(pixels(), grey)


def test_says_what_it_is(model):
    assert isinstance(model, ReusedModel)
    assert repr(model) == "ReusedModel(pixels + RidgeOutput: 40 labels of digits, 10 classes)"
    assert model._repr_html_() == f"<pre>{model!r}</pre>"


# --- features that were extracted before


def test_features_and_labels_give_the_model_of_their_module(digits, tmp_path):
    few = digits.few_labels(per_class=4, seed=0)
    rest = digits.complement(few).few_labels(n=100, seed=0)
    features, others = extract(pixels(), few), extract(pixels(), rest)
    whole = retrain(pixels(), few)
    for given, labels in ((features, few.labels), ({"pixels": features}, few), (features, few)):
        model = retrain(given, labels)
        assert np.array_equal(model.predict(others), whole.predict(rest))
        assert np.allclose(model.predict_proba(others), whole.predict_proba(rest))
        assert model.accuracy(Task(others, rest.labels)) == whole.accuracy(rest)
    assert repr(model).startswith("ReusedModel(features + LogisticOutput: 40 labels of digits")
    model.save(tmp_path / "model")
    loaded = ReusedModel.load(tmp_path / "model")
    assert np.array_equal(loaded.predict(others), model.predict(others))


def test_features_with_unlabelled_ones_and_without_some_classes(digits):
    few = digits.subset(digits.labels < 5).few_labels(n=30, seed=0)
    features = {"pixels@flat": extract(pixels(), few)}
    options = {"output": "class_mean", "allow_missing_classes": True}
    model = retrain(features, few, **options, unlabelled=np.eye(64) * 9)
    assert model.missing_classes.tolist() == [5, 6, 7, 8, 9]
    assert model.module.name == "pixels at flat"


def test_a_module_whose_features_are_there_does_not_run_and_is_reused(digits, monkeypatch):
    few = digits.few_labels(per_class=4)
    rest = digits.complement(few)
    features, pool = extract(pixels(), few), extract(pixels(), rest)
    options = {"output": "class_mean", "unlabelled": rest}
    model = retrain(pixels(), few, **options)
    with monkeypatch.context() as patch:
        patch.setattr("modtools.modules._extraction._run_uncached", lambda *_a, **_k: 1 / 0)
        same = retrain(pixels(), few, features=features, **options | {"unlabelled": pool})
    assert repr(same) == repr(model)
    assert np.array_equal(same.row_fingerprints, model.row_fingerprints)
    assert np.array_equal(same.decision_function(rest), model.decision_function(rest))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.ones((3, 2)), 'features of "pixels" have 3 rows, the task has 40 labels'),
        (np.full((40, 2), np.nan), 'features of "pixels" must be finite'),
        (np.ones(40), r'features of "pixels" must have shape \(n_samples, n_features\)'),
        (np.ones((40, 2)), 'the features of "pixels" are the same in all 40 examples'),
        ({}, "features must be a dict with one entry for each of pixels, in this order; got none"),
        ({"a": np.eye(40), "b": np.eye(40)}, "each of pixels, in this order; got a, b"),
    ],
)
def test_features_that_cannot_be_those_of_the_module_are_refused(parts, features, message):
    with pytest.raises(ModtoolsError, match=message):
        retrain(pixels(), parts[0], features=features)


def test_features_are_given_in_one_place(parts):
    features = extract(pixels(), parts[0])
    with pytest.raises(ModtoolsError, match="features= is for a module that would have to run"):
        retrain(features, parts[0].labels, features=features)


def test_inputs_that_give_other_features_than_were_trained_on_are_refused(parts):
    narrow = retrain(pixels(), parts[0], features=extract(pixels(), parts[0])[:, :9])
    with pytest.raises(ModtoolsError, match=r'give "pixels" the 9 features .*; they give 64'):
        narrow.predict(parts[1])
    wide = retrain(np.eye(4), [0, 1, 0, 1], output="ridge")
    with pytest.raises(ModtoolsError, match=r'give "features" the 4 features .*; they give 3'):
        wide.decision_function(np.ones((2, 3)))


def test_features_that_float32_would_drown_are_refused():
    labels = np.repeat([0, 1], 10)
    features = labels[:, None] + np.random.default_rng(0).normal(size=(20, 3))
    retrain(features + 1000, labels)
    with pytest.raises(ModtoolsError, match=r"column 0 spans .* around 1e\+07 \(3 such\)"):
        retrain(features + 1e7, labels)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.ones((3, 2)), 'features of "features" have 3 rows, the task has 4 labels'),
        ({"a": np.ones(4)}, r'features of "a" must have shape \(n_samples, n_features\)'),
        ({"a": np.eye(4), "b": np.eye(4)}, r"one dict entry \{name: features\}; got 2\. Put"),
        ({}, r"one dict entry \{name: features\}; got 0"),
        (np.ones((4, 2)), 'the features of "features" are the same in all 4 examples'),
    ],
)
def test_features_that_fit_no_labels_are_refused(features, message):
    with pytest.raises(ModtoolsError, match=message):
        retrain(features, [0, 1, 0, 1])


def test_one_example_trains_no_output_module():
    with pytest.raises(ModtoolsError, match="at least two labelled examples; task has one"):
        retrain(np.eye(1), ["a"])
