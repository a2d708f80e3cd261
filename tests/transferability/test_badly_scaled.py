"""Features of any unit, with far rows and dependent columns: exact values, or a warning."""

import functools
import itertools
import warnings

import mpmath
import numpy as np
import pytest
import torch

from modtools import ModtoolsError, ModtoolsWarning, Moments
from modtools.tasks import encode_labels
from modtools.transferability import SCORES, hscore, logme, score, transrate
from modtools.transferability._summarise import summarise

N, D = 60, 8
LABELS = np.random.default_rng(0).integers(0, 3, N)
ROWS = np.random.default_rng(1).normal(size=(N, D)) + 1.5 * np.eye(D)[LABELS]
HALF = np.arange(D) % 2 == 0
INVARIANT = ["hscore", "class_mean", "knn", "lda", "ridge", "logistic"]


def centred(rows):
    """Rows relative to their mean, in 80 digits."""
    matrix = mpmath.matrix(np.asarray(rows, dtype=np.float64).tolist())
    means = [mpmath.fsum(matrix[:, j]) / matrix.rows for j in range(matrix.cols)]
    return mpmath.matrix([[matrix[i, j] - means[j] for j in range(D)] for i in range(matrix.rows)])


def of_class(matrix, c):
    rows = np.flatnonzero(c == LABELS).tolist()
    return mpmath.matrix([[matrix[i, j] for j in range(D)] for i in rows])


def exact_hscore(rows):
    with mpmath.workdps(80):
        x = centred(rows)
        scatter, total = x.T * x, mpmath.mpf(0)
        for c in range(3):
            own = of_class(x, c)
            sums = mpmath.matrix([mpmath.fsum(own[:, j]) for j in range(D)])
            total += (sums.T * mpmath.lu_solve(scatter, sums))[0] / own.rows
        return float(total)


def exact_transrate(rows, distortion=1e-4):
    def rate(x):
        matrix = mpmath.eye(D) + x.T * x / (x.rows * mpmath.mpf(distortion))
        return mpmath.log(mpmath.det(matrix)) / 2

    with mpmath.workdps(80):
        x = centred(rows)
        classes = [of_class(x, c) for c in range(3)]
        return float(rate(x) - mpmath.fsum(own.rows * rate(own) for own in classes) / N)


def exact_logme(rows):
    """By a search over the one ratio of precisions, in the eigenbasis of F'F in 60 digits."""
    with mpmath.workdps(60):
        features = mpmath.matrix(np.asarray(rows, dtype=np.float64).tolist())
        values, vectors = mpmath.eigsy(features.T * features)
        found = []
        for c in range(3):
            target = mpmath.matrix((c == LABELS).astype(float).tolist())
            along = vectors.T * (features.T * target)
            explained = [along[i] ** 2 / values[i] for i in range(D)]
            rest = mpmath.fsum(target) - mpmath.fsum(explained)
            found.append(best_evidence([float(v) for v in values], explained, float(rest)))
        return float(np.mean(found))


def best_evidence(values, explained, rest):
    values, explained = np.array(values), np.array([float(e) for e in explained])
    grid = np.linspace(np.log(values[0]) - 25, np.log(values[-1]) + 25, 4000)
    for _ in range(4):
        lam = np.exp(grid)[:, None]
        energy = rest + (explained * lam / (lam + values)).sum(axis=1)
        evidence = -0.5 * np.log(2 * np.pi * np.e * energy / N)
        evidence -= np.log1p(values / lam).sum(axis=1) / (2 * N)
        best, step = int(evidence.argmax()), grid[1] - grid[0]
        grid = np.linspace(grid[best] - step, grid[best] + step, 400)
    return evidence.max()


def far_row(size, columns=slice(None), row=5):
    rows = ROWS.copy()
    rows[row, columns] = size * (1 + 0.1 * np.arange(D))[columns]
    return rows


