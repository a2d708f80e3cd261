"""Scores of a module's source-class probabilities: NCE and LEEP."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from modtools._checks import check_choice, check_lengths, check_probabilities, rows_per_block
from modtools._types import FloatArray, FloatMatrix
from modtools.tasks import Labels, encode_labels
from modtools.transferability._accumulate import label_sums
from modtools.transferability._inputs import check_scorable

__all__ = ["leep", "leep_of_probabilities", "nce", "nce_of_probabilities"]


def _door(source_probabilities: Any, labels: Any, score: str) -> tuple[FloatArray, Labels]:
    probabilities = check_probabilities(source_probabilities)
    encoded = encode_labels(labels)
    check_lengths(source_probabilities=probabilities, labels=encoded)
    return probabilities, check_scorable(encoded, kinds=("classification",), score=score)


def _joint(probabilities: FloatArray, labels: Labels) -> FloatMatrix:
    """Return the soft joint counts of target and source classes, (n_classes, n_source_classes)."""
    assert labels.codes is not None
    joint = np.zeros((labels.n_classes, probabilities.shape[1]))
    step = rows_per_block(probabilities.shape[1], 8)
    for start in range(0, len(labels), step):
        rows = slice(start, start + step)
        add_up = label_sums(labels.codes[rows], labels.n_classes, np.float64)
        joint += add_up @ probabilities[rows].astype(np.float64)
    return joint


def _negative_conditional_entropy(joint: FloatMatrix) -> float:
    """Return -H(Y|Z) of joint counts (y, z), in nats."""
    joint = joint / joint.sum()
    marginal = np.broadcast_to(joint.sum(axis=0), joint.shape)
    positive = joint > 0
    return float((joint[positive] * np.log(joint[positive] / marginal[positive])).sum())


def nce_of_probabilities(
    probabilities: FloatArray, labels: Labels, *, assignment: str = "hard"
) -> float:
    """NCE of checked probabilities; see `nce`."""
    if assignment == "soft":
        return _negative_conditional_entropy(_joint(probabilities, labels))
    assert labels.codes is not None
    n_source = probabilities.shape[1]
    cells = labels.codes * n_source + probabilities.argmax(axis=1)
    joint = np.bincount(cells, minlength=labels.n_classes * n_source).astype(np.float64)
    return _negative_conditional_entropy(joint.reshape(labels.n_classes, n_source))


def nce(source_probabilities: ArrayLike, labels: ArrayLike, *, assignment: str = "hard") -> float:
    """NCE: minus the entropy of the labels given the source class that the module predicts.

    Parameters
    ----------
    source_probabilities : array-like of shape (n_samples, n_source_classes)
        Rows sum to 1; ties of the largest entry go to the first.
    labels : array-like of shape (n_samples,)
        Classes of the target task.
    assignment : {"hard", "soft"}, default="hard"
        "soft" weighs source classes by their probability, as one public code base does.

    Returns
    -------
    float
        Nats, in [-H(labels), 0]; higher is better.

    Raises
    ------
    ModtoolsError
        Rows that do not sum to 1, lengths that differ, fewer than two classes.

    References
    ----------
    Tran, Nguyen & Hassner, "Transferability and hardness of supervised classification tasks", ICCV
    2019.

    Examples
    --------
    >>> round(nce([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]], [0, 0, 1, 1]), 4)
    -0.4774
    """
    check_choice(assignment, ["hard", "soft"], name="assignment")
    return nce_of_probabilities(*_door(source_probabilities, labels, "nce"), assignment=assignment)


def leep_of_probabilities(
    probabilities: FloatArray, labels: Labels, *, logarithm: bool = True
) -> float:
    """LEEP of checked probabilities; see `leep`."""
    assert labels.codes is not None
    joint = _joint(probabilities, labels)
    mass = joint.sum(axis=0)
    conditional = joint / np.where(mass > 0, mass, 1.0)
    total, step = 0.0, rows_per_block(probabilities.shape[1], 8)
    for start in range(0, len(labels), step):
        rows = slice(start, start + step)
        expected = np.einsum(
            "iz,iz->i", conditional[labels.codes[rows]], probabilities[rows].astype(np.float64)
        )
        # A row counts itself in the joint, so its expected probability cannot be 0.
        total += float((np.log(expected) if logarithm else expected).sum())
    return total / len(labels)


def leep(source_probabilities: ArrayLike, labels: ArrayLike, *, logarithm: bool = True) -> float:
    """LEEP: mean log probability of the labels under the module's own head, translated.

    Parameters
    ----------
    source_probabilities : array-like of shape (n_samples, n_source_classes)
        Rows sum to 1.
    labels : array-like of shape (n_samples,)
        Classes of the target task.
    logarithm : bool, default=True
        False gives the mean probability, as some public code does: another number, another ranking.

    Returns
    -------
    float
        Nats a row, in [-H(labels), 0]; higher is better.

    Raises
    ------
    ModtoolsError
        Rows that do not sum to 1, lengths that differ, fewer than two classes.

    References
    ----------
    Nguyen et al., "LEEP: a new measure to evaluate transferability of learned representations",
    ICML 2020, equation 2.

    Examples
    --------
    >>> round(leep([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]], [0, 0, 1, 1]), 4)
    -0.5347
    """
    return leep_of_probabilities(*_door(source_probabilities, labels, "leep"), logarithm=logarithm)
