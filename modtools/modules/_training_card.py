"""What a card says about how its module was trained: plain JSON, and rows for its readers."""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

from modtools._escape import markdown_text
from modtools.exceptions import ModtoolsError

__all__ = ["plain_training", "training_rows"]

_MAXIMUM_CHARACTERS: Final = 1 << 18  # a card has other fields too, and stays readable by people
_MANY: Final = 20
_DEEP: Final = 8


def plain_training(training: Any) -> dict[str, Any] | None:
    """Return what was said about the training as plain JSON, or raise.

    Numbers of numpy and torch become Python's, tuples become lists.

    >>> plain_training({"proxy": "supcon", "at": ("block3",), "accuracy": 0.9})
    {'proxy': 'supcon', 'at': ['block3'], 'accuracy': 0.9}
    """
    if training is None:
        return None
    if not isinstance(training, Mapping):
        raise ModtoolsError(f"training must be a dict or None; got {training!r}.")
    plain: dict[str, Any] = _plain(training, "training", depth=0)
    length = len(json.dumps(plain))
    if length > _MAXIMUM_CHARACTERS:
        raise ModtoolsError(
            f"training must be at most {_MAXIMUM_CHARACTERS} characters of JSON; got {length}. "
            "A history belongs in a file of its own."
        )
    return plain


def _plain(value: Any, where: str, *, depth: int) -> Any:
    """Return a value as plain JSON, or raise and name where in the dict it stands."""
    if depth > _DEEP:
        raise ModtoolsError(f"{where} is nested more than {_DEEP} deep.")
    if isinstance(value, Mapping):
        strange = [key for key in value if not isinstance(key, str)]
        if strange:
            raise ModtoolsError(f"{where} must have text as keys; got {strange[0]!r}.")
        plain = {k: _plain(v, f"{where}[{k!r}]", depth=depth + 1) for k, v in value.items()}
        for key, item in plain.items():
            if _is_accuracy(key, item) and not 0 <= item <= 1:
                raise ModtoolsError(f"{where}[{key!r}] must be a fraction in [0, 1]; got {item!r}.")
        return plain
    if isinstance(value, list | tuple):
        return [_plain(v, f"{where}[{i}]", depth=depth + 1) for i, v in enumerate(value)]
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if not isinstance(value, str | int | float | bool | None):
        raise ModtoolsError(f"{where} must be plain JSON; got {type(value).__name__}.")
    if isinstance(value, float) and not isfinite(value):
        raise ModtoolsError(f"{where} must be finite; got {value}. Leave it out, or give None.")
    return value


def training_rows(training: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the rows of a model card's table; accuracies are in percent.

    >>> training_rows({"labels_needed": "pairs", "accuracy": 0.9263, "patience": None})
    {'Labels needed': 'pairs', 'Accuracy': '92.63 %'}
    """
    stated = {key: value for key, value in (training or {}).items() if value is not None}
    return {
        markdown_text(_label(key)): markdown_text(_text(key, value))
        for key, value in stated.items()
    }


def _text(key: str, value: Any) -> str:
    """Return a value of a card on one line."""
    if isinstance(value, Mapping):
        stated = {k: v for k, v in value.items() if v is not None}
        return "; ".join(f"{_words(k)} {_text(k, v)}" for k, v in stated.items()) or "none"
    if isinstance(value, list):
        shown = ", ".join(_text(key, item) for item in value[:_MANY])
        return f"{shown}, ... ({len(value)})" if len(value) > _MANY else shown or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if _is_accuracy(key, value):
        return f"{100 * value:.2f} %"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_accuracy(key: str, value: Any) -> bool:
    return (
        key.endswith("accuracy") and isinstance(value, int | float) and not isinstance(value, bool)
    )


def _words(key: str) -> str:
    return key.replace("_", " ")


def _label(key: str) -> str:
    """Return the first cell of a row; the proxy has the same as in cards without training."""
    return "Proxy objective" if key == "proxy" else _words(key).capitalize()
