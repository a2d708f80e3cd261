"""``modtools study``: how many labels each module needs."""

from contextlib import nullcontext

from modtools._progress import quiet as no_progress
from modtools.cli import _options as options, _study_options as wanted

__all__ = ["study"]


def study(
    *,
    sources: options.Sources = None,
    modules: options.Modules = None,
    taps: options.Taps = None,
    features: options.Features = None,
    task: options.TaskName = None,
    label_column: options.LabelColumn = None,
    classes: options.Classes = None,
    test_fraction: options.TestFraction = None,
    budgets: wanted.Budgets = None,
    repeats: wanted.Repeats = 10,
    outputs: wanted.Outputs = "ridge",
    strategies: wanted.Strategies = "random",
    scratch: wanted.Scratch = None,
    target: options.Target = None,
    resume: wanted.Resume = None,
    allow_overlap: options.AllowOverlap = False,
    json: options.Json = None,
    csv: options.Csv = None,
    plot: wanted.StudyPlot = None,
    device: options.Device = None,
    batch_size: options.BatchSize = 64,
    cache: options.Cache = None,
    n_jobs: options.NJobs = None,
    seed: options.Seed = 0,
    quiet: wanted.QuietStudy = False,
) -> None:
    """Measure accuracy against labels: how many labels each module needs, and which saves some.

    For example:

        modtools study zoo/ --task digits
        modtools study zoo/ --task my-images/ --target 0.95 --plot curve.png
        modtools study --features a.npz b.npz --repeats 20 --resume study/
        modtools study zoo/ --task digits --budgets 10,20,50,100 --outputs ridge,class_mean
        modtools study zoo/ --task digits --strategies random,typical --csv curve.csv
        modtools study zoo/ --task digits --from-scratch compact_convnet --json -

    Every draw labels rows in one order, the same for every module, and tests on the same rows, so
    that differences are those of the modules. Intervals are 95 %, over draws and test rows.
    With --resume a run that was stopped, however roughly, goes on without doing anything twice.
    """
    asked = dict(locals())  # one object from here on: typer reads one argument an option
    from modtools.cli._study_report import report
    from modtools.cli._study_run import Wanted, study_wanted

    with no_progress() if quiet else nullcontext():
        done = study_wanted(Wanted(**asked))
    report(done)
