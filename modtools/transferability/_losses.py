"""Held-out losses: they distinguish modules whose accuracies tie because there are few labels."""

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
    warn_about_singletons,
)
from modtools.transferability._registry import Estimate

__all__ = ["codelength", "half_split"]

# `select_modules` evaluates sums of kernels in the same way, but with 3 to 20 splits and one alpha:
# it tries many sums, and one inverse then serves all splits. A score evaluates a module once, so it
# can afford more splits, and an alpha for each training half.
_FEWEST_SPLITS, _MOST_SPLITS = 4, 30


@register_score(
    needs="features",
    passes="4 to 30 splits",
    range="(-inf, 0], nats per label",
    reference="held-out log loss of ridge classifiers on stratified halves",
)
def half_split(
    features: FloatArray, labels: Labels, *, groups: Any = None, seed: int = 0
) -> Estimate:
    """Minus the held-out log loss of a ridge classifier on repeated stratified halves.

    A ridge classifier (one-hot targets, intercept) is fitted on one stratified half of the examples
    and predicts the other half with probabilities softmax(6 decision), and the other way round.
    This is repeated for 4 to 30 random splits, more of them the fewer examples a class has. Alpha
    is tr(K) / (m - 1) for the centred kernel K of the m training examples, that is, about their
    mean squared distance from the centre. The standardisation uses all examples. With fewer than
    about 100 labels per class this distinguishes modules better than any held-out accuracy, because
    accuracies of few examples often tie. The example of a singleton class counts as an error, with
    warning MT006. The definition is that of modtools.

    Returns
    -------
    float
        Nats per label, at most 0; higher is better. A uniform guess among C classes has -log(C);
        confident wrong predictions are worse.

    Examples
    --------
    >>> labels = np.arange(40) % 2
    >>> half_split(labels[:, None] + 0.01 * np.sin(np.arange(40))[:, None], labels)
    -0.0...
    """
    rows = standardized(features, score="half_split")
    codes, n_classes = present_codes(labels)
    warn_about_singletons(codes, score="half_split")
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
    range="(-inf, 0], bits per label",
    reference="Blier & Ollivier, NeurIPS 2018",
)
def codelength(features: FloatArray, labels: Labels, *, seed: int = 0) -> Estimate:
    """Minus the prequential (online MDL) code length of the labels, by a ridge classifier.

    Each label is predicted by the ridge classifier (one-hot targets, intercept) fitted on all
    earlier examples, with probabilities softmax(decision / T) over the classes seen so far. T
    minimises the log loss of the earlier predictions (T = 1 for the first n_classes examples).
    After t examples, a probability of 1/(t+1) is spread evenly over all classes, so that a new
    class costs finitely many bits. Alpha is fixed: of n * 10^k, k = -6, -5.5, ..., 2, the one with
    the largest Gaussian evidence. The standardisation uses all examples. The result is the mean
    over five seeded orders; these are drawn by content, so the given order does not matter.

    Returns
    -------
    float
        Bits per label, at most 0; higher is better. A uniform guess among C classes has -log2(C).

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
    # The examples are sorted by content first, so that their given order does not matter.
    by_content = row_content(rows).order(codes)
    bits = []
    for order in range(_N_ORDERS):
        shuffled = by_content[np.random.default_rng([seed, order]).permutation(len(codes))]
        coder, total = PrequentialCoder(n_classes), 0.0
        for block, predicted in chain.steps(targets, shuffled):
            total += float(coder.encode(predicted, codes[shuffled[block]]).bits.sum())
        bits.append(total / len(codes))
    return Estimate(-float(np.mean(bits)), float(np.std(bits, ddof=1) / np.sqrt(_N_ORDERS)))
