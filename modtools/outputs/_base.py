"""What the output modules share: label encoding, the shapes of decisions, prediction."""

from abc import abstractmethod
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_X_y
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from modtools._types import ClassCodes, FloatArray, FloatMatrix
from modtools.exceptions import ModtoolsError
from modtools.outputs._standardize import StandardizedRows
from modtools.tasks import encode_labels

__all__ = ["FLOATS", "OutputModule", "check_rows", "decide", "encode_classes"]

FLOATS = [np.float64, np.float32]  # what `fit` and `predict` keep as it is


def encode_classes(y: ArrayLike) -> tuple[NDArray[Any], ClassCodes]:
    """Return the sorted class labels, at least two, and the code of each example.

    >>> encode_classes(["b", "a"])[1]
    array([1, 0])
    """
    check_classification_targets(y)
    labels = encode_labels(y, kind="classification")
    if labels.codes is None or labels.n_classes < 2:
        raise ModtoolsError(
            f"y must hold at least two classes; got 1 class, {labels.classes.tolist()[0]!r}."
        )
    return labels.classes, labels.codes


def check_rows(X: ArrayLike, y: ArrayLike) -> tuple[FloatArray, NDArray[Any], ClassCodes]:
    """Check features and labels outside of a fit; return features, classes and codes."""
    features, labels = check_X_y(X, y, dtype=FLOATS, ensure_min_samples=2)
    return features, *encode_classes(labels)


class Decider(Protocol):
    """A fitted estimator that decides about standardised examples."""

    mean_: FloatMatrix
    scale_: FloatMatrix

    def _decide(self, rows: FloatMatrix) -> FloatMatrix: ...


def decide(output: Decider, X: ArrayLike) -> FloatMatrix:
    """Check the data of a prediction and return its decision values, block by block."""
    check_is_fitted(output)
    features = validate_data(output, X, dtype=FLOATS, reset=False)
    rows = StandardizedRows(features, output.mean_, output.scale_)
    return np.concatenate([output._decide(block) for _, block in rows.blocks()])


class OutputModule(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier on standardised features whose decisions are one value per class.

    A subclass sets `classes_`, `mean_` and `scale_` in `fit` and defines `_decide`.
    """

    classes_: NDArray[Any]
    mean_: FloatMatrix
    scale_: FloatMatrix

    def _check_fit(self, X: ArrayLike, y: ArrayLike) -> tuple[FloatArray, ClassCodes]:
        """Check the data of `fit`, set `classes_`, and return features and class codes."""
        features, labels = validate_data(self, X, y, dtype=FLOATS, ensure_min_samples=2)
        self.classes_, codes = encode_classes(labels)
        return features, codes

    @abstractmethod
    def _decide(self, rows: FloatMatrix) -> FloatMatrix:
        """Return the decision values (n_samples, n_classes) of standardised examples."""

    def decision_values(self, X: ArrayLike) -> FloatMatrix:
        """Return one decision value per class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Decision values; the largest decides.
        """
        return decide(self, X)

    def decision_function(self, X: ArrayLike) -> FloatMatrix:
        """Return decision values in scikit-learn's shape.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Decision values; for two classes, that of the second minus that of the first.
        """
        values = self.decision_values(X)
        return values[:, 1] - values[:, 0] if len(self.classes_) == 2 else values

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the class of the largest decision value, ties to the first.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples,)
            Predicted labels.
        """
        winners = self.decision_values(X).argmax(axis=1)
        return np.asarray(self.classes_[winners])
