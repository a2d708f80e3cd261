"""The README and the docs say what is true: their examples run, their tables are the registry."""

import re
from pathlib import Path

import pytest

from modtools.exceptions import WARNING_CODES
from modtools.proxies import PROXIES
from modtools.selection import is_accuracy
from modtools.transferability import SCORES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = sorted((ROOT / "docs").glob("*.md"))


def run_blocks(text, page):
    """Run the Python blocks of a page in order; return their names and how many there are."""
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    names = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    return names, len(blocks)


def test_every_python_block_of_the_readme_runs_in_order(tmp_path, monkeypatch, capsys):
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    names, n_blocks = run_blocks(README, "README.md")
    assert n_blocks == 6
    plt.close("all")
    assert names["ranking"].best == "pixels"
    assert names["result"].labels_needed == "pairs"
    assert names["model"].accuracy(names["test"]) > 0.7
    assert len(set(names["rows"])) == 10
    assert names["curve"].n_labels[-1] == len(names["train"])
    assert (tmp_path / "zoo" / "digits-supcon" / "card.json").is_file()
    assert (tmp_path / "ranking.png").is_file()
    assert "by predicted accuracy (200 labels, 10 classes)" in capsys.readouterr().out


def test_the_example_of_the_page_on_training_runs_and_gives_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    names, _ = run_blocks(text, "training.md")
    assert [module.layers for module in names["result"].modules] == [("block3",), ("features",)]
    assert f"# {[module.layers for module in names['result'].modules]}\n" in text
    assert "`pairs` (which examples are of the" in text
    assert names["baseline"].labels_needed == "classes"


def test_the_number_of_proxies_in_the_readme_is_true():
    assert f"{len(PROXIES)} proxy objectives" in README


def test_the_first_paragraph_says_what_is_predicted():
    first = " ".join(README.split("\n\n")[1].split())
    assert "**a retrained output module on its frozen features**" in first
    assert "not the accuracy of full fine-tuning" in first


@pytest.mark.parametrize("page", [ROOT / "README.md", *DOCS], ids=lambda page: page.name)
def test_links_and_pictures_exist_and_are_small(page):
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    for target in targets:
        if "://" not in target:
            assert (page.parent / target).is_file(), target
            assert (page.parent / target).stat().st_size < 150_000, target


def test_the_table_of_scores_is_the_registry():
    lines = (ROOT / "docs" / "scores.md").read_text(encoding="utf-8").splitlines()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"
    ]
    assert rows[0] == ["score", "needs", "labels", "range", "reference"]
    assert rows[2:] == [
        [s.name, s.needs.replace("_", " "), ", ".join(s.kinds), s.range, s.reference]
        for s in SCORES.values()
    ]


def test_every_score_is_explained():
    text = (ROOT / "docs" / "scores.md").read_text(encoding="utf-8")
    assert {name for name in SCORES if f"**{name}**" not in text} == set()


def test_every_warning_code_is_explained():
    text = (ROOT / "docs" / "warnings.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (MT\d+) \|", text, flags=re.MULTILINE) == list(WARNING_CODES)


def test_accuracies_are_the_scores_whose_range_says_so():
    said = {name for name, score in SCORES.items() if "accuracy" in score.range}
    assert said == {name for name in SCORES if is_accuracy(name)}


def test_the_number_of_scores_in_the_readme_is_true():
    assert f"{len(SCORES)} transferability scores" in README
