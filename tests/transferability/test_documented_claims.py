"""docs/scores.md: what it says about ranges, units, offsets, rotations and memory is so."""

import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from modtools import _checks
from modtools.transferability import SCORES, _accumulate, _accuracies, score

PAGE = (Path(__file__).parents[2] / "docs" / "scores.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.filterwarnings("ignore::modtools.exceptions.ModtoolsWarning")


@pytest.fixture(autouse=True)
def _quick_probe(monkeypatch):
    """Choose among two alphas, not five: what is tested here is not the choice."""
    monkeypatch.setattr(_accuracies, "_INVERSE_ALPHAS", (0.01, 1.0))


def make_rows(seed, n_samples=61, n_features=5):
    rng = np.random.default_rng(seed)
    labels = np.arange(n_samples) % 3
    features = rng.normal(size=(n_samples, n_features)) * rng.uniform(0.3, 3, n_features)
    features = features + np.eye(3, n_features)[labels] + rng.normal(size=n_features)
    return features, labels, rng.dirichlet(np.ones(4), size=n_samples)


def value(name, features, labels, probabilities=None):
    return score(features, labels, [name], source_probabilities=probabilities)[name]


# Units, offsets, rotations


CHANGES = {
    "One unit for all features": lambda x, rng: x * rng.choice([1e-3, 1e3]),
    "A unit for each column": lambda x, rng: x * 10.0 ** rng.uniform(-3, 3, x.shape[1]),
    "An offset of each column": lambda x, rng: x + rng.normal(scale=5, size=x.shape[1]),
    "A rotation of the features": lambda x, rng: (
        x @ np.linalg.qr(rng.normal(size=(x.shape[1], x.shape[1])))[0]
    ),
}


def unchanged_by(title):
    """Return the scores that the page says a change leaves as they are."""
    text = re.search(rf"- \*{title}\* leaves (.*?)\.(?:\s|$)", PAGE, flags=re.DOTALL).group(1)
    named = set(re.findall(r"`(\w+)`", text))
    assert named <= set(SCORES)
    return set(SCORES) - named if text.startswith("all scores") else named


@pytest.mark.parametrize("title", list(CHANGES))
@pytest.mark.parametrize("name", list(SCORES))
def test_what_the_page_says_about_a_change_of_the_features(name, title):
    changed = False
    for seed in range(12):
        features, labels, probabilities = make_rows(seed)
        other = CHANGES[title](features, np.random.default_rng(seed))
        expected = value(name, features, labels, probabilities)
        found = value(name, other, labels, probabilities)
        same = found == pytest.approx(expected, rel=1e-6, abs=1e-8)
        if name in unchanged_by(title):
            assert same
            if seed == (0 if name == "linear_probe" else 2):  # the slowest by far
                return
        changed = changed or not same
        if changed:
            return
    assert changed, f"{name} never changed"


# Ranges


def entropy(labels):
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    return -float(shares @ np.log(shares))


def coding_rate(features):
    centred = features - features.mean(axis=0)
    values = np.linalg.eigvalsh(centred.T @ centred / len(features))
    return 0.5 * float(np.log1p(np.maximum(values, 0) / 1e-4).sum())


def parc_limit(features, labels):
    if labels.ndim > 1 or len(np.unique(features, axis=0)) < len(features):
        return 100.0
    codes = labels[:, None] != labels
    p = codes.sum() / (len(labels) * (len(labels) - 1))
    return 100 * np.sqrt(3 * p * (1 - p))


def limits(features, labels):
    """Return the least and the most of each range, as the registry writes it."""
    classes = len(np.unique(labels)) if labels.ndim == 1 else 0
    targets = classes - 1 if labels.ndim == 1 and labels.dtype.kind != "f" else 1
    targets = labels.shape[1] if labels.ndim == 2 else targets
    infinity = np.inf
    return {
        "[-H(Y), 0] nats": (-entropy(labels) if classes else 0, 0),
        "[0, C-1]": (0, classes - 1),
        "[0, C-1]; [0, m] for m target columns": (0, targets),
        "unbounded, nats per example and column": (-infinity, infinity),
        "unbounded, squared units": (-infinity, infinity),
        "[0, R(F)] nats": (0, coding_rate(features)),
        "[-C(C-1), 0]": (-classes * (classes - 1), 0),
        "(0, 1]": (0, 1),
        "[-1, 1]": (-1, 1),
        "[0, 1]": (0, 1),
        "[-1, 0]": (-1, 0),
        "[-100, 100]; without ties at most 100 sqrt(3 p q)": (-100, parc_limit(features, labels)),
        "[0, 1], held-out accuracy": (0, 1),
        "[0, 1], leave-one-out accuracy": (0, 1),
        "[0, 1], leave-one-out accuracy; R2 <= 1 for regression": (
            -infinity if labels.dtype.kind == "f" else 0,
            1,
        ),
        "(-inf, 0], nats per label": (-infinity, 0),
        "(-inf, 0], bits per label": (-infinity, 0),
    }


def perfect(labels):
    targets = labels.reshape(len(labels), -1)
    return np.column_stack([3.0 * targets - 1, -targets, np.ones(len(labels))])


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
@pytest.mark.parametrize("name", list(SCORES))
def test_values_stay_within_the_range_of_the_table(name, kind):
    if kind not in SCORES[name].kinds:
        return
    for seed in range(1 if name == "linear_probe" else 3):
        features, codes, probabilities = make_rows(seed, n_samples=24)
        rng = np.random.default_rng(seed)
        labels = {
            "classification": codes,
            "multilabel": np.column_stack([codes > 0, rng.random(24) < 0.5]).astype(int),
            "regression": codes + 0.1 * rng.normal(size=24),
        }[kind]
        noise = rng.normal(size=(24, 4))
        for rows in (features, noise, noise * 1e3 + 5, noise * 1e-6, perfect(labels)):
            least, most = limits(rows, labels)[SCORES[name].range]
            found = value(name, rows, labels, probabilities if kind == "classification" else None)
            assert least - 1e-9 * abs(least) <= found <= most + 1e-9


# Memory


@pytest.fixture
def _small_blocks(monkeypatch):
    """Read blocks of a quarter of a megabyte, so that few rows make many blocks."""
    monkeypatch.setattr(_checks, "_BLOCK_BYTES", 1 << 18)
    monkeypatch.setattr(_accumulate, "_BLOCK_BYTES", 1 << 18)


def peak(name, n_samples, n_features=64):
    """Return the bytes that a score holds at most beside float32 features."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((n_samples, n_features), dtype=np.float32)
    labels = np.arange(n_samples) % 3
    tracemalloc.start()
    value(name, features, labels)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


MOMENTS = [name for name, entry in SCORES.items() if entry.needs == "moments"]
IN_BLOCKS = ["sfda", "class_mean", "lda", "ridge", "half_split", "codelength"]


def test_the_page_names_the_scores_that_read_blocks():
    text = re.search(r"Moments, (.*?) read\s+blocks of rows", PAGE, flags=re.DOTALL).group(1)
    assert re.findall(r"\w+", text.replace(" and ", " ")) == IN_BLOCKS


@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize("name", [*IN_BLOCKS, "hscore", "transrate", "alignment"])
def test_blocks_of_rows_do_not_grow_with_the_rows(name):
    few, many = peak(name, 3_000, 128), peak(name, 6_000, 128)
    own = 3_000 * 128 * 4  # the further rows; a float64 copy of them is twice that
    assert many - few < 0.5 * own


@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize("name", ["logistic", "knn"])
def test_one_copy_is_one_copy(name):
    few, many = peak(name, 3_000), peak(name, 6_000)
    copy = 3_000 * 64 * (8 if name == "knn" else 4)
    assert copy * 0.8 < many - few < copy * 1.7


@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize("name", [*MOMENTS, *IN_BLOCKS, "logistic", "knn", "parc"])
def test_few_wide_rows_need_no_matrix_of_the_columns(name):
    assert peak(name, 40, 3000) < 12e6  # float64 of 3000 x 3000 is 72 MB
