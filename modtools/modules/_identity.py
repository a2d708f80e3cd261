"""What makes two extractions the same: weights, code, tap, pooling, preprocessing, task."""

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from modtools.exceptions import ModtoolsError
from modtools.modules._module import PretrainedModule

__all__ = ["extraction_keys", "network_digest", "source_place"]

_VERSION: Final = "modtools features 1"
_BOOKKEEPING: Final = frozenset(vars(nn.Module()))  # training flag, hooks, registries
_MAXIMUM_DEPTH: Final = 6  # of objects within objects; they may refer to each other
_SCALARS: Final = (bool, int, float, complex, str, bytes, type(None), torch.dtype)


def _qualified(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _source(value: Any) -> str:
    """Return the source of a class or function outside torch, so that an edit is noticed."""
    if value.__module__.partition(".")[0] == "torch":
        return ""
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        return ""


def _tensor_digest(tensor: Tensor) -> str:
    plain = tensor.detach().cpu().contiguous()
    flat = plain.reshape(-1).view(torch.uint8) if plain.numel() else plain.new_empty(0)
    return f"{plain.dtype}{tuple(plain.shape)}{hashlib.sha256(flat.numpy().data).hexdigest()}"


def _setting(value: Any, depth: int = 0) -> str:
    """Return a text for an attribute of a network that is the same in every process."""
    if isinstance(value, _SCALARS):
        return repr(value)
    if isinstance(value, Tensor):
        return _tensor_digest(value)
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, Mapping):
        return str(sorted(f"{key}: {_setting(item, depth)}" for key, item in value.items()))
    if isinstance(value, tuple | list):
        return str([_setting(item, depth) for item in value])
    if isinstance(value, type | FunctionType):
        return _qualified(value)
    held = vars(value) if hasattr(value, "__dict__") and depth < _MAXIMUM_DEPTH else {}
    kept = {key: item for key, item in held.items() if key != "training"}
    return f"{_qualified(type(value))} {_setting(kept, depth + 1)}"


def _settings(network: nn.Module) -> Iterator[str]:
    """Yield class, plain attributes, hooks, parameters and buffers of every part of a network."""
    classes = set()
    for name, part in network.named_modules(remove_duplicate=False):
        classes.add(type(part))
        plain = {key: value for key, value in vars(part).items() if key not in _BOOKKEEPING}
        hooks = [*part._forward_pre_hooks.values(), *part._forward_hooks.values()]
        yield f"{name} {_qualified(type(part))} {_setting(plain)} {_setting(hooks)}"
    for kind in (network.named_parameters, network.named_buffers):
        for name, tensor in kind():
            yield f"{name} {_tensor_digest(tensor)}"
    yield from sorted(_source(found) for found in classes)


def network_digest(network: nn.Module) -> str:
    """Return the sha256 of weights, buffers, structure, settings and source of a network.

    >>> network_digest(nn.ReLU()) == network_digest(nn.ReLU())
    True
    """
    digest = hashlib.sha256()
    for text in _settings(network):
        digest.update(text.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def _identity(value: Any, what: str) -> str:
    """Return a text for a preprocessing or a source head, or raise if none can be found."""
    if isinstance(value, _SCALARS):
        return repr(value)
    if isinstance(value, nn.Module):
        return network_digest(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = json.dumps(dataclasses.asdict(value), sort_keys=True, default=_setting)
        return f"{_qualified(type(value))} {fields} {_source(type(value))}"
    named = isinstance(value, FunctionType) and value.__name__ != "<lambda>"
    if named and value.__closure__ is None and (source := _source(value)):
        return f"{_qualified(value)} {source}"
    raise ModtoolsError(
        f"{what} cannot be identified, so features cannot be cached: use a dataclass, a "
        "torch.nn.Module or a function of a file without outer variables, or cache=None."
    )


def extraction_keys(
    module: PretrainedModule, precision: str, fingerprint: str
) -> Callable[[str], str]:
    """Return the function from a place (a tap, the source head) to the key of its features."""
    if not isinstance(module.network, nn.Module):
        raise ModtoolsError(
            f"{module.name} is a plain callable, so its features cannot be cached; wrap it in a "
            "torch.nn.Module, or use cache=None."
        )
    shared = [
        _VERSION,
        network_digest(module.network),
        module.pooling,
        _identity(module.preprocess, f"the preprocess of {module.name}"),
        precision,
        fingerprint,
    ]
    return lambda place: hashlib.sha256(json.dumps([*shared, place]).encode()).hexdigest()


def source_place(module: PretrainedModule) -> str:
    """Return what stands for the source head of a module in a key."""
    return "source " + _identity(module.source_head, f"the source head of {module.name}")
