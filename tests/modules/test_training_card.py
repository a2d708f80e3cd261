"""What a zoo keeps and shows of how a module was trained."""

import json

import numpy as np
import pytest
import torch

from modtools import ModtoolsError
from modtools.modules import Zoo
from modtools.modules._card import plain_training, training_rows

TRAINING = {
    "proxy": "supcon",
    "schedule": "sequential",
    "at": ["block3", "features"],
    "classes": ["bag", "shirt"],
    "seed": 0,
    "labels_needed": "pairs",
    "accuracy": 0.92631,
    "max_seconds": None,
    "recipe": {"batch_size": 256, "learning_rate": 0.004, "augmentation": None},
}


def rows_of(folder):
    """Return the table of a model card as a dict."""
    lines = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    cells = [line[2:-2].split(" | ") for line in lines if line.startswith("| ") and line != "| | |"]
    assert all(len(row) == 2 for row in cells), cells
    return dict(cells)


def test_the_card_gives_back_what_was_said(tmp_path, linear):
    zoo = Zoo(tmp_path)
    folder = zoo.save(linear, training=TRAINING)
    assert zoo.card("small")["training"] == TRAINING
    assert json.loads((folder / "card.json").read_text())["training"] == TRAINING
    assert zoo["small"].n_parameters() == 15


def test_a_module_need_not_have_been_trained_here(tmp_path, linear):
    zoo = Zoo(tmp_path)
    rows = rows_of(zoo.save(linear, source_task="digits", proxy="raw"))
    assert zoo.card("small")["training"] is None
    assert list(rows)[-3:] == ["Source task", "Proxy objective", "Saved"]
    assert (rows["Source task"], rows["Proxy objective"]) == ("digits", "raw")


def test_a_card_from_before_it_said_how(tmp_path, linear):
    zoo = Zoo(tmp_path)
    path = zoo.save(linear) / "card.json"
    card = json.loads(path.read_text())
    del card["training"]
    path.write_text(json.dumps(card))
    assert zoo.card("small")["training"] is None
    assert zoo["small"].n_parameters() == 15


@pytest.mark.parametrize("wrong", [["supcon"], "supcon", 3])
def test_a_card_with_something_else_is_refused(tmp_path, linear, wrong):
    zoo = Zoo(tmp_path)
    path = zoo.save(linear) / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "training": wrong}))
    with pytest.raises(ModtoolsError, match=r"card\.json lacks or mistypes training"):
        zoo["small"]


def test_the_readme_shows_it_in_words_and_percent(tmp_path, linear):
    rows = rows_of(Zoo(tmp_path).save(linear, source_task="clothes", training=TRAINING))
    told = {
        "Source task": "clothes",
        "Proxy objective": "supcon",
        "Schedule": "sequential",
        "At": "block3, features",
        "Classes": "bag, shirt",
        "Seed": "0",
        "Labels needed": "pairs",
        "Accuracy": "92.63 %",
        "Recipe": "batch size 256; learning rate 0.004",
    }
    assert told.items() <= rows.items()
    assert "Max seconds" not in rows


def test_what_the_card_knows_itself_is_not_overwritten(tmp_path, linear):
    training = {"network": "mine", "parameters": 3, "proxy": "raw", "source_task": "other"}
    rows = rows_of(Zoo(tmp_path).save(linear, proxy="supcon", training=training))
    assert rows["Network"] == "`torch.nn:Linear`"
    assert rows["Parameters"] == "15"
    assert rows["Proxy objective"] == "supcon"
    assert rows["Source task"] == "other"


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("accuracy", 1, "100.00 %"),
        ("validation_accuracy", [0.5, 0.25], "50.00 %, 25.00 %"),
        ("reached", {"accuracy": 0.5, "loss": 0.5}, "accuracy 50.00 %; loss 0.5"),
        ("accuracy_rows", 500, "500"),
        ("flipped", True, "yes"),
        ("flipped", False, "no"),
        ("classes", list(range(30)), ", ".join(map(str, range(20))) + ", ... (30)"),
        ("classes", [], "none"),
        ("recipe", {}, "none"),
        ("patience", [None, 3], "none, 3"),
        ("seconds", 61.23456789, "61.2346"),
        ("note", "a | b\n\nc", "a \\| b c"),
    ],
)
def test_values_in_words(key, value, shown):
    (row,) = training_rows({key: value}).values()
    assert row == shown


def test_numbers_of_other_libraries_become_plain():
    told = {
        "seed": np.int64(3),
        "accuracy": np.float32(0.5),
        "loss": torch.tensor(0.25),
        "classes": tuple(np.array(["a", "b"])),
        "flip": np.bool_(True),
    }
    plain = plain_training(told)
    assert plain == {
        "seed": 3,
        "accuracy": 0.5,
        "loss": 0.25,
        "classes": ["a", "b"],
        "flip": True,
    }
    assert json.loads(json.dumps(plain)) == plain
    assert [type(value) for value in plain.values()] == [int, float, float, list, bool]


def nested(depth):
    return {"more": nested(depth - 1)} if depth else {}


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (["supcon"], r"training must be a dict or None; got \['supcon'\]"),
        ({"proxy": torch.relu}, r"training\['proxy'\] must be plain JSON; got builtin"),
        ({"classes": np.arange(3)}, r"training\['classes'\] must be plain JSON; got ndarray"),
        ({"at": [1, {2}]}, r"training\['at'\]\[1\] must be plain JSON; got set"),
        ({"recipe": {1: 2}}, r"training\['recipe'\] must have text as keys; got 1"),
        ({"recipe": {"rate": float("nan")}}, r"\['recipe'\]\['rate'\] must be finite; got nan"),
        ({"loss": np.float32("inf")}, r"training\['loss'\] must be finite; got inf"),
        ({"accuracy": 92.6}, r"training\['accuracy'\] must be a fraction in \[0, 1\]; got 92\.6"),
        ({"r": {"test_accuracy": -0.1}}, r"\['r'\]\['test_accuracy'\] must be a fraction"),
        ({"history": ["x" * 300_000]}, "training must be at most 262144 characters of JSON"),
        (nested(20), "is nested more than 8 deep"),
    ],
)
def test_what_is_not_plain_is_refused_before_anything_is_written(
    tmp_path, linear, training, message
):
    with pytest.raises(ModtoolsError, match=message) as caught:
        Zoo(tmp_path / "zoo").save(linear, training=training)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "zoo").exists()
