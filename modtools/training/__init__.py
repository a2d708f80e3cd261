"""Modules made with proxy objectives, one after the other or at once, and their baseline."""

from modtools.training import networks
from modtools.training._batches import Augmentation
from modtools.training._end_to_end import train_end_to_end
from modtools.training._modular import train_modular
from modtools.training._options import Recipe
from modtools.training._result import TrainingResult
from modtools.training._split import split

__all__ = [
    "Augmentation",
    "Recipe",
    "TrainingResult",
    "networks",
    "split",
    "train_end_to_end",
    "train_modular",
]
