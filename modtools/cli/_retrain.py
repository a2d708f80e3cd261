"""``modtools retrain``: reuse a frozen module with few labels, and know what more would bring."""

from contextlib import nullcontext

from modtools._progress import quiet as no_progress
from modtools.cli import _options as options, _retrain_options as wanted

__all__ = ["retrain"]


def retrain(
    *,
    sources: wanted.Zoos = None,
    modules: options.Modules = None,
    taps: options.Taps = None,
    pick: wanted.Pick = None,
    task: wanted.ReusedTask = "digits",
    label_column: options.LabelColumn = None,
    classes: options.Classes = None,
    test_fraction: options.TestFraction = None,
    per_class: options.PerClass = None,
    n_labels: options.NLabels = None,
    strategy: wanted.Strategy = None,
    output: wanted.Output = "logistic",
    use_pool: wanted.UsePool = False,
    allow_nameless: wanted.AllowNameless = False,
    allow_overlap: options.AllowOverlap = False,
    target: options.Target = None,
    save: wanted.Save = None,
    predictions: wanted.Predictions = None,
    json: options.Json = None,
    csv: wanted.CurveCsv = None,
    plot: wanted.CurvePlot = None,
    show_list: wanted.ListStrategies = False,
    device: options.Device = None,
    batch_size: options.BatchSize = 64,
    cache: options.Cache = None,
    seed: options.Seed = 0,
    quiet: wanted.QuietRetrained = False,
) -> None:
    """Retrain the output module of a frozen module with few labels, and measure it.

    For example:

        modtools retrain zoo/ --pick supcon@features --task digits --per-class 5
        modtools retrain --module modtools.modules:pixels --task digits --labels 100 --plot curve
        modtools retrain zoo/ --labels 10 --strategy typical --output class_mean --pool
        modtools retrain --module my_code:resnet --tap layer4 --task data.npz --target 0.95
        modtools retrain zoo/ --task my-images/ --save model/ --predictions predicted.csv
        modtools retrain --list

    Nothing in the module changes: only the output module on its features learns. Accuracy is that
    of held-out rows. What more labels would bring is forecast from yours alone, or refused where
    they do not support a number.

    --labels and --per-class draw class by class, which reads the classes of all rows; --strategy
    (random, typical, ...) reads none before it asks. --pool lets class means find clusters in all
    rows, which few labels then name. --save writes what mt.ReusedModel.load reads.
    """
    asked = dict(locals())  # one object from here on: typer reads one argument an option
    from modtools.cli._retrain_report import report, show_strategies
    from modtools.cli._retrain_run import Wanted, retrain_wanted

    if asked.pop("show_list"):
        show_strategies(json)
        return
    with no_progress() if quiet else nullcontext():
        done = retrain_wanted(Wanted(**asked))
    report(done)
