"""modtools: which pretrained modules to reuse for a new task, and how many labels it takes.

What is predicted throughout is the accuracy of a *retrained output module* on frozen features, not
of full fine-tuning. Importing modtools is cheap: every public name is loaded on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "CombinedModule": "modtools.modules",
    "ModtoolsError": "modtools.exceptions",
    "ModtoolsWarning": "modtools.exceptions",
    "ModuleCollection": "modtools.modules",
    "Moments": "modtools.transferability",
    "PretrainedModule": "modtools.modules",
    "Race": "modtools.selection",
    "Ranking": "modtools.selection",
    "ReusedModel": "modtools.retraining",
    "Selection": "modtools.selection",
    "Task": "modtools.tasks",
    "Zoo": "modtools.modules",
    "choose_labels": "modtools.retraining",
    "extract": "modtools.modules",
    "iter_features": "modtools.modules",
    "label_efficiency": "modtools.studies",
    "learning_curve": "modtools.retraining",
    "load_task": "modtools.tasks",
    "race_modules": "modtools.selection",
    "rank_modules": "modtools.selection",
    "retrain": "modtools.retraining",
    "score": "modtools.transferability",
    "score_agreement": "modtools.studies",
    "select_modules": "modtools.selection",
    "task_space": "modtools.studies",
    "train_end_to_end": "modtools.training",
    "train_modular": "modtools.training",
}

__all__ = [
    "CombinedModule",
    "ModtoolsError",
    "ModtoolsWarning",
    "ModuleCollection",
    "Moments",
    "PretrainedModule",
    "Race",
    "Ranking",
    "ReusedModel",
    "Selection",
    "Task",
    "Zoo",
    "__version__",
    "choose_labels",
    "extract",
    "iter_features",
    "label_efficiency",
    "learning_curve",
    "load_task",
    "race_modules",
    "rank_modules",
    "retrain",
    "score",
    "score_agreement",
    "select_modules",
    "task_space",
    "train_end_to_end",
    "train_modular",
]

if TYPE_CHECKING:
    from modtools.exceptions import ModtoolsError, ModtoolsWarning
    from modtools.modules import (
        CombinedModule,
        ModuleCollection,
        PretrainedModule,
        Zoo,
        extract,
        iter_features,
    )
    from modtools.retraining import ReusedModel, choose_labels, learning_curve, retrain
    from modtools.selection import (
        Race,
        Ranking,
        Selection,
        race_modules,
        rank_modules,
        select_modules,
    )
    from modtools.studies import label_efficiency, score_agreement, task_space
    from modtools.tasks import Task, load_task
    from modtools.training import train_end_to_end, train_modular
    from modtools.transferability import Moments, score


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'modtools' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
