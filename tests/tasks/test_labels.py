"""Labels of every accepted form, and the text of each refusal."""

import numpy as np
import pandas as pd
import pytest
import torch

from modtools.exceptions import ModtoolsError
from modtools.tasks import encode_labels


@pytest.mark.parametrize(
    ("labels", "classes", "codes"),
    [
        pytest.param([3, 7, 9, 3], [3, 7, 9], [0, 1, 2, 0], id="gaps"),
        pytest.param([-1, 5, -1], [-1, 5], [0, 1, 0], id="negative"),
        pytest.param(["b", "a", "b"], ["a", "b"], [1, 0, 1], id="str"),
        pytest.param([True, False], [False, True], [1, 0], id="bool"),
        pytest.param(np.array([2, 1], dtype=">i4"), [1, 2], [1, 0], id="big-endian"),
        pytest.param(np.array(["x", "y"], dtype=object), ["x", "y"], [0, 1], id="objects"),
        pytest.param(pd.Series(["x", "y", "x"]), ["x", "y"], [0, 1, 0], id="pandas"),
        pytest.param(pd.Series(["x", "y"], dtype="category"), ["x", "y"], [0, 1], id="category"),
        pytest.param(torch.tensor([4, 2]), [2, 4], [1, 0], id="tensor"),
        pytest.param(np.array([1, 300], dtype=np.uint16), [1, 300], [0, 1], id="uint16"),
    ],
)
def test_classes_are_sorted_values_and_codes_point_at_them(labels, classes, codes):
    encoded = encode_labels(labels)
    assert encoded.kind == "classification"
    assert encoded.classes.tolist() == classes
    assert encoded.codes.tolist() == codes
    assert encoded.n_classes == len(classes)
    assert len(encoded) == len(codes)


def test_given_classes_may_be_absent_and_unsorted():
    encoded = encode_labels(["b", "a"], classes=["c", "b", "a"])
    assert encoded.classes.tolist() == ["a", "b", "c"]
    assert encoded.counts().tolist() == [1, 1, 0]


def test_binary_matrix_is_multilabel():
    encoded = encode_labels([[1, 0, 1], [0, 0, 1]])
    assert encoded.kind == "multilabel"
    assert encoded.counts().tolist() == [1, 0, 2]
    np.testing.assert_array_equal(encoded.target_matrix(), [[1, 0, 1], [0, 0, 1]])


@pytest.mark.parametrize("labels", [[0.5, 1.5], np.float16([1, 2]), torch.tensor([1.0, 2.0])])
def test_floats_are_regression_targets(labels):
    encoded = encode_labels(labels)
    assert encoded.kind == "regression"
    assert encoded.target_matrix().shape == (2, 1)
    assert encoded.target_matrix().dtype == np.float64


def test_float_matrix_is_regression_with_several_targets():
    assert encode_labels([[0.5, 1], [2, 3]]).n_classes == 2


def test_kind_overrides_the_inference():
    assert encode_labels([1.0, 2.0, 1.0], kind="classification").codes.tolist() == [0, 1, 0]
    assert encode_labels([1, 2, 3], kind="regression").target_matrix().tolist() == [[1], [2], [3]]


def test_one_hot_matrix_and_its_dtype():
    matrix = encode_labels(["b", "a", "b"]).target_matrix(np.float32)
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, [[0, 1], [1, 0], [0, 1]])


def test_take_keeps_the_classes():
    part = encode_labels([5, 6, 7]).take([1])
    assert part.classes.tolist() == [5, 6, 7]
    assert part.codes.tolist() == [1]
    assert encode_labels([0.5, 1.5]).take(slice(1, 2)).target_matrix().tolist() == [[1.5]]


def test_encoded_labels_pass_unchanged():
    encoded = encode_labels([1, 2])
    assert encode_labels(encoded) is encoded


def test_input_is_not_changed():
    labels = np.array([9, 3, 9])
    encode_labels(labels)
    assert labels.tolist() == [9, 3, 9]


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([], {}, "labels must not be empty; got none."),
        (
            ["cat", float("nan")],
            {},
            "labels must not be missing or infinite: 1 such, first at example 1. Drop the "
            "unlabelled examples, for example with task.subset(rows).",
        ),
        (
            ["a", None, None],
            {},
            "labels must not be missing or infinite: 2 such, first at example 1. Drop the "
            "unlabelled examples, for example with task.subset(rows).",
        ),
        (
            [1.0, float("inf")],
            {},
            "labels must not be missing or infinite: 1 such, first at example 1. Drop the "
            "unlabelled examples, for example with task.subset(rows).",
        ),
        (["a", 1], {}, "labels must be of one type; got int, str. Convert them to strings."),
        (
            [1, 2],
            {"classes": ["a", "b"]},
            "labels must be among classes=['a', 'b']; got 1 in example 0 (2 such). Add it to "
            "classes, or drop these examples.",
        ),
        (
            ["a", "z"],
            {"classes": ["a", "b"]},
            "labels must be among classes=['a', 'b']; got 'z' in example 1 (1 such). Add it to "
            "classes, or drop these examples.",
        ),
        (
            [0.5, 1],
            {"classes": [1, 2]},
            "classes= belongs to classification; these labels (dtype float64) are of kind "
            'regression. Leave classes out, or pass kind="classification".',
        ),
        (
            [1, 2],
            {"kind": "regresion"},
            'unknown kind of task "regresion"; did you mean "regression"? Known: classification, '
            "multilabel, regression.",
        ),
        (
            ["a", "b"],
            {"kind": "regression"},
            "labels of a regression task must be numbers; got dtype <U1.",
        ),
        (
            [[1, 2], [3, 4]],
            {},
            "labels with two dimensions must be a 0/1 matrix (multilabel) or floats (regression); "
            "got dtype int64 with values outside 0 and 1.",
        ),
        (
            [0, 1],
            {"kind": "multilabel"},
            "labels of a multilabel task must be a 0/1 matrix (n_samples, n_labels); got shape "
            "(2,), dtype int64.",
        ),
        (
            [[0, 1], [1, 0]],
            {"kind": "classification"},
            "labels of a classification task must have shape (n_samples,); got (2, 2).",
        ),
        (
            [[1], [2]],
            {},
            "labels must have shape (n_samples,), or (n_samples, n_targets) with at least two "
            "columns; got (2, 1). For a single column use labels.ravel().",
        ),
        (
            [1j, 2],
            {},
            "labels must be integers, strings, booleans or floats; got dtype complex128.",
        ),
    ],
)
def test_bad_labels_are_named(labels, options, message):
    with pytest.raises(ModtoolsError) as caught:
        encode_labels(labels, **options)
    assert str(caught.value) == message


def test_ragged_labels_are_refused():
    with pytest.raises(ModtoolsError, match=r"^labels must have rows of one length; "):
        encode_labels([[1, 2], [3]])


def test_encoded_labels_are_not_encoded_again():
    encoded = encode_labels(["a", "b"])
    assert encode_labels(encoded) is encoded
    assert encode_labels(encoded, kind="classification") is encoded
    for options in ({"classes": ["a", "b", "c"]}, {"kind": "regression"}):
        with pytest.raises(ModtoolsError, match="labels are encoded already, as classification"):
            encode_labels(encoded, **options)
