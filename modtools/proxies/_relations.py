"""Labels of a batch: classes of the examples, or which pairs are of the same class."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from modtools._checks import check_lengths
from modtools.exceptions import ModtoolsError

__all__ = ["Pairs", "Relations", "as_codes", "relate"]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of examples that are known to be of the same class, or of different classes.

    The order within a pair does not matter, and a repeated pair counts once. Pairs that are not
    listed are unknown, and losses use the known pairs only. All pairs of a data set determine its
    classes up to their names. All pairs and one label per class therefore are full label
    information.

    Attributes
    ----------
    i, j : Tensor of shape (n_pairs,)
        Indices of the examples, i different from j.
    same : Tensor of shape (n_pairs,)
        Whether the two examples are of the same class.

    Raises
    ------
    ModtoolsError
        Lengths that differ, indices that are negative or not whole, or a pair of an example with
        itself.

    Examples
    --------
    >>> pairs = Pairs([0, 0, 1], [1, 2, 2], [True, False, False])
    >>> len(pairs), pairs.same.tolist()
    (3, [True, False, False])
    """

    i: Tensor
    j: Tensor
    same: Tensor

    def __post_init__(self) -> None:
        for name in ("i", "j"):
            object.__setattr__(self, name, _row_numbers(getattr(self, name), name=f"Pairs.{name}"))
        same = _vector(self.same, name="Pairs.same")
        if bool(((same != 0) & (same != 1)).any()):
            raise ModtoolsError("Pairs.same must be True or False for each pair; got other values.")
        object.__setattr__(self, "same", same.bool())
        check_lengths(**{"Pairs.i": self.i, "Pairs.j": self.j, "Pairs.same": self.same})
        loops = torch.nonzero(self.i == self.j).ravel()
        if len(loops):
            raise ModtoolsError(
                f"Pairs must join two different rows; pair {int(loops[0])} joins row "
                f"{int(self.i[loops[0]])} with itself ({len(loops)} such). Leave these out."
            )

    def __len__(self) -> int:
        return len(self.i)

    @property
    def n_rows(self) -> int:
        """Smallest number of examples that contains all pairs: the largest index plus one."""
        return max(int(self.i.max()), int(self.j.max())) + 1 if len(self) else 0

    def take(self, rows: Any) -> "Pairs":
        """Return the pairs within a subset of examples, with indices into that subset.

        Parameters
        ----------
        rows : array-like of shape (n_rows,)
            Indices of the examples, for example those of a batch.

        Returns
        -------
        Pairs
            Pairs of which both examples are in the subset.

        Examples
        --------
        >>> Pairs([0, 0, 1], [1, 2, 2], [True, False, False]).take([2, 0])
        Pairs(i=tensor([1]), j=tensor([0]), same=tensor([False]))
        """
        chosen = _row_numbers(rows, name="rows").to(self.i.device)
        size = max(self.n_rows, int(chosen.max()) + 1 if len(chosen) else 0)
        place = torch.full((size,), -1, device=self.i.device)
        place[chosen] = torch.arange(len(chosen), device=self.i.device)
        # index_select is several times faster than square brackets.
        i, j = place.index_select(0, self.i), place.index_select(0, self.j)
        known = torch.nonzero((i >= 0) & (j >= 0)).ravel()
        return Pairs(*(part.index_select(0, known) for part in (i, j, self.same)))


def _vector(values: Any, *, name: str, hint: str = "") -> Tensor:
    try:
        vector = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModtoolsError(
            f"{name} must be whole numbers; got {type(values).__name__}: {error}. {hint}".strip()
        ) from error
    vector = vector.long() if vector.numel() == 0 else vector
    if vector.ndim != 1 or vector.is_floating_point() or vector.is_complex():
        raise ModtoolsError(
            f"{name} must be whole numbers of shape (n,); got {vector.dtype} "
            f"{tuple(vector.shape)}. {hint}".strip()
        )
    return vector.detach()


def _row_numbers(values: Any, *, name: str) -> Tensor:
    numbers = _vector(values, name=name).long()
    if len(numbers) and int(numbers.min()) < 0:
        raise ModtoolsError(f"{name} must be row numbers from 0; got {int(numbers.min())}.")
    return numbers