FAR = {
    f"{where} {size:g}": far_row(size, columns, row)
    for size in (1e4, 1e6, 1e7, 1e8)
    for where, columns, row in (
        ("all columns", slice(None), 5),
        ("first row", slice(None), 0),
        ("one column", slice(3, 4), 59),
        ("two columns", slice(2, 4), 30),
    )
}
SCALED = {
    "half a millionth": ROWS * np.where(HALF, 1e-6, 1),
    "half 1e-12": ROWS * np.where(HALF, 1e-12, 1),
    "half 1e6": ROWS * np.where(HALF, 1e6, 1),
    "one column 1e-9": ROWS * np.where(np.arange(D) == 2, 1e-9, 1),
    "units": ROWS * np.logspace(-9, 9, D),
    "offset 1e6": ROWS + 1e6,
    "units and offsets": (ROWS + 1e4) * np.logspace(-9, 9, D),
}


@pytest.mark.parametrize("width", [np.float32, np.float64])
@pytest.mark.parametrize("name", FAR)
def test_one_far_row_leaves_every_score_at_its_exact_value(name, width):
    rows = FAR[name].astype(width)
    found = score(rows, LABELS, ["hscore", "transrate", "logme"])
    assert found["hscore"] == pytest.approx(exact_hscore(rows), rel=1e-6)
    assert found["transrate"] == pytest.approx(exact_transrate(rows), rel=1e-6)
    if name.endswith("08"):
        assert found["logme"] == pytest.approx(exact_logme(rows), rel=1e-6)
        assert hscore(torch.from_numpy(rows), LABELS) == pytest.approx(found["hscore"], rel=1e-9)


@pytest.mark.parametrize("name", SCALED)
def test_scores_that_depend_on_units_are_right_in_any(name):
    rows = SCALED[name]
    assert transrate(rows, LABELS) == pytest.approx(exact_transrate(rows), rel=1e-6, abs=1e-9)
    if "offset" not in name:
        assert logme(rows, LABELS) == pytest.approx(exact_logme(rows), rel=1e-6)


@pytest.mark.parametrize("name", SCALED)
def test_invariant_scores_do_not_see_units_and_offsets(name):
    expected, rows = score(ROWS, LABELS, INVARIANT), SCALED[name]
    assert score(rows, LABELS, INVARIANT) == pytest.approx(dict(expected), rel=1e-6)
    shards = np.array_split(np.random.default_rng(2).permutation(N), 3)
    parts = [Moments.from_features(rows[own], LABELS[own]) for own in shards]
    for order in itertools.permutations(parts):
        merged = functools.reduce(Moments.merge, order)
        assert merged.score("hscore")["hscore"] == pytest.approx(expected["hscore"], rel=1e-6)
    if "offset" not in name:
        narrow = Moments.from_features(rows, LABELS, precision="float32").score("hscore")
        assert narrow["hscore"] == pytest.approx(expected["hscore"], rel=1e-4)


