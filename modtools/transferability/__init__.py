"""Transferability scores: how well a module's output lines up with the labels of a new task."""

from modtools._feature_maps import FEATURE_MAPS, FeatureMap
from modtools.transferability._alignment import (
    alignment,
    centered_alignment,
    lfc,
    nmse,
    raw,
    upper_triangle_alignment,
)
from modtools.transferability._builtin import register_builtin_scores
from modtools.transferability._codelength import codelength
from modtools.transferability._dependence import hsic, nhsic
from modtools.transferability._estimate import Estimate
from modtools.transferability._gbc import gbc
from modtools.transferability._half_split import half_split
from modtools.transferability._hscore import hscore, regularized_hscore
from modtools.transferability._inputs import check_scorable as check_scorable
from modtools.transferability._leave_one_out import class_mean, lda, ridge
from modtools.transferability._linear_probe import linear_probe
from modtools.transferability._logistic import logistic
from modtools.transferability._logme import logme
from modtools.transferability._moments import Moments
from modtools.transferability._neighbours import knn
from modtools.transferability._parc import parc
from modtools.transferability._registry import SCORES, Score
from modtools.transferability._score import Scores, score, score_moments
from modtools.transferability._sfda import sfda
from modtools.transferability._source import leep, nce
from modtools.transferability._transrate import transrate

register_builtin_scores()

__all__ = [
    "FEATURE_MAPS",
    "SCORES",
    "Estimate",
    "FeatureMap",
    "Moments",
    "Score",
    "Scores",
    "alignment",
    "centered_alignment",
    "class_mean",
    "codelength",
    "gbc",
    "half_split",
    "hscore",
    "hsic",
    "knn",
    "lda",
    "leep",
    "lfc",
    "linear_probe",
    "logistic",
    "logme",
    "nce",
    "nhsic",
    "nmse",
    "parc",
    "raw",
    "regularized_hscore",
    "ridge",
    "score",
    "score_moments",
    "sfda",
    "transrate",
    "upper_triangle_alignment",
]
