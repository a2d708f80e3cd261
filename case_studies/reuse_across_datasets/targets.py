"""The target tasks of the study: which images, which labels, which rows to learn and to test on."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

import modtools as mt

TEST_FRACTION = 1 / 3
FASHION_PER_CLASS = 600
SPLIT_SEED = 1


@dataclass(frozen=True)
class Target:
    """One task on one set of images.

    Attributes
    ----------
    images : {"digits", "fashion"}
        The set of images.
    classes : tuple of int
        Classes of the set that belong to the task; the other rows are left out.
    groups : tuple of int, optional
        New label of each of these classes.
    shuffled : bool
        Whether labels are permuted: the control, on which all modules are alike.
    """

    name: str
    images: str
    classes: tuple[int, ...]
    groups: tuple[int, ...] = ()
    shuffled: bool = False


ALL = tuple(range(10))
TARGETS = (
    Target("digits", "digits", ALL),
    Target("digits-parity", "digits", ALL, groups=(0, 1) * 5),
    Target("odd-digits", "digits", (1, 3, 5, 7, 9)),
    Target("fashion", "fashion", ALL),
    Target("tops", "fashion", (0, 2, 4, 6)),
    Target("shoes-and-bag", "fashion", (5, 7, 8, 9)),
    Target("long-clothes", "fashion", (1, 3, 4)),
    Target("upper-body", "fashion", (0, 2, 3, 4, 6)),
    Target("shuffled", "fashion", ALL, shuffled=True),
)
CONTROLS = tuple(target.name for target in TARGETS if target.shuffled)


@cache
def images(name: str) -> mt.Task:
    """Return a set of images that no candidate module was trained on.

    Fashion-MNIST gives rows of its test split that are not in the training split too.
    """
    if name == "digits":
        return mt.load_task("digits")
    test, train = (mt.load_task("fashion-mnist", split=split) for split in ("test", "train"))
    apart = test.subset(np.setdiff1d(np.arange(len(test)), test.overlap(train)))
    return apart.few_labels(per_class=FASHION_PER_CLASS, seed=0)


@cache
def rows_of(target: Target) -> tuple[mt.Task, mt.Task]:
    """Return the examples to label and those to test on; inputs are row numbers."""
    labels = images(target.images).labels
    rows = np.flatnonzero(np.isin(labels, target.classes))
    own = labels[rows]
    if target.groups:
        own = np.array(target.groups)[np.searchsorted(target.classes, own)]
    if target.shuffled:
        own = np.random.default_rng(0).permutation(own)
    task = mt.Task(rows[:, None], own, name=target.name)
    return task.split(test_fraction=TEST_FRACTION, seed=SPLIT_SEED)


@dataclass(frozen=True)
class Draw:
    """One random subset of labels: what a user would have, and the test examples."""

    few: NDArray[np.intp]
    few_labels: NDArray[np.intp]
    pool: NDArray[np.intp]
    test: NDArray[np.intp]
    test_labels: NDArray[np.intp]


def draw(target: Target, per_class: int, seed: int) -> Draw:
    """Return a random subset of so many labels per class; subsets of one seed are nested."""
    train, test = rows_of(target)
    few = train.few_labels(per_class=per_class, seed=seed)
    rest = np.setdiff1d(train.inputs[:, 0], few.inputs[:, 0])
    return Draw(few.inputs[:, 0], few.labels, rest, test.inputs[:, 0], test.labels)
