"""Build a network from a name and JSON arguments, and nothing else.

A card may come from anywhere, so the target must be a `torch.nn.Module` class of an allowed package
(or its classmethod `from_name` or `from_config`), and arguments that could lead to a file, an
address, a hub or remote code are refused before anything is imported.
"""

import re
from collections.abc import Collection, Mapping
from importlib import import_module
from reprlib import repr as short
from typing import TYPE_CHECKING, Any, Final

from modtools._escape import one_line
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    from torch import nn

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
# A text that names a file, a URL or a hub; "cuda:0" and the like are devices.
_LOCATION = re.compile(
    r"[/\\\0]|^[.~]|^(?!(cpu|cuda|meta|mps|xpu):\d)[a-z][\w+.-]*:|"
    r"\.(7z|bin|bz2|cfg|ckpt|dll|dylib|gguf|gz|h5|hdf5|ini|joblib|json|mar|model|msgpack|np[yz]|onnx|"
    r"ot|pb|pickle|pkl|pt[23e]?|ptl|pth|py[co]?|safetensors|so|t7|tar|tflite|tgz|th|toml|txt|whl|xz|"
    r"ya?ml|zip|zst)\s*$",
    re.IGNORECASE,
)
# Arguments by which networks of the allowed packages fetch weights or run downloaded code, in words
# joined by underscores. Others contain such a word but are plain settings: drop_path_rate, ...
_FETCHES: Final = re.compile(
    r"pre_?trained(?!_window_sizes)|check_?point|ckpt|(?<!init_)(?<!attn_)weights|state_?dict|"
    r"trust_?remote|auto_?map|implementation|name_or_path|download|repo_?id|revision|auth_?token|"
    r"cache_?dir|^backbone$|^token$|"
    r"(^|(?<!drop)(?<!eff)_)(ur[il]s?|paths?(?!_dropout)|files?|file_?names?|dirs?|directory|"
    r"(sub)?folders?|hub|repo|remote|snapshot|endpoint|proxies)(_|$)"
)
_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[\W_]+")
_DEEPEST: Final = 16
_LARGEST: Final = 1 << 63


def _may_fetch(key: str, value: Any) -> bool:
    """Return whether an argument may fetch something; False, None and "" switch fetching off."""
    is_off = value is None or value is False or (isinstance(value, str) and not value)
    return not is_off and _FETCHES.search(_WORDS.sub("_", key).lower()) is not None


def _check_argument(value: Any, where: str, depth: int = 0) -> None:
    """Raise unless a value is plain JSON that names no file, address or hub."""
    if depth > _DEEPEST:
        raise ModtoolsError(f"argument {where} is nested more than {_DEEPEST} deep.")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ModtoolsError(f"argument {where} has a key that is not text: {short(key)}.")
            if _may_fetch(key, item):
                raise ModtoolsError(
                    f"argument {short(key)} may fetch weights or code; it is refused."
                )
            _check_argument(item, short(key), depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_argument(item, where, depth + 1)
    else:
        _check_scalar(value, where)


def _check_scalar(value: Any, where: str) -> None:
    if not isinstance(value, str | int | float | bool | None):
        raise ModtoolsError(f"argument {where} must be plain JSON; got {type(value).__name__}.")
    if isinstance(value, str) and _LOCATION.search(value):
        raise ModtoolsError(
            f"argument {where} looks like a path, an address or a hub name: {short(value)}."
        )
    if isinstance(value, int | float) and not -_LARGEST < value < _LARGEST:
        raise ModtoolsError(f"argument {where} must be a finite number within 2**63 of 0.")


def check_build(target: Any, arguments: Any, allow: Collection[str]) -> tuple[str, str, str | None]:
    """Return package path, class and classmethod of a target, or raise; nothing is imported.

    >>> check_build("torch.nn:Linear", {"in_features": 2, "out_features": 1}, ["torch"])
    ('torch.nn', 'Linear', None)
    """
    match = _TARGET.fullmatch(target) if isinstance(target, str) else None
    if match is None:
        raise ModtoolsError(f'a target is written "package:Class"; got {short(target)}.')
    path, name, method = match.groups()
    if path.partition(".")[0] not in allow:
        raise ModtoolsError(
            f'target "{target}" is not in an allowed package ({", ".join(sorted(allow))}). If you '
            f'trust its package, name it: Zoo(folder, allow=["{path.partition(".")[0]}"]).'
        )
    if not isinstance(arguments, Mapping):
        raise ModtoolsError(f"arguments of {target} must be a dict; got {short(arguments)}.")
    _check_argument(dict(arguments), "of the network")
    return path, name, method


def build_network(target: Any, arguments: Any, allow: Collection[str]) -> "nn.Module":
    """Return a network with untrained weights; the global random generator is not touched.

    A Hugging Face class takes the arguments of its configuration.

    >>> build_network("torch.nn:Linear", {"in_features": 2, "out_features": 1}, ["torch"])
    Linear(in_features=2, out_features=1, bias=True)
    """
    import torch
    from torch import nn

    path, name, method = check_build(target, arguments, allow)
    try:
        found = getattr(import_module(path), name)
    except (Exception, SystemExit) as error:  # a file of the package may be a script
        raise ModtoolsError(f'target "{target}" cannot be imported: {one_line(error)}.') from error
    home = str(getattr(found, "__module__", "")).partition(".")[0]
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
