"""Build a network from a name and JSON arguments, and nothing but a network.

A card may come from anywhere, so the target must be a `torch.nn.Module` class of an allowed package
(or its classmethod `from_name` or `from_config`), and arguments that could lead to a file, an
address, a hub or remote code are refused before anything is imported.
"""

import re
from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Any, Final

import torch
from torch import nn

from modtools.exceptions import ModtoolsError
from modtools.modules._messages import one_line

__all__ = ["ALLOWED_PACKAGES", "build_network", "check_build"]

ALLOWED_PACKAGES: Final = (
    "efficientnet_lite_pytorch",
    "modtools",
    "timm",
    "torch",
    "torchvision",
    "transformers",
)
_PART = r"[A-Za-z]\w*"
_TARGET = re.compile(rf"({_PART}(?:\.{_PART})*):({_PART})(?:\.(from_name|from_config))?")
_LOCATION = re.compile(
    r"[/\\]|^[.~]|\.(bin|ckpt|json|npz|onnx|pickle|pkl|pt|pth|py|safetensors|tar|zip)$",
    re.IGNORECASE,
)
# Switches and texts by which networks of the allowed packages fetch weights or run downloaded code.
_FETCHES: Final = re.compile(
    r"trust_remote_code|auto_map|pretrained|checkpoint|(?<!init_)weights|repo_id|revision|"
    r"name_or_path|hf_hub|^backbone$|(^|_)(ur[il]|path|file)(_|$)",
    re.IGNORECASE,
)


def _check_argument(value: Any, where: str) -> None:
    """Raise unless a value is plain JSON that leads nowhere."""
    if isinstance(value, str) and _LOCATION.search(value):
        raise ModtoolsError(
            f"argument {where} looks like a path, an address or a hub name: {value!r}."
        )
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ModtoolsError(f"argument {where} has a key that is not text: {key!r}.")
            if _FETCHES.search(key) and (item is True or isinstance(item, str | dict)):
                raise ModtoolsError(f'argument "{key}" may fetch weights or code; it is refused.')
            _check_argument(item, key)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_argument(item, where)
    elif not isinstance(value, str | int | float | bool | type(None)):
        raise ModtoolsError(f"argument {where} must be plain JSON; got {type(value).__name__}.")


def check_build(target: Any, arguments: Any, allow: Collection[str]) -> tuple[str, str, str | None]:
    """Return package path, class and classmethod of a target, or raise; nothing is imported.

    >>> check_build("torch.nn:Linear", {"in_features": 2, "out_features": 1}, ["torch"])
    ('torch.nn', 'Linear', None)
    """
    match = _TARGET.fullmatch(target) if isinstance(target, str) else None
    if match is None:
        raise ModtoolsError(f'a target is written "package:Class"; got {target!r}.')
    path, name, method = match.groups()
    if path.partition(".")[0] not in allow:
        raise ModtoolsError(
            f'target "{target}" is not in an allowed package ({", ".join(sorted(allow))}). If you '
            f'trust its package, name it: Zoo(folder, allow=["{path.partition(".")[0]}"]).'
        )
    if not isinstance(arguments, Mapping):
        raise ModtoolsError(f"arguments of {target} must be a dict; got {arguments!r}.")
    _check_argument(dict(arguments), "of the network")
    return path, name, method


def build_network(target: Any, arguments: Any, allow: Collection[str]) -> nn.Module:
    """Return a network with untrained weights; the global random generator is not touched.

    A Hugging Face class takes the arguments of its configuration.

    >>> build_network("torch.nn:Linear", {"in_features": 2, "out_features": 1}, ["torch"])
    Linear(in_features=2, out_features=1, bias=True)
    """
    path, name, method = check_build(target, arguments, allow)
    try:
        found = getattr(import_module(path), name)
    except (ImportError, AttributeError) as error:
        raise ModtoolsError(f'target "{target}" cannot be imported: {one_line(error)}.') from error
    home = getattr(found, "__module__", "").partition(".")[0]
    if not (isinstance(found, type) and issubclass(found, nn.Module)) or home not in allow:
        raise ModtoolsError(f'target "{target}" is not a torch.nn.Module class of that package.')
    configuration = getattr(found, "config_class", None) if home == "transformers" else None
    try:
        with torch.random.fork_rng(devices=[]):
            if configuration is not None:
                network = found(configuration(**arguments))
            else:
                network = (getattr(found, method) if method else found)(**arguments)
    except Exception as error:
        raise ModtoolsError(f'target "{target}" cannot be built: {one_line(error)}.') from error
    if not isinstance(network, nn.Module):
        raise ModtoolsError(f'target "{target}" did not build a torch.nn.Module.')
    return network
