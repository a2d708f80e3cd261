"""The options of ``modtools study``, worded once."""

from pathlib import Path
from typing import Annotated

import typer

Budgets = Annotated[
    str | None,
    typer.Option(
        metavar="N,N,...",
        help="Label counts in all (default: about thirty, evenly on a log axis, to 2000).",
    ),
]
Repeats = Annotated[
    int, typer.Option(metavar="N", help="Draws of labelled rows, the same ones for every module.")
]
Outputs = Annotated[
    str,
    typer.Option(metavar="NAME,...", help="Output modules: ridge, logistic or class_mean."),
]
Strategies = Annotated[
    str,
    typer.Option(
        metavar="NAME,...",
        help="How rows to label are chosen, such as random,typical; modtools retrain --list shows "
        "all.",
    ),
]
Scratch = Annotated[
    str | None,
    typer.Option(
        "--from-scratch",
        metavar="NETWORK",
        help="Also train this network end-to-end on the same labels, as the baseline: "
        "compact_convnet, resnet18 or multilayer_perceptron.",
    ),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Keep what is finished there; the same command goes on from it after a stop.",
    ),
]
StudyPlot = Annotated[
    Path | None,
    typer.Option(
        "--plot", metavar="FILE", help="Draw accuracy against labels as FILE.png and FILE.svg."
    ),
]
QuietStudy = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print the name of the module with the largest area alone."),
]
