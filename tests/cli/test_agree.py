"""``modtools agree``: accuracies measured elsewhere, what it prints and writes, how it fails."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from tests.documents import facts
from tests.studies.tables import wide

TASKS, MODULES = ("cars", "pets", "birds"), tuple("abcdef")


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Write a table with a good and a bad score, accuracies in percent; return its frame."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    achieved = rng.uniform(40, 95, (len(TASKS), len(MODULES))).round(1)
    table = pd.DataFrame(
        {
            "task": np.repeat(TASKS, len(MODULES)),
            "module": np.tile(MODULES, len(TASKS)),
            "accuracy": achieved.ravel(),
            "good": achieved.ravel() / 100,
            "bad": -achieved.ravel(),
        }
    )
    table.to_csv("table.csv", index=False)
    return table


@pytest.fixture(autouse=True)
def no_figures_stay():
    yield
    plt.close("all")


def test_a_table_in_percent_is_judged_and_files_are_written(cli, published, tmp_path):
    done = cli(
        "agree", "table.csv", "--unit", "percent", "--against", "bad",
        "--csv", "means.csv", "--json", "all.json", "--plot", "agreement.png",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Agreement with achieved accuracy, 95 % intervals; Kendall's W")
    assert lines[2].split()[:2] == ["good", "1.000"]
    assert "Best     good, by its mean weighted tau" in lines
    assert "Against  bad: ranks better, weighted tau +2.00 [+2.00, +2.00]" in lines
    assert any(line.startswith("Tasks    3 tasks order 6 modules") for line in lines)
    means = wide(pd.read_csv("means.csv")).set_index("score")
    assert means.loc["good", ["weighted_tau", "regret"]].tolist() == [1.0, 0.0]
    assert means.loc["bad", "kendall"] == -1.0
    assert bool(means.loc["mean rank on other tasks", "is_baseline"])
    content = facts((tmp_path / "all.json").read_text())
    assert content["settings"] == {"unit": "percent", "seed": 0, "tasks": list(TASKS)}
    assert (tmp_path / "agreement.png").read_bytes().startswith(b"\x89PNG")


def test_quiet_prints_the_name_and_a_dash_prints_json(cli, published):
    assert cli("agree", "table.csv", "--unit", "percent", "-q").stdout == "good\n"
    done = cli("agree", "table.csv", "--unit", "percent", "--json", "-")
    assert {row["score"] for row in facts(done.stdout)["means"]} >= {"good", "bad"}


def test_scores_accuracies_and_baselines_may_stand_in_files_of_their_own(cli, published):
    other = {"task": "dataset", "module": "net", "accuracy": "finetuned"}
    renamed = published.assign(finetuned=published["accuracy"] / 100).rename(
        columns={"task": "dataset", "module": "net"}
    )
    renamed[[*other.values()]].to_csv("achieved.csv", index=False)
    renamed[["dataset", "net", "good", "bad"]].to_csv("scores.csv", index=False)
    sizes = pd.DataFrame({"net": MODULES, "size": range(len(MODULES))})
    sizes.to_csv("sizes.csv", index=False)
    done = cli(
        "agree", "scores.csv", "--achieved", "achieved.csv", "--accuracy", "finetuned",
        "--scores", "bad", "--task-column", "dataset", "--module-column", "net",
        "--baselines", "sizes.csv", "--csv", "means.csv",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    means = pd.read_csv("means.csv")
    assert set(means["score"]) == {"bad", "size", "mean rank on other tasks"}
    assert "Best     bad, by its mean weighted tau" in done.stdout


def test_one_row_a_score_may_be_chosen_among(cli, published):
    keys = ["task", "module"]
    long = published.melt(keys, ["good", "bad"], var_name="score", value_name="value")
    long.to_csv("long.csv", index=False)
    published[[*keys, "accuracy"]].to_csv("achieved.csv", index=False)
    words = ["agree", "long.csv", "--achieved", "achieved.csv", "--unit", "percent"]
    done = cli(*words, "--scores", "bad", "-q")
    assert done.stdout == "bad\n", done.stderr
    assert 'unknown score "god"' in cli(*words, "--scores", "god").stderr


def test_accuracies_alone_tell_what_a_fixed_order_is_worth(cli, published):
    published[["task", "module", "accuracy"]].to_csv("achieved.csv", index=False)
    for words in (("achieved.csv",), ("table.csv", "--scores", "none")):
        done = cli("agree", *words, "--unit", "percent")
        assert done.exit_code == 0, done.stderr
        assert "Best     mean rank on other tasks" in done.stdout
        assert "Tasks    3 tasks order 6 modules" in done.stdout


def test_label_counts_stand_side_by_side(cli, published):
    parts = [published.assign(n_labels=n, repeat=repeat) for n in (5, 20) for repeat in (0, 1)]
    pd.concat(parts).to_csv("counts.csv", index=False)
    done = cli("agree", "counts.csv", "--unit", "percent", "--against", "bad")
    assert done.exit_code == 0, done.stderr
    assert "weighted tau, 5 labels" in done.stdout
    assert "Against  bad with 20 labels: ranks better" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("table.csv",), "If these are percent, pass --unit percent."),
        (("table.csv", "--unit", "persent"), 'unknown unit "persent"; did you mean "percent"?'),
        (("none.csv",), "the table is the file none.csv, which does not exist."),
        (("empty.csv",), "the table cannot be read from empty.csv: No columns to parse"),
        (("table.csv", "--accuracy", "acc"), 'table.csv has no column "acc"; it has task, module,'),
        (("table.csv", "--task-column", "set"), "Name the column of the tasks with --task-column."),
        (("table.csv", "--task-column", "bad"), 'has both columns "bad" and "task"; drop one.'),
        (
            ("table.csv", "--unit", "percent", "--scores", "god"),
            'unknown score "god"; did you mean',
        ),
        (("table.csv", "--unit", "percent", "--against", "x"), 'unknown score "x".'),
        (("text.csv", "--unit", "percent"), 'column "note" has text. Drop it.'),
        (("table.csv", "--plot", "a.xyz"), "a.xyz"),
    ],
)
def test_bad_input_is_one_line(cli, published, tmp_path, words, message):
    (tmp_path / "empty.csv").write_text("")
    published.assign(note="seen").to_csv("text.csv", index=False)
    done = cli("agree", *words)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_teaches_with_examples(cli):
    done = cli("agree", "--help")
    assert done.exit_code == 0
    assert "modtools agree table.csv --unit percent" in done.stdout
