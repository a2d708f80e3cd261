"""Studies: questions that need many scores and a truth, answered with evidence."""

from modtools.studies._agreement import Agreement, score_agreement

__all__ = ["Agreement", "score_agreement"]
