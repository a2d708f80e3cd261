"""Cheap estimate of the held-out accuracy of the logistic output module."""

from typing import Any

from modtools._checks import check_positive
from modtools._types import FloatArray
from modtools.outputs import cold_fold_codes
from modtools.tasks import Labels
from modtools.transferability._declare import register_score
from modtools.transferability._held_out import (
    accuracy_of,
    present_codes,
    standardized,
    warn_about_lone_rows,
)
from modtools.transferability._registry import Estimate

__all__ = ["logistic"]


@register_score(
    needs="features",
    passes="iterative",
    is_accuracy=True,
    range="[0, 1], held-out accuracy",
    reference="5 cold folds at one strength",
)
def logistic(
    features: FloatArray,
    labels: Labels,
    *,
    strength: float = 1.0,
    groups: Any = None,
    seed: int = 0,
) -> Estimate:
    """Estimate of the held-out accuracy of the logistic output module, `LogisticOutput`.

    Five stratified folds are fitted side by side on features standardised once with all rows, each
    from a cold start; no fold ever starts from a fit that saw its rows, which would leak their
    labels. Few rows and weights are fitted to the end, others for 20 iterations, or more until the
    loss is within about a hundredth of its minimum. A row that is alone in its class is wrong, with
    warning MT006; a fold that does not converge is told by MT005.

    Parameters
    ----------
    strength : float, default=1.0
        Penalty strength/2 |W|^2 beside the summed log loss (scikit-learn's 1/C).

    Returns
    -------
    float
        Accuracy in [0, 1]; higher is better. Within about half a percentage point of converged
        cold folds at the same strength.

    Examples
    --------
    >>> logistic([[0.0], [1.0], [8.0], [9.0]], [0, 0, 1, 1])
    1.0
    """
    strength = check_positive(strength, name="strength")
    rows = standardized(features, score="logistic")
    codes, n_classes = present_codes(labels)
    warn_about_lone_rows(codes, score="logistic")
    held_out = cold_fold_codes(rows, codes, n_classes, strength=strength, seed=seed, groups=groups)
    return accuracy_of(held_out, codes)
