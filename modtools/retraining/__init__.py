"""Retrain the output module only: which examples to label, and how accurate the result is."""

from modtools.retraining._choose import STRATEGIES as STRATEGIES, choose_labels
from modtools.retraining._curve import LearningCurve
from modtools.retraining._error_law import ErrorLaw as ErrorLaw
from modtools.retraining._extrapolation import extrapolate
from modtools.retraining._forecast import Forecast
from modtools.retraining._label_counts import (
    LabelsToReach as LabelsToReach,
    labels_at as labels_at,
    rising as rising,
)
from modtools.retraining._labels_needed import next_target
from modtools.retraining._learning_curve import learning_curve
from modtools.retraining._overlap import (
    encode_both as encode_both,
    raise_if_shared as raise_if_shared,
    rows_also_in as rows_also_in,
)
from modtools.retraining._retrain import OUTPUTS as OUTPUTS, retrain
from modtools.retraining._reused import ReusedModel

__all__ = [
    "Forecast",
    "LearningCurve",
    "ReusedModel",
    "choose_labels",
    "extrapolate",
    "learning_curve",
    "next_target",
    "retrain",
]
