"""Which rows of a task a command works on: some classes, held-out rows, few labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modtools._checks import check_choice
from modtools.exceptions import ModtoolsError
from modtools.tasks import Task, load_task

__all__ = ["choose_classes", "class_rows", "few_labels", "hold_out", "split_task"]

_DEFAULT_TEST_FRACTION: Final = 0.25
_SPLIT_SEED: Final = 0  # one for all runs, so that their accuracies are those of the same rows


def split_task(
    name: str,
    *,
    classes: str | None = None,
    test_fraction: float | None = None,
    label: str | None = None,
) -> tuple[Task, Task]:
    """Return the rows to learn from and the rows held out, of all classes or of some."""
    folder = Path(name)
    has_parts = all((folder / part).is_dir() for part in ("train", "test"))
    if name == "fashion-mnist" or has_parts:
        if test_fraction is not None:
            raise ModtoolsError(f"{name} has test rows of its own: leave out --test-fraction.")
        train, test = (_chosen(load_task(name, split=part), classes) for part in ("train", "test"))
        return train, test
    whole = _chosen(load_task(name, label=label), classes)
    return hold_out(whole, test_fraction)


def hold_out(task: Task, test_fraction: float | None) -> tuple[Task, Task]:
    """Return the rows to learn from and the rows held out, a quarter by default."""
    _check_kind(task)
    fraction = _DEFAULT_TEST_FRACTION if test_fraction is None else test_fraction
    return task.split(fraction, seed=_SPLIT_SEED)


def _chosen(task: Task, classes: str | None) -> Task:
    _check_kind(task)
    return task if classes is None else choose_classes(task, classes.split(","))


def _check_kind(task: Task) -> None:
    if task.kind != "classification":
        raise ModtoolsError(
            f"training needs one class a row; the labels of {task.name} are {task.kind}."
        )


def choose_classes(task: Task, names: Sequence[str]) -> Task:
    """Return the rows of some classes as a task of its own, which knows no others.

    Classes are called by their label, or by their number where labels are words.
    """
    rows = class_rows(task, names)
    kept = ",".join(str(value) for value in dict.fromkeys(_named(task, names)))
    return Task(task.batch(rows), task.labels[rows], name=f"{task.name} {kept}")


def class_rows(task: Task, names: Sequence[str]) -> NDArray[np.intp]:
    """Return the row numbers of some classes of a task, at least two."""
    if task.kind != "classification":
        raise ModtoolsError(
            f"--classes needs one class a row; the labels of {task.name} are {task.kind}."
        )
    wanted = list(dict.fromkeys(_named(task, names)))
    if len(wanted) < 2:
        raise ModtoolsError(f"there is nothing to tell apart in one class; got {','.join(names)}.")
    return np.flatnonzero(np.isin(task.labels, wanted))


def _named(task: Task, names: Sequence[str]) -> list[Any]:
    return [task.classes[_class_code(task, name.strip())] for name in names]


def _class_code(task: Task, name: str) -> int:
    known = [str(value) for value in task.classes]
    if name in known:
        return known.index(name)
    if task.classes.dtype.kind == "U" and name.isdecimal() and int(name) < len(known):
        return int(name)
    return known.index(check_choice(name, known, name=f"class of {task.name}"))


def few_labels(task: Task, *, per_class: int | None, n_labels: int | None, seed: int) -> Task:
    """Return the task, or only as many of its labelled rows as asked for, stratified."""
    if per_class is None and n_labels is None:
        return task
    if per_class is not None and n_labels is not None:
        raise ModtoolsError("give --per-class or --labels, not both.")
    return task.few_labels(per_class=per_class, n=n_labels, seed=seed)
