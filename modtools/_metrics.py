"""Metrics: how good held-out decision values are, each a function ``(labels, decisions) -> float``.

Decision values are what an output module says of examples it was not trained on: for classes one
column per class, the largest wins; for several labels one column per label, positive means yes; for
numbers the predicted numbers. A metric is a plain function of them, so that any callable of the
user is one too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, Final

import numpy as np

from modtools._checks import check_choice
from modtools._types import FloatMatrix
from modtools.exceptions import ModtoolsError

__all__ = ["METRICS", "Metric", "check_accuracy", "check_metric"]

Function = Callable[[Any, FloatMatrix], float]
_CLASSES: Final = frozenset({"classification"})
_BOTH: Final = frozenset({"classification", "multilabel"})
_NUMBERS: Final = frozenset({"regression"})


@dataclass(frozen=True)
class Metric:
    """A metric, what it is defined for, and how to read it.

    Attributes
    ----------
    name : str
        What tables call it.
    function : callable
        Maps labels (class codes of shape (n,), 0/1 of shape (n, n_labels), or numbers) and decision
        values to a finite number.
    kinds : frozenset of str
        Kinds of labels that it is defined for.
    higher_is_better : bool
        The direction.
    is_fraction : bool
        Whether it lies in [0, 1], so that text shows percent.
    """

    name: str
    function: Function
    kinds: frozenset[str]
    higher_is_better: bool = True
    is_fraction: bool = True

    def __call__(self, labels: Any, decisions: Any) -> float:
        """Return the metric of labels and decision values, a finite number.

        Parameters
        ----------
        labels : ndarray
            Class codes (n,), zeros and ones (n, n_labels), or numbers (n,) or (n, n_targets).
        decisions : ndarray of shape (n, n_columns)
            Decision values.

        Returns
        -------
        float
            The metric.

        Raises
        ------
        ModtoolsError
            The metric is not defined for these labels, or a callable returned no finite number.
        """
        decisions = np.asarray(decisions, dtype=np.float64)
        decisions = decisions[:, None] if decisions.ndim == 1 else decisions
        value: Any = self.function(np.asarray(labels), decisions)  # whatever a user returns
        if not isinstance(value, Real) or not np.isfinite(float(value)):
            raise ModtoolsError(
                f"metric {self.name} must return a finite number; got {value!r} for "
                f"{len(decisions)} examples."
            )
        return float(value)


def _predicted(labels: Any, decisions: FloatMatrix) -> Any:
    return decisions.argmax(axis=1) if labels.ndim == 1 else decisions > 0


def _accuracy(labels: Any, decisions: FloatMatrix) -> float:
    """Share of correct classes, or of correct entries of several labels."""
    return float(np.mean(_predicted(labels, decisions) == labels))


def _balanced_accuracy(codes: Any, decisions: FloatMatrix) -> float:
    """Mean over the classes that occur of the share of their examples that is right."""
    right = decisions.argmax(axis=1) == codes
    counts = np.bincount(codes, minlength=decisions.shape[1])
    right_counts = np.bincount(codes, weights=right, minlength=decisions.shape[1])
    return float(np.mean(right_counts[counts > 0] / counts[counts > 0]))


def _f1(average: str) -> Function:
    def f1(labels: Any, decisions: FloatMatrix) -> float:
        from sklearn.metrics import f1_score

        predicted = _predicted(labels, decisions)
        return float(f1_score(labels, predicted, average=average, zero_division=0))

    return f1


def _log_loss(codes: Any, decisions: FloatMatrix) -> float:
    """Mean negative log probability in nats, decision values read as logits."""
    from scipy.special import log_softmax

    log_probabilities: FloatMatrix = log_softmax(decisions, axis=1)
    return -float(log_probabilities[np.arange(len(codes)), codes].mean())


def _roc_auc(labels: Any, decisions: FloatMatrix) -> float:
    """Mean over classes, one against the rest, or over several labels."""
    from sklearn.metrics import roc_auc_score

    return _mean_over_answers(labels, decisions, "roc_auc", roc_auc_score)


def _average_precision(labels: Any, decisions: FloatMatrix) -> float:
    """Mean over classes, one against the rest, or over several labels."""
    from sklearn.metrics import average_precision_score

    return _mean_over_answers(labels, decisions, "average_precision", average_precision_score)


def _mean_over_answers(labels: Any, decisions: FloatMatrix, name: str, score: Function) -> float:
    """Average a metric of yes and no over the columns in which both answers occur."""
    is_yes = labels if labels.ndim > 1 else labels[:, None] == np.arange(decisions.shape[1])
    columns = np.flatnonzero(is_yes.any(axis=0) & ~is_yes.all(axis=0))
    if not columns.size:
        raise ModtoolsError(
            f"{name} needs examples of two classes; all {len(labels)} have the same label."
        )
    return float(np.mean([score(is_yes[:, c], decisions[:, c]) for c in columns]))


def _in_columns(targets: Any) -> FloatMatrix:
    """Return targets as (n, n_targets)."""
    return np.asarray(targets, dtype=np.float64).reshape(len(targets), -1)


def _mean_absolute_error(targets: Any, predicted: FloatMatrix) -> float:
    return float(np.abs(_in_columns(targets) - predicted).mean())


def _root_mean_squared_error(targets: Any, predicted: FloatMatrix) -> float:
    """Root per target, then the mean over targets."""
    return float(np.sqrt(np.square(_in_columns(targets) - predicted).mean(axis=0)).mean())


def _r2(targets: Any, predicted: FloatMatrix) -> float:
    """Mean over targets of the share of variance that is explained."""
    targets = _varying(targets, "r2")
    errors = np.square(targets - predicted).sum(axis=0)
    return float(np.mean(1 - errors / np.square(targets - targets.mean(axis=0)).sum(axis=0)))


def _spearman(targets: Any, predicted: FloatMatrix) -> float:
    """Mean over targets of the correlation of ranks; 0 for predictions that order nothing."""
    from scipy.stats import spearmanr

    pairs = zip(_varying(targets, "spearman").T, predicted.T, strict=True)
    return float(np.mean([spearmanr(t, p).statistic if np.ptp(p) else 0.0 for t, p in pairs]))


def _varying(targets: Any, name: str) -> FloatMatrix:
    columns = _in_columns(targets)
    if not np.ptp(columns, axis=0).all():
        raise ModtoolsError(f"{name} needs targets that vary; one is constant.")
    return columns


METRICS: Final = {
    metric.name: metric
    for metric in (
        Metric("accuracy", _accuracy, _BOTH),
        Metric("balanced_accuracy", _balanced_accuracy, _CLASSES),
        Metric("f1_macro", _f1("macro"), _BOTH),
        Metric("f1_micro", _f1("micro"), _BOTH),
        Metric("roc_auc", _roc_auc, _BOTH),
        Metric("average_precision", _average_precision, _BOTH),
        Metric("log_loss", _log_loss, _CLASSES, higher_is_better=False, is_fraction=False),
        Metric("r2", _r2, _NUMBERS, is_fraction=False),
        Metric("spearman", _spearman, _NUMBERS, is_fraction=False),
        Metric("mean_absolute_error", _mean_absolute_error, _NUMBERS, False, False),
        Metric("root_mean_squared_error", _root_mean_squared_error, _NUMBERS, False, False),
    )
}


def check_metric(metric: Any, *, kind: str) -> Metric:
    """Return the metric of a name, or of a callable, that is defined for a kind of labels.

    Parameters
    ----------
    metric : str or callable
        Key of `METRICS`, or a function ``(labels, decisions) -> float``, higher is better.
    kind : {"classification", "multilabel", "regression"}
        Kind of the labels.

    Returns
    -------
    Metric
        What to call.

    Raises
    ------
    ModtoolsError
        An unknown name, or a metric of another kind of labels.

    Examples
    --------
    >>> check_metric("accuracy", kind="classification")([0, 1, 1], np.eye(2)[[0, 1, 0]]) * 3
    2.0
    """
    if callable(metric):
        name = getattr(metric, "__name__", type(metric).__name__)
        return Metric(name, metric, frozenset({kind}), is_fraction=False)
    entry = METRICS[check_choice(metric, list(METRICS), name="metric")]
    if kind not in entry.kinds:
        others = ", ".join(name for name, other in METRICS.items() if kind in other.kinds)
        raise ModtoolsError(
            f"metric {entry.name} is defined for {' and '.join(sorted(entry.kinds))} labels, not "
            f"{kind}; choose among {others}."
        )
    return entry


def check_accuracy(metric: Any, *, kind: str, where: str) -> None:
    """Raise unless a metric is accuracy, the only one that is predicted and measured so far.

    Accuracy passes for every kind of labels: what counts classes refuses numbers itself.

    >>> check_accuracy("roc_auc", kind="classification", where="evaluate")
    Traceback (most recent call last):
    modtools.exceptions.ModtoolsError: metric roc_auc is not available in evaluate: only accuracy...
    """
    if isinstance(metric, str) and metric == "accuracy":
        return
    name = check_metric(metric, kind=kind).name
    raise ModtoolsError(f"metric {name} is not available in {where}: only accuracy is, for now.")
