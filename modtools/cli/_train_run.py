"""From the options of ``modtools train`` to a trained network and its accuracy."""

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modtools._checks import check_choice
from modtools._places import check_folder, check_new_folder
from modtools.cli._outputs import check_outputs
from modtools.cli._task_rows import split_task
from modtools.exceptions import ModtoolsError
from modtools.modules._module import check_module_name
from modtools.proxies import PROXIES

if TYPE_CHECKING:
    from torch import nn

    from modtools.tasks import Task
    from modtools.training import Recipe, TrainingResult

__all__ = ["Trained", "Wanted", "network_maker", "train_wanted"]

SCHEDULES: Final = ("sequential", "simultaneous", "end_to_end")
_DEFAULT_PROXY: Final = "supcon"
_DEFAULT_SECONDS: Final = 20.0
_HIDDEN_UNITS: Final = (256, 128)
_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The options of the command, as given; None or empty where left to us."""

    task: str
    network: str
    proxies: Sequence[str] | None
    schedule: str
    n_modules: int | None
    at: Sequence[str] | None
    classes: str | None
    budget: str | None
    epochs: int | None
    batch_size: int | None
    learning_rate: float | None
    shift: int
    flip: bool
    precision: str
    device: str | None
    checkpoint: Path | None
    test_fraction: float | None
    zoo: Path | None
    name: str | None
    json: str | None
    csv: Path | None
    plot: Path | None
    show_list: bool
    seed: int
    quiet: bool


@dataclass
class Trained:
    """What came of it; a checkpoint that was asked for is there until all of it is safe."""

    wanted: Wanted
    train: "Task"
    test: "Task"
    result: "TrainingResult"
    accuracy: float
    name: str | None
    saved: Path | None = None

    def save(self) -> None:
        """Save the network where asked."""
        from modtools.modules import Zoo

        if self.wanted.zoo is not None:
            self.saved = self.result.save(Zoo(self.wanted.zoo), name=self.name, test=self.test)


def train_wanted(wanted: Wanted) -> Trained:
    """Train, and measure the accuracy on held-out rows.

    All that can be wrong is looked at before training, so that no time is lost.
    """
    from modtools.training import train_end_to_end, train_modular

    how = _modular_options(wanted)
    limits = {"epochs": wanted.epochs, "max_seconds": _seconds(wanted)}
    recipe = _recipe(wanted)
    _check_places(wanted)
    train, test = split_task(
        wanted.task, classes=wanted.classes, test_fraction=wanted.test_fraction
    )
    name = _free_name(wanted, train)
    options: dict[str, Any] = {
        "recipe": recipe,
        "precision": wanted.precision,
        "device": wanted.device,
        "checkpoint": wanted.checkpoint,
        "keep_checkpoint": wanted.checkpoint is not None,
        "seed": wanted.seed,
        # Only to be written and drawn: nothing is chosen by the accuracy of these rows.
        "validation": test if wanted.csv or wanted.plot else None,
        **limits,
    }
    network = _new_network(wanted, train)
    if wanted.schedule == "end_to_end":
        result = train_end_to_end(network, train, **options)
    else:
        result = train_modular(network, train, **how, **options)
    return Trained(wanted, train, test, result, result.accuracy(test), name)


def _check_places(wanted: Wanted) -> None:
    """Raise for a place that cannot be written."""
    from modtools.training._checkpoint import check_checkpoint_place

    check_outputs(wanted)
    if wanted.checkpoint is not None:
        check_checkpoint_place(wanted.checkpoint)
    if wanted.zoo is not None:
        check_folder(wanted.zoo)


def _modular_options(wanted: Wanted) -> dict[str, Any]:
    """Return schedule, proxies and cuts, or nothing for end-to-end training."""
    check_choice(wanted.schedule, SCHEDULES, name="schedule")
    if wanted.schedule == "end_to_end":
        if wanted.proxies or wanted.at or wanted.n_modules is not None:
            raise ModtoolsError(
                "end_to_end trains the network as a whole: leave out --proxy, --modules and --at."
            )
        return {}
    if wanted.at and wanted.n_modules is not None:
        raise ModtoolsError("give --modules or --at, not both.")
    proxies = list(wanted.proxies or [_DEFAULT_PROXY])
    for proxy in proxies:
        check_choice(
            proxy, list(PROXIES), name="proxy", hint="modtools train --list shows all of them."
        )
    return {
        "schedule": wanted.schedule,
        "proxy": proxies[0] if len(proxies) == 1 else proxies,
        "at": list(wanted.at) if wanted.at else wanted.n_modules or 2,
    }


def _seconds(wanted: Wanted) -> float | None:
    if wanted.budget is None:
        return _DEFAULT_SECONDS if wanted.epochs is None else None
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([smh]?)", wanted.budget.strip())
    if match is None or float(match[1]) == 0:
        raise ModtoolsError(
            f'--budget must be a time such as 60s, 10m or 1h; got "{wanted.budget}".'
        )
    return float(match[1]) * _UNITS[match[2]]


def _recipe(wanted: Wanted) -> "Recipe":
    from modtools.training import Augmentation, Recipe

    given = {"batch_size": wanted.batch_size, "learning_rate": wanted.learning_rate}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if wanted.shift or wanted.flip:
        options["augmentation"] = Augmentation(shift=wanted.shift, flip=wanted.flip)
    return Recipe(**options)


def _free_name(wanted: Wanted, task: "Task") -> str | None:
    """Return the name under which the result is saved, which must not be taken."""
    if wanted.zoo is None:
        if wanted.name is not None:
            raise ModtoolsError("--name is what a zoo calls the module: add --zoo DIR.")
        return None
    method = "+".join(wanted.proxies or [_DEFAULT_PROXY])
    method = "end_to_end" if wanted.schedule == "end_to_end" else f"{method}-{wanted.schedule}"
    words = f"{task.name}-{method}-seed{wanted.seed}".replace(",", "+")
    name = check_module_name(wanted.name or re.sub(r"[^\w.+-]+", "-", words)[:100])
    if os.path.lexists(wanted.zoo / name):
        raise ModtoolsError(f"{wanted.zoo / name} exists; give another --name or --zoo.")
    check_new_folder(wanted.zoo / name)
    return name


def _new_network(wanted: Wanted, task: "Task") -> "nn.Sequential":
    import torch

    make = network_maker(wanted.network, task)
    with torch.random.fork_rng([]):
        torch.manual_seed(wanted.seed)
        return make()


def network_maker(name: str, task: "Task") -> Callable[[], "nn.Sequential"]:
    """Return what makes a fresh reference network that fits the inputs and classes of a task."""
    from modtools.training.networks import NETWORKS

    make = NETWORKS[check_choice(name, list(NETWORKS), name="network")]
    sample = task.batch([0])
    shape = tuple(getattr(sample, "shape", ()))
    if not shape:
        raise ModtoolsError(
            f"modtools train reads images or rows of numbers; {task.name} holds "
            f"{type(sample[0]).__name__}. In Python, train_modular takes a network and preprocess=."
        )
    n_classes = len(task.classes)
    if name == "multilayer_perceptron":
        return partial(make, [math.prod(shape[1:]), *_HIDDEN_UNITS, n_classes])
    if len(shape) not in (3, 4):
        raise ModtoolsError(
            f"{name} reads images; the rows of {task.name} have shape {shape[1:]}. "
            "Use --network multilayer_perceptron."
        )
    return partial(make, n_classes, _n_channels(shape))


def _n_channels(shape: tuple[int, ...]) -> int:
    """Return the channels of images as `ImagePreprocess` finds them: first, else last."""
    if len(shape) == 3:
        return 1
    return shape[1] if shape[1] in (1, 3, 4) else shape[3]
