"""A reused model as one torch network: preprocessing, frozen module, output module."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modtools.exceptions import ModtoolsError
from modtools.modules import CombinedModule, ForwardReader, PretrainedModule, networks_of, to_tensor
from modtools.outputs import ClassMeanOutput, LogisticOutput, RidgeOutput, RidgeRegressionOutput

__all__ = ["ReusedNetwork", "torch_network"]


def _float32(values: Any) -> Tensor:
    # Row by row whatever the order of the fitted array: safetensors and exporters need it.
    return torch.tensor(np.ascontiguousarray(values), dtype=torch.float32)


class _Standardize(nn.Module):
    """(x - mean) / scale in float32; the mean has two parts, so that its rounding costs nothing."""

    mean: Tensor
    remainder: Tensor
    factor: Tensor

    def __init__(self, mean: Any, scale: Any) -> None:
        super().__init__()
        high = _float32(mean)
        self.register_buffer("mean", high)
        self.register_buffer("remainder", _float32(mean - high.double().numpy()))
        inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
        self.register_buffer("factor", _float32(inverse))

    def forward(self, features: Tensor) -> Tensor:
        return ((features - self.mean) - self.remainder) * self.factor


class _Means(nn.Module):
    """Minus the squared distance, or the cosine, to each class mean."""

    def __init__(self, means: Any, metric: str) -> None:
        super().__init__()
        self.means = nn.Parameter(_float32(means))
        self.metric = metric

    def forward(self, rows: Tensor) -> Tensor:
        if self.metric == "cosine":
            unit = nn.functional.normalize
            return unit(rows, eps=1e-30) @ unit(self.means, eps=1e-30).T
        return -(rows[:, None] - self.means).square().sum(dim=2)


def _output_layer(output: Any) -> nn.Sequential:
    """Return an output module of modtools as layers."""
    if isinstance(output, ClassMeanOutput):
        decide: nn.Module = _Means(output.means_, output.metric)
    elif isinstance(output, LogisticOutput | RidgeOutput | RidgeRegressionOutput):
        decide = nn.Linear(output.coef_.shape[1], output.coef_.shape[0])
        decide.weight.data = _float32(output.coef_)
        # Logits are what decision_function gives: positive where a label of several is predicted.
        is_multilabel = isinstance(output, RidgeOutput) and output.is_multilabel_
        decide.bias.data = _float32(output.intercept_ - (0.5 if is_multilabel else 0.0))
    else:
        raise ModtoolsError(
            f"{type(output).__name__} cannot become a torch network; use an output module of "
            "modtools.outputs."
        )
    return nn.Sequential(_Standardize(output.mean_, output.scale_), decide)


class ReusedNetwork(nn.Module):
    """The network of a reused model with its output module on top; `ReusedModel.to_torch` makes it.

    Attributes
    ----------
    network : torch.nn.Module
        A copy of the frozen network, in eval mode; of several networks, a `torch.nn.ModuleList`.
    output : torch.nn.Sequential
        Standardisation and output module.
    """

    def __init__(
        self,
        modules: Sequence[PretrainedModule],
        members: Sequence[str],
        output: nn.Sequential,
        *,
        preprocess: bool,
    ) -> None:
        super().__init__()
        networks: list[Any] = [module.network for module in modules]
        self.network: nn.Module = networks[0] if len(networks) == 1 else nn.ModuleList(networks)
        self.output = output
        self._modules_read = tuple(modules)
        self._members = tuple(members)
        self._preprocess = preprocess
        self.eval()

    def forward(self, inputs: Any) -> Tensor:
        """Return the logits (n_samples, n_labelled_classes) of a batch, or predicted numbers."""
        found: dict[str, Tensor] = {}
        for place, module in enumerate(self._modules_read):
            given = inputs
            if self._preprocess and module.preprocess is not None:
                given = module.preprocess(inputs)
            elif not self._preprocess and len(self._modules_read) > 1:
                given = inputs[place]
            found |= self._read(module, given)
        rows = [found[name] for name in self._members]
        logits: Tensor = self.output(rows[0] if len(rows) == 1 else torch.cat(rows, dim=1))
        return logits

    def _read(self, module: PretrainedModule, prepared: Any) -> dict[str, Tensor]:
        """Return the pooled features of each layer of one network, by name."""
        if isinstance(prepared, Mapping):
            prepared = {name: self._move(value, module) for name, value in prepared.items()}
            n_rows = len(next(iter(prepared.values())))
        else:
            prepared = self._move(to_tensor(prepared), module)
            n_rows = len(prepared)
        # A new reader each time runs to the end, as exporting needs.
        found = ForwardReader(module, with_source=False).read(prepared, n_rows).features
        return dict(zip(module.names, found.values(), strict=True))

    def _move(self, value: Tensor, module: PretrainedModule) -> Tensor:
        """Return an input on the device of the weights, floats in their number type."""
        network: Any = module.network
        weight = next((p for p in network.parameters() if p.is_floating_point()), None)
        if weight is None:
            return value.to(next(self.output.buffers()).device)
        return value.to(weight.device, weight.dtype if value.is_floating_point() else None)


def torch_network(
    module: PretrainedModule | CombinedModule, output: Any, *, preprocess: bool
) -> ReusedNetwork:
    """Return a network of its own weights with the logits of a module and its output module."""
    own = [_own_copy(network) for network in networks_of(module)]
    members = module.members if isinstance(module, CombinedModule) else module.names
    return ReusedNetwork(own, members, _output_layer(output), preprocess=preprocess)


def _own_copy(module: PretrainedModule) -> PretrainedModule:
    if not isinstance(module.network, nn.Module):
        raise ModtoolsError(f"{module.name} is a plain callable, which has no torch network.")
    return PretrainedModule(
        copy.deepcopy(module.network).eval(),
        name=module.name,
        layers=module.layers,
        pooling=module.pooling,
        preprocess=module.preprocess,
    )
