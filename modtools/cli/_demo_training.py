"""The last part of the demo: modules trained on five digits, reused for the other five."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modtools.cli._demo_tasks import DemoTask, Outcome, solve
from modtools.cli._task_rows import choose_classes
from modtools.tasks import load_task

if TYPE_CHECKING:
    from modtools.modules import PretrainedModule
    from modtools.tasks import Task
    from modtools.training import TrainingResult

__all__ = ["Shelf", "make_shelf", "solve_shelf"]

EPOCHS: Final = 4  # not seconds, so that a seed gives the same figures on every machine
PER_CLASS: Final = 5
PROXIES_SHOWN: Final = ("supcon", "nmse", "local_classifier")
_SOURCE, _TARGET = "01234", "56789"
_AT: Final = ["block3", "features"]
_UNTRAINED: Final = "untrained"


@dataclass(frozen=True)
class Shelf:
    """Networks trained on the source task, saved, and an untrained one beside them.

    Attributes
    ----------
    source, held_out : Task
        Rows trained on, and rows of the same classes kept aside.
    results : dict
        Training result by proxy.
    accuracies : dict
        Accuracy on `held_out` by proxy, in [0, 1].
    modules : list of PretrainedModule
        As the zoo gives them back, then the untrained network and the pixels.
    seconds : float
        What training and saving took.
    """

    source: "Task"
    held_out: "Task"
    results: dict[str, "TrainingResult"]
    accuracies: dict[str, float]
    modules: list["PretrainedModule"]
    seconds: float

    def labels_needed(self, module: str) -> str:
        """Return what a module of the table had to know of its source task."""
        result = self.results.get(module.partition("@")[0])
        return "nothing" if result is None else result.labels_needed


def make_shelf(folder: Path, seed: int) -> Shelf:
    """Train a network with each proxy on the digits 0 to 4 and save it into a zoo."""
    from modtools.modules import PretrainedModule, Zoo, pixels
    from modtools.training import Augmentation, Recipe, train_modular

    start = time.perf_counter()
    train, held_out = choose_classes(load_task("digits"), list(_SOURCE)).split(seed=seed)
    how: dict[str, Any] = {
        "at": _AT,
        "epochs": EPOCHS,
        "recipe": Recipe(augmentation=Augmentation(shift=1)),
        "seed": seed,
    }
    zoo = Zoo(folder)
    results, accuracies = {}, {}
    for proxy in PROXIES_SHOWN:
        results[proxy] = train_modular(_new_network(seed), train, proxy=proxy, **how)
        accuracies[proxy] = results[proxy].accuracy(held_out)
        results[proxy].save(zoo, name=proxy, test=held_out, overwrite=True)
    prepare = results[PROXIES_SHOWN[0]].modules[0].preprocess
    untrained = PretrainedModule(
        _new_network(seed).eval(), name=_UNTRAINED, tap=_AT, preprocess=prepare
    )
    modules = [*(zoo.load(proxy) for proxy in PROXIES_SHOWN), untrained, pixels()]
    return Shelf(train, held_out, results, accuracies, modules, time.perf_counter() - start)


def solve_shelf(shelf: Shelf, *, seed: int) -> Outcome:
    """Score the shelf on few labels of the digits 5 to 9, and retrain an output module on each."""
    target = choose_classes(load_task("digits"), list(_TARGET))
    few = target.few_labels(per_class=PER_CLASS, seed=seed)
    task = DemoTask(target, few.rows, target.complement(few).rows)
    return solve(task, shelf.modules, seed=seed)


def _new_network(seed: int) -> Any:
    """Return the same fresh network for each proxy."""
    import torch

    from modtools.training.networks import compact_convnet

    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return compact_convnet(len(_SOURCE))
