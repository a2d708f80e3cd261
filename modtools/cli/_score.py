"""``modtools score``: rank modules on a labelled task, or race them against each other."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from modtools.cli._inputs import Candidates, FewLabels, TaskOptions, gather
from modtools.cli._options import Forward, option, takes_options, words_of
from modtools.cli._output import Outputs, echo_registry, emit, say, show_table
from modtools.cli._registries import declared_scores
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    from modtools.selection import Race, Ranking

__all__ = ["pick_text", "score"]

_PANEL: Final = "Options of a race"


@dataclass(frozen=True, kw_only=True)
class _Scores:
    by: str | None = option("Score that orders the modules (default: the predicted accuracy).")
    scores: str | None = option("More scores to compute.", metavar="NAME,NAME|all")
    show_list: bool = option("Show all scores and stop.", "--list", default=False)


@dataclass(frozen=True, kw_only=True)
class _Race:
    is_race: bool = option(
        "Do not run every module on every example: drop a module once a test finds it worse.",
        "--race",
        default=False,
        rich_help_panel=_PANEL,
    )
    error: float | None = option(
        "Accepted probability that the best module is dropped (default: 0.05).",
        metavar="X",
        rich_help_panel=_PANEL,
    )
    tolerance: float | None = option(
        "Points of accuracy (%) that you would give up for fewer forward passes (default: 0).",
        metavar="POINTS",
        rich_help_panel=_PANEL,
    )
    look_every: int | None = option(
        "Examples between two tests, and per forward pass (default: 100).",
        metavar="N",
        rich_help_panel=_PANEL,
    )
    passes: float | None = option(
        "Run only this fraction of the forward passes, such as 0.15 (successive halving, no "
        "guarantee).",
        metavar="X",
        rich_help_panel=_PANEL,
    )


@takes_options(
    plot="Draw the ranking as FILE.png and FILE.svg.",
    batch_size="Examples per forward pass of a ranking; a race reads by --look-every.",
    seed="The same seed gives the same table.",
)
def score(
    *,
    given: Candidates,
    task: TaskOptions,
    labels: FewLabels,
    wanted: _Scores,
    race: _Race,
    forward: Forward,
    outputs: Outputs,
) -> None:
    """Rank pretrained modules by the predicted accuracy of a retrained output module.

    Answers: which module, and which layer, should I reuse for this task? For example:

        modtools score zoo/ --task digits
        modtools score zoo/ --task my-images/ --per-class 10 --plot ranking.png
        modtools score --module modtools.modules:efficientnet_lite --task digits
        modtools score --module my_code:resnet --layer layer3 --layer layer4 --task data.npz
        modtools score zoo/ --task digits --classes 5,6,7,8,9 --per-class 5
        modtools score --features a.npz b.npz --by ridge --scores knn,logme --json -
        modtools score zoo/ --task fashion-mnist --race --tolerance 1
        modtools score --list

    The table lists the modules, best first, with the predicted accuracy and its 95 % interval.
    Values are estimates from the labels you give; "Pick" names the best module, the probability
    that it is the best, and the modules not distinguishable from it with these labels. Each
    network runs once over the task, however many of its layers are read.

    With many labels --race needs a fraction of these forward passes (successive elimination):
    examples stream through all modules, and a module is dropped once a test finds it worse.
    """
    if wanted.show_list:
        _show_scores(outputs.json)
        return
    ranked = {"by": wanted.by, "scores": _names(wanted.scores), "n_jobs": forward.n_jobs}
    raced = {
        **{"error": race.error, "tolerance": race.tolerance, "passes": race.passes},
        "look_every": race.look_every,
    }
    size = {} if forward.batch_size == Forward.batch_size else {"batch_size": forward.batch_size}
    _check_mode(race.is_race, {**_given(ranked), **size}, _given(raced))
    outputs.check(cache=forward.cache)
    with outputs.silence():
        candidates, labelled = gather(given, task, labels, seed=forward.seed)
        run = {**forward.options(), "seed": forward.seed}
        if race.is_race:
            run.pop("batch_size")  # a race reads by look_every
            _report(_run_race(candidates, labelled, **_given(raced), **run), outputs, _show_race)
        else:
            from modtools.selection import rank_modules

            _report(
                rank_modules(candidates, labelled, **_given(ranked), **run), outputs, _show_ranking
            )


def _show_scores(json: str | None) -> None:
    """Print every score with what it needs, what it applies to, its range and its source."""
    header = ["score", "needs", "labels", "range", "reference"]
    echo_registry("scores", header, declared_scores(), json=json)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def _check_mode(is_race: bool, ranked: dict[str, Any], raced: dict[str, Any]) -> None:
    """Raise for an option of a race without --race, or an option of a ranking with it."""
    strange = list(ranked if is_race else raced)
    if strange:
        why = "belongs to a ranking, not to a race" if is_race else "needs --race"
        raise ModtoolsError(f"--{strange[0].replace('_', '-')} {why}.")


def _run_race(candidates: Any, labelled: Any, **options: Any) -> "Race":
    from modtools.selection import race_modules

    if {"passes", "error"} <= set(options):
        raise ModtoolsError("--error is the level of a test, and --passes makes none; give one.")
    mode: Literal["certified", "halving"] = "halving" if "passes" in options else "certified"
    return race_modules(candidates, labelled, mode=mode, **options)


def _names(scores: str | None) -> list[str] | Literal["all"] | None:
    return "all" if scores == "all" else words_of(scores) or None


def _report(result: "Ranking | Race", outputs: Outputs, show: Any) -> None:
    from modtools._escape import csv_text

    emit(
        outputs,
        show=lambda: show(result),
        quiet=[result.best],
        json=result.to_json,
        csv=lambda: csv_text(result.frame()),
        plot=lambda path: result.plot().save(path),
    )


def _show_ranking(ranking: "Ranking") -> None:
    """Print the table of a ranking, its pick and notes about it."""
    differs = ranking.display().frame()["distinguishable"].to_numpy()
    alike = (~differs).nonzero()[0].tolist()
    say(ranking.title())
    show_table(*ranking.table(), bold=alike)
    say(pick_text(ranking))
    for note in ranking.notes():
        say(note)


def pick_text(ranking: "Ranking") -> str:
    """Return one line: the best module, its probability, and those not distinguishable from it."""
    return f"Pick     {ranking.verdict()}"


def _show_race(race: "Race") -> None:
    """Print the table of a race, its pick and notes about it."""
    say(race.title())
    show_table(*race.table(), bold=range(len(race.remaining)))
    say(f"Pick     {race.best}")
    for note in race.notes():
        say(note)
