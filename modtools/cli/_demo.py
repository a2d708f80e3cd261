"""``modtools demo``: predict accuracies, then retrain, and compare the two.

Whatever it computes and draws is a call of a public name of modtools, to be copied.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import typer

from modtools._escape import csv_text
from modtools.cli._options import Run, option, takes_options
from modtools.cli._output import Outputs, Writing, echo_table, say
from modtools.cli._train import FULL_INFORMATION

if TYPE_CHECKING:
    import pandas as pd

    from modtools.modules import PretrainedModule
    from modtools.plotting import LabelEfficiencyDisplay
    from modtools.selection import Ranking
    from modtools.studies import Agreement
    from modtools.tasks import Task

__all__ = ["demo"]

SCORES_SHOWN: Final = [
    *("logistic", "ridge", "lda", "knn", "class_mean", "codelength"),
    *("centered_alignment", "logme", "regularized_hscore"),
]
LAYERS: Final = ["_blocks.2", "_blocks.4", "_blocks.10", "_avg_pooling"]
EPOCHS = 4  # not seconds, so that a seed gives the same figures on every machine
PROXIES_SHOWN = ("supcon", "nmse", "local_classifier")
_PER_CLASS: Final = (1, 2, 5, 10, 20)
_LEAST_PREDICTED: Final = 5  # labels per class: one for each fold of the score
_FILES: Final = (
    *(f"{name}.{kind}" for name in ("ranking", "agreement", "labels") for kind in ("png", "svg")),
    "ranking.csv",
    "figures.json",
)
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

    from modtools._places import check_file, check_folder
    from modtools._writing import json_document, json_text, write_file

    folder, start = place.folder, time.perf_counter()
    for name in _FILES:
        check_file(folder / name)
    check_folder(folder / "zoo")
    outputs.check()
    with outputs.silence(), nullcontext() if outputs.is_shown else redirect_stdout(StringIO()):
        known, agreement, figures = _reuse_known_modules(run.seed)
        figures |= _reuse_new_modules(folder / "zoo", run.seed)
        for outcome, worth in known:
            say(f"Decision for {outcome.name}: {_decision(outcome, worth)}")
    seconds = round(time.perf_counter() - start, 1)
    values = pd.Series(figures.values(), dtype=object)
    table = pd.DataFrame({"figure": list(figures), "value": values})
    text = json_text(json_document("demo", table, settings={"seed": run.seed}, seconds=seconds))
    writing = Writing()
    _write(writing, folder, known, agreement)
    writing.add(lambda: [write_file(folder / "figures.json", text)])
    if (copy := outputs.json) == "-":
        typer.echo(text, nl=False)
    elif copy is not None:
        writing.add(lambda: [write_file(copy, text)])
    if outputs.is_shown:
        written = "  ".join(map(str, [*writing.written, folder / "zoo"]))
        say(f"Wrote    {written}   ({seconds:.0f} s)")
    writing.end()
    if outputs.is_shown:
        say(f"Next     {_NEXT}")


# Pretrained networks, on each available task -----------------------------------------------------


class Outcome(NamedTuple):
    """Accuracies predicted from few labels, and those of retrained output modules, by module.

    `few` and `held_out` hold the features of the labelled and of the held-out examples.
    """

    few: "dict[str, Task]"
    held_out: "dict[str, Task]"
    ranking: "Ranking"
    achieved: dict[str, float]
    sizes: dict[str, Any]  # label-free baselines: n_parameters and n_features
    milliseconds: dict[str, float]

    @property
    def name(self) -> str:
        """Name of the task."""
        return str(self.ranking.settings["task"])

    def figures(self, name: str) -> dict[str, float]:
        """Return what was predicted and achieved, in percent."""
        return {
            f"labels_{name}": self.ranking.settings["n_samples"],
            f"predicted_accuracy_of_pick_{name}": 100 * self.ranking.frame()["value"][0],
            f"achieved_accuracy_of_pick_{name}": 100 * self.achieved[self.ranking.best],
            f"achieved_accuracy_of_best_{name}": 100 * max(self.achieved.values()),
        }


def known_modules() -> "list[PretrainedModule]":
    """Return three networks: EfficientNet-Lite0 trained on ImageNet, the same untrained, pixels."""
    from modtools.modules import efficientnet_lite, pixels

    how: dict[str, Any] = {"layers": LAYERS, "image_size": 64}  # images have 8 and 28 pixels a side
    return [*(efficientnet_lite(0, pretrained=known, **how) for known in (True, False)), pixels()]


def iter_tasks(seed: int) -> "Iterator[tuple[Task, Task]]":
    """Yield labelled and held-out examples of digits, and of Fashion-MNIST if it is here."""
    from modtools.tasks import has_fashion_mnist, load_task

    digits = load_task("digits")
    few = digits.few_labels(per_class=_PER_CLASS[-1], seed=seed)
    yield few, digits.complement(few)
    if has_fashion_mnist():
        few = load_task("fashion-mnist").few_labels(per_class=_PER_CLASS[-1], seed=seed)
        yield few, load_task("fashion-mnist", split="test").subset(range(1800))


def solve(few: "Task", held_out: "Task", modules: Any, *, seed: int) -> Outcome:
    """Extract features once, rank with few labels, and retrain an output module on each module."""
    from modtools.modules import ModuleCollection
    from modtools.selection import rank_modules
    from modtools.tasks import Task

    n_images, n_classes, start = len(few) + len(held_out), len(few.classes), time.perf_counter()
    say(
        f"Task {few.name}: {n_images} images, {n_classes} classes. You have labels for {len(few)} "
        f"of them ({len(few) // n_classes} per class); {len(held_out)} are held-out test examples."
    )
    candidates, tests, milliseconds = ModuleCollection.of(modules), {}, {}
    known = {name: Task(found, few.labels) for name, found, _ in candidates.features(few)}
    for name, found, facts in candidates.features(held_out):
        tests[name] = Task(found, held_out.labels)
        milliseconds[name] = 1000.0 * facts.extraction_seconds / len(held_out)
    say(
        f"Extract  {len(known)} modules in one forward pass of each of {len(modules)} networks, "
        f"{n_images} images, {time.perf_counter() - start:.1f} s"
    )
    features = {name: task.inputs for name, task in known.items()}
    ranking = rank_modules(features, few, scores=SCORES_SHOWN, seed=seed)
    achieved = {name: accuracy(known[name], tests[name]) for name in known}
    widths = {name: matrix.shape[1] for name, matrix in features.items()}
    sizes = {"n_parameters": candidates.costs("parameters").values, "n_features": widths}
    return Outcome(known, tests, ranking, achieved, sizes, milliseconds)


def accuracy(labelled: "Task", held_out: "Task") -> float:
    """Return the accuracy of an output module on held-out features."""
    from modtools.outputs import LogisticOutput

    output = LogisticOutput().fit(labelled.inputs, labelled.labels)
    return float(output.score(held_out.inputs, held_out.labels))


def _show(outcome: Outcome) -> None:
    """Print predicted beside achieved accuracy, the best prediction first."""
    ranking, achieved = outcome.ranking, {n: 100 * v for n, v in outcome.achieved.items()}
    header, cells = ranking.table()
    rows = [
        [*row[:3], f"{achieved[name]:.1f}", row[4], f"{outcome.milliseconds[name]:.2f}"]
        for name, row in zip(ranking.top(len(ranking)), cells, strict=True)
    ]
    echo_table([*header[:3], "achieved (%)", header[4], "forward pass (ms)"], rows, bold=[0])
    pick, best = ranking.best, max(achieved, key=lambda name: achieved[name])
    say(f"Pick     {ranking.verdict()}")
    say(
        f"Regret   {achieved[best] - achieved[pick]:.1f} points: the pick achieves "
        f"{achieved[pick]:.1f} %, the best, {best}, {achieved[best]:.1f} %."
    )


def _reuse_known_modules(
    seed: int,
) -> "tuple[list[tuple[Outcome, LabelWorth]], Agreement, dict[str, Any]]":
    """Rank pretrained networks on each task, reuse the best, and compare with what was achieved."""
    say("Modules  EfficientNet-Lite0 (ImageNet) at 4 depths, the same with random weights, pixels")
    modules, known = known_modules(), []
    figures: dict[str, Any] = {}
    for few, held_out in iter_tasks(seed):
        say("")
        outcome = solve(few, held_out, modules, seed=seed)
        _show(outcome)
        worth = value_labels(outcome, seed=seed)
        known.append((outcome, worth))
        shares = [f"{count}: {100 * value:.1f} %" for count, value in worth.achieved.items()]
        say(f"Retrain  {outcome.ranking.best} by labels per class: {', '.join(shares)}")
        say(f"Labels   {worth.verdict}")
        figures |= {**outcome.figures(outcome.name), **worth.figures(outcome.name)}
    if len(known) == 1:
        say(
            "Left out Fashion-MNIST: its files are not here (Debian package dataset-fashion-mnist)."
        )
    agreement = compare([outcome for outcome, _ in known])
    means = agreement.means().query("measure == 'weighted_tau'").set_index("score")["value"]
    others = [f"{name} {value:.2f}" for name, value in means.items() if name != "predicted"]
    say("")
    say(
        f"Agreement of predicted with achieved: weighted tau {means['predicted']:.2f} "
        "(1 is the perfect order, 0 is chance)"
    )
    say(f"Beside it {', '.join(others)}")
    for row in agreement.frame().query("score == 'predicted'").to_dict("records"):
        figures[f"weighted_tau_{row['task']}"] = row["weighted_tau"]
        figures[f"regret_points_{row['task']}"] = row["regret"]
    return known, agreement, figures


def compare(outcomes: Sequence[Outcome]) -> "Agreement":
    """Compare every score, and two label-free baselines, with the achieved accuracies."""
    import pandas as pd

    from modtools.studies import score_agreement

    scores = pd.concat([o.ranking.frame().assign(task=o.name) for o in outcomes])
    achieved = {outcome.name: outcome.achieved for outcome in outcomes}
    return score_agreement(scores, achieved, baselines={o.name: o.sizes for o in outcomes})


def _decision(outcome: Outcome, worth: "LabelWorth") -> str:
    """Return the decision as text: module, certainty, number of labels and cost."""
    ranking = outcome.ranking
    best, cost = ranking.predictions().iloc[0], outcome.milliseconds[ranking.best]
    value, low, high = (100 * best[f"predicted{end}"] for end in ("", "_low", "_high"))
    return (
        f"reuse {ranking.verdict()} {value:.0f} % [{low:.0f}, {high:.0f}] is predicted with the "
        f"{ranking.settings['n_samples']} labels; {worth.verdict} It costs {cost:.2f} ms per image "
        f"and {outcome.sizes['n_parameters'][ranking.best] / 1e6:.2g} million parameters."
    )


# Accuracy of the pick by number of labels --------------------------------------------------------


class LabelWorth(NamedTuple):
    """Accuracy of the pick by labels per class, what more labels would bring, and the picture."""

    achieved: dict[int, float]
    verdict: str
    forecast: dict[str, Any]
    display: "LabelEfficiencyDisplay"

    def figures(self, name: str) -> dict[str, Any]:
        """Return the accuracies in percent, and the numbers of the forecast."""
        shares = {f"accuracy_of_pick_{n}_a_class": 100 * v for n, v in self.achieved.items()}
        # Figures of versions compare by their names.
        reach = {"status": "labels_to_reach_status"}
        reach |= {f"n_labels{end}": f"labels_to_reach{end}" for end in ("", "_low", "_high")}
        said = {reach.get(key, key): value for key, value in self.forecast.items()}
        return {f"{key}_{name}": value for key, value in {**shares, **said}.items()}


def value_labels(outcome: Outcome, *, seed: int) -> LabelWorth:
    """Retrain the pick, and the pixels beside it, with few labels; forecast more labels."""
    import pandas as pd

    from modtools.plotting import LabelEfficiencyDisplay
    from modtools.retraining import extrapolate, next_target, retrain

    pick, line = outcome.ranking.best, "forecast (ridge)"
    few, held_out = outcome.few[pick], outcome.held_out[pick]
    repeats, means = retrain_with_few(outcome, pick, seed)
    parts = [means, predict_with_few(outcome, seed)]
    if pick != "pixels" and "pixels" in outcome.few:
        parts.append(retrain_with_few(outcome, "pixels", seed)[1].assign(baseline=True))
    # Different images may have equal features.
    measured = retrain({pick: few.inputs}, few).evaluate(held_out, allow_overlap=True)
    target = next_target(outcome.ranking.frame()["value"][0])
    forecast, reached = extrapolate(few.inputs, few.labels, seed=seed), None
    if target is not None and not forecast.refused:
        needed = forecast.labels_needed(target, measured=measured).reach()
        reached = pd.DataFrame([{"line": line, **needed._asdict()}])
    display = LabelEfficiencyDisplay(
        pd.concat(parts, ignore_index=True),
        repeats=repeats,
        target=target,
        reached=reached,
        forecast=None if forecast.refused else forecast.ahead(target).assign(line=line),
        title=f"{outcome.name}: accuracy by number of labels",
    )
    achieved = dict(zip(means["per_class"], means["value"], strict=True))
    about: dict[str, Any] = {"target": target, "measured": measured}
    return LabelWorth(achieved, forecast.verdict(**about), forecast.figures(**about), display)


def _counts(few: "Task") -> list[int]:
    """Return the numbers of labels per class that are shown, up to all labels."""
    most = len(few) // len(few.classes)
    return [*(count for count in _PER_CLASS if count < most), most]


def retrain_with_few(
    outcome: Outcome, module: str, seed: int
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Return the accuracy with nested random subsets of the labels, and its means over them."""
    import pandas as pd

    rows, few, held_out = [], outcome.few[module], outcome.held_out[module]
    for repeat in range(5):
        for count in _counts(few):
            part = few.few_labels(per_class=count, seed=seed + repeat)
            rows.append((repeat, count, len(part), accuracy(part, held_out)))
    table = pd.DataFrame(rows, columns=["repeat", "per_class", "n_labels", "value"])
    means = table.groupby(["per_class", "n_labels"], as_index=False)["value"].mean()
    line = f"{module}, retrained"
    return table.assign(line=line), means.assign(line=line, baseline=False)


