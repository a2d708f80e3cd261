"""How a training run looks at a terminal and in files."""

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modtools._escape import csv_text
from modtools._intervals import wilson
from modtools._writing import json_text
from modtools.cli._outputs import Writing, write_outputs
from modtools.cli._say import say
from modtools.cli._show import echo_outcome, echo_registry

if TYPE_CHECKING:
    from modtools.cli._train_run import Trained

__all__ = ["FULL_INFORMATION", "LABELS_NEEDED", "how_to_resume", "report", "show_proxies"]

FULL_INFORMATION: Final = "All pairs plus one label a class is full label information."
LABELS_NEEDED: Final = {
    "none": "hidden modules: none; output module: the class of each row.",
    "pairs": "hidden modules: only which rows are of one class (pairs); output module: classes. "
    + FULL_INFORMATION,
    "classes": "the class of each row.",
}


def show_proxies(json: str | None) -> None:
    """Print every proxy with what it must know of the rows, and what it is in one line."""
    from modtools.proxies import PROXIES

    header = ["proxy", "labels", "what it is"]
    rows = [
        [name, proxy.required_labels, (inspect.getdoc(proxy) or "").split("\n")[0]]
        for name, proxy in PROXIES.items()
    ]
    echo_registry("proxies", header, rows, json=json)


def report(done: "Trained") -> None:
    """Print what came of it, save the network, and write the files asked for.

    The checkpoint goes last: only when all the rest is safe.
    """
    from modtools.training._checkpoint import remove_checkpoint

    writing, checkpoint = Writing(), done.wanted.checkpoint
    echo_outcome(
        writing,
        accuracy=done.accuracy,
        json=done.wanted.json,
        quiet=done.wanted.quiet,
        content=lambda: _content(done),
        lines=lambda: _lines(done),
        save=lambda: _save(done),
        write=lambda: _write(done, writing),
        advice=lambda: _next(done),
    )
    writing.end(_how_to_go_on(done))
    if checkpoint is not None:
        remove_checkpoint(checkpoint)


def _save(done: "Trained") -> list[Path]:
    """Save the network where asked, and say so in a line of its own."""
    done.save()
    if done.saved is not None and done.wanted.json != "-" and not done.wanted.quiet:
        say(f"{'Saved':<10}{done.saved}")
    return []


def how_to_resume(checkpoint: Path | None) -> str:
    """Say where a training goes on that was stopped behind its last step, if it does."""
    if checkpoint is None or not checkpoint.exists():
        return ""
    return f"training stopped; the same command goes on from the checkpoint {checkpoint}."


def _how_to_go_on(done: "Trained") -> str:
    """Say what to do where not all could be written."""
    checkpoint = done.wanted.checkpoint
    if checkpoint is None or not checkpoint.exists():
        return ""
    if done.saved is not None:
        return (
            f"{done.saved} is saved. The checkpoint {checkpoint} is kept: the same command without "
            "--zoo goes on from it."
        )
    return (
        f"The checkpoint {checkpoint} is kept: the same command goes on from it, to the same place "
        "or another."
    )


def _lines(done: "Trained") -> list[tuple[str, str]]:
    result = done.result
    low, high = (100 * limit for limit in wilson(done.accuracy, len(done.test)))
    return [
        (
            "Task",
            f"{done.train.name}: {len(done.train)} rows to train on, {len(done.test)} held out, "
            f"{len(done.train.classes)} classes",
        ),
        ("Trained", _what(done)),
        (
            "Accuracy",
            f"{100 * done.accuracy:.1f} %, 95 % interval [{low:.1f}, {high:.1f}], on "
            f"{len(done.test)} rows held out",
        ),
        ("Time", f"{result.seconds:.1f} s"),
        ("Memory", f"{result.peak_activation_bytes / 1e6:.1f} MB of activations at their peak"),
        ("Labels", LABELS_NEEDED[result.labels_needed]),
    ]


def _what(done: "Trained") -> str:
    """Say in one line which modules were trained, with what, and in which order."""
    wanted = done.wanted
    n_parameters = sum(p.numel() for p in done.result.network.parameters())
    network = f"{wanted.network} ({n_parameters:,} parameters)"
    if wanted.schedule == "end_to_end":
        return f"{network} end-to-end, with cross-entropy"
    taps = [module.taps[0] for module in done.result.modules]
    proxies = list(wanted.proxies or ["supcon"])
    proxies = proxies * len(taps) if len(proxies) == 1 else proxies
    parts = [f"to {tap} by {proxy}" for tap, proxy in zip(taps, proxies, strict=True)]
    order = {
        "sequential": "strictly modular, one module after the other",
        "simultaneous": "weakly modular, hidden modules at the same time",
    }
    return f"{network}, {order[wanted.schedule]}: {', '.join(parts)}, then the output module"


def _next(done: "Trained") -> str:
    if done.saved is None:
        return "add --zoo zoo/ to save the modules; modtools score then ranks them on a new task"
    return f"modtools score {done.wanted.zoo} --task {done.wanted.task} --per-class 20"


def _content(done: "Trained") -> dict[str, Any]:
    result = done.result
    return {
        "task": done.train.name,
        "n_train": len(done.train),
        "n_test": len(done.test),
        "accuracy": done.accuracy,
        "interval": list(wilson(done.accuracy, len(done.test))),
        "seconds": result.seconds,
        "peak_activation_bytes": result.peak_activation_bytes,
        "labels_needed": result.labels_needed,
        "saved": None if done.saved is None else str(done.saved),
        "settings": result.settings,
        "history": result.history,
    }


def _write(done: "Trained", writing: Writing) -> None:
    write_outputs(
        writing,
        done.wanted,
        json=lambda: json_text(_content(done)),
        csv=lambda: csv_text(done.result.history),
        plot=lambda path: _draw(done, path),
    )


def _draw(done: "Trained", path: Path) -> list[Path]:
    from matplotlib.figure import Figure

    panels = Figure(figsize=(7.0, 3.6), layout="constrained").subplots()
    return done.result.display().plot(panels).save(path)
