"""Scores computed from a module's source-class probabilities: NCE and LEEP."""

import numpy as np

from modtools._checks import check_choice, rows_per_block
from modtools._types import FloatArray, FloatMatrix
from modtools.tasks import Labels
from modtools.transferability._accumulate import label_sums
from modtools.transferability._declare import register_score

__all__ = ["leep", "nce"]


def _joint(probabilities: FloatArray, labels: Labels) -> FloatMatrix:
    """Return the soft joint counts of target and source classes, (n_classes, n_source_classes)."""
    assert labels.codes is not None
    joint = np.zeros((labels.n_classes, probabilities.shape[1]))
    step = rows_per_block(probabilities.shape[1], 8)
    for start in range(0, len(labels), step):
        rows = slice(start, start + step)
        per_class = label_sums(labels.codes[rows], labels.n_classes, np.float64)
        joint += per_class @ probabilities[rows].astype(np.float64)
    return joint


def _negative_conditional_entropy(joint: FloatMatrix) -> float:
    """Return -H(Y|Z) of joint counts (y, z), in nats."""
    joint = joint / joint.sum()
    marginal = np.broadcast_to(joint.sum(axis=0), joint.shape)
    positive = joint > 0
    return float((joint[positive] * np.log(joint[positive] / marginal[positive])).sum())


@register_score(
    needs="source_probabilities",
    range="[-H(Y), 0] nats",
    reference="Tran et al., ICCV 2019",
)
def nce(probabilities: FloatArray, labels: Labels, *, assignment: str = "hard") -> float:
    """NCE: minus the conditional entropy H(label | predicted source class).

    Parameters
    ----------
    assignment : {"hard", "soft"}, default="hard"
        "soft" weights source classes by their probability, as one public implementation does.

    Returns
    -------
    float
        Nats per example, in [-H(labels), 0]; higher is better.

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
    if assignment == "soft":
        return _negative_conditional_entropy(_joint(probabilities, labels))
    assert labels.codes is not None
    n_source = probabilities.shape[1]
    cells = labels.codes * n_source + probabilities.argmax(axis=1)
    joint = np.bincount(cells, minlength=labels.n_classes * n_source).astype(np.float64)
    return _negative_conditional_entropy(joint.reshape(labels.n_classes, n_source))


@register_score(
    needs="source_probabilities",
    passes=2,
    range="[-H(Y), 0] nats",
    reference="Nguyen et al., ICML 2020",
)
def leep(probabilities: FloatArray, labels: Labels, *, logarithm: bool = True) -> float:
    """LEEP: log expected empirical prediction, from the module's source-class probabilities.

    With theta(z) the source-class probabilities of an example and P(y | z) the empirical
    conditional distribution, it is the mean of log sum over z of P(y | z) theta(z).

    Parameters
    ----------
    logarithm : bool, default=True
        False gives the mean probability instead, as some public code does; it may rank modules
        differently.

    Returns
    -------
    float
        Nats per example, in [-H(labels), 0]; higher is better. With ``logarithm=False`` a
        probability, in (0, 1].

    References
    ----------
    Nguyen et al., "LEEP: a new measure to evaluate transferability of learned representations",
    ICML 2020, equation 2.

    Examples
    --------
    >>> round(leep([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]], [0, 0, 1, 1]), 4)
    -0.5347
    """
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
        # Each example contributes to the joint, so its expected probability cannot be 0.
        total += float((np.log(expected) if logarithm else expected).sum())
    return total / len(labels)
