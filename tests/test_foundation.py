"""The checks, the warning, the progress bar: every message by its text."""

import contextlib
import io
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from modtools import _progress
from modtools._checks import (
    check_choice,
    check_features,
    check_fraction,
    check_integer,
    check_lengths,
    check_positive,
    check_probabilities,
    did_you_mean,
    raise_if_not_finite,
    rows_per_block,
    to_numpy,
)
from modtools._progress import quiet, track
from modtools.exceptions import WARNING_CODES, ModtoolsError, ModtoolsWarning, warn


def refusal(check, *arguments, **options):
    with pytest.raises(ModtoolsError) as caught:
        check(*arguments, **options)
    return str(caught.value)


# exceptions


def test_the_error_is_a_value_error_and_the_warning_a_user_warning():
    assert issubclass(ModtoolsError, ValueError)
    assert issubclass(ModtoolsWarning, UserWarning)


@pytest.mark.parametrize("code", WARNING_CODES)
def test_a_warning_starts_with_its_code_and_points_at_the_caller(code):
    def door():
        warn(code, "read something else.")

    with pytest.warns(ModtoolsWarning) as caught:
        door()
    assert str(caught[0].message) == f"{code}: read something else."
    assert caught[0].filename == __file__


def test_codes_are_numbered_and_explained():
    assert list(WARNING_CODES) == [f"MT{n:03}" for n in range(1, len(WARNING_CODES) + 1)]
    assert all(WARNING_CODES.values())


def test_an_unknown_code_is_a_bug():
    with warnings.catch_warnings(), pytest.raises(KeyError, match="MT999"):
        warn("MT999", "?")


# conversion


def test_arrays_pass_to_numpy_without_a_copy():
    array = np.arange(3.0)
    assert to_numpy(array) is array
    assert to_numpy([1, 2]).tolist() == [1, 2]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int32])
def test_tensors_of_any_dtype_become_arrays(dtype):
    tensor = torch.tensor([1, 2]).to(dtype)
    assert to_numpy(tensor).tolist() == [1, 2]


def test_tensors_with_gradient_become_arrays_and_stay_as_they_are():
    tensor = torch.ones(2, requires_grad=True)
    assert to_numpy(tensor).tolist() == [1, 1]
    assert tensor.requires_grad


@given(st.integers(0, 10**9), st.integers(1, 16))
def test_a_block_has_a_row_and_about_eight_megabytes(n_features, itemsize):
    rows = rows_per_block(n_features, itemsize)
    assert rows >= 1
    assert rows == 1 or rows * n_features * itemsize <= 8 << 20


# names


@pytest.mark.parametrize(
    ("name", "clause"),
    [
        ("log_me", '; did you mean "logme"?'),
        ("hscor", '; did you mean "hscore"?'),
        ("nsme", '; did you mean "nmse"?'),
        ("zzz", ""),
    ],
)
def test_near_names_are_suggested(name, clause):
    assert did_you_mean(name, ["logme", "hscore", "nmse", "leep"]) == clause


def test_two_near_names_are_both_suggested():
    assert did_you_mean("hsi", ["hsic", "nhsic"]) == '; did you mean "hsic" or "nhsic"?'


def test_choices():
    assert check_choice("max", ["mean", "max"], name="pooling") == "max"
    assert refusal(check_choice, "sum", ["mean", "max"], name="pooling") == (
        'unknown pooling "sum". Known: mean, max.'
    )
    assert refusal(check_choice, "maxx", ["mean", "max"], name="pooling", hint="See --list.") == (
        'unknown pooling "maxx"; did you mean "max"? See --list.'
    )


# numbers


@pytest.mark.parametrize(
    ("check", "value", "result"),
    [
        (check_integer, 3, 3),
        (check_integer, np.int64(1), 1),
        (check_positive, 2, 2.0),
        (check_positive, np.float32(0.5), 0.5),
        (check_fraction, 0.25, 0.25),
    ],
)
def test_good_numbers_become_plain_ones(check, value, result):
    checked = check(value, name="k")
    assert checked == result
    assert type(checked) is type(result)


