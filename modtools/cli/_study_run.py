"""From the options of ``modtools study`` to a label-efficiency study."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modtools._checks import check_fraction
from modtools.cli._outputs import check_outputs
from modtools.cli._sources import Given, gather_parts
from modtools.exceptions import ModtoolsError
from modtools.studies._cells import check_study_folder

if TYPE_CHECKING:
    from modtools.studies import LabelEfficiency
    from modtools.tasks import Task

__all__ = ["Studied", "Wanted", "study_wanted"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The options of the command, as given; None or empty where left to us."""

    sources: Sequence[Path] | None
    modules: Sequence[str] | None
    taps: Sequence[str] | None
    features: Sequence[Path] | None
    task: str | None
    label_column: str | None
    classes: str | None
    test_fraction: float | None
    budgets: str | None
    repeats: int
    outputs: str
    strategies: str
    scratch: str | None
    target: float | None
    resume: Path | None
    allow_overlap: bool
    json: str | None
    csv: Path | None
    plot: Path | None
    device: str | None
    batch_size: int
    cache: Path | None
    n_jobs: int | None
    seed: int
    quiet: bool


@dataclass(frozen=True)
class Studied:
    """What came of it: the study, and the rows that it was made on."""

    wanted: Wanted
    study: "LabelEfficiency"
    train: "Task"
    test: "Task"


def study_wanted(wanted: Wanted) -> Studied:
    """Look at all that can be wrong, then run the study, or what is left of it."""
    from modtools.studies import label_efficiency

    budgets = _check(wanted)
    given = Given(
        wanted.sources or [], wanted.modules or [], wanted.taps or [], wanted.features or []
    )
    modules, train, test = gather_parts(
        given,
        task=wanted.task,
        label=wanted.label_column,
        classes=wanted.classes,
        test_fraction=wanted.test_fraction,
    )
    try:
        study = label_efficiency(
            modules,
            train,
            test,
            budgets=budgets,
            repeats=wanted.repeats,
            outputs=_names(wanted.outputs),
            strategies=_names(wanted.strategies),
            network=_network(wanted, train),
            folder=wanted.resume,
            allow_overlap=wanted.allow_overlap,
            n_jobs=1 if wanted.n_jobs is None else wanted.n_jobs,
            seed=wanted.seed,
            batch_size=wanted.batch_size,
            device=wanted.device,
            cache=wanted.cache,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_how_to_go_on(wanted)) from None
    return Studied(wanted, study, train, test)


def _check(wanted: Wanted) -> list[int] | None:
    """Raise for options that cannot be, and return the budgets."""
    if wanted.target is not None:
        check_fraction(wanted.target, name="--target")
    check_outputs(wanted, cache=wanted.cache)
    if wanted.resume is not None:
        check_study_folder(wanted.resume)
    if wanted.budgets is None:
        return None
    try:
        return [int(word) for word in wanted.budgets.split(",")]
    except ValueError:
        raise ModtoolsError(
            f'--budgets must be whole numbers such as 10,20,50; got "{wanted.budgets}".'
        ) from None


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _network(wanted: Wanted, train: "Task") -> Callable[[], Any] | None:
    """Return what makes the network of the baseline, where one is asked for."""
    if wanted.scratch is None:
        return None
    if wanted.features or any(path.suffix == ".npz" for path in wanted.sources or []):
        raise ModtoolsError(
            "--from-scratch needs the inputs themselves; cached features are what a network made "
            "of them. Give modules and --task."
        )
    from modtools.cli._train_run import network_maker

    return network_maker(wanted.scratch, train)


def _how_to_go_on(wanted: Wanted) -> str:
    if wanted.resume is None:
        return "study stopped; nothing is kept. With --resume FOLDER a stopped study goes on."
    return f"study stopped; what is finished is in {wanted.resume}. The same command goes on."
