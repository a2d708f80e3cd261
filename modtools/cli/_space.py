"""``modtools space``: how several tasks relate, seen from how the same modules serve them."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from modtools._progress import quiet as no_progress
from modtools.cli import _options as options

__all__ = ["space"]

_Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        metavar="NAME|PATH",
        help="A task, as for modtools score; repeat it for each, or give one with --pairs.",
    ),
]
_Pairs = Annotated[
    bool,
    typer.Option("--pairs", help="Every two classes of the one task are a task of their own."),
]
_Score = Annotated[str, typer.Option("--score", help="Score that relates the tasks.")]
_Plot = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Draw tree and matrix as FILE.png and FILE.svg."),
]
_Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print the two tasks nearest to each other alone.")
]


def space(
    *,
    sources: options.Sources = None,
    modules: options.Modules = None,
    taps: options.Taps = None,
    tasks: _Tasks = None,
    pairs: _Pairs = False,
    split: options.Split = None,
    label_column: options.LabelColumn = None,
    classes: options.Classes = None,
    n_labels: options.NLabels = None,
    per_class: options.PerClass = None,
    score: _Score = "nmse",
    json: options.Json = None,
    csv: options.Csv = None,
    plot: _Plot = None,
    device: options.Device = None,
    batch_size: options.BatchSize = 64,
    cache: options.Cache = None,
    n_jobs: options.NJobs = None,
    seed: options.Seed = 0,
    quiet: _Quiet = False,
) -> None:
    """Relate tasks: two are near each other where the same modules serve both well.

    For example:

        modtools space zoo/ --task digits --task my-images/ --task data.npz
        modtools space zoo/ --task digits --pairs --per-class 20 --plot space.png
        modtools space zoo/ --task digits --pairs --classes 0,1,6,8 --score lda --csv space.csv

    No task is learnt for this. The distance is 0 where the modules serve two tasks in the same
    proportions, 0.71 where the one says nothing about the other.
    """
    asked = dict(locals())  # one object from here on: typer reads one argument an option
    from modtools.cli._space_run import Wanted, relate, report

    wanted = Wanted(**asked)
    with no_progress() if quiet else nullcontext():
        found = relate(wanted)
    report(found, wanted)
