"""``modtools retrain``: what it prints, what it writes and saves, and how it fails."""

import re

import numpy as np
import pandas as pd
import pytest
from torch import nn

from modtools import ReusedModel
from modtools._intervals import MeasuredAccuracy, wilson
from modtools.cli._choose import STRATEGY_TEXTS
from modtools.modules import PretrainedModule, Zoo, _extraction, extract, pixels
from modtools.outputs import LogisticOutput
from modtools.retraining import choose_labels, extrapolate
from modtools.retraining._choose import STRATEGIES
from modtools.tasks import load_task
from tests.documents import facts

pytestmark = pytest.mark.floating_point

PIXELS = ("--module", "modtools.modules:pixels")


@pytest.fixture
def images(tmp_path):
    """A file of 120 images of the digits 0 to 3."""
    digits = load_task("digits")
    rows = np.flatnonzero(digits.labels < 4)[:120]
    np.savez(tmp_path / "four.npz", inputs=digits.batch(rows), labels=digits.labels[rows])
    return tmp_path / "four.npz"


@pytest.fixture
def parts(images):
    """The training examples and the held-out ones, as the command divides them."""
    return load_task(images).split(0.25, seed=0)


def lines_of(text):
    """Return what each line of the report says, by its first word."""
    return dict(re.split(r"\s+", line, maxsplit=1) for line in text.splitlines())


def accuracy_of(few, test):
    """Return the accuracy of an output module on these examples, extracted anew."""
    output = LogisticOutput().fit(extract(pixels(), few), few.labels)
    return output.score(extract(pixels(), test), test.labels)


def test_the_report_says_what_was_reused_and_how_well(cli, images, parts):
    done = cli("retrain", *PIXELS, "--task", images, "--per-class", "5")
    assert (done.exit_code, done.stderr) == (0, "")
    said = lines_of(done.stdout)
    assert list(said) == ["Task", "Module", "Accuracy", "Labels", "Time", "Next"]
    assert said["Task"] == (
        "four: 20 of 90 examples labelled, a random sample of each class; 30 held out, 4 classes"
    )
    assert said["Module"] == "pixels: 64 features, frozen; output module logistic"
    train, test = parts
    accuracy = accuracy_of(train.few_labels(per_class=5, seed=0), test)
    low, high = wilson(accuracy, 30)
    assert said["Accuracy"] == (
        f"{100 * accuracy:.1f} %, 95 % interval [{100 * low:.1f}, {100 * high:.1f}], on 30 "
        "held-out examples"
    )
    assert said["Labels"].startswith(
        "what more would bring cannot be said: 20 labels are too few to extrapolate: "
    )
    assert said["Next"].startswith("add --save model/ to save the model")


def test_what_more_labels_would_bring_is_forecast_from_these_alone(cli, images, parts):
    words = ("retrain", *PIXELS, "--task", images, "--labels", "40", "--target", "0.97")
    few = parts[0].few_labels(n=40, seed=0)
    forecast = extrapolate(extract(pixels(), few), few.labels, seed=0)
    measured = MeasuredAccuracy(1.0, *wilson(1.0, 30))
    said = lines_of(cli(*words).stdout)["Labels"]
    of_ridge = " The forecast is of a ridge output module."
    assert said == forecast.verdict(0.97, measured=measured) + of_ridge
    shown = lines_of(cli(*words, "--output", "ridge").stdout)["Labels"]
    assert not shown.endswith(of_ridge)
    # The forecast alone says that more are needed; what was measured counts more.
    assert forecast.labels_to_reach(0.97).n_labels > 40
    assert said.startswith("97 % is reached: 100.0 % [88.6, 100.0] was measured with these 40; ")
    said = lines_of(cli(*words, "--strategy", "typical").stdout)
    assert said["Labels"] == (
        "what more would bring cannot be said: examples chosen by typical are no random sample of "
        "the task."
    )


@pytest.mark.parametrize("target", ["0.6", "0.9", "0.999"])
def test_the_line_about_labels_says_what_the_json_says_and_nothing_against_the_accuracy(
    cli, images, target, tmp_path
):
    words = ("retrain", *PIXELS, "--task", images, "--labels", "36", "--output", "class_mean")
    done = cli(*words, "--seed", "2", "--target", target, "--json", tmp_path / "a.json")
    content = facts((tmp_path / "a.json").read_text())
    forecast, line = content["forecast"], lines_of(done.stdout)["Labels"]
    point, low = forecast["n_labels"], forecast["n_labels_low"]
    if content["value"] >= float(target):
        assert (point, forecast["status"]) == (content["n_labels"], "below_first")
        assert " % is reached: " in line
    elif forecast["status"] == "more_than":
        assert f" needs more than {point:.0f} labels" in line
        assert low is None or f"(80 % interval from {low:.0f}" in line
    else:
        assert point > content["n_labels"]
        assert " needs about " in line


