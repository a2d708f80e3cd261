"""``modtools score``: rank modules on a labelled task."""

from contextlib import nullcontext
from typing import Any, Literal

from modtools._progress import quiet as no_progress
from modtools.cli import _options as options

__all__ = ["score"]


def score(
    *,
    sources: options.Sources = None,
    modules: options.Modules = None,
    taps: options.Taps = None,
    features: options.Features = None,
    task: options.TaskName = None,
    split: options.Split = None,
    label_column: options.LabelColumn = None,
    classes: options.Classes = None,
    n_labels: options.NLabels = None,
    per_class: options.PerClass = None,
    by: options.By = "logistic",
    scores: options.MoreScores = None,
    json: options.Json = None,
    csv: options.Csv = None,
    plot: options.Plot = None,
    show_list: options.ListScores = False,
    device: options.Device = None,
    batch_size: options.BatchSize = 64,
    n_jobs: options.NJobs = None,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
) -> None:
    """Rank pretrained modules by how well a retrained output module on them will do.

    For example:

        modtools score zoo/ --task digits
        modtools score zoo/ --task my-images/ --per-class 10 --plot ranking.png
        modtools score --module modtools.modules:efficientnet_lite --task digits
        modtools score --module my_code:resnet --tap layer3 --tap layer4 --task data.npz
        modtools score zoo/ --task digits --classes 5,6,7,8,9 --per-class 5
        modtools score --features a.npz b.npz --by ridge --scores knn,logme --json -
        modtools score --list

    Each network runs once over the task, whatever the number of its taps. Values are estimates from
    the labels you give; the interval says how far off they may be.
    """
    from modtools.cli._show import report, show_registry
    from modtools.cli._sources import Given, gather
    from modtools.selection import rank_modules

    if show_list:
        show_registry(json)
        return
    few: dict[str, Any] = {"per_class": per_class, "n_labels": n_labels, "seed": seed}
    with no_progress() if quiet else nullcontext():
        given = Given(sources or [], modules or [], taps or [], features or [])
        part: dict[str, Any] = {"split": split, "label": label_column, "classes": classes}
        shelf, labelled = gather(given, task=task, **part, **few)
        how: dict[str, Any] = {"by": by, "scores": _names(scores), "seed": seed, "n_jobs": n_jobs}
        ranking = rank_modules(shelf, labelled, device=device, batch_size=batch_size, **how)
    report(ranking, quiet=quiet, json=json, csv=csv, plot=plot)


def _names(scores: str | None) -> list[str] | Literal["all"] | None:
    if scores == "all":
        return "all"
    return None if scores is None else [name.strip() for name in scores.split(",")]
