"""From the options of ``modtools agree`` to a table, a verdict and files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from modtools._checks import check_choice
from modtools._escape import csv_text
from modtools.cli._outputs import Writing, check_outputs, write_outputs
from modtools.cli._say import say
from modtools.cli._show import echo_table, end_writing
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    import pandas as pd

    from modtools.studies import Agreement

__all__ = ["Wanted", "compare", "report"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The options of the command, as given; None where left to us."""

    table: Path
    truth: Path | None
    static: Path | None
    accuracy: str
    unit: str
    scores: str | None
    task_column: str
    module_column: str
    against: str | None
    json: str | None
    csv: Path | None
    plot: Path | None
    seed: int
    quiet: bool


def compare(wanted: Wanted) -> "Agreement":
    """Read the tables and measure the agreement."""
    from modtools.studies import score_agreement

    check_outputs(wanted)
    table = _read(wanted.table, wanted)
    if wanted.truth is None:
        truth = _accuracies(table, wanted.table, wanted.accuracy)
        table = table.drop(columns=wanted.accuracy)
    else:
        truth = _accuracies(_read(wanted.truth, wanted), wanted.truth, wanted.accuracy)
    static: Any = None
    if wanted.static is not None:
        static = _read(wanted.static, wanted, is_static=True)
    chosen = _chosen(table, wanted.scores)
    agreement = score_agreement(chosen, truth, static=static, unit=wanted.unit, seed=wanted.seed)
    for name in _names(wanted.against):
        check_choice(name, agreement.means()["score"].unique().tolist(), name="score")
    return agreement


def _read(path: Path, wanted: Wanted, *, is_static: bool = False) -> "pd.DataFrame":
    """Return the table of a file, its columns of tasks and modules named as we name them.

    Static rankers may serve all tasks: then they have no column of tasks.
    """
    from modtools.studies._inputs import read_table

    table = read_table(path)
    for name, column in (("task", wanted.task_column), ("module", wanted.module_column)):
        if name == "task" and is_static and column not in table:
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
    return [name for name in ("task", "module", "budget", "draw") if name in table]


def _chosen(table: "pd.DataFrame", scores: str | None) -> Any:
    """Return the scores asked for: a table of their columns, or nothing."""
    keys = _keys(table)
    others = [str(name) for name in table.columns if name not in keys]
    if not others or scores == "none":
        return {}
    if {"score", "value"} <= set(others):  # one row a score
        known = [str(name) for name in table["score"].unique()]
        wanted = [check_choice(name, known, name="score") for name in _names(scores)]
        return table[table["score"].isin(wanted)] if wanted else table
    names = [check_choice(name, others, name="score") for name in _names(scores)]
    return table[[*keys, *names]] if names else table


def _names(text: str | None) -> list[str]:
    return [] if text is None else list(dict.fromkeys(name.strip() for name in text.split(",")))


def report(agreement: "Agreement", wanted: Wanted) -> None:
    """Print the table and what it says, or the best name alone where quiet, and write the files.

    With ``--json -`` the JSON is all that is printed.
    """
    is_shown = wanted.json != "-" and not wanted.quiet
    if wanted.json == "-":
        typer.echo(agreement.to_json(), nl=False)
    elif wanted.quiet:
        say(agreement.best)
    else:
        _show(agreement, _names(wanted.against))
    writing = Writing()
    write_outputs(
        writing,
        wanted,
        json=agreement.to_json,
        csv=lambda: csv_text(agreement.means()),
        plot=lambda path: agreement.plot().save(path),
    )
    end_writing(writing, is_shown=is_shown)


def _show(agreement: "Agreement", against: Sequence[str]) -> None:
    header, rows = agreement.table()
    say(agreement.title())
    hidden = echo_table(header, rows, bold=[0])
    if hidden:
        say(f"Too narrow for {', '.join(hidden)}: widen the window, or add --csv FILE.")
    say(f"Best     {agreement.best}, by its mean weighted tau")
    means = agreement.means()
    static = means.loc[means["static"], "score"].unique().tolist()
    for name in against or static[:1]:
        for line in _verdicts(agreement, name):
            say(f"Against  {line}")
    for row in agreement.concordance().to_dict("records"):
        say(f"Truth    {_concordance(row)}")


def _verdicts(agreement: "Agreement", name: str) -> list[str]:
    """Say of each budget whether the best score ranks better than another, in pairs."""
    lines = []
    for row in agreement.differences(name).to_dict("records"):
        if row["score"] != agreement.best:
            continue
        mean, low, high = (row[f"weighted_tau{end}"] for end in ("", "_low", "_high"))
        verdict = "ranks better" if low > 0 else "ranks worse"
        verdict = "cannot be told apart" if low <= 0 <= high else verdict
        at = f" with budget {row['budget']}" if "budget" in row else ""
        lines.append(f"{name}{at}: {verdict}, weighted tau {mean:+.2f} [{low:+.2f}, {high:+.2f}]")
    return lines


def _concordance(row: dict[Any, Any]) -> str:
    at = f" with budget {row['budget']}" if "budget" in row else ""
    return (
        f"{row['n_tasks']} tasks order {row['n_modules']} modules with Kendall's W "
        f"{row['concordance']:.2f} [{row['low']:.2f}, {row['high']:.2f}]{at}; at 1 one fixed order "
        "serves all tasks"
    )
