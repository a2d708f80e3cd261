"""Cards of modules and models: JSON that is checked before anything is built, and a README."""

import dataclasses
import json
import os
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from reprlib import repr as short
from typing import Any, Final, TypeAlias

import numpy as np

from modtools._escape import code_span, markdown_text, one_line
from modtools._reading import read_strict_json
from modtools._types import is_tensor
from modtools._writing import json_text
from modtools.exceptions import ModtoolsError
from modtools.modules._preprocessing import ImagePreprocess, image_preprocess
from modtools.modules._text import TextPreprocess, _tokenizer

__all__ = [
    "CARD",
    "FORMAT",
    "check_fields",
    "check_preprocess",
    "plain_training",
    "read_card",
    "read_card_file",
    "read_preprocess",
    "readme",
    "training_rows",
    "write_card",
    "write_preprocess",
]

Fields: TypeAlias = Mapping[str, type | tuple[type, ...]]

FORMAT: Final = 1
CARD: Final = "card.json"
TOKENIZER: Final = "tokenizer.json"
_OWN: Final[dict[str, type]] = {
    "ImagePreprocess": ImagePreprocess,
    "TextPreprocess": TextPreprocess,
}
_MAXIMUM_BYTES: Final = 1 << 20
_FIELDS: Final[Fields] = {
    "name": str,
    "target": str,
    "arguments": dict,
    "layers": list,
    "pooling": str,
    "preprocess": (dict, type(None)),
    "source_head": (bool, str, type(None)),
    "sha256": dict,
    "n_parameters": int,
    "training": (dict, type(None)),
    "source_task": (str, type(None)),
    "proxy": (str, type(None)),
    "description": str,
    "created": str,
}
_FORMER_LAYERS: Final = "taps"  # the name of this field in version 0.1
_MAY_LACK: Final = {"training": None, "source_task": None, "proxy": None}
_LONGEST_TRAINING: Final = 1 << 18  # a card has other fields too, and should stay readable
_MOST_LISTED: Final = 20
_DEEPEST_TRAINING: Final = 8


def check_preprocess(preprocess: Any) -> None:
    """Raise unless a preprocessing is None or a dataclass of modtools."""
    if preprocess is not None and type(preprocess) not in _OWN.values():
        raise ModtoolsError(
            "its preprocess= is not one of modtools' own dataclasses (image_preprocess, "
            "text_module), so a zoo cannot rebuild it."
        )


def write_preprocess(preprocess: Any, folder: Path) -> dict[str, Any] | None:
    """Return a preprocessing as JSON; a tokenizer is written to its own file, as is usual."""
    if preprocess is None:
        return None
    fields = {"type": type(preprocess).__name__, **dataclasses.asdict(preprocess)}
    if isinstance(preprocess, TextPreprocess):
        (folder / TOKENIZER).write_text(fields.pop("tokenizer"), encoding="utf-8")
    return fields


def read_preprocess(card: Mapping[str, Any], folder: Path) -> Any:
    """Return the preprocessing that a card describes; its files have been checked."""
    if card["preprocess"] is None:
        return None
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in card["preprocess"].items()
    }
    kind = fields.pop("type", None)
    if not isinstance(kind, str) or kind not in _OWN:
        raise ModtoolsError(f"unknown preprocessing {short(kind)}; known: {', '.join(_OWN)}.")
    try:
        if kind == "ImagePreprocess":
            return image_preprocess(**fields)
        if TOKENIZER not in card["sha256"]:
            raise ModtoolsError(f"it states no sha256 of {TOKENIZER}.")
        return _read_text_preprocess((folder / TOKENIZER).read_text(encoding="utf-8"), fields)
    except Exception as error:  # the tokenizers library raises plain exceptions
        raise ModtoolsError(f"the preprocessing {kind} does not fit: {one_line(error)}.") from error


def _read_text_preprocess(tokenizer: str, fields: Mapping[str, Any]) -> TextPreprocess:
    made = TextPreprocess(tokenizer, **fields)
    if not made.inputs or not set(made.inputs) <= {"input_ids", "attention_mask", "token_type_ids"}:
        raise ModtoolsError(f"its inputs are {short(made.inputs)}")
    _tokenizer(tokenizer)
    return made


def read_card_file(folder: Path, *, maximum_bytes: int) -> Any:
    """Return the content of the card in a folder; links are refused."""
    path = folder / CARD
    if folder.is_symlink() or path.is_symlink() or not path.is_file():
        why = "not a link" if os.path.lexists(folder) else "and there is none"
        raise ModtoolsError(f"{folder} must be a folder with a {CARD}, {why}.")
    return read_strict_json(path, maximum_bytes=maximum_bytes)


def check_fields(path: Path, card: Mapping[str, Any], fields: Fields) -> None:
    """Raise unless a card has all fields with their types; booleans do not count as numbers."""
    wrong = [name for name, kind in fields.items() if not _is_of(card.get(name, ...), kind)]
    if wrong:
        raise ModtoolsError(f"{path} lacks or mistypes {', '.join(wrong)}.")


