import json
import pickle
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression
from torch import nn

from modtools.exceptions import ModtoolsError
from modtools.modules import PretrainedModule, Zoo, file_digest, pixels
from modtools.outputs import ClassMeanOutput
from modtools.retraining import ReusedModel, _reused_files as files, retrain
from modtools.tasks import Task
from tests.rounding import assert_same_but_for_rounding

pytestmark = pytest.mark.floating_point

OUTPUTS = ["logistic", "ridge", "class_mean", ClassMeanOutput(metric="cosine")]


@pytest.fixture
def saved(model, tmp_path):
    return model.save(tmp_path / "digits-model")


def edit(path, change):
    card = json.loads((path / "card.json").read_text())
    change(card)
    (path / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize("output", OUTPUTS, ids=str)
def test_a_loaded_model_predicts_the_same(parts, output, tmp_path):
    model = retrain(pixels(), parts[0], output=output)
    loaded = ReusedModel.load(model.save(tmp_path / "model"))
    assert_same_but_for_rounding(
        loaded.decision_function(parts[1]), model.decision_function(parts[1]), dtype=np.float32
    )
    assert loaded.predict(parts[1]).dtype == model.predict(parts[1]).dtype
    assert repr(loaded) == repr(model)
    assert loaded.output.get_params() == model.output.get_params()
    assert loaded.seconds == model.seconds


def test_names_of_classes_are_kept(parts, tmp_path):
    names = np.array(["naught", "ä", "two", "three", "4", "5", "6", "7", "8", "9"])
    train = Task(parts[0].inputs, names[parts[0].labels], classes=[*names, "ten"], name="words")
    model = retrain(pixels(), train, output="ridge", allow_missing_classes=True)
    loaded = ReusedModel.load(model.save(tmp_path / "model"))
    assert loaded.classes.tolist() == model.classes.tolist()
    assert loaded.missing_classes.tolist() == ["ten"]
    assert np.array_equal(loaded.predict(parts[1]), model.predict(parts[1]))


def test_unlabelled_inputs_are_not_needed_after_the_fit(parts, tmp_path):
    model = retrain(pixels(), parts[0], output=ClassMeanOutput(), unlabelled=parts[1])
    loaded = ReusedModel.load(model.save(tmp_path / "model"))
    assert loaded.output.n_classes == 10
    assert np.array_equal(loaded.predict(parts[1]), model.predict(parts[1]))


def with_old_names(path):
    """Give a saved model the names that version 0.1 wrote."""
    old = {
        "missing_classes": "nameless",
        "unassigned_means_": "nameless_means_",
        "uses_clusters_": "uses_pool_",
    }

    def renamed(entries):
        return {old.get(name, name): value for name, value in entries.items()}

    arrays = path / "output.safetensors"
    save_file(renamed(load_file(arrays)), arrays)
    card = renamed(json.loads((path / "card.json").read_text()))
    card["parameters"]["pool"] = None
    card |= {name: renamed(card[name]) for name in ("attributes", "layouts")}
    card["sha256"]["output.safetensors"] = file_digest(arrays)
    (path / "card.json").write_text(json.dumps(card))


def test_a_model_with_old_names_is_read_and_written_anew(tmp_path):
    rng, labels = np.random.default_rng(0), np.arange(100) % 10
    images = rng.integers(0, 200, (10, 6, 6))[labels] + rng.integers(0, 40, (100, 6, 6))
    task = Task(images.astype(np.uint8), labels, name="patterns")
    options = {"output": "class_mean", "unlabelled": task, "allow_missing_classes": True}
    model = retrain(pixels(), task.subset(np.arange(5)), **options)
    assert model.n_unassigned_clusters == 5
    with_old_names(model.save(tmp_path / "old"))
    assert "missing" not in (tmp_path / "old" / "card.json").read_text()
    loaded = ReusedModel.load(tmp_path / "old")
    assert repr(loaded) == repr(model)
    assert loaded.output.get_params() == model.output.get_params()
    assert sorted(vars(loaded.output)) == sorted(vars(model.output))
    inputs = task.inputs
    assert np.array_equal(loaded.decision_function(inputs), model.decision_function(inputs))
    assert np.array_equal(loaded.unassigned_clusters(inputs), model.unassigned_clusters(inputs))
    loaded.save(tmp_path / "new")
    model.save(tmp_path / "model")
    cards = [(tmp_path / name / "card.json").read_text() for name in ("new", "model")]
    assert json.loads(cards[0]).keys() == json.loads(cards[1]).keys()
    assert "nameless" not in cards[0]
    assert "pool" not in json.loads(cards[0])["parameters"]


def test_a_loaded_model_still_knows_its_training_rows(saved, parts):
    with pytest.raises(ModtoolsError, match="40 of 40 examples of digits equal training examples"):
        ReusedModel.load(saved).accuracy(parts[0])


def test_the_folder_is_a_zoo_of_the_module_and_holds_no_pickle(saved):
    assert list(Zoo(saved)) == ["pixels"]
    names = sorted(path.name for path in saved.iterdir())
    assert names == ["README.md", "card.json", "output.safetensors", "pixels"]
    for path in filter(lambda path: path.is_file(), saved.rglob("*")):
        with pytest.raises((pickle.UnpicklingError, ValueError, KeyError, EOFError, IndexError)):
            pickle.loads(path.read_bytes())


def test_replaces_a_model_only_when_asked(saved, model, tmp_path):
    with pytest.raises(ModtoolsError, match="exists; give another path"):
        model.save(saved)
    model.save(saved, overwrite=True)
    assert ReusedModel.load(saved).n_labels == 40
    (tmp_path / "mine").mkdir()
    with pytest.raises(ModtoolsError, match="to replace a saved model"):
        model.save(tmp_path / "mine", overwrite=True)


def test_an_interrupted_write_leaves_nothing_behind(saved, model, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr(files, "save_file", fail)
    with pytest.raises(ModtoolsError, match=r"no space left\. Nothing was left"):
        model.save(saved.with_name("other"))
    with pytest.raises(ModtoolsError, match="no space left"):
        model.save(saved, overwrite=True)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    assert ReusedModel.load(saved).n_labels == 40


def test_says_what_cannot_be_saved(parts, tmp_path):
    model = retrain(pixels(), parts[0], output=LogisticRegression(max_iter=300))
    with pytest.raises(ModtoolsError, match=r"only the output modules of modtools .* got Logistic"):
        model.save(tmp_path / "model")
    unbuilt = PretrainedModule(nn.Flatten(), name="mine", preprocess=pixels().preprocess)
    with pytest.raises(ModtoolsError, match="mine cannot be saved: it lacks build="):
        retrain(unbuilt, parts[0], output="ridge").save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.update(output="Pipeline"), "unknown output module 'Pipeline'"),
        (lambda card: card.update(format=2), "not the card of a modtools reused model"),
        (lambda card: card.pop("classes"), "lacks or mistypes classes"),
        (lambda card: card["sha256"].clear(), "states no sha256 of output.safetensors"),
        (lambda card: card["attributes"].update(fit=1), "has no attribute 'fit'"),
        (lambda card: card["parameters"].update(evil=1), "Nothing was loaded"),
        (lambda card: card.update(class_dtype="O"), "cannot have dtype O"),
        (lambda card: card.update(task_kind="guessing"), 'unknown task_kind "guessing"'),
        (lambda card: card.update(module="../pixels"), "holds no module"),
        (lambda card: card.update(module_sha256="0"), "another one than it was saved with"),
    ],
)
def test_refuses_a_card_that_does_not_fit(saved, change, message):
    edit(saved, change)
    with pytest.raises(ModtoolsError, match=message):
        ReusedModel.load(saved)


def test_refuses_files_that_changed(saved, tmp_path):
    path = saved / "output.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ModtoolsError, match=r"sha256 of output\.safetensors differs"):
        ReusedModel.load(saved)
    (saved / "card.json").write_text("{")
    with pytest.raises(ModtoolsError, match="is not valid JSON"):
        ReusedModel.load(saved)
    shutil.rmtree(saved)
    with pytest.raises(
        ModtoolsError, match=r"must be a folder with a card\.json, and there is none"
    ):
        ReusedModel.load(saved)
