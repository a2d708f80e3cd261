"""The study must not rot: at toy size it goes through every step and says what it found."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

STUDY = Path(__file__).parents[2] / "case_studies" / "text"

DOCSTRING = """f(x)

Smooth the rows of a `matrix` with a kernel.  Rows that
are *too short* stay as they are [1]_.

It follows :math:`f(x) = x` for all the rows here.

Parameters
----------
x : ndarray
    The matrix whose rows are made smooth here.
    Short.

    * Every item of a list is a sentence too.

Examples
--------
>>> f(1)  # The examples are of no use here.
"""


@pytest.fixture(scope="module")
def study():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(STUDY)
        before = set(sys.modules)
        yield runpy.run_path(str(STUDY / "run.py"))
        for name in {path.stem for path in STUDY.glob("*.py")} & set(sys.modules) - before:
            del sys.modules[name]  # another study may name a file alike


@pytest.fixture(scope="module")
def sentences():
    return runpy.run_path(str(STUDY / "sentences.py"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, run_study):
    folder = tmp_path_factory.mktemp("study")
    assert run_study("text", "--quick", "--json", folder / "figures.json") is None
    return folder


def test_it_gives_accuracies_regret_and_tau(folder):
    figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    for per_class in (5, 10):
        assert 0 <= figures[f"regret_{per_class}"] < 100
        assert -1 <= figures[f"tau_{per_class}"] <= 1
        assert 0 < figures[f"accuracy_word_order_{per_class}_words"] < 100
    assert figures["word_order_train_rows"] == 80
    assert "torch" in figures["versions"]


def test_one_module_is_picked_with_each_random_subset(folder):
    cells = pd.read_csv(folder / "cells.csv")
    assert (cells.groupby(["task", "per_class", "repeat"])["picked"].sum() == 1).all()


def test_the_picture_is_drawn(folder):
    assert (folder / "layers.png").stat().st_size > 0


def test_sentences_of_a_docstring(sentences):
    is_prose, paragraphs = sentences["_is_prose"], sentences["_paragraphs"]
    found = [
        (section, sentence)
        for section, lines in sentences["_sections"](DOCSTRING)
        if section in sentences["SECTIONS"]
        for paragraph in paragraphs(lines)
        for sentence in sentences["_SENTENCE_END"].split(paragraph)
        if is_prose(sentence)
    ]
    assert found == [
        ("Summary", "Smooth the rows of a matrix with a kernel."),
        ("Summary", "Rows that are too short stay as they are."),
        ("Parameters", "The matrix whose rows are made smooth here."),
        ("Parameters", "Every item of a list is a sentence too."),
    ]


def test_two_neighbouring_words_are_swapped(sentences):
    swap, rng = sentences["_swap"], np.random.default_rng(0)
    before = "The sum of squares is the same."
    after = swap(before, rng)
    assert after != before
    assert sorted(after.split()) == sorted(before.split())
    moved = [
        place
        for place, pair in enumerate(zip(before.split(), after.split(), strict=True))
        if len(set(pair)) == 2
    ]
    assert len(moved) == 2
    assert moved[1] - moved[0] == 1
    assert swap("Nothing MATCHES Here.", rng) == "Nothing MATCHES Here."


def test_a_function_is_on_one_side_and_classes_are_of_equal_size(sentences):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "text": [f"The row number {n} is one of the rows." for n in range(90)],
            "area": rng.choice(["linalg", "stats"], 90),
            "function": [f"stats.f{n // 3}" for n in range(90)],
        }
    )
    for name, (train, test) in sentences["make_tasks"](table).items():
        assert not set(train.groups) & set(test.groups)
        for part in (train, test):
            assert len(set(part.encoded.counts())) == 1, name


def test_layers_count_from_one(study):
    names = ["embeddings", "encoder.layer.0", "encoder.layer.5"]
    assert [study["layer_name"](name) for name in names] == ["embeddings", "layer 1", "layer 6"]


def test_counts_do_not_see_the_order_of_words(study):
    first, second = study["counts"](["one two three", "three one two"], "word", 64)
    np.testing.assert_array_equal(first, second)
    assert np.linalg.norm(first) == pytest.approx(1)
