"""Displays: plots of tidy frames; matplotlib is imported only by `plot`."""

from modtools.plotting._agreement import AgreementDisplay
from modtools.plotting._display import check_picture_place as check_picture_place
from modtools.plotting._label_efficiency import LabelEfficiencyDisplay
from modtools.plotting._pareto import ParetoDisplay
from modtools.plotting._race import RaceDisplay
from modtools.plotting._ranking import RankingDisplay
from modtools.plotting._task_space import TaskSpaceDisplay
from modtools.plotting._training import TrainingDisplay

__all__ = [
    "AgreementDisplay",
    "LabelEfficiencyDisplay",
    "ParetoDisplay",
    "RaceDisplay",
    "RankingDisplay",
    "TaskSpaceDisplay",
    "TrainingDisplay",
]
