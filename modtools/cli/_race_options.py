"""The options of ``modtools score`` that belong to a race, worded once."""

from typing import Annotated

import typer

_PANEL = "Options of a race"

IsRace = Annotated[
    bool,
    typer.Option(
        "--race",
        help="Do not run every module on every row: drop a module once a test decides against it.",
        rich_help_panel=_PANEL,
    ),
]
Error = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="Accepted chance that the best module is dropped (default: 0.05).",
        rich_help_panel=_PANEL,
    ),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        metavar="POINTS",
        help="Points of accuracy that you would give up for fewer passes (default: 0).",
        rich_help_panel=_PANEL,
    ),
]
Passes = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="Spend this share of the forward passes, such as 0.15, by halving; no guarantee.",
        rich_help_panel=_PANEL,
    ),
]
