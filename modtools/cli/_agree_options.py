"""The options of ``modtools agree``, worded once."""

from pathlib import Path
from typing import Annotated

import typer

TableFile = Annotated[
    Path,
    typer.Argument(metavar="TABLE", help="CSV or Parquet file, one row a task and module."),
]
TruthFile = Annotated[
    Path | None,
    typer.Option("--truth", metavar="FILE", help="Achieved accuracies, if not in the same table."),
]
StaticFile = Annotated[
    Path | None,
    typer.Option(
        "--static",
        metavar="FILE",
        help="Rankers that never look at the labels: a column module, and one a ranker.",
    ),
]
AccuracyColumn = Annotated[
    str, typer.Option("--accuracy", metavar="COLUMN", help="Column of the achieved accuracies.")
]
Unit = Annotated[
    str,
    typer.Option(
        metavar="UNIT", help="Unit of the accuracies, fraction or percent; never guessed."
    ),
]
Scores = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN,...",
        help="Columns that are scores (default: all others); none: static rankers only.",
    ),
]
TaskColumn = Annotated[
    str, typer.Option(metavar="COLUMN", help="Column that names the task, in all files.")
]
ModuleColumn = Annotated[
    str, typer.Option(metavar="COLUMN", help="Column that names the module, in all files.")
]
Against = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        help="Scores or static rankers to compare with (default: the best static ranker).",
    ),
]
MeansCsv = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", help="Write the means over tasks with their intervals."),
]
AgreementPlot = Annotated[
    Path | None,
    typer.Option(
        "--plot", metavar="FILE", help="Draw predicted against achieved as FILE.png and FILE.svg."
    ),
]
QuietAgree = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print the name of the most faithful score alone.")
]
