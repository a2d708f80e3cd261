"""Record what the package returns now, once: ``python -m tests.recorded.record``.

The files that this writes are compared with from then on and are never written again.
"""

import json

import numpy as np
import torch

import modtools as mt
from modtools.training.networks import MultilayerPerceptron
from tests.recorded.cases import CASES, FOLDER


def make_inputs() -> dict[str, np.ndarray]:
    """Draw the feature sets, the candidates and the table of accuracies."""
    rng = np.random.default_rng(20)
    arrays: dict[str, np.ndarray] = {}
    shapes = {"float32": (90, 12), "float64": (90, 12), "wide": (24, 40), "dependent": (60, 16),
              "grouped": (80, 10), "sharded": (95, 9)}  # fmt: skip
    for name, (n_samples, n_features) in shapes.items():
        labels = rng.integers(0, 3, n_samples)
        features = rng.normal(size=(n_samples, n_features))
        features += rng.normal(size=(3, n_features))[labels]
        if name == "dependent":
            features[:, 8:12] = features[:, :4]
            features[:, 12:] = np.maximum(features[:, 12:], 0)
            features[:, 15] = 0
        if name == "grouped":
            arrays["grouped_groups"] = np.arange(n_samples) // 4
            labels = labels[arrays["grouped_groups"]]
        arrays[f"{name}_features"] = features.astype("float32" if name == "float32" else "float64")
        arrays[f"{name}_labels"] = labels
        arrays[f"{name}_source"] = rng.dirichlet(np.ones(5), n_samples)
    labels = rng.integers(0, 4, 400)
    arrays["candidate_labels"] = labels
    for number, name in enumerate(("a", "b", "c", "d", "e")):
        features = rng.normal(size=(400, 8 + number))
        features += 0.45 * number * rng.normal(size=(4, 8 + number))[labels]
        arrays[f"candidate_{name}"] = features.astype("float32")
    accuracy = rng.uniform(0.4, 0.95, 18)
    arrays["agreement_accuracy"] = accuracy
    arrays["agreement_good"] = accuracy + rng.normal(0, 0.05, 18)
    arrays["agreement_poor"] = rng.normal(size=18)
    return arrays


def main() -> None:
    """Write inputs, results, a zoo and a saved model."""
    if (FOLDER / "results").exists():
        raise SystemExit("the recording exists; it is never written again")
    np.savez_compressed(FOLDER / "inputs.npz", **make_inputs())
    write_old_files()
    (FOLDER / "results").mkdir()
    for name, run in CASES.items():
        text = json.dumps(run(), indent=0, allow_nan=False)
        (FOLDER / "results" / f"{name}.json").write_text(text + "\n")


def write_old_files() -> None:
    """Write a zoo of a trained network, read at two layers, and a saved model of a layer of it."""
    torch.manual_seed(0)
    few = mt.load_task("digits").few_labels(per_class=5, seed=0)
    result = mt.train_modular(
        MultilayerPerceptron([64, 32, 16, 10]),
        few,
        proxy="nmse",
        at=["block1", "features"],
        epochs=3,
    )
    zoo = mt.Zoo(FOLDER / "zoo")
    result.save(zoo, name="perceptron")
    mt.retrain(zoo["perceptron@features"], few, output="logistic").save(FOLDER / "model")


if __name__ == "__main__":
    main()
