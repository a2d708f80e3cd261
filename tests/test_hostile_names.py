"""Names of modules, tasks and classes that are formulas, markup or orders to a terminal."""

import html
import io
import json
import re
import unicodedata

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from torch import nn
from typer.testing import CliRunner

import modtools as mt
from modtools._escape import (
    code_span,
    csv_text,
    markdown_text,
    picture_text,
    terminal_text,
    without_apostrophes,
)
from modtools._progress import meter, track
from modtools.cli import app
from modtools.exceptions import ModtoolsError, warn
from modtools.modules import pixels
from modtools.plotting import (
    AgreementDisplay,
    LabelEfficiencyDisplay,
    ParetoDisplay,
    RaceDisplay,
    RankingDisplay,
    TaskSpaceDisplay,
    TrainingDisplay,
)

HOSTILE = [
    r"$\frac{a$",
    r"$\notacommand$ and $x",
    r"a\$b$c$",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "a\nPick     evil",
    "tab\tand\rreturn",
    "=HYPERLINK(1)",
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "[bold red]x[/]",
    "[/]",
    "<script>alert(1)</script>",
    "\u202egnp.exe\u2066",
    "\x9b31m c1 \x85",
    "_hidden",
    "{braces} %s \\",
    "a | b `c` *d* [e](http://f) ---",
]
NAMES = [*HOSTILE, "plain"]
ORDERS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def shelf(n_rows=24):
    rng = np.random.default_rng(0)
    labels = np.arange(n_rows) % 2
    return {name: rng.normal(size=(n_rows, 3)) + labels[:, None] for name in NAMES}, labels


def drawn(display):
    """Return all texts of a figure after it is drawn, as matplotlib shows them."""
    from matplotlib import cbook
    from matplotlib.text import Text

    display.figure_.savefig(io.BytesIO(), format="svg")
    texts = [text.get_text() for text in display.figure_.findobj(Text)]
    assert not [text for text in texts if cbook.is_math_text(text)]
    return [text.replace(r"\$", "$") for text in texts]


def displays():
    n = len(NAMES)
    places = np.arange(n)
    accuracy = 0.5 + 0.4 * places / n
    modules = pd.DataFrame({"module": NAMES, "value": accuracy[::-1], "standard_error": 0.1})
    hostile = HOSTILE[0]
    yield RankingDisplay(results=modules, score=hostile, accuracy=True, title=hostile)
    race = modules.assign(status="in", examples=9)
    yield RaceDisplay(results=race, n_labels=10, title=hostile)
    pareto = pd.DataFrame({"modules": NAMES, "n_modules": 1, "value": accuracy})
    pareto = pareto.assign(value_low=0.1, value_high=0.95, on_front=True, chosen=False)
    pareto["cost"] = 1.0 + places
    yield ParetoDisplay(results=pareto, cost=hostile, title=hostile)
    lines = pd.DataFrame({"line": NAMES * 2, "n_labels": [10] * n + [20] * n})
    lines["value"] = np.tile(accuracy, 2)
    interval = {"n_labels_low": 12.0, "n_labels_high": 18.0}
    reached = pd.DataFrame({"line": NAMES, "n_labels": 15.0, **interval})
    ceiling = dict.fromkeys(NAMES, 0.9)
    options = {"reached": reached, "ceiling": ceiling, "target": 0.7, "title": hostile}
    yield LabelEfficiencyDisplay(lines, **options)
    runs = pd.DataFrame({"method": NAMES, "seconds": 1.0 + places, "accuracy": accuracy})
    yield TrainingDisplay(runs=runs, memory=dict.fromkeys(NAMES, 10**6), title=hostile)
    points = pd.DataFrame({"task": NAMES, "module": NAMES[::-1], "predicted": accuracy})
    points["achieved"] = accuracy[::-1]
    agreement = pd.DataFrame(
        {"score": NAMES, "task": "t", "weighted_tau": 0.5, "is_baseline": False}
    )
    yield AgreementDisplay(points=points, agreement=agreement, score=hostile, accuracy=True)
    matrix = pd.DataFrame(np.eye(n) + accuracy, index=NAMES, columns=NAMES)
    tree = np.array([[n + i - 1 if i else 0, i + 1, i + 1.0, i + 2] for i in range(n - 1)])
    source = dict(zip(NAMES, NAMES, strict=True))
    yield TaskSpaceDisplay(
        matrix=matrix, linkage=tree, score=hostile, source=source, achieved=matrix / 4
    )


