"""Metrics of held-out predictions, each a function ``(labels, decisions) -> float``.

Decision values are the outputs of an output module for examples it was not trained on. For
classes there is one column per class, and the largest value is the prediction; for multi-label
tasks one column per label, and positive means present; for regression the predicted numbers. A
metric is a plain function of them, so any callable of the user works too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, Final

import numpy as np

from modtools._checks import check_choice, check_lengths
from modtools._types import FloatMatrix
from modtools.exceptions import ModtoolsError

__all__ = ["METRICS", "Metric", "check_accuracy", "check_metric"]

Function = Callable[[Any, FloatMatrix], float]
_CLASSES: Final = frozenset({"classification"})
_BOTH: Final = frozenset({"classification", "multilabel"})
_NUMBERS: Final = frozenset({"regression"})


@dataclass(frozen=True)
class Metric:
    """A metric, the kinds of labels it is defined for, and its direction.

    Attributes
    ----------
    name : str
        Name in tables.
    function : callable
        Maps labels (class codes of shape (n,), 0/1 of shape (n, n_labels), or numbers) and decision
        values to a finite number.
    kinds : frozenset of str
        Kinds of labels that it is defined for.
    higher_is_better : bool
        Its direction.
    is_fraction : bool
        Whether it lies in [0, 1], so that text shows percent.

    Examples
    --------
    >>> METRICS["accuracy"]([0, 1, 1, 0], np.eye(2)[[0, 1, 0, 0]])
    0.75
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
            Value of the metric.

        Raises
        ------
        ModtoolsError
            The metric is not defined for these labels, lengths that differ, NaN among the decision
            values, or a callable returned no finite number.
        """
        labels, decisions = np.asarray(labels), np.asarray(decisions, dtype=np.float64)
        decisions = decisions[:, None] if decisions.ndim == 1 else decisions
        if check_lengths(labels=labels, decisions=decisions) == 0 or np.isnan(decisions).any():
            raise ModtoolsError(
                f"metric {self.name} needs decision values of examples, none of them NaN; got "
                f"shape {decisions.shape} with {np.isnan(decisions).sum()} NaN."
            )
        value: Any = self.function(labels, decisions)  # a user may return anything
        if not isinstance(value, Real) or not np.isfinite(float(value)):
            raise ModtoolsError(
                f"metric {self.name} must return a finite number; got {value!r} for "
                f"{len(decisions)} examples."
            )
        return float(value)


def _predicted(labels: Any, decisions: FloatMatrix) -> Any:
    return decisions.argmax(axis=1) if labels.ndim == 1 else decisions > 0


def _accuracy(labels: Any, decisions: FloatMatrix) -> float:
    """Fraction of correct classes, or of correct entries of a multi-label matrix."""
    return float(np.mean(_predicted(labels, decisions) == labels))


def _balanced_accuracy(codes: Any, decisions: FloatMatrix) -> float:
    """Mean recall over the classes that occur."""
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
    """Mean negative log likelihood in nats per example, with decision values as logits."""
    from scipy.special import log_softmax

    log_probabilities: FloatMatrix = log_softmax(decisions, axis=1)
    return -float(log_probabilities[np.arange(len(codes)), codes].mean())


def _roc_auc(labels: Any, decisions: FloatMatrix) -> float:
    """Mean over classes, one against the rest, or over the labels of a multi-label task."""
    from sklearn.metrics import roc_auc_score

    return _mean_over_columns(labels, decisions, "roc_auc", roc_auc_score)


def _average_precision(labels: Any, decisions: FloatMatrix) -> float:
    """Mean over classes, one against the rest, or over the labels of a multi-label task."""
    from sklearn.metrics import average_precision_score

    return _mean_over_columns(labels, decisions, "average_precision", average_precision_score)


def _mean_over_columns(labels: Any, decisions: FloatMatrix, name: str, score: Function) -> float:
    """Average a binary metric over the columns with both positive and negative examples."""
    is_positive = labels if labels.ndim > 1 else labels[:, None] == np.arange(decisions.shape[1])
    columns = np.flatnonzero(is_positive.any(axis=0) & ~is_positive.all(axis=0))
    if not columns.size:
        raise ModtoolsError(
            f"{name} needs examples of two classes; all {len(labels)} have the same label."
        )
    return float(np.mean([score(is_positive[:, c], decisions[:, c]) for c in columns]))


def _in_columns(targets: Any) -> FloatMatrix:
    """Return targets as (n, n_targets)."""
    return np.asarray(targets, dtype=np.float64).reshape(len(targets), -1)


def _mean_absolute_error(targets: Any, predicted: FloatMatrix) -> float:
    return float(np.abs(_in_columns(targets) - predicted).mean())


def _root_mean_squared_error(targets: Any, predicted: FloatMatrix) -> float:
    """Root mean squared error of each target, averaged over targets."""
    return float(np.sqrt(np.square(_in_columns(targets) - predicted).mean(axis=0)).mean())


def _r2(targets: Any, predicted: FloatMatrix) -> float:
    """Coefficient of determination R^2, mean over targets."""
    targets = _varying(targets, "r2")
    errors = np.square(targets - predicted).sum(axis=0)
    return float(np.mean(1 - errors / np.square(targets - targets.mean(axis=0)).sum(axis=0)))


def _spearman(targets: Any, predicted: FloatMatrix) -> float:
    """Spearman rank correlation, mean over targets; 0 for constant predictions."""
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
    """Return a metric by name or from a callable, checked for a kind of labels.

    Parameters
    ----------
    metric : str or callable
        Key of `METRICS`, or a function ``(labels, decisions) -> float`` for which higher is better.
    kind : {"classification", "multilabel", "regression"}
        Kind of the labels.

    Returns
    -------
    Metric
        The metric, to be called with labels and decision values.

    Raises
    ------
    ModtoolsError
        An unknown name, or a metric for another kind of labels.

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
    """Raise unless a metric is accuracy, the only one that is supported in some functions so far.

    Accuracy passes for every kind of labels: the caller rejects regression targets itself.

    >>> check_accuracy("roc_auc", kind="classification", where="evaluate")
    Traceback (most recent call last):
    modtools.exceptions.ModtoolsError: metric roc_auc is not available in evaluate: only accuracy...
    """
    if isinstance(metric, str) and metric == "accuracy":
        return
    name = check_metric(metric, kind=kind).name
    raise ModtoolsError(f"metric {name} is not available in {where}: only accuracy is, for now.")
