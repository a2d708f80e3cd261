"""From the options of ``modtools space`` to tasks and modules, and how the result is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import typer

from modtools._escape import csv_text
from modtools.cli._outputs import Writing, check_outputs, write_outputs
from modtools.cli._say import say
from modtools.cli._show import echo_table, end_writing
from modtools.cli._sources import Given, load_shelf
from modtools.cli._task_rows import choose_classes, few_labels
from modtools.exceptions import ModtoolsError
from modtools.tasks import Task, load_task

if TYPE_CHECKING:
    from modtools.studies import TaskSpace

__all__ = ["Wanted", "relate", "report"]

_MOST_TASKS: Final = 20  # in the table


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The options of the command, as given; None or empty where left to us."""

    sources: Sequence[Path] | None
    modules: Sequence[str] | None
    taps: Sequence[str] | None
    tasks: Sequence[str] | None
    pairs: bool
    split: str | None
    label_column: str | None
    classes: str | None
    n_labels: int | None
    per_class: int | None
    score: str
    json: str | None
    csv: Path | None
    plot: Path | None
    device: str | None
    batch_size: int
    cache: Path | None
    n_jobs: int | None
    seed: int
    quiet: bool


def relate(wanted: Wanted) -> "TaskSpace":
    """Look at all that can be wrong, then relate the tasks."""
    from modtools.studies import task_space

    check_outputs(wanted, cache=wanted.cache)
    few: dict[str, Any] = {
        "per_class": wanted.per_class,
        "n_labels": wanted.n_labels,
        "seed": wanted.seed,
    }
    tasks = {name: few_labels(task, **few) for name, task in _load_tasks(wanted).items()}
    return task_space(
        _load_modules(wanted),
        tasks,
        score=wanted.score,
        device=wanted.device,
        batch_size=wanted.batch_size,
        cache=wanted.cache,
        n_jobs=wanted.n_jobs,
        seed=wanted.seed,
    )


def _load_modules(wanted: Wanted) -> Any:
    given = Given(wanted.sources or [], wanted.modules or [], wanted.taps or [], [])
    if given.files:
        raise ModtoolsError(
            f"{given.files[0]} holds cached features of one task; a space needs modules that read "
            "every task. In Python, task_space takes {module: {task: features}}."
        )
    if not (given.zoos or given.modules):
        raise ModtoolsError("nothing to score: give a zoo folder or --module PACKAGE:FACTORY.")
    return load_shelf(given)


def _load_tasks(wanted: Wanted) -> dict[str, Task]:
    """Return the tasks by name: those given, or every two classes of the only one."""
    names, many = wanted.tasks or [], 1 if wanted.pairs else 2
    if len(names) < many or (wanted.pairs and len(names) > 1):
        raise ModtoolsError(
            "give at least two --task, or one --task with --pairs for every two of its classes; "
            f"got {len(names)}{' with --pairs' if wanted.pairs else ''}."
        )
    loaded = [load_task(name, split=wanted.split, label=wanted.label_column) for name in names]
    if wanted.classes is not None:
        loaded = [choose_classes(task, wanted.classes.split(",")) for task in loaded]
    if wanted.pairs:
        return _pairs_of(loaded[0])
    called = [task.name for task in loaded]
    if len(set(called)) < len(called):  # two files of one name are told by their paths
        called = list(names)
    return dict(zip(called, loaded, strict=True))


def _pairs_of(task: Task) -> dict[str, Task]:
    names = [str(value) for value in task.classes]
    return {
        f"{one} / {other}": choose_classes(task, [one, other])
        for one, other in combinations(names, 2)
    }


def report(space: "TaskSpace", wanted: Wanted) -> None:
    """Print the table, or the nearest two tasks where quiet, then write the files asked for.

    With ``--json -`` the JSON is all that is printed.
    """
    is_shown = wanted.json != "-" and not wanted.quiet
    one, other, distance = _nearest(space)
    if wanted.json == "-":
        typer.echo(space.to_json(), nl=False)
    elif wanted.quiet:
        say(one)
        say(other)
    else:
        header, rows = space.table()
        say(space.title())
        echo_table(header, rows[:_MOST_TASKS])
        if len(rows) > _MOST_TASKS:
            say(f"{len(rows) - _MOST_TASKS} more tasks: add --csv FILE.")
        say(f"Nearest  {one} and {other}, at a distance of {distance:.2f}")
    writing = Writing()
    write_outputs(
        writing,
        wanted,
        json=space.to_json,
        csv=lambda: csv_text(space.frame()),
        plot=lambda path: _draw(space, path),
    )
    end_writing(writing, is_shown=is_shown)


def _nearest(space: "TaskSpace") -> tuple[str, str, float]:
    table = space.distances()
    distances = table.to_numpy() + 2.0 * np.eye(len(table))
    row, column = divmod(int(distances.argmin()), len(table))
    return str(table.index[row]), str(table.index[column]), float(distances[row, column])


def _draw(space: "TaskSpace", path: Path) -> list[Path]:
    from matplotlib.figure import Figure

    n_tasks, n_modules = space.matrix().shape
    width, height = 1.2 + 0.36 * n_modules, 1.6 + 0.3 * n_tasks
    figure = Figure(figsize=(3.0 + width, height), layout="constrained")
    panels = figure.subplots(ncols=2, width_ratios=[3.0, width])
    return space.plot(panels).save(path)