def predict_with_few(outcome: Outcome, seed: int) -> "pd.DataFrame":
    """Return the predicted accuracy of the pick by number of labels, with 95 % intervals."""
    import pandas as pd

    from modtools.selection import rank_modules

    rows, pick = [], outcome.ranking.best
    few = outcome.few[pick]
    for count in (count for count in _counts(few) if count >= _LEAST_PREDICTED):
        n = count * len(few.classes)  # few labels come in rounds of one of each class
        features = {name: task.inputs[:n] for name, task in outcome.few.items()}
        found = rank_modules(features, few.labels[:n], seed=seed).predictions()
        rows.append(found[found["module"] == pick].assign(per_class=count, n_labels=n))
    table = pd.concat(rows) if rows else pd.DataFrame()
    table = table.rename(columns=lambda name: name.replace("predicted", "value"))
    return table.assign(line="predicted from the labels", baseline=False)


# Modules trained here, reused for classes that they were not trained on --------------------------


def make_modules(folder: Path, seed: int) -> "tuple[list[PretrainedModule], dict[str, Any]]":
    """Train a network with each proxy on the digits 0 to 4, and save it into a zoo.

    The modules come with an untrained network and the pixels, and with accuracies on other images.
    """
    from modtools.modules import PretrainedModule, Zoo, pixels
    from modtools.tasks import load_task
    from modtools.training import Augmentation, Recipe, train_modular

    start, zoo, results = time.perf_counter(), Zoo(folder), {}
    train, held_out = load_task("digits").of_classes(list("01234")).split(seed=seed)
    layers, recipe = ["block3", "features"], Recipe(augmentation=Augmentation(shift=1))
    how: dict[str, Any] = {"at": layers, "epochs": EPOCHS, "recipe": recipe, "seed": seed}
    say("Train    small networks on the digits 0 to 4, one per proxy objective")
    for proxy in PROXIES_SHOWN:
        results[proxy] = train_modular(_new_network(seed), train, proxy=proxy, **how)
        results[proxy].save(zoo, name=proxy, test=held_out, overwrite=True)
    seconds = time.perf_counter() - start
    shares = {proxy: 100 * result.accuracy(held_out) for proxy, result in results.items()}
    percents = ", ".join(f"{proxy} {share:.1f} %" for proxy, share in shares.items())
    labels = ", ".join(f"{proxy} {result.labels_needed}" for proxy, result in results.items())
    say(
        f"         {len(train)} images, hidden modules to block3 and to features, no "
        f"gradient between them; {seconds:.1f} s"
    )
    say(f"Accuracy on {len(held_out)} other images of 0 to 4: {percents}")
    say(f"Labels   of 0 to 4 that hidden modules were trained with: {labels}; untrained none")
    say(f"Pairs    tell only which examples are of the same class. {FULL_INFORMATION}")
    prepare = results[PROXIES_SHOWN[0]].modules[0].preprocess
    network = _new_network(seed).eval()
    untrained = PretrainedModule(network, name="untrained", layers=layers, preprocess=prepare)
    figures = {f"accuracy_on_digits_0_to_4_{proxy}": share for proxy, share in shares.items()}
    figures["training_seconds"] = round(seconds, 1)
    return [*(zoo.load(proxy) for proxy in PROXIES_SHOWN), untrained, pixels()], figures


