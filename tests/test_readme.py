"""The README and the docs say what is true: their examples run, their tables are the registry."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from modtools.cli import app
from modtools.exceptions import WARNING_CODES
from modtools.proxies import PROXIES
from modtools.selection import is_accuracy
from modtools.transferability import SCORES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = sorted((ROOT / "docs").glob("*.md"))
STUDIES = sorted((ROOT / "case_studies").glob("*/README.md"))
COMMANDS = typer.main.get_command(app).commands
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text("utf-8") for page in (*DOCS, *STUDIES)}
TEXTS |= {"README.md": README, **{name: command.help for name, command in COMMANDS.items()}}
OF_THEIR_OWN = ("training.md", "retraining.md", "several_modules.md")  # tests of these pages


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


@pytest.mark.parametrize(
    "page", [page for page in DOCS if page.name not in OF_THEIR_OWN], ids=lambda page: page.name
)
def test_every_python_block_of_a_page_runs_in_order(page, tmp_path, monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    assert run_blocks(text, page.name)[1] == text.count("```python")
    plt.close("all")


def commands_in(text):
    """Return the commands of a text: lines of code blocks, and words between backticks."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    blocks = [block for language, block in fenced if not language]
    blocks += re.findall(r"^ {4}modtools .*$", text, flags=re.MULTILINE)  # of a help text
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`(modtools [^`]*)`", text)
    words = [shlex.split(line, comments=True) for line in lines if line.startswith("modtools ")]
    return [one[1:] for one in words if one[1].isalpha()]


@pytest.mark.parametrize("where", list(TEXTS))
def test_the_commands_shown_have_these_options(where):
    for name, *words in commands_in(TEXTS[where]):
        options = {word for param in COMMANDS[name].params for word in param.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= options
        if len(words) > 1:
            COMMANDS[name].make_context(name, words)


def test_commands_are_found_in_the_texts():
    assert len(commands_in(README)) == 15
    assert len(commands_in(TEXTS["train"])) == 8
    assert ["train", "--checkpoint"] in commands_in(TEXTS["docs/training.md"])


def test_the_single_tests_that_contributing_names_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"pytest (?:--doctest-modules )?(\S+\.py)(?: -k (\w+))?", text)
    assert len(named) == 4
    for file, word in named:
        source = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^def test_\w*{word}|>>> ", source, flags=re.MULTILINE), (file, word)


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
