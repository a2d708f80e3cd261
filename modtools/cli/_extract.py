"""``modtools extract``: features of modules as files, which other commands read."""

import io
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modtools.cli._inputs import Candidates, TaskOptions, check_given, load_candidates
from modtools.cli._options import Forward, option, takes_options
from modtools.cli._output import Outputs, emit, say, show_table
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    from modtools.modules import ModuleCollection
    from modtools.tasks import Task

__all__ = ["extract"]

_STRANGE: Final = re.compile(r"[^\w.@+-]+")


@dataclass(frozen=True, kw_only=True)
class _Folder:
    folder: Path = option(
        "Folder to write one file per module into.", default=Path("features"), metavar="FOLDER"
    )


@takes_options(
    n_jobs=None,
    seed=None,
    features=None,
    plot=None,
    sources="Zoo folders.",
    csv="Write module, shape and file of each as CSV.",
    quiet="Print only the names of the files, one per line.",
)
def extract(
    given: Candidates, task: TaskOptions, place: _Folder, forward: Forward, outputs: Outputs
) -> None:
    """Compute the features of modules on a task once, and save one .npz file per module.

    Answers: how can I try scores, label counts and output modules without running networks again?
    For example:

        modtools extract zoo/ --task digits
        modtools extract --module modtools.modules:pixels --task data.npz --folder features/
        modtools extract --module my_code:resnet --layer layer3 --layer layer4 --task my-images/
        modtools score features/*.npz

    Each file holds the array features (float32, one row per example) and the labels of the task.
    The commands that take --features read these files in place of modules.
    """
    from modtools._escape import csv_text
    from modtools._places import check_folder
    from modtools._writing import json_document, json_text

    outputs.check(cache=forward.cache)
    check_folder(place.folder)
    if given.files:
        raise ModtoolsError(f"{given.files[0]} holds features already; give modules.")
    check_given(given, task, verb="extract")
    started = time.perf_counter()
    with outputs.silence():
        modules, whole = load_candidates(given), task.load()
        modules.check(whole, **forward.options())
        files = _files(modules, place.folder)
        rows = list(_write(modules, whole, files, forward))
    settings = {"task": whole.name, "n_samples": len(whole), "device": forward.device}
    seconds = time.perf_counter() - started
    document = json_document("extraction", _table(rows), settings=settings, seconds=seconds)
    emit(
        outputs,
        show=lambda: _show(whole, rows),
        quiet=[row["file"] for row in rows],
        json=lambda: json_text(document),
        csv=lambda: csv_text(_table(rows)),
    )


def _files(modules: "ModuleCollection", folder: Path) -> dict[str, Path]:
    """Return the file of each module, after checking that all can be written."""
    from modtools._places import check_file

    files = {name: folder / (_STRANGE.sub("-", name) + ".npz") for name in modules.names}
    if len(set(files.values())) < len(files):
        raise ModtoolsError("two modules have one name; extract them into different folders.")
    for file in files.values():
        check_file(file)
    return files


def _write(
    modules: "ModuleCollection", task: "Task", files: dict[str, Path], forward: Forward
) -> Iterator[dict[str, Any]]:
    """Write the features of one module after the other, and yield a row about each file."""
    import numpy as np

    from modtools._writing import write_file

    found = modules.features(task, with_source=False, **forward.options())
    for name, features, _ in found:
        content = io.BytesIO()
        np.savez(content, features=features, labels=task.labels)
        write_file(files[name], content.getvalue())
        yield {"module": name, "n_features": features.shape[1], "file": str(files[name])}


def _show(task: "Task", rows: list[dict[str, Any]]) -> None:
    noun = "module" if len(rows) == 1 else "modules"
    say(f"Features of {len(rows)} {noun} on {task.name}, {len(task)} examples")
    cells = [[row["module"], str(row["n_features"]), row["file"]] for row in rows]
    show_table(["module", "features", "file"], cells)
    say(f"Next     modtools score {Path(rows[0]['file']).parent}/*.npz")


def _table(rows: list[dict[str, Any]]) -> Any:
    import pandas as pd

    return pd.DataFrame(rows)
