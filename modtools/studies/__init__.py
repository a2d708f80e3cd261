"""Studies: questions that need many scores and a truth, answered with evidence."""

from modtools.studies._agreement import score_agreement
from modtools.studies._agreement_result import Agreement
from modtools.studies._efficiency import LabelEfficiency
from modtools.studies._label_efficiency import label_efficiency

__all__ = ["Agreement", "LabelEfficiency", "label_efficiency", "score_agreement"]