def test_the_minimum_can_be_moved():
    assert check_integer(0, name="seed", minimum=0) == 0


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (check_integer, 0, "k must be a whole number of at least 1; got 0."),
        (check_integer, 1.0, "k must be a whole number of at least 1; got 1.0."),
        (check_integer, True, "k must be a whole number of at least 1; got True."),
        (check_integer, "2", "k must be a whole number of at least 1; got '2'."),
        (check_positive, 0, "k must be a finite number above 0; got 0."),
        (check_positive, float("nan"), "k must be a finite number above 0; got nan."),
        (check_positive, float("inf"), "k must be a finite number above 0; got inf."),
        (check_positive, True, "k must be a finite number above 0; got True."),
        (check_positive, None, "k must be a finite number above 0; got None."),
        (check_fraction, 0, "k must lie strictly between 0 and 1; got 0."),
        (check_fraction, 1.0, "k must lie strictly between 0 and 1; got 1.0."),
        (check_fraction, float("nan"), "k must lie strictly between 0 and 1; got nan."),
        (check_fraction, "0.5", "k must lie strictly between 0 and 1; got '0.5'."),
    ],
)
def test_bad_numbers_are_named(check, value, message):
    assert refusal(check, value, name="k") == message


@pytest.mark.parametrize("check", [check_positive, check_fraction])
def test_a_number_beyond_all_floats_is_refused(check):
    assert refusal(check, 10**309, name="k").endswith(f"; got {10**309}.")


def test_lengths():
    assert check_lengths(features=[1, 2], labels="ab") == 2
    assert refusal(check_lengths, features=[1, 2], labels=[1]) == (
        "features and labels must have one row each per example; features has 2, labels has 1."
    )


# features


@pytest.mark.parametrize("dtype", ["float32", "float64", ">f4", ">f8"])
def test_features_keep_their_precision_in_native_order(dtype):
    checked = check_features(np.eye(2, dtype=dtype))
    assert checked.dtype == np.dtype(dtype).newbyteorder("=")
    assert checked.dtype.isnative
    np.testing.assert_array_equal(checked, np.eye(2))


def test_good_features_are_not_copied():
    features = np.eye(3, dtype=np.float32)
    assert np.shares_memory(check_features(features), features)


@pytest.mark.parametrize(
    ("dtype", "result"),
    [
        ("float16", "float32"),
        ("uint8", "float32"),
        ("int16", "float32"),
        ("int32", "float64"),
        ("int64", "float64"),
        ("bool", "float32"),
    ],
)
def test_other_features_go_to_a_float_that_holds_them(dtype, result):
    assert check_features(np.eye(2, dtype=dtype)).dtype == result


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            [1.0, 2.0],
            "features must have shape (n_samples, n_features); got (2,). "
            "Reshape or pool them to one row per example.",
        ),
        (
            np.zeros((2, 3, 4)),
            "features must have shape (n_samples, n_features); got (2, 3, 4). "
            "Reshape or pool them to one row per example.",
        ),
        ([["a"], ["b"]], "features must be real numbers; got dtype <U1."),
        ([[1j], [2]], "features must be real numbers; got dtype complex128."),
        (np.zeros((1, 3)), "features must have at least 2 rows and 1 column; got (1, 3)."),
        (np.zeros((3, 0)), "features must have at least 2 rows and 1 column; got (3, 0)."),
        (np.zeros((0, 3)), "features must have at least 2 rows and 1 column; got (0, 3)."),
    ],
)
def test_bad_features_are_named(features, message):
    assert refusal(check_features, features) == message


def test_the_least_number_of_rows_can_be_moved():
    assert check_features([[1.0]], minimum_rows=1).shape == (1, 1)


ADVICE = "Drop these rows or check the module's precision (float16 overflows above 65504)."


def with_bad(**bad):
    features = np.zeros((20, 4), dtype=np.float32)
    for name, places in bad.items():
        for place in places:
            features[place] = {"nan": np.nan, "inf": np.inf, "minus": -np.inf}[name]
    return features