@pytest.mark.parametrize("name", [name for name in FAR if "one" not in name])
def test_moments_are_right_or_warn_once_at_the_line_that_asks(name):
    rows = FAR[name]
    moments = Moments.from_features(rows, LABELS, class_second_moments=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = moments.score()
    told = [str(w.message)[:5] for w in caught if issubclass(w.category, ModtoolsWarning)]
    if told:
        assert told == ["MT008"]
        assert caught[0].filename == __file__
    else:
        assert found["hscore"] == pytest.approx(exact_hscore(rows), rel=1e-5)
    assert bool(told) == (not name.endswith("10000"))
    assert found["transrate"] >= 0


@pytest.mark.parametrize("columns", [24, 90])
def test_columns_that_follow_from_others_are_cut_in_any_unit(columns):
    """Float32 rounding of such columns is no direction, in either type, tall or wide."""
    mix = np.random.default_rng(3).normal(size=(D, columns))
    rows = np.hstack([ROWS, ROWS @ mix]).astype(np.float32)
    expected = score(ROWS.astype(np.float32), LABELS, "hscore")["hscore"]
    scale = np.where(np.arange(D + columns) % 3, 1.0, 2.0**-30)
    for given in (rows, rows.astype(np.float64), rows * scale, np.hstack([rows, rows])):
        assert hscore(given, LABELS) == pytest.approx(expected, rel=1e-4)


def test_constant_and_repeated_columns_warn_of_nothing():
    given = np.hstack([ROWS, ROWS, 3 * ROWS[:, :2], np.full((N, 2), 0.1)])
    expected = hscore(ROWS, LABELS)
    assert hscore(given, LABELS) == pytest.approx(expected, rel=1e-9)
    found = Moments.from_features(given, LABELS).score("hscore")["hscore"]
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_direction_that_is_cut_though_it_varies_is_told():
    noise = 1e-8 * np.random.default_rng(4).normal(size=N)
    with pytest.warns(ModtoolsWarning, match="MT008: 1 directions? of the features"):
        hscore(np.column_stack([ROWS, ROWS[:, 0] + noise]), LABELS)


def test_the_spread_within_far_classes_keeps_its_digits():
    """Column 1 tells the classes by 3e6 times its spread within them; the others are as before."""
    spread = ROWS * np.where(np.arange(D) == 1, 1e-2, 1)
    far = spread + 3e4 * np.eye(D)[1] * LABELS[:, None]
    near = [(spread[c == LABELS], far[c == LABELS]) for c in range(3)]
    variances = [[part.var(axis=0) for part in pair] for pair in near]
    for plain, moved in variances:
        np.testing.assert_allclose(moved, plain, rtol=1e-6)
    summary = summarise(far, encode_labels(LABELS))
    counts = np.bincount(LABELS)
    for c in range(3):
        expected = variances[c][1] * counts[c]
        np.testing.assert_allclose(summary.within_squares[c], expected, rtol=1e-9)


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("size", [5e11, 1e15])
def test_sums_of_cubes_do_not_overflow_in_float32(size, on_device, monkeypatch):
    monkeypatch.setattr("modtools.transferability._moments._is_on_device", lambda _: on_device)
    rng = np.random.default_rng(0)
    rows = (size * rng.exponential(size=(512, 64))).astype(np.float32)
    labels = np.arange(512) % 3
    given = torch.from_numpy(rows) if on_device else rows
    names = ["regularized_hscore", "hsic", "lfc"]
    narrow = Moments.from_features(given, labels, precision="float32").score(names)
    wide = Moments.from_features(given, labels, precision="float64").score(names)
    assert narrow == pytest.approx(dict(wide), rel=1e-5)


def test_columns_too_small_for_squares_are_missed_by_no_score_and_told_by_moments():
    rows = ROWS * np.where(HALF, 1e-170, 1)
    assert hscore(rows, LABELS) == pytest.approx(hscore(ROWS, LABELS), rel=1e-6)
    with pytest.warns(ModtoolsWarning, match="MT008"):
        Moments.from_features(rows, LABELS).score("hscore")


SLOW = {"logistic", "linear_probe", "half_split", "codelength"}
BOUNDS = {
    "[-H(Y), 0] nats": lambda c: (-np.log(c), 0),
    "[0, C-1]": lambda c: (0, c - 1),
    "[0, C-1]; [0, m] for m target columns": lambda c: (0, c - 1),
    "unbounded, nats per example and column": lambda c: (-np.inf, np.inf),
    "[0, R(F)] nats": lambda c: (0, np.inf),
    "[-C(C-1), 0]": lambda c: (-c * (c - 1), 0),
    "(0, 1]": lambda c: (np.finfo(float).tiny, 1),
    "[-1, 1]": lambda c: (-1, 1),
    "[-100, 100]; without ties at most 100 sqrt(3 p q)": lambda c: (-100, 100),
    "[0, 1]": lambda c: (0, 1),
    "[-1, 0]": lambda c: (-1, 0),
    "unbounded, squared units": lambda c: (-np.inf, np.inf),
    "[0, 1], leave-one-out accuracy": lambda c: (0, 1),
    "[0, 1], leave-one-out accuracy; R2 <= 1 for regression": lambda c: (0, 1),
    "[0, 1], held-out accuracy": lambda c: (0, 1),
    "(-inf, 0], nats per label": lambda c: (-np.inf, 0),
    "(-inf, 0], bits per label": lambda c: (-np.inf, 0),
}


def scaled(rows, rng):
    return rows * 10.0 ** rng.uniform(-9, 9, rows.shape[1])


def partly_scaled(rows, rng):
    factor = rng.choice([1e-12, 1e-6, 1e-3, 1e6])
    return rows * np.where(rng.random(rows.shape[1]) < 0.5, factor, 1)


def far(rows, rng):
    rows = rows.copy()
    rows[rng.integers(len(rows)), rng.random(rows.shape[1]) < 0.7] *= 10.0 ** rng.integers(4, 9)
    return rows


def partly_constant(rows, rng):
    return np.where(rng.random(rows.shape[1]) < 0.5, rng.normal(), rows)


def repeated(rows, rng):
    return np.hstack([rows, 3 * rows[:, rng.random(rows.shape[1]) < 0.5], rows])


HOSTILE = [
    scaled,
    partly_scaled,
    far,
    partly_constant,
    repeated,
    lambda rows, rng: rows + 10.0 ** rng.uniform(0, 6),
    lambda rows, rng: rows[rng.integers(0, len(rows), len(rows))],
    lambda rows, rng: np.maximum(rows, 0),
    lambda rows, rng: rows * 10.0 ** rng.choice([-320, -200, -80, -40, 40, 66, 200, 305]),
    lambda rows, rng: np.round(rows),
    lambda rows, rng: rows[:, :1] * rng.normal(size=rows.shape[1]),
]


def hostile(seed):
    rng = np.random.default_rng(seed)
    n, d, n_classes = (
        rng.choice([4, 6, 9, 20, 40]),
        rng.choice([1, 2, 5, 12, 60]),
        rng.choice([2, 3]),
    )
    labels = rng.permutation(np.arange(n) % n_classes)
    rows = rng.normal(size=(n, d)) + 1.5 * rng.integers(2) * rng.normal(size=(n_classes, d))[labels]
    with np.errstate(all="ignore"):
        for position in rng.integers(0, len(HOSTILE), rng.integers(1, 4)):
            rows = HOSTILE[position](rows, rng)
        rows = rows.astype(rng.choice([np.float32, np.float64]))
    return rows, labels, rng.dirichlet(np.full(4, 0.1), size=n)


def outside(values, labels):
    bounds = {name: BOUNDS[SCORES[name].range](labels.max() + 1) for name in values}
    return {name: v for name, v in values.items() if not bounds[name][0] <= v <= bounds[name][1]}


def values_or_errors(rows, labels, names, probabilities):
    """Score all at once, or one by one where one of them refuses."""
    try:
        return score(rows, labels, names, source_probabilities=probabilities), ""
    except ModtoolsError as error:
        if len(names) == 1 or str(error).startswith("features "):
            return {}, str(error)
    found = [values_or_errors(rows, labels, [name], probabilities) for name in names]
    return {k: v for values, _ in found for k, v in values.items()}, "".join(e for _, e in found)


@pytest.mark.filterwarnings("ignore::modtools.exceptions.ModtoolsWarning")
@pytest.mark.parametrize("first", range(0, 240, 40))
def test_no_score_leaves_its_range_on_hostile_features(first):
    """Whatever comes in: a value in the range of the registry, or one clear error."""
    for seed in range(first, first + 40):
        rows, labels, probabilities = hostile(seed)
        names = [name for name in SCORES if name not in SLOW or seed % 40 == 0]
        values, errors = values_or_errors(rows, labels, names, probabilities)
        assert not outside(values, labels), seed
        assert "came out as" not in errors, seed


@pytest.mark.filterwarnings("ignore::modtools.exceptions.ModtoolsWarning")
def test_no_score_of_merged_moments_leaves_its_range_on_hostile_features():
    for seed in range(120):
        rows, labels, _ = hostile(seed)
        size = float(np.abs(rows).max())
        if not 1e-60 < size < 1e60:
            continue  # refused, see above
        half = len(rows) // 2
        parts = [
            Moments.from_features(rows[own], labels[own], class_second_moments=True)
            for own in (slice(half), slice(half, None))
        ]
        assert not outside(parts[1].merge(parts[0]).score(), labels), seed
