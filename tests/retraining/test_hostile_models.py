"""The card of a model may come from anywhere: one clear error that names its folder."""

import json

import numpy as np
import pytest

from modtools.exceptions import ModtoolsError
from modtools.modules import pixels
from modtools.retraining import ReusedModel, retrain
from modtools.tasks import Task

HOSTILE = [None, True, 0, -1, 10**400, 1.5, "", "\x1b[2J", "x" * 5000, [], [None], {}, {"x": [1]}]


@pytest.fixture
def saved(tmp_path):
    labels = np.repeat(np.arange(3), 6)
    images = np.random.default_rng(0).random((18, 3, 3), dtype=np.float32)
    return retrain(pixels(), Task(images, labels), output="class_mean").save(tmp_path / "model")


def test_any_field_may_hold_anything(saved):
    path, refused = saved / "card.json", []
    whole = path.read_text()
    for name, value in json.loads(whole).items():
        inner = [[value[:-1], [*value[1:], 10**30]]] if isinstance(value, list) else []
        for hostile in (*HOSTILE, *inner):
            path.write_text(json.dumps({**json.loads(whole), name: hostile}))
            try:
                ReusedModel.load(saved)
            except ModtoolsError as error:
                refused.append(str(error))
    assert len(refused) > 150
    assert all(str(saved) in text for text in refused)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"seconds": ', '"seconds": NaN, "was": ', "NaN is no number"),
        ('"seconds": ', '"seconds": 1e999, "was": ', "is no number"),
        ('"seconds": ', '"seconds": 1.0, "seconds": ', "it has a key twice"),
        ('"classes": ', '"classes": ' + "[" * 40 + "]" * 40 + ', "was": ', "nested more than 32"),
        ('"task_name": ', '"task_name": "\\ud800", "was": ', "is not valid JSON"),
    ],
)
def test_json_that_two_programs_could_read_in_two_ways(saved, old, new, message):
    path = saved / "card.json"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ModtoolsError, match=message):
        ReusedModel.load(saved)