def test_quiet_prints_the_accuracy_in_percent_alone(cli, images, parts):
    done = cli("retrain", *PIXELS, "--task", images, "--labels", "30", "--seed", "1", "-q")
    few = parts[0].few_labels(n=30, seed=1)
    assert done.stdout == f"{100 * accuracy_of(few, parts[1]):.2f}\n"


def test_json_holds_the_numbers_and_the_curve(cli, images, parts):
    words = ("retrain", *PIXELS, "--task", images, "--output", "ridge", "--labels", "24")
    content = facts(cli(*words, "--target", "0.97", "--json", "-").stdout)
    few = parts[0].few_labels(n=24, seed=0)
    assert content["labelled_rows"] == few.rows.tolist()
    assert (content["n_labels"], content["n_pool"], content["n_test"]) == (24, 90, 30)
    interval = (content["value_low"], content["value_high"])
    assert interval == wilson(content["value"], 30)
    assert (content["classes"], content["missing_classes"]) == ([0, 1, 2, 3], [])
    assert content["accuracy_of_labelled_classes"] == content["value"]
    assert [row["n_labels"] for row in content["curve"]] == list(range(1, 25))
    assert set(content["forecast"]) == {
        "refused", "target", "n_labels", "n_labels_low", "n_labels_high", "status",
        "points_of_10_more_labels",
    }  # fmt: skip
    assert content["forecast"]["target"] == 0.97
    assert {"modtools", "torch"} <= set(content["versions"])


def test_without_a_number_all_rows_that_are_not_held_out_are_labelled(cli, images):
    said = lines_of(cli("retrain", *PIXELS, "--task", images, "--test-fraction", "0.5").stdout)
    assert said["Task"] == "four: 60 of 60 examples labelled, all there are; 60 held out, 4 classes"


def test_the_curve_of_rows_that_come_class_by_class_is_that_of_a_random_order(
    cli, images, tmp_path
):
    with np.load(images) as stored:
        order = np.argsort(stored["labels"], kind="stable")
        sorted_rows = {name: stored[name][order] for name in ("inputs", "labels")}
    np.savez(tmp_path / "sorted.npz", **sorted_rows)
    words = ("--task", tmp_path / "sorted.npz", "--output", "ridge", "--csv", tmp_path / "a.csv")
    assert cli("retrain", *PIXELS, *words).exit_code == 0
    curve = pd.read_csv(tmp_path / "a.csv").set_index("n_labels")["value"]
    assert curve[30] > 0.7  # a quarter where only one class had come by then


def test_files_are_written_and_named(cli, images, parts, tmp_path):
    out = tmp_path / "out"
    done = cli(
        "retrain", *PIXELS, "--task", images, "--per-class", "4", "--json", out / "a.json",
        "--predictions", out / "rows.csv", "--csv", out / "a.csv", "--plot", out / "a.png",
    )  # fmt: skip
    names = ["a.json", "rows.csv", "a.csv", "a.png", "a.svg"]
    assert lines_of(done.stdout)["Wrote"] == "  ".join(str(out / name) for name in names)
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    assert pd.read_csv(out / "a.csv")["n_labels"].tolist() == list(range(1, 17))
    rows = pd.read_csv(out / "rows.csv")
    assert rows["row"].tolist() == parts[1].rows.tolist()
    assert rows["label"].tolist() == parts[1].labels.tolist()
    assert (rows["right"] == (rows["label"] == rows["predicted"])).all()
    assert rows["probability"].between(0.25, 1).all()
    content = facts((out / "a.json").read_text())
    assert rows["right"].mean() == pytest.approx(content["value"])


