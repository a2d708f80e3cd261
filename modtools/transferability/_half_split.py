"""Log loss of held-out halves: tells modules apart where few labels leave accuracies tied."""

from typing import Any

import numpy as np

from modtools._types import FloatArray
from modtools.outputs import HeldOutJudge, refitted_decisions, row_content
from modtools.tasks import Labels
from modtools.transferability._declare import register_score
from modtools.transferability._held_out import (
    present_codes,
    standardized,
    warn_about_lone_rows,
)
from modtools.transferability._registry import Estimate

__all__ = ["half_split"]

# `select_modules` judges sums of kernels alike, but in 3 to 20 divisions and at one strength: it
# tries many sums, and one inverse then serves all divisions. A score judges a module once, so it
# affords more of them, and a strength that follows each training half.
_FEWEST_SPLITS, _MOST_SPLITS = 4, 30


@register_score(
    needs="features",
    passes="4 to 30 splits",
    range="(-inf, 0], nats a label",
    reference="held-out log loss of ridge machines on stratified halves",
)
def half_split(
    features: FloatArray, labels: Labels, *, groups: Any = None, seed: int = 0
) -> Estimate:
    """Minus the log loss of rows that are held out, half of them at a time.

    A ridge output module (one-hot targets, intercept) is fitted on one stratified half and predicts
    the other, with probabilities softmax(6 decision); both ways round, and again for 4 to 30 seeded
    splits, more of them the fewer rows a class has. The strength is the mean squared distance of
    the training rows from their centre (the trace of their kernel over the rows less one). Losses
    change with every row where accuracies of few rows are tied: below about 100 labels a class this
    tells modules apart better than any held-out accuracy. The standardisation uses all rows.

    Returns
    -------
    float
        Nats a label, at most 0; higher is better. Guessing evenly among C classes is -log(C); sure
        and wrong predictions are worse than that.

    Examples
    --------
    >>> labels = np.arange(40) % 2
    >>> half_split(labels[:, None] + 0.01 * np.sin(np.arange(40))[:, None], labels)
    -0.0...
    """
    rows = standardized(features, score="half_split")
    codes, n_classes = present_codes(labels)
    warn_about_lone_rows(codes, score="half_split")
    judge = HeldOutJudge(
        codes,
        n_classes,
        seed,
        fewest=_FEWEST_SPLITS,
        most=_MOST_SPLITS,
        groups=groups,
        content=row_content(rows),
    )
    losses = judge.log_losses(refitted_decisions(rows, codes, n_classes, judge.divisions(2)))
    return Estimate(-float(losses.mean()), float(losses.std(ddof=1) / np.sqrt(len(losses))))
