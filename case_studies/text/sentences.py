"""A labelled text task that comes with SciPy: the sentences of its documentation.

Each sentence has two labels that ask for different knowledge: what it is about (the area of SciPy)
and whether its words are in order (in half of the sentences two neighbouring words are swapped).
"""

import importlib
import inspect
import re
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import modtools as mt

# The areas with the most sentences.
AREAS = ("interpolate", "linalg", "ndimage", "optimize", "signal", "special", "stats")
SECTIONS = ("Notes", "Parameters", "Returns", "Summary")
TEST_FRACTION = 0.5
SEED = 0
Parts = tuple[mt.Task, mt.Task]

MOST_ROWS = 300  # of a training or test task

_FEWEST_WORDS, _MOST_WORDS = 6, 20
_FEWEST_LETTERS = 0.9  # share of letters and spaces: formulas and lists of names stay out
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_UNDERLINE = re.compile(r"\s*[-=]{3,}\s*")
_CITATION = re.compile(r"\s*\[\w+\]_(\s*,\s*\[\w+\]_)*")
_ROLE = re.compile(r":\w+:`~?([^`]*)`")


def sentences() -> pd.DataFrame:
    """Return columns text, area and function; a sentence that occurs twice is left out."""
    rows = [row for area in AREAS for row in _sentences_of(area)]
    table = pd.DataFrame(rows, columns=["text", "area", "function"])
    return table[~table["text"].str.lower().duplicated(keep=False)].reset_index(drop=True)


def make_tasks(table: pd.DataFrame) -> dict[str, Parts]:
    """Return the training and test task of each label.

    All sentences of a function are on one side, and all classes are of equal size.
    """
    swapped, is_swapped = _swap_words(table["text"])
    named = np.where(is_swapped, "swapped", "as written")
    return {
        "area": _split("area", table["text"], table["area"], table["function"]),
        "word order": _split("word order", swapped, named, table["function"]),
    }


def _split(name: str, texts: pd.Series, labels: object, groups: pd.Series) -> Parts:
    task = mt.Task(list(texts), np.asarray(labels, str), name=name, groups=np.asarray(groups, str))
    train, test = task.split(test_fraction=TEST_FRACTION, seed=SEED)
    return _balanced(train), _balanced(test)


def _balanced(task: mt.Task) -> mt.Task:
    """Return as many rows of each class as the smallest has, and not too many in all."""
    smallest = int(task.encoded.counts().min())
    return task.few_labels(per_class=min(smallest, MOST_ROWS // len(task.classes)), seed=SEED)


def _sentences_of(area: str) -> Iterator[tuple[str, str, str]]:
    package = importlib.import_module(f"scipy.{area}")
    for name in sorted(package.__all__):
        documented = getattr(package, name)
        text = None if inspect.ismodule(documented) else inspect.getdoc(documented)
        for section, lines in _sections(text or ""):
            if section in SECTIONS:
                for paragraph in _paragraphs(lines):
                    for sentence in _SENTENCE_END.split(paragraph):
                        if _is_prose(sentence):
                            yield sentence, area, f"{area}.{name}"


def _sections(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the sections of a docstring; what stands before the first heading is the summary."""
    heading, lines = "Summary", list[str]()
    for line in text.split("\n"):
        if _UNDERLINE.fullmatch(line) and lines and lines[-1].strip():
            title = lines.pop().strip()
            yield heading, lines
            heading, lines = title, []
        else:
            lines.append(line)
    yield heading, lines


def _paragraphs(lines: list[str]) -> Iterator[str]:
    """Yield runs of lines of one indentation, without markup; formulas and code are left out."""
    kept: list[str] = []
    indent = 0
    for line in [*lines, ""]:
        text, own = line.strip(), len(line) - len(line.lstrip())
        is_markup = not text or text.startswith((".. ", ">>>", "..."))
        if kept and (is_markup or own != indent or text.startswith(("* ", "- "))):
            yield from _plain(" ".join(kept))
            kept = []
        if not is_markup:
            kept.append(text.lstrip("*- "))
            indent = own


def _plain(paragraph: str) -> Iterator[str]:
    """Yield a paragraph without markup, unless it has formulas or names its own area."""
    if ":math:" not in paragraph and "scipy." not in paragraph:
        text = _ROLE.sub(r"\1", _CITATION.sub("", paragraph))
        yield text.replace("`", "").replace("*", "").strip()


def _is_prose(sentence: str) -> bool:
    letters = sum(mark.isalpha() or mark == " " for mark in sentence)
    return (
        _FEWEST_WORDS <= len(sentence.split()) <= _MOST_WORDS
        and sentence[0].isupper()
        and sentence.endswith(".")
        and letters >= _FEWEST_LETTERS * len(sentence)
    )


def _swap_words(texts: pd.Series) -> tuple[list[str], NDArray[np.bool_]]:
    """Return the texts, in half of them two neighbouring words swapped, and in which."""
    rng = np.random.default_rng(SEED)
    is_chosen = rng.permutation(len(texts)) < len(texts) // 2
    found = [
        _swap(text, rng) if chosen else text for text, chosen in zip(texts, is_chosen, strict=True)
    ]
    return found, np.array([new != old for new, old in zip(found, texts, strict=True)])


def _swap(text: str, rng: np.random.Generator) -> str:
    """Return a text with two different neighbouring words of small letters swapped, if it can."""
    words = text.split()
    places = [
        place
        for place, (first, second) in enumerate(pairwise(words))
        if first != second and first.isalpha() and first.islower()
        if second.isalpha() and second.islower()
    ]
    if places:
        place = int(rng.choice(places))
        words[place], words[place + 1] = words[place + 1], words[place]
    return " ".join(words)