def test_the_saved_model_predicts_the_same(cli, images, parts, tmp_path):
    words = ("retrain", *PIXELS, "--task", images, "--per-class", "5", "--save", tmp_path / "model")
    done = cli(*words)
    said = lines_of(done.stdout)
    assert said["Wrote"] == str(tmp_path / "model")
    assert f'mt.ReusedModel.load("{tmp_path / "model"}")' in said["Next"]
    model = ReusedModel.load(tmp_path / "model")
    assert said["Accuracy"].startswith(f"{100 * model.accuracy(parts[1]):.1f} %")
    again = cli(*words)
    assert again.stderr == f"error: {tmp_path / 'model'} exists; give another --save.\n"


def test_rows_are_chosen_without_their_labels(cli, images, parts):
    words = ("retrain", *PIXELS, "--task", images, "--labels", "12", "--strategy", "typical")
    done = cli(*words, "--json", "-")
    chosen = choose_labels(extract(pixels(), parts[0]), 12, strategy="typical", seed=0)
    assert facts(done.stdout)["labelled_rows"] == parts[0].rows[chosen].tolist()
    said = lines_of(cli(*words, "--output", "class_mean", "--unlabelled").stdout)
    assert "12 of 90 examples labelled, chosen by typical, which saw no label; " in said["Task"]
    assert re.match(r"of the unlabelled .*\(evidence -?\d\.\d\d\)", said["Clusters"])


def test_classes_without_a_label_are_named_and_refused_unless_allowed(cli, images, parts):
    words = ("retrain", *PIXELS, "--task", images, "--labels", "3", "--output", "ridge")
    few = parts[0].few_labels(n=3, seed=0)
    (absent,) = few.classes[few.encoded.counts() == 0]
    done = cli(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: class {absent} of four has none of the 3 labels. Give more --labels, or "
        "--allow-missing-classes: such a class is then never predicted.\n"
    )
    done = cli(*words, "--allow-missing-classes", "--json", "-")
    content = facts(done.stdout)
    assert content["missing_classes"] == [absent]
    assert content["accuracy_of_labelled_classes"] > content["value"]
    said = lines_of(cli(*words, "--allow-missing-classes").stdout)
    assert said["Classes"].startswith(f"3 of 4 have a label; missing: {absent}. Accuracy on ")


def test_held_out_rows_that_were_labelled_are_refused_unless_allowed(cli, tmp_path):
    rows = np.repeat(load_task("digits").batch(slice(8)), 4, axis=0)
    np.savez(tmp_path / "copies.npz", inputs=rows, labels=np.repeat([0, 1] * 4, 4))
    words = ("retrain", *PIXELS, "--task", tmp_path / "copies.npz")
    kept = cli(*words, "--allow-overlap", "--csv", tmp_path / "curve.csv")
    assert kept.exit_code == 0
    assert pd.read_csv(tmp_path / "curve.csv")["n_labels"].iloc[0] == 1
    done = cli(*words)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: 8 of 8 held-out examples of copies equal labelled ones, ")
    assert cli(*words, "--allow-overlap").exit_code == 0


def linear(width):
    build = ("torch.nn:Linear", {"in_features": 3, "out_features": width})
    return PretrainedModule(nn.Linear(3, width), name=f"linear{width}", build=build)


@pytest.fixture
def zoo(tmp_path):
    for width in (2, 5):
        Zoo(tmp_path / "zoo").save(linear(width))
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    rows = (2 * labels[:, None] + rng.normal(size=(40, 3))).astype(np.float32)
    np.savez(tmp_path / "task.npz", inputs=rows, labels=labels)
    return tmp_path / "zoo"


def test_one_of_several_modules_is_picked_by_name(cli, zoo):
    words = ("retrain", zoo, "--task", zoo.parent / "task.npz")
    done = cli(*words)
    assert done.stderr == (
        "error: 2 modules are given; choose one with --pick: linear2, linear5. modtools score says "
        "which one to reuse.\n"
    )
    assert cli(*words, "--pick", "linear").stderr.startswith(
        'error: unknown module "linear"; did you mean "linear'
    )
    content = facts(cli(*words, "--pick", "linear5", "--json", "-").stdout)
    assert (content["module"], content["n_features"]) == ("linear5", 5)
    both = cli(*words, *PIXELS, "--pick", "linear2", "--json", "-")
    assert facts(both.stdout)["n_features"] == 2
    twice = cli("retrain", zoo, zoo, "--pick", "linear2", "--task", zoo.parent / "task.npz")
    assert twice.stderr == 'error: two modules are named "linear2"; give only one of them.\n'


