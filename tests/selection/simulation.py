"""Tasks whose every row is known in distribution, and four modules of them."""

import numpy as np

from modtools import Task

N_CLASSES, N_FEATURES = 4, 12
CENTRES = 1.2 * np.random.default_rng(7).normal(size=(N_CLASSES, N_FEATURES))


def draw_task(n_samples, seed):
    """Return rows of Gaussian classes, as many of each."""
    rng = np.random.default_rng([seed, 5])
    labels = np.arange(n_samples) % N_CLASSES
    return Task(CENTRES[labels] + rng.normal(size=(n_samples, N_FEATURES)), labels)


def shelf_of(task):
    """Return what four modules make of the rows: fewer and fewer of their directions."""
    rows = np.asarray(task.inputs)
    return {
        "all": rows,
        "half": rows[:, :6],
        "bent": np.maximum(rows[:, 6:], 0.0),
        "few": rows[:, :3],
    }
