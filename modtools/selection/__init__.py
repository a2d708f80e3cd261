"""Selection: from scores of several modules on one task to a decision."""

from modtools.selection._race import race_modules
from modtools.selection._race_result import Race
from modtools.selection._rank_modules import rank_modules
from modtools.selection._ranking import (
    PREDICTED as PREDICTED,
    Ranking,
    is_accuracy as is_accuracy,
)
from modtools.selection._ranking_notes import probability_text as probability_text
from modtools.selection._select_modules import select_modules
from modtools.selection._selection import Selection

__all__ = [
    "Race",
    "Ranking",
    "Selection",
    "race_modules",
    "rank_modules",
    "select_modules",
]
