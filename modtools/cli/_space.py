"""``modtools space``: similarity of tasks, judged by which modules serve them well."""

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from modtools.cli._inputs import Candidates, FewLabels, TaskOptions, load_candidates
from modtools.cli._options import Forward, option, takes_options
from modtools.cli._output import Outputs, emit, say, show_table
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    from modtools.studies import TaskSpace
    from modtools.tasks import Task

__all__ = ["space"]

_MOST_TASKS: Final = 20  # in the table


@dataclass(frozen=True, kw_only=True)
class _Tasks:
    tasks: list[str] | None = option(
        "A task, as for modtools score; repeat it for each, or give one with --pairs.",
        "--task",
        metavar="NAME|PATH",
    )
    pairs: bool = option(
        "Make a task of every two classes of the one task.", "--pairs", default=False
    )
    by: str = option("Score that measures how well a module serves a task.", "--by", default="nmse")


@takes_options(
    features=None,
    sources="Zoo folders.",
    task=None,
    split="Part of each task, such as train or test.",
    n="Use only this many labelled examples of each task, stratified.",
    per_class="Use only this many labelled examples per class of each task.",
    csv="Write the score of each module on each task as CSV.",
    plot="Draw tree and matrix as FILE.png and FILE.svg.",
    seed="The same seed gives the same distances.",
    quiet="Print only the two tasks nearest to each other.",
)
def space(
    given: Candidates,
    wanted: _Tasks,
    part: TaskOptions,
    labels: FewLabels,
    forward: Forward,
    outputs: Outputs,
) -> None:
    """Compare tasks: two are near each other if the same modules serve both well.

    Answers: which of my tasks are alike, so that a module for one may serve the other? For example:

        modtools space zoo/ --task digits --task my-images/ --task data.npz
        modtools space zoo/ --task digits --pairs --per-class 20 --plot space.png
        modtools space zoo/ --task digits --pairs --classes 0,1,6,8 --by lda --csv space.csv

    The table holds the score of each module on each task; "Nearest" names the two most similar
    tasks. The distance is 0 if the scores of two tasks are perfectly correlated over the modules,
    0.71 if they are uncorrelated. Nothing is trained on the tasks.
    """
    from modtools._escape import csv_text
    from modtools.studies import task_space

    outputs.check(cache=forward.cache)
    with outputs.silence():
        whole = _load_tasks(wanted, part)
        tasks = {name: labels.of(task, seed=forward.seed) for name, task in whole.items()}
        found = task_space(
            _load_modules(given),
            tasks,
            by=wanted.by,
            n_jobs=forward.n_jobs,
            seed=forward.seed,
            **forward.options(),
        )
    emit(
        outputs,
        show=lambda: _show(found),
        quiet=found.nearest()[:2],
        json=found.to_json,
        csv=lambda: csv_text(found.frame()),
        plot=lambda path: found.plot().save(path),
    )


def _load_modules(given: Candidates) -> Any:
    if given.files:
        raise ModtoolsError(
            f"{given.files[0]} holds cached features of one task; a space needs modules that read "
            "every task. In Python, task_space takes {module: {task: features}}."
        )
    if not (given.zoos or given.modules):
        raise ModtoolsError("nothing to score: give a zoo folder or --module PACKAGE:FACTORY.")
    return load_candidates(given)


def _load_tasks(wanted: _Tasks, part: TaskOptions) -> dict[str, "Task"]:
    """Return the tasks by name: those given, or every two classes of the only one."""
    from modtools.tasks import load_task

    names, many = wanted.tasks or [], 1 if wanted.pairs else 2
    if len(names) < many or (wanted.pairs and len(names) > 1):
        raise ModtoolsError(
            "give at least two --task, or one --task with --pairs for every two of its classes; "
            f"got {len(names)}{' with --pairs' if wanted.pairs else ''}."
        )
    loaded = [load_task(name, split=part.split, label=part.label) for name in names]
    loaded = [part.of_classes(task) for task in loaded]
    if wanted.pairs:
        return _pairs_of(loaded[0])
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise ModtoolsError(f"--task {twice} is given twice; give different tasks.")
    called = [task.name for task in loaded]
    if len(set(called)) < len(called):  # files of the same name are identified by their paths
        called = list(names)
    return dict(zip(called, loaded, strict=True))


def _pairs_of(task: "Task") -> dict[str, "Task"]:
    names = [str(value) for value in task.classes]
    return {
        f"{one} / {other}": task.of_classes([one, other]) for one, other in combinations(names, 2)
    }


def _show(space: "TaskSpace") -> None:
    header, rows = space.table()
    say(space.title())
    show_table(header, rows[:_MOST_TASKS])
    if len(rows) > _MOST_TASKS:
        say(f"{len(rows) - _MOST_TASKS} more tasks: add --csv FILE.")
    one, other, distance = space.nearest()
    say(f"Nearest  {one} and {other}, at a distance of {distance:.2f}")