def _new_network(seed: int) -> Any:
    """Return a new network with the same initial weights for each proxy."""
    import torch

    from modtools.training.networks import compact_convnet

    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return compact_convnet(5)


def _reuse_new_modules(zoo: Path, seed: int) -> dict[str, Any]:
    """Rank modules trained here on classes that they were not trained on; return the figures."""
    from modtools.tasks import load_task

    say("")
    modules, figures = make_modules(zoo, seed)
    say("")
    digits = load_task("digits").of_classes(list("56789"))
    few = digits.few_labels(per_class=5, seed=seed)
    outcome = solve(few, digits.complement(few), modules, seed=seed)
    _show(outcome)
    of_each = {f"achieved_accuracy_digits_5_to_9_{m}": 100 * v for m, v in outcome.achieved.items()}
    return {**figures, **outcome.figures("digits_5_to_9"), **of_each}


# Files -------------------------------------------------------------------------------------------


def _write(
    writing: Writing,
    folder: Path,
    known: Sequence[tuple[Outcome, LabelWorth]],
    agreement: "Agreement",
) -> None:
    """Write the three pictures and the table."""
    import pandas as pd

    from modtools._writing import write_file

    rankings = [partial(o.ranking.plot, achieved=o.achieved) for o, _ in known]
    height = 1.4 + 0.34 * len(known[0][0].ranking)
    labels = [worth.display.plot for _, worth in known]
    tables = [
        (table := o.ranking.frame()).assign(task=o.name, achieved=table["module"].map(o.achieved))
        for o, _ in known
    ]
    writing.add(lambda: _draw(rankings, 6.5, height).save(folder / "ranking.png"))
    writing.add(lambda: agreement.plot(score="predicted").save(folder / "agreement.png"))
    writing.add(lambda: _draw(labels, 8.2, 4.6).save(folder / "labels.png"))
    writing.add(lambda: [write_file(folder / "ranking.csv", csv_text(pd.concat(tables)))])


def _draw(plots: Sequence[Callable[..., Any]], width: float, height: float) -> Any:
    """Draw one panel per task, side by side; return the last display, which saves them all."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * len(plots), height), layout="constrained")
    panels = figure.subplots(1, len(plots), squeeze=False)[0]
    return [plot(ax) for plot, ax in zip(plots, panels, strict=True)][-1]
