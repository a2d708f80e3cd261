"""What a user could know from the labels alone: predictions, every score, and a plain probe."""

import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from targets import Draw
from truth import Features

import modtools as mt
from modtools.transferability import SCORES

# nce and leep read the probabilities of source classes, which most candidates do not have; a
# linear probe is 80 fits where `logistic` is one, and the three-fold probe stands for its kind.
LEFT_OUT = ("nce", "leep", "linear_probe")
ALL_SCORES = [name for name in SCORES if name not in LEFT_OUT]
PROBE = "probe, 3 folds"


def scored(features: Features, rows: Draw) -> pd.DataFrame:
    """Return one row a module and score, with the prediction of each module."""
    few = {name: matrix[rows.few] for name, matrix in features.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ranking = mt.rank_modules(few, rows.few_labels, scores=ALL_SCORES)
        probes = [_probe(name, matrix, rows.few_labels) for name, matrix in few.items()]
    columns = ["module", "score", "value", "seconds"]
    table = pd.concat([ranking.frame()[columns], pd.DataFrame(probes)], ignore_index=True)
    predictions = ranking.predictions(n_test=len(rows.test))
    return table.merge(predictions, on="module")


def _probe(name: str, matrix: Any, labels: Any) -> dict[str, Any]:
    """Return the accuracy of three folds at one alpha, as most people would try first."""
    started = time.perf_counter()
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    value = float(np.mean(cross_val_score(probe, matrix, labels, cv=folds)))
    seconds = time.perf_counter() - started
    return {"module": name, "score": PROBE, "value": value, "seconds": seconds}
