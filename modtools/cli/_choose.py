"""``modtools choose``: which examples to label next."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from modtools.cli._inputs import OneModule, TaskOptions, load_module, read_features
from modtools.cli._options import Forward, option, takes_options
from modtools.cli._output import Outputs, echo_registry, emit, say, say_lines
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["STRATEGY_TEXTS", "choose", "show_strategies"]

STRATEGY_TEXTS: Final = {
    "random": "examples drawn at random; the baseline",
    "k_center": "the example farthest from those chosen; finds outliers too",
    "herding": "keeps the mean of the chosen examples near the mean of all",
    "typical": "one typical example of each of N clusters (TypiClust); best with few labels",
    "cover": "balls around the chosen examples cover most (ProbCover); best with few labels",
    "variance": "the example with the largest predictive variance of kernel ridge",
}
_N_PRINTED: Final = 50


@dataclass(frozen=True, kw_only=True)
class _Choice:
    n: int = option("How many examples to choose.", "--labels", default=10, metavar="N")
    strategy: str = option(
        "How they are chosen; --list shows all.", default="typical", metavar="NAME"
    )
    show_list: bool = option("Show all strategies and stop.", "--list", default=False)


@takes_options(
    n_jobs=None,
    plot=None,
    pick="Module whose features are read, such as supcon@features, if there are several.",
    features="A file of cached features instead of a module; labels are not needed.",
    csv="Write order and row number of each chosen example as CSV.",
    seed="The same seed gives the same examples.",
    quiet="Print only the row numbers, one per line.",
)
def choose(
    given: OneModule, task: TaskOptions, choice: _Choice, forward: Forward, outputs: Outputs
) -> None:
    """Choose which examples to label next, without any label (active learning, cold start).

    Answers: I can label N examples; which ones are worth it? For example:

        modtools choose zoo/ --pick supcon@features --task my-images/ --labels 20
        modtools choose --module modtools.modules:pixels --task digits --strategy cover
        modtools choose --features a.npz --labels 50 --csv rows.csv
        modtools choose --list

    The result is a list of row numbers, counted from 0 in the order of the task or of the file,
    the most useful example first: if you label fewer, label the first ones. modtools retrain
    --strategy chooses in the same way, and retrains at once.
    """
    if choice.show_list:
        show_strategies(outputs.json)
        return
    from modtools._checks import check_choice
    from modtools._escape import csv_text
    from modtools._writing import json_document, json_text
    from modtools.retraining import STRATEGIES, choose_labels

    hint = "modtools choose --list shows all of them."
    check_choice(choice.strategy, list(STRATEGIES), name="strategy", hint=hint)
    outputs.check(cache=forward.cache)
    started = time.perf_counter()
    with outputs.silence():
        name, features = _features(given, task, forward)
        rows = choose_labels(features, choice.n, strategy=choice.strategy, seed=forward.seed)
    settings = {
        "module": name,
        "task": task.task,
        "strategy": choice.strategy,
        "n_labels": len(rows),
        "n_samples": len(features),
        "seed": forward.seed,
    }
    seconds = time.perf_counter() - started
    document = json_document("chosen_labels", _table(rows), settings=settings, seconds=seconds)
    emit(
        outputs,
        show=lambda: _show(settings, rows),
        quiet=[str(row) for row in rows],
        json=lambda: json_text(document),
        csv=lambda: csv_text(_table(rows)),
    )


def show_strategies(json: str | None) -> None:
    """Print every strategy with a one-line description."""
    rows = [[name, text] for name, text in STRATEGY_TEXTS.items()]
    echo_registry("strategies", ["strategy", "which examples are labelled"], rows, json=json)


def _features(given: OneModule, task: TaskOptions, forward: Forward) -> tuple[str, "NDArray[Any]"]:
    """Return the name of the module and its features of all examples."""
    import numpy as np

    from modtools.modules import check_forward, extract

    check_forward(runs=not given.files, **forward.options())
    if given.files:
        if len(given.files) > 1 or given.zoos or given.modules or task.task is not None:
            raise ModtoolsError("give one file of cached features alone, or a module and --task.")
        if any(part is not None for part in (task.split, task.label, task.classes)):
            raise ModtoolsError(
                "--split, --label-column and --classes are about a --task; here the whole file is "
                "used."
            )
        return given.files[0].stem, read_features(given.files[0])
    module = load_module(given)
    if task.task is None:
        raise ModtoolsError("a module needs examples: add --task digits, or --task with a path.")
    return module.names[0], np.asarray(extract(module, task.load(), **forward.options()))


def _show(settings: dict[str, Any], rows: "NDArray[np.intp]") -> None:
    shown = ", ".join(map(str, rows[:_N_PRINTED]))
    more = f", and {len(rows) - _N_PRINTED} more: add --csv FILE" * (len(rows) > _N_PRINTED)
    say(
        f"{len(rows)} of {settings['n_samples']} examples to label, chosen by "
        f"{settings['strategy']} from the features of {settings['module']}, which saw no label"
    )
    say_lines([("Rows", shown + more)], indent=9)


def _table(rows: "NDArray[np.intp]") -> Any:
    import pandas as pd

    return pd.DataFrame({"order": range(1, len(rows) + 1), "row": rows})
