"""What cannot be trained is refused in one line, before anything is trained where that is known."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from modtools import ModtoolsError
from modtools.proxies import Pairs, SupCon
from modtools.tasks import Task
from modtools.training import Augmentation, Recipe, _trainer, train_end_to_end, train_modular

pytestmark = pytest.mark.floating_point

METHODS = [train_modular, train_end_to_end]


@pytest.fixture
def no_steps(monkeypatch):
    """Let the first step of any training fail the test."""

    def step(*_):
        pytest.fail("something was trained")

    monkeypatch.setattr(_trainer.Trainer, "_step", step)


def refused(match, train, *arguments, **options):
    with pytest.raises(ModtoolsError, match=match) as caught:
        train(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("train", METHODS)
@pytest.mark.usefixtures("no_steps")
class TestAnyMethod:
    def test_rows_of_one_class(self, train, rows, mlp):
        one = rows.subset(rows.labels == "bee")
        refused("rows has examples of 1 class only: .* at least 2 classes", train, mlp(), one)

    def test_labels_that_are_numbers(self, train, rows, mlp):
        task = Task(rows.inputs, np.linspace(0, 1, 60), name="prices")
        refused(
            "one class label per example; .* task prices are of kind regression", train, mlp(), task
        )

    def test_several_labels_a_row(self, train, rows, mlp):
        task = Task(rows.inputs, np.eye(3, dtype=int)[np.arange(60) % 3], kind="multilabel")
        refused("one class label per example; .* of kind multilabel", train, mlp(), task)

    def test_no_task_at_all(self, train, rows, mlp):
        refused("task must be a modtools Task; got tuple", train, mlp(), (rows.inputs, rows.labels))

    def test_text_without_preprocess(self, train, mlp):
        task = Task(["good", "bad", "fine", "poor"], [1, 0, 1, 0])
        refused("inputs must be arrays or tensors .* without preprocess=", train, mlp(2), task)

    def test_a_preprocess_that_returns_no_tensor(self, train, rows, mlp):
        refused(
            "preprocess= must return a tensor for training; got dict",
            train,
            mlp(),
            rows,
            preprocess=lambda batch: {"input_ids": torch.as_tensor(batch)},
        )

    def test_a_wrong_number_of_outputs(self, train, rows, mlp):
        message = r"one number per class, \(n_samples, 3\) .* it returns \(2, 7\) .* n_classes=3"
        refused(message, train, mlp(7), rows)

    def test_outputs_that_are_maps(self, train, images):
        network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1))
        refused(r"it returns \(2, 4, 8, 8\)", train, network, images)

    def test_inputs_of_another_shape(self, train, images, mlp):
        message = r"cannot read inputs of shape \(1, 8, 8\) and type torch.float32 of task small"
        refused(message, train, mlp(4), images)

    def test_inputs_of_another_type(self, train, mlp):
        task = Task(np.arange(300).reshape(60, 5), np.arange(60) % 3, name="whole")
        refused("cannot read inputs .* type torch.int64 of task whole", train, mlp(), task)

    def test_no_network(self, train, rows):
        refused("network must be a torch.nn.Module or a list of blocks; got str", train, "x", rows)
        refused("must be a torch.nn.Module or a list", train, [nn.Linear(5, 3), "x"], rows)

    def test_validation_with_another_class(self, train, rows, mlp):
        other = Task(rows.inputs, ["ant", "dog"] * 30)
        refused("dog", train, mlp(), rows, validation=other)

    def test_validation_with_another_kind_of_label(self, train, rows, mlp):
        other = Task(rows.inputs, np.linspace(0, 1, 60))
        refused("labels must be among classes=", train, mlp(), rows, validation=other)

    def test_validation_of_another_shape(self, train, rows, mlp):
        other = Task(np.zeros((6, 4), np.float32), list("abc") * 2, name="other")
        other = Task(other.inputs, rows.labels[::10], name="other")
        refused(
            "cannot read inputs of shape .4,. .* of task other",
            train,
            mlp(),
            rows,
            validation=other,
        )

    def test_validation_that_is_no_task(self, train, rows, mlp):
        pair = (rows.inputs, rows.labels)
        refused("validation must be a Task; got tuple", train, mlp(), rows, validation=pair)

    def test_patience_without_validation(self, train, rows, mlp):
        refused("patience= counts epochs .* give validation=", train, mlp(), rows, patience=3)

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"epochs": 0}, "epochs must be a whole number of at least 1; got 0"),
            ({"epochs": 2.5}, "epochs must be a whole number"),
            ({"max_seconds": 0}, "max_seconds must be a finite number above 0"),
            ({"max_seconds": float("nan")}, "max_seconds must be a finite number above 0"),
            ({"recipe": {"batch_size": 3}}, "recipe must be a Recipe; got dict"),
            ({"seed": -1}, "seed must be a whole number of at least 0"),
            ({"precision": "bfloat"}, 'unknown precision "bfloat"; did you mean "bfloat16"'),
            ({"device": "gpu:7"}, 'device "gpu:7" is not available here; known: cpu'),
            ({"preprocess": "resize"}, "preprocess must be a function .*; got 'resize'"),
            ({"keep_checkpoint": 1}, "keep_checkpoint must be True or False; got 1"),
            ({"keep_checkpoint": True}, "keep_checkpoint=True needs checkpoint="),
        ],
    )
    def test_options(self, train, rows, mlp, options, match):
        refused(match, train, mlp(), rows, **options)

    def test_patience_of_nothing(self, train, rows, mlp):
        refused("patience must be", train, mlp(), rows, patience=0, validation=rows)

    def test_nothing_to_train(self, train, rows, mlp):
        network = mlp().requires_grad_(False)
        refused("has no parameters to train: there are none, or all are", train, network, rows)

    def test_layers_without_weights_yet(self, train, rows):
        network = nn.Sequential(nn.LazyLinear(6), nn.Linear(6, 3))
        refused("layers without weights yet", train, network, rows)

    @pytest.mark.parametrize("error", [KeyError, AssertionError, ZeroDivisionError])
    def test_a_network_that_fails_in_any_way(self, train, rows, mlp, error):
        network = nn.Sequential(*mlp()[:3], Changed(raises=error), mlp()[3])
        refused(f"cannot read inputs .* of task rows: {error.__name__}: '?no", train, network, rows)

    @pytest.mark.parametrize(
        ("preprocess", "match"),
        [
            (lambda batch: 1 / 0, "preprocess= failed on a batch of 60 inputs: ZeroDivisionError"),
            (lambda batch: torch.tensor(batch[1:]), r"one row per example, here 60; .* \(59, 5\)"),
            (lambda batch: torch.tensor(1.0), r"one row per example, here 60; got shape \(\)"),
        ],
    )
    def test_a_preprocess_that_fails(self, train, rows, mlp, preprocess, match):
        refused(match, train, mlp(), rows, preprocess=preprocess)


class Changed(nn.Module):
    """A layer that fails, or returns something else, in training mode or always."""

    def __init__(self, *, raises=None, only_in_training=False):
        super().__init__()
        self.raises, self.only_in_training = raises, only_in_training

    def forward(self, features):
        if self.only_in_training and not self.training:
            return features
        if self.raises is not None:
            raise self.raises("no")
        return features, features


@pytest.mark.parametrize("train", METHODS)
class TestWhatOnlyTrainingFinds:
    @pytest.mark.parametrize("precision", ["float32", "auto"])
    def test_a_network_that_fails_in_training_mode(self, train, rows, mlp, precision):
        layer = Changed(raises=KeyError, only_in_training=True)
        network = nn.Sequential(*mlp()[:3], layer, mlp()[3])
        refused("in training mode: KeyError: 'no'", train, network, rows, precision=precision)

    def test_a_module_that_returns_a_tuple_in_training_mode(self, train, rows, mlp):
        network = nn.Sequential(*mlp(), Changed(only_in_training=True))
        options = {"at": ["2"]} if train is train_modular else {}
        refused("must return a tensor; in training mode it returns tuple", train, network, rows,
                **options)  # fmt: skip

    def test_batch_norm_of_single_examples(self, train, rows, mlp):
        network = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))
        message = r"failed on a batch of shape \(1, 5\) in training mode: ValueError: Expected more"
        refused(message, train, network, rows, recipe=Recipe(batch_size=1), epochs=1)

    @pytest.mark.parametrize("patience", [None, 1])
    def test_validation_that_is_not_finite(self, train, rows, mlp, patience):
        spoilt = rows.inputs[:9].copy()
        spoilt[7, 2] = np.nan
        validation = Task(spoilt, rows.labels[:9])
        message = r"outputs or a loss that are not finite on the validation examples"
        refused(message, train, mlp(), rows, validation=validation, patience=patience, epochs=1)

    def test_an_unknown_argument_is_named_with_the_function(self, train, rows, mlp):
        message = rf"{train.__name__}\(\) has no argument 'epoch'; did you mean \"epochs\""
        with pytest.raises(TypeError, match=message):
            train(mlp(), rows, epoch=3)


@pytest.mark.usefixtures("no_steps")
class TestModular:
    def test_a_module_without_parameters(self, rows, mlp):
        refused("module 1 has no parameters to train", train_modular, mlp(), rows, at=["0", "1"])

    def test_an_output_module_without_parameters(self, rows, mlp):
        network = nn.Sequential(*mlp(), nn.LogSoftmax(dim=1))
        refused("module 4 has no parameters to train", train_modular, network, rows)

    def test_an_unknown_proxy(self, rows, mlp):
        refused('supkon.*did you mean "supcon"', train_modular, mlp(), rows, proxy="supkon")

    @pytest.mark.parametrize("proxy", [None, 3, SupCon, {"supcon"}])
    def test_no_proxy(self, proxy, rows, mlp):
        refused("proxy must be a name, .* got ", train_modular, mlp(), rows, proxy=proxy)
        refused("proxy must be a name", train_modular, mlp(), rows, proxy=[3])

    def test_a_wrong_number_of_proxies(self, rows, mlp):
        message = "proxy must be one objective, for there is 1 hidden module; got 2"
        refused(message, train_modular, mlp(), rows, proxy=["supcon", "nmse"])

    def test_an_unknown_cut(self, images, conv):
        message = 'cut point "secnod"; did you mean "second"'
        refused(message, train_modular, conv(), images, at=["secnod"])

    def test_too_many_modules(self, rows, mlp):
        refused("more modules than the network has blocks", train_modular, mlp(), rows, at=9)

    def test_an_unknown_schedule(self, rows, mlp):
        message = 'unknown schedule "sequental"; did you mean "sequential"'
        refused(message, train_modular, mlp(), rows, schedule="sequental")

    def test_a_network_that_cannot_be_cut(self, rows):
        class Whole(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(5, 3)

            def forward(self, inputs):
                return self.layer(inputs)

        refused("cannot be cut into modules: Whole", train_modular, Whole(), rows)
        refused("cannot be cut", train_modular, nn.Sequential(nn.Linear(5, 3)), rows)

    def test_modules_that_share_a_layer(self, rows):
        shared = nn.Linear(5, 5)
        network = nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(5, 3))
        refused("share the parameter", train_modular, network, rows, at=["1", "2"])

    def test_a_module_whose_output_no_proxy_reads(self, rows):
        network = nn.Sequential(
            nn.Linear(5, 6), nn.Unflatten(1, (2, 3)), nn.Flatten(), nn.Linear(6, 3)
        )
        refused("the module returns .2, 3.. Cut elsewhere", train_modular, network, rows, at=["1"])

    def test_a_module_that_returns_no_tensor(self, rows):
        class Two(nn.Module):
            def forward(self, rows):
                return rows, rows

        class First(nn.Linear):
            def forward(self, rows):
                return super().forward(rows[0])

        network = nn.Sequential(nn.Linear(5, 6), Two(), First(6, 3))
        refused("must return a tensor; one returns tuple", train_modular, network, rows, at=["1"])


@pytest.mark.usefixtures("no_steps")
def test_a_network_that_returns_no_tensor(rows):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 3)

        def forward(self, rows):
            return self.layer(rows), rows

    refused("it returns tuple for n_samples=2", train_end_to_end, Two(), rows)


def test_augmentation_of_rows(rows, mlp):
    recipe = Recipe(augmentation=Augmentation())
    refused("augmentation needs preprocessed images", train_end_to_end, mlp(), rows, recipe=recipe)


class Absurd:
    """Learning rates with which a loss becomes NaN, or weights infinite although it does not."""

    loss = Recipe(batch_size=16, learning_rate=1e25, curve="constant")
    weights = Recipe(batch_size=16, learning_rate=1e36, curve="constant", weight_decay=0)


def finite(network):
    return all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values())


@pytest.mark.parametrize("recipe", [Absurd.loss, Absurd.weights])
@pytest.mark.parametrize(
    ("train", "name", "options"),
    [
        (train_end_to_end, "network", {}),
        (train_modular, "first", {"at": ["first", "features"]}),
        (train_modular, "first", {"at": ["first", "features"], "schedule": "simultaneous"}),
    ],
)
def test_a_learning_rate_that_is_absurd(recipe, train, name, options, images, conv):
    network = conv()
    message = refused(
        rf"of module {name} .* at step \d+ with learning rate 1e\+[23]\d\. ",
        train,
        network,
        images,
        epochs=4,
        recipe=recipe,
        **options,
    )
    assert "The network has its weights from the start of this phase" in message
    assert finite(network)


def test_weights_after_the_last_good_epoch_are_kept(images, conv, state, differ, monkeypatch):
    # The loss of the seventh step is NaN: two in the second epoch of five steps.
    good, forward, steps = [], _trainer.Trainer._forward, []

    def spoilt(self, *arguments):
        steps.append(1)
        if len(steps) == 6:
            good.append(state(self.network))
        outputs, loss = forward(self, *arguments)
        return outputs, loss * float("nan") if len(steps) == 7 else loss

    monkeypatch.setattr(_trainer.Trainer, "_forward", spoilt)
    network = conv()
    message = refused(
        "loss of module network became nan at step 6 with",
        train_end_to_end,
        network,
        images,
        recipe=Recipe(batch_size=16),
    )
    assert "has its weights from step 5 of this phase. Lower the learning rate" in message
    assert not differ(state(network), good[0])


def test_a_spoilt_last_step_is_noticed(rows, mlp, monkeypatch, tmp_path):
    # Its loss is finite, what it did to the weights is not, and no step comes after it.
    step = _trainer.Trainer._step

    def spoiling(self, phase, position, progress):
        losses = step(self, phase, position, progress)
        if position.step == 7:
            with torch.no_grad():
                next(phase.learners[0].module.parameters())[0] = float("inf")
        return losses

    monkeypatch.setattr(_trainer.Trainer, "_step", spoiling)
    monkeypatch.setattr(_trainer, "_SAVE_SECONDS", -1.0)
    network, checkpoint = mlp(), tmp_path / "run.pt"
    message = refused(
        "weights of module network are no longer finite at step 7",
        train_end_to_end,
        network,
        rows,
        epochs=8,
        checkpoint=checkpoint,
    )
    assert "the last checkpoint is kept" in message
    assert finite(network)
    kept = torch.load(checkpoint, weights_only=True)["state"]
    assert all(bool(tensor.isfinite().all()) for tensor in kept["network"].values())


def test_batches_of_one_class_train_nothing(rows, mlp, state, differ):
    # A batch of one row has no pair: it contributes nothing instead of NaN.
    network = nn.Sequential(OrderedDict(mlp().named_children()))
    before = state(network)
    recipe = Recipe(batch_size=1, weight_decay=0)
    result = train_modular(network, rows, epochs=1, recipe=recipe)
    hidden = result.history["module"] == "2"
    assert (result.history["loss"][hidden] == 0).all()
    assert all(name.startswith("3.") for name in differ(before, state(network)))


@pytest.mark.usefixtures("no_steps")
class TestPairs:
    def test_what_is_no_pairs(self, rows, mlp):
        refused("pairs must be Pairs", train_modular, mlp(), rows, pairs=[(0, 1, True)])
        refused("one pair or more", train_modular, mlp(), rows, pairs=Pairs([], [], []))

    def test_a_row_that_is_not_there(self, rows, mlp):
        pairs = Pairs([0], [60], [True])
        refused("examples of the task, 0..59; got 60", train_modular, mlp(), rows, pairs=pairs)

    def test_pairs_that_contradict_each_other(self, rows, mlp):
        pairs = Pairs([3, 7, 9, 50], [4, 50, 3, 7], [True, True, True, False])
        message = "contradict each other: examples 7 and 50 are given as of the same class and of"
        refused(message, train_modular, mlp(), rows, pairs=pairs)
        same_twice = Pairs([3, 50, 7], [4, 7, 50], [True, False, False])
        with pytest.raises(pytest.fail.Exception):
            train_modular(mlp(), rows, pairs=same_twice)

    def test_a_proxy_that_needs_classes(self, rows, mlp):
        pairs = Pairs([0], [1], [True])
        for needy in ("local_classifier", "predsim", "hsic_bottleneck"):
            message = f"pairs= cannot train {needy}: it needs the class of each example"
            options = {"proxy": ["supcon", needy], "at": ["1", "2"], "pairs": pairs}
            assert "supcon," not in refused(message, train_modular, mlp(), rows, **options)
