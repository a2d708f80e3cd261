"""Whether a task can tell what a reused model is worth: of its kind, and of other rows."""

from typing import TYPE_CHECKING, Any

import numpy as np

from modtools.exceptions import ModtoolsError
from modtools.tasks import Task

if TYPE_CHECKING:
    from modtools.retraining._reused import ReusedModel

__all__ = ["check_test_task"]


def check_test_task(model: "ReusedModel", task: Any, *, allow_overlap: bool, measure: str) -> Task:
    """Return the task if it tells what a model is worth, else raise."""
    if not isinstance(task, Task) or task.kind != model.kind:
        raise ModtoolsError(f"{measure} needs a {model.kind} task; got {task!r}.")
    if model.kind == "classification":
        strange = np.flatnonzero(~np.isin(task.labels, model.classes))
        if strange.size:
            raise ModtoolsError(
                f"labels of {task.name} must be among the {len(model.classes)} classes of "
                f"{model.task_name}; got {task.labels[strange[0]].item()!r} in row {strange[0]} "
                f"({strange.size} such)."
            )
    elif len(task.classes) != len(model.classes):
        raise ModtoolsError(
            f"{task.name} must have the {len(model.classes)} label columns of "
            f"{model.task_name}; got {len(task.classes)}."
        )
    if not allow_overlap and model.n_labels:
        shared = np.flatnonzero(np.isin(task.row_fingerprints, model.row_fingerprints))
        if shared.size:
            raise ModtoolsError(
                f"{shared.size} of {len(task)} rows of {task.name} equal training rows, first "
                f"row {shared[0]}. Take them out, for example with complement, or use "
                "allow_overlap=True if inputs repeat by nature."
            )
    return task
