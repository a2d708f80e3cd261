"""`check_proxy`: the contract of a proxy objective, as a check for one's own."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modtools._escape import one_line
from modtools.exceptions import ModtoolsError
from modtools.proxies import Pairs, Proxy

__all__ = ["check_proxy"]

_STEP = 1e-6


@dataclass(frozen=True)
class _Example:
    """A proxy in float64 and a batch for it."""

    proxy: Proxy
    features: Tensor
    codes: Tensor
    inputs: Tensor

    def loss(self, features: Tensor, labels: Any = None) -> Tensor:
        labels = self.codes if labels is None else labels
        if not self.proxy.uses_inputs:
            return self._call(features, labels)
        return self._call(features, labels, inputs=self.inputs[: len(features)])

    def _call(self, *arguments: Any, **inputs: Tensor) -> Tensor:
        loss: Tensor = self.proxy(*arguments, **inputs)
        return loss

    def value(self, features: Tensor, labels: Any = None) -> float:
        with torch.no_grad():
            return float(self.loss(features, labels))

    def gradient(self, features: Tensor, labels: Any = None) -> Tensor:
        leaf = features.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(self.loss(leaf, labels), leaf)
        return gradient


def _differs(left: float, right: float) -> bool:
    return abs(left - right) > 1e-8 * max(1.0, abs(left))


def _is_a_scalar_loss(example: _Example) -> str:
    loss = example.loss(example.features.clone().requires_grad_())
    if loss.ndim or not loss.requires_grad or not torch.isfinite(loss):
        return f"the loss must be a finite scalar with a gradient; got {loss}"
    known = ("none", "pairs", "classes")
    needs = getattr(example.proxy, "required_labels", None)
    return "" if needs in known else f"required_labels must be one of {known}; got {needs!r}"


def _keeps_inputs(example: _Example) -> str:
    features, codes = example.features.clone(), example.codes.clone()
    first = example.value(features, codes)
    if not torch.equal(features, example.features) or not torch.equal(codes, example.codes):
        return "features or labels were changed"
    return "" if example.value(features, codes) == first else "two calls give two values"


def _ignores_order(example: _Example) -> str:
    order = torch.arange(len(example.codes)).flip(0)
    turned = _Example(example.proxy, example.features, example.codes, example.inputs[order])
    value = turned.value(example.features[order], example.codes[order])
    expected = example.value(example.features)
    return f"reversed examples give {value}, not {expected}" if _differs(value, expected) else ""


def _gradient_is_right(example: _Example) -> str:
    generator = torch.Generator().manual_seed(1)
    direction = torch.randn(example.features.shape, generator=generator, dtype=torch.float64)
    step = _STEP * direction
    ahead, behind = example.features + step, example.features - step
    expected = (example.value(ahead) - example.value(behind)) / (2 * _STEP)
    slope = float((example.gradient(example.features) * direction).sum())
    if abs(slope - expected) <= 1e-4 * max(1.0, abs(expected)):
        return ""
    return f"the slope along a direction is {slope}, finite differences give {expected}"


def _needs_pairs_only(example: _Example) -> str:
    if example.proxy.required_labels != "pairs":
        return ""
    i, j = torch.triu_indices(len(example.codes), len(example.codes), offset=1)
    expected = example.value(example.features)
    forms = {
        "all pairs": Pairs(i, j, example.codes[i] == example.codes[j]),
        "renamed classes": 7 - 3 * example.codes,
    }
    for what, labels in forms.items():
        if _differs(value := example.value(example.features, labels), expected):
            return f"{what} give {value}, not {expected}"
    return ""


def _is_finite_at_limits(example: _Example) -> str:
    codes = example.codes
    limits = {
        "zero features": (torch.zeros_like(example.features), codes),
        "equal features": (torch.ones_like(example.features), codes),
        "a batch of one class": (example.features, torch.zeros_like(codes)),
        "a batch of singleton classes": (example.features[:3], codes[:3]),
    }
    for what, (features, labels) in limits.items():
        value = torch.tensor(example.value(features, labels))
        if not torch.isfinite(value) or not example.gradient(features, labels).isfinite().all():
            return f"{what} give a loss or gradient that is not finite"
    return ""


def _keeps_half_precision(example: _Example) -> str:
    single = copy.deepcopy(example.proxy).float()
    for dtype in (torch.float16, torch.bfloat16):
        halved = _Example(single, example.features.to(dtype), example.codes, example.inputs)
        loss = halved.loss(halved.features)
        if loss.dtype != torch.float32 or not torch.isfinite(loss):
            return f"{dtype} features must give a finite float32 loss; got {loss}"
    return ""


def _descends(example: _Example) -> str:
    features, start = example.features, example.value(example.features)
    gradient = example.gradient(features)
    length = float(gradient.norm())
    if length == 0:
        return "the gradient of an ordinary batch is zero"
    if example.value(features - 1e-3 * gradient / length) >= start:
        return "a small step against the gradient does not reduce the loss"
    best = example.proxy.optimum(example.codes)
    return f"a loss of {start} is below the optimum {best}" if start < best - 1e-9 else ""


_CHECKS: dict[str, Callable[[_Example], str]] = {
    "a scalar loss": _is_a_scalar_loss,
    "inputs stay as they are": _keeps_inputs,
    "the order of rows does not matter": _ignores_order,
    "the gradient is right": _gradient_is_right,
    "pairs are enough where pairs are required": _needs_pairs_only,
    "finite at the limits": _is_finite_at_limits,
    "half precision is safe": _keeps_half_precision,
    "it descends towards its optimum": _descends,
}


def _example(proxy: Proxy) -> _Example:
    generator = torch.Generator().manual_seed(0)
    codes = torch.arange(12) % 3
    features = torch.randn(12, 6, generator=generator, dtype=torch.float64)
    features[torch.arange(12), codes] += 1.0
    inputs = torch.randn(12, 9, generator=generator, dtype=torch.float64)
    return _Example(copy.deepcopy(proxy).double(), features, codes, inputs)


def _reason(check: Callable[[_Example], str], example: _Example) -> str:
    """Return why a check fails; the proxy may also raise anything."""
    try:
        return check(example)
    except Exception as error:  # noqa: BLE001 - code of the user, which may raise anything
        return f"it raised {type(error).__name__}: {one_line(error)}"


def check_proxy(proxy: Proxy, *, except_for: dict[str, str] | None = None) -> None:
    """Check a proxy objective against the contract of the built-in ones.

    The proxy is tried on 12 examples with 6 features, four of each of 3 classes (codes 0, 1, 2):

    - The loss is a finite scalar, and its gradient agrees with finite differences.
    - Inputs are not changed, two calls agree, and the order of examples does not matter.
    - A proxy that requires pairs gives the same loss for all pairs as for the classes.
    - The loss stays finite for zero or equal features, and without pairs of one kind.
    - Half-precision features give a float32 loss.
    - A small step against the gradient reduces the loss, which is not below the optimum.

    Parameters
    ----------
    proxy : Proxy
        A proxy for 6 features and 3 classes; it is copied, not changed.
    except_for : dict, optional
        Checks that are skipped, with the reason: ``{title of the check: reason}``.

    Raises
    ------
    ModtoolsError
        A check failed (the message lists all that failed, with reasons), or `except_for` names an
        unknown check.

    Examples
    --------
    >>> from modtools.proxies import PROXIES
    >>> check_proxy(PROXIES["supcon"](temperature=0.2))
    >>> check_proxy(PROXIES["predsim"](6, n_classes=3))
    """
    known = set(except_for or {})
    if known - set(_CHECKS):
        unknown = sorted(known - set(_CHECKS))[0]
        raise ModtoolsError(f'unknown check "{unknown}". Known: {"; ".join(_CHECKS)}.')
    if not isinstance(proxy, Proxy):
        raise ModtoolsError(
            "check_proxy takes an object of a subclass of modtools.proxies.Proxy; got "
            f"{proxy.__name__ if isinstance(proxy, type) else type(proxy).__name__}."
        )
    example = _example(proxy)
    failures = []
    for title, check in _CHECKS.items():
        reason = "" if title in known else _reason(check, example)
        failures += [f"{title}: {reason}"] if reason else []
        if failures and check is _is_a_scalar_loss:
            break  # without a loss nothing else can be tried
    if failures:
        name = type(proxy).__name__
        raise ModtoolsError(f'proxy "{name}" breaks its contract. ' + ". ".join(failures) + ".")
