"""``modtools demo``: on a small shelf and few images, so that it takes seconds."""

import re
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from typer.testing import CliRunner

from modtools.cli import _demo, app
from modtools.cli._demo import iter_tasks, known_modules, solve, value_labels
from modtools.modules import PretrainedModule, Zoo, extract, image_preprocess, pixels
from modtools.outputs import LogisticOutput
from modtools.selection import rank_modules
from modtools.tasks import Task, load_task
from tests.documents import facts

pytestmark = pytest.mark.floating_point

FILES = [
    "agreement.png",
    "agreement.svg",
    "figures.json",
    "labels.png",
    "labels.svg",
    "ranking.csv",
    "ranking.png",
    "ranking.svg",
    "zoo",
]


def small_task(n_kept=150, per_class=8):
    digits = load_task("digits")
    few = digits.few_labels(per_class=per_class, seed=0)
    return few, digits.complement(few).subset(range(n_kept))


def figures_of(document):
    return {row["figure"]: row["value"] for row in document["rows"]}


def small_shelf():
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    prepare = image_preprocess(8, channels=1)
    return [PretrainedModule(network, name="net", layers=["1", "2"], preprocess=prepare), pixels()]


def make_small(patch):
    patch.setattr(_demo, "known_modules", small_shelf)
    patch.setattr(_demo, "iter_tasks", lambda _seed: iter([small_task()]))
    patch.setattr(_demo, "EPOCHS", 1)
    patch.setattr(_demo, "PROXIES_SHOWN", ("supcon", "local_classifier"))


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Run the demo once; return what it printed and the folder of its files."""
    here = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        patch.chdir(here)
        patch.setenv("COLUMNS", "100")
        done = CliRunner().invoke(app, ["demo"])
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout, here / "modtools-demo"


def pixels_retrained():
    """Return the accuracy on the held-out examples, by another implementation."""
    few, held_out = small_task()
    rows, others = (task.inputs.reshape(len(task), -1) / 255 for task in (few, held_out))
    output = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return output.fit(rows, few.labels).score(others, held_out.labels)


def test_demo_shows_predicted_beside_achieved_and_writes_its_files(shown):
    text, folder = shown
    assert (
        "Task digits: 230 images, 10 classes. You have labels for 80 of them (8 per class); 150 "
        "are held-out test examples." in text
    )
    assert "Extract  3 modules in one forward pass of each of 2 networks, 230 images, " in text
    header, other = [line for line in text.splitlines() if line.startswith("    module")]
    assert header.split() == other.split()
    assert header.split() == [
        "module", "predicted", "accuracy", "(%)", "95", "%", "interval", "achieved", "(%)",
        "features", "forward", "pass", "(ms)",
    ]  # fmt: skip
    assert "Pick     pixels" in text
    assert re.search(r"^Retrain  pixels by labels per class: 1: \d", text, re.MULTILINE)
    assert "Left out Fashion-MNIST: its files are not here" in text
    assert "Agreement of predicted with achieved: weighted tau " in text
    assert text.splitlines()[-1].startswith("Next     modtools score --module ")
    assert sorted(path.name for path in folder.iterdir()) == FILES
    table = pd.read_csv(folder / "ranking.csv")
    achieved = table.loc[table["module"] == "pixels", "achieved"]
    assert achieved.nunique() == 1
    assert achieved.iloc[0] == pytest.approx(pixels_retrained(), abs=1 / 150)
    scores = {"predicted", "half_split", *_demo.SCORES_SHOWN}
    assert set(table["score"]) == scores
    decision = (
        "^Decision for digits: reuse pixels, .* % .* is predicted with the 80 labels; .* million"
    )
    assert re.search(decision, text, re.MULTILINE)


def test_figures_of_a_chosen_folder_are_percent_and_points_and_the_same_for_one_seed(
    cli, shown, monkeypatch, tmp_path
):
    make_small(monkeypatch)
    monkeypatch.chdir(tmp_path)
    done = cli("demo", "-q", "--folder", tmp_path / "here", "--json", tmp_path / "copy.json")
    assert (done.exit_code, done.stdout) == (0, "")
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == FILES
    assert not (tmp_path / "modtools-demo").exists()
    first = facts((tmp_path / "copy.json").read_text())
    assert first == facts((tmp_path / "here" / "figures.json").read_text())
    second = facts((shown[1] / "figures.json").read_text())
    assert {"modtools", "torch", "scikit-learn", "numpy"} <= set(first["versions"])
    figures = figures_of(first)
    assert figures["labels_digits"] == 80
    best, pick = (figures[f"achieved_accuracy_of_{what}_digits"] for what in ("best", "pick"))
    assert 50 < pick <= best <= 100
    few, many = (figures[f"accuracy_of_pick_{n}_a_class_digits"] for n in (1, 8))
    assert 10 < few < many <= 100
    assert "labels_to_reach_digits" in figures
    assert figures["regret_points_digits"] == pytest.approx(best - pick)
    times = {"training_seconds": 0}
    assert {**figures, **times} == {**figures_of(second), **times}


def test_json_at_a_terminal_is_all_that_is_printed(cli, monkeypatch, tmp_path):
    make_small(monkeypatch)
    monkeypatch.setattr(_demo, "_reuse_new_modules", lambda _zoo, _seed: {})
    done = cli("demo", "--folder", tmp_path / "here", "--json", "-")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == (tmp_path / "here" / "figures.json").read_text()
    assert facts(done.stdout)["kind"] == "demo"


def test_what_each_label_is_worth_stands_beside_what_was_predicted():
    outcome = solve(*small_task(), small_shelf(), seed=0)
    worth = value_labels(outcome, seed=0)
    pick = outcome.ranking.best
    assert pick == "pixels"
    table, repeats = worth.display.table, worth.display.repeats
    assert table["line"].unique().tolist() == [
        "pixels, retrained", "predicted from the labels",
    ]  # fmt: skip
    achieved = worth.achieved
    assert list(achieved) == [1, 2, 5, 8]
    assert achieved[8] == pytest.approx(outcome.achieved[pick], abs=1 / 150)
    assert achieved[1] < achieved[8]
    first = repeats.query("repeat == 0 and per_class == 2").iloc[0]
    assert (first["n_labels"], len(repeats)) == (20, 20)
    (predicted,) = table.query("line == 'predicted from the labels' and per_class == 8").index
    row = table.loc[predicted]
    (known,) = outcome.ranking.frame().query("score == 'predicted' and module == 'pixels'")["value"]
    assert row["value"] == pytest.approx(known)
    assert row["value_low"] < row["value"] < row["value_high"]
    assert not worth.display.frame()["baseline"].any()
    assert worth.verdict
    assert worth.figures("d")["accuracy_of_pick_1_a_class_d"] == 100 * achieved[1]


def test_the_pixels_stand_beside_another_pick_in_grey():
    outcome = solve(*small_task(), small_shelf(), seed=0)
    names = [name for name in outcome.few if name != "pixels"]
    ranking = rank_modules(
        {name: outcome.few[name].inputs for name in names}, small_task()[0].labels
    )
    display = value_labels(outcome._replace(ranking=ranking), seed=0).display
    table = display.frame()
    assert set(table.loc[table["baseline"], "line"]) == {"pixels, retrained"}
    assert set(display.repeats["line"]) == {f"{ranking.best}, retrained"}


def test_modules_made_here_are_saved_and_scored_on_digits_that_they_never_saw(shown):
    text, folder = shown
    figures = figures_of(facts((folder / "figures.json").read_text()))
    assert "Accuracy on 225 other images of 0 to 4: supcon " in text
    assert "Task digits 5,6,7,8,9: 896 images, 5 classes. You have labels for 25 of them" in text
    assert "All pairs plus one label per class are full label information." in text
    assert (
        "Labels   of 0 to 4 that hidden modules were trained with: supcon pairs, "
        "local_classifier classes; untrained none" in text
    )
    for name in ("supcon", "local_classifier", "untrained"):
        assert re.search(rf"^ *\d  {name}@features ", text, re.MULTILINE)
    zoo = Zoo(folder / "zoo")
    assert zoo.names == ("local_classifier", "supcon")
    card = zoo.card("supcon")
    assert card["training"]["source_classes"] == [0, 1, 2, 3, 4]
    assert 100 * card["training"]["accuracy"] == figures["accuracy_on_digits_0_to_4_supcon"]
    achieved = figures["achieved_accuracy_digits_5_to_9_supcon@features"]
    assert achieved == pytest.approx(retrained(zoo["supcon@features"]))


def retrained(module):
    """Return the percentage that an output module on 25 labels gets right, extracted anew."""
    digits = load_task("digits")
    rows = digits.labels >= 5
    target = Task(digits.inputs[rows], digits.labels[rows])
    few = target.few_labels(per_class=5, seed=0)
    kept = target.complement(few)
    features = extract(module, target)
    output = LogisticOutput().fit(features[few.rows], few.labels)
    return 100 * output.score(features[kept.rows], kept.labels)


def test_without_the_extra_the_pip_command_is_named(cli, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    done = cli("demo")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert "pip install" in done.stderr
    assert "modtools[demo]" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_digits_come_first_and_no_held_out_example_is_labelled():
    few, held_out = next(iter_tasks(seed=0))
    assert (len(few), len(held_out)) == (200, 1597)
    assert not set(few.rows) & set(held_out.rows)
    assert few.encoded.counts().tolist() == [20] * 10


@pytest.mark.real_data
def test_fashion_keeps_test_images_apart_from_training_images():
    _, (few, held_out) = iter_tasks(seed=0)
    assert (len(few), len(held_out)) == (200, 1800)
    test = load_task("fashion-mnist", split="test")
    assert np.array_equal(held_out.inputs, test.inputs[:1800])
    assert len(few.overlap(test)) == 0


@pytest.mark.slow
@pytest.mark.real_modules("demo")
def test_the_real_shelf_on_few_images(cli, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        _demo, "iter_tasks", lambda _seed: iter([small_task(n_kept=20, per_class=3)])
    )
    monkeypatch.setattr(_demo, "EPOCHS", 1)
    assert [name for module in known_modules() for name in module.names] == [
        *(f"lite0@{layer}" for layer in _demo.LAYERS),
        *(f"lite0-random@{layer}" for layer in _demo.LAYERS),
        "pixels",
    ]
    done = cli("demo")
    assert done.exit_code == 0
    assert "Extract  9 modules in one forward pass of each of 3 networks, 50 images" in done.stdout
