"""``modtools agree``: how well scores rank achieved accuracies, and label-free baselines."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modtools.cli._options import Run, argument, option, takes_options, words_of
from modtools.cli._output import Outputs, emit, say, show_table
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    import pandas as pd

    from modtools.studies import Agreement

__all__ = ["agree"]


@dataclass(frozen=True, kw_only=True)
class _Tables:
    table: Path = argument(
        "CSV or Parquet file, one row per task and module.", default=..., metavar="TABLE"
    )
    achieved: Path | None = option(
        "Achieved accuracies, if not in the same table.", "--achieved", metavar="FILE"
    )
    baselines: Path | None = option(
        "Label-free baselines: a column module, and one column per baseline.",
        "--baselines",
        metavar="FILE",
    )
    accuracy: str = option(
        "Column of the achieved accuracies.", "--accuracy", default="accuracy", metavar="COLUMN"
    )
    unit: str = option(
        "Unit of the accuracies, fraction or percent; never guessed.",
        default="fraction",
        metavar="UNIT",
    )
    scores: str | None = option(
        "Columns that are scores (default: all others); none: label-free baselines only.",
        metavar="COLUMN,...",
    )
    task_column: str = option(
        "Column that names the task, in all files.", default="task", metavar="COLUMN"
    )
    module_column: str = option(
        "Column that names the module, in all files.", default="module", metavar="COLUMN"
    )
    against: str | None = option(
        "Scores or baselines to compare with (default: the best label-free baseline).",
        metavar="NAME,...",
    )


@takes_options(
    device=None,
    csv="Write the means over tasks with their intervals as CSV.",
    plot="Draw predicted against achieved as FILE.png and FILE.svg.",
    seed="The same seed gives the same intervals.",
    quiet="Print only the name of the best score.",
)
def agree(wanted: _Tables, run: Run, outputs: Outputs) -> None:
    """Measure how well scores rank modules by their achieved accuracy (rank correlation).

    Answers: which score predicts best, and does it beat baselines such as the number of
    parameters? For example:

        modtools agree table.csv --unit percent
        modtools agree published.csv --accuracy finetuned --unit percent --baselines sizes.csv
        modtools agree scores.csv --achieved achieved.csv --against logme,knn --plot agreement.png

    The table read has one row per task and module: the columns task and module, the accuracy, and
    one column per score (higher is better; an empty cell leaves the module out). Optional columns
    n_labels and repeat name the number of labels and the random subset of labels of a row.

    The table printed has the weighted tau (1 is the perfect order, 0 is chance) and other measures
    of each score, means over tasks; "Against" compares the best score with a baseline. Intervals
    are 95 %, over tasks and modules.
    """
    from modtools._escape import csv_text

    outputs.check()
    agreement = _compare(wanted, run.seed)
    emit(
        outputs,
        show=lambda: _show(agreement, words_of(wanted.against)),
        quiet=[agreement.best],
        json=agreement.to_json,
        csv=lambda: csv_text(agreement.means()),
        plot=lambda path: agreement.plot().save(path),
    )


def _compare(wanted: _Tables, seed: int) -> "Agreement":
    """Read the tables and measure the agreement."""
    from modtools._checks import check_choice
    from modtools.studies import score_agreement

    table = _read(wanted.table, wanted)
    if wanted.achieved is None:
        achieved = _accuracies(table, wanted.table, wanted.accuracy)
        table = table.drop(columns=wanted.accuracy)
    else:
        achieved = _accuracies(_read(wanted.achieved, wanted), wanted.achieved, wanted.accuracy)
    baselines: Any = None
    if wanted.baselines is not None:
        baselines = _read(wanted.baselines, wanted, serves_all=True)
    chosen = _chosen(table, wanted.scores)
    agreement = score_agreement(chosen, achieved, baselines=baselines, unit=wanted.unit, seed=seed)
    for name in words_of(wanted.against):
        check_choice(name, agreement.means()["score"].unique().tolist(), name="score")
    return agreement


def _read(path: Path, wanted: _Tables, *, serves_all: bool = False) -> "pd.DataFrame":
    """Return the table of a file, its columns of tasks and modules renamed to task and module.

    Baselines may be the same for all tasks: then they have no column of tasks.
    """
    from modtools.studies import read_table

    table = read_table(path)
    for name, column in (("task", wanted.task_column), ("module", wanted.module_column)):
        if name == "task" and serves_all and column not in table:
            continue
        _check_column(table, path, column, f"{name}s", f"--{name}-column")
        if column != name and name in table:
            raise ModtoolsError(f'{path} has both columns "{column}" and "{name}"; drop one.')
        table = table.rename(columns={column: name})
    return table


def _check_column(table: "pd.DataFrame", path: Path, column: str, what: str, option: str) -> None:
    if column not in table:
        raise ModtoolsError(
            f'{path} has no column "{column}"; it has {", ".join(map(str, table.columns))}. '
            f"Name the column of the {what} with {option}."
        )


def _accuracies(table: "pd.DataFrame", path: Path, column: str) -> "pd.DataFrame":
    _check_column(table, path, column, "achieved accuracies", "--accuracy")
    return table[[*_keys(table), column]].rename(columns={column: "accuracy"})


def _keys(table: "pd.DataFrame") -> list[str]:
    return [name for name in ("task", "module", "n_labels", "repeat") if name in table]


def _chosen(table: "pd.DataFrame", scores: str | None) -> Any:
    """Return the scores asked for: a table of their columns, or nothing."""
    from modtools._checks import check_choice

    keys = _keys(table)
    others = [str(name) for name in table.columns if name not in keys]
    if not others or scores == "none":
        return {}
    if {"score", "value"} <= set(others):  # one row per score
        known = [str(name) for name in table["score"].unique()]
        wanted = [check_choice(name, known, name="score") for name in words_of(scores)]
        return table[table["score"].isin(wanted)] if wanted else table
    names = [check_choice(name, others, name="score") for name in words_of(scores)]
    return table[[*keys, *names]] if names else table


def _show(agreement: "Agreement", against: Sequence[str]) -> None:
    say(agreement.title())
    show_table(*agreement.table(), bold=[0])
    say(f"Best     {agreement.best}, by its mean weighted tau")
    for line in agreement.verdicts(against):
        say(f"Against  {line}")
    for note in agreement.notes():
        say(f"Tasks    {note}")
