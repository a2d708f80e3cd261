"""``modtools agree``: how well scores rank what was achieved, beside rankers that never look."""

from modtools.cli import _agree_options as wanted, _options as options

__all__ = ["agree"]


def agree(
    *,
    table: wanted.TableFile,
    truth: wanted.TruthFile = None,
    static: wanted.StaticFile = None,
    accuracy: wanted.AccuracyColumn = "accuracy",
    unit: wanted.Unit = "fraction",
    scores: wanted.Scores = None,
    task_column: wanted.TaskColumn = "task",
    module_column: wanted.ModuleColumn = "module",
    against: wanted.Against = None,
    json: options.Json = None,
    csv: wanted.MeansCsv = None,
    plot: wanted.AgreementPlot = None,
    seed: options.Seed = 0,
    quiet: wanted.QuietAgree = False,
) -> None:
    """Measure how well scores rank modules by the accuracy that was really achieved.

    For example:

        modtools agree table.csv --unit percent
        modtools agree published.csv --accuracy finetuned --unit percent --static sizes.csv
        modtools agree scores.csv --truth achieved.csv --against logme,knn --plot agreement.png

    The table has one row a task and module: the columns task and module, the accuracy, and one
    column a score (higher is better; an empty cell leaves the module out). Columns budget and draw
    say with which labels a row was made. Intervals are 95 %, for other tasks and other modules.
    """
    asked = dict(locals())  # one object from here on: typer reads one argument an option
    from modtools.cli._agree_run import Wanted, compare, report

    wanted_all = Wanted(**asked)
    report(compare(wanted_all), wanted_all)
