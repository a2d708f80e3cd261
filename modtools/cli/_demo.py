"""``modtools demo``: predict, then retrain, and see whether the prediction held."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modtools._escape import csv_text, terminal_text
from modtools._places import check_file, check_folder
from modtools._progress import quiet as no_progress
from modtools._writing import json_text, write_file
from modtools.cli import _options as options
from modtools.cli._outputs import Writing
from modtools.cli._show import echo_table, pick_text
from modtools.cli._train_report import FULL_INFORMATION

if TYPE_CHECKING:
    import pandas as pd

    from modtools.cli._demo_labels import LabelWorth
    from modtools.cli._demo_tasks import DemoTask, Outcome
    from modtools.cli._demo_training import Shelf
    from modtools.studies import Agreement

__all__ = ["demo"]

_FILES = (
    *(f"{name}.{kind}" for name in ("ranking", "agreement", "labels") for kind in ("png", "svg")),
    "ranking.csv",
    "figures.json",
)
_HEADER = ("    module", "predicted", "95 % interval", "achieved")
_NEXT = (
    "modtools score --module modtools.modules:efficientnet_lite --task FOLDER, with one folder of "
    "images a class; modtools score --help shows how to bring your own modules, modtools train "
    "--help how to make some."
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
    raw pixels on handwritten digits, and on Fashion-MNIST where its files are. Retrains the pick
    with 1, 2, 5, 10 and 20 labels a class, and says what more would bring. Then trains small
    networks with three proxy objectives on the digits 0 to 4 and scores their modules on 5 to 9.
    One to two minutes; needs the extra: `pip install "modtools[demo]"`.
    """
    from modtools.cli._demo_labels import decision_text, worth_figures

    _check_places(folder, json)
    start = time.perf_counter()
    say = _silence if quiet else typer.echo
    with no_progress() if quiet else nullcontext():
        worths = _reuse_known_modules(say, seed)
        outcomes = [worth.outcome for worth in worths]
        agreement = _agree(outcomes)
        for line in _agreement_lines(agreement):
            say(line)
        shelf, reused = _reuse_new_modules(say, folder / "zoo", seed)
    figures = {
        "seconds": round(time.perf_counter() - start, 1),
        **_figures(outcomes, agreement),
        **{name: value for worth in worths for name, value in worth_figures(worth).items()},
        **_training_figures(shelf, reused),
    }
    text = json_text({"figures": figures})
    for worth in worths:
        say(f"Decision {decision_text(worth)}")
    if json == "-":
        typer.echo(text, nl=False)
    writing = Writing()
    _write_pictures(writing, folder, worths, agreement)
    _write_figures(writing, [folder / "figures.json", json], text)
    written = terminal_text("  ".join(map(str, [*writing.written, folder / "zoo"])))
    say(f"Wrote    {written}   ({figures['seconds']:.0f} s)")
    writing.end()
    say(f"Next     {_NEXT}")


def _write_text(place: Path | str, text: str) -> list[Path]:
    return [write_file(place, text)]


def _write_figures(writing: Writing, places: Sequence[Path | str | None], text: str) -> None:
    for place in places:
        if place is not None and place != "-":
            writing.add(partial(_write_text, place, text))


def _check_places(folder: Path, json: str | None) -> None:
    """Raise for a place that cannot be written, before any network runs."""
    for name in _FILES:
        check_file(folder / name)
    check_folder(folder / "zoo")
    if json is not None and json != "-":
        check_file(json)


def _reuse_known_modules(say: Callable[[str], None], seed: int) -> list["LabelWorth"]:
    """Rank networks that others have trained, on each task that is here, and reuse the pick."""
    from modtools.cli._demo_labels import labels_lines, value_labels
    from modtools.cli._demo_tasks import demo_shelf, iter_tasks, solve

    shelf = demo_shelf()
    say("Modules  EfficientNet-Lite0 (ImageNet) at 4 depths, the same with random weights, pixels")
    worths = []
    for task in iter_tasks(seed):
        say(f"\n{_task_text(task)}")
        outcome = solve(task, shelf, seed=seed)
        if say is not _silence:
            _show(outcome)
        worths.append(value_labels(outcome, seed=seed))
        for line in labels_lines(worths[-1]):
            say(line)
    if len(worths) == 1:
        say(
            "Left out Fashion-MNIST: its files are not here (Debian package dataset-fashion-mnist)."
        )
    return worths


def _reuse_new_modules(
    say: Callable[[str], None], zoo: Path, seed: int
) -> tuple["Shelf", "Outcome"]:
    """Train small modules and rank them on classes that they never saw."""
    from modtools.cli._demo_training import make_shelf, solve_shelf

    say("\nTrain    small networks on the digits 0 to 4, each by another proxy objective")
    shelf = make_shelf(zoo, seed)
    for line in _training_lines(shelf):
        say(line)
    reused = solve_shelf(shelf, seed=seed)
    say(f"\n{_task_text(reused.task)}")
    if say is not _silence:
        _show_trained(shelf, reused)
    return shelf, reused


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
    rows = [
        [*cells, f"{outcome.n_features[name]}", f"{outcome.milliseconds[name]:.2f} ms"]
        for name, cells in _predicted_and_achieved(outcome)
    ]
    header = [*_HEADER, "features", "forward pass"]
    echo_table(header, rows, bold=[0])
    _show_pick(outcome)