@pytest.mark.filterwarnings("ignore:Glyph")  # the font lacks a letter; nothing is obeyed
@pytest.mark.filterwarnings("ignore:constrained_layout not applied")  # so many long names
@pytest.mark.parametrize("display", list(displays()), ids=lambda one: type(one).__name__)
def test_pictures_show_names_letter_by_letter(display):
    texts = " ".join(drawn(display.plot()))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", texts)
    for name in [*NAMES[:3], "plain"]:
        assert name in texts or isinstance(display, AgreementDisplay)
    assert "_hidden" in texts


def test_a_ranking_of_hostile_names_prints_draws_and_travels():
    features, labels = shelf()
    ranking = mt.rank_modules(features, mt.Task(np.zeros((24, 1)), labels, name=HOSTILE[3]))
    shown, page = repr(ranking), ranking._repr_html_()
    assert not ORDERS.search(shown)
    assert "Pick     evil" not in [line.strip() for line in shown.splitlines()]
    assert not ORDERS.search(page)
    assert "<script" not in page
    assert {row["module"] for row in json.loads(ranking.to_json())["rows"]} == set(NAMES)
    assert set(ranking.frame()["module"]) == set(NAMES)


def test_other_results_print_no_orders():
    features, labels = shelf()
    few = {name: features[name] for name in HOSTILE[3:6]}
    task = mt.Task(np.zeros((24, 1)), labels, name=HOSTILE[3])
    race = mt.race_modules(few, labels, look_every=8)
    chosen = mt.select_modules(few, labels)
    pairs = {name: (rows, rows + 1e-3) for name, rows in few.items()}
    study = mt.label_efficiency(pairs, labels, labels, n_labels=[4], repeats=1, allow_overlap=True)
    space = mt.task_space(
        {name: {HOSTILE[3]: rows, HOSTILE[12]: rows[::-1]} for name, rows in few.items()},
        {HOSTILE[3]: labels, HOSTILE[12]: labels},
        by="lda",
    )
    for result in (race, chosen, study, space):
        assert not ORDERS.search(repr(result))
        assert not ORDERS.search(result._repr_html_())
        assert "<script" not in result._repr_html_()
    assert not ORDERS.search(repr(task))
    model = mt.retrain(pixels(), task_of_classes())
    assert not ORDERS.search(repr(model))


def task_of_classes():
    inputs = np.arange(12, dtype=np.uint8).reshape(6, 2, 1)
    return mt.Task(inputs, [HOSTILE[3], HOSTILE[12], HOSTILE[13]] * 2, name=HOSTILE[4])


def test_errors_and_warnings_show_control_characters():
    features, labels = shelf()
    evil = HOSTILE[3]
    with pytest.raises(ModtoolsError) as caught:
        mt.rank_modules({evil: features[evil][:5]}, labels)
    assert not ORDERS.search(str(caught.value))
    assert r"\x1b[31mred" in str(caught.value)
    with pytest.warns(mt.exceptions.ModtoolsWarning) as warned:
        warn("MT001", f"features of {evil} are zero.")
    assert not ORDERS.search(str(warned[0].message))
    with pytest.raises(KeyError, match="holds no module"):
        mt.Zoo("nowhere").card(evil)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_bar_shows_names_as_text(name, monkeypatch):
    made = []

    def console(**_options):
        made.append(Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None))
        return made[-1]

    monkeypatch.setattr("rich.console.Console", console)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.delenv("MODTOOLS_PROGRESS", raising=False)
    list(track(range(3), name))
    with meter(name) as show:
        show(0.5, name)
    for one in made:
        said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", one.file.getvalue())  # rich moves the cursor
        assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]", said)
        assert terminal_text(name) in said


