"""Stratified folds that keep every class with two rows in every training part."""

import numpy as np
from numpy.typing import NDArray

from modtools.outputs._content import RowContent

__all__ = ["stratified_folds"]


def stratified_folds(
    codes: NDArray[np.intp],
    n_folds: int,
    seed: int | tuple[int, ...],
    groups: NDArray[np.intp] | None = None,
    *,
    content: RowContent | None = None,
) -> NDArray[np.intp]:
    """Return the fold of each row: classes are shuffled and dealt out one row to a fold in turn.

    The rows of a class with at least two rows fall into at least two folds, so the class is known
    when any of them is held out. The names of the classes do not influence the folds.

    Parameters
    ----------
    codes : ndarray of shape (n_samples,)
        Class of each row.
    n_folds : int
        Number of folds, at least two; fewer where there are fewer rows or groups.
    seed : int or tuple of int
        Seed of the shuffle.
    groups : ndarray of shape (n_samples,), optional
        Group of each row; whole groups are dealt out, as the class of most of their rows, or with
        row numbers for a content as the class of their first row.
    content : RowContent, optional
        What is shuffled in place of row numbers: the same rows in another order, or groups of other
        names, then fall into the same folds.

    Returns
    -------
    ndarray of shape (n_samples,)
        Fold number of each row.

    Examples
    --------
    >>> np.bincount(stratified_folds(np.array([0, 0, 0, 1, 1, 1]), 3, seed=0)).tolist()
    [2, 2, 2]
    """
    if groups is not None and content is not None:
        unit, own, content = content.of_groups(codes, groups)
        return stratified_folds(own, n_folds, seed, content=content)[unit]
    if groups is not None:
        _, first, unit = np.unique(groups, return_index=True, return_inverse=True)
        return stratified_folds(codes[first], n_folds, seed)[unit]
    shuffled = np.random.default_rng(seed).permutation(len(codes))
    if content is not None:
        shuffled = content.order(codes)[shuffled]
    classes, first = np.unique(codes[shuffled], return_index=True)
    appearance = np.empty(classes[-1] + 1, dtype=np.intp)
    appearance[classes] = first
    dealt = shuffled[np.argsort(appearance[codes[shuffled]], kind="stable")]
    folds = np.empty(len(codes), dtype=np.intp)
    folds[dealt] = np.arange(len(codes)) % min(n_folds, len(codes))
    return folds
