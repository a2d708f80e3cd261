"""``modtools demo``: predict accuracies, then retrain, and compare the two."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from modtools._escape import csv_text, terminal_text
from modtools.cli._demo_results import (
    LabelWorth,
    Made,
    Outcome,
    demo_agreement,
    demo_modules,
    iter_tasks,
    make_modules,
    solve,
    target_task,
    value_labels,
)
from modtools.cli._options import Run, option, takes_options
from modtools.cli._output import Outputs, Writing, echo_table, reached_row, rows_ahead
from modtools.cli._score import pick_text
from modtools.cli._train import FULL_INFORMATION

if TYPE_CHECKING:
    from modtools.studies import Agreement

__all__ = ["demo"]

_FILES: Final = (
    *(f"{name}.{kind}" for name in ("ranking", "agreement", "labels") for kind in ("png", "svg")),
    "ranking.csv",
    "figures.json",
)
_FORECAST: Final = "forecast (ridge)"
_HEADER: Final = ("    module", "predicted", "95 % interval", "achieved")
_NEXT: Final = (
    "modtools score --module modtools.modules:efficientnet_lite --task FOLDER, with one folder of "
    "images per class; modtools score --help shows how to use your own modules, modtools train "
    "--help how to train some."
)


@dataclass(frozen=True, kw_only=True)
class _Folder:
    folder: Path = option(
        "Folder that the files are written to.", default=Path("modtools-demo"), metavar="FOLDER"
    )


@takes_options(
    device=None,
    csv=None,
    plot=None,
    seed="The same seed gives the same figures.",
    quiet="Write the files and print nothing.",
)
def demo(place: _Folder, outputs: Outputs, run: Run) -> None:
    """Predict from 20 labels per class which module to reuse, then retrain all and compare.

    Scores EfficientNet-Lite0 (ImageNet) at four depths, the same network with random weights, and
    raw pixels on handwritten digits, and on Fashion-MNIST where its files are. Retrains the pick
    with 1, 2, 5, 10 and 20 labels per class, and forecasts the accuracy with more labels. Then
    trains small networks with three proxy objectives on the digits 0 to 4 and scores their modules
    on 5 to 9. One to two minutes; needs the extra: `pip install "modtools[demo]"`.

    For example:

        modtools demo
        modtools demo --folder results/ --seed 1

    The tables show predicted beside achieved accuracy; "Regret" is the accuracy lost by the pick
    against the best module, in points.
    """
    import pandas as pd

    from modtools._writing import json_document, json_text
    from modtools.selection import PREDICTED

    folder = place.folder
    _check_places(folder, outputs)
    start = time.perf_counter()
    say = _silence if outputs.quiet else typer.echo
    with outputs.silence():
        worths = _reuse_known_modules(say, run.seed)
        agreement = demo_agreement([worth.outcome for worth in worths])
        means = agreement.means().query("measure == 'weighted_tau'").set_index("score")["value"]
        others = [f"{name} {value:.2f}" for name, value in means.items() if name != PREDICTED]
        say(
            f"\nAgreement of predicted with achieved: weighted tau {means[PREDICTED]:.2f} "
            f"(1 is the perfect order, 0 is chance)\nBeside it {', '.join(others)}"
        )
        made, reused = _reuse_new_modules(say, folder / "zoo", run.seed)
    seconds = round(time.perf_counter() - start, 1)
    figures = {**_figures(worths, agreement), **_training_figures(made, reused)}
    for worth in worths:
        say(f"Decision {_decision_text(worth)}")
    table = pd.DataFrame(
        {"figure": list(figures), "value": pd.Series(figures.values(), dtype=object)}
    )
    text = json_text(json_document("demo", table, settings={"seed": run.seed}, seconds=seconds))
    if outputs.json == "-":
        typer.echo(text, nl=False)
    writing = _write(folder, outputs, worths, agreement, text)
    written = terminal_text("  ".join(map(str, [*writing.written, folder / "zoo"])))
    say(f"Wrote    {written}   ({seconds:.0f} s)")
    writing.end()
    say(f"Next     {_NEXT}")


def _check_places(folder: Path, outputs: Outputs) -> None:
    """Raise for a path that cannot be written, before any network runs."""
    from modtools._places import check_file, check_folder

    for name in _FILES:
        check_file(folder / name)
    check_folder(folder / "zoo")
    outputs.check()


def _silence(_text: str) -> None:
    pass


def _reuse_known_modules(say: Callable[[str], None], seed: int) -> list["LabelWorth"]:
    """Rank pretrained networks on each available task, and reuse the best."""
    modules = demo_modules()
    say("Modules  EfficientNet-Lite0 (ImageNet) at 4 depths, the same with random weights, pixels")
    worths = []
    for task in iter_tasks(seed):
        say(f"\n{task.text()}")
        outcome = solve(task, modules, seed=seed)
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


def _show(outcome: Outcome) -> None:
    """Print predicted beside achieved accuracy, the best prediction first."""
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
    echo_table([*_HEADER, "features", "forward pass"], rows, bold=[0])
    _show_pick(outcome)


def _predicted_and_achieved(outcome: Outcome) -> list[tuple[str, list[str]]]:
    """Return the name of each module with its cells below `_HEADER`, best prediction first."""
    table = outcome.ranking.display(achieved=outcome.achieved).frame()
    return [
        (
            row["module"],
            [
                f"{place + 1:>2}  {row['module']}",
                f"{100 * row['value']:.1f} %",
                f"[{100 * row['value_low']:.1f}, {100 * row['value_high']:.1f}]",
                f"{100 * row['achieved']:.1f} %",
            ],
        )
        for place, row in enumerate(table.to_dict("records"))
    ]


def _show_pick(outcome: Outcome) -> None:
    typer.echo(pick_text(outcome.ranking))
    best = max(outcome.achieved, key=lambda name: outcome.achieved[name])
    typer.echo(
        f"Regret   {outcome.regret:.1f} points: the pick achieves "
        f"{100 * outcome.achieved[outcome.ranking.best]:.1f} %, the best, {best}, "
        f"{100 * outcome.achieved[best]:.1f} %."
    )


def labels_lines(worth: LabelWorth) -> list[str]:
    """Return the accuracy by labels per class, and the forecast for more labels, as lines."""
    parts = [f"{count}: {100 * value:.1f} %" for count, value in worth.achieved().items()]
    return [
        f"Retrain  {worth.outcome.ranking.best} by labels per class: {', '.join(parts)}",
        f"Labels   {worth.forecast.verdict(worth.target, measured=worth.measured())}",
    ]


def _decision_text(worth: LabelWorth) -> str:
    """Return the decision in one sentence: module, certainty, number of labels and cost."""
    from modtools.selection import probability_text

    outcome, pick = worth.outcome, worth.outcome.ranking.best
    best = outcome.ranking.predictions().iloc[0]
    low, high = (100 * best[f"predicted_{end}"] for end in ("low", "high"))
    known = f"{100 * best['predicted']:.0f} % [{low:.0f}, {high:.0f}]"
    return (
        f"reuse {pick} for {outcome.name}: {known} is predicted with the "
        f"{len(outcome.task.few)} labels, "
        f"and the probability that none of the {len(outcome.achieved)} modules does better is "
        f"{probability_text(100 * best['probability_best'])} %; "
        f"{worth.forecast.verdict(worth.target, measured=worth.measured())} "
        f"It costs {outcome.milliseconds[pick]:.2f} ms per image and "
        f"{outcome.n_parameters[pick] / 1e6:.2g} million parameters."
    )


def _reuse_new_modules(say: Callable[[str], None], zoo: Path, seed: int) -> tuple[Made, Outcome]:
    """Train small modules and rank them on classes that they were not trained on."""
    say("\nTrain    small networks on the digits 0 to 4, one per proxy objective")
    made = make_modules(zoo, seed)
    source = ", ".join(f"{name} {100 * value:.1f} %" for name, value in made.accuracies.items())
    say(
        f"         {len(made.source)} images, hidden modules to block3 and to features, no "
        f"gradient between them; {made.seconds:.1f} s"
    )
    say(f"Accuracy on {len(made.held_out)} other images of 0 to 4: {source}")
    task = target_task(seed)
    reused = solve(task, made.modules, seed=seed)
    say(f"\n{task.text()}")
    if say is not _silence:
        _show_made(made, reused)
    return made, reused


def _show_made(made: Made, outcome: Outcome) -> None:
    """Print predicted and achieved accuracy, and the labels each module was trained with."""
    rows = [[*cells, made.labels_needed(name)] for name, cells in _predicted_and_achieved(outcome)]
    echo_table([*_HEADER, "labels of 0 to 4"], rows, bold=[0])
    _show_pick(outcome)
    typer.echo(f"Pairs    tell only which examples are of the same class. {FULL_INFORMATION}")


# Files -------------------------------------------------------------------------------------------


def _write(
    folder: Path,
    outputs: Outputs,
    worths: Sequence[LabelWorth],
    agreement: "Agreement",
    text: str,
) -> Writing:
    """Write pictures, table and figures; return the files written and the failures."""
    from modtools._writing import write_file

    writing = Writing()
    _write_pictures(writing, folder, worths, agreement)
    writing.add(lambda: [write_file(folder / "figures.json", text)])
    if (copy := outputs.json) is not None and copy != "-":
        writing.add(lambda: [write_file(copy, text)])
    return writing


def _write_pictures(
    writing: Writing, folder: Path, worths: Sequence[LabelWorth], agreement: "Agreement"
) -> None:
    """Write the three pictures and the table."""
    import pandas as pd
    from matplotlib.figure import Figure

    from modtools._writing import write_file
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
    writing.add(lambda: _draw_labels(worths, folder / "labels.png"))
    tables = [
        (table := o.ranking.frame()).assign(task=o.name, achieved=table["module"].map(o.achieved))
        for o in outcomes
    ]
    writing.add(lambda: [write_file(folder / "ranking.csv", csv_text(pd.concat(tables)))])


def _draw_labels(worths: Sequence[LabelWorth], path: Path) -> list[Path]:
    """Draw one panel per task: achieved and predicted accuracy, and the forecast."""
    from matplotlib.figure import Figure

    from modtools.plotting import LabelEfficiencyDisplay

    figure = Figure(figsize=(8.2 * len(worths), 4.6), layout="constrained")
    panels = figure.subplots(1, len(worths), squeeze=False)[0]
    for worth, ax in zip(worths, panels, strict=True):
        display = LabelEfficiencyDisplay(
            worth.table,
            repeats=worth.repeats,
            target=worth.target,
            reached=reached_row(worth.forecast, _FORECAST, worth.target, worth.measured()),
            forecast=rows_ahead(worth.forecast, _FORECAST, worth.target),
            title=f"{worth.outcome.name}: accuracy by number of labels",
        ).plot(ax)
    return display.save(path)


def _figures(worths: Sequence[LabelWorth], agreement: "Agreement") -> dict[str, Any]:
    """Return the measured numbers by name; accuracies in percent, regret in points."""
    from modtools.selection import PREDICTED

    outcomes = [worth.outcome for worth in worths]
    figures: dict[str, Any] = {}
    for row in agreement.frame().to_dict("records"):
        if row["score"] == PREDICTED:
            figures[f"weighted_tau_{row['task']}"] = row["weighted_tau"]
            figures[f"regret_points_{row['task']}"] = row["regret"]
    for outcome in outcomes:
        figures |= _figures_of(outcome, outcome.name)
    for worth in worths:
        name = worth.outcome.name
        forecast = worth.forecast.figures(worth.target, measured=worth.measured())
        for count, value in worth.achieved().items():
            figures[f"accuracy_of_pick_{count}_a_class_{name}"] = 100 * value
        figures |= {f"{key}_{name}": value for key, value in forecast.items()}
    return figures


def _figures_of(outcome: Outcome, name: str) -> dict[str, float]:
    predicted = outcome.ranking.display().frame()["value"][0]
    return {
        f"labels_{name}": len(outcome.task.few),
        f"predicted_accuracy_of_pick_{name}": 100 * predicted,
        f"achieved_accuracy_of_pick_{name}": 100 * outcome.achieved[outcome.ranking.best],
        f"achieved_accuracy_of_best_{name}": 100 * max(outcome.achieved.values()),
    }


def _training_figures(made: Made, reused: Outcome) -> dict[str, Any]:
    """Return the same for the modules trained here, with the achieved accuracies and the time."""
    figures = _figures_of(reused, "digits_5_to_9")
    for proxy, accuracy in made.accuracies.items():
        figures[f"accuracy_on_digits_0_to_4_{proxy}"] = 100 * accuracy
    for module, accuracy in reused.achieved.items():
        figures[f"achieved_accuracy_digits_5_to_9_{module}"] = 100 * accuracy
    return {**figures, "training_seconds": round(made.seconds, 1)}
