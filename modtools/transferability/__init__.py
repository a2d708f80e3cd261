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
from modtools.transferability._codelength import codelength
from modtools.transferability._declare import check_scorable as check_scorable, register_score
from modtools.transferability._dependence import hsic, nhsic
from modtools.transferability._gbc import gbc
from modtools.transferability._half_split import half_split
from modtools.transferability._hscore import hscore, regularized_hscore
from modtools.transferability._leave_one_out import class_mean, lda, ridge
from modtools.transferability._linear_probe import linear_probe
from modtools.transferability._logistic import logistic
from modtools.transferability._logme import logme
from modtools.transferability._moments import Moments
from modtools.transferability._neighbours import knn
from modtools.transferability._parc import parc
from modtools.transferability._registry import (
    SCORES,
    Estimate,
    NotFiniteScoreError as NotFiniteScoreError,
    Score,
    Scores,
)
from modtools.transferability._score import score, score_moments
from modtools.transferability._sfda import sfda
from modtools.transferability._source import leep, nce
from modtools.transferability._transrate import transrate

# Tables and results show the scores in this order.
SCORES.arrange([
    "nce", "leep", "hscore", "regularized_hscore", "logme", "transrate", "gbc", "sfda", "lfc",
    "parc", "alignment", "upper_triangle_alignment", "centered_alignment", "nmse", "raw", "hsic",
    "nhsic", "knn", "class_mean", "lda", "ridge", "logistic", "linear_probe", "half_split",
    "codelength",
])  # fmt: skip

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
    "register_score",
    "regularized_hscore",
    "ridge",
    "score",
    "score_moments",
    "sfda",
    "transrate",
    "upper_triangle_alignment",
]
