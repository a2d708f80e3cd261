import json
import pickle
import shutil

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from torch import nn

from modtools.exceptions import ModtoolsError
from modtools.modules import PretrainedModule, Zoo, extract, pixels
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
        loaded.decision_values(parts[1]), model.decision_values(parts[1]), dtype=np.float32
    )
    assert loaded.predict(parts[1]).dtype == model.predict(parts[1]).dtype
    assert repr(loaded) == repr(model)
    assert loaded.output.get_params() == model.output.get_params()
    assert loaded.seconds == model.seconds


def test_names_of_classes_are_kept(parts, tmp_path):
    names = np.array(["naught", "ä", "two", "three", "4", "5", "6", "7", "8", "9"])
    train = Task(parts[0].inputs, names[parts[0].labels], classes=[*names, "ten"], name="words")
    model = retrain(pixels(), train, output="ridge", allow_nameless=True)
    loaded = ReusedModel.load(model.save(tmp_path / "model"))
    assert loaded.classes.tolist() == model.classes.tolist()
    assert loaded.nameless.tolist() == ["ten"]
    assert np.array_equal(loaded.predict(parts[1]), model.predict(parts[1]))


def test_a_pool_is_not_needed_after_the_fit(parts, tmp_path):
    output = ClassMeanOutput(pool=extract(pixels(), parts[1]))
    model = retrain(pixels(), parts[0], output=output)
    loaded = ReusedModel.load(model.save(tmp_path / "model"))
    assert loaded.output.pool is None
    assert np.array_equal(loaded.predict(parts[1]), model.predict(parts[1]))


def test_a_loaded_model_still_knows_its_training_rows(saved, parts):
    with pytest.raises(ModtoolsError, match="40 of 40 rows of digits equal training rows"):
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
    nameless = PretrainedModule(nn.Flatten(), name="mine", preprocess=pixels().preprocess)
    with pytest.raises(ModtoolsError, match="mine cannot be saved: it lacks build="):
        retrain(nameless, parts[0], output="ridge").save(tmp_path / "model")
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
