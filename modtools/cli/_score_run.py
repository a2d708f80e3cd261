"""From the options of ``modtools score`` to a ranking or a race."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from modtools.cli._outputs import check_outputs
from modtools.cli._say import say
from modtools.cli._show import echo_table, report, show_ranking, show_registry
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    from modtools.selection import Race

__all__ = ["Wanted", "report_score"]

_OF_RANKING = ("by", "scores", "n_jobs")
_SHARED = ("device", "batch_size", "cache", "seed")
_OF_RACE = ("error", "tolerance", "passes")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The options of the command, as given; None or empty where left to us."""

    sources: Sequence[Path] | None
    modules: Sequence[str] | None
    taps: Sequence[str] | None
    features: Sequence[Path] | None
    task: str | None
    split: str | None
    label_column: str | None
    classes: str | None
    n_labels: int | None
    per_class: int | None
    by: str | None
    scores: str | None
    json: str | None
    csv: Path | None
    plot: Path | None
    show_list: bool
    device: str | None
    batch_size: int
    n_jobs: int | None
    cache: Path | None
    is_race: bool
    error: float | None
    tolerance: float | None
    passes: float | None
    seed: int
    quiet: bool

    def given(self, names: Sequence[str]) -> dict[str, Any]:
        """Return those of some options that were given."""
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def report_score(wanted: Wanted) -> None:
    """Rank or race the modules, print what came of it and write the files asked for."""
    from modtools.cli._sources import Given, gather

    if wanted.show_list:
        show_registry(wanted.json)
        return
    _check_mode(wanted)
    check_outputs(wanted, cache=wanted.cache)
    given = Given(
        wanted.sources or [], wanted.modules or [], wanted.taps or [], wanted.features or []
    )
    shelf, labelled = gather(
        given,
        task=wanted.task,
        split=wanted.split,
        label=wanted.label_column,
        classes=wanted.classes,
        per_class=wanted.per_class,
        n_labels=wanted.n_labels,
        seed=wanted.seed,
    )
    shared = {name: getattr(wanted, name) for name in _SHARED}
    if wanted.is_race:
        race = _race(shelf, labelled, wanted, shared)
        report(race, wanted, quiet=wanted.quiet, show=_show_race)
    else:
        ranking = _rank(shelf, labelled, wanted, shared)
        report(ranking, wanted, quiet=wanted.quiet, show=show_ranking)


def _check_mode(wanted: Wanted) -> None:
    """Raise where an option of a race comes without one, or one of a ranking with a race."""
    strange = list(wanted.given(_OF_RANKING if wanted.is_race else _OF_RACE))
    if strange:
        name = strange[0].replace("_", "-")
        why = "belongs to a ranking, not to a race" if wanted.is_race else "needs --race"
        raise ModtoolsError(f"--{name} {why}.")


def _rank(shelf: Any, labelled: Any, wanted: Wanted, shared: dict[str, Any]) -> Any:
    from modtools.selection import rank_modules

    how = wanted.given(("by", "n_jobs"))
    if wanted.scores is not None:
        how["scores"] = _names(wanted.scores)
    return rank_modules(shelf, labelled, **how, **shared)


def _race(shelf: Any, labelled: Any, wanted: Wanted, shared: dict[str, Any]) -> "Race":
    from modtools.selection import race_modules

    mode: Any = "certified" if wanted.passes is None else "halving"
    if wanted.passes is not None and wanted.error is not None:
        raise ModtoolsError("--error is the level of a test, and --passes makes none; give one.")
    return race_modules(shelf, labelled, mode=mode, **wanted.given(_OF_RACE), **shared)


def _names(scores: str) -> list[str] | Literal["all"]:
    return "all" if scores == "all" else [name.strip() for name in scores.split(",")]


def _show_race(race: "Race") -> None:
    """Print the table of a race, what it picks, and what should be known about it."""
    header, rows = race.table()
    say(race.title())
    hidden = echo_table(header, rows, bold=range(len(race.remaining)))
    if hidden:
        say(f"Too narrow for {', '.join(hidden)}: widen the window, or add --csv FILE.")
    say(f"Pick     {race.best}")
    for note in race.notes():
        say(note)
