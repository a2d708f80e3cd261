"""The shelf must not rot: at toy size it is built, read back, scored and not built twice."""

import json

import pandas as pd
import pytest

import modtools as mt


@pytest.fixture(scope="module")
def folder(tmp_path_factory, run_study):
    folder = tmp_path_factory.mktemp("study")
    assert run_study("zoo", "--quick", "--json", folder / "figures.json") == 0
    return folder


def test_it_builds_every_source_with_every_method(folder):
    table = pd.read_csv(folder / "modules.csv")
    figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    assert len(table) == figures["n_modules"] == len(mt.Zoo(folder / "zoo")) == 8
    assert set(table["labels"]) == {"pairs", "classes"}
    assert table["accuracy"].between(0, 100).all()
    assert table["seconds"].sum() == pytest.approx(figures["training_seconds"], abs=0.1)
    assert figures["minutes"] > 0
    assert (folder / "modules.png").stat().st_size > 0


def test_a_card_says_where_the_module_comes_from(folder):
    card = mt.Zoo(folder / "zoo").card("footwear-supcon")
    assert card["source_task"] == "digits footwear"
    assert card["training"]["source_classes"] == [5, 7, 9]
    assert card["training"]["labels_needed"] == "pairs"


def test_the_zoo_can_be_scored(folder):
    few = mt.load_task("digits").few_labels(per_class=3, seed=0)
    ranking = mt.rank_modules(mt.Zoo(folder / "zoo"), few, by="ridge")
    assert len(ranking.frame()) == 8
    assert ranking.best.endswith("@features")


def test_what_the_zoo_holds_is_not_trained_again(folder, run_study):
    before = {path: path.stat().st_mtime_ns for path in folder.glob("zoo/*/card.json")}
    figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    assert run_study("zoo", "--quick", "--json", folder / "figures.json") == 0
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("zoo/*/card.json")}
    assert json.loads((folder / "figures.json").read_text(encoding="utf-8")) == figures
