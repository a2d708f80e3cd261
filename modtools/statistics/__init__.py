"""Mergeable moments of features and labels, and the feature maps they carry."""

from modtools.statistics._feature_maps import FEATURE_MAPS, FeatureMap
from modtools.statistics._moments import Moments
from modtools.statistics._summarise import summarise
from modtools.statistics._summary import Spectrum, Summary

__all__ = ["FEATURE_MAPS", "FeatureMap", "Moments", "Spectrum", "Summary", "summarise"]
