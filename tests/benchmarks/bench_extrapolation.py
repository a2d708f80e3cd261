"""How right forecasts are, and which law makes them: 50 to 400 labels, up to 2000 ahead.

Images: digits; 6000 test images of Fashion-MNIST, which no module has seen; and, as a third source,
simulated rows of ten overlapping Gaussian classes. Tasks: all classes, and groups of them. Modules:
EfficientNet-Lite0 (ImageNet) at three depths, raw pixels, and the networks trained with pairs and
end to end of case_studies/modular_vs_end_to_end (seed 0, in results/zoo) where that is filled.

From labels alone: forecasts of `extrapolate`. Truth: accuracy of `RidgeOutput` retrained with that
many labels, on rows kept aside, mean over draws. The calibration of `ErrorLaw` is fitted here. A
task is judged by a calibration that never saw it; the figures of "other images" are by one that saw
no task of the same images at all.

Studies go on from ten draws of up to 50 to 400 labels, and are judged by other draws and test rows
that they did not see. How they go on is chosen among the laws of extrapolation_laws.py, which says
by what criterion: chosen on some sources of images and reported on another, by calibrations that
saw neither. Beside them stands the power law of version 0.1 (power_law.py), on the same forecasts,
which no law refuses. From labels alone the power law reads curves of five folds of the same labels.

    python tests/benchmarks/bench_extrapolation.py [--quick] [--json FILE] [--cache FOLDER]

Needs the extra `demo` and the Fashion-MNIST files. Features, and the measured curves with their
resamples and the accuracies achieved further on, are kept in the cache folder: the first run takes
some ten minutes on one core, and any law is judged from there in half a minute.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from extrapolation_laws import (
    ELSEWHERE,
    LAWS,
    PLACE,
    REFERENCE,
    USUAL,
    Curve,
    Paces,
    Start,
    cells,
    choose,
    decided,
    judged as judged_by_law,
    left_out,
)
from power_law import power_law
from scipy.optimize import minimize
from scipy.special import logit

import modtools as mt
from modtools.modules import efficientnet_lite, image_preprocess, pixels, run as run_module
from modtools.outputs import RidgeOutput
from modtools.retraining import extrapolate
from modtools.retraining._error_law import CALIBRATION, Calibration, ErrorLaw
from modtools.studies._extrapolated import reason_not_to_extrapolate

ZOO = Path(__file__).parents[2] / "case_studies/modular_vs_end_to_end/results/zoo"
TRAINED = ("modular_supcon_seed0", "end_to_end_seed0")
PREPROCESS = image_preprocess(size=28, mean=0.286, std=0.353, channels=1)
N_TEST, N_POOL = 2000, 4000  # of Fashion-MNIST; 719 and 1078 of digits
DRAWS = {50: 3, 100: 3, 200: 5, 400: 2}  # label counts that forecasts start from, and how many
TRUTHS = {200: 3, 400: 3, 1000: 2, 2000: 1}  # label counts that are forecast, and how many draws
OUTPUTS = ["ridge", "class_mean"]
FIGURES = {
    "absolute": "mean absolute error, points",
    "bias": "bias, points",
    "held": "held by the 80 % interval, %",
    "half_width": "half-width of the 80 % interval, points",
}
DENSE, THINNED = 30, 3  # label counts of a study, and of which every third is read too
FOLDS = 5  # of the labels there are, for a curve without test examples
SIMULATED = [(columns, apart) for columns in (10, 50, 200) for apart in (3.0, 4.0)]
GROUPS = {  # names of classes by class, -1 for what is left out
    "digits": {
        "digits": np.arange(10),
        "digits-parity": np.arange(10) % 2,
        "digits-high": np.where(np.arange(10) > 4, np.arange(10), -1),
    },
    "fashion": {
        "fashion": np.arange(10),
        "fashion-tops": np.array([0, -1, 2, -1, 4, -1, 6, -1, -1, -1]),
        "fashion-shoes-bags": np.array([-1, -1, -1, -1, -1, 5, -1, 7, 8, 9]),
        "fashion-coarse": np.array([0, 2, 0, 0, 0, 1, 0, 1, 2, 1]),
    },
}


def shelf(quick):
    """Return the modules; those of the zoo are left out where they are not there."""
    if quick:
        return [pixels()]
    zoo = mt.Zoo(ZOO)
    networks = [zoo.load(name) for name in TRAINED if name in zoo.names]
    trained = [
        mt.PretrainedModule(
            module.network, name=module.name, layers="features", preprocess=PREPROCESS
        )
        for module in networks
    ]
    return [efficientnet_lite(0), pixels(), *trained]


def images(quick):
    """Return {images: (rows to label, rows to test on)}."""
    train, test = mt.load_task("digits").split(test_fraction=0.4, seed=0)
    found = {"digits": (train, test)}
    if not quick:
        whole = mt.load_task("fashion-mnist", split="test")
        kept, pool = np.arange(N_TEST), np.arange(N_TEST, N_TEST + N_POOL)
        found["fashion"] = (whole.subset(pool), whole.subset(kept))
    return found


def simulated(dimensions, distance):
    """Return rows of ten Gaussian classes, their means about so far apart: rows to label, to test.

    >>> [part.shape for part in simulated(10, 3.0)]
    [(4000, 10), (4000,), (2000, 10), (2000,)]
    """
    rng = np.random.default_rng([dimensions, int(10 * distance)])
    means = rng.normal(size=(10, dimensions)) * distance / np.sqrt(2 * dimensions)
    labels = rng.integers(10, size=N_POOL + N_TEST)
    features = means[labels] + rng.normal(size=(len(labels), dimensions))
    return features[:N_POOL], labels[:N_POOL], features[N_POOL:], labels[N_POOL:]


def iter_pairs(quick, cache):
    """Yield (task, module, features, labels, test features, test labels)."""
    for dimensions, distance in SIMULATED[: 1 if quick else None]:
        yield "simulated", f"gaussian-{dimensions}-{distance}", *simulated(dimensions, distance)
    for name, (pool, test) in images(quick).items():
        tasks = dict(list(GROUPS[name].items())[: 1 if quick else None])
        for module in shelf(quick):
            learned = run_module(module, pool, cache=cache, batch_size=128, with_source=False)
            tested = run_module(module, test, cache=cache, batch_size=128, with_source=False)
            for layer, features in learned.features.items():
                for task, groups in tasks.items():
                    own, other = groups[np.asarray(pool.labels)], groups[np.asarray(test.labels)]
                    yield (
                        task, layer, features[own >= 0], own[own >= 0],
                        tested.features[layer][other >= 0], other[other >= 0],
                    )  # fmt: skip


def draw(labels, count, *seed):
    """Return random rows with every class among them, None where there are too few."""
    rng = np.random.default_rng(seed)
    for _ in range(100):
        rows = rng.permutation(len(labels))[:count]
        if len(rows) == count and len(np.unique(labels[rows])) == len(np.unique(labels)):
            return rows
    return None


def spaced(count, n_counts=10):
    """Return the label counts of a study of `count` labels.

    >>> spaced(100).tolist()
    [4, 5, 8, 11, 16, 23, 34, 48, 69, 100]
    """
    return np.unique(np.geomspace(max(count / 25, 4), count, n_counts).astype(int))


def study(learned, tested, n_labels, *, repeats, seed):
    """Return a study of one module from (features, labels) twice."""
    return mt.label_efficiency(
        {"module": (learned[0], tested[0])}, learned[1], tested[1], n_labels=n_labels,
        outputs=OUTPUTS, repeats=repeats, seed=seed, allow_overlap=True,
    )  # fmt: skip


def curves_of(found):
    """Return {output: (mean curve, its resamples)} of a study; no public name gives resamples."""
    held = found._curves
    return {
        line.output: (measured.accuracy.mean(axis=0), held.resampled[line])
        for line, measured in held.lines.items()
    }


def curve_of_labels(features, labels, *, seed):
    """Return counts, curve and resamples that labels alone give, each fold tested by the others.

    This is what the power law, which needs a curve, can read where there are no test examples.
    """
    folds = np.random.default_rng([3, seed]).permutation(len(labels)) % FOLDS
    counts, parts = spaced(len(labels) - np.bincount(folds).max()), []
    for fold in range(FOLDS):
        is_tested = folds == fold
        learned, tested = ((features[rows], labels[rows]) for rows in (~is_tested, is_tested))
        found = study(learned, tested, counts, repeats=4, seed=FOLDS * seed + fold)
        parts.append(curves_of(found)["ridge"])
    curves, resamples = zip(*parts, strict=True)
    return counts, np.mean(curves, axis=0), np.mean(resamples, axis=0)


def measure_labels(features, labels, test_features, test_labels, *, most_draws):
    """Return what forecasts from labels alone start from, and the accuracies they are about."""
    achieved = {}
    for count, n_draws in TRUTHS.items():
        found = [
            RidgeOutput().fit(features[rows], labels[rows]).score(test_features, test_labels)
            for seed in range(min(n_draws, most_draws))
            if (rows := draw(labels, count, 1, seed)) is not None
        ]
        if found:
            achieved[count] = float(np.mean(found))
    starts = []
    for count, n_draws in DRAWS.items():
        for seed in range(min(n_draws, most_draws)):
            rows = draw(labels, count, 2, seed)
            ahead = {n: value for n, value in achieved.items() if n >= 2 * count}
            if rows is not None and ahead:
                forecast = extrapolate(features[rows], labels[rows], seed=seed)
                start = Start("labels alone", "ridge", count, ahead, refused=forecast.refused or "")
                if forecast.law is not None:
                    seen = curve_of_labels(features[rows], labels[rows], seed=seed)
                    start = start._replace(level=forecast.law.error, curve=Curve(*seen))
                starts.append(start)
    return starts


def measure_studies(features, labels, test_features, test_labels, *, repeats):
    """Return the curves of studies, and the accuracies by other draws on other test examples."""
    half = len(test_labels) // 2
    learned = (features, labels)
    seen = (test_features[:half], test_labels[:half])
    kept = (test_features[half:], test_labels[half:])
    achieved = {}
    for ahead in [count for count in TRUTHS if count <= len(labels)]:
        found = study(learned, kept, [ahead], repeats=min(3, repeats), seed=1000 + ahead).frame()
        achieved[ahead] = found.set_index("output")["value"].to_dict()
    starts = []
    for count in DRAWS:
        aheads = [ahead for ahead in achieved if 2 * count <= ahead <= 10 * count]
        if aheads and count <= len(labels):
            counts = spaced(count, DENSE)
            found = study(learned, seen, counts, repeats=repeats, seed=count)
            starts += [
                Start("study", output, count, {n: achieved[n][output] for n in aheads},
                      curve=Curve(counts, *curve))
                for output, curve in curves_of(found).items()
            ]  # fmt: skip
    return starts


def save(starts, path):
    """Write what was measured of one task and module."""
    facts = [start._replace(curve=None)._asdict() for start in starts]
    arrays = {
        f"{name}{place}": part.astype(np.float32) if name == "resampled" else part
        for place, start in enumerate(starts)
        if start.curve is not None
        for name, part in start.curve._asdict().items()
    }
    np.savez_compressed(path, facts=json.dumps(facts), **arrays)


def load(path):
    """Return what was measured of one task and module."""
    with np.load(path) as held:
        starts = []
        for place, facts in enumerate(json.loads(str(held["facts"]))):
            achieved = {int(n): value for n, value in facts.pop("achieved").items()}
            start = Start(**facts, achieved=achieved)
            if f"curve{place}" in held:
                start = start._replace(
                    curve=Curve(*(held[f"{name}{place}"] for name in Curve._fields))
                )
            starts.append(start)
    return starts


def measurements(quick, cache):
    """Return {(task, module): (starts of forecasts, number of test examples)}, from the cache."""
    folder = Path(cache) / ("extrapolation-curves-quick" if quick else "extrapolation-curves")
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for task, module, features, labels, test_features, test_labels in iter_pairs(quick, cache):
        path = folder / f"{task}__{module}.npz"
        if not path.is_file():
            labels, test_labels = (
                np.unique(part, return_inverse=True)[1] for part in (labels, test_labels)
            )
            data = (features, labels, test_features, test_labels)
            starts = measure_labels(*data, most_draws=1 if quick else 6)
            starts += measure_studies(*data, repeats=5 if quick else 10)
            save(starts, path)
            print(f"measured {task:20} {module}", flush=True)
        found[task, module] = load(path), len(test_labels)
    return found


def forecasts(table, calibration):
    """Return accuracy, low and high of every row by a calibration."""
    found = [
        ErrorLaw(n, level, calibration).accuracies([ahead])[:, 0]
        for n, level, ahead in zip(table["n"], table["level"], table["ahead"], strict=True)
    ]
    return np.array(found).reshape(-1, 3).T


def fit(table):
    """Return the calibration of forecasts: pace by least squares, spread by likelihood.

    Squares are of the log error, weighted by the error: between points and per cent of the error.
    """
    step = table["n"] ** -0.5 - table["ahead"] ** -0.5
    fall = np.log(table["level"]) - np.log(table["error"])
    pace = float((table["error"] * step * fall).sum() / (table["error"] * step**2).sum())
    expected = table["level"] * np.exp(-pace * step)
    off = (logit(1 - table["error"]) - logit(1 - expected)) * (1 - expected)
    of_one_row = (1 - table["level"]) / table["level"]
    squared_steps = np.log(table["ahead"] / table["n"]) ** 2

    def misfit(logs):
        level_variance, drift = np.exp(logs)
        variance = of_one_row * (level_variance / table["n"] + drift**2 * squared_steps)
        return float((np.log(variance) + off**2 / variance).mean())

    spread = np.exp(minimize(misfit, np.log([1.5, 0.05]), method="Nelder-Mead").x)
    return Calibration(pace, float(spread[0]), float(spread[1]))


def judged(table, by):
    """Return the table with forecasts of each group by the calibration of all the others."""
    parts = []
    for _, own in table.groupby(by):
        others = table.drop(own.index)
        value, low, high = forecasts(own, fit(others) if len(others) else CALIBRATION)
        achieved = 1 - own["error"]
        parts.append(
            own.assign(
                off=100 * (value - achieved),
                held=(low <= achieved) & (achieved <= high),
                half_width=50 * (high - low),
            )
        )
    return pd.concat(parts)


def summary(found, name):
    """Return the figures of some forecasts that were made."""
    return {
        f"{name}: mean absolute error, points": float(found["off"].abs().mean()),
        f"{name}: bias, points": float(found["off"].mean()),
        f"{name}: share held by the 80 % interval": float(found["held"].mean()),
        f"{name}: half-width of the 80 % interval, points": float(found["half_width"].mean()),
    }


def labels_alone(found):
    """Return one row a forecast from labels alone: the level at n, the error achieved, refused."""
    rows = [
        (task.split("-")[0], task, module, start.n, ahead, start.level,
         max(1 - accuracy, 0.5 / n_test), start.refused)
        for (task, module), (starts, n_test) in found.items()
        for start in starts
        if start.kind == "labels alone"
        for ahead, accuracy in start.achieved.items()
    ]  # fmt: skip
    columns = ["images", "task", "module", "n", "ahead", "level", "error", "refused"]
    return pd.DataFrame(rows, columns=columns)


def calibration_without(table, *sources):
    """Return the calibration by other real images; by simulated ones where none are left."""
    left = table[~table["images"].isin(sources)]
    real = left[left["images"] != "simulated"]
    return fit(real if len(real) else left) if len(left) else CALIBRATION


class Comparison:
    """Forecasts by every law from the same starts, of one kind."""

    def __init__(self, found, kind, table):
        self.table, self.starts = table, []
        self.never = () if kind == "study" else (USUAL,)  # no forecast is refused for its width
        for (task, module), (starts, _) in found.items():
            for draw_number, start in enumerate(starts):
                if start.kind == kind and start.curve is not None:
                    where = (task.split("-")[0], task, module, start.output, start.n, draw_number)
                    for every in (1, THINNED) if kind == "study" else (1,):
                        self._add((*where, every), start, start.curve.thinned(every))

    def _add(self, where, start, measured):
        counts, curve, resampled = measured
        aheads = [
            n for n in start.achieved if not reason_not_to_extrapolate(curve, resampled, counts, n)
        ]
        if aheads:
            reference = power_law(curve, resampled, counts, aheads)
            self.starts.append((where, start, aheads, Paces.of(measured), reference))

    def judge(self, sources, without=None):
        """Return judged forecasts on some sources, by calibrations that saw neither."""
        rows = []
        for source in sources:
            calibration = calibration_without(self.table, source, without)
            for where, start, aheads, paces, reference in self.starts:
                if where[0] == source:
                    laws = {REFERENCE: reference}
                    if start.kind == "study":
                        laws |= {x: paces.law(x, calibration).accuracies(aheads) for x in LAWS}
                    else:
                        law = ErrorLaw(start.n, start.level, calibration)
                        laws[USUAL] = law.accuracies(aheads)
                    rows += [
                        (*where, ahead, start.achieved[ahead], name, *numbers)
                        for name, values in laws.items()
                        for ahead, numbers in zip(aheads, values.T, strict=True)
                    ]
        columns = [*PLACE, "achieved", "law"]
        table = pd.DataFrame(rows, columns=[*columns, "value", "low", "high"])
        return judged_by_law(table, never=self.never)


def shown(found, title):
    """Print how every law did on every source, and the mean over sources, as the docs hold it."""
    table = cells(found)
    means = table.groupby(["law", "output"], sort=False).mean()
    means["forecasts"] = table["forecasts"].groupby(["law", "output"], sort=False).sum()
    means = means.assign(images="mean of sources").set_index("images", append=True)
    table = pd.concat([table, means.reorder_levels(table.index.names)])
    print(f"\n{title}\n\n| output | images | law | n | absolute error | bias | held | half-width |")
    print("|---|---|---|---|---|---|---|---|")
    for (output, images), rows in table.groupby(["output", "images"]):
        for (law, *_), row in rows.iterrows():
            print(
                f"| {output} | {images} | {law} | {row['forecasts']:.0f} | {row['absolute']:.1f} "
                f"| {row['bias']:+.1f} | {row['held']:.0f} % | {row['half_width']:.1f} |"
            )


def figures_of(found, name, laws):
    """Return the figures of some laws, each source of images counting as much."""
    means = cells(found).groupby(["law", "output"]).mean()
    return {
        f"{name}, {output}, {law}: {figure}": float(row[column])
        for (law, output), row in means.iterrows()
        if law in laws
        for column, figure in FIGURES.items()
    }


def compared(found, table):
    """Return the figures of the laws on the same forecasts, and print which is chosen."""
    studies = Comparison(found, "study", table)
    sources = sorted({where[0] for where, *_ in studies.starts})
    every = studies.judge(sources)
    chosen, elsewhere = left_out(studies.judge, sources)
    on_all = choose(every)
    every_law = pd.concat([every, elsewhere])
    shown(every_law, "Studies, by calibrations of other images:")
    for step, part in every_law.groupby("every"):
        means = cells(part).groupby("law", sort=False).mean().round(1)
        print(f"\nevery {step}. label count is read, mean of sources and output modules:\n{means}")
    for source, law in chosen.items():
        print(f"chosen without {source}: {law}")
    print(f"chosen on all: {on_all}; for the package: {decided(every, on_all, elsewhere)}")
    alone = Comparison(found, "labels alone", table).judge(sources)
    shown(alone, "From labels alone, by calibrations of other images:")
    laws = {REFERENCE, USUAL, on_all, ELSEWHERE}
    return figures_of(every_law, "studies", laws) | figures_of(alone, "labels alone", laws)


def run(quick=False, cache=None):
    """Return {figure name: value}, forecasts that were refused counted apart."""
    if quick and cache is None:
        with tempfile.TemporaryDirectory() as folder:
            return run(quick, folder)
    found = measurements(quick, cache or Path.home() / ".cache" / "modtools-benchmarks")
    absent = [name for name in TRAINED if not any(name in module for _, module in found)]
    print("modules left out, for they are not there:", ", ".join(absent) or "none")
    table = labels_alone(found)
    real, refused = table["images"] != "simulated", table["refused"] != ""
    figures = {"extrapolation: share refused": float(refused[real].mean())}
    table, real = (part[~refused].reset_index(drop=True) for part in (table, real))
    tasks, sources = judged(table[real], "task"), judged(table[real], "images")
    columns = ["off", "held", "half_width"]
    for by in ("task", "module", "n"):
        print(tasks.assign(off=tasks["off"].abs()).groupby(by)[columns].mean().round(2), "\n")
    print("fitted to all real images:", fit(table[real]), "\nin the package:", CALIBRATION)
    for name, own in (("other tasks", tasks), ("other images", sources)):
        wanted = own["module"] != "pixels" if not quick else np.ones(len(own), dtype=bool)
        wanted &= own["task"].isin(["digits", "fashion"]) & (own["n"] == 200)
        figures |= summary(own[wanted & (own["ahead"] >= 1000)], f"200 to 1000-2000, {name}")
        figures |= summary(own, f"50-400 to 200-2000, {name}")
    return figures | compared(found, table)


def main():
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="pixels of digits only")
    parser.add_argument("--json", help="also write the figures here")
    parser.add_argument("--cache", help="folder that keeps features and measurements")
    arguments = parser.parse_args()
    figures = run(arguments.quick, arguments.cache)
    for name, value in figures.items():
        print(f"{value:8.3f}  {name}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
