"""What races keep, and what they cost: how often the best is lost, for how many forward passes.

Three simulations, each on random orders:

- modules of known accuracy whose mistakes are half shared: how often the best one is dropped at
  the error level 5 %, and how often everyone within the tolerance is; the last line repeats every
  row five times, as a group;
- 30 modules with features (10 classes, 4000 rows; 10 of them within 3 points of the best): share of
  the forward passes of a certified race, and how often it keeps the module whose output module,
  retrained on all rows, is best on fresh rows;
- the same for halving at 15 % of the forward passes: points below the best.

    python tests/benchmarks/bench_race.py [--quick] [--json FILE]
"""

import argparse
import json
from pathlib import Path

import numpy as np

from modtools.modules import ModuleCollection
from modtools.outputs import RidgeOutput
from modtools.selection import race_modules
from modtools.selection._race_field import Field, Runner
from modtools.selection._race_rules import Certified
from modtools.tasks import Task

ERROR, TOLERANCE = 0.05, 0.02
FIELDS = {
    "8 equal": [0.75] * 8,
    "1 point ahead of 7": [0.76] + [0.75] * 7,
    "3 points ahead of 7": [0.78] + [0.75] * 7,
    "8, one point apart": [0.80 - 0.01 * place for place in range(8)],
}
N_COPIES = 5
SIZES = {  # races and rows of the first; modules, rows, test rows and orders of the others
    "full": (400, 4000, 30, 4000, 20_000, 20),
    "quick": (4, 400, 4, 300, 500, 2),
}


class Oracle:
    """An output module that predicts what the features say."""

    def predict(self, features):
        """Return the first column."""
        return features[:, 0]

    def learn(self, features, codes, groups=None):
        """Learn nothing."""


def race_of(accuracies, *, seed, n_rows, tolerance=0.0, n_copies=1):
    """Race modules of known accuracy; return the places still in and the fraction of passes."""
    rng = np.random.default_rng(seed)
    shared, own = rng.random(n_rows), rng.random((len(accuracies), n_rows))
    is_shared = rng.random(n_rows) < 0.5
    runners, features = [], {}
    for place, accuracy in enumerate(accuracies):
        right = np.repeat(np.where(is_shared, shared, own[place]) < accuracy, n_copies)
        features[str(place)] = right[:, None].astype(float)
        runners.append(Runner(place, str(place), str(place), Oracle()))
    groups = None if n_copies == 1 else np.repeat(np.arange(n_rows), n_copies)
    n_all = n_rows * n_copies
    task = Task(np.zeros(n_all), np.ones(n_all, dtype=int), classes=[0, 1], groups=groups)
    field = Field(runners, ModuleCollection.of(features), task)
    rule = Certified(ERROR, tolerance, 100)
    rule.run(field, np.arange(n_all), lambda _share, _note: None)
    places = [runner.place for runner in field.running]
    return places, field.passes / (len(accuracies) * n_all)


def known_accuracies(n_races, n_rows):
    """Return the largest shares of races that lost what they promise to keep; print all."""
    cases = [(name, 0.0, 1) for name in FIELDS] + [(name, TOLERANCE, 1) for name in FIELDS]
    worst = {"race_error_level": 0.0, "race_tolerance_error": 0.0}
    print("field, tolerance (points), races that lost (%), forward passes (%), modules left")
    for name, tolerance, n_copies in [*cases, ("8 equal", 0.0, N_COPIES)]:
        accuracies, size = FIELDS[name], {"n_rows": n_rows // n_copies, "n_copies": n_copies}
        done = [race_of(accuracies, seed=s, tolerance=tolerance, **size) for s in range(n_races)]
        least = max(accuracies) - tolerance - 1e-9
        lost = [all(accuracies[p] < least for p in places) for places, _ in done]
        if not tolerance:
            lost = [0 not in places for places, _ in done]  # of equals too
        passes = np.mean([share for _, share in done])
        left = np.mean([len(places) for places, _ in done])
        what = f"{name}, groups of {n_copies}" if n_copies > 1 else name
        shares = f"{100 * np.mean(lost):.1f} | {100 * passes:.0f} | {left:.1f}"
        print(f"{what} | {100 * tolerance:.0f} | {shares}", flush=True)
        figure = "race_tolerance_error" if tolerance else "race_error_level"
        worst[figure] = max(worst[figure], float(np.mean(lost)))
    return worst


def make_modules(n_modules, n_rows, n_test, seed=0):
    """Return features and labels of rows to race on and of fresh rows: modules of all qualities."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, n_rows + n_test)
    shared = rng.normal(size=(len(labels), 24))
    centres = rng.normal(size=(10, 24))
    near = n_modules // 3
    separations = np.r_[np.linspace(0.62, 0.68, near), np.linspace(0.1, 0.58, n_modules - near)]
    modules = {}
    for place, separation in enumerate(separations):
        own = rng.normal(size=shared.shape)
        rows = separation * centres[labels] + np.sqrt(0.5) * (shared + own)
        modules[f"m{place}"] = rows.astype(np.float32)
    return modules, labels


def achieved_accuracies(modules, labels, n_rows):
    """Return the accuracy on fresh rows of an output module retrained on all the others."""
    achieved = {}
    for name, rows in modules.items():
        output = RidgeOutput().fit(rows[:n_rows], labels[:n_rows])
        achieved[name] = float((output.predict(rows[n_rows:]) == labels[n_rows:]).mean())
    return achieved


def features(n_modules, n_rows, n_test, n_orders):
    """Return cost and keeping of certified races, and regret of halving, over random orders."""
    modules, labels = make_modules(n_modules, n_rows, n_test)
    achieved = achieved_accuracies(modules, labels, n_rows)
    best = max(achieved, key=achieved.get)
    raced = {name: rows[:n_rows] for name, rows in modules.items()}
    kept, passes, regret, seconds = [], [], [], []
    for seed in range(n_orders):
        race = race_modules(raced, labels[:n_rows], error=ERROR, seed=seed)
        kept.append(best in race.remaining)
        passes.append(race.pass_fraction)
        seconds.append(race.seconds)
        halving = race_modules(raced, labels[:n_rows], mode="halving", passes=0.15, seed=seed)
        regret.append(100 * (achieved[best] - achieved[halving.best]))
    print(
        f"certified: {100 * np.mean(passes):.0f} % of the forward passes, "
        f"{np.mean(seconds):.1f} s per race"
    )
    print(
        f"best kept in {sum(kept)} of {n_orders} orders; halving: {np.mean(regret):.2f} points lost"
    )
    return {
        "race_simulated_pass_fraction": float(np.mean(passes)),
        "race_simulated_best_kept": float(np.mean(kept)),
        "race_simulated_halving_regret": float(np.mean(regret)),
    }


def main() -> None:
    """Parse the command line, simulate, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that all runs")
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    n_races, n_known, *sizes = SIZES["quick" if arguments.quick else "full"]
    figures = {**known_accuracies(n_races, n_known), **features(*sizes)}
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
