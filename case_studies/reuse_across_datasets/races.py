"""Races over 4,000 labelled rows of Fashion-MNIST, in many orders of the rows."""

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from targets import Target, rows_of
from threadpoolctl import threadpool_limits
from truth import Features

import modtools as mt
from modtools._progress import track
from modtools._writing import write_file
from modtools.outputs import LogisticOutput, RidgeOutput

N_ORDERS = 20
HALVING_PASSES = 0.15


def run_races(
    features: Features, target: Target, folder: Path, *, n_orders: int, n_jobs: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row a race, and one a module: what it achieves after learning all rows."""
    file = folder / f"{target.name}.csv"
    if not file.exists():
        work = [delayed(partial(_race, features, target))(seed) for seed in range(n_orders)]
        with Parallel(n_jobs=n_jobs, return_as="generator") as pool:
            rows = [row for pair in track(pool(work), "race", total=n_orders) for row in pair]
        write_file(file, pd.DataFrame(rows).to_csv(index=False))
    truth = folder / f"{target.name}-truth.csv"
    if not truth.exists():
        write_file(truth, _retrained_on_all(features, target).to_csv(index=False))
    return pd.read_csv(file), pd.read_csv(truth).set_index("module")


def _race(features: Features, target: Target, seed: int) -> list[dict[str, object]]:
    train, _ = rows_of(target)
    few = {name: matrix[train.inputs[:, 0]] for name, matrix in features.items()}
    found: list[dict[str, object]] = []
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        certified = mt.race_modules(few, train.labels, mode="certified", error=0.05, seed=seed)
        halving = mt.race_modules(
            few, train.labels, mode="halving", passes=HALVING_PASSES, seed=seed
        )
    for mode, race in (("certified", certified), ("halving", halving)):
        found.append(
            {
                "mode": mode,
                "seed": seed,
                "best": race.best,
                "remaining": " ".join(race.remaining),
                "pass_fraction": race.pass_fraction,
                "seconds": race.seconds,
            }
        )
    return found


def _retrained_on_all(features: Features, target: Target) -> pd.DataFrame:
    """Return test accuracies of output modules trained on all examples, and ties with the best.

    A module ties with the best where the two are not distinguishable on the test examples: their
    paired difference is within 1.96 of its standard errors.
    """
    train, test = rows_of(target)
    learned, judged = train.inputs[:, 0], test.inputs[:, 0]
    right, found = {}, []
    for name, matrix in track(features.items(), "retrain on all examples", total=len(features)):
        outputs = (LogisticOutput(), RidgeOutput())
        answers = [o.fit(matrix[learned], train.labels).predict(matrix[judged]) for o in outputs]
        right[name] = answers[0] == test.labels
        ridge = float(np.mean(answers[1] == test.labels))
        found.append({"module": name, "accuracy": float(right[name].mean()), "ridge": ridge})
    table = pd.DataFrame(found)
    best = right[table.loc[table["accuracy"].idxmax(), "module"]].astype(float)
    behind = [best - right[name] for name in table["module"]]
    errors = np.array([values.std(ddof=1) / np.sqrt(len(values)) for values in behind])
    table["ties"] = [values.mean() for values in behind] <= 1.96 * errors
    return table
