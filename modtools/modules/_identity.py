"""Keys of cached features: weights, code, layer, pooling, preprocessing and task."""

import hashlib
import inspect
import json
from collections.abc import Callable
from functools import partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from modtools.exceptions import ModtoolsError
from modtools.modules._code_identity import Reader, is_scalar
from modtools.modules._module import PretrainedModule

if TYPE_CHECKING:
    from torch import nn

__all__ = ["array_digest", "extraction_keys", "network_digest", "source_place"]

_VERSION: Final = "modtools features 2"


def array_digest(*arrays: NDArray[Any]) -> str:
    """Return the sha256 of arrays: dtype, shape and bytes of each.

    >>> one, other = np.zeros(2), np.ones(2)
    >>> array_digest(one) == array_digest(one.copy()), array_digest(one) == array_digest(other)
    (True, False)
    """
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def _source(value: Any) -> str:
    """Return the source of a class outside torch, so that an edit is noticed."""
    if value.__module__.partition(".")[0] == "torch":
        return ""
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        return ""


def network_digest(network: "nn.Module") -> str:
    """Return the sha256 of weights, buffers, structure, settings and code of a network.

    The code is that of its classes and hooks, with the values of everything that it reads.

    >>> from torch import nn
    >>> network_digest(nn.ReLU()) == network_digest(nn.ReLU())
    True
    """
    sources = sorted(_source(found) for found in {type(part) for part in network.modules()})
    try:
        text = Reader().all_texts(network)
    except ModtoolsError as error:
        raise ModtoolsError(
            f"the network cannot be identified: {error}. Move that out of it, or use cache=None."
        ) from error
    return hashlib.sha256("\0".join([text, *sources]).encode()).hexdigest()


def _identity(value: Any, what: str) -> str:
    """Return a text for a preprocessing or a source head, or raise if none can be found."""
    from torch import nn

    if is_scalar(value):
        return repr(value)
    if isinstance(value, nn.Module):
        return network_digest(value)
    reason = "it is a lambda, a closure or a part of Python"
    is_function = isinstance(value, FunctionType) and value.__name__ != "<lambda>"
    is_object = type(value).__module__ != "builtins" or isinstance(value, MethodType)
    if (is_function and value.__closure__ is None) or isinstance(value, partial) or is_object:
        try:
            return Reader().all_texts(value)
        except ModtoolsError as error:
            reason = str(error)
    raise ModtoolsError(
        f"{what} cannot be identified, so features cannot be cached: {reason}. Use a dataclass, a "
        "torch.nn.Module or a function without outer variables that reads constants and helpers "
        "only, or cache=None."
    )


def extraction_keys(
    module: PretrainedModule, precision: str, fingerprint: str
) -> Callable[[str], str]:
    """Return the function from a place (a layer, the source head) to the key of its features."""
    from torch import nn

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
    """Return the part of a key that identifies the source head of a module."""
    return "source " + _identity(module.source_head, f"the source head of {module.name}")
