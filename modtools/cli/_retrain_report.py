"""How a retrained output module looks at a terminal and in files."""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modtools._escape import csv_text
from modtools._intervals import MeasuredAccuracy, wilson
from modtools._writing import json_text, write_file
from modtools.cli._forecast import forecast_rows, reached_row
from modtools.cli._outputs import Writing, write_outputs
from modtools.cli._show import echo_outcome, echo_registry

if TYPE_CHECKING:
    import pandas as pd

    from modtools.cli._retrain_run import Retrained

__all__ = ["report", "show_strategies"]

STRATEGY_TEXTS: Final = {
    "random": "rows drawn at random; what any other must beat",
    "k_center": "the row farthest from those chosen; finds outliers too",
    "herding": "keeps the mean of the chosen rows near the mean of all",
    "typical": "one typical row of each of N clusters (TypiClust); best with few labels",
    "cover": "balls around the chosen rows cover most rows (ProbCover); best with few labels",
    "variance": "the row of which the ridge machine knows least",
}


def show_strategies(json: str | None) -> None:
    """Print every strategy and what it does."""
    rows = [[name, text] for name, text in STRATEGY_TEXTS.items()]
    echo_registry("strategies", ["strategy", "which rows are labelled"], rows, json=json)


def report(done: "Retrained") -> None:
    """Print what came of it, save the model, and write the files asked for."""
    writing = Writing()
    echo_outcome(
        writing,
        accuracy=done.accuracy,
        json=done.wanted.json,
        quiet=done.wanted.quiet,
        content=lambda: _content(done),
        lines=lambda: _lines(done),
        save=done.save,
        write=lambda: _write(done, writing),
        advice=lambda: _next(done),
    )
    writing.end()


def _lines(done: "Retrained") -> list[tuple[str, str]]:
    model = done.model
    lines = [
        (
            "Task",
            f"{done.pool.name}: {len(done.labelled)} of {len(done.pool)} rows labelled, "
            f"{_how_chosen(done)}; {len(done.test)} held out, {len(model.classes)} classes",
        ),
        (
            "Module",
            f"{model.module.names[0]}: {done.features.shape[1]} features, frozen; output module "
            f"{done.wanted.output}",
        ),
        ("Accuracy", _accuracy_text(done)),
    ]
    if len(model.nameless):
        lines.append(("Named", _named_text(done)))
    if done.wanted.use_pool:
        lines.append(("Pool", _pool_text(done)))
    lines.append(("Labels", _forecast_text(done)))
    return [*lines, ("Time", f"{model.seconds:.1f} s")]


def _forecast_text(done: "Retrained") -> str:
    return done.forecast.verdict(_target(done), measured=_measured(done))


def _target(done: "Retrained") -> float | None:
    from modtools.retraining import next_target

    return next_target(done.accuracy) if done.wanted.target is None else done.wanted.target


def _measured(done: "Retrained") -> MeasuredAccuracy:
    """Return the accuracy on the rows held out, with its interval."""
    return MeasuredAccuracy.of(done.accuracy, len(done.test))


def _how_chosen(done: "Retrained") -> str:
    if done.wanted.strategy is not None:
        return f"chosen by {done.wanted.strategy}, which saw no label"
    if len(done.labelled) == len(done.pool):
        return "all there are"
    return "drawn class by class"


def _accuracy_text(done: "Retrained") -> str:
    low, high = (100 * limit for limit in wilson(done.accuracy, len(done.test)))
    return (
        f"{100 * done.accuracy:.1f} %, 95 % interval [{low:.1f}, {high:.1f}], on "
        f"{len(done.test)} rows held out"
    )


def _named_text(done: "Retrained") -> str:
    model = done.model
    names = ", ".join(map(str, model.nameless.tolist()))
    text = (
        f"{len(model.named)} of {len(model.classes)} classes; without a label: {names}. Of the "
        f"rows of named classes {100 * done.accuracy_of_named:.1f} % are right"
    )
    if not done.wanted.use_pool:
        return text
    n_nameless = int(model.output.is_nameless(done.test_features).sum())
    return f"{text}; {n_nameless} rows held out lie in clusters without a name"


def _pool_text(done: "Retrained") -> str:
    output = done.model.output
    if not output.uses_pool_:
        return (
            f"its clusters do not follow the classes (evidence {output.evidence_:.2f}); class "
            "means are used"
        )
    return f"its clusters follow the classes (evidence {output.evidence_:.2f}) and took their names"


