"""``modtools train``: make modules with proxy objectives, or end-to-end beside them."""

from contextlib import nullcontext

from modtools._progress import quiet as no_progress
from modtools.cli import _options as options, _train_options as wanted

__all__ = ["train"]


def train(
    *,
    task: wanted.TrainingTask = "digits",
    network: wanted.Network = "compact_convnet",
    proxies: wanted.ProxyNames = None,
    schedule: wanted.Schedule = "sequential",
    n_modules: wanted.NModules = None,
    at: wanted.CutPoints = None,
    classes: options.Classes = None,
    budget: wanted.Budget = None,
    epochs: wanted.Epochs = None,
    batch_size: wanted.BatchSize = None,
    learning_rate: wanted.LearningRate = None,
    shift: wanted.Shift = 0,
    flip: wanted.Flip = False,
    precision: wanted.Precision = "float32",
    device: options.Device = None,
    checkpoint: wanted.Checkpoint = None,
    test_fraction: options.TestFraction = None,
    zoo: wanted.ZooFolder = None,
    name: wanted.Name = None,
    json: options.Json = None,
    csv: wanted.HistoryCsv = None,
    plot: wanted.TrainingPlot = None,
    show_list: wanted.ListProxies = False,
    seed: options.Seed = 0,
    quiet: wanted.QuietAccuracy = False,
) -> None:
    """Train a network module by module with proxy objectives, or end-to-end.

    For example:

        modtools train --zoo zoo/
        modtools train --task fashion-mnist --budget 10m --shift 2 --flip --zoo zoo/
        modtools train --task fashion-mnist --classes 0,2,4,6 --budget 60s --zoo zoo/
        modtools train --modules 4 --proxy supcon --schedule simultaneous
        modtools train --at block3 --at features --proxy local_classifier --proxy supcon
        modtools train --schedule end_to_end --budget 20s
        modtools train --task my-images/ --budget 1h --checkpoint run.pt
        modtools train --list

    Hidden modules learn from a proxy objective, many of which need to know only which rows are of
    one class; the output module learns last, from classes, on frozen features. No gradient passes
    from one module to another. --schedule end_to_end is the baseline with the same data, time and
    optimiser. The accuracy is that of held-out rows, which no step of the training saw.
    """
    asked = dict(locals())  # one object from here on: typer reads one argument an option
    from modtools.cli._train_report import how_to_resume, report, show_proxies
    from modtools.cli._train_run import Wanted, train_wanted

    if show_list:
        show_proxies(json)
        return
    try:
        with no_progress() if quiet else nullcontext():
            done = train_wanted(Wanted(**asked))
        report(done)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(str(stop) or how_to_resume(checkpoint)) from None