def _is_of(value: Any, kind: type | tuple[type, ...]) -> bool:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)


def write_card(folder: Path, card: Mapping[str, Any], page: str) -> None:
    """Write a card and its README, or raise if a text of the card is not valid Unicode."""
    text = json_text(card)
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ModtoolsError(
            f"a card cannot keep {error.object[error.start : error.end]!r}, half of a character; "
            "correct the names and texts in it."
        ) from error
    (folder / CARD).write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(page, encoding="utf-8")


def read_card(folder: Path) -> dict[str, Any]:
    """Return the checked card of a module's folder."""
    path, card = folder / CARD, read_card_file(folder, maximum_bytes=_MAXIMUM_BYTES)
    found = card.get("format") if isinstance(card, dict) else None
    if type(found) is not int or found != FORMAT:
        raise ModtoolsError(f"{path} has format {short(found)}; this modtools reads {FORMAT}.")
    card = {**_MAY_LACK, **card}  # older cards lack these
    if _FORMER_LAYERS in card:
        card["layers"] = card.pop(_FORMER_LAYERS)
    check_fields(path, card, _FIELDS)
    if not all(layer is None or isinstance(layer, str) for layer in card["layers"]):
        raise ModtoolsError(f"{path} lacks or mistypes layers.")
    if card["name"] != folder.name:
        raise ModtoolsError(
            f"{path} belongs to {json.dumps(card['name'][:100])}, not to {folder.name}."
        )
    return card


def readme(card: Mapping[str, Any]) -> str:
    """Return the model card of a module as Markdown, in the layout of Hugging Face."""
    layers = ", ".join(code_span(layer) if layer else "the output" for layer in card["layers"])
    stated = training_rows(card["training"])
    rows = {
        "Network": code_span(card["target"]),
        "Parameters": f"{card['n_parameters']:,}",
        "Read at": f"{layers} ({markdown_text(card['pooling'])} pooling)",
        "Preprocessing": markdown_text(str((card["preprocess"] or {}).get("type", "none"))),
        "Source task": _plain_text(card["source_task"]) or stated.get("Source task", "not stated"),
        "Proxy objective": _plain_text(card["proxy"]) or stated.get("Proxy objective", "none"),
        "Saved": card["created"],
    }
    description = _plain_text(card["description"])
    table = "\n".join(f"| {name} | {value} |" for name, value in (rows | stated | rows).items())
    return (
        "---\nlibrary_name: modtools\ntags:\n- feature-extraction\n---\n"
        f"# {markdown_text(card['name'])}\n\n"
        f"{description or 'A pretrained module.'}\n\n| | |\n|---|---|\n{table}\n\n"
        f'Load it with `modtools.Zoo(folder)["{card["name"]}"]`.\n'
    )


def _plain_text(text: Any) -> str:
    """Return a text of the user without markup; empty if there is none."""
    return markdown_text(str(text)) if text else ""


def plain_training(training: Any) -> dict[str, Any] | None:
    """Return the description of a training as plain JSON, or raise.

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
    if length > _LONGEST_TRAINING:
        raise ModtoolsError(
            f"training must be at most {_LONGEST_TRAINING} characters of JSON; got {length}. "
            "A history belongs in a file of its own."
        )
    return plain


def _plain(value: Any, where: str, *, depth: int) -> Any:
    """Return a value as plain JSON, or raise and name its place in the dict."""
    if depth > _DEEPEST_TRAINING:
        raise ModtoolsError(f"{where} is nested more than {_DEEPEST_TRAINING} deep.")
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
    if (isinstance(value, np.generic | np.ndarray) or is_tensor(value)) and value.shape == ():
        value = value.item()
    if not isinstance(value, str | int | float | bool | None):
        raise ModtoolsError(f"{where} must be plain JSON; got {type(value).__name__}.")
    if isinstance(value, float) and not isfinite(value):
        raise ModtoolsError(f"{where} must be finite; got {value}. Leave it out, or give None.")
    return value


def training_rows(training: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the table rows of a model card; accuracies are in percent.

    >>> training_rows({"labels_needed": "pairs", "accuracy": 0.9263, "patience": None})
    {'Labels needed': 'pairs', 'Accuracy': '92.63 %'}
    """
    stated = {key: value for key, value in (training or {}).items() if value is not None}
    return {
        markdown_text(_label(key)): markdown_text(_cell_text(key, value))
        for key, value in stated.items()
    }


def _cell_text(key: str, value: Any) -> str:
    """Return a value of a card on one line."""
    if isinstance(value, Mapping):
        stated = {k: v for k, v in value.items() if v is not None}
        return "; ".join(f"{_words(k)} {_cell_text(k, v)}" for k, v in stated.items()) or "none"
    if isinstance(value, list):
        shown = ", ".join(_cell_text(key, item) for item in value[:_MOST_LISTED])
        return f"{shown}, ... ({len(value)})" if len(value) > _MOST_LISTED else shown or "none"
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
    """Return the first cell of a table row; that of the proxy does not depend on the key."""
    return "Proxy objective" if key == "proxy" else _words(key).capitalize()
