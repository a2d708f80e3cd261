"""Several modules at once: a chosen pair, and all candidates at equal energy."""

import warnings

import numpy as np
import pandas as pd
from targets import Draw
from truth import Features

import modtools as mt
from modtools.outputs import LogisticOutput

COUNTS = (20, 100)


def combined(features: Features, rows: Draw) -> pd.DataFrame:
    """Return the test accuracy of a tuned logistic output module on each combination."""
    few = {name: matrix[rows.few] for name, matrix in features.items()}
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for what, options in (("pair", {"k": 2}), ("all", {"combine": "all"})):
            chosen = mt.select_modules(few, rows.few_labels, **options).modules
            accuracy = _retrained([features[name] for name in chosen], rows)
            names = " + ".join(chosen) if what == "pair" else ""
            found.append({"what": what, "modules": names, "accuracy": accuracy})
    return pd.DataFrame(found)


def _retrained(matrices: list[np.ndarray], rows: Draw) -> float:
    output = LogisticOutput(blocks=[matrix.shape[1] for matrix in matrices])
    output.fit(np.hstack([matrix[rows.few] for matrix in matrices]), rows.few_labels)
    predicted = output.predict(np.hstack([matrix[rows.test] for matrix in matrices]))
    return float(np.mean(predicted == rows.test_labels))