def test_cells_of_csv_are_no_formulas_and_come_back():
    table = pd.DataFrame({"module": NAMES, "=x": [-1.5] * len(NAMES), "n": 3, "text": "-2"})
    text = csv_text(table)
    read = pd.read_csv(io.StringIO(text, newline=""), keep_default_na=False)
    assert not [
        cell for cell in [*read["module"], *read.columns] if cell.startswith(tuple("=+-@\t\r"))
    ]
    assert read["'=x"].tolist() == [-1.5] * len(NAMES)
    assert read["text"].tolist() == [-2] * len(NAMES)
    back = without_apostrophes(read)
    assert back["module"].tolist() == NAMES
    quoted = pd.DataFrame({"module": ["'=a", "'b'", "''@c"]})
    read = pd.read_csv(io.StringIO(csv_text(quoted)))
    assert without_apostrophes(read)["module"].tolist() == quoted["module"].tolist()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_card_shows_what_was_told_as_text(name, tmp_path):
    module = mt.PretrainedModule(nn.ReLU(), name="relu", build=("torch.nn:ReLU", {}))
    told = {"source_task": name, "proxy": name, "description": name + "\n---\ntags: evil"}
    folder = mt.Zoo(tmp_path).save(module, **told, training={"note": name, name: name})
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert not ORDERS.search(text)
    assert text.count("\n---\n") == 1  # the end of the front matter
    assert "<script" not in text
    body = text.split("\n---\n", 1)[1]
    lines = body.splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)
    assert not re.search(r"(?<!\\)\[", body.split("Load it with")[0])
    shown = re.sub(r"\\([^\w\s])", r"\1", html.unescape(body))
    assert markdown_text(name) in body
    assert terminal_text(" ".join(name.split())) in re.sub(r"\\\\", r"\\", shown) or "\\" in name
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert card["source_task"] == name


def test_code_in_markdown_cannot_be_left():
    assert code_span("a`b|c\n") == "``a`b\\|c``"
    assert code_span("`x`") == "`` `x` ``"


def test_letters_of_all_languages_and_emoji_stay():
    for text in ("Größe", "模型", "می‌خواهم", "👩‍💻", "naïve α²"):
        assert terminal_text(text) == text
        assert picture_text(text) == text
        assert markdown_text(text) == text
    assert all(unicodedata.category(letter) != "Cc" for letter in terminal_text("\x00\x7f\x9f"))


@pytest.fixture
def named_files(tmp_path):
    """Files of cached features whose names are hostile, where a file system lets them be."""
    rng = np.random.default_rng(0)
    labels = np.array(["=1+1", "\x1b[31mred"])[np.arange(24) % 2]
    paths = []
    for name in [name for name in HOSTILE if "/" not in name][:8]:
        paths.append(tmp_path / f"{name}.npz")
        np.savez(paths[-1], features=rng.normal(size=(24, 3)), labels=labels)
    return paths


@pytest.mark.filterwarnings("ignore:Glyph")
def test_commands_print_names_as_text_and_write_harmless_files(named_files, tmp_path):
    run = CliRunner().invoke
    files = [str(path) for path in named_files]
    ranked = run(
        app,
        [
            "score", *files, "--csv", str(tmp_path / "a.csv"),
            "--json", str(tmp_path / "a.json"), "--plot", str(tmp_path / "a.png"),
        ],
        color=True,
    )  # fmt: skip
    assert ranked.exit_code == 0, ranked.output
    assert not ORDERS.search(ranked.output)
    table = pd.read_csv(tmp_path / "a.csv")
    assert not table["module"].str.startswith(tuple("=+-@\t\r")).any()
    names = {row["module"] for row in json.loads((tmp_path / "a.json").read_text())["rows"]}
    assert names == {path.stem for path in named_files}
    raced = run(app, ["score", *files, "--race", "--look-every", "8"], color=True)
    assert not ORDERS.search(raced.output)
    failed = run(app, ["score", *files, str(tmp_path / "\x1b[31mnone.npz")], color=True)
    assert failed.exit_code == 2
    assert not ORDERS.search(failed.output)
