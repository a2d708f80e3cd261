"""Studies: label efficiency, agreement of scores with achieved accuracies, and task space."""

from modtools.studies._agreement import Agreement, score_agreement
from modtools.studies._cells import check_study_folder as check_study_folder
from modtools.studies._efficiency import LabelEfficiency
from modtools.studies._label_efficiency import label_efficiency
from modtools.studies._tables import read_table as read_table
from modtools.studies._task_space import DistanceAgreement, TaskSpace, task_space

__all__ = [
    "Agreement",
    "DistanceAgreement",
    "LabelEfficiency",
    "TaskSpace",
    "label_efficiency",
    "score_agreement",
    "task_space",
]
