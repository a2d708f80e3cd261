"""Fewer labels than classes: which are missing, which clusters unassigned, how accurate."""

import numpy as np
import pytest

from modtools.exceptions import ModtoolsError
from modtools.modules import extract, pixels
from modtools.outputs import ClassMeanOutput
from modtools.retraining import ReusedModel, retrain
from modtools.tasks import Task

pytestmark = pytest.mark.floating_point

N_CLASSES = 10


@pytest.fixture(scope="module")
def patterns():
    """Return 300 noisy copies of ten patterns, as unlabelled examples, test examples, and all."""
    rng = np.random.default_rng(0)
    labels = np.arange(300) % N_CLASSES
    images = rng.integers(0, 200, (N_CLASSES, 6, 6))[labels] + rng.integers(0, 40, (300, 6, 6))
    task = Task(images.astype(np.uint8), labels, name="patterns")
    return task.subset(np.arange(200)), task.subset(np.arange(200, 300)), task


@pytest.fixture(scope="module")
def model(patterns):
    pool, _, _ = patterns
    five = pool.subset(np.arange(5))
    return retrain(pixels(), five, output="class_mean", unlabelled=pool, allow_missing_classes=True)


def test_says_which_classes_are_named(model):
    assert model.labelled_classes.tolist() == [0, 1, 2, 3, 4]
    assert model.missing_classes.tolist() == [5, 6, 7, 8, 9]
    assert model.n_unassigned_clusters == 5
    assert model.output.uses_clusters_
    assert model.output.n_classes == N_CLASSES
    assert repr(model) == (
        "ReusedModel(pixels + ClassMeanOutput: 5 labels of patterns, 5 of 10 classes, "
        "5 unassigned clusters)"
    )


def test_says_which_unassigned_cluster_an_input_lies_in(model, patterns):
    test = patterns[1]
    clusters = model.unassigned_clusters(test)
    np.testing.assert_array_equal(clusters >= 0, test.labels >= 5)
    # Each of the five classes without a label is one cluster, under some number.
    pairs = {(c, k) for c, k in zip(test.labels.tolist(), clusters.tolist(), strict=True) if k >= 0}
    assert len(pairs) == 5
    assert {k for _, k in pairs} == set(range(5))


def test_accuracy_on_the_named_classes(model, patterns):
    test = patterns[1]
    assert model.accuracy(test, only_labelled_classes=True) == 1.0
    assert model.accuracy(test) == 0.5
    assert set(model.predict(test)) <= set(range(5))


def test_one_label_in_each_unassigned_cluster_assigns_them_all(model, patterns):
    pool, test, _ = patterns
    clusters = model.unassigned_clusters(pool)
    more = [int(np.flatnonzero(clusters == k)[0]) for k in range(5)]
    ten = pool.subset(np.r_[np.arange(5), more])
    named = retrain(pixels(), ten, output="class_mean", unlabelled=pool)
    assert not named.missing_classes.size
    assert named.n_unassigned_clusters == 0
    assert named.accuracy(test) == 1.0
    assert (named.unassigned_clusters(test) == -1).all()


def test_unassigned_clusters_are_saved(model, patterns, tmp_path):
    loaded = ReusedModel.load(model.save(tmp_path / "model"))
    assert repr(loaded) == repr(model)
    test = patterns[1]
    np.testing.assert_array_equal(loaded.unassigned_clusters(test), model.unassigned_clusters(test))


def test_the_number_of_classes_given_is_kept(patterns):
    pool = patterns[0]
    output = ClassMeanOutput(n_classes=7)
    model = retrain(
        pixels(),
        pool.subset(np.arange(5)),
        output=output,
        unlabelled=pool,
        allow_missing_classes=True,
    )
    assert model.output.n_classes == 7
    assert output.n_classes == 7
    assert model.n_unassigned_clusters in (0, 2)  # used only if seven clusters follow the classes


def test_unlabelled_features_count_too(patterns):
    pool = patterns[0]
    five = pool.subset(np.arange(5))
    features, others = extract(pixels(), five), extract(pixels(), pool)
    model = retrain(
        features, five, output="class_mean", unlabelled=others, allow_missing_classes=True
    )
    assert model.n_unassigned_clusters == 5


def test_without_unlabelled_inputs_there_are_no_clusters(patterns):
    pool, test, _ = patterns
    few = pool.subset(np.arange(5))
    model = retrain(pixels(), few, output="class_mean", allow_missing_classes=True)
    assert model.n_unassigned_clusters == 0
    assert (model.unassigned_clusters(test) == -1).all()
    ridge = retrain(pixels(), few, output="ridge", allow_missing_classes=True)
    with pytest.raises(ModtoolsError, match=r"RidgeOutput has no clusters; .*class_mean"):
        ridge.unassigned_clusters(test)


def test_fewer_unlabelled_inputs_than_classes_are_refused(patterns):
    pool = patterns[0]
    few = pool.subset(np.arange(5))
    with pytest.raises(
        ModtoolsError, match="the 5 classes of y and the 8 examples in unlabelled; got 10"
    ):
        retrain(
            pixels(),
            few,
            output="class_mean",
            unlabelled=pool.subset(np.arange(8)),
            allow_missing_classes=True,
        )
