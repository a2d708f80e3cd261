"""What is known about the rows of a batch: their classes, or which pairs are of one class."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from modtools._checks import check_lengths
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
        return max(int(self.i.max()), int(self.j.max())) + 1 if len(self) else 0

    def take(self, rows: Any) -> "Pairs":
        """Return the pairs within some rows, renumbered by their place in `rows`.

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
    known : Tensor or None
        Matrix (n, n): 1 for a pair of one class, -1 for one of different classes, 0 for the others;
        only from `Pairs`.
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
        # Written as numbers at once, which is five times faster than a bool matrix.
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
        """Return the mask of pairs of one class minus that of pairs of different classes."""
        if self.known is not None:
            return self.known.to(dtype)
        return self.mask("same", dtype) - self.mask("different", dtype)


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
