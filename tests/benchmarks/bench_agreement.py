"""Which score ranks modules as their retrained output modules do: 11 modules x 4 tasks.

Modules: EfficientNet-Lite0, 1, 2 (ImageNet) after a third and two thirds of the blocks and after
the head convolution, Lite0 with random weights, raw pixels. Tasks: Fashion-MNIST (4000 training and
2000 test images), its tops, its shoes and bags, and digits. Truth: test accuracy of a logistic
output module tuned by 3-fold cross-validation on the training rows.

    python tests/benchmarks/bench_agreement.py [--quick] [--json FILE] [--cache FOLDER]

Needs the extra `demo` and the Fashion-MNIST files; features, truth and scores are kept in the cache
folder, so that a second run takes seconds. The first takes about half an hour on two cores.
"""

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import modtools as mt
from modtools.exceptions import ModtoolsWarning
from modtools.modules import efficientnet_lite, pixels, run as run_module
from modtools.transferability import SCORES

INVERSE_PENALTIES = [1e-3, 1e-2, 1e-1, 1.0, 10.0]
TOPS, SHOES_AND_BAGS = [0, 2, 4, 6], [5, 7, 8, 9]


def candidates(quick):
    """Return the modules of the protocol: three depths of each network, a random one, pixels."""
    versions = [0] if quick else [0, 1, 2]
    networks = [efficientnet_lite(version) for version in versions]
    random = efficientnet_lite(0, layers=networks[0].layers[-1], pretrained=False)
    return [*networks, random, pixels()]


def tasks(quick):
    """Return {name: (train, test)}: digits, and Fashion-MNIST whole and in two groups."""
    from sklearn.model_selection import train_test_split

    digits = mt.load_task("digits")
    rows = np.arange(len(digits))
    train, test = train_test_split(
        rows, test_size=0.4, stratify=digits.labels, random_state=0, shuffle=True
    )
    found = {"digits": (digits.subset(train), digits.subset(test))}
    n_train, n_test = (500, 300) if quick else (4000, 2000)
    fashion_train = mt.load_task("fashion-mnist", split="train").subset(np.arange(n_train))
    fashion_test = mt.load_task("fashion-mnist", split="test").subset(np.arange(n_test))
    for name, classes in {
        "fashion-tops": TOPS,
        "fashion-shoes-bags": SHOES_AND_BAGS,
        "fashion": range(10),
    }.items():
        parts = [
            task.subset(np.flatnonzero(np.isin(task.labels, list(classes))))
            for task in (fashion_train, fashion_test)
        ]
        found[name] = (parts[0], parts[1])
    return found


def extract_all(modules, train, test, cache):
    """Return {module: (training features, test features, source probabilities or None)}."""
    found = {}
    for module in modules:
        first = run_module(module, train, cache=cache, batch_size=128)
        second = run_module(module, test, cache=cache, batch_size=128, with_source=False)
        last = module.names[-1]
        for name, features in first.features.items():
            source = first.source_probabilities if name == last else None
            found[name] = (features, second.features[name], source)
    return found


def probe():
    """Return the logistic output module on standardised features."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000))


def tuned_accuracy(train, labels, test, test_labels):
    """Return the test accuracy of a probe tuned by 3-fold cross-validation, and its CV accuracy."""
    grid = {"logisticregression__C": INVERSE_PENALTIES}
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(probe(), grid, cv=folds).fit(train, labels)
    return float(search.score(test, test_labels)), float(search.best_score_)


def few_label_accuracy(train, labels, test, test_labels, per_class=5, seeds=5):
    """Return the mean test accuracy of a probe (C=1) trained on a few labels a class."""
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        rows = np.concatenate(
            [
                rng.choice(np.flatnonzero(labels == label), per_class, replace=False)
                for label in np.unique(labels)
            ]
        )
        found.append(probe().fit(train[rows], labels[rows]).score(test, test_labels))
    return float(np.mean(found))


def measure_module(features, test_features, source, labels, test_labels):
    """Return every score of one module on one task, its truth, and the probe run beside."""
    # The tuned probe below is the same measurement as linear_probe, at a fifth of its fits.
    names = [name for name in SCORES if name != "linear_probe"]
    if source is None:
        names = [name for name in names if SCORES[name].needs != "source_probabilities"]
    scores = mt.score(features, labels, names, source_probabilities=source)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    truth, tuned = tuned_accuracy(features, labels, test_features, test_labels)
    few = few_label_accuracy(features, labels, test_features, test_labels)
    fixed = float(cross_val_score(probe(), features, labels, cv=folds).mean())
    return {
        "scores": dict(scores) | {"probe, 3 folds, C=1": fixed, "probe, 15 fits": tuned},
        "seconds": scores.seconds,
        "truth": truth,
        "few": few,
        "n_features": int(features.shape[1]),
    }


def measure(quick, cache):
    """Return {task: {module: measurement}}, each kept in the cache folder once it is done."""
    folder = Path(cache) / ("agreement-quick" if quick else "agreement")
    folder.mkdir(parents=True, exist_ok=True)
    modules, found = candidates(quick), {}
    for task_name, (train, test) in tasks(quick).items():
        features = extract_all(modules, train, test, cache)
        found[task_name] = {}
        for name, (first, second, source) in features.items():
            path = folder / f"{task_name}__{name}.json"
            if not path.is_file():
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ModtoolsWarning)
                    result = measure_module(first, second, source, train.labels, test.labels)
                path.write_text(json.dumps(result))
                print(f"{task_name:20} {name:24} {100 * result['truth']:5.1f} %", flush=True)
            found[task_name][name] = json.loads(path.read_text())
    return found


def agreement(found, truth):
    """Return the agreement of every score with one kind of truth, feature width beside."""
    scores, achieved, widths = {}, {}, {}
    for task, by_module in found.items():
        achieved[task] = {name: result[truth] for name, result in by_module.items()}
        scores[task] = {}
        for name, result in by_module.items():
            for score, value in result["scores"].items():
                scores[task].setdefault(score, {})[name] = value
        widths[task] = {"feature width": {n: r["n_features"] for n, r in by_module.items()}}
    covered = {
        task: {score: v for score, v in by_score.items() if len(v) > 1}
        for task, by_score in scores.items()
    }
    return mt.score_agreement(covered, achieved, baselines=widths)


def run(quick=False, cache=None):
    """Return {figure name: value} for the default score and the probe beside it."""
    found = measure(quick, cache or Path.home() / ".cache" / "modtools-benchmarks")
    figures = {}
    for truth in ("truth", "few"):
        means = agreement(found, truth).means()
        rows = means.pivot(index="score", columns="measure", values="value")
        rows = rows.loc[means["score"].unique()]
        print(f"\nagreement with {truth}\n{rows.to_string(float_format='%.3f')}")
        for score in ("logistic", "knn", "ridge", "lda", "logme", "hscore", "probe, 15 fits"):
            figures[f"{truth}: weighted tau of {score}"] = float(rows.loc[score, "weighted_tau"])
            figures[f"{truth}: regret of {score}"] = float(rows.loc[score, "regret"])
    return figures


def main():
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one network, few rows")
    parser.add_argument("--json", help="also write the figures here")
    parser.add_argument("--cache", help="folder that keeps features and results")
    arguments = parser.parse_args()
    figures = run(arguments.quick, arguments.cache)
    for name, value in figures.items():
        print(f"{value:8.3f}  {name}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
