"""A labelled task: inputs with labels, and how to split them."""

import sys
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modtools._checks import (
    check_choice,
    check_fraction,
    check_groups,
    check_integer,
    check_lengths,
)
from modtools._escape import terminal_text
from modtools._results import html_of
from modtools.exceptions import ModtoolsError
from modtools.tasks._fingerprint import iter_row_digests, label_values, task_digest
from modtools.tasks._inputs import (
    Rows,
    as_inputs,
    check_rows,
    describe,
    is_dataset,
    is_forward,
    iter_blocks,
    read_labels,
    take,
)
from modtools.tasks._labels import Kind, Labels, encode_labels
from modtools.tasks._splits import choose_few, choose_test

__all__ = ["Task", "group_codes"]


class _Root:
    """The inputs of a whole task, shared by its subsets, and the hashes of the examples."""

    has_inputs = True

    def __init__(self, inputs: Any) -> None:
        self.inputs = inputs

    @cached_property
    def _digests(self) -> NDArray[np.str_]:
        return np.full(len(self.inputs), "", dtype="U64")

    def row_digests(self, rows: Rows) -> NDArray[np.str_]:
        """Return the hash of each example; each is read and hashed once, when first needed."""
        missing = np.unique(rows[self._digests[rows] == ""])
        if missing.size:
            self._digests[missing] = list(iter_row_digests(iter_blocks(self.inputs, missing)))
        return self._digests[rows]

    def describe(self) -> str:
        """Return the type and shape of one example as text."""
        return describe(self.inputs)


class _LabelsAlone:
    """Takes the place of the inputs of a task that has only labels."""

    has_inputs = False

    @property
    def inputs(self) -> Any:
        """Raise: no inputs were given."""
        raise ModtoolsError(
            "labels that came alone have no inputs to read: pass a Task, for example "
            "Task(inputs, labels)."
        )

    def row_digests(self, rows: Rows) -> NDArray[np.str_]:
        """Raise: there are no inputs to hash."""
        digests: NDArray[np.str_] = self.inputs
        return digests

    def describe(self) -> str:
        """Return that there are no inputs."""
        return "labels alone"


