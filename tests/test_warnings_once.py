"""Warnings that long work could repeat come once."""

import warnings

import pytest

import modtools as mt


def plain(inputs):
    return inputs.reshape(len(inputs), -1).float()


@pytest.mark.parametrize(
    "work",
    [
        lambda modules, task, **kept: mt.race_modules(modules, task, look_every=20, **kept),
        lambda modules, task, **kept: mt.label_efficiency(
            modules, *task.split(0.5), n_labels=[20], repeats=2, **kept
        ),
        lambda modules, task, **kept: mt.task_space(
            modules, {"one": task, "other": task.subset(range(60))}, by="nmse", **kept
        ),
        lambda modules, task, **kept: mt.rank_modules(modules, task, by="knn", **kept),
    ],
    ids=["race", "study", "space", "ranking"],
)
def test_features_that_cannot_be_kept_are_told_once_a_module_at_the_callers_line(tmp_path, work):
    task = mt.load_task("digits").subset(range(120))
    modules = [mt.PretrainedModule(plain, name=name) for name in ("one", "two")]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        work(modules, task, cache=tmp_path)
    said = [w for w in caught if "MT007" in str(w.message)]
    assert [str(w.message).split()[1] for w in said] == ["one", "two"]
    assert {w.filename for w in said} == {__file__}
