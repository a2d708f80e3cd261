"""How often the examples of a lazy Dataset are read: once a network, and once to know the rows."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import modtools as mt
from modtools.exceptions import ModtoolsError

N_ROWS = 40


class Lazy(torch.utils.data.Dataset):
    """Pairs (input, label) that are made when asked for, each reading counted."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.targets = np.arange(N_ROWS) % 2
        self.rows = (rng.normal(size=(N_ROWS, 6)) + self.targets[:, None]).astype(np.float32)
        self.reads = Counter()

    def __len__(self):
        return N_ROWS

    def __getitem__(self, row):
        self.reads[row] += 1
        return torch.from_numpy(self.rows[row]), int(self.targets[row])


def networks(*names):
    return [mt.PretrainedModule(nn.Linear(6, 5), name=name) for name in names]


def rank(train, test, folder):
    mt.rank_modules(networks("a", "b"), train)


def rank_with_a_cache(train, test, folder):
    mt.rank_modules(networks("a", "b"), train, cache=folder)
    mt.rank_modules(networks("a", "b"), test, cache=folder)


def race(train, test, folder):
    mt.race_modules(networks("a", "b"), train, look_every=10)


def race_by_halving(train, test, folder):
    mt.race_modules(networks("a", "b"), train, mode="halving", look_every=10, passes=0.9)


def select(train, test, folder):
    mt.select_modules(networks("a", "b"), train)


def study(train, test, folder):
    mt.label_efficiency(
        networks("a", "b"), train, test, n_labels=[4], repeats=1, allow_overlap=True
    )


def study_without_shared_rows(train, test, folder):
    mt.label_efficiency(networks("a", "b"), train, test, n_labels=[4], repeats=1)


def study_in_a_folder(train, test, folder):
    mt.label_efficiency(
        networks("a", "b"), train, test, n_labels=[4], repeats=1, folder=folder, allow_overlap=True
    )


def space(train, test, folder):
    mt.task_space(networks("a", "b"), [train, test])


def retrain_and_test(train, test, folder):
    mt.retrain(networks("a")[0], train).accuracy(test)


def retrain_with_a_pool(train, test, folder):
    mt.retrain(networks("a")[0], train, output="class_mean", unlabelled=test)


def score(train, test, folder):
    mt.score(mt.extract(networks("a")[0], train), train.labels)


# Two networks once each; beside it once where rows are to be recognised.
READS = {
    rank: (2, 0),
    rank_with_a_cache: (3, 3),
    race: (2, 0),
    race_by_halving: (2, 0),
    select: (2, 0),
    study: (2, 2),
    study_without_shared_rows: (3, 3),
    study_in_a_folder: (3, 3),
    space: (2, 2),
    retrain_and_test: (2, 2),
    retrain_with_a_pool: (2, 1),
    score: (1, 0),
}


@pytest.mark.parametrize("use", READS, ids=lambda use: use.__name__)
def test_each_example_is_read_once_a_network_and_once_to_be_recognised(use, tmp_path):
    datasets = Lazy(0), Lazy(1)
    tasks = [mt.Task(part, name=f"task {place}") for place, part in enumerate(datasets)]
    use(*tasks, tmp_path)
    most = tuple(max(part.reads.values(), default=0) for part in datasets)
    assert all(found <= wanted for found, wanted in zip(most, READS[use], strict=True)), most


def test_targets_that_read_the_dataset_are_asked_for_once():
    class Counting(Lazy):
        @property
        def targets(self):
            self.n_asked += 1
            return self.labels

        @targets.setter
        def targets(self, labels):
            self.labels, self.n_asked = labels, 0

    dataset = Counting(0)
    dataset.n_asked = 0
    mt.Task(dataset)
    assert dataset.n_asked == 1
    assert not dataset.reads


def test_names_of_a_frame_or_series_make_no_task_of_it():
    labels = pd.Series(np.arange(20) % 2, name="encoded")
    candidates = {"a": np.random.default_rng(0).normal(size=(20, 3)), "b": np.eye(20)}
    assert mt.rank_modules(candidates, labels, by="ridge").settings["task"] == "these labels"
    assert mt.race_modules(candidates, labels, look_every=5).settings["task"] == "these labels"
    assert mt.select_modules(candidates, labels).settings["task"] == "these labels"
    with pytest.raises(ModtoolsError, match="networks read the inputs of a task, and labels alone"):
        mt.rank_modules(networks("a"), pd.DataFrame({"inputs": labels})["inputs"])
    with pytest.raises(ModtoolsError, match="tasks must be a list of Task or a dict"):
        mt.task_space(candidates, [labels, labels.rename("other")])
