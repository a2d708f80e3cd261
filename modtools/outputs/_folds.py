"""Stratified folds that follow the content of the examples, not the order in which they come.

Every class with two examples stays in every training part. A seed that permutes row numbers divides
the same examples differently when they come in another order, so they are sorted first: by class,
then by how far they lie from the centre. Both follow from standardised features, so no unit,
offset, rotation or order of columns matters either. They are sums, not hashes: features that differ
in the last digits, as those of another processor do, exchange at most neighbours.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modtools._types import ClassCodes, FloatMatrix
from modtools.outputs._standardize import StandardizedRows

__all__ = ["RowContent", "row_content", "stratified_folds"]

# Examples at one distance, as all those of a balanced binary code are, are ordered along a fixed
# direction. It weighs little: where distances differ, the order of the columns does not matter.
_DIRECTION_WEIGHT = 1e-6
_DIRECTION_SEED, _CLASS_SEED = 0, 1


@dataclass(frozen=True)
class RowContent:
    """What distinguishes examples, or groups of examples, whatever their row numbers.

    Attributes
    ----------
    keys : ndarray of shape (n_samples,)
        What they are sorted by, the same for equal examples.
    marks : ndarray of shape (n_samples,)
        Bounded numbers, whose sum distinguishes one set of examples from another.
    """

    keys: FloatMatrix
    marks: FloatMatrix

    def take(self, rows: NDArray[np.bool_]) -> "RowContent":
        """Return the content of some examples."""
        return RowContent(self.keys[rows], self.marks[rows])

    def order(self, codes: ClassCodes) -> ClassCodes:
        """Return the row numbers (n_samples,) by class and key; names of classes do not matter.

        Equal examples of one class come in any order: to exchange them changes nothing.

        >>> content = row_content(StandardizedRows.of(np.array([[9.0], [1.0], [2.0], [5.0]])))
        >>> content.order(np.array([0, 1, 1, 1]))
        array([0, 3, 2, 1])
        """
        return np.lexsort((self.keys, self._class_ranks(codes)[codes]))

    def _class_ranks(self, codes: ClassCodes) -> ClassCodes:
        """Return the rank of each class (n_classes,): the smallest first, then by content."""
        counts, sums = np.bincount(codes), np.bincount(codes, weights=self.marks)
        ranks = np.empty(len(counts), dtype=np.intp)
        ranks[np.lexsort((sums, counts))] = np.arange(len(counts))
        return ranks

    def of_groups(
        self, codes: ClassCodes, groups: ClassCodes
    ) -> tuple[ClassCodes, ClassCodes, "RowContent"]:
        """Return the group of each example, the class of each group, and the content of the groups.

        A group has the class of most of its examples, ties to the class that `order` puts first.

        >>> content = row_content(StandardizedRows.of(np.array([[9.0], [1.0], [2.0], [5.0]])))
        >>> content.of_groups(np.array([0, 1, 1, 1]), np.array([7, 7, 3, 3]))[:2]
        (array([1, 1, 0, 0]), array([1, 0]))
        """
        unit = np.unique(groups, return_inverse=True)[1].reshape(-1).astype(np.intp)
        # Classes of equal examples differ in what these are grouped with.
        marks = np.cos(self.marks + np.bincount(unit, self.marks)[unit])
        ranks = RowContent(self.keys, marks)._class_ranks(codes)[codes]
        n_classes = int(ranks.max()) + 1
        pairs, counts = np.unique(unit * n_classes + ranks, return_counts=True)
        units, classes = np.divmod(pairs, n_classes)
        by_count = np.lexsort((classes, -counts, units))
        first = by_count[np.searchsorted(units[by_count], np.arange(units[-1] + 1))]
        # The class of each example belongs to the content of its group.
        tones = np.random.default_rng(_CLASS_SEED).uniform(1, 2, n_classes)
        sums = np.asarray(np.bincount(unit, weights=(2 + marks) * tones[ranks]), dtype=np.float64)
        return unit, classes[first], RowContent(sums, np.cos(sums))


def row_content(rows: StandardizedRows) -> RowContent:
    """Return the content of standardised examples, in one pass over blocks of them.

    The key of an example is its mean square plus a millionth of its product with a fixed direction.

    >>> row_content(StandardizedRows.of(np.array([[1.0], [2.0], [6.0]]))).keys.round(3)
    array([0.857, 0.214, 1.929])
    """
    rng, varying = np.random.default_rng(_DIRECTION_SEED), rows.scale > 0
    direction = np.zeros(rows.n_features)
    direction[varying] = rng.standard_normal(rows.n_varying)
    squares, along = np.empty((2, len(rows)))
    for place, block in rows.blocks():
        squares[place] = np.einsum("ij,ij->i", block, block)
        along[place] = block @ direction
    unit = max(rows.n_varying, 1)
    keys = (squares + _DIRECTION_WEIGHT * along) / unit
    return RowContent(keys, np.cos(squares / unit) + _DIRECTION_WEIGHT * np.cos(along + 1))


def stratified_folds(
    codes: NDArray[np.intp],
    n_folds: int,
    seed: int | tuple[int, ...],
    groups: NDArray[np.intp] | None = None,
    *,
    content: RowContent | None = None,
) -> NDArray[np.intp]:
    """Return the fold of each example: shuffled class by class, one to each fold in turn.

    A class with at least two examples falls into at least two folds, so that it is known when any
    of them is held out. The names of the classes do not influence the folds.

    Parameters
    ----------
    codes : ndarray of shape (n_samples,)
        Class of each example.
    n_folds : int
        Number of folds, at least two; fewer where there are fewer examples or groups.
    seed : int or tuple of int
        Seed of the shuffle.
    groups : ndarray of shape (n_samples,), optional
        Group of each example; whole groups are distributed, as the class of most of their examples,
        or, without `content`, of their first one.
    content : RowContent, optional
        What is shuffled in place of row numbers: the same examples in another order, or groups of
        other names, then fall into the same folds.

    Returns
    -------
    ndarray of shape (n_samples,)
        Fold number of each example.

    Examples
    --------
    >>> np.bincount(stratified_folds(np.array([0, 0, 0, 1, 1, 1]), 3, seed=0)).tolist()
    [2, 2, 2]
    """
    if groups is not None and content is not None:
        unit, of_groups, content = content.of_groups(codes, groups)
        return stratified_folds(of_groups, n_folds, seed, content=content)[unit]
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
