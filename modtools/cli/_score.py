"""``modtools score``: rank modules on a labelled task, or race them."""

from contextlib import nullcontext

from modtools._progress import quiet as no_progress
from modtools.cli import _options as options, _race_options as race_options

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
    by: options.By = None,
    scores: options.MoreScores = None,
    json: options.Json = None,
    csv: options.Csv = None,
    plot: options.Plot = None,
    show_list: options.ListScores = False,
    device: options.Device = None,
    batch_size: options.BatchSize = 64,
    n_jobs: options.NJobs = None,
    cache: options.Cache = None,
    is_race: race_options.IsRace = False,
    error: race_options.Error = None,
    tolerance: race_options.Tolerance = None,
    passes: race_options.Passes = None,
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
        modtools score zoo/ --task fashion-mnist --race --tolerance 1
        modtools score --list

    Each network runs once over the task, whatever the number of its taps. Values are estimates from
    the labels you give; the interval says how far off they may be.

    With many labels --race spends a part of these passes: rows stream through all modules, and a
    module is dropped once a test decides against it.
    """
    asked = dict(locals())  # one object from here on: typer reads one argument an option
    from modtools.cli._score_run import Wanted, report_score

    with no_progress() if quiet else nullcontext():
        report_score(Wanted(**asked))