def _predicted_and_achieved(outcome: "Outcome") -> list[tuple[str, list[str]]]:
    """Return the name of each module with its cells below `_HEADER`, best prediction first."""
    table = outcome.ranking.display(achieved=outcome.achieved).frame()
    return [
        (
            row["module"],
            [
                f"{place + 1:>2}  {row['module']}",
                f"{100 * row['value']:.1f} %",
                f"[{100 * row['lower']:.1f}, {100 * row['upper']:.1f}]",
                f"{100 * row['achieved']:.1f} %",
            ],
        )
        for place, row in enumerate(table.to_dict("records"))
    ]


def _show_pick(outcome: "Outcome") -> None:
    typer.echo(pick_text(outcome.ranking))
    best = max(outcome.achieved, key=lambda name: outcome.achieved[name])
    typer.echo(
        f"Regret   {outcome.regret:.1f} points: the pick achieves "
        f"{100 * outcome.achieved[outcome.ranking.best]:.1f} %, the best, {best}, "
        f"{100 * outcome.achieved[best]:.1f} %."
    )


def _training_lines(shelf: "Shelf") -> list[str]:
    """Say what was trained, and how well each network does what it was trained for."""
    source = ", ".join(f"{name} {100 * value:.1f} %" for name, value in shelf.accuracies.items())
    return [
        f"         {len(shelf.source)} images, hidden modules to block3 and to features, none of "
        f"which learns from another; {shelf.seconds:.1f} s",
        f"Accuracy on {len(shelf.held_out)} other images of 0 to 4: {source}",
    ]


def _show_trained(shelf: "Shelf", outcome: "Outcome") -> None:
    """Print predicted beside achieved accuracy, and what each module had to know."""
    rows = [[*cells, shelf.labels_needed(name)] for name, cells in _predicted_and_achieved(outcome)]
    header = [*_HEADER, "knew of 0 to 4"]
    echo_table(header, rows, bold=[0])
    _show_pick(outcome)
    typer.echo(f"Pairs    say only which rows are of one class. {FULL_INFORMATION}")


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
    from modtools.selection import PREDICTED

    means = agreement.means().set_index("score")["weighted_tau"]
    others = [f"{name} {value:.2f}" for name, value in means.items() if name != PREDICTED]
    return [
        "",
        f"Agreement of predicted with achieved: weighted tau {means[PREDICTED]:.2f} "
        "(1 is the perfect order, 0 is chance)",
        f"Beside it {', '.join(others)}",
    ]


def _write_pictures(
    writing: Writing, folder: Path, worths: Sequence["LabelWorth"], agreement: "Agreement"
) -> None:
    """Write the three pictures and the table."""
    import pandas as pd
    from matplotlib.figure import Figure

    from modtools.cli._demo_labels import draw_labels
    from modtools.selection import PREDICTED

    outcomes = [worth.outcome for worth in worths]
    height = 1.4 + 0.34 * len(outcomes[0].ranking)
    figure = Figure(figsize=(6.5 * len(outcomes), height), layout="constrained")
    panels = figure.subplots(1, len(outcomes), squeeze=False)[0]
    for outcome, ax in zip(outcomes, panels, strict=True):
        display = outcome.ranking.plot(ax, achieved=outcome.achieved)
    writing.add(lambda: display.save(folder / "ranking.png"))
    shape = {"width_ratios": [1.35, 1]}
    pair = Figure(figsize=(9.2, 4.8), layout="constrained").subplots(1, 2, gridspec_kw=shape)
    drawn = agreement.plot(pair, score=PREDICTED)
    writing.add(lambda: drawn.save(folder / "agreement.png"))
    writing.add(lambda: draw_labels(worths, folder / "labels.png"))
    table = pd.concat([_rows(outcome) for outcome in outcomes])
    writing.add(lambda: [write_file(folder / "ranking.csv", csv_text(table))])


def _rows(outcome: "Outcome") -> "pd.DataFrame":
    table = outcome.ranking.frame()
    achieved = table["module"].map(outcome.achieved)
    return table.assign(task=outcome.task.whole.name, achieved=achieved)


def _figures(outcomes: Sequence["Outcome"], agreement: "Agreement") -> dict[str, float]:
    """Return the measured numbers by name; accuracies in percent, regret in points."""
    from modtools.selection import PREDICTED

    figures: dict[str, float] = {}
    for row in agreement.frame().to_dict("records"):
        if row["score"] == PREDICTED:
            figures[f"weighted_tau_{row['task']}"] = row["weighted_tau"]
            figures[f"regret_points_{row['task']}"] = row["regret"]
    for outcome in outcomes:
        figures |= _figures_of(outcome, outcome.task.whole.name)
    return figures


def _figures_of(outcome: "Outcome", name: str) -> dict[str, float]:
    predicted = outcome.ranking.display().frame()["value"][0]
    return {
        f"labels_{name}": len(outcome.task.few),
        f"predicted_accuracy_of_pick_{name}": 100 * predicted,
        f"achieved_accuracy_of_pick_{name}": 100 * outcome.achieved[outcome.ranking.best],
        f"achieved_accuracy_of_best_{name}": 100 * max(outcome.achieved.values()),
    }


def _training_figures(shelf: "Shelf", reused: "Outcome") -> dict[str, float]:
    """Return the same for the modules made here, what each achieved, and the time they took."""
    figures = _figures_of(reused, "digits_5_to_9")
    for proxy, accuracy in shelf.accuracies.items():
        figures[f"accuracy_on_digits_0_to_4_{proxy}"] = 100 * accuracy
    for module, accuracy in reused.achieved.items():
        figures[f"achieved_accuracy_digits_5_to_9_{module}"] = 100 * accuracy
    return {**figures, "training_seconds": round(shelf.seconds, 1)}
