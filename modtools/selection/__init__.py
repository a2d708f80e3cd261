"""Selection: from scores of several modules on one task to a decision."""

from modtools.selection._rank_modules import rank_modules
from modtools.selection._ranking import ACCURACIES, Ranking

__all__ = ["ACCURACIES", "Ranking", "rank_modules"]
