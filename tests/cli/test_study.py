"""``modtools study``: what it prints and writes, how it resumes, and how it fails."""

import re

import numpy as np
import pandas as pd
import pytest

from modtools.cli._study import _shown_counts
from modtools.modules import extract, pixels
from modtools.retraining import next_target
from modtools.studies import label_efficiency
from modtools.tasks import load_task
from tests.documents import facts

pytestmark = pytest.mark.floating_point

PIXELS = ("--module", "modtools.modules:pixels")
QUICK = ("--n-labels", "6,12,24,45", "--repeats", "3")


@pytest.fixture
def same(feature_files):
    """The study that the command makes of the three files, made in Python."""
    tasks = [load_task(file) for file in feature_files]
    parts = {task.name: task.split(0.25, seed=0) for task in tasks}
    pairs = {name: (train.inputs, test.inputs) for name, (train, test) in parts.items()}
    train, test = parts["noise"]
    return label_efficiency(
        pairs, train.labels, test.labels, n_labels=[6, 12, 24, 45], repeats=3, seed=0
    )


def lines_of(text):
    """Return what each line of the report says, by its first word."""
    return dict(re.split(r"\s+", line, maxsplit=1) for line in text.splitlines())


def test_the_table_puts_the_best_first_with_the_labels_that_it_needs(cli, feature_files, same):
    done = cli("study", *feature_files, *QUICK, "--target", "0.8")
    assert (done.exit_code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert re.fullmatch(
        r"Study     noise: 6 to 45 of 45 labels, 3 repeats, 15 test examples, 3 classes, [\d.]+ s",
        lines[0],
    )
    assert re.split(r"\s{2,}", lines[1].strip()) == [
        "module", "6 labels", "12 labels", "24 labels", "45 labels", "labels for 80 %",
        "95 % interval", "area",
    ]  # fmt: skip
    assert [line.split()[:2] for line in lines[2:5]] == [
        ["1", "good"],
        ["2", "weak"],
        ["3", "noise"],
    ]
    table = same.frame().set_index(["module", "n_labels"])["value"]
    shown = [float(value) for value in re.findall(r"([\d.]+) %", lines[2])]
    expected = [100 * table["good", count] for count in (6, 12, 24, 45)]
    assert shown[:4] == pytest.approx(expected, abs=0.051)
    assert "> 45" in lines[4]
    said = lines_of("\n".join(lines[5:]))
    assert said["Best"].startswith("good, by the area under its curve")
    assert re.match(r"with \d+ labels it is (more|as) accurate (than|as) weak with ", said["Saves"])


def test_json_is_the_study_of_python(cli, feature_files, same):
    content = facts(cli("study", *feature_files, *QUICK, "--json", "-").stdout)
    pd.testing.assert_frame_equal(
        pd.DataFrame(content["rows"]), same.frame(), check_dtype=False, check_exact=False
    )
    assert content["best"] == "good"
    assert content["settings"]["n_labels"] == [6, 12, 24, 45]
    reached = content["labels_to_reach"]
    assert {row["status"] for row in reached} <= {"reached", "more_than", "below_first"}
    assert all(set(row) >= {"n_labels", "n_labels_low", "n_labels_high"} for row in reached)
    assert (content["n_pool"], content["n_test"]) == (45, 15)
    assert "modtools" in content["versions"]


def test_without_a_target_it_is_the_last_round_accuracy_that_half_of_them_reach(
    cli, feature_files, same
):
    content = facts(cli("study", *feature_files, *QUICK, "--json", "-").stdout)
    middle = same.frame().groupby("module")["value"].max().median()
    assert content["target"] <= middle < next_target(content["target"])
    noise = cli("study", feature_files[0], "--n-labels", "3,6", "--repeats", "2", "--json", "-")
    assert facts(noise.stdout)["target"] in (None, 0.5)


def test_quiet_prints_the_best_name_alone(cli, feature_files):
    assert cli("study", *feature_files, *QUICK, "-q").stdout == "good\n"


def test_files_are_written_and_named(cli, feature_files, same, tmp_path):
    out = tmp_path / "out"
    done = cli(
        "study", *feature_files, *QUICK, "--json", out / "a.json", "--csv", out / "a.csv",
        "--plot", out / "a.png",
    )  # fmt: skip
    names = ["a.json", "a.csv", "a.png", "a.svg"]
    assert lines_of(done.stdout)["Wrote"] == "  ".join(str(out / name) for name in names)
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    written = pd.read_csv(out / "a.csv")
    assert written["value"].tolist() == pytest.approx(same.frame()["value"].tolist())
    assert facts((out / "a.json").read_text())["best"] == "good"


def test_output_modules_and_strategies_are_told_apart_where_there_are_several(cli, feature_files):
    words = ("study", feature_files[2], "--n-labels", "12,24", "--repeats", "2")
    done = cli(*words, "--outputs", "ridge, class_mean", "--strategies", "random,k_center")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()[2:6]
    assert {re.split(r"\s{2,}", line.strip())[1] for line in lines} == {
        "good, ridge, random", "good, ridge, k_center", "good, class_mean, random",
        "good, class_mean, k_center",
    }  # fmt: skip
    assert "Saves" not in done.stdout


def test_one_label_count_has_no_area_but_a_best(cli, feature_files):
    done = cli("study", *feature_files, "--n-labels", "24", "--repeats", "2")
    assert done.exit_code == 0
    assert lines_of(done.stdout)["Best"] == "good"


def test_classes_may_be_left_out(cli, feature_files):
    words = ("study", *feature_files, "--n-labels", "4,20", "--repeats", "2", "--classes", "0,2")
    content = facts(cli(*words, "--json", "-").stdout)
    assert content["n_pool"] + content["n_test"] == 40


def test_a_stopped_study_goes_on_where_it_was(cli, feature_files, tmp_path, monkeypatch):
    from modtools.studies import _cells

    words = ("study", *feature_files, *QUICK, "--resume", tmp_path / "kept", "--json", "-")
    whole = facts(cli(*words[:-4], "--json", "-").stdout)
    real, seen = _cells.measure, []

    def stop_at_the_fourth(*args, **options):
        seen.append(args)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(_cells, "measure", stop_at_the_fourth)
    done = cli(*words)
    assert done.exit_code == 130
    assert done.stdout == ""
    assert done.stderr == (
        f"study stopped; what is finished is in {tmp_path / 'kept'}. The same command resumes.\n"
    )
    seen.clear()
    monkeypatch.setattr(
        _cells, "measure", lambda *args, **options: (seen.append(1), real(*args, **options))[1]
    )
    resumed = facts(cli(*words).stdout)
    assert len(seen) == 6
    assert resumed["rows"] == whole["rows"]


def test_a_stop_without_a_folder_says_how_to_keep_the_next(cli, feature_files, monkeypatch):
    def interrupt(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("modtools.studies.label_efficiency", interrupt)
    done = cli("study", *feature_files)
    assert done.exit_code == 130
    assert done.stderr == (
        "study stopped; nothing is kept. With --resume FOLDER a stopped study resumes.\n"
    )


def test_another_study_in_the_same_folder_is_refused_with_the_difference(
    cli, feature_files, tmp_path
):
    words = ("study", feature_files[2], "--resume", tmp_path / "kept", "--n-labels", "6,12")
    assert cli(*words, "--repeats", "2", "-q").exit_code == 0
    done = cli(*words, "--repeats", "2", "--seed", "5")
    assert done.exit_code == 2
    assert "seed" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def images(tmp_path):
    """A file of 80 images of the digits 0 to 3."""
    digits = load_task("digits")
    rows = np.flatnonzero(digits.labels < 4)[:80]
    np.savez(tmp_path / "four.npz", inputs=digits.batch(rows), labels=digits.labels[rows])
    return tmp_path / "four.npz"


def test_modules_are_read_on_the_rows_of_the_task(cli, images):
    words = ("study", *PIXELS, "--task", images, "--n-labels", "8,40", "--repeats", "2")
    content = facts(cli(*words, "--json", "-").stdout)
    train, test = load_task(images).split(0.25, seed=0)
    pair = extract(pixels(), train), extract(pixels(), test)
    parts = (train.labels, test.labels)
    expected = label_efficiency({"pixels": pair}, *parts, n_labels=[8, 40], repeats=2)
    found = [row["value"] for row in content["rows"]]
    assert found == pytest.approx(expected.frame()["value"].tolist())


def test_training_from_scratch_is_the_baseline(cli, images, monkeypatch):
    monkeypatch.setattr("modtools.studies._from_scratch._LEAST_STEPS", 10)
    words = ("study", *PIXELS, "--task", images, "--n-labels", "8,16", "--repeats", "1")
    done = cli(*words, "--from-scratch", "multilayer_perceptron")
    assert done.exit_code == 0
    names = [re.split(r"\s{2,}", line.strip())[1] for line in done.stdout.splitlines()[2:4]]
    assert sorted(names) == ["from scratch", "pixels"]
    assert "Saves" in done.stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "nothing to study: give a zoo folder, --module PACKAGE:FACTORY or --features"),
        ([*PIXELS], "modules need a task: add --task digits, "),
        ([*PIXELS, "a.npz"], "study cached features or modules, not both in one table."),
        (["FILES", "--n-labels", "10,many"], "--n-labels must be whole numbers such as 10,20,50; "),
        (
            ["FILES", "--n-labels", "10,99"],
            "--n-labels must be at most the 45 examples of train; got 99.",
        ),
        (["FILES", "--outputs", "rigde"], 'unknown output "rigde"; did you mean "ridge"?'),
        (["FILES", "--strategies", "tipical"], 'unknown strategy "tipical"; did you mean'),
        (["FILES", "--target", "95"], "--target must lie strictly between 0 and 1; got 95.0."),
        (
            ["FILES", "--plot", "a.gif"],
            "a picture is saved as .png and .svg, or as .pdf; got the name",
        ),
        (["FILES", "--repeats", "0"], "--repeats must be a whole number of at least 1; got 0."),
        (["FILES", "--from-scratch", "resnet18"], "--from-scratch needs the inputs themselves; "),
        (
            [*PIXELS, "--task", "digits", "--from-scratch", "resnet"],
            'unknown network "resnet"; did you mean "resnet18"?',
        ),
        (["FILES", "--classes", "1"], "a task needs at least two classes; got 1."),
        (["FILES", "--test-fraction", "2"], "--test-fraction must lie strictly between 0 and 1"),
    ],
)
def test_bad_input_is_one_line(cli, feature_files, words, text):
    given = [file for word in words for file in (feature_files if word == "FILES" else [word])]
    done = cli("study", *given)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_counts_in_the_table_are_ends_and_round_numbers_that_were_measured():
    assert _shown_counts([8, 40]) == [8, 40]
    counts = np.unique(np.rint(np.geomspace(10, 2000, 30))).astype(int)
    shown = _shown_counts(counts.tolist())
    assert (shown[0], shown[-1], len(shown)) == (10, 2000, 5)
    assert set(shown) <= set(counts.tolist())


def test_every_example_of_the_help_parses(cli, monkeypatch):
    from modtools.cli._study import study

    lines = [line.strip() for line in study.__doc__.splitlines()]
    examples = [line.split()[1:] for line in lines if line.startswith("modtools study ")]
    assert len(examples) == 6
    monkeypatch.setattr("modtools.cli._study._check", lambda *_: 1 / 0)
    for words in examples:
        assert isinstance(cli(*words).exception, ZeroDivisionError), words
    shown = " ".join(cli("study", "--help").stdout.replace("│", " ").split())
    assert "modtools study zoo/ --task my-images/ --target 0.95 --plot curve.png" in shown
    assert "resumes and repeats nothing" in shown