class Task:
    """Inputs with labels: the data set on which modules are scored and output modules trained.

    A task neither copies nor changes its inputs and labels. Subsets of it (`split`, `few_labels`,
    `subset`, `complement`) share its inputs and store their row numbers.

    Parameters
    ----------
    inputs : array, tensor, list of str or torch Dataset, of n_samples examples
        What a module reads. Images stay as they are (uint8) until a module preprocesses them. A
        Dataset is anything with a length whose items are pairs (input, label); it should give the
        same input each time, for fingerprints and cached features to hold. Every network that runs
        over the task reads each of its items once; hashing the examples (for a cache, a study in a
        folder, shared examples of train and test, a retrained model) reads them once more.
    labels : array-like of shape (n_samples,) or (n_samples, n_targets), optional
        Integers, strings or booleans (classification), a 0/1 matrix (multilabel) or floats
        (regression). With a Dataset they may be left out: its `targets` are used, else the second
        part of every item.
    name : str, default="task"
        Name of the task in tables and pictures.
    kind : {"classification", "multilabel", "regression"}, optional
        Kind of task; inferred from the labels by default.
    classes : sequence, optional
        All label values of a classification task, where some may be absent from `labels`.
    groups : array-like of shape (n_samples,), optional
        Examples of one group (copies of one photo, images of one patient) stay together in `split`.

    Attributes
    ----------
    encoded : Labels
        The labels as codes or target columns.
    name : str
        As given.
    groups : ndarray of shape (n_samples,) or None
        As given.

    Examples
    --------
    >>> task = Task(np.zeros((6, 28, 28), dtype=np.uint8), list("aabbcc"), name="letters")
    >>> task
    Task(letters: 6 examples of uint8 (28, 28), classification, 3 classes)
    >>> train, test = task.split(test_fraction=0.5, seed=0)
    >>> len(train), len(test)
    (3, 3)
    """

    encoded: Labels
    name: str
    groups: NDArray[Any] | None
    _root: _Root | _LabelsAlone
    _rows: Rows | None  # None: the whole root, so that slices stay views

    def __init__(
        self,
        inputs: Any,
        labels: Any = None,
        *,
        name: str = "task",
        kind: Kind | None = None,
        classes: Sequence[Any] | None = None,
        groups: Any = None,
    ) -> None:
        inputs = as_inputs(inputs)
        if labels is None:
            labels = read_labels(inputs)
        self.encoded = encode_labels(labels, kind=kind, classes=classes)
        check_lengths(inputs=inputs, labels=self.encoded)
        self.groups = None if groups is None else check_groups(groups, len(self.encoded))
        if not isinstance(name, str):
            raise ModtoolsError(f"the name of a task must be text; got {name!r}.")
        self.name = name
        self._root = _Root(inputs)
        self._rows = None

    @classmethod
    def of(cls, task_or_labels: Any) -> "Task":
        """Return a task from a task, a torch Dataset, or labels without inputs.

        Only the type is tested: reading an attribute may load a whole Dataset, and a column of a
        frame may have any name.

        Parameters
        ----------
        task_or_labels : Task, torch Dataset, Labels or array-like of shape (n_samples,)
            A task is returned as it is. Labels alone make a task called "these labels" without
            inputs, on which cached features can be scored.

        Returns
        -------
        Task
            See `has_inputs`.

        Raises
        ------
        ModtoolsError
            A DataLoader, which gives batches and not examples, or labels of no known form.

        Examples
        --------
        >>> Task.of(Task(["good", "bad"], [1, 0], name="reviews")).name
        'reviews'
        >>> Task.of([1, 0, 1])
        Task(these labels: 3 examples of labels alone, classification, 2 classes)
        """
        if isinstance(task_or_labels, Task):
            return task_or_labels
        torch_data = sys.modules.get(
            "torch.utils.data"
        )  # a Dataset can only exist if this is imported
        if torch_data is not None and isinstance(task_or_labels, torch_data.Dataset):
            return cls(task_or_labels)
        if torch_data is not None and isinstance(task_or_labels, torch_data.DataLoader):
            raise ModtoolsError(
                "a DataLoader gives batches, not examples; pass Task(loader.dataset)."
            )
        task = object.__new__(cls)
        task.encoded = encode_labels(task_or_labels)
        task.name, task.groups = "these labels", None
        task._root, task._rows = _LabelsAlone(), None
        return task

    def __len__(self) -> int:
        return len(self.encoded)

    def __repr__(self) -> str:
        what = self._root.describe()
        count = self.encoded.n_classes
        noun = {"classification": "class", "multilabel": "label", "regression": "target"}[self.kind]
        plural = "" if count == 1 else "es" if noun == "class" else "s"
        groups = "" if self.groups is None else f", {len(np.unique(self.groups))} groups"
        examples = "example" if len(self) == 1 else "examples"
        return (
            f"Task({terminal_text(self.name)}: {len(self)} {examples} of {what}, {self.kind}, "
            f"{count} {noun}{plural}{groups})"
        )

    def _repr_html_(self) -> str:
        return html_of(repr(self))

    @property
    def kind(self) -> Kind:
        """Kind of task: classification, multilabel or regression."""
        return self.encoded.kind

    @property
    def classes(self) -> NDArray[Any]:
        """Sorted label values, or the numbers of the label columns (n_classes,)."""
        return self.encoded.classes

    @property
    def labels(self) -> NDArray[Any]:
        """Label values (n_samples,) or (n_samples, n_targets), in the order of the examples."""
        values: NDArray[Any] = label_values(self.encoded)
        return values

    @property
    def has_inputs(self) -> bool:
        """Whether there are inputs; a task of labels alone (`Task.of`) has none."""
        return self._root.has_inputs

    @property
    def group_codes(self) -> NDArray[np.intp] | None:
        """The group number of each example (n_samples,), or None; a single group raises."""
        return group_codes(self.groups, len(self))

    @property
    def inputs(self) -> Any:
        """All inputs, as given if the task is no subset; a Dataset is read into memory."""
        whole = self._rows is None and not is_dataset(self._root.inputs)
        return self._root.inputs if whole else self.batch(slice(None))

    @property
    def rows(self) -> Rows:
        """Row numbers in the task that this one is a subset of (n_samples,)."""
        return np.arange(len(self)) if self._rows is None else self._rows

    def batch(self, rows: Any) -> Any:
        """Return the inputs of some examples.

        Parameters
        ----------
        rows : slice, or array-like of int or bool
            Row numbers in this task.

        Returns
        -------
        array, tensor or list
            The same form as the inputs (a slice of a whole array is a view); the items of a Dataset
            are read one by one and stacked, or listed if they are neither arrays nor tensors.

        Examples
        --------
        >>> Task(["good", "bad", "fine"], [1, 0, 1]).batch([0, 2])
        ['good', 'fine']
        """
        if isinstance(rows, slice) and self._rows is None and is_forward(rows):
            return take(self._root.inputs, rows)
        chosen = check_rows(rows, len(self))
        return take(self._root.inputs, chosen if self._rows is None else self._rows[chosen])

    def subset(self, rows: Any) -> "Task":
        """Return the task of some examples, in the order given; classes stay as they are.

        Parameters
        ----------
        rows : slice, or array-like of int or bool
            Row numbers in this task.

        Returns
        -------
        Task
            Shares the inputs of this task.

        Examples
        --------
        >>> Task(["good", "bad", "fine"], [1, 0, 1]).subset([2, 0]).labels.tolist()
        [1, 1]
        """
        chosen = check_rows(rows, len(self))
        if chosen.size == 0:
            raise ModtoolsError(
                f"a task needs at least one example; none of {self.name} were chosen."
            )
        part = object.__new__(Task)
        part.encoded = self.encoded.take(chosen)
        part.groups = None if self.groups is None else self.groups[chosen]
        part.name, part._root, part._rows = self.name, self._root, self.rows[chosen]
        return part

    def of_classes(self, classes: Sequence[Any]) -> "Task":
        """Return the examples of some classes as a new task with these classes only.

        Parameters
        ----------
        classes : sequence, at least two
            Labels, or their text; if labels are words, also the number of a class.

        Returns
        -------
        Task
            In the order of this task, named after it and the classes, with new row numbers.

        Examples
        --------
        >>> task = Task(np.arange(6), list("aabbcc"), name="letters")
        >>> task.of_classes(["a", "c"])
        Task(letters a,c: 4 examples of int64 (), classification, 2 classes)
        """
        if self.kind != "classification":
            raise ModtoolsError(
                f"classes= needs one class per example; the labels of {self.name} are {self.kind}."
            )
        if isinstance(classes, str) or not isinstance(classes, Iterable):
            raise ModtoolsError(f"classes must be a list of labels; got {classes!r}.")
        names = [str(name).strip() for name in classes]
        wanted = list(dict.fromkeys(self.classes[self._class_code(name)] for name in names))
        if len(wanted) < 2:
            raise ModtoolsError(f"a task needs at least two classes; got {','.join(names)}.")
        rows = np.flatnonzero(np.isin(self.labels, wanted))
        name = f"{self.name} {','.join(map(str, wanted))}"
        groups = None if self.groups is None else self.groups[rows]
        return Task(self.batch(rows), self.labels[rows], name=name, groups=groups)

    def _class_code(self, name: str) -> int:
        known = [str(value) for value in self.classes]
        if name in known:
            return known.index(name)
        if self.classes.dtype.kind == "U" and name.isdecimal() and int(name) < len(known):
            return int(name)
        return known.index(check_choice(name, known, name=f"class of {self.name}"))

    def complement(self, few: "Task") -> "Task":
        """Return the examples of this task that are not in `few`.

        Parameters
        ----------
        few : Task
            A subset of this task, or of the same task as this one.

        Returns
        -------
        Task
            In the order of this task.

        Examples
        --------
        >>> task = Task(np.arange(6), list("aabbcc"))
        >>> few = task.few_labels(per_class=1)
        >>> len(task.complement(few))
        3
        """
        if not isinstance(few, Task):
            raise ModtoolsError(f"complement needs a subset of this task; got {few!r}.")
        if few._root is not self._root:
            raise ModtoolsError(
                f"complement needs a subset of the same task; {few.name} has inputs of its own. "
                "Compare two such tasks with overlap."
            )
        return self.subset(~np.isin(self.rows, few.rows))

    def split(self, test_fraction: float = 0.25, seed: int = 0) -> tuple["Task", "Task"]:
        """Return a train and a test task, stratified by class.

        Each class is split to within one example, and a class with a single example goes to train.
        Groups stay together, and classes are then split as evenly as the groups allow; a class of
        only one group goes to train. Regression examples are split at random.

        Parameters
        ----------
        test_fraction : float, default=0.25
            Fraction of the examples in the test set, strictly between 0 and 1.
        seed : int, default=0
            The same seed gives the same split.

        Returns
        -------
        train, test : Task
            Both in the order of this task.

        Examples
        --------
        >>> train, test = Task(np.arange(8), list("aaaabbbb")).split(test_fraction=0.5, seed=1)
        >>> test.encoded.counts().tolist()
        [2, 2]
        """
        fraction = check_fraction(test_fraction, name="test_fraction")
        seed = check_integer(seed, name="seed", minimum=0)
        codes = None if self.groups is None else np.unique(self.groups, return_inverse=True)[1]
        test = choose_test(self.encoded, codes, fraction, seed)
        return self.subset(~test), self.subset(test)

    def few_labels(
        self, *, per_class: int | None = None, n: int | None = None, seed: int = 0
    ) -> "Task":
        """Return a random subset of few labelled examples, as if only these had been labelled.

        Examples come in rounds, one of every class and then a second one, so any first part is
        balanced; for one seed, the subset for a smaller `per_class` is the first part of a larger.

        Parameters
        ----------
        per_class : int, optional
            Examples of each class; a class that has fewer raises.
        n : int, optional
            Examples in total, in the proportions of the classes, with at least one of each class if
            n allows it; a random subset for multilabel and regression. Give `per_class` or `n`.
        seed : int, default=0
            The same seed gives the same examples.

        Returns
        -------
        Task
            Shares the inputs of this task; `complement` gives the rest.

        Examples
        --------
        >>> task = Task(np.arange(40), np.repeat([3, 7], 20))
        >>> task.few_labels(per_class=2, seed=0).encoded.counts().tolist()
        [2, 2]
        """
        if (per_class is None) == (n is None):
            raise ModtoolsError("few_labels needs per_class= or n=, exactly one of the two.")
        seed = check_integer(seed, name="seed", minimum=0)
        if n is not None and check_integer(n, name="n") > len(self):
            raise ModtoolsError(
                f"n must be at most the {len(self)} examples of {self.name}; got {n}."
            )
        if per_class is not None:
            check_integer(per_class, name="per_class")
        return self.subset(choose_few(self.encoded, per_class=per_class, n=n, seed=seed))

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of the content: dtype, shape and bytes of the inputs, kind and labels.

        It does not depend on name, byte order, memory layout or device, and a tensor or Dataset has
        the fingerprint of the array with the same values. Computed once, when first needed.
        """
        return task_digest(iter_blocks(self._root.inputs, self.rows), self.encoded)

    @property
    def row_fingerprints(self) -> NDArray[np.str_]:
        """The sha256 of each input, without its label (n_samples,)."""
        return self._root.row_digests(self.rows)

    def overlap(self, other: "Task") -> Rows:
        """Return the examples of this task whose inputs also occur in `other`.

        Parameters
        ----------
        other : Task
            Any task, for example a test task that should share no example.

        Returns
        -------
        ndarray of shape (n_shared,)
            Row numbers of this task; its length is the count.

        Examples
        --------
        >>> Task(["a", "b", "c"], [0, 1, 1]).overlap(Task(["c", "d", "a"], [1, 0, 0])).tolist()
        [0, 2]
        """
        if not isinstance(other, Task):
            raise ModtoolsError(f"overlap needs another task; got {type(other).__name__}.")
        return np.flatnonzero(np.isin(self.row_fingerprints, other.row_fingerprints))


def group_codes(groups: Any, n_samples: int) -> NDArray[np.intp] | None:
    """Return the group number of each example, or None if no groups are given.

    >>> group_codes(["b", "a", "b"], 3).tolist()
    [1, 0, 1]
    """
    if groups is None:
        return None
    values = check_groups(groups, n_samples)
    codes = np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.intp)
    if len(np.unique(codes)) < 2:
        raise ModtoolsError("groups must hold at least two groups; all examples are in one.")
    return codes
