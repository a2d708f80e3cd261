"""Held-out losses, which tell modules apart where few labels leave accuracies tied."""

from typing import Any

import numpy as np

from modtools._types import FloatArray
from modtools.outputs import (
    HeldOutJudge,
    PrequentialCoder,
    RidgeChain,
    alpha_of_evidence,
    one_hot,
    refitted_decisions,
    ridge_basis,
    row_content,
)
from modtools.tasks import Labels
from modtools.transferability._declare import register_score
from modtools.transferability._held_out import (
    present_codes,
    standardized,
    warn_about_lone_rows,
)
from modtools.transferability._registry import Estimate

__all__ = ["codelength", "half_split"]

# `select_modules` judges sums of kernels alike, but in 3 to 20 divisions and at one alpha: it
# tries many sums, and one inverse then serves all divisions. A score judges a module once, so it
# affords more of them, and an alpha that follows each training half.
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
    splits, more of them the fewer rows a class has. Alpha is the mean squared distance of
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


_N_ORDERS = 5


@register_score(
    needs="features",
    passes="5 orders",
    range="(-inf, 0], bits a label",
    reference="Blier & Ollivier, NeurIPS 2018",
)
def codelength(features: FloatArray, labels: Labels, *, seed: int = 0) -> Estimate:
    """Minus the bits a label that a ridge output module needs when it learns row by row.

    Rows come in five seeded orders, drawn by their content: the order in which they are given
    changes nothing. Each label is predicted by the ridge classifier (one-hot targets,
    intercept) fitted on the rows before it, with probabilities softmax(decision / T) over the
    classes seen so far; T minimises the log loss of the predictions before it (T = 1 for the first
    n_classes rows). The share 1/(t+1) after t rows is spread evenly over all classes, so that a new
    class costs finitely many bits. Alpha is one number, that of n * 10^k, k = -6, -5.5, ...,
    2, with the largest Gaussian evidence; the standardisation uses all rows.

    Returns
    -------
    float
        Bits a label, at most 0, the mean over orders; higher is better, and guessing evenly among
        C classes is -log2(C).

    References
    ----------
    Blier & Ollivier, "The description length of deep learning models", NeurIPS 2018; Voita & Titov,
    "Information-theoretic probing with minimum description length", EMNLP 2020.

    Examples
    --------
    >>> labels = np.arange(40) % 2
    >>> codelength(labels[:, None] + 0.01 * np.sin(np.arange(40))[:, None], labels)
    -0.1...
    """
    rows = standardized(features, score="codelength")
    codes, n_classes = present_codes(labels)
    targets = one_hot(codes, n_classes)
    chain = RidgeChain.of(rows, alpha_of_evidence(ridge_basis(rows), targets))
    # The same rows come in the same orders, however they were given.
    in_place = row_content(rows).order(codes)
    bits = []
    for order in range(_N_ORDERS):
        shuffled = in_place[np.random.default_rng([seed, order]).permutation(len(codes))]
        coder, total = PrequentialCoder(n_classes), 0.0
        for block, predicted in chain.steps(targets, shuffled):
            total += float(coder.encode(predicted, codes[shuffled[block]]).bits.sum())
        bits.append(total / len(codes))
    return Estimate(-float(np.mean(bits)), float(np.std(bits, ddof=1) / np.sqrt(_N_ORDERS)))
