"""The card of a module in a zoo: plain JSON, checked before anything is built."""

import dataclasses
import json
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from reprlib import repr as short
from typing import Any, Final

from modtools._escape import code_span, markdown_text
from modtools._writing import json_text
from modtools.exceptions import ModtoolsError
from modtools.modules._messages import one_line
from modtools.modules._preprocessing import ImagePreprocess, image_preprocess
from modtools.modules._text import TextPreprocess, _tokenizer
from modtools.modules._training_card import training_rows

__all__ = [
    "FORMAT",
    "check_preprocess",
    "read_card",
    "read_json",
    "read_preprocess",
    "readme",
    "write_preprocess",
]

FORMAT: Final = 1
TOKENIZER: Final = "tokenizer.json"
_OWN: Final[dict[str, type]] = {
    "ImagePreprocess": ImagePreprocess,
    "TextPreprocess": TextPreprocess,
}
_MAXIMUM_BYTES: Final = 1 << 20
_DEEPEST: Final = 32
_FIELDS: Final[dict[str, type | tuple[type, ...]]] = {
    "name": str,
    "target": str,
    "arguments": dict,
    "taps": list,
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
_MAY_LACK: Final = {"training": None, "source_task": None, "proxy": None}


def check_preprocess(preprocess: Any) -> None:
    """Raise unless a preprocessing is none or one of modtools' own dataclasses."""
    if preprocess is not None and type(preprocess) not in _OWN.values():
        raise ModtoolsError(
            "its preprocess= is not one of modtools' own dataclasses (image_preprocess, "
            "text_module), so a zoo cannot rebuild it."
        )


def write_preprocess(preprocess: Any, folder: Path) -> dict[str, Any] | None:
    """Return a preprocessing as JSON; a tokenizer goes to its own file, as is usual."""
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
    except Exception as error:  # the reader of tokenizers raises no class of its own
        raise ModtoolsError(f"the preprocessing {kind} does not fit: {one_line(error)}.") from error


def _read_text_preprocess(tokenizer: str, fields: Mapping[str, Any]) -> TextPreprocess:
    made = TextPreprocess(tokenizer, **fields)
    if not made.inputs or not set(made.inputs) <= {"input_ids", "attention_mask", "token_type_ids"}:
        raise ModtoolsError(f"its inputs are {short(made.inputs)}")
    _tokenizer(tokenizer)
    return made


def read_card(folder: Path) -> dict[str, Any]:
    """Return the checked card of a module's folder."""
    path = folder / "card.json"
    if folder.is_symlink() or path.is_symlink() or not path.is_file():
        raise ModtoolsError(f"{folder} must be a folder with a card.json, not a link.")
    card = read_json(path, _MAXIMUM_BYTES)
    found = card.get("format") if isinstance(card, dict) else None
    if type(found) is not int or found != FORMAT:
        raise ModtoolsError(f"{path} has format {short(found)}; this modtools reads {FORMAT}.")
    card = {**_MAY_LACK, **card}  # cards did not always have these
    wrong = [name for name, kind in _FIELDS.items() if not isinstance(card.get(name, ...), kind)]
    wrong += ["n_parameters"] if isinstance(card.get("n_parameters"), bool) else []
    if wrong or not all(tap is None or isinstance(tap, str) for tap in card["taps"]):
        raise ModtoolsError(f"{path} lacks or mistypes {', '.join(wrong) or 'taps'}.")
    if card["name"] != folder.name:
        raise ModtoolsError(
            f"{path} belongs to {json.dumps(card['name'][:100])}, not to {folder.name}."
        )
    return card


def card_text(card: Mapping[str, Any]) -> str:
    """Return a card as JSON that `read_json` takes, or raise where its text is no Unicode."""
    text = json_text(card)
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ModtoolsError(
            f"a card cannot keep {error.object[error.start : error.end]!r}, half of a character; "
            "mend the names and texts that go into it."
        ) from error
    return text


def read_json(path: Path, maximum_bytes: int) -> Any:
    """Return the content of a JSON file that anyone may have written.

    What two programs could read in two ways is refused: repeated keys, NaN, infinite and endless
    numbers, broken text; so is a depth that no card needs.
    """
    try:
        with path.open("rb") as file:
            data = file.read(maximum_bytes + 1)
        content = _parse(data) if len(data) <= maximum_bytes else None
    except (ValueError, RecursionError, OSError) as error:
        raise ModtoolsError(f"{path} is not valid JSON: {one_line(error)}.") from error
    if len(data) > maximum_bytes:
        raise ModtoolsError(f"{path} is larger than a card can be.")
    return content


def _parse(data: bytes) -> Any:
    content = json.loads(
        data.decode("utf-8"),
        parse_constant=_refuse,
        parse_float=_finite,
        object_pairs_hook=_without_repeats,
    )
    _check_depth(content)
    json.dumps(content, ensure_ascii=False).encode()  # halves of a character cannot be written
    return content


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    number = float(text)
    return number if isfinite(number) else _refuse(short(text))


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it has a key twice")
    return found


def _check_depth(content: Any, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"it is nested more than {_DEEPEST} deep")
    if isinstance(content, dict | list):
        for item in content.values() if isinstance(content, dict) else content:
            _check_depth(item, depth + 1)


def readme(card: Mapping[str, Any]) -> str:
    """Return the model card of a module as Markdown, in the layout of Hugging Face."""
    taps = ", ".join(code_span(tap) if tap else "the output" for tap in card["taps"])
    told = training_rows(card["training"])
    rows = {
        "Network": code_span(card["target"]),
        "Parameters": f"{card['n_parameters']:,}",
        "Read at": f"{taps} ({markdown_text(card['pooling'])} pooling)",
        "Preprocessing": markdown_text(str((card["preprocess"] or {}).get("type", "none"))),
        "Source task": _told(card["source_task"]) or told.get("Source task", "not stated"),
        "Proxy objective": _told(card["proxy"]) or told.get("Proxy objective", "none"),
        "Saved": card["created"],
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in (rows | told | rows).items())
    return (
        "---\nlibrary_name: modtools\ntags:\n- feature-extraction\n---\n"
        f"# {markdown_text(card['name'])}\n\n"
        f"{_told(card['description']) or 'A pretrained module.'}\n\n| | |\n|---|---|\n{table}\n\n"
        f'Load it with `modtools.Zoo(folder)["{card["name"]}"]`.\n'
    )


def _told(text: Any) -> str:
    """Return what the user said of a module, as text without markup; empty where nothing is."""
    return markdown_text(str(text)) if text else ""
