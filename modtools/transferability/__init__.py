"""Transferability scores: how well the features of a module fit the labels of a new task."""

from modtools._feature_maps import FEATURE_MAPS, FeatureMap
from modtools.transferability._accuracies import class_mean, lda, linear_probe, logistic, ridge
from modtools.transferability._declare import check_scorable as check_scorable, register_score
from modtools.transferability._kernels import (
    alignment,
    centered_alignment,
    hsic,
    lfc,
    nhsic,
    nmse,
    raw,
    upper_triangle_alignment,
)
from modtools.transferability._logme import logme
from modtools.transferability._losses import codelength, half_split
from modtools.transferability._moments import Moments
from modtools.transferability._pairs import knn, parc
from modtools.transferability._registry import (
    SCORES,
    Estimate,
    NotFiniteScoreError as NotFiniteScoreError,
    Score,
    Scores,
)
from modtools.transferability._scatter import gbc, hscore, regularized_hscore, sfda, transrate
from modtools.transferability._score import score
from modtools.transferability._source import leep, nce

# The order of the scores in tables and results.
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
    "sfda",
    "transrate",
    "upper_triangle_alignment",
]
