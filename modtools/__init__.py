"""modtools: which pretrained modules to reuse for a new task, and how many labels that takes.

A *module* is a pretrained network (a backbone) read at a layer. All predictions are about a
*retrained output module* (a linear head, or linear probe) on frozen features, not about full
fine-tuning. Importing modtools is fast: every public name is loaded on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "PROXIES": "modtools.proxies",
    "SCORES": "modtools.transferability",
    "Agreement": "modtools.studies",
    "CombinedModule": "modtools.modules",
    "Forecast": "modtools.retraining",
    "LabelEfficiency": "modtools.studies",
    "LearningCurve": "modtools.retraining",
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
    "TaskSpace": "modtools.studies",
    "TrainingResult": "modtools.training",
    "Zoo": "modtools.modules",
    "choose_labels": "modtools.retraining",
    "extract": "modtools.modules",
    "extrapolate": "modtools.retraining",
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
    "PROXIES",
    "SCORES",
    "Agreement",
    "CombinedModule",
    "Forecast",
    "LabelEfficiency",
    "LearningCurve",
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
    "TaskSpace",
    "TrainingResult",
    "Zoo",
    "__version__",
    "choose_labels",
    "extract",
    "extrapolate",
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
    from modtools.proxies import PROXIES
    from modtools.retraining import (
        Forecast,
        LearningCurve,
        ReusedModel,
        choose_labels,
        extrapolate,
        learning_curve,
        retrain,
    )
    from modtools.selection import (
        Race,
        Ranking,
        Selection,
        race_modules,
        rank_modules,
        select_modules,
    )
    from modtools.studies import (
        Agreement,
        LabelEfficiency,
        TaskSpace,
        label_efficiency,
        score_agreement,
        task_space,
    )
    from modtools.tasks import Task, load_task
    from modtools.training import TrainingResult, train_end_to_end, train_modular
    from modtools.transferability import SCORES, Moments, score


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'modtools' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
