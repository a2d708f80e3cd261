"""``modtools train``: what it prints, what it writes and saves, and how it fails."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from modtools._intervals import wilson
from modtools.exceptions import ModtoolsError
from modtools.modules import Zoo
from modtools.proxies import PROXIES
from modtools.tasks import Task, load_task
from tests.documents import facts

pytestmark = pytest.mark.floating_point

QUICK = ("--network", "multilayer_perceptron", "--epochs", "1", "--batch-size", "32")


@pytest.fixture
def images(tmp_path):
    """A file of 64 images of the digits 0 to 3."""
    digits = load_task("digits")
    rows = np.flatnonzero(digits.labels < 4)[:64]
    np.savez(tmp_path / "four.npz", inputs=digits.batch(rows), labels=digits.labels[rows])
    return tmp_path / "four.npz"


def lines_of(text):
    """Return what each line of the report says, by its first word."""
    return dict(re.split(r"\s+", line, maxsplit=1) for line in text.splitlines())


def test_the_report_says_what_was_trained_how_well_and_from_which_labels(cli, images):
    done = cli("train", "--task", images, *QUICK)
    assert (done.exit_code, done.stderr) == (0, "")
    said = lines_of(done.stdout)
    assert list(said) == ["Task", "Trained", "Accuracy", "Time", "Memory", "Labels", "Next"]
    assert said["Task"] == "four: 48 training examples, 16 held out, 4 classes"
    assert said["Trained"].startswith("multilayer_perceptron (")
    assert said["Trained"].endswith(
        "strictly modular, one module after the other: to features by supcon, then the output "
        "module"
    )
    assert re.fullmatch(
        r"[\d.]+ %, 95 % interval \[[\d.]+, [\d.]+\], on 16 held-out examples", said["Accuracy"]
    )
    assert re.fullmatch(r"[\d.]+ s", said["Time"])
    assert re.fullmatch(r"[\d.]+ MB peak activation memory", said["Memory"])
    assert "All pairs plus one label per class are full label information." in said["Labels"]
    assert said["Next"].startswith("add --zoo zoo/")


def test_without_options_digits_are_trained_on(cli, monkeypatch):
    """The defaults, held by looking at what would be trained: the run itself takes its time."""
    asked = {}

    def look(network, task, **options):
        asked.update(options, network=network, task=task)
        raise ModtoolsError("seen")

    monkeypatch.setattr("modtools.training.train_modular", look)
    assert cli("train").stderr == "error: seen\n"
    assert type(asked["network"]).__name__ == "CompactConvNet"
    assert (asked["task"].name, len(asked["task"])) == ("digits", 1348)
    assert (asked["proxy"], asked["schedule"], asked["at"]) == ("supcon", "sequential", 2)
    assert asked["max_seconds"] <= 30
    assert (asked["epochs"], asked["validation"], asked["precision"]) == (None, None, "float32")


def test_modules_and_their_proxies_can_be_chosen(cli, images):
    done = cli(
        "train", "--task", images, "--network", "compact_convnet", "--at", "block1", "--at",
        "features", "--proxy", "local_classifier", "--proxy", "nmse", "--schedule", "simultaneous",
        *QUICK[2:],
    )  # fmt: skip
    said = lines_of(done.stdout)
    assert said["Trained"].endswith(
        "weakly modular, hidden modules at the same time: to block1 by local_classifier, to "
        "features by nmse, then the output module"
    )
    assert said["Labels"] == "the class of each example."


def test_the_baseline_is_end_to_end(cli, images):
    said = lines_of(cli("train", "--task", images, "--schedule", "end_to_end", *QUICK).stdout)
    assert said["Trained"].endswith("end-to-end, with cross-entropy")
    assert said["Labels"] == "the class of each example."


def test_only_the_chosen_classes_are_seen(cli, images):
    done = cli("train", "--task", images, "--classes", "0, 3", *QUICK, "--json", "-")
    content = facts(done.stdout)
    assert content["task"] == "four 0,3"
    assert content["settings"]["source_classes"] == [0, 3]
    held = load_task(images)
    assert content["n_train"] + content["n_test"] == int(np.isin(held.labels, [0, 3]).sum())


def test_recipe_and_limits_reach_the_training(cli, images):
    done = cli(
        "train", "--task", images, *QUICK, "--learning-rate", "0.01", "--shift", "1", "--flip",
        "--max-seconds", "30", "--seed", "3", "--test-fraction", "0.5", "--json", "-",
    )  # fmt: skip
    content = facts(done.stdout)
    settings = content["settings"]
    assert content["n_test"] == 32
    assert (settings["epochs"], settings["max_seconds"], settings["seed"]) == (1, 30.0, 3)
    recipe = settings["recipe"]
    assert (recipe["batch_size"], recipe["learning_rate"]) == (32, 0.01)
    assert recipe["augmentation"] == {"shift": 1, "flip": True}


def test_one_seed_gives_one_result_and_every_seed_the_same_examples(cli, images):
    words = ("train", "--task", images, *QUICK, "--json", "-")
    first, again, other = (facts(cli(*words, "--seed", seed).stdout) for seed in (0, 0, 1))
    losses = [[row["loss"] for row in run["rows"]] for run in (first, again, other)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[2] != pytest.approx(losses[0], rel=1e-4)
    prints = {run["settings"]["task_fingerprint"] for run in (first, again, other)}
    assert len(prints) == 1


def test_quiet_prints_the_accuracy_in_percent_alone(cli, images):
    done = cli("train", "--task", images, *QUICK, "--quiet")
    assert re.fullmatch(r"\d+\.\d\d\n", done.stdout)


def test_files_are_written_and_named(cli, images, tmp_path):
    out = tmp_path / "out"
    done = cli(
        "train", "--task", images, *QUICK, "--json", out / "a.json", "--csv", out / "a.csv",
        "--plot", out / "a.png",
    )  # fmt: skip
    names = ["a.json", "a.csv", "a.png", "a.svg"]
    assert lines_of(done.stdout)["Wrote"] == "  ".join(str(out / name) for name in names)
    history = pd.read_csv(out / "a.csv")
    assert history["module"].unique().tolist() == ["features", "output"]
    assert history["validation_accuracy"].notna().all()
    content = facts((out / "a.json").read_text())
    assert content["accuracy"] == pytest.approx(history["validation_accuracy"].iloc[-1])
    assert [content["accuracy_low"], content["accuracy_high"]] == list(
        wilson(content["accuracy"], 16)
    )
    assert content["labels_needed"] == "pairs"
    assert "versions" in content


def test_the_saved_modules_are_scored_by_the_next_command(cli, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = lines_of(cli("train", "--task", "four.npz", *QUICK, "--zoo", "zoo").stdout)
    assert said["Saved"] == "zoo/four-supcon-sequential-seed0"
    command, _, reason = said["Next"].partition(" (")
    assert command == "modtools score zoo --task FOLDER"
    assert reason == "other examples: on those it was trained on, a module is predicted too well)"
    card = Zoo("zoo").card("four-supcon-sequential-seed0")
    assert (card["source_task"], card["proxy"]) == ("four", "supcon")
    assert 0 <= card["training"]["accuracy"] <= 1
    words = command.replace("FOLDER", "four.npz").split()[1:]
    done = cli(*words, "--by", "class_mean", "--quiet")
    assert done.stdout == "four-supcon-sequential-seed0@features\n"


def test_the_name_may_be_given_and_must_be_free_before_training(cli, images, tmp_path, monkeypatch):
    words = ("train", "--task", images, *QUICK, "--zoo", tmp_path / "zoo", "--name", "mine")
    assert cli(*words).exit_code == 0
    monkeypatch.setattr("modtools.training.train_modular", lambda *_a, **_k: 1 / 0)
    done = cli(*words)
    assert done.exit_code == 2
    assert done.stderr == (
        f"error: {tmp_path / 'zoo' / 'mine'} exists; give another --name or --zoo.\n"
    )


def test_a_zoo_that_cannot_be_written_is_known_before_training(cli, images, monkeypatch):
    monkeypatch.setattr("modtools.training.train_modular", lambda *_a, **_k: 1 / 0)
    done = cli("train", "--task", images, "--zoo", images)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_file_that_cannot_be_written_does_not_hide_the_result(cli, images, full_device):
    done = cli("train", "--task", images, *QUICK, "--json", full_device)
    assert done.exit_code == 2
    assert list(lines_of(done.stdout))[:3] == ["Task", "Trained", "Accuracy"]
    assert len(done.stderr.splitlines()) == 1


def test_colons_and_commas_do_not_reach_the_name(cli, images, tmp_path):
    done = cli(
        "train", "--task", images, "--classes", "0,1,2", *QUICK, "--zoo", tmp_path / "zoo", "-q"
    )
    assert done.exit_code == 0
    assert Zoo(tmp_path / "zoo").names == ("four-0+1+2-supcon-sequential-seed0",)


def test_a_folder_with_train_and_test_keeps_its_own_parts(cli, tmp_path):
    image = pytest.importorskip("PIL.Image")
    digits = load_task("digits")
    for part, n_rows in (("train", 8), ("test", 4)):
        for label in (0, 1):
            folder = tmp_path / "images" / part / f"class{label}"
            folder.mkdir(parents=True)
            for row in np.flatnonzero(digits.labels == label)[:n_rows]:
                image.fromarray(digits.inputs[row]).save(folder / f"{row}.png")
    said = lines_of(cli("train", "--task", tmp_path / "images", *QUICK).stdout)
    assert said["Task"] == "images: 16 training examples, 8 held out, 2 classes"
    done = cli("train", "--task", tmp_path / "images", "--test-fraction", "0.5")
    assert "has a test set of its own: leave out --test-fraction." in done.stderr


def test_list_shows_every_proxy_with_the_labels_that_it_needs(cli):
    lines = cli("train", "--list").stdout.splitlines()
    assert lines[0].split() == ["proxy", "labels", "what", "it", "is"]
    assert [line.split()[:2] for line in lines[1:]] == [
        [name, proxy.required_labels] for name, proxy in PROXIES.items()
    ]
    listed = facts(cli("train", "--list", "--json", "-").stdout)["rows"]
    assert [row["proxy"] for row in listed] == list(PROXIES)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ["--proxy", "supcn"],
            'unknown proxy "supcn"; did you mean "supcon"? modtools train --list shows all of '
            "them.",
        ),
        (
            ["--schedule", "sequentially"],
            'unknown schedule "sequentially"; did you mean "sequential"? Known: sequential, '
            "simultaneous, end_to_end.",
        ),
        (["--network", "resnet"], 'unknown network "resnet"; did you mean "resnet18"? Known: '),
        (["--max-seconds", "0"], "--max-seconds must be a finite number above 0; got 0.0."),
        (["--max-seconds", "nan"], "--max-seconds must be a finite number above 0; got nan."),
        (["--at", "3", "--at", "block1"], 'unknown cut point "3". The blocks are block1, block2,'),
        (
            ["--at", "1"],
            "--at, the number of modules, must be a whole number of at least 2; got 1.",
        ),
        (["--at", "9"], "--at 9 asks for more modules than the network has blocks (6: block1,"),
        (
            ["--schedule", "end_to_end", "--at", "3"],
            "end_to_end trains the network as a whole: leave out --proxy and --at.",
        ),
        (["--classes", "1,11"], 'unknown class of digits "11"; did you mean "1"? Known: 0, 1, '),
        (["--classes", "1"], "a task needs at least two classes; got 1."),
        (["--name", "mine"], "--name is the name of the module in a zoo: add --zoo DIR."),
        (["--zoo", "zoo", "--name", "a/b"], "a module's name starts with a letter or digit"),
        (
            ["--plot", "a.gif"],
            "a picture is saved as .png and .svg, or as .pdf; got the name 'a.gif'.",
        ),
        (["--batch-size", "0"], "--batch-size must be a whole number of at least 1; got 0."),
        (["--at", "blck1", "--epochs", "1"], 'unknown cut point "blck1"; did you mean "block1"'),
        (
            ["--proxy", "nmse", "--proxy", "raw", "--epochs", "1"],
            "--proxy must be one objective, for there is 1 hidden module; got 2.",
        ),
        (["--precision", "float16", "--epochs", "1"], 'unknown precision "float16"'),
        (["--task", "gone.npz"], "file or folder gone.npz does not exist."),
    ],
)
def test_bad_input_is_one_line_before_anything_is_trained(cli, words, text):
    done = cli("train", *words)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_texts_and_measurements_are_refused(cli, tmp_path):
    (tmp_path / "texts.csv").write_text("text,label\n" + "good,1\nbad,0\n" * 8)
    done = cli("train", "--task", tmp_path / "texts.csv")
    assert done.stderr.startswith(
        "error: the reference networks read images or vectors of numbers; texts "
    )
    np.savez(tmp_path / "sizes.npz", inputs=np.eye(8), labels=np.linspace(0, 1, 8))
    done = cli("train", "--task", tmp_path / "sizes.npz")
    assert done.stderr == (
        "error: training needs one class per example; the labels of sizes are regression.\n"
    )


def test_words_can_be_called_by_their_number():
    task = Task(np.zeros((6, 2)), list("aabbcc"), name="letters")
    for names in (["a", "c"], ["0", "2"], ["2", "0", "0"]):
        part = task.of_classes(names)
        assert part.classes.tolist() == ["a", "c"]
        assert len(part) == 4
    assert task.of_classes(["c", "a"]).name == "letters c,a"
    with pytest.raises(ModtoolsError, match='unknown class of letters "3"'):
        task.of_classes(["a", "3"])


def test_the_interval_is_that_of_another_implementation():
    for n_right, n_rows in ((0, 5), (5, 5), (441, 449), (1, 3)):
        other = binomtest(n_right, n_rows).proportion_ci(method="wilson")
        assert wilson(n_right / n_rows, n_rows) == pytest.approx(tuple(other), abs=1e-6)


def test_ctrl_c_says_how_to_go_on(cli, images, monkeypatch, tmp_path):
    def interrupt(*_args, checkpoint, **_options):
        raise KeyboardInterrupt(f"training stopped; go on from {checkpoint}.")

    monkeypatch.setattr("modtools.training.train_modular", interrupt)
    done = cli("train", "--task", images, "--checkpoint", tmp_path / "run.pt")
    assert done.exit_code == 130
    assert done.stderr == f"training stopped; go on from {tmp_path / 'run.pt'}.\n"


def test_a_stopped_run_goes_on_from_its_checkpoint(cli, images, monkeypatch, tmp_path):
    from modtools.training import _trainer

    words = ("train", "--task", images, *QUICK, "--json", "-")
    whole = facts(cli(*words).stdout)
    step, seen = _trainer.Trainer._step, []

    def stop_at_the_third(self, *args):
        seen.append(args)
        if len(seen) == 3:
            import signal

            signal.raise_signal(signal.SIGINT)
        return step(self, *args)

    monkeypatch.setattr(_trainer.Trainer, "_step", stop_at_the_third)
    words = (*words, "--checkpoint", tmp_path / "run.pt")
    done = cli(*words)
    assert done.exit_code == 130
    assert "training stopped; " in done.stderr
    assert (tmp_path / "run.pt").is_file()
    resumed = facts(cli(*words).stdout)
    assert resumed["accuracy"] == whole["accuracy"]
    losses = [[row["loss"] for row in run["rows"]] for run in (whole, resumed)]
    assert losses[0] == losses[1]
    assert not (tmp_path / "run.pt").exists()


def test_every_example_of_the_help_parses(cli, monkeypatch):
    from modtools.cli._train import train

    lines = [line.strip() for line in train.__doc__.splitlines()]
    examples = [line.split()[1:] for line in lines if line.startswith("modtools train ")]
    assert len(examples) == 8
    monkeypatch.setattr("modtools.cli._train._train", lambda *_: 1 / 0)
    for words in examples[:-1]:
        assert isinstance(cli(*words).exception, ZeroDivisionError), words
    shown = " ".join(cli("train", "--help").stdout.replace("│", " ").split())
    assert "modtools train --task fashion-mnist --max-seconds 600" in shown
    assert "The output module is trained last, with class labels on frozen features" in shown


@pytest.mark.real_data
def test_fashion_has_a_test_set_of_its_own(cli, monkeypatch):
    seen = []
    monkeypatch.setattr("modtools.training.train_modular", lambda *_a, **_k: 1 / 0)
    monkeypatch.setattr(
        "modtools.cli._train._free_name", lambda _wanted, _saving, train: seen.append(train)
    )
    cli("train", "--task", "fashion-mnist", "--classes", "0,9")
    assert (len(seen[0]), seen[0].classes.tolist()) == (12000, [0, 9])
    done = cli("train", "--task", "fashion-mnist", "--test-fraction", "0.5")
    assert done.stderr == (
        "error: fashion-mnist has a test set of its own: leave out --test-fraction.\n"
    )
