"""``modtools select``: which modules to reuse together, side by side."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from modtools.cli._inputs import Candidates, FewLabels, TaskOptions, gather
from modtools.cli._options import Forward, option, takes_options
from modtools.cli._output import Outputs, emit, say, show_table
from modtools.exceptions import ModtoolsError

if TYPE_CHECKING:
    from modtools.selection import Selection

__all__ = ["select"]


@dataclass(frozen=True, kw_only=True)
class _Choice:
    k: int | None = option("How many modules (default: 2).", "--k", "-k", metavar="N")
    any_number: bool = option(
        "Instead of --k: add modules while they lower the held-out loss.",
        "--any-number",
        default=False,
    )
    max_cost: float | None = option("Largest total cost of the modules.", "--max-cost", metavar="X")
    cost: str = option(
        "Cost of a module: parameters, milliseconds per example, or numbers by module.",
        default="parameters",
        metavar="NAME|A=X,B=Y",
    )
    combine: str = option(
        "greedy: one by one, the best first; all: every module.", default="greedy", metavar="NAME"
    )


@takes_options(
    n_jobs=None,
    csv="Write each step, with accuracy and cost by then, as CSV.",
    plot="Draw accuracy against cost as FILE.png and FILE.svg.",
    seed="The same seed gives the same modules.",
    quiet="Print only the names of the chosen modules, one per line.",
)
def select(
    given: Candidates,
    task: TaskOptions,
    labels: FewLabels,
    choice: _Choice,
    forward: Forward,
    outputs: Outputs,
) -> None:
    """Choose several modules whose concatenated features work best together.

    Answers: do two modules together beat the best single one, and is it worth their cost? For
    example:

        modtools select zoo/ --task digits --per-class 20
        modtools select zoo/ --task my-images/ -k 3 --max-cost 5e6 --plot cost.png
        modtools select zoo/ --task digits --any-number --cost milliseconds
        modtools select --features a.npz b.npz c.npz --cost a=3,b=5,c=1 --max-cost 6

    Modules are added greedily: each step adds the one that lowers the cross-validated loss most.
    The table shows the accuracy and the total cost after each step, "Pick" names the chosen
    modules. Layers of one network cost together as much as the most expensive one, because they
    share a forward pass.
    """
    from modtools._escape import csv_text
    from modtools.selection import select_modules

    outputs.check(cache=forward.cache)
    k, cost = _number(choice), _cost(choice.cost)
    with outputs.silence():
        modules, labelled = gather(given, task, labels, seed=forward.seed, verb="select")
        found = select_modules(
            modules,
            labelled,
            k=k,
            max_cost=choice.max_cost,
            cost=cost,
            combine=cast("Literal['greedy', 'all']", choice.combine),
            seed=forward.seed,
            **forward.options(),
        )
    emit(
        outputs,
        show=lambda: _show(found),
        quiet=found.modules,
        json=found.to_json,
        csv=lambda: csv_text(found.frame()),
        plot=lambda path: found.plot().save(path),
    )


def _number(choice: _Choice) -> int | None:
    """Return how many modules are wanted, None for as many as lower the loss."""
    if choice.k is not None and (choice.any_number or choice.combine == "all"):
        other = "--any-number" if choice.any_number else "--combine all"
        raise ModtoolsError(f"give --k or {other}, not both.")
    return None if choice.any_number else 2 if choice.k is None else choice.k


def _cost(text: str) -> Any:
    """Return the cost of a module: a name, or numbers by module."""
    if "=" not in text:
        return text
    try:
        pairs = [part.rpartition("=") for part in text.split(",")]
        return {name.strip(): float(number) for name, _, number in pairs}
    except ValueError:
        raise ModtoolsError(
            f'--cost must be a name, or numbers such as a=3,b=5; got "{text}".'
        ) from None


def _show(found: "Selection") -> None:
    """Print the steps, the chosen modules and notes about them."""
    say(found.title())
    show_table(*found.table())
    say(f"Pick     {' + '.join(found.modules)}")
    for note in found.notes():
        say(note)
