"""``modtools study``: how many labels each module needs (label efficiency)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modtools.cli._inputs import Candidates, HeldOut, TaskOptions, gather_parts
from modtools.cli._options import Forward, option, takes_options, words_of
from modtools.cli._output import Outputs, emit, say, say_lines, show_table
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    import pandas as pd

    from modtools.studies import LabelEfficiency
    from modtools.tasks import Task

__all__ = ["study"]

_KEYS: Final = ["module", "output", "strategy"]
_N_SHOWN: Final = 5  # label counts in the table; --csv has all
_MOST_LINES: Final = 20
_NICE: Final = [1, 2, 5]


@dataclass(frozen=True, kw_only=True)
class _Study(HeldOut):
    n_labels: str | None = option(
        "Label counts (default: about thirty, evenly spaced on a log axis, up to 2000).",
        metavar="N,N,...",
    )
    repeats: int = option(
        "Random subsets of labels per count, the same for every module.", default=10, metavar="N"
    )
    outputs: str = option(
        "Output modules: ridge, logistic or class_mean.", default="ridge", metavar="NAME,..."
    )
    strategies: str = option(
        "How examples to label are chosen, such as random,typical; all: modtools retrain --list.",
        default="random",
        metavar="NAME,...",
    )
    network: str | None = option(
        "Also train this network end-to-end on the same labels, as the baseline: "
        "compact_convnet, resnet18 or multilayer_perceptron.",
        "--from-scratch",
        metavar="NETWORK",
    )
    folder: Path | None = option(
        "Save finished parts there; the same command resumes from them after a stop.",
        "--resume",
        metavar="FOLDER",
    )

    def counts(self) -> list[int] | None:
        """Return the label counts asked for."""
        if self.n_labels is None:
            return None
        try:
            return [int(word) for word in self.n_labels.split(",")]
        except ValueError:
            raise ModtoolsError(
                f'--n-labels must be whole numbers such as 10,20,50; got "{self.n_labels}".'
            ) from None


@takes_options(
    split=None,
    target="Accuracy to reach, such as 0.9: how many labels each module needs (default: the last "
    "round one that half of the curves reach).",
    allow_overlap="Accept test examples that equal examples to label, as free text may.",
    n_jobs="Parts of the study in parallel; -1: all cores.",
    csv="Write accuracy at every label count, with intervals, as CSV.",
    plot="Draw accuracy against labels as FILE.png and FILE.svg.",
    seed="The same seed gives the same study.",
    quiet="Print only the name of the module with the largest area under the curve.",
)
def study(
    given: Candidates,
    task: TaskOptions,
    wanted: _Study,
    forward: Forward,
    outputs: Outputs,
) -> None:
    """Measure accuracy against the number of labels, for several modules (label efficiency).

    Answers: how many labels does each module need for 90 %, and how many does the best one save?
    For example:

        modtools study zoo/ --task digits
        modtools study zoo/ --task my-images/ --target 0.95 --plot curve.png
        modtools study --features a.npz b.npz --repeats 20 --resume study/
        modtools study zoo/ --task digits --n-labels 10,20,50,100 --outputs ridge,class_mean
        modtools study zoo/ --task digits --strategies random,typical --csv curve.csv
        modtools study zoo/ --task digits --from-scratch compact_convnet --json -

    The table shows accuracy by label count, the number of labels to reach the target with its 95 %
    interval, and the area under the curve. All modules are compared on the same random subsets of
    labels and the same test examples; intervals are over both. With --resume a stopped run, even a
    killed one, resumes and repeats nothing.
    """
    with outputs.silence():
        _check(wanted, outputs, forward)
        modules, train, test = gather_parts(given, task, wanted.test_fraction)
        done = _run(modules, train, test, wanted, forward, _network(wanted, given, train))
    _report(done, train, test, wanted.target, outputs)


def _check(wanted: _Study, outputs: Outputs, forward: Forward) -> None:
    """Raise for options that are not valid."""
    from modtools._checks import check_fraction
    from modtools.studies import check_study_folder

    if wanted.target is not None:
        check_fraction(wanted.target, name="--target")
    outputs.check(cache=forward.cache)
    if wanted.folder is not None:
        check_study_folder(wanted.folder)
    wanted.counts()


def _run(
    modules: Any,
    train: "Task",
    test: "Task",
    wanted: _Study,
    forward: Forward,
    network: Callable[[], Any] | None,
) -> "LabelEfficiency":
    """Run the study, or the rest of it."""
    from modtools.studies import label_efficiency

    try:
        return label_efficiency(
            modules,
            train,
            test,
            n_labels=wanted.counts(),
            repeats=wanted.repeats,
            outputs=words_of(wanted.outputs),
            strategies=words_of(wanted.strategies),
            network=network,
            folder=wanted.folder,
            allow_overlap=wanted.allow_overlap,
            n_jobs=1 if forward.n_jobs is None else forward.n_jobs,
            seed=forward.seed,
            **forward.options(),
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_how_to_resume(wanted.folder)) from None


def _network(wanted: _Study, given: Candidates, train: "Task") -> Callable[[], Any] | None:
    """Return what makes the network of the baseline, where one is asked for."""
    if wanted.network is None:
        return None
    if given.files:
        raise ModtoolsError(
            "--from-scratch needs the inputs themselves; cached features are what a network made "
            "of them. Give modules and --task."
        )
    from modtools.training.networks import network_maker

    return network_maker(train, network=wanted.network)


def _how_to_resume(folder: Path | None) -> str:
    if folder is None:
        return "study stopped; nothing is kept. With --resume FOLDER a stopped study resumes."
    return f"study stopped; what is finished is in {folder}. The same command resumes."


def _report(
    done: "LabelEfficiency", train: "Task", test: "Task", target: float | None, outputs: Outputs
) -> None:
    from modtools._escape import csv_text
    from modtools._writing import json_text

    target = done.round_target() if target is None else target
    reached = None if target is None else done.labels_to_reach(target)
    emit(
        outputs,
        show=lambda: _show(done, train, test, target, reached),
        quiet=[done.best],
        json=lambda: json_text(_document(done, train, test, target, reached)),
        csv=lambda: csv_text(done.frame()),
        plot=lambda path: done.plot(target=target).save(path),
        indent=10,
    )


def _show(
    done: "LabelEfficiency",
    train: "Task",
    test: "Task",
    target: float | None,
    reached: "pd.DataFrame | None",
) -> None:
    """Print the task, the table, the best module and the labels it saves."""
    counts = done.settings["n_labels"]
    say(
        f"Study     {train.name}: {counts[0]} to {counts[-1]} of {len(train)} labels, "
        f"{done.settings['repeats']} repeats, {len(test)} test examples, "
        f"{len(test.classes)} classes, {done.seconds:.1f} s"
    )
    shown = _shown_counts(counts)
    header = ["    module", *(f"{count} labels" for count in shown)]
    if target is not None:
        header += [f"labels for {100 * target:.4g} %", "95 % interval"]
    standings, accuracies = done.standings(), done.frame()
    rows = []
    for place, line in enumerate(standings.to_dict("records")[:_MOST_LINES]):
        curve = _of(accuracies, line).set_index("n_labels")["value"]
        rows.append(
            [
                f"{place + 1:>2}  {line['line']}",
                *(f"{100 * curve[count]:.1f} %" for count in shown),
                *([] if reached is None else _reach_cells(_of(reached, line).iloc[0], counts[0])),
                f"{100 * line['area']:.1f} %",
            ]
        )
    show_table([*header, "area"], rows, bold=[0])
    if len(standings) > _MOST_LINES:
        say(f"{len(standings) - _MOST_LINES} more lines: add --csv FILE.")
    saved = done.savings_text()
    say_lines([("Best", done.verdict()), *([("Saves", saved)] if saved else [])])


def _of(table: "pd.DataFrame", line: dict[Any, Any]) -> "pd.DataFrame":
    """Return the rows of one line."""
    return table[(table[_KEYS] == [line[key] for key in _KEYS]).all(axis=1)]


def _reach_cells(row: "pd.Series[Any]", first: int) -> list[str]:
    """Return the number of labels at which a line reaches the target, and its interval if known."""
    from modtools._results import interval_text

    sign = {"more_than": "> ", "below_first": "≤ "}.get(row["status"], "")
    count = f"{sign}{row['n_labels']:.0f}"
    # Above all label counts, or below them, in every resample: then there is no interval.
    low, high = row["n_labels_low"], row["n_labels_high"]
    if math.isinf(low) or (row["status"] == "below_first" and high <= first):
        return [count, ""]
    interval = interval_text(low, high, "{:.0f}")
    return [count, interval if low else interval.replace("[0", f"[< {first}")]


def _shown_counts(counts: Sequence[int]) -> list[int]:
    """Return a few label counts: both ends, and real ones near 1, 2, 5, 10, ... between them.

    >>> _shown_counts([10, 12, 20, 31, 52, 95, 200, 480, 1000])
    [10, 20, 95, 480, 1000]
    """
    import numpy as np

    known = np.asarray(counts)
    if len(known) <= _N_SHOWN:
        return [int(count) for count in known]
    wanted = np.geomspace(known[0], known[-1], _N_SHOWN)
    nice = np.outer(10.0 ** np.arange(7), _NICE).ravel()
    rounded = nice[np.abs(np.log(nice)[:, None] - np.log(wanted)).argmin(axis=0)]
    near = known[np.abs(np.log(known)[:, None] - np.log(rounded)).argmin(axis=0)]
    return sorted({int(known[0]), *(int(count) for count in near[1:-1]), int(known[-1])})


def _document(
    done: "LabelEfficiency",
    train: "Task",
    test: "Task",
    target: float | None,
    reached: "pd.DataFrame | None",
) -> dict[str, Any]:
    """Return the JSON document; null is what lies beyond the label counts."""
    table = done.frame()
    several = len(done.settings["n_labels"]) > 1
    if reached is not None:
        reached = reached.replace([math.inf, -math.inf], math.nan)
    return done.document(
        task=train.name,
        n_pool=len(train),
        n_test=len(test),
        best=done.best,
        target=target,
        labels_to_reach=reached,
        area=done.area() if several else table[_KEYS].assign(area=table["value"]),
    )
