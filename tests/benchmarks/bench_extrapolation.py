"""How right forecasts are: six modules, seven tasks, 50 to 400 labels, up to 2000 ahead.

Modules: EfficientNet-Lite0 (ImageNet) at three depths, raw pixels, and the networks trained with
pairs and end to end of case_studies/modular_vs_end_to_end (seed 0, in results/zoo). Images: digits,
and 6000 test images of Fashion-MNIST, which no module has seen. Tasks: both with all classes, and
groups of classes of each. Truth: accuracy of `RidgeOutput` retrained with that many labels, on
rows kept aside, mean over draws.

Studies go on by the same law from ten draws of up to 50 to 400 labels, at the pace of their own
curves, and are judged by other draws and the test rows that they did not see.

The calibration of `ErrorLaw` is fitted here. A task is judged by a calibration that never saw it;
the figures of "other images" are by one that saw no task of the same images at all.

    python tests/benchmarks/bench_extrapolation.py [--quick] [--json FILE] [--cache FOLDER]

Needs the extra `demo`, the Fashion-MNIST files and the zoo; features and measurements are kept in
the cache folder, so that a second run takes seconds. The first takes about five minutes.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import logit

import modtools as mt
from modtools.modules import efficientnet_lite, image_preprocess, pixels, run as run_module
from modtools.outputs import RidgeOutput
from modtools.retraining import extrapolate
from modtools.retraining._error_law import CALIBRATION, Calibration, ErrorLaw

ZOO = Path(__file__).parents[2] / "case_studies/modular_vs_end_to_end/results/zoo"
TRAINED = ("modular_supcon_seed0", "end_to_end_seed0")
PREPROCESS = image_preprocess(size=28, mean=0.286, std=0.353, channels=1)
N_TEST, N_POOL = 2000, 4000  # of Fashion-MNIST; 719 and 1078 of digits
DRAWS = {50: 3, 100: 3, 200: 5, 400: 2}  # label counts that forecasts start from, and how many
TRUTHS = {200: 3, 400: 3, 1000: 2, 2000: 1}  # label counts that are forecast, and how many draws
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


def iter_pairs(quick, cache):
    """Yield (task, module, features, labels, test features, test labels)."""
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


def measure_pair(features, labels, test_features, test_labels, *, most_draws):
    """Return what forecasts start from, and the accuracies that they are about."""
    labels = np.unique(labels, return_inverse=True)[1]
    test_labels = np.unique(test_labels, return_inverse=True)[1]
    truths, starts = {}, []
    for count, n_draws in TRUTHS.items():
        found = [
            RidgeOutput().fit(features[rows], labels[rows]).score(test_features, test_labels)
            for seed in range(min(n_draws, most_draws))
            if (rows := draw(labels, count, 1, seed)) is not None
        ]
        if found:
            truths[count] = float(np.mean(found))
    for count, n_draws in DRAWS.items():
        for seed in range(min(n_draws, most_draws)):
            rows = draw(labels, count, 2, seed)
            if rows is not None:
                forecast = extrapolate(features[rows], labels[rows], seed=seed)
                level = None if forecast.law is None else forecast.law.error
                starts.append((count, level, forecast.refused or ""))
    return {"truths": truths, "starts": starts}


def measurements(quick, cache):
    """Return one row a forecast: images, task, module, n, N, error at n, error at N, refused."""
    folder = Path(cache) / ("extrapolation-quick" if quick else "extrapolation")
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for task, module, *data in iter_pairs(quick, cache):
        path = folder / f"{task}__{module}.json"
        if not path.is_file():
            path.write_text(json.dumps(measure_pair(*data, most_draws=1 if quick else 6)))
            print(f"measured {task:20} {module}", flush=True)
        found = json.loads(path.read_text())
        n_test = len(data[3])
        rows += [
            (task.split("-")[0], task, module, n, int(ahead), error,
             max(1 - accuracy, 0.5 / n_test), refused)
            for n, error, refused in found["starts"]
            for ahead, accuracy in found["truths"].items()
            if int(ahead) >= 2 * n
        ]  # fmt: skip
    columns = ["images", "task", "module", "n", "ahead", "level", "error", "refused"]
    return pd.DataFrame(rows, columns=columns)


def measure_studies(features, labels, test_features, test_labels, *, repeats):
    """Return [output, n, N, accuracy, low, high, achieved] of studies; None is refused."""
    half = len(test_labels) // 2
    seen, kept = slice(half), slice(half, None)

    def study(rows, n_labels, repeats, seed):
        pair = {"module": (features, test_features[rows])}
        return mt.label_efficiency(
            pair, labels, test_labels[rows], n_labels=n_labels, outputs=["ridge", "class_mean"],
            repeats=repeats, seed=seed, allow_overlap=True,
        )  # fmt: skip

    truths, found = {}, []
    for ahead in [count for count in TRUTHS if count <= len(labels)]:
        table = study(kept, [ahead], min(3, repeats), 1000 + ahead).frame()
        truths[ahead] = table.set_index("output")["value"].to_dict()
    for count in DRAWS:
        spaced = np.unique(np.geomspace(max(count / 25, 4), count, 10).astype(int))
        aheads = [ahead for ahead in truths if 2 * count <= ahead <= 10 * count]
        if aheads and count <= len(labels):
            table = study(seen, spaced, repeats, count).extrapolate(aheads)
            numbers = table[["value", "value_low", "value_high"]].astype(object)
            numbers = numbers.where(numbers.notna(), None).to_numpy().tolist()
            rows = zip(table["output"], table["n_labels"].tolist(), numbers, strict=True)
            found += [[o, count, n, *said, truths[n][o]] for o, n, said in rows]
    return found


def study_figures(quick, cache):
    """Return the figures of extrapolated studies, by output module."""
    folder = Path(cache) / ("extrapolated-studies-quick" if quick else "extrapolated-studies")
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for task, module, *data in iter_pairs(quick, cache):
        path = folder / f"{task}__{module}.json"
        if not path.is_file():
            path.write_text(json.dumps(measure_studies(*data, repeats=2 if quick else 10)))
            print(f"studied {task:21} {module}", flush=True)
        rows += json.loads(path.read_text())
    columns = ["output", "n", "ahead", "value", "low", "high", "achieved"]
    table = pd.DataFrame(rows, columns=columns)
    figures = {}
    for output, own in table.groupby("output"):
        made = own[own["value"].notna()].astype({"value": float, "low": float, "high": float})
        made = made.assign(
            off=100 * (made["value"] - made["achieved"]),
            held=(made["low"] <= made["achieved"]) & (made["achieved"] <= made["high"]),
            half_width=50 * (made["high"] - made["low"]),
        )
        figures[f"studies, {output}: share refused"] = 1 - len(made) / len(own)
        if len(made):
            figures |= summary(made, f"studies, {output}")
    return figures


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


def run(quick=False, cache=None):
    """Return {figure name: value}, forecasts that were refused counted apart."""
    cache = cache or Path.home() / ".cache" / "modtools-benchmarks"
    table = measurements(quick, cache)
    refused = table["refused"] != ""
    figures = {"extrapolation: share refused": float(refused.mean())}
    table = table[~refused].reset_index(drop=True)
    tasks, sources = judged(table, "task"), judged(table, "images")
    columns = ["off", "held", "half_width"]
    for by in ("task", "module", "n"):
        print(tasks.assign(off=tasks["off"].abs()).groupby(by)[columns].mean().round(2), "\n")
    print("fitted to all:", fit(table), "\nin the package:", CALIBRATION)
    for name, found in (("other tasks", tasks), ("other images", sources)):
        wanted = found["module"] != "pixels" if not quick else np.ones(len(found), dtype=bool)
        wanted &= found["task"].isin(["digits", "fashion"]) & (found["n"] == 200)
        figures |= summary(found[wanted & (found["ahead"] >= 1000)], f"200 to 1000-2000, {name}")
        figures |= summary(found, f"50-400 to 200-2000, {name}")
    return figures | study_figures(quick, cache)


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
