"""``modtools train``: train modules with proxy objectives, or a network end-to-end."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modtools.cli._inputs import TASK, HeldOut, TaskOptions, split_task
from modtools.cli._options import Run, option, takes_options
from modtools.cli._output import (
    Outputs,
    accuracy_text,
    echo_registry,
    emit,
    say_lines,
)
from modtools.cli._registries import declared_proxies
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    from torch import nn

    from modtools._intervals import MeasuredAccuracy
    from modtools.tasks import Task
    from modtools.training import Recipe, TrainingResult

__all__ = ["FULL_INFORMATION", "train"]

FULL_INFORMATION: Final = "All pairs plus one label per class are full label information."
_LABELS_NEEDED: Final = {
    "none": "hidden modules: none; output module: the class of each example.",
    "pairs": "hidden modules: only which examples are of the same class (pairs); output module: "
    "classes. " + FULL_INFORMATION,
    "classes": "the class of each example.",
}
_ORDERS: Final = {
    "sequential": "strictly modular, one module after the other",
    "simultaneous": "weakly modular, hidden modules at the same time",
}
_END_TO_END: Final = "end_to_end"
_DEFAULT_PROXY: Final = "supcon"
_DEFAULT_SECONDS: Final = 20.0


@dataclass(frozen=True, kw_only=True)
class _SourceTask(TaskOptions):
    task: str = option(TASK, "--task", default="digits", metavar="NAME|PATH")


@dataclass(frozen=True, kw_only=True)
class _Training(Run):
    network: str = option(
        "compact_convnet, resnet18 or multilayer_perceptron.",
        default="compact_convnet",
        metavar="NAME",
    )
    proxy: list[str] | None = option(
        "Proxy objective of the hidden modules (default: supcon); give one for all, or one per "
        "module. --list shows them.",
        "--proxy",
        metavar="NAME",
    )
    schedule: str = option(
        "sequential: a module is trained, frozen, then the next. simultaneous: all at "
        "once, no gradient between them. end_to_end: backpropagation through the whole "
        "network.",
        default="sequential",
        metavar="NAME",
    )
    at: list[str] | None = option(
        "Number of modules, the output module included (default: 2), cut where the largest takes "
        "the least memory; or cut after this block, such as block3: may be repeated, the last one "
        "is features.",
        "--at",
        metavar="N|BLOCK",
    )
    max_seconds: float | None = option(
        "Seconds of the whole training (default: 20, unless --epochs).", metavar="X"
    )
    epochs: int | None = option("Number of epochs of each phase.", metavar="N")
    batch_size: int | None = option("Examples per training step.", metavar="N")
    learning_rate: float | None = option("Peak learning rate.", metavar="X")
    shift: int = option(
        "Augmentation: shift images at random by up to N pixels.", default=0, metavar="N"
    )
    flip: bool = option(
        "Augmentation: mirror images at random; wrong for digits and letters.",
        "--flip",
        default=False,
    )
    precision: str = option(
        "float32, bfloat16, or auto: the faster of the two here.", default="float32", metavar="NAME"
    )
    checkpoint: Path | None = option(
        "Save the state of the run there; a stopped run resumes from it.", metavar="FILE"
    )
    show_list: bool = option("Show all proxies and stop.", "--list", default=False)

    @property
    def proxies(self) -> list[str]:
        """The proxies of the hidden modules; none end-to-end."""
        return [] if self.schedule == _END_TO_END else list(self.proxy or [_DEFAULT_PROXY])


@dataclass(frozen=True, kw_only=True)
class _Saving:
    zoo: Path | None = option("Save the trained modules into this folder.", "--zoo", metavar="DIR")
    name: str | None = option("Name of the module in the zoo.", metavar="NAME")


@takes_options(
    split=None,
    label=None,
    allow_overlap=None,
    target=None,
    csv="Write the history as CSV.",
    plot="Draw accuracy against seconds as FILE.png and FILE.svg.",
    seed="The same seed gives the same modules, where --epochs and not the time ends the training.",
    quiet="Print only the accuracy in percent.",
)
def train(
    source: _SourceTask,
    held_out: HeldOut,
    wanted: _Training,
    saving: _Saving,
    outputs: Outputs,
) -> None:
    """Train a network module by module with proxy objectives, or end-to-end.

    Answers: how do I make modules to reuse, and what does training without end-to-end
    backpropagation cost in accuracy? For example:

        modtools train --zoo zoo/
        modtools train --task fashion-mnist --max-seconds 600 --shift 2 --flip --zoo zoo/
        modtools train --task fashion-mnist --classes 0,2,4,6 --max-seconds 60 --zoo zoo/
        modtools train --at 4 --proxy supcon --schedule simultaneous
        modtools train --at block3 --at features --proxy local_classifier --proxy supcon
        modtools train --schedule end_to_end --max-seconds 20
        modtools train --task my-images/ --max-seconds 3600 --checkpoint run.pt
        modtools train --list

    Each hidden module minimises a proxy objective (a local, layer-wise loss); many of these need
    only pairs: which examples are of the same class. The output module is trained last, with class
    labels on frozen features. No gradient passes from one module to another. --schedule end_to_end
    is the baseline with the same data, time and optimiser. "Accuracy" is measured on held-out test
    examples, which are not used for training.
    """
    if wanted.show_list:
        _show_proxies(outputs.json)
        return
    try:
        with outputs.silence():
            done = _train(source, held_out.test_fraction, wanted, saving, outputs)
        _report(done, outputs)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(str(stop) or _how_to_resume(wanted.checkpoint)) from None


def _show_proxies(json: str | None) -> None:
    """Print every proxy with the labels that it needs and a one-line description."""
    echo_registry("proxies", ["proxy", "labels", "what it is"], declared_proxies(), json=json)


@dataclass
class _Trained:
    """A finished training with its options, and where its network is saved."""

    source: str
    wanted: _Training
    saving: _Saving
    train: "Task"
    test: "Task"
    result: "TrainingResult"
    measured: "MeasuredAccuracy"
    name: str | None
    saved: Path | None = None


def _train(
    source: _SourceTask,
    test_fraction: float | None,
    wanted: _Training,
    saving: _Saving,
    outputs: Outputs,
) -> _Trained:
    """Train, and measure the accuracy on held-out test examples.

    All options are checked before training, so that no time is lost.
    """
    import numpy  # noqa: F401  torch would import it in C, where an interrupt is lost

    from modtools.training import train_end_to_end, train_modular

    how = _modular_options(wanted)
    seconds = wanted.max_seconds
    if wanted.epochs is None and seconds is None:
        seconds = _DEFAULT_SECONDS
    recipe = _recipe(wanted)
    _check_places(wanted, saving, outputs)
    train, test = split_task(source, test_fraction)
    name = _free_name(wanted, saving, train)
    options: dict[str, Any] = {
        "recipe": recipe,
        "precision": wanted.precision,
        "device": wanted.device,
        "checkpoint": wanted.checkpoint,
        "keep_checkpoint": wanted.checkpoint is not None,
        "seed": wanted.seed,
        # Only to be written and drawn: nothing is chosen by the accuracy on these examples.
        "validation": test if outputs.csv or outputs.plot else None,
        "epochs": wanted.epochs,
        "max_seconds": seconds,
    }
    network = _new_network(wanted, train)
    if wanted.schedule == _END_TO_END:
        result = train_end_to_end(network, train, **options)
    else:
        result = train_modular(network, train, **how, **options)
    return _Trained(source.task, wanted, saving, train, test, result, result.evaluate(test), name)


def _check_places(wanted: _Training, saving: _Saving, outputs: Outputs) -> None:
    """Raise for a path that cannot be written."""
    from modtools._places import check_folder
    from modtools.training import check_checkpoint_place

    outputs.check()
    if wanted.checkpoint is not None:
        check_checkpoint_place(wanted.checkpoint)
    if saving.zoo is not None:
        check_folder(saving.zoo)


def _modular_options(wanted: _Training) -> dict[str, Any]:
    """Return schedule, proxies and cuts, or nothing for end-to-end training."""
    from modtools._checks import check_choice
    from modtools.proxies import PROXIES

    check_choice(wanted.schedule, [*_ORDERS, _END_TO_END], name="schedule")
    if wanted.schedule == _END_TO_END:
        if wanted.proxy or wanted.at:
            raise ModtoolsError(
                "end_to_end trains the network as a whole: leave out --proxy and --at."
            )
        return {}
    for proxy in wanted.proxies:
        check_choice(
            proxy, list(PROXIES), name="proxy", hint="modtools train --list shows all of them."
        )
    return {
        "schedule": wanted.schedule,
        "proxy": wanted.proxies[0] if len(wanted.proxies) == 1 else wanted.proxies,
        "at": _cuts(wanted.at or ["2"]),
    }


def _cuts(words: list[str]) -> int | list[str]:
    """Return a number of modules, or the names of the blocks after which to cut."""
    is_number = len(words) == 1 and re.fullmatch(r"[+-]?\d+", words[0])
    return int(words[0]) if is_number else words


def _recipe(wanted: _Training) -> "Recipe":
    from modtools.training import Augmentation, Recipe

    given = {"batch_size": wanted.batch_size, "learning_rate": wanted.learning_rate}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if wanted.shift or wanted.flip:
        options["augmentation"] = Augmentation(shift=wanted.shift, flip=wanted.flip)
    return Recipe(**options)


def _free_name(wanted: _Training, saving: _Saving, task: "Task") -> str | None:
    """Return the name to save the result under, which must not be in use."""
    from modtools._places import check_new_folder
    from modtools.modules import check_module_name

    if saving.zoo is None:
        if saving.name is not None:
            raise ModtoolsError("--name is the name of the module in a zoo: add --zoo DIR.")
        return None
    method = f"{'+'.join(wanted.proxies)}-{wanted.schedule}".lstrip("-")
    words = f"{task.name}-{method}-seed{wanted.seed}".replace(",", "+")
    name = check_module_name(saving.name or re.sub(r"[^\w.+-]+", "-", words)[:100])
    if os.path.lexists(saving.zoo / name):
        raise ModtoolsError(f"{saving.zoo / name} exists; give another --name or --zoo.")
    check_new_folder(saving.zoo / name)
    return name


def _new_network(wanted: _Training, task: "Task") -> "nn.Sequential":
    import torch

    from modtools.training.networks import network_maker

    make = network_maker(task, network=wanted.network)
    with torch.random.fork_rng([]):
        torch.manual_seed(wanted.seed)
        return make()


def _report(done: _Trained, outputs: Outputs) -> None:
    """Print the result, save the network, and write the files asked for.

    The checkpoint goes last: only when all the rest is safe.
    """
    from modtools._escape import csv_text
    from modtools._writing import json_text
    from modtools.training import remove_checkpoint

    emit(
        outputs,
        show=lambda: say_lines(_lines(done)),
        quiet=[f"{100 * done.measured.value:.2f}"],
        json=lambda: json_text(_document(done)),
        csv=lambda: csv_text(done.result.history),
        plot=lambda path: _draw(done, path),
        save=lambda: _save(done, outputs),
        advice=lambda: _next(done),
        rescue=lambda: _how_to_finish(done),
        indent=10,
    )
    if done.wanted.checkpoint is not None:
        remove_checkpoint(done.wanted.checkpoint)


def _save(done: _Trained, outputs: Outputs) -> list[Path]:
    """Save the network if asked to, and print the folder."""
    from modtools.modules import Zoo

    if done.saving.zoo is not None:
        done.saved = done.result.save(Zoo(done.saving.zoo), name=done.name, test=done.test)
        if outputs.is_shown:
            say_lines([("Saved", str(done.saved))])
    return []


def _how_to_resume(checkpoint: Path | None) -> str:
    """Return as text how to resume a training that was stopped after its last step."""
    if checkpoint is None or not checkpoint.exists():
        return ""
    return f"training stopped; the same command resumes from the checkpoint {checkpoint}."


def _how_to_finish(done: _Trained) -> str:
    """Return as text what to do if something could not be written."""
    checkpoint = done.wanted.checkpoint
    if checkpoint is None or not checkpoint.exists():
        return ""
    if done.saved is not None:
        return (
            f"{done.saved} is saved. The checkpoint {checkpoint} is kept: the same command without "
            "--zoo resumes from it."
        )
    return (
        f"The checkpoint {checkpoint} is kept: the same command, with the same "
        "or other files to write, resumes from it."
    )


def _lines(done: _Trained) -> list[tuple[str, str]]:
    result = done.result
    return [
        (
            "Task",
            f"{done.train.name}: {len(done.train)} training examples, {len(done.test)} held out, "
            f"{len(done.train.classes)} classes",
        ),
        ("Trained", _what(done)),
        ("Accuracy", accuracy_text(done.measured, len(done.test))),
        ("Time", f"{result.seconds:.1f} s"),
        ("Memory", f"{result.peak_activation_bytes / 1e6:.1f} MB peak activation memory"),
        ("Labels", _LABELS_NEEDED[result.labels_needed]),
    ]


def _what(done: _Trained) -> str:
    """Return as one line which modules were trained, with which objectives, in which order."""
    wanted = done.wanted
    n_parameters = sum(p.numel() for p in done.result.network.parameters())
    network = f"{wanted.network} ({n_parameters:,} parameters)"
    if wanted.schedule == _END_TO_END:
        return f"{network} end-to-end, with cross-entropy"
    layers = [module.layers[0] for module in done.result.modules]
    proxies = wanted.proxies * len(layers) if len(wanted.proxies) == 1 else wanted.proxies
    parts = [f"to {layer} by {proxy}" for layer, proxy in zip(layers, proxies, strict=True)]
    return f"{network}, {_ORDERS[wanted.schedule]}: {', '.join(parts)}, then the output module"


def _next(done: _Trained) -> str:
    if done.saved is None:
        return "add --zoo zoo/ to save the modules; modtools score then ranks them on a new task"
    return (
        f"modtools score {done.saving.zoo} --task FOLDER (other examples: on those it was trained "
        "on, a module is predicted too well)"
    )


def _document(done: _Trained) -> dict[str, Any]:
    """Return the JSON of the training, with the accuracy on held-out examples."""
    return done.result.document(
        task=done.train.name,
        n_train=len(done.train),
        n_test=len(done.test),
        accuracy=done.measured.value,
        accuracy_low=done.measured.low,
        accuracy_high=done.measured.high,
        saved=None if done.saved is None else str(done.saved),
    )


def _draw(done: _Trained, path: Path) -> list[Path]:
    from matplotlib.figure import Figure

    panels = Figure(figsize=(7.0, 3.6), layout="constrained").subplots()
    return done.result.display().plot(panels).save(path)
