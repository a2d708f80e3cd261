"""What is known about the rows of a batch: their classes, or which pairs are of one class."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from modtools._validation import check_lengths
from modtools.exceptions import ModtoolsError

__all__ = ["Pairs", "Relations", "as_codes", "relate"]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of rows that are known to be of the same class, or of different classes.

    Order within a pair does not matter and a pair given twice counts once. What is not listed is
    unknown: sums run over the known pairs only. All pairs of a data set determine its classes up
    to their names, so all pairs and one label a class are full label information.

    Attributes
    ----------
    i, j : Tensor of shape (n_pairs,)
        Row numbers, i different from j.
    same : Tensor of shape (n_pairs,)
        Whether the two rows are of one class.

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
        selves = torch.nonzero(self.i == self.j).ravel()
        if len(selves):
            raise ModtoolsError(
                f"Pairs must join two different rows; pair {int(selves[0])} joins row "
                f"{int(self.i[selves[0]])} with itself ({len(selves)} such). Leave these out."
            )

    def __len__(self) -> int:
        return len(self.i)

    @property
    def n_rows(self) -> int:
        """Least number of rows that these pairs can belong to."""
        return int(torch.maximum(self.i, self.j).max()) + 1 if len(self) else 0

    def take(self, rows: Any) -> "Pairs":
        """Return the pairs within some rows, renumbered by their place in `rows`.

        >>> Pairs([0, 0, 1], [1, 2, 2], [True, False, False]).take([2, 0])
        Pairs(i=tensor([1]), j=tensor([0]), same=tensor([False]))
        """
        chosen = _row_numbers(rows, name="rows").to(self.i.device)
        size = max(self.n_rows, int(chosen.max()) + 1 if len(chosen) else 0)
        place = torch.full((size,), -1, device=self.i.device)
        place[chosen] = torch.arange(len(chosen), device=self.i.device)
        i, j = place[self.i], place[self.j]
        known = (i >= 0) & (j >= 0)
        return Pairs(i[known], j[known], self.same[known])


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
    """Return class codes (n,) as given, whole numbers of any size; `n` rows where it is known."""
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
    """Known ordered pairs of different rows of one batch, from class codes or from `Pairs`.

    Attributes
    ----------
    n, n_same, n_different : int
        Rows; ordered pairs known to be of one class; of different classes.
    device : torch.device
        Where the masks are made.
    codes : Tensor or None
        Class of each row, numbered from 0; only from class codes.
    sizes : tuple of int
        Rows of each class; only from class codes.
    known : tuple of Tensor, or None
        The masks of pairs of one class and of different classes; only from `Pairs`.
    """

    n: int
    n_same: int
    n_different: int
    device: torch.device
    codes: Tensor | None = None
    sizes: tuple[int, ...] = ()
    known: tuple[Tensor, Tensor] | None = None

    def mask(self, which: Literal["same", "different", "any"], dtype: torch.dtype) -> Tensor:
        """Return a new symmetric 0/1 matrix (n, n) of the pairs; 0 on the diagonal."""
        if self.known is not None:
            same, different = self.known
            chosen = {"same": same, "different": different, "any": same + different}[which]
            return chosen.to(dtype, copy=True)
        if which == "any" or self.codes is None:
            full = torch.ones(self.n, self.n, dtype=dtype, device=self.device)
        else:
            # Written as numbers at once, which is five times faster than a bool matrix.
            codes = self.codes.to(dtype)
            full = torch.empty(self.n, self.n, dtype=dtype, device=self.device)
            compare = torch.eq if which == "same" else torch.ne
            compare(codes[:, None], codes, out=full)
        return full.fill_diagonal_(0)


def relate(labels: Any, n: int, device: torch.device) -> Relations:
    """Return what labels say about n rows; `labels` are class codes (n,) or `Pairs`."""
    if isinstance(labels, Pairs):
        return _from_pairs(labels, n, device)
    # Counted where the labels lie: labels on the processor cost an accelerator no waiting.
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
            "For the rows of one batch use pairs.take(rows)."
        )
    masks = []
    for chosen in (pairs.same, ~pairs.same):
        mask = torch.zeros(n, n, device=device)
        i, j = pairs.i[chosen].to(device), pairs.j[chosen].to(device)
        mask[i, j] = 1
        mask[j, i] = 1
        masks.append(mask)
    same, different = masks
    clash = torch.nonzero(same * different)
    if len(clash):
        i, j = clash[0].tolist()
        raise ModtoolsError(
            f"Pairs must not contradict each other: rows {i} and {j} are given as of the same "
            f"class and of different classes ({len(clash) // 2} such pairs)."
        )
    n_same, n_different = int(same.sum()), int(different.sum())
    return Relations(n, n_same, n_different, device, known=(same, different))
