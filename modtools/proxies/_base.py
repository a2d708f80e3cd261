"""What every proxy objective is: a loss on the features of one batch."""

from abc import abstractmethod
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from modtools.exceptions import ModtoolsError
from modtools.proxies._relations import Pairs, as_codes

__all__ = [
    "Proxy",
    "ProxyLabels",
    "RequiredLabels",
    "check_codes",
    "check_rows",
    "nothing",
    "refuse_pairs",
]

RequiredLabels: TypeAlias = Literal["none", "pairs", "classes"]
ProxyLabels: TypeAlias = Tensor | ArrayLike | Pairs


class Proxy(nn.Module):
    """A proxy objective: a loss to minimise, computed from a module's features and weak labels.

    Call it with the features of a batch and their labels; it returns a scalar to call `backward`
    on. The loss is computed in float32 (float64 for float64 features), whatever the precision of
    the features and of autocast.

    Attributes
    ----------
    required_labels : {"none", "pairs", "classes"}
        The least it must know: nothing, which pairs of rows are of one class (classes serve too),
        or the class of each row.
    uses_inputs : bool
        Whether `forward` takes the network's inputs as a third argument, ``inputs=``.
    needs_shape : bool
        Whether it has a head for features of one shape: training then makes it with the shape of a
        module's output, ``n_features`` or ``(channels, height, width)``, and the number of classes,
        and gives it maps as they are. Others are made without arguments and get rows of features.
    """

    required_labels: ClassVar[RequiredLabels]
    uses_inputs: ClassVar[bool] = False
    needs_shape: ClassVar[bool] = False

    @abstractmethod
    def optimum(self, labels: ProxyLabels) -> float:
        """Return the least value that the loss can have with these labels, or a bound on it."""


def check_rows(features: Any, *, minimum_dims: int = 2, maximum_dims: int = 2) -> Tensor:
    """Return features as a tensor of at least float32, one row an example."""
    rows = torch.as_tensor(features)
    if not rows.is_floating_point() or not minimum_dims <= rows.ndim <= maximum_dims:
        shape = "(n_samples, n_features)"
        maps = "" if maximum_dims == 2 else " or (n_samples, channels, height, width)"
        raise ModtoolsError(
            f"features must be floats of shape {shape}{maps}; got {rows.dtype} "
            f"{tuple(rows.shape)}. Pool, project or flatten them to one row per example."
        )
    return rows if rows.dtype == torch.float64 else rows.float()


def refuse_pairs(labels: Any, *, proxy: str) -> None:
    """Raise if labels are pairs: the proxy needs classes."""
    if isinstance(labels, Pairs):
        raise ModtoolsError(
            f"{proxy} needs the class of each row; got Pairs. Pass class codes, or use a proxy "
            'that needs only pairs, for example "supcon".'
        )


def check_codes(labels: Any, rows: Tensor, n_classes: int, *, proxy: str) -> Tensor:
    """Return class codes 0..n_classes-1 (n_samples,) on the device of the rows."""
    refuse_pairs(labels, proxy=proxy)
    codes = as_codes(labels, len(rows))
    strange = torch.nonzero((codes < 0) | (codes >= n_classes)).ravel()
    if len(strange):
        row = int(strange[0])
        raise ModtoolsError(
            f"labels must lie in 0..{n_classes - 1} because n_classes={n_classes}; got "
            f"{int(codes[row])} in row {row} ({len(strange)} such)."
        )
    return codes.to(rows.device)


def nothing(features: Tensor) -> Tensor:
    """Return a loss of 0 whose gradient is zero, also where features are not finite."""
    return features[:0].sum()
