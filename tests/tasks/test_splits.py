"""Splits and few-label subsets: the promises about counts, nesting, groups and seeds."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from modtools.exceptions import ModtoolsError
from modtools.tasks import Task, load_task

CLASS_COUNTS = st.lists(st.integers(1, 30), min_size=1, max_size=8).filter(lambda c: max(c) > 1)
FRACTIONS = st.floats(0.05, 0.95)
SEEDS = st.integers(0, 99)


def task_with(counts, **options):
    labels = np.repeat(np.arange(len(counts)) * 3 - 4, counts)
    return Task(np.arange(len(labels)), labels, **options)


def by_hand_largest_remainder(counts, n):
    """Proportional seats without ties or minimum, by sorting the remainders."""
    share = n * np.asarray(counts) / np.sum(counts)
    seats = np.floor(share).astype(int)
    order = np.argsort(seats - share, kind="stable")
    seats[order[: n - seats.sum()]] += 1
    return seats


@given(CLASS_COUNTS, FRACTIONS, SEEDS)
def test_split_divides_rows_and_each_class_to_within_one(counts, fraction, seed):
    task = task_with(counts)
    train, test = task.split(test_fraction=fraction, seed=seed)
    assert sorted([*train.rows, *test.rows]) == list(range(len(task)))
    assert (np.diff(train.rows) > 0).all()
    assert (np.diff(test.rows) > 0).all()
    counts = np.asarray(counts)
    in_test = test.encoded.counts()
    assert (in_test[counts == 1] == 0).all()
    assert (train.encoded.counts() > 0).all()
    divisible = counts > 1
    assert (np.abs(in_test - fraction * counts)[divisible] <= 1).all()


def test_split_keeps_the_total_where_classes_leave_remainders():
    task = task_with([3] * 8)
    assert {len(task.split(test_fraction=0.5, seed=seed)[1]) for seed in range(5)} == {12}


def test_remainders_fall_to_different_classes_by_seed():
    task = task_with([3, 3])
    counts = {
        tuple(task.split(test_fraction=0.5, seed=seed)[1].encoded.counts()) for seed in range(20)
    }
    assert counts == {(1, 2), (2, 1)}


def test_same_seed_same_split_other_seed_other_split(digits):
    first, again, other = (digits.split(0.4, seed=seed)[1].rows for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_split_of_a_subset_stays_inside_it():
    part = task_with([20, 20]).subset(slice(10, 30))
    train, test = part.split()
    assert sorted([*train.rows, *test.rows]) == list(range(10, 30))


@given(st.integers(2, 60), FRACTIONS, SEEDS)
def test_regression_is_split_at_random_with_the_right_size(n, fraction, seed):
    task = Task(np.arange(n), np.linspace(0, 1, n))
    train, test = task.split(test_fraction=fraction, seed=seed)
    assert len(test) == min(max(round(fraction * n), 1), n - 1)
    assert len(train) + len(test) == n


def test_multilabel_columns_are_divided_about_evenly():
    labels = (np.random.default_rng(0).random((400, 6)) < [0.5, 0.4, 0.3, 0.2, 0.1, 0.05]).astype(
        int
    )
    _, test = Task(np.arange(400), labels).split(test_fraction=0.3, seed=1)
    assert abs(len(test) - 120) <= 4
    assert (np.abs(test.labels.sum(axis=0) - 0.3 * labels.sum(axis=0)) <= 4).all()


@given(CLASS_COUNTS, st.integers(2, 12), FRACTIONS, SEEDS)
def test_groups_stay_together(counts, n_groups, fraction, seed):
    rows = sum(counts)
    groups = np.random.default_rng(seed).integers(n_groups, size=rows)
    task = task_with(counts, groups=groups)
    try:
        train, test = task.split(test_fraction=fraction, seed=seed)
    except ModtoolsError as error:
        assert "groups is the only one that holds some class" in str(error)  # noqa: PT017
        return
    assert not set(train.groups) & set(test.groups)
    assert len(train) + len(test) == rows
    assert set(train.labels) == set(task.labels)


def test_groups_are_divided_as_evenly_as_they_allow():
    rng = np.random.default_rng(3)
    groups = rng.integers(100, size=1000)
    labels = rng.choice([0, 1, 2], p=[0.6, 0.3, 0.1], size=1000)
    _, test = Task(np.arange(1000), labels, groups=[f"g{group}" for group in groups]).split(0.25)
    assert abs(len(test) - 250) <= 12
    assert (np.abs(test.encoded.counts() / np.bincount(labels) - 0.25) < 0.03).all()


def test_a_group_for_each_row_is_an_ordinary_split():
    task = Task(np.arange(40), np.repeat([0, 1], 20), groups=np.arange(40))
    assert task.split(0.5)[1].encoded.counts().tolist() == [10, 10]


def test_groups_of_the_test_rows_are_as_large_as_the_others():
    rng = np.random.default_rng(0)
    sizes = np.rint(rng.pareto(1.5, size=400) + 1).astype(int)
    groups = np.repeat(np.arange(400), sizes)
    task = Task(np.arange(len(groups)), rng.integers(3, size=len(groups)), groups=groups)
    ratios = []
    for seed in range(5):
        train, test = task.split(0.5, seed=seed)
        means = [len(part) / len(np.unique(part.groups)) for part in (train, test)]
        ratios.append(means[1] / means[0])
    assert 0.7 < np.mean(ratios) < 1.4


@pytest.mark.parametrize(("sizes", "fraction"), [([9, 1], 0.5), ([9, 1], 0.97), ([5, 5], 0.1)])
def test_few_groups_leave_neither_side_empty(sizes, fraction):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    train, test = Task(np.arange(10), np.linspace(0, 1, 10), groups=groups).split(fraction)
    assert len(train)
    assert len(test)


@given(
    st.lists(st.integers(6, 30), min_size=1, max_size=6),
    st.integers(1, 5),
    st.integers(1, 5),
    SEEDS,
)
def test_few_labels_are_balanced_and_nested(counts, less, more, seed):
    less, more = sorted((less, more))
    task = task_with(counts)
    small, large = (task.few_labels(per_class=k, seed=seed) for k in (less, more))
    assert (small.encoded.counts() == less).all()
    assert small.rows.tolist() == large.rows[: len(small)].tolist()
    assert len(set(large.rows)) == len(large)
    assert len(counts) * more + len(task.complement(large)) == len(task)


def test_any_first_part_of_few_labels_is_balanced(digits):
    few = digits.few_labels(per_class=4, seed=2)
    for n in range(1, len(few) + 1):
        counts = np.bincount(few.labels[:n], minlength=10)
        assert counts.max() - counts.min() <= 1


@given(CLASS_COUNTS, st.data(), SEEDS)
def test_n_labels_are_proportional(counts, data, seed):
    n = data.draw(st.integers(1, sum(counts)))
    few = task_with(counts).few_labels(n=n, seed=seed)
    taken = few.encoded.counts()
    assert len(few) == len(set(few.rows)) == n
    assert (taken <= counts).all()
    if n >= len(counts):
        assert (taken > 0).all()
    if (np.floor(n * np.array(counts) / sum(counts)) > 0).all():
        expected = by_hand_largest_remainder(counts, n)
        assert (np.abs(taken - n * np.array(counts) / sum(counts)) < 1).all()
        assert taken.sum() == expected.sum()


def test_n_labels_by_largest_remainder_with_at_least_one_each():
    assert task_with([50, 30, 20]).few_labels(n=11).encoded.counts().tolist() == [6, 3, 2]
    assert task_with([97, 2, 1]).few_labels(n=3).encoded.counts().tolist() == [1, 1, 1]
    assert task_with([60, 38, 1, 1]).few_labels(n=10).encoded.counts().tolist() == [5, 3, 1, 1]
    assert task_with([4, 3]).few_labels(n=7).encoded.counts().tolist() == [4, 3]


def test_n_below_the_number_of_classes_takes_different_classes():
    task = task_with([10] * 5)
    few = [task.few_labels(n=2, seed=seed).labels for seed in range(10)]
    assert all(len(set(labels)) == 2 for labels in few)
    assert len({tuple(sorted(labels)) for labels in few}) > 1


def test_seeds_give_different_few_labels(digits):
    first, again, other = (digits.few_labels(per_class=3, seed=seed).rows for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("labels", [np.linspace(0, 1, 9), np.eye(9, 4, dtype=int)])
def test_n_labels_without_classes_are_drawn_at_random(labels):
    few = Task(np.arange(9), labels).few_labels(n=4, seed=5)
    assert len(set(few.rows)) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "few_labels needs per_class= or n=, exactly one of the two."),
        ({"n": 3, "per_class": 1}, "few_labels needs per_class= or n=, exactly one of the two."),
        ({"n": 0}, "n must be a whole number of at least 1; got 0."),
        ({"n": 14}, "n must be at most the 13 examples of shoes; got 14."),
        ({"per_class": 0}, "per_class must be a whole number of at least 1; got 0."),
        ({"n": 3, "seed": -1}, "seed must be a whole number of at least 0; got -1."),
        (
            {"per_class": 5},
            'class "ankle boot" has 3 labelled examples, few_labels(per_class=5) needs 5. '
            "Use per_class=3 or n=.",
        ),
        (
            {"per_class": 11},
            'class "ankle boot" has 3 labelled examples, few_labels(per_class=11) needs 11 '
            "(1 more such). Use per_class=3 or n=.",
        ),
    ],
)
def test_bad_few_labels_are_named(options, message):
    task = Task(np.arange(13), ["ankle boot"] * 3 + ["bag"] * 10, name="shoes")
    with pytest.raises(ModtoolsError) as caught:
        task.few_labels(**options)
    assert str(caught.value) == message


def test_a_class_without_rows_is_named_too():
    with pytest.raises(ModtoolsError) as caught:
        Task(np.arange(2), ["a", "b"], classes=["a", "b", "c"]).few_labels(per_class=1)
    assert str(caught.value) == (
        'class "c" has 0 labelled examples, few_labels(per_class=1) needs 1. Use n=.'
    )


def test_per_class_without_classes_is_refused():
    with pytest.raises(ModtoolsError) as caught:
        Task(np.arange(2), [0.5, 1]).few_labels(per_class=1)
    assert str(caught.value) == (
        "few_labels(per_class=) needs one class per example; this task is of kind regression. "
        "Use n=."
    )


@pytest.mark.parametrize(
    ("task", "fraction", "message"),
    [
        (load_task("digits"), 1.0, "test_fraction must lie strictly between 0 and 1; got 1.0."),
        (
            Task([1, 2, 3], ["a", "b", "c"]),
            0.5,
            "split needs a class with at least two examples, because every class keeps one to "
            "train on; got 3 examples in 3 classes.",
        ),
        (
            Task([1, 2, 3, 4], ["a", "a", "b", "b"], groups=[0, 0, 1, 1]),
            0.5,
            "split needs groups that share classes: each of the 2 groups is the only one that "
            "holds some class, and must stay to train on. Use more groups, or none.",
        ),
    ],
)
def test_bad_splits_are_named(task, fraction, message):
    with pytest.raises(ModtoolsError) as caught:
        task.split(test_fraction=fraction)
    assert str(caught.value) == message


def test_the_complement_of_something_else_is_refused():
    task = Task(np.arange(6), list("aabbcc"))
    with pytest.raises(ModtoolsError, match="complement needs a subset of this task; got None"):
        task.complement(None)
