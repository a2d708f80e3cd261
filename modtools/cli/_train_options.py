"""The options of ``modtools train``, worded once."""

from pathlib import Path
from typing import Annotated

import typer

TrainingTask = Annotated[
    str,
    typer.Option(
        "--task",
        metavar="NAME|PATH",
        help="digits, fashion-mnist, a folder with one folder of images a class, or a .npz, .csv "
        "or .parquet file.",
    ),
]
Network = Annotated[
    str, typer.Option(metavar="NAME", help="compact_convnet, resnet18 or multilayer_perceptron.")
]
ProxyNames = Annotated[
    list[str] | None,
    typer.Option(
        "--proxy",
        metavar="NAME",
        help="Proxy objective of the hidden modules (default: supcon); give it once for all, or "
        "once a module. --list shows them.",
    ),
]
Schedule = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="sequential: a module is trained, frozen, then the next. simultaneous: all at once, "
        "no gradient between them. end_to_end: backpropagation through the whole network.",
    ),
]
NModules = Annotated[
    int | None,
    typer.Option(
        "--modules",
        metavar="N",
        help="Number of modules, the output module included (default: 2), cut where the largest "
        "takes the least memory.",
    ),
]
CutPoints = Annotated[
    list[str] | None,
    typer.Option(
        "--at",
        metavar="BLOCK",
        help="Cut after this block instead, such as block3; may be repeated, the last one is "
        "features.",
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Stop in time: 60s, 10m or 1h (default: 20s, unless --epochs)."
    ),
]
Epochs = Annotated[
    int | None, typer.Option(metavar="N", help="Stop after N passes over the rows, for each phase.")
]
BatchSize = Annotated[int | None, typer.Option(metavar="N", help="Rows of a step.")]
LearningRate = Annotated[float | None, typer.Option(metavar="X", help="Peak of the learning rate.")]
Shift = Annotated[
    int, typer.Option(metavar="N", help="Move images by up to N pixels at random, each time seen.")
]
Flip = Annotated[
    bool, typer.Option("--flip", help="Mirror half of the images; wrong for digits and letters.")
]
Precision = Annotated[
    str,
    typer.Option(metavar="NAME", help="float32, bfloat16, or auto: the faster of the two here."),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Keep the state there; a run that was stopped goes on."),
]
ZooFolder = Annotated[
    Path | None,
    typer.Option("--zoo", metavar="DIR", help="Save the trained modules into this folder."),
]
Name = Annotated[
    str | None, typer.Option(metavar="NAME", help="What the module is called in the zoo.")
]
HistoryCsv = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="Write the history as CSV.")
]
TrainingPlot = Annotated[
    Path | None,
    typer.Option(
        "--plot", metavar="FILE", help="Draw accuracy against seconds as FILE.png and FILE.svg."
    ),
]
ListProxies = Annotated[bool, typer.Option("--list", help="Show all proxies and stop.")]
QuietAccuracy = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print the accuracy in percent alone.")
]
