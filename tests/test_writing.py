import json
import resource
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from modtools._writing import json_text, versions, write_file
from modtools.exceptions import ModtoolsError


def test_json_names_versions_and_turns_missing_numbers_into_null():
    frame = pd.DataFrame({"value": [0.1, np.nan], "n": pd.array([None, 3], dtype="Int64")})
    content = json.loads(json_text({"rows": frame, "one": np.float64(0.5), "at": Path("a")}))
    assert content["rows"] == [{"value": 0.1, "n": None}, {"value": None, "n": 3}]
    assert content["one"] == 0.5
    assert content["at"] == "a"
    assert content["versions"] == versions()
    assert content["versions"]["numpy"] == np.__version__


def test_json_numbers_survive_to_fifteen_digits():
    frame = pd.DataFrame({"value": [1 / 3]})
    assert json.loads(json_text({"rows": frame}))["rows"][0]["value"] == pytest.approx(
        1 / 3, abs=1e-15
    )


def test_json_holds_arrays_as_lists():
    written = json.loads(json_text({"a": np.arange(3), "b": np.float32(0.5), "c": torch.ones(2)}))
    assert (written["a"], written["b"], written["c"]) == ([0, 1, 2], 0.5, [1.0, 1.0])


def test_json_never_holds_nan():
    with pytest.raises(ValueError, match="Out of range float values"):
        json_text({"value": float("nan")})


def test_a_failed_write_leaves_the_old_file_whole(tmp_path):
    target = tmp_path / "result.json"
    write_file(target, "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # binds for root too
    try:
        with pytest.raises(ModtoolsError, match=r"result\.json cannot be written: File too large"):
            write_file(target, "new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    assert target.read_text() == "old"


def test_folders_are_made_and_text_is_utf8(tmp_path):
    path = write_file(tmp_path / "new" / "a.txt", "größer")
    assert path.read_bytes() == "größer".encode()
