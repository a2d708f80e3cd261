"""H-score: between-class scatter in units of the total scatter, plain and shrunk."""

from typing import Any

import numpy as np

from modtools._checks import check_choice
from modtools.exceptions import warn
from modtools.transferability._declare import register_score
from modtools.transferability._summary import Summary

__all__ = [
    "hscore",
    "regularized_hscore",
    "shrinkage",
]


def _between(summary: Summary) -> Any:
    """Return the share of the scatter along each eigenvector that lies between classes, (k,)."""
    counts = summary.counts[summary.present]
    loadings = summary.spectrum.loadings[summary.present]
    return (loadings**2 / counts[:, None]).sum(axis=0)


@register_score(
    needs="moments",
    range="[0, C-1]",
    reference="Bao et al., ICIP 2019",
)
def hscore(summary: Summary) -> float:
    """H-score: how much of the variation of the features follows the classes.

    Trace of the between-class scatter in units of the total scatter, tr(S_t^+ S_b): the sum of the
    squared canonical correlations between features and classes. It looks at the rows it was fitted
    on: with fewer rows than features it equals its maximum for any labels, and warns (MT003).

    Returns
    -------
    float
        Dimensionless, in [0, min(rank, n_classes - 1)]; higher is better. Unchanged by any
        invertible affine map of the features.

    References
    ----------
    Bao et al., "An information-theoretic approach to transferability in task transfer learning",
    ICIP 2019.

    Examples
    --------
    >>> round(hscore([[0.0], [1.0], [10.0], [11.0]], [0, 0, 1, 1]), 4)
    0.9901
    """
    values = summary.spectrum.values
    if not len(values):
        warn("MT001", "features carry no variation: hscore is 0.")
        return 0.0
    most = float(np.count_nonzero(summary.present) - 1)
    if len(values) >= summary.n_rows - 1:
        warn(
            "MT003",
            f"n={summary.n_rows} rows, d={summary.n_features} features: hscore equals its maximum "
            f"{most:g} for any labels; read regularized_hscore instead.",
        )
        return most
    return float(np.clip(_between(summary).sum(), 0.0, most))


def shrinkage(summary: Summary) -> float:
    """Return the Ledoit-Wolf intensity in [0, 1] of the covariance S_t / n."""
    n, d = summary.n, summary.n_features
    level = summary.trace / n / d
    norm2 = summary.scatter_norm2 / n**2
    distance = (norm2 - d * level**2) / d
    if d == 1 or distance <= 1e-15 * norm2:
        return 0.0
    # Written for weights; sum w^2 = n without them.
    noise = (summary.diagonal.centred_norm4 / n - summary.diagonal.n / n * norm2) / (n * d)
    return float(np.clip(noise / distance, 0.0, 1.0))


@register_score(
    needs="moments",
    range="[0, C-1]",
    reference="Ibrahim et al., arXiv 2110.06893",
)
def regularized_hscore(summary: Summary, *, between_divisor: str = "n") -> float:
    """H-score with the Ledoit-Wolf covariance: usable where rows are fewer than features.

    Parameters
    ----------
    between_divisor : {"n", "n-1"}, default="n"
        "n-1" gives the value of public code, which divides the two scatters differently.

    Returns
    -------
    float
        Dimensionless, in [0, n_classes - 1]; higher is better. Depends on the relative scale of the
        columns.

    References
    ----------
    Ibrahim, Ponomareva & Mazumder, "Newer is not always better: rethinking transferability
    metrics", arXiv 2110.06893.

    Examples
    --------
    >>> round(regularized_hscore([[0.0], [1.0], [10.0], [11.0]], [0, 0, 1, 1]), 4)
    0.9901
    """
    check_choice(between_divisor, ["n", "n-1"], name="between_divisor")
    n, level = summary.n, summary.trace / summary.n / summary.n_features
    values = summary.spectrum.values
    if not len(values):
        warn("MT001", "features carry no variation: regularized_hscore is 0.")
        return 0.0
    a = shrinkage(summary)
    # The part of each direction's variance that is not shrinkage; its own scale cancels.
    kept = (1 - a) * values / n
    most = float(np.count_nonzero(summary.present) - 1)
    value = float(np.clip((_between(summary) * (kept / (kept + a * level))).sum(), 0.0, most))
    return value if between_divisor == "n" else value * n / (n - 1)
