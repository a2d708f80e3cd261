"""Contrastive proxies: functions of exponentials of kernel values."""

import math

import torch
from torch import Tensor

from modtools._checks import check_positive
from modtools.exceptions import ModtoolsError
from modtools.proxies._base import ProxyLabels
from modtools.proxies._kernel import KernelProxy, count_relations
from modtools.proxies._products import of_kernel
from modtools.proxies._relations import Relations

__all__ = ["Contrastive", "LogContrastive", "SupCon"]


_SAFE_SPAN = 60.0  # exp(-60) is far above the smallest float32
_LEAST_TEMPERATURE = 1e-30  # kernel values of 1 divided by it stay within float32


def _check_temperature(temperature: float) -> float:
    if check_positive(temperature, name="temperature") < _LEAST_TEMPERATURE:
        raise ModtoolsError(
            f"temperature must be at least {_LEAST_TEMPERATURE:g}; got {temperature!r}."
        )
    return float(temperature)


def _shares(kernel: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Overwrite the kernel by the softmax of its masked entries.

    Returns the softmax and the log-sum-exp; neither overflows for entries of any size.
    """
    kernel.masked_fill_(mask == 0, -torch.inf)
    top = kernel.max()
    kernel.sub_(top).exp_()
    total = kernel.sum()
    return kernel.div_(total), total.log() + top


def _exponentials(kernel: Tensor, relations: Relations, high: float) -> None:
    """Overwrite the kernel by exp(kernel - high) where pairs are known, by 0 elsewhere."""
    kernel.sub_(high).exp_()
    if relations.known is None:
        kernel.fill_diagonal_(0)
    else:
        kernel.mul_(relations.mask("any", kernel.dtype))


def _log_share(kernel: Tensor, relations: Relations, high: float) -> tuple[Tensor, Tensor]:
    """Return the log share of same-class pairs and its gradient, from one exponential."""
    same = relations.mask("same", kernel.dtype)
    _exponentials(kernel, relations, high)
    positive, total = torch.dot(kernel.view(-1), same.view(-1)), kernel.sum()
    gradient = kernel.mul_(same.div_(positive).sub_(1 / total))
    return positive.log() - total.log(), gradient


class LogContrastive(KernelProxy):
    """Log contrastive loss: minus the log share of same-class pairs in the sum of exponentials.

    With S and D the ordered pairs of the same class and of different classes, the loss is
    -log( sum over S of exp(k / temperature) / sum over S and D of exp(k / temperature) ). With
    `negatives_only` it is log mean over D of exp(k / temperature). Registered as
    ``log_contrastive``.

    Optimum: log(1 + n_different / n_same exp((k_min - k_max) / temperature)), and with
    `negatives_only` k_min / temperature. At temperature 1, as in the paper, the gradient is weak;
    0.1 trains better.

    Parameters
    ----------
    negatives_only : bool, default=False
        Use pairs of different classes only.
    feature_map : str, default="relu_normalised"
        Key of `modtools.transferability.FEATURE_MAPS`.
    temperature : float, default=1.0
        Divides the kernel.

    References
    ----------
    Duan, Yu & Principe, "Modularizing deep learning via pairwise learning with kernels", IEEE TNNLS
    2022 (arXiv 2005.05541).

    Examples
    --------
    >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> round(float(LogContrastive()(features, [0, 0, 1, 1])), 3)
    0.598
    """

    def __init__(
        self,
        *,
        negatives_only: bool = False,
        feature_map: str = "relu_normalised",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(negatives_only=negatives_only, feature_map=feature_map)
        self.temperature = _check_temperature(temperature)

    def extra_repr(self) -> str:
        """Return the settings that `print` shows."""
        return f"{super().extra_repr()}, temperature={self.temperature}"

    def _objective(self, phi: Tensor, relations: Relations) -> Tensor:
        low, high = (bound / self.temperature for bound in self._range())

        def evaluate(kernel: Tensor) -> tuple[Tensor, Tensor]:
            if self.negatives_only:
                shares, total = _shares(kernel, relations.mask("different", phi.dtype))
                return math.log(relations.n_different) - total, shares.neg_()
            if high - low < _SAFE_SPAN:
                return _log_share(kernel, relations, high)
            positive, log_positive = _shares(kernel.clone(), relations.mask("same", phi.dtype))
            shares, total = _shares(kernel, relations.mask("any", phi.dtype))
            return log_positive - total, positive.sub_(shares)

        return of_kernel(phi, evaluate, scale=1 / self.temperature)

    def _best(self, relations: Relations) -> float:
        low, high = (bound / self.temperature for bound in self._range())
        if self.negatives_only:
            return -low
        return -math.log1p(relations.n_different / relations.n_same * math.exp(low - high))


class Contrastive(LogContrastive):
    """Contrastive loss: minus the share of same-class pairs in the sum of exp(k / temperature).

    It is minus exp(-l) for the loss l of `LogContrastive`, and so is its optimum. With
    `negatives_only` it is the mean of exp(k / temperature) over pairs of different classes, and the
    optimum exp(k_min / temperature). Parameters as in `LogContrastive`. Registered as
    ``contrastive``.

    References
    ----------
    Duan, Yu & Principe, "Modularizing deep learning via pairwise learning with kernels", IEEE TNNLS
    2022 (arXiv 2005.05541).

    Examples
    --------
    >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> round(float(Contrastive()(features, [0, 0, 1, 1])), 3)
    -0.55
    """

    def _objective(self, phi: Tensor, relations: Relations) -> Tensor:
        logarithm = super()._objective(phi, relations)
        return -(-logarithm).exp() if self.negatives_only else logarithm.exp()

    def _best(self, relations: Relations) -> float:
        logarithm = super()._best(relations)
        return -math.exp(-logarithm) if self.negatives_only else math.exp(logarithm)


class SupCon(KernelProxy):
    """Supervised contrastive loss: each example against all others of the batch.

    For each example i with a same-class example p, the loss is -log( exp(k(i, p) / temperature) /
    sum over a of exp(k(i, a) / temperature) ), averaged over all such p, then over i; a runs over
    the examples whose relation to i is known. Examples without a same-class example are left out.
    The gradient is stronger than that of `LogContrastive`, which pools all examples. A batch
    without a same-class pair or without a pair of different classes has loss 0 and zero gradient.
    Registered as ``supcon``.

    Optimum for C classes of m examples each: log(m - 1 + (C - 1) m exp((k - k_max) / temperature))
    with k = max(k_min, -1 / (C - 1)). It is reached when the features of each class are equal and
    the classes are as far apart as the feature map allows. It is never 0.

    Parameters
    ----------
    feature_map : str, default="unit"
        Key of `modtools.transferability.FEATURE_MAPS`; ``unit`` normalises features to length 1, as
        in the paper.
    temperature : float, default=0.1
        Divides the kernel.

    References
    ----------
    Khosla et al., "Supervised contrastive learning", NeurIPS 2020, equation 2 (the "out" form);
    Graf et al., "Dissecting supervised contrastive learning", ICML 2021 (optimum).

    Examples
    --------
    >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> round(float(SupCon()(features, [0, 0, 1, 1])), 4)
    0.0003
    """

    def __init__(self, *, feature_map: str = "unit", temperature: float = 0.1) -> None:
        super().__init__(feature_map=feature_map)
        self.temperature = _check_temperature(temperature)

    def extra_repr(self) -> str:
        """Return the settings that `print` shows."""
        return f"feature_map={self.feature_map!r}, temperature={self.temperature}"

    def _objective(self, phi: Tensor, relations: Relations) -> Tensor:
        low, high = (bound / self.temperature for bound in self._range())
        same = relations.mask("same", phi.dtype)
        partners = same.sum(dim=1)
        weights = (partners > 0).to(phi.dtype)
        weights = weights / weights.sum()
        # Each example averages over its same-class partners. The weights are made symmetric, as
        # the kernel is; with class codes they already are, since partners have equal counts.
        share = 0.5 * weights / partners.clamp(min=1)
        same.mul_(2 * share if relations.codes is not None else share[:, None] + share)

        def evaluate(kernel: Tensor) -> tuple[Tensor, Tensor]:
            attraction = torch.dot(kernel.view(-1), same.view(-1))
            if high - low < _SAFE_SPAN:  # one shift keeps the exponentials symmetric
                top = torch.full_like(weights, high)
                _exponentials(kernel, relations, high)
            else:
                kernel.masked_fill_(relations.mask("any", phi.dtype) == 0, -torch.inf)
                top = kernel.amax(dim=1)
                top = top.where(weights > 0, 0.0)  # no maximum without known pairs
                kernel.sub_(top[:, None]).exp_()
            total = kernel.sum(dim=1)
            total = total.where(weights > 0, 1.0)
            pull = 0.5 * weights / total
            if high - low < _SAFE_SPAN:
                gradient = same.addcmul_(kernel, pull[:, None], value=-1)
                gradient.addcmul_(kernel, pull, value=-1)
            else:
                kernel.mul_(pull[:, None])
                gradient = same.sub_(kernel).sub_(kernel.T.contiguous())
            return attraction - torch.dot(weights, total.log() + top), gradient

        return of_kernel(phi, evaluate, scale=1 / self.temperature)

    def optimum(self, labels: ProxyLabels) -> float:
        """Return the minimum of the loss for class codes with equally many examples per class.

        Parameters
        ----------
        labels : Tensor or array-like of shape (n_samples,), or Pairs
            Labels as for `forward`.

        Returns
        -------
        float
            Minimum of the loss.

        Raises
        ------
        ModtoolsError
            Pairs, or classes of different sizes.
        """
        relations = count_relations(labels)
        if not self._compares(relations):
            return 0.0
        if len(set(relations.sizes)) != 1:
            raise ModtoolsError(
                "the optimum of supcon is known for class codes with equally many examples per "
                "class; got other labels."
            )
        return -self._best(relations)

    def _best(self, relations: Relations) -> float:
        low, high = self._range()
        n_classes = relations.n // (relations.n_same // relations.n + 1)
        size = relations.n // n_classes
        nearest = max(low, -1 / (n_classes - 1)) if math.isfinite(low) else low
        others = (n_classes - 1) * size * math.exp((nearest - high) / self.temperature)
        return -math.log(size - 1 + others)