@pytest.mark.parametrize(
    ("features", "found"),
    [
        (with_bad(nan=[(17, 2)]), "1 NaN in 1 row, first at row 17, column 2."),
        (with_bad(nan=[(3, 1), (3, 2), (9, 0)]), "3 NaN in 2 rows, first at row 3, column 1."),
        (with_bad(inf=[(0, 3)], minus=[(5, 0)]), "2 infinite in 2 rows, first at row 0, column 3."),
        (
            with_bad(nan=[(2, 2)], inf=[(2, 0)]),
            "1 NaN and 1 infinite in 1 row, first at row 2, column 0.",
        ),
        (np.array([0.0, np.nan]), "1 NaN in 1 row, first at row 1."),
    ],
)
def test_values_that_are_not_finite_are_counted_and_located(features, found):
    before = features.copy()
    assert refusal(raise_if_not_finite, features) == f"features must be finite: {found} {ADVICE}"
    np.testing.assert_array_equal(features, before)


def test_rows_are_numbered_across_blocks(monkeypatch):
    monkeypatch.setattr("modtools._checks.rows_per_block", lambda *_: 3)
    message = refusal(raise_if_not_finite, with_bad(nan=[(7, 1), (19, 0)]))
    assert "2 NaN in 2 rows, first at row 7, column 1." in message


def test_finite_values_pass():
    raise_if_not_finite(np.float32([[3e38, -3e38]]))
    raise_if_not_finite(np.zeros((0, 3)))


# probabilities


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_that_sum_to_one_pass(dtype):
    rows = np.array([[0.25, 0.75], [1, 0]], dtype=dtype)
    np.testing.assert_array_equal(check_probabilities(rows), rows)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (
            [[0.5, 0.5], [2.0, -1.0], [3, 4]],
            "row 1 sums to 1 with minimum -1 (2 such rows)",
        ),
        ([[0.5, 0.5], [0.5, 0.4]], "row 1 sums to 0.9 with minimum 0.4 (1 such rows)"),
    ],
)
def test_logits_are_recognised(rows, found):
    assert refusal(check_probabilities, rows) == (
        f"source_probabilities must be non-negative with rows that sum to 1; {found}. "
        "If these are logits, apply a softmax first."
    )


def test_probabilities_must_be_finite():
    assert refusal(check_probabilities, [[0.5, 0.5], [np.nan, 1]]).startswith(
        "source_probabilities must be finite: 1 NaN in 1 row, first at row 1, column 0."
    )


# progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@contextlib.contextmanager
def terminal():
    """Let stderr be a terminal; pytest puts its own stderr back between fixture and test."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(Terminal()) as stream:
        patch.delenv("MODTOOLS_PROGRESS", raising=False)
        patch.setenv("TERM", "xterm")
        yield stream


def test_items_come_in_order_and_silently_without_a_terminal(capfd):
    assert list(track("abc", "reading")) == ["a", "b", "c"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("total", [None, 3])
def test_a_terminal_shows_what_is_done(total):
    items = [1, 2, 3] if total is None else iter([1, 2, 3])
    with terminal() as stream:
        assert list(track(items, "extracting", total=total)) == [1, 2, 3]
    assert "extracting" in stream.getvalue()
    assert "3/3" in stream.getvalue()


def test_quiet_and_the_environment_switch_the_bar_off(monkeypatch):
    with terminal() as stream:
        with quiet():
            assert list(track([1, 2], "extracting")) == [1, 2]
        monkeypatch.setenv("MODTOOLS_PROGRESS", "0")
        assert list(track([1, 2], "extracting")) == [1, 2]
        monkeypatch.delenv("MODTOOLS_PROGRESS")
        assert list(track([1], "extracting")) == [1]
    assert stream.getvalue() == ""


def test_quiet_ends_with_its_block_even_after_an_error():
    with pytest.raises(RuntimeError, match="stop"), quiet(), quiet():
        raise RuntimeError("stop")
    assert _progress._n_quiet == 0


def test_quiet_blocks_of_several_threads_may_end_in_any_order():
    first, second = quiet(), quiet()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    with terminal() as stream:
        list(track([1, 2], "too early"))
        second.__exit__(None, None, None)
        list(track([1, 2], "extracting"))
    assert "too early" not in stream.getvalue()
    assert "extracting" in stream.getvalue()


def test_the_bar_ends_when_the_work_fails():
    def work():
        yield 1
        raise RuntimeError("stop")

    with terminal() as stream:
        with pytest.raises(RuntimeError, match="stop"):
            list(track(work(), "extracting", total=2))
        assert list(track([1, 2], "again")) == [1, 2]
    assert "again" in stream.getvalue()
