"""Kendall's W: how far all tasks order the modules alike, with an interval."""

from typing import TYPE_CHECKING, Any

import numpy as np

from modtools._intervals import Resamples, percentile_interval
from modtools._types import FloatMatrix

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["concordances"]


def concordances(truth: "pd.DataFrame", *, seed: int) -> list[dict[str, Any]]:
    """Return Kendall's W of the achieved accuracies, one row a label budget.

    W is taken over the modules that were tried on every task, accuracies are means over draws. It
    needs two tasks and two modules: where there are fewer, there is no row. Where all accuracies
    are the same there is no order, and W is 0.
    """
    cells = [axis for axis in ("budget", "task") if axis in truth]
    means = truth.groupby([*cells, "module"], sort=True)["achieved"].mean().unstack("module")
    parts = means.groupby(level="budget") if "budget" in truth else [(None, means)]
    rows = []
    for budget, part in parts:
        values = part.dropna(axis="columns").to_numpy()
        if min(values.shape) < 2:
            continue
        named = {} if budget is None else {"budget": budget}
        sizes = {"n_tasks": values.shape[0], "n_modules": values.shape[1]}
        rows.append({**named, **_concordance(values, seed), **sizes})
    return rows


def _concordance(accuracies: FloatMatrix, seed: int) -> dict[str, float]:
    n_tasks, n_modules = accuracies.shape
    resamples = Resamples.of([n_tasks], n_test=n_modules, seed=seed)
    copies = resamples.tests.astype(np.float64)
    low, high = percentile_interval(_resampled(accuracies, copies, resamples.draws[n_tasks]))
    once, alike = np.ones((n_modules, 1)), np.full((1, n_tasks), 1 / n_tasks)
    return {
        "concordance": float(_resampled(accuracies, once, alike)[0]),
        "low": float(low),
        "high": float(high),
    }


def _resampled(accuracies: FloatMatrix, copies: FloatMatrix, weights: FloatMatrix) -> FloatMatrix:
    """Return W (n_resamples,) for copies (n_modules, n_resamples) and weights (.., n_tasks).

    W with its correction for ties is the sum of the covariance matrix of the tasks' ranks over n
    times its trace. A task that is taken twice agrees with itself, which is no evidence: the
    covariances of different tasks are weighed to first order instead, as a mean over pairs is.
    """
    n_tasks = len(accuracies)
    signs = np.sign(accuracies[:, :, None] - accuracies[:, None, :])
    ranks = signs @ copies  # twice the rank less the mean rank, (n_tasks, n_modules, n_resamples)
    products = np.einsum("smb,tmb->bst", ranks * copies, ranks)
    own = np.einsum("btt->bt", products)
    others = (products.sum(axis=2) - own) / (n_tasks - 1)  # mean covariance with another task
    mean = others.mean(axis=1)
    between = mean + 2.0 * ((others - mean[:, None]) * weights).sum(axis=1)
    within = (own * weights).sum(axis=1)
    share = np.divide(between, within, out=np.full_like(within, -1.0), where=within > 0)
    return np.asarray(np.clip((1.0 + (n_tasks - 1) * share) / n_tasks, 0.0, 1.0))