def test_a_network_that_cannot_be_built_again_is_not_trained_in_vain(
    cli, zoo, tmp_path, monkeypatch
):
    (tmp_path / "reusable_networks.py").write_text(
        "from torch import nn\ndef small():\n    return nn.Linear(3, 4)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    words = ("retrain", "--module", "reusable_networks:small", "--task", "task.npz")
    done = cli(*words, "--save", "model")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: small cannot be saved: nothing says how to build its ")
    assert cli(*words, "-q").exit_code == 0


def test_features_are_kept_where_asked(cli, images, tmp_path, monkeypatch):
    words = ("retrain", *PIXELS, "--task", images, "--cache", tmp_path / "kept", "-q")
    first = cli(*words).stdout
    assert len(list((tmp_path / "kept").iterdir())) == 2
    monkeypatch.setattr("modtools.modules._extraction._run_uncached", lambda *_a, **_k: 1 / 0)
    assert cli(*words).stdout == first


@pytest.mark.parametrize(
    "words",
    [
        ("--per-class", "5"),
        ("--labels", "12", "--strategy", "typical", "--output", "class_mean", "--unlabelled"),
        (),
    ],
)
def test_every_example_passes_the_network_once(cli, images, parts, monkeypatch, words):
    seen = []
    run = _extraction._run_uncached

    def count(module, task, *arguments, **options):
        seen.extend(task.rows.tolist())
        return run(module, task, *arguments, **options)

    monkeypatch.setattr(_extraction, "_run_uncached", count)
    done = cli("retrain", *PIXELS, "--task", images, *words, "--json", "-")
    labelled = facts(done.stdout)["labelled_rows"]
    chosen = parts[0].rows.tolist() if "--strategy" in words else labelled
    assert sorted(seen) == sorted([*chosen, *parts[1].rows.tolist()])


@pytest.fixture
def features(images, tmp_path):
    """The features that pixels gives for all images, with their labels."""
    task = load_task(images)
    np.savez(tmp_path / "pixels.npz", features=extract(pixels(), task), labels=task.labels)
    return tmp_path / "pixels.npz"


@pytest.mark.parametrize(
    "words",
    [
        ("--per-class", "5"),
        ("--labels", "12", "--strategy", "typical", "--output", "class_mean", "--unlabelled"),
        ("--labels", "3", "--allow-missing-classes", "--output", "ridge"),
    ],
)
def test_cached_features_give_what_the_module_gives(cli, images, features, words):
    own = facts(cli("retrain", *PIXELS, "--task", images, *words, "--json", "-").stdout)
    done = cli("retrain", "--features", features, *words, "--json", "-")
    cached = facts(done.stdout)
    settings = {**own["settings"], "task": "pixels"}
    of_file = {"task": "pixels", "settings": settings, "seconds": own["seconds"]}
    assert cached | {"seconds": own["seconds"]} == own | of_file
    with_task = cli("retrain", "--features", features, "--task", images, *words, "--json", "-")
    assert facts(with_task.stdout)["task"] == "four"


def test_a_model_of_cached_features_is_saved_and_reads_features(cli, parts, features, tmp_path):
    done = cli("retrain", "--features", features, "--per-class", "5", "--save", tmp_path / "model")
    model = ReusedModel.load(tmp_path / "model")
    is_right = model.predict(extract(pixels(), parts[1])) == parts[1].labels
    assert lines_of(done.stdout)["Accuracy"].startswith(f"{100 * is_right.mean():.1f} %")


def test_one_of_several_files_of_features_is_picked(cli, features, tmp_path):
    with np.load(features) as stored:
        np.savez(tmp_path / "b.npz", features=stored["features"][:, :9], labels=stored["labels"])
    words = ("retrain", "--features", features, tmp_path / "b.npz")
    assert "2 modules are given; choose one with --pick: pixels, b. " in cli(*words).stderr
    content = facts(cli(*words, "--pick", "b", "--json", "-").stdout)
    assert (content["module"], content["n_features"]) == ("b", 9)


def test_features_that_do_not_fit_are_refused_in_one_line(cli, features, tmp_path):
    words = ("retrain", "--features", features)
    done = cli(*words, "--task", "digits")
    assert 'features "pixels" has 120, labels has 1797.' in done.stderr
    with np.load(features) as stored:
        wrong = stored["features"].copy()
        wrong[:, 5] = np.nan
        np.savez(tmp_path / "wrong.npz", features=wrong, labels=stored["labels"])
    done = cli("retrain", "--features", tmp_path / "wrong.npz")
    assert 'train features of "wrong" must be finite: ' in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_only_the_chosen_classes_are_learned(cli, images):
    words = ("retrain", *PIXELS, "--task", images, "--classes", "1,3", "--json", "-")
    content = facts(cli(*words).stdout)
    assert (content["task"], content["classes"]) == ("four 1,3", [1, 3])


def test_list_shows_every_strategy(cli):
    lines = cli("retrain", "--list").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(STRATEGIES) == list(STRATEGY_TEXTS)
    listed = facts(cli("retrain", "--list", "--json", "-").stdout)["rows"]
    assert [row["strategy"] for row in listed] == list(STRATEGIES)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "no module: give a zoo folder, --module PACKAGE:FACTORY or --features FILE.npz."),
        (["a.npz"], "file a.npz does not exist."),
        (["a.npz", *PIXELS], "retrain cached features or modules, not both in one table."),
        (
            [*PIXELS, "--output", "logistics"],
            'unknown output "logistics"; did you mean "logistic"? Known: class_mean, logistic, ',
        ),
        (
            [*PIXELS, "--strategy", "tipical", "--labels", "5"],
            'unknown strategy "tipical"; did you mean "typical"? modtools retrain --list shows ',
        ),
        (
            [*PIXELS, "--strategy", "typical"],
            "--strategy says which examples to label: add --labels",
        ),
        (
            [*PIXELS, "--strategy", "typical", "--labels", "9", "--per-class", "2"],
            "give --per-class or --labels, not both.",
        ),
        ([*PIXELS, "--unlabelled"], "--unlabelled is for class means: add --output class_mean."),
        ([*PIXELS, "--target", "90"], "--target must lie strictly between 0 and 1; got 90.0."),
        (
            [*PIXELS, "--plot", "a.gif"],
            "a picture is saved as .png and .svg, or as .pdf; got the name",
        ),
        ([*PIXELS, "--task", "gone.npz"], "file or folder gone.npz does not exist."),
        (
            [*PIXELS, "--labels", "9999"],
            "--labels must be at most the 1348 examples of digits; got 9999.",
        ),
        ([*PIXELS, "--classes", "1"], "a task needs at least two classes; got 1."),
    ],
)
def test_bad_input_is_one_line_before_anything_is_retrained(cli, monkeypatch, words, text):
    monkeypatch.setattr("modtools.retraining.retrain", lambda *_a, **_k: 1 / 0)
    done = cli("retrain", *words)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_file_that_cannot_be_written_does_not_hide_the_result(cli, images, full_device):
    done = cli("retrain", *PIXELS, "--task", images, "--csv", full_device)
    assert done.exit_code == 2
    assert "Accuracy" in done.stdout
    assert len(done.stderr.splitlines()) == 1


