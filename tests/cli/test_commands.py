"""What all commands share: quick help, options that speak of their own command, messages."""

import subprocess
import sys
from dataclasses import dataclass
from inspect import getdoc, signature

import numpy as np
import pytest

from modtools.cli._options import option, takes_options
from modtools.cli._registries import declared_proxies, declared_scores
from modtools.exceptions import ModtoolsError
from modtools.proxies import PROXIES
from modtools.transferability import SCORES

COMMANDS = (
    *("score", "retrain", "study", "space", "agree", "train", "select", "choose", "extract"),
    "demo",
)
PIXELS = ("--module", "modtools.modules:pixels")
HEAVY = {"torch", "scipy", "sklearn", "pandas", "matplotlib", "seaborn"}
# argv: what must not be loaded, then commands with blanks between their words.
IN_ONE_PROCESS = """
import sys
from modtools.cli._app import app
for words in sys.argv[2:]:
    assert app(words.split(), standalone_mode=False) == 0, words
print("loaded", *sorted(set(sys.argv[1].split()) & set(sys.modules)))
"""


def shown(text):
    """Return the text of a help without frames, folded lines joined."""
    return " ".join(text.replace("│", " ").split())


def test_help_version_and_the_lists_load_nothing_that_is_slow():
    lists = [f"{name} --list" for name in ("score", "train", "retrain", "choose")]
    lines = [*(f"{name} --help" for name in COMMANDS), "--help", "--version", *lists]
    words = [sys.executable, "-c", IN_ONE_PROCESS, " ".join(HEAVY), *lines]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded"


def test_the_list_of_scores_is_that_of_the_registry():
    assert declared_scores() == [
        [s.name, s.needs.replace("_", " "), ", ".join(s.kinds), s.range, s.reference]
        for s in SCORES.values()
    ]


def test_the_list_of_proxies_is_that_of_the_registry():
    assert declared_proxies() == [
        [name, proxy.required_labels, getdoc(proxy).split("\n")[0]]
        for name, proxy in PROXIES.items()
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_first_help_and_has_its_own(cli, name):
    assert f"modtools {name}" in cli("--help").stdout
    done = cli(name, "--help")
    assert done.exit_code == 0
    assert done.stdout.count("<bool>") == 1  # beside typer's own --help; a flag takes no value
    options = shown(done.stdout)
    assert "--json" in options
    assert "--quiet" in options


def test_shared_options_speak_of_their_own_command(cli):
    texts = {name: shown(cli(name, "--help").stdout) for name in COMMANDS}
    ranking = "Draw the ranking as FILE.png"
    assert [name for name, text in texts.items() if ranking in text] == ["score"]
    race = "a race reads by --look-every"
    assert [name for name, text in texts.items() if race in text] == ["score"]
    assert "Zoo folders, or .npz files of cached features." in texts["study"]
    assert "Zoo folders, or .npz files of cached features." in texts["retrain"]
    assert "Zoo folders." in texts["extract"]
    assert "or .npz files" not in texts["extract"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["score", "TABLE"], "Name it with --label-column; columns: "),
        (["score", "FILES", "--look-every", "0", "--race"], "--look-every must be"),
        (["score", "FILES", "--per-class", "90"], "--per-class 90 needs 90"),
        (["score", "FILES", "--labels", "900"], "--labels must be at most the 60 examples"),
        (
            ["space", *PIXELS, *("--task", "digits"), *("--task", "digits"), "--split", "train"],
            "--split does not apply to the task",
        ),
        (["score", "FILES", "--n-jobs", "0"], "other than 0; -1 uses all cores; got 0"),
        (["score", "FILES", "--split", "test"], "--split is about a --task; cached features"),
        (["study", "FILES", "--label-column", "y"], "--label-column is about a --task"),
        (
            ["score", "--module", "modtools.modules:pixel", "--task", "digits"],
            'modtools.modules has no pixel; did you mean "pixels"?',
        ),
        (
            ["retrain", "FILE", "--labels", "1", "--allow-missing-classes"],
            "an output module is trained on at least two labelled examples; noise has one.",
        ),
        (["choose", "FILE", "--classes", "0,1"], "--classes are about a --task"),
        (["space", *PIXELS, *("--task", "digits") * 2], "--task digits is given twice"),
        (["select", "FILES", "--cost", "weak=1"], '--cost lacks a number for "noise" (2 such)'),
        (["select", "FILES", "--max-cost", "3"], "Give --cost, a number for each module."),
        (["select", "FILES", "--plot", "a"], "Select with --cost, a number for each module."),
        (["agree", "ACHIEVED", "--unit", "percent"], "cannot be percent; leave --unit out."),
        (
            ["train", "--task", "VECTORS", "--flip", "--network", "multilayer_perceptron"],
            "For other inputs leave augmentation out.",
        ),
        (
            ["retrain", *PIXELS, "--layer", "a", "--task", "digits"],
            'layer "a" does not exist in pixels; it has no parts: leave its layers out.',
        ),
    ],
)
def test_messages_name_the_option_and_not_the_argument_of_python(
    cli, feature_files, tmp_path, monkeypatch, words, text
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text("a,b\n1,0\n2,1\n" * 4)
    (tmp_path / "achieved.csv").write_text("task,module,accuracy\na,m,0.5\na,n,0.6\n")
    vectors = tmp_path / "vectors.npz"
    np.savez(vectors, inputs=np.eye(24, dtype=np.float32), labels=np.arange(24) % 2)
    named = {
        "FILES": feature_files,
        "FILE": feature_files[:1],
        "TABLE": [*PIXELS, "--task", tmp_path / "table.csv"],
        "ACHIEVED": [tmp_path / "achieved.csv"],
        "VECTORS": [vectors],
    }
    done = cli(*(part for word in words for part in named.get(word, [word])))
    assert done.exit_code == 2
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1


@dataclass(frozen=True, kw_only=True)
class Group:
    n: int | None = option("How many.", "--labels")
    cache: str | None = option("Where.")
    unit: str = option("Unit.", default="fraction")
    test_fraction: float | None = option("Part.")
    is_kept: bool = option("Keep.", "--keep", default=False)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ('pass unit="percent".', "pass --unit percent."),
        ("n must be at most 5.", "--labels must be at most 5."),
        ("Use n=.", "Use --labels."),
        ("n=20 rows are few.", "n=20 rows are few."),
        ("leave out is_kept=True.", "leave out --keep."),
        ("or cache=None.", "or no --cache."),
        ("test_fraction is too large.", "--test-fraction is too large."),
        ("the unit must be known.", "the unit must be known."),
        ('"test_fraction" in a/test_fraction.npz', '"test_fraction" in a/test_fraction.npz'),
        ("few(n=3) needs 3.", "--labels 3 needs 3."),
        ("load(path, unit=...)", "load(path, unit=...)"),
    ],
)
def test_arguments_become_options_and_code_and_names_stay(message, said):
    @takes_options()
    def fail(group: Group) -> None:
        raise ModtoolsError(message)

    with pytest.raises(ModtoolsError) as caught:
        fail()
    assert str(caught.value) == said


def test_options_are_declared_once_and_may_be_left_out_or_worded_anew():
    @takes_options(cache=None, unit="Unit of all.")
    def run(group: Group) -> None:
        found.append(group)

    found = []
    options = signature(run).parameters
    assert list(options) == ["n", "unit", "test_fraction", "is_kept"]
    assert options["unit"].annotation.__metadata__[0].help == "Unit of all."
    run(n=3)
    assert found == [Group(n=3)]
