"""HSIC bottleneck: dependence on the inputs minus dependence on the labels."""

from typing import ClassVar

import torch
from torch import Tensor

from modtools._checks import check_positive
from modtools.exceptions import ModtoolsError
from modtools.proxies._base import Proxy, ProxyLabels, RequiredLabels, check_rows, refuse_pairs
from modtools.proxies._relations import as_codes

__all__ = ["HSICBottleneck"]


def _gaussian(rows: Tensor, sigma: float) -> Tensor:
    """Return exp(-distance^2 / (2 sigma^2 d)), a kernel that does not depend on d for noise."""
    norms = rows.square().sum(dim=1)
    squares = (norms[:, None] + norms - 2 * rows @ rows.T).clamp(min=0)
    return torch.exp(-squares / (2 * sigma * sigma * rows.shape[1]))


def _normalised(kernel: Tensor, eps: float) -> Tensor:
    """Return Kc (Kc + eps m I)^-1 with Kc the doubly centred kernel."""
    centred = kernel - kernel.mean(dim=0)
    centred = centred - centred.mean(dim=1, keepdim=True)
    centred = (centred + centred.T) / 2
    ridge = eps * len(kernel) * torch.eye(len(kernel), dtype=kernel.dtype, device=kernel.device)
    try:
        factor = torch.linalg.cholesky(centred + ridge)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise ModtoolsError(
            f"the kernel of hsic_bottleneck cannot be inverted with eps={eps:g}: inputs are not "
            "finite, eps is too small, or sigma is far from the distances of the examples."
        ) from error
    return torch.cholesky_solve(centred, factor)


class HSICBottleneck(Proxy):
    """HSIC bottleneck: nHSIC(features, inputs) - beta nHSIC(features, labels).

    nHSIC(A, B) = tr(Ka Kb), where K = Kc (Kc + eps m I)^-1 and Kc is the centred Gaussian kernel
    exp(-D^2 / (2 sigma^2 d)) of m examples with d features. Labels are one-hot, with one column per
    class of the batch. A batch costs O(m^3), in float64. A batch of one class has a label term of
    0. Registered as ``hsic_bottleneck``.

    Lower bound: -beta tr(Ky), which is above -beta (C - 1). The label term approaches it as Kz
    reaches the span of the labels.

    Parameters
    ----------
    beta : float, default=500.0
        Weight of the labels.
    sigma : float, default=5.0
        Width of the Gaussian kernels.
    eps : float, default=1e-5
        Ridge of the normalisation, relative to the number of examples.

    References
    ----------
    Ma, Lewis & Kleijn, "The HSIC bottleneck: deep learning without back-propagation", AAAI 2020.

    Examples
    --------
    >>> features = torch.tensor([[9.0, 0.0], [9.0, 0.1], [0.0, 9.0], [0.1, 9.0]])
    >>> round(float(HSICBottleneck(beta=1)(features, [0, 0, 1, 1], inputs=features)), 2)
    0.95
    """

    required_labels: ClassVar[RequiredLabels] = "classes"
    uses_inputs: ClassVar[bool] = True

    def __init__(self, *, beta: float = 500.0, sigma: float = 5.0, eps: float = 1e-5) -> None:
        super().__init__()
        self.beta = check_positive(beta, name="beta")
        self.sigma = check_positive(sigma, name="sigma")
        self.eps = check_positive(eps, name="eps")

    def forward(
        self, features: Tensor, labels: ProxyLabels, inputs: Tensor | None = None
    ) -> Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        features : Tensor of shape (n_samples, n_features)
            Output of a module.
        labels : Tensor or array-like of shape (n_samples,)
            Class codes.
        inputs : Tensor of shape (n_samples, ...), optional
            Inputs of the network. Without them the loss is the label term alone.

        Returns
        -------
        Tensor of shape ()
            Loss.

        Raises
        ------
        ModtoolsError
            Wrong shapes, lengths that differ, or `Pairs`.
        """
        rows = check_rows(features, minimum_rows=1)
        kernel_of_labels = self._label_kernel(labels, len(rows)).to(rows.device)
        if not bool(rows.isfinite().all()):
            return rows.sum() * torch.nan  # for a training loop to see, as in the other proxies
        with torch.autocast(rows.device.type, enabled=False):
            of_features = _normalised(_gaussian(rows.double(), self.sigma), self.eps)
            loss = -self.beta * (of_features * kernel_of_labels).sum()
            if inputs is not None:
                loss = loss + (of_features * self._input_kernel(inputs, rows)).sum()
        return loss.to(rows.dtype)

    def optimum(self, labels: ProxyLabels) -> float:
        """Return a lower bound of the loss, -beta tr(Ky)."""
        return -self.beta * float(self._label_kernel(labels, None).trace())

    def extra_repr(self) -> str:
        """Return the settings that `print` shows."""
        return f"beta={self.beta}, sigma={self.sigma}, eps={self.eps}"

    @torch.no_grad()
    def _label_kernel(self, labels: ProxyLabels, n: int | None) -> Tensor:
        refuse_pairs(labels, proxy="hsic_bottleneck")
        codes = torch.unique(as_codes(labels, n), return_inverse=True)[1]
        if not len(codes):
            raise ModtoolsError("labels must not be empty; got none.")
        columns = torch.nn.functional.one_hot(codes).double()
        return _normalised(_gaussian(columns, self.sigma), self.eps)

    @torch.no_grad()
    def _input_kernel(self, inputs: Tensor, rows: Tensor) -> Tensor:
        tensor = torch.as_tensor(inputs, dtype=torch.float64, device=rows.device)
        if tensor.ndim < 1 or len(tensor) != len(rows):
            raise ModtoolsError(
                "features and inputs must have one row each per example; features has "
                f"{len(rows)}, inputs has shape {tuple(tensor.shape)}."
            )
        return _normalised(_gaussian(tensor.reshape(len(rows), -1), self.sigma), self.eps)
