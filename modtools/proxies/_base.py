"""Base class of proxy objectives: a loss on the features of a mini-batch."""

from abc import abstractmethod
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from modtools._escape import one_line
from modtools.exceptions import ModtoolsError
from modtools.proxies._relations import Pairs, as_codes

__all__ = [
    "Proxy",
    "ProxyLabels",
    "RequiredLabels",
    "check_codes",
    "check_required_labels",
    "check_rows",
    "nothing",
    "refuse_pairs",
]

RequiredLabels: TypeAlias = Literal["none", "pairs", "classes"]
ProxyLabels: TypeAlias = Tensor | ArrayLike | Pairs


class Proxy(nn.Module):
    """Base class of proxy objectives: losses of a module's features and weak labels, to minimise.

    Call it with the features and labels of a batch; it returns a scalar loss for `backward`. The
    loss is computed in float32 (float64 for float64 features), also for half-precision features
    and under autocast.

    Attributes
    ----------
    required_labels : {"none", "pairs", "classes"}
        The weakest labels it can use: none, which pairs of examples are of the same class (class
        codes work too), or the class of each example.
    uses_inputs : bool
        Whether `forward` takes the inputs of the network as a third argument, ``inputs=``.
    needs_shape : bool
        Whether it has a head for features of one shape. Training then creates it with the shape of
        the module's output, ``n_features`` or ``(channels, height, width)``, and the number of
        classes, and passes feature maps unchanged. Other proxies are created without arguments and
        get features of shape (n_samples, n_features).

    Examples
    --------
    >>> from modtools.proxies import PROXIES
    >>> loss = PROXIES["supcon"]()
    >>> loss.required_labels, isinstance(loss, Proxy)
    ('pairs', True)
    """

    required_labels: ClassVar[RequiredLabels]
    uses_inputs: ClassVar[bool] = False
    needs_shape: ClassVar[bool] = False

    @abstractmethod
    def optimum(self, labels: ProxyLabels) -> float:
        """Return the minimum of the loss for these labels, or a lower bound of it.

        Parameters
        ----------
        labels : Tensor or array-like of shape (n_samples,), or Pairs
            Labels as for `forward`.

        Returns
        -------
        float
            Minimum, or lower bound, of the loss.
        """


def check_required_labels(proxy: Any, *, name: str) -> None:
    """Raise unless a proxy, or its class, declares which labels it needs."""
    needs = getattr(proxy, "required_labels", None)
    if needs not in get_args(RequiredLabels):
        known = ", ".join(f'"{kind}"' for kind in get_args(RequiredLabels))
        raise ModtoolsError(
            f'proxy "{name}" must declare required_labels as one of {known}; got {needs!r}.'
        )


def check_rows(features: Any, *, maximum_dims: int = 2, minimum_rows: int = 0) -> Tensor:
    """Return features as a tensor of at least float32, one row per example."""
    try:
        rows = torch.as_tensor(features)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModtoolsError(
            f"features must be a tensor; got {type(features).__name__}: {one_line(error)}."
        ) from error
    if not rows.is_floating_point() or not 2 <= rows.ndim <= maximum_dims:
        shape = "(n_samples, n_features)"
        maps = "" if maximum_dims == 2 else " or (n_samples, channels, height, width)"
        raise ModtoolsError(
            f"features must be floats of shape {shape}{maps}; got {rows.dtype} "
            f"{tuple(rows.shape)}. Pool, project or flatten them to one row per example."
        )
    if len(rows) < minimum_rows or 0 in rows.shape[1:]:
        raise ModtoolsError(f"features must not be empty; got shape {tuple(rows.shape)}.")
    return rows if rows.dtype == torch.float64 else rows.float()


def refuse_pairs(labels: Any, *, proxy: str) -> None:
    """Raise if labels are pairs: the proxy needs classes."""
    if isinstance(labels, Pairs):
        raise ModtoolsError(
            f"{proxy} needs the class of each example; got Pairs. Pass class codes, or use a proxy "
            'that needs only pairs, for example "supcon".'
        )


def check_codes(labels: Any, rows: Tensor, n_classes: int, *, proxy: str) -> Tensor:
    """Return class codes 0..n_classes-1 (n_samples,) on the device of the rows."""
    refuse_pairs(labels, proxy=proxy)
    codes = as_codes(labels, len(rows))
    outside = torch.nonzero((codes < 0) | (codes >= n_classes)).ravel()
    if len(outside):
        row = int(outside[0])
        raise ModtoolsError(
            f"labels must lie in 0..{n_classes - 1} because n_classes={n_classes}; got "
            f"{int(codes[row])} in row {row} ({len(outside)} such)."
        )
    return codes.to(rows.device)


def nothing(features: Tensor) -> Tensor:
    """Return a loss of 0 whose gradient is zero, also for features that are not finite."""
    return features[:0].sum()
