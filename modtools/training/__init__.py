"""Modular training with proxy objectives, and the end-to-end baseline."""

from modtools.training import networks
from modtools.training._batches import Augmentation
from modtools.training._callbacks import Callback, TrainingState
from modtools.training._checkpoint import (
    check_checkpoint_place as check_checkpoint_place,
    remove_checkpoint as remove_checkpoint,
)
from modtools.training._options import Recipe
from modtools.training._result import TrainingResult
from modtools.training._split import split
from modtools.training._train import train_end_to_end, train_modular

__all__ = [
    "Augmentation",
    "Callback",
    "Recipe",
    "TrainingResult",
    "TrainingState",
    "networks",
    "split",
    "train_end_to_end",
    "train_modular",
]
