"""What a retrained output module really achieves: the truth of the study, kept cell by cell."""

import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray
from targets import Draw, Target, draw
from threadpoolctl import threadpool_limits

from modtools._progress import track
from modtools._writing import write_file
from modtools.outputs import LogisticOutput

Features = dict[str, NDArray[np.float32]]


class Cell(NamedTuple):
    """One task with one random subset of so many labels per class."""

    target: Target
    per_class: int
    seed: int

    @property
    def name(self) -> str:
        """Name of the files of this cell."""
        return f"{self.target.name}-{self.per_class}-{self.seed}"

    @property
    def rows(self) -> Draw:
        """The rows that a user would have, and those that judge."""
        return draw(self.target, self.per_class, self.seed)


def achieved(features: Features, rows: Draw) -> pd.DataFrame:
    """Return the test accuracy of a tuned logistic output module on every module."""
    found = []
    for name, matrix in features.items():
        output = LogisticOutput().fit(matrix[rows.few], rows.few_labels)
        right = output.predict(matrix[rows.test]) == rows.test_labels
        found.append({"module": name, "accuracy": right.mean(), "alpha": output.alpha_})
    return pd.DataFrame(found).assign(n_test=len(rows.test), n_labels=len(rows.few))


def cells_of(
    cells: Iterable[Cell],
    features: dict[str, Features],
    measure: Callable[[Features, Draw], pd.DataFrame],
    folder: Path,
    *,
    n_jobs: int,
) -> pd.DataFrame:
    """Return the table of every cell; those that are missing are measured, several at a time."""
    cells = list(cells)
    missing = [cell for cell in cells if not (folder / f"{cell.name}.csv").exists()]
    work = (delayed(partial(_keep, measure))(features[c.target.images], c, folder) for c in missing)
    with Parallel(n_jobs=n_jobs, return_as="generator_unordered") as pool:
        for _ in track(pool(work), folder.name, total=len(missing)):
            pass
    tables = [
        pd.read_csv(folder / f"{cell.name}.csv").assign(
            task=cell.target.name, per_class=cell.per_class, repeat=cell.seed
        )
        for cell in cells
    ]
    return pd.concat(tables, ignore_index=True)


def _keep(
    measure: Callable[[Features, Draw], pd.DataFrame], features: Features, cell: Cell, folder: Path
) -> None:
    started = time.process_time()
    with threadpool_limits(1):
        table = measure(features, cell.rows)
    table["cell_seconds"] = time.process_time() - started
    write_file(folder / f"{cell.name}.csv", table.to_csv(index=False))
