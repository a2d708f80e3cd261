"""Output modules: linear machines on frozen features, each with its leave-one-out."""

from modtools.outputs._class_mean import ClassMeanOutput
from modtools.outputs._logistic import LogisticOutput
from modtools.outputs._regression import RidgeRegressionOutput
from modtools.outputs._ridge_output import RidgeOutput

__all__ = ["ClassMeanOutput", "LogisticOutput", "RidgeOutput", "RidgeRegressionOutput"]