def as_codes(labels: Any, n: int | None = None) -> Tensor:
    """Return class codes (n,) as whole numbers of any size; raise unless there are `n` of them."""
    hint = "Encode classes once for the whole task: task.encoded.codes."
    codes = _vector(labels, name="labels", hint=hint).long()
    if n is not None and len(codes) != n:
        raise ModtoolsError(
            f"features and labels must have one row each per example; features has {n}, "
            f"labels has {len(codes)}."
        )
    return codes


@dataclass(frozen=True, eq=False)
class Relations:
    """Known ordered pairs of different examples of a batch, from class codes or from `Pairs`.

    Attributes
    ----------
    n, n_same, n_different : int
        Number of examples; of ordered same-class pairs; of ordered pairs of different classes.
    device : torch.device
        Device of the masks.
    codes : Tensor or None
        Class of each example, numbered from 0; only from class codes.
    sizes : tuple of int
        Number of examples per class; only from class codes.
    known : Tensor or None
        Matrix (n, n): 1 for same-class pairs, -1 for pairs of different classes, 0 for unknown
        pairs; only from `Pairs`.
    """

    n: int
    n_same: int
    n_different: int
    device: torch.device
    codes: Tensor | None = None
    sizes: tuple[int, ...] = ()
    known: Tensor | None = None

    def mask(self, which: Literal["same", "different", "any"], dtype: torch.dtype) -> Tensor:
        """Return a new symmetric 0/1 matrix (n, n) of the pairs; 0 on the diagonal."""
        full = torch.empty(self.n, self.n, dtype=dtype, device=self.device)
        # Directly as floats, which is five times faster than by way of a bool matrix.
        if self.known is not None:
            compare = {"same": torch.gt, "different": torch.lt, "any": torch.ne}[which]
            return compare(self.known, 0, out=full)
        if which == "any" or self.codes is None:
            full.fill_(1)
        else:
            codes = self.codes.to(dtype)
            compare = torch.eq if which == "same" else torch.ne
            compare(codes[:, None], codes, out=full)
        return full.fill_diagonal_(0)

    def signs(self, dtype: torch.dtype) -> Tensor:
        """Return the mask of same-class pairs minus the mask of pairs of different classes."""
        if self.known is not None:
            return self.known.to(dtype)
        return self.mask("same", dtype) - self.mask("different", dtype)


def relate(labels: Any, n: int, device: torch.device) -> Relations:
    """Return the relations of n examples from class codes (n,) or `Pairs`."""
    if isinstance(labels, Pairs):
        return _from_pairs(labels, n, device)
    # Counted on the device of the labels: with labels on the CPU, a GPU need not synchronise.
    _, codes, sizes = torch.unique(as_codes(labels, n), return_inverse=True, return_counts=True)
    n_same = int((sizes * (sizes - 1)).sum())
    n_different = n * (n - 1) - n_same
    return Relations(
        n, n_same, n_different, device, codes=codes.to(device), sizes=tuple(sizes.tolist())
    )


def _from_pairs(pairs: Pairs, n: int, device: torch.device) -> Relations:
    if pairs.n_rows > n:
        raise ModtoolsError(
            f"Pairs must join rows 0..{n - 1} of the features; got row {pairs.n_rows - 1}. "
            "For the examples of one batch use pairs.take(rows)."
        )
    i, j, same = (part.to(device) for part in (pairs.i, pairs.j, pairs.same))
    signs = torch.where(same, 1.0, -1.0)
    known = torch.zeros(n, n, device=device)
    flat, places = known.view(-1), torch.add(j, i, alpha=n)
    flat.scatter_(0, places, signs).scatter_(0, torch.add(i, j, alpha=n), signs)
    written = flat.index_select(0, places)
    if not torch.equal(written, signs):
        clash = torch.nonzero(written != signs).ravel()
        raise ModtoolsError(
            f"Pairs must not contradict each other: rows {int(i[clash[0]])} and "
            f"{int(j[clash[0]])} are given as of the same class and of different classes "
            f"({len(clash)} pairs do so)."
        )
    # Summed as integers: float32 cannot count beyond 2^24.
    n_known, difference = int(torch.count_nonzero(known)), int(known.sum(dim=1).long().sum())
    n_same = (n_known + difference) // 2
    return Relations(n, n_same, n_known - n_same, device, known=known)
