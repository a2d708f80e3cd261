"""A study goes on where it stopped, however it stopped, and refuses to become another one."""

import itertools
import os
import signal
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from torch import nn

from modtools import _writing
from modtools.exceptions import ModtoolsError, ModtoolsWarning
from modtools.modules import PretrainedModule
from modtools.studies import _cells, label_efficiency
from modtools.tasks import Task

pytestmark = pytest.mark.floating_point

KEEPING = {_cells.__file__, _writing.__file__}
OPTIONS = {"n_labels": [3, 10, 40], "repeats": 4}


def study_in(folder, data, **options):
    return label_efficiency(*data, folder=folder, **{**OPTIONS, **options})


def cells_in(folder):
    return {path.name: path.read_bytes() for path in (folder / "cells").glob("*.npz")}


def forbid(*arguments, **options):
    raise AssertionError("computed again")


def test_a_finished_study_computes_nothing_again(data, tmp_path, monkeypatch):
    fresh = label_efficiency(*data, **OPTIONS, outputs=["ridge", "class_mean"])
    first = study_in(tmp_path, data, outputs=["ridge", "class_mean"])
    monkeypatch.setattr(_cells, "measure", forbid)
    again = study_in(tmp_path, data, outputs=["ridge", "class_mean"])
    for other in (first, again):
        pd.testing.assert_frame_equal(fresh.frame(), other.frame())
        pd.testing.assert_frame_equal(fresh.repeats(), other.repeats())
    assert len(cells_in(tmp_path)) == 2 * 2 * 4


def test_lines_keep_their_order_whichever_cell_is_missing(data, tmp_path):
    options = {"repeats": 1, "strategies": ["random", "k_center"]}
    whole = study_in(tmp_path, data, **options).frame()
    for path in (tmp_path / "cells").iterdir():
        path.unlink()
        pd.testing.assert_frame_equal(whole, study_in(tmp_path, data, **options).frame())


def trace_keeping(act):
    """Call a function with the number of each line that is run of filling and keeping cells."""
    lines = itertools.count(1)

    def trace(frame, event, _argument):
        if frame.f_code.co_filename not in KEEPING:
            return None
        if event == "line":
            act(next(lines))
        return trace

    sys.settrace(trace)


def run_and_die(moment, *arguments, **options):
    """Run a study in a child process that is killed at a line; return whether it was."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forks beside idle threads
        child = os.fork()
    if child == 0:
        try:
            trace_keeping(lambda line: line == moment and os.kill(os.getpid(), signal.SIGKILL))
            study_in(*arguments, **options)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_killed_twenty_times_it_loses_no_finished_cell(data, tmp_path):
    options = {"n_labels": range(1, 61), "repeats": 25}
    lines = []
    tracer = sys.gettrace()
    trace_keeping(lines.append)
    whole = study_in(tmp_path / "whole", data, **options)
    sys.settrace(tracer)
    # Looking cells up takes a share of these lines too: the end is never reached.
    moments = np.random.default_rng(0).integers(len(lines) // 10, len(lines) // 3, 20)
    before = {}
    for moment in moments.tolist():
        assert run_and_die(moment, tmp_path, data, **options)
        after = cells_in(tmp_path)
        assert before.items() <= after.items()
        before = after
    assert 0 < len(before) < 50
    resumed = study_in(tmp_path, data, **options)
    pd.testing.assert_frame_equal(whole.frame(), resumed.frame())
    assert before.items() <= cells_in(tmp_path).items()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_labels": [3, 10, 50]}, r"n_labels was \[3, 10, 40\], now \[3, 10, 50\]"),
        ({"repeats": 5}, "repeats was 4, now 5"),
        ({"seed": 1}, "seed was 0, now 1"),
        ({"outputs": "logistic"}, r'outputs was \["ridge"\], now \["logistic"\]'),
        ({"strategies": "herding"}, "strategies was"),
    ],
)
def test_another_definition_is_refused_and_named(data, tmp_path, change, message):
    study_in(tmp_path, data)
    before = cells_in(tmp_path)
    with pytest.raises(ModtoolsError, match=message):
        study_in(tmp_path, data, **change)
    assert cells_in(tmp_path) == before


def test_another_precision_of_a_network_is_refused_and_named(data, tmp_path):
    modules, labels, test_labels = data
    pair = [np.asarray(part, dtype=np.float32) for part in modules["clear"]]
    tasks = [Task(x, y) for x, y in zip(pair, (labels, test_labels), strict=True)]
    networks = PretrainedModule(nn.Linear(pair[0].shape[1], 3), name="net")
    study_in(tmp_path, (networks, *tasks))
    before = cells_in(tmp_path)
    with pytest.raises(ModtoolsError, match='precision was "float32", now "bfloat16"'):
        study_in(tmp_path, (networks, *tasks), precision="bfloat16")
    assert cells_in(tmp_path) == before


def test_other_features_labels_or_modules_are_refused_and_named(data, tmp_path):
    modules, labels, test_labels = data
    study_in(tmp_path, data)
    changed = {**modules, "noisy": (modules["noisy"][0] + 1, modules["noisy"][1])}
    with pytest.raises(ModtoolsError, match='the features of "noisy" differ'):
        study_in(tmp_path, (changed, labels, test_labels))
    with pytest.raises(ModtoolsError, match="modules were clear, noisy, now clear"):
        study_in(tmp_path, ({"clear": modules["clear"]}, labels, test_labels))
    with pytest.raises(ModtoolsError, match="labels differ"):
        study_in(tmp_path, (modules, labels[::-1], test_labels))
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(ModtoolsError, match=r"study.json cannot be read .* nothing was changed"):
        study_in(tmp_path, data)


def test_a_damaged_cell_is_reported_and_computed_again(data, tmp_path):
    whole = study_in(tmp_path, data).frame()
    damaged = sorted((tmp_path / "cells").iterdir())[0]
    content = damaged.read_bytes()
    for broken in (content[:100], content[:200] + b"?" + content[201:], b""):
        damaged.write_bytes(broken)
        with pytest.warns(ModtoolsWarning, match="MT002: .* is damaged"):
            again = study_in(tmp_path, data)
        pd.testing.assert_frame_equal(whole, again.frame())
        assert damaged.read_bytes() == content
    (tmp_path / "cells" / ".left.1.tmp").write_bytes(content[:50])  # an interrupted write
    pd.testing.assert_frame_equal(whole, study_in(tmp_path, data).frame())


def test_a_module_that_fails_leaves_the_finished_cells_of_the_others(data, tmp_path):
    modules, labels, test_labels = data
    zero = {**modules, "dead": (np.zeros((90, 4)), np.zeros((70, 4)))}
    with pytest.raises(ModtoolsError, match='features of "dead" are the same, all zero, in all 90'):
        study_in(tmp_path, (zero, labels, test_labels))
    assert len(cells_in(tmp_path)) == 2 * 4