def _next(done: "Retrained") -> str:
    wanted = done.wanted
    if wanted.save is not None:
        return f'model = mt.ReusedModel.load("{wanted.save}"); model.predict(inputs)'
    return "add --save model/ to keep it, --plot curve.png to see what each label was worth"


def _content(done: "Retrained") -> dict[str, Any]:
    model, wanted = done.model, done.wanted
    curve = done.curve
    return {
        "task": done.pool.name,
        "module": model.module.names[0],
        "n_features": done.features.shape[1],
        "output": wanted.output,
        "strategy": wanted.strategy,
        "n_labels": len(done.labelled),
        "n_pool": len(done.pool),
        "n_test": len(done.test),
        "accuracy": done.accuracy,
        "interval": list(wilson(done.accuracy, len(done.test))),
        "classes": model.classes.tolist(),
        "nameless": model.nameless.tolist(),
        "accuracy_of_named": done.accuracy_of_named,
        "labelled_rows": done.labelled.rows.tolist(),
        "forecast": done.forecast.figures(_target(done), measured=_measured(done)),
        "curve": None if curve is None else curve.frame(),
        "seconds": model.seconds,
        "seed": wanted.seed,
        "saved": None if done.saved is None else str(done.saved),
    }


def _write(done: "Retrained", writing: Writing) -> None:
    """Write the files asked for; where all labels are of one class there is no curve to write."""
    wanted = done.wanted
    curve = done.curve if wanted.csv or wanted.plot else None
    if curve is None:
        wanted = replace(wanted, csv=None, plot=None)
    write_outputs(
        writing,
        wanted,
        json=lambda: json_text(_content(done)),
        more=lambda: _write_predictions(done),
        csv=lambda: "" if curve is None else csv_text(curve.frame()),
        plot=lambda path: _draw(done, path),
    )


def _write_predictions(done: "Retrained") -> list[Path]:
    path = done.wanted.predictions
    return [] if path is None else [write_file(path, _predictions(done))]


def _predictions(done: "Retrained") -> str:
    """Return a table of the held-out rows, with the probability of the prediction where known."""
    import pandas as pd

    columns = {"row": done.test.rows, "label": done.test.labels, "predicted": done.predicted}
    table = pd.DataFrame({**columns, "right": done.is_right})
    output = done.model.output
    if hasattr(output, "predict_proba"):
        table["probability"] = output.predict_proba(done.test_features).max(axis=1)
    return csv_text(table)


def _draw(done: "Retrained", path: Path) -> list[Path]:
    """Draw the ridge curve of these labels, its forecast and target, and what was achieved."""
    import pandas as pd
    from matplotlib.figure import Figure

    from modtools.plotting import LabelEfficiencyDisplay

    if done.curve is None:
        return []
    target, name = _target(done), done.model.module.names[0]
    line = f"{name}, ridge"
    table = done.curve.frame().assign(line=line)
    table = table[table["n_labels"] >= len(done.model.named)]
    display = LabelEfficiencyDisplay(
        table if done.wanted.output == "ridge" else pd.concat([table, _achieved_row(done)]),
        target=target,
        reached=_reached(done, line, target),
        forecast=forecast_rows(done.forecast, line, target),
        chance=float(done.test.encoded.counts().max() / len(done.test)),
        title=f"{name} on {done.pool.name}: what each label is worth",
    )
    ax = Figure(figsize=(8.2, 4.6), layout="constrained").subplots()
    return display.plot(ax).save(path)


def _reached(done: "Retrained", line: str, target: float | None) -> "pd.DataFrame | None":
    """Return where the ridge curve reaches the target, as measured, else where it is to be."""
    import pandas as pd

    if done.curve is None or target is None:
        return None
    measured = done.curve.labels_to_reach(target)
    if math.isfinite(measured.n_labels):
        return pd.DataFrame([{"line": line, **measured._asdict()}])
    last = done.curve.frame().iloc[-1]
    known = MeasuredAccuracy(last["accuracy"], last["accuracy_low"], last["accuracy_high"])
    return reached_row(done.forecast, line, target, known)


def _achieved_row(done: "Retrained") -> "pd.DataFrame":
    """Return what the output module achieved, beside the curve of another one."""
    import pandas as pd

    low, high = wilson(done.accuracy, len(done.test))
    row = {
        "line": f"{done.model.module.names[0]}, {done.wanted.output}",
        "n_labels": len(done.labelled),
        "accuracy": done.accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
    }
    return pd.DataFrame([row])
