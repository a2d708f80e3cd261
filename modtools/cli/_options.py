"""The options of the commands, worded once."""

from pathlib import Path
from typing import Annotated

import typer

Sources = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[ZOO]...", help="Zoo folders, or .npz files of cached features."),
]
Modules = Annotated[
    list[str] | None,
    typer.Option(
        "--module",
        metavar="PACKAGE:FACTORY",
        help="A function without arguments that returns a PretrainedModule or a torch network; may "
        "be repeated. This imports and runs that code, from the current folder too.",
    ),
]
Taps = Annotated[
    list[str] | None,
    typer.Option(
        "--tap",
        metavar="NAME",
        help="Inner module of each --module to read, such as _blocks.10; may be repeated, one "
        "forward pass serves all.",
    ),
]
Features = Annotated[
    list[Path] | None,
    typer.Option(
        "--features",
        metavar="FILE.npz...",
        help="Cached features instead of networks: array features, and labels unless --task.",
    ),
]
TaskName = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="NAME|PATH",
        help="digits, fashion-mnist, a folder with one folder of images a class, or a .npz, .csv "
        "or .parquet file.",
    ),
]
Split = Annotated[str | None, typer.Option(help="Part of the task, such as train or test.")]
LabelColumn = Annotated[
    str | None, typer.Option("--label-column", help="Column of a table that holds the labels.")
]
Classes = Annotated[
    str | None,
    typer.Option(metavar="A,B,...", help="Only the rows of these classes; the rest stay unseen."),
]
NLabels = Annotated[
    int | None, typer.Option("--labels", help="Use only this many labelled rows, stratified.")
]
PerClass = Annotated[int | None, typer.Option(help="Use only this many labelled rows a class.")]
TestFraction = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="Part of the rows held out for the accuracy (default: 0.25), the same rows for every "
        "seed. fashion-mnist has its own test rows.",
    ),
]
AllowOverlap = Annotated[
    bool,
    typer.Option(
        "--allow-overlap", help="Go on where held-out rows equal labelled ones, as free text may."
    ),
]
Target = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="Accuracy to reach, such as 0.9: how many labels it needs (default: the next round "
        "one).",
    ),
]
By = Annotated[str | None, typer.Option(help="Score that orders the modules.")]
MoreScores = Annotated[
    str | None,
    typer.Option("--scores", metavar="NAME,NAME|all", help="More scores to compute."),
]
Json = Annotated[
    str | None, typer.Option("--json", metavar="FILE|-", help="Write JSON; - is standard output.")
]
Csv = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the whole table as CSV.")]
Plot = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Draw the ranking as FILE.png and FILE.svg.")
]
ListScores = Annotated[bool, typer.Option("--list", help="Show all scores and stop.")]
Device = Annotated[str | None, typer.Option(help="Where networks run, such as cuda.")]
BatchSize = Annotated[
    int, typer.Option(help="Inputs a forward pass; in a race also the rows between two looks.")
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache", metavar="DIR", help="Keep features there, so that the next run reads them."
    ),
]
NJobs = Annotated[int | None, typer.Option(help="Modules scored at a time; -1: all cores.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same table.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print the name of the best module alone.")
]
