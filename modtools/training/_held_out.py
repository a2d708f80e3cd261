"""What held-out rows say about modules in training: their loss and an accuracy."""

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modtools.outputs import ClassMeanOutput
from modtools.tasks import Task, encode_labels
from modtools.training._batches import Source, iter_rows
from modtools.training._loop import Learner
from modtools.training._objective import CrossEntropy

__all__ = ["HeldOut", "codes_of"]

_N_REFERENCES: Final = 2000


class HeldOut:
    """Measures the learners of a phase on a validation task.

    The accuracy of an output module is its own; that of a hidden module is the accuracy of class
    means on its features (averaged over places), found on at most 2000 training rows.

    Parameters
    ----------
    task : Task
        The validation task.
    source : Source
        What the first learner reads of its rows.
    training : Task
        The task in training.
    training_source : Source
        What the first learner reads of that task's rows.
    """

    def __init__(
        self, task: Task, source: Source, *, training: Task, training_source: Source
    ) -> None:
        self._source, self._training_source = source, training_source
        # Shuffled: a block of rows sorted by class would give kernel proxies no pair to compare.
        self._rows = np.random.default_rng(0).permutation(len(task))
        self._codes = codes_of(task, training.classes)[self._rows]
        n_rows = len(training)
        self._references = np.linspace(0, n_rows - 1, min(n_rows, _N_REFERENCES)).astype(int)
        self._reference_codes = codes_of(training, training.classes)[self._references]

    def measure(self, learners: list[Learner]) -> dict[str, dict[str, float]]:
        """Return validation_loss and validation_accuracy of each learner by name."""
        for learner in learners:
            learner.module.eval()
            learner.objective.eval()
        sums, outputs = _run(learners, self._source, self._rows, self._codes)
        needs_means = any(not isinstance(one.objective, CrossEntropy) for one in learners)
        chosen = self._references[: len(self._references) if needs_means else 0]
        references = _run(learners, self._training_source, chosen, self._reference_codes)[1]
        found = {}
        for place, learner in enumerate(learners):
            if isinstance(learner.objective, CrossEntropy):
                predicted: NDArray[Any] = outputs[place].argmax(axis=1)
            else:
                means = ClassMeanOutput().fit(references[place], self._reference_codes)
                predicted = means.predict(outputs[place])
            found[learner.name] = {
                "validation_loss": sums[place] / len(self._codes),
                "validation_accuracy": float(np.mean(predicted == self._codes)),
            }
        return found


def codes_of(task: Task, classes: NDArray[Any]) -> NDArray[np.intp]:
    """Return the position of each label of a task in `classes`; a label not among them raises."""
    codes = encode_labels(task.labels, kind="classification", classes=list(classes)).codes
    assert codes is not None  # classification always has codes
    return codes


@torch.no_grad()
def _run(
    learners: list[Learner], source: Source, rows: NDArray[Any], codes: NDArray[np.intp]
) -> tuple[list[float], list[NDArray[Any]]]:
    """Return each learner's summed loss and its outputs, one row an example."""
    sums = [0.0] * len(learners)
    outputs: list[list[NDArray[Any]]] = [[] for _ in learners]
    for block in iter_rows(len(rows)):
        inputs, features = source.batch(rows[block])
        labels = torch.as_tensor(codes[block])
        for place, learner in enumerate(learners):
            features = learner.module(features).float()
            loss = float(learner.objective(features, labels, inputs))
            sums[place] += loss * len(block)
            # Copied, because the next module may work in place.
            outputs[place].append(_to_rows(features).cpu().numpy().copy())
    return sums, [np.concatenate(blocks) if blocks else np.empty((0, 1)) for blocks in outputs]


def _to_rows(features: Tensor) -> Tensor:
    return features.flatten(2).mean(dim=2) if features.ndim > 2 else features