def test_measurements_are_refused(cli, tmp_path):
    np.savez(tmp_path / "sizes.npz", inputs=np.eye(8), labels=np.linspace(0, 1, 8))
    done = cli("retrain", *PIXELS, "--task", tmp_path / "sizes.npz")
    assert done.stderr == (
        "error: training needs one class per example; the labels of sizes are regression.\n"
    )


def test_the_labels_may_have_another_name(cli, images, tmp_path):
    with np.load(images) as stored:
        words = np.array(["zero", "one", "two", "three"])[stored["labels"]]
        np.savez(tmp_path / "named.npz", inputs=stored["inputs"], word=words)
    line = ("retrain", *PIXELS, "--task", tmp_path / "named.npz", "--label-column", "word")
    content = facts(cli(*line, "--json", "-").stdout)
    assert content["classes"] == ["one", "three", "two", "zero"]


def test_every_example_of_the_help_parses(cli, monkeypatch):
    from modtools.cli._retrain import retrain

    lines = [line.strip() for line in retrain.__doc__.splitlines()]
    examples = [line.split()[1:] for line in lines if line.startswith("modtools retrain ")]
    assert len(examples) == 8
    monkeypatch.setattr("modtools.cli._retrain._check", lambda *_: 1 / 0)
    for words in examples[:-1]:
        assert isinstance(cli(*words).exception, ZeroDivisionError), words
    shown = " ".join(cli("retrain", "--help").stdout.replace("│", " ").split())
    assert "modtools retrain zoo/ --pick supcon@features --task digits --per-class 5" in shown
    assert "or says why they do not support a forecast" in shown
