"""The options of ``modtools retrain``, worded once."""

from pathlib import Path
from typing import Annotated

import typer

Zoos = Annotated[list[Path] | None, typer.Argument(metavar="[ZOO]...", help="Zoo folders.")]
Pick = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Which module to reuse, such as supcon@features, if there are several."
    ),
]
ReusedTask = Annotated[
    str,
    typer.Option(
        "--task",
        metavar="NAME|PATH",
        help="digits, fashion-mnist, a folder with one folder of images a class (or train/ and "
        "test/ of such), or a .npz, .csv or .parquet file.",
    ),
]
Strategy = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="How the --labels rows are chosen, without seeing any label, such as typical or "
        "cover; without it they are drawn class by class. --list shows all.",
    ),
]
Output = Annotated[
    str, typer.Option(metavar="NAME", help="Output module: logistic, ridge or class_mean.")
]
UsePool = Annotated[
    bool,
    typer.Option(
        "--pool", help="Let class_mean find clusters in all rows that are not held out, unlabelled."
    ),
]
AllowNameless = Annotated[
    bool,
    typer.Option(
        "--allow-nameless", help="Go on where a class has no label; it is never predicted."
    ),
]
Save = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Write module and output module there, without pickles."),
]
Predictions = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write label and prediction of each held-out row as CSV."),
]
CurveCsv = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", help="Write accuracy at every number of labels as CSV."),
]
CurvePlot = Annotated[
    Path | None,
    typer.Option(
        "--plot", metavar="FILE", help="Draw accuracy against labels as FILE.png and FILE.svg."
    ),
]
ListStrategies = Annotated[bool, typer.Option("--list", help="Show all strategies and stop.")]
QuietRetrained = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print the accuracy in percent alone.")
]
