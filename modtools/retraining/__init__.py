"""Retrain the output module only: with which labels, and what comes out."""

from modtools.retraining._choose import choose_labels
from modtools.retraining._retrain import retrain
from modtools.retraining._reused import ReusedModel

__all__ = ["ReusedModel", "choose_labels", "retrain"]
