"""``modtools score``: what it prints, what it writes, and how it fails."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from torch import nn

from modtools import __version__
from modtools.cli._output import echo_table
from modtools.modules import PretrainedModule, Zoo
from modtools.selection import rank_modules
from modtools.tasks import load_task
from modtools.transferability import SCORES
from tests.documents import facts

pytestmark = pytest.mark.floating_point

PIXELS = ("--module", "modtools.modules:pixels")


def test_table_pick_and_units(cli, feature_files):
    done = cli("score", "--features", *feature_files, "--by", "ridge", "--scores", "logme,knn")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "3 modules on noise by ridge (60 labels, 3 classes)"
    assert lines[1].split() == [
        "module", "ridge", "(%)", "95", "%", "interval", "features", "logme", "knn", "(%)",
    ]  # fmt: skip
    assert [line.split()[:2] for line in lines[2:5]] == [
        ["1", "good"],
        ["2", "weak"],
        ["3", "noise"],
    ]
    assert lines[5] == "Pick     good."
    assert done.stderr == ""


def test_modules_that_are_not_distinguishable_are_named(cli, tmp_path, feature_files):
    labels = np.load(feature_files[0])["labels"]
    for seed in range(5):
        rng = np.random.default_rng(seed)
        rows = np.eye(3)[labels] + rng.normal(size=(60, 3))
        np.savez(tmp_path / f"m{seed}.npz", features=rows, labels=labels)
    files = [tmp_path / f"m{seed}.npz" for seed in range(5)]
    done = cli("score", "--features", *files, "--by", "class_mean")
    (pick,) = [line for line in done.stdout.splitlines() if line.startswith("Pick")]
    assert "; with 60 labels not distinguishable from " in pick
    assert pick.endswith(" and 1 more.")


def test_columns_that_do_not_fit_are_named_and_nothing_is_folded(capsys, monkeypatch):
    from rich.console import Console

    narrow = Console(width=30, force_terminal=True, no_color=True)
    monkeypatch.setattr("rich.console.Console", lambda **_options: narrow)
    header = ["    module", "ridge (%)", "95 % interval", "features"]
    rows = [[" 1  lite0@_blocks.10", "90.0", "[86.0, 94.0]", "112"]]
    assert echo_table(header, rows) == ["95 % interval", "features"]
    assert "lite0@_blocks.10" in capsys.readouterr().out


def test_files_are_written_and_named(cli, feature_files, tmp_path):
    out = tmp_path / "out"
    done = cli(
        "score", *feature_files, "--by", "ridge", "--json", out / "a.json", "--csv", out / "a.csv",
        "--plot", out / "a.png",
    )  # fmt: skip
    assert done.exit_code == 0
    names = ["a.json", "a.csv", "a.png", "a.svg"]
    assert done.stdout.splitlines()[-1] == "Wrote    " + "  ".join(
        str(out / name) for name in names
    )
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    content = facts((out / "a.json").read_text())
    assert content["best"] == "good"
    assert content["versions"]["modtools"] == __version__
    assert pd.read_csv(out / "a.csv")["module"].tolist() == ["good", "weak", "noise"]


def test_json_to_standard_output_is_all_that_is_printed(cli, feature_files):
    done = cli("score", *feature_files, "--by", "knn", "--json", "-")
    content = facts(done.stdout)
    assert [row["module"] for row in content["rows"]] == ["good", "weak", "noise"]


def test_quiet_prints_the_best_name_alone(cli, feature_files):
    assert cli("score", *feature_files, "--by", "knn", "--quiet").stdout == "good\n"


def test_labels_may_come_from_a_task(cli, tmp_path):
    digits = load_task("digits")
    np.savez(tmp_path / "pixels.npz", features=digits.inputs.reshape(len(digits), -1))
    done = cli(
        "score", tmp_path / "pixels.npz", "--task", "digits", "--per-class", "5", "--by", "knn",
        "--json", "-",
    )  # fmt: skip
    content = facts(done.stdout)
    few = digits.few_labels(per_class=5, seed=0)
    expected = rank_modules({"pixels": few.inputs.reshape(50, -1)}, few, by="knn").frame()
    assert content["settings"]["n_samples"] == 50
    assert content["rows"][0]["value"] == expected["value"][0]


def test_only_the_chosen_classes_are_scored(cli, feature_files):
    words = ("score", feature_files[2], "--by", "knn", "--json", "-", "--classes")
    content = facts(cli(*words, "2, 0").stdout)
    assert (content["settings"]["n_samples"], content["settings"]["n_classes"]) == (40, 2)
    with np.load(feature_files[2]) as stored:
        rows = stored["labels"] != 1
        expected = {"good": stored["features"][rows]}, stored["labels"][rows]
    assert content["rows"][0]["value"] == rank_modules(*expected, by="knn").frame()["value"][0]
    few = facts(cli(*words, "0,1", "--per-class", "5").stdout)
    assert few["settings"]["n_samples"] == 10
    assert cli(*words, "0").stderr == ("error: a task needs at least two classes; got 0.\n")
    assert cli(*words, "0,3").stderr.startswith('error: unknown class of good "3"')


def test_only_the_chosen_classes_reach_a_network(cli):
    words = ("score", *PIXELS, "--task", "digits", "--classes", "5,6,7", "--per-class", "4")
    settings = facts(cli(*words, "--by", "class_mean", "--json", "-").stdout)["settings"]
    assert (settings["task"], settings["n_samples"]) == ("digits 5,6,7", 12)


def test_a_module_factory_is_imported_and_run_on_the_task(cli):
    done = cli("score", *PIXELS, "--task", "digits", "--labels", "80", "--by", "ridge")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "1 module on digits by ridge (80 labels, 10 classes)"


def test_the_same_seed_chooses_the_same_labels(cli):
    words = ("score", *PIXELS, "--task", "digits", "--labels", "80", "--by", "ridge", "--json", "-")
    values = [facts(cli(*words, "--seed", seed).stdout)["rows"][0]["value"] for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    (tmp_path / "my_networks.py").write_text(
        "from torch import nn\n"
        "def small():\n"
        "    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("my_networks", None)


def table_file(folder):
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    rows = (labels[:, None] + rng.normal(size=(40, 3))).astype(np.float32)
    np.savez(folder / "task.npz", inputs=rows, labels=labels)
    return folder / "task.npz"


def test_a_network_in_the_current_folder_is_read_at_its_layers(cli, own_code):
    done = cli(
        "score", "--module", "my_networks:small", "--layer", "0", "--layer", "2", "--task",
        table_file(own_code), "--by", "class_mean", "--json", "-",
    )  # fmt: skip
    rows = facts(done.stdout)["rows"]
    assert {row["module"]: row["n_features"] for row in rows} == {"small@0": 5, "small@2": 2}


def test_zoo_folders_are_ranked(cli, own_code):
    for width in (2, 5):
        build = ("torch.nn:Linear", {"in_features": 3, "out_features": width})
        module = PretrainedModule(nn.Linear(3, width), name=f"linear{width}", build=build)
        Zoo(own_code / "zoo").save(module)
        Zoo(own_code / "zoo2").save(PretrainedModule(module.network, name=f"w{width}", build=build))
    words = ("--task", table_file(own_code), "--by", "knn", "--json", "-")
    one = facts(cli("score", own_code / "zoo", *words).stdout)
    two = facts(cli("score", own_code / "zoo", own_code / "zoo2", *words).stdout)
    assert {row["module"] for row in one["rows"]} == {"linear2", "linear5"}
    assert {row["module"] for row in two["rows"]} == {"linear2", "linear5", "w2", "w5"}


def test_list_shows_every_score(cli):
    done = cli("score", "--list")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["score", "needs", "labels", "range", "reference"]
    assert [line.split()[0] for line in lines[1:]] == list(SCORES)
    assert [
        row["score"] for row in facts(cli("score", "--list", "--json", "-").stdout)["rows"]
    ] == list(SCORES)


def test_warnings_take_one_line_each(cli, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "wide.npz", features=rng.normal(size=(20, 30)), labels=[0, 1] * 10)
    done = cli("score", tmp_path / "wide.npz", "--by", "hscore")
    assert done.exit_code == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning MT003: wide: n=20 examples, d=30 features: hscore equals")


def bad(tmp_path, *, features=None, labels=(0, 1, 0, 1), key="features"):
    rows = np.arange(8.0).reshape(4, 2) if features is None else features
    np.savez(tmp_path / "a.npz", **{key: rows}, labels=labels)
    return tmp_path / "a.npz"


@pytest.mark.parametrize(
    ("words", "start"),
    [(["--bogus"], "No such option"), (["--labels", "many"], "Invalid value for '--labels'")],
)
def test_words_that_do_not_parse_are_one_line_too(cli, words, start):
    done = cli("score", *words)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {start}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["raises", "broken_code:anything"])
def test_own_code_that_fails_is_one_line(cli, own_code, name):
    (own_code / "broken_code.py").write_text("1 / 0\n")
    with (own_code / "my_networks.py").open("a") as stream:
        stream.write("def raises():\n    raise KeyError('weights')\n")
    module = name if ":" in name else f"my_networks:{name}"
    done = cli("score", "--module", module, "--task", "digits")
    problem = "ZeroDivisionError: division by zero" if ":" in name else "KeyError: 'weights'"
    assert done.stderr == f'error: --module "{module}" failed: {problem}.\n'
    assert done.exit_code == 2


def test_a_feature_file_without_features_says_what_it_has(cli, tmp_path):
    done = cli("score", bad(tmp_path, key="embeddings"))
    assert done.exit_code == 2
    expected = 'has no array "features" (or "X"); it has embeddings, labels.'
    assert done.stderr == f"error: {tmp_path / 'a.npz'} {expected}\n"


def test_a_single_array_is_no_feature_file(cli, tmp_path):
    np.save(tmp_path / "a.npy", np.eye(4))
    done = cli("score", "--features", tmp_path / "a.npy")
    assert done.exit_code == 2
    assert "cannot be read as .npz: File is not a zip file" in done.stderr
    assert "numpy.savez(path, features=..., labels=...)" in done.stderr


def test_no_word_at_all_shows_the_help_and_no_empty_error(cli):
    done = cli()
    assert done.exit_code == 2
    assert "First steps" in done.stdout
    assert "error:" not in done.stderr


def test_a_damaged_feature_file_is_one_line(cli, tmp_path):
    (tmp_path / "a.npz").write_bytes(b"not a zip file")
    done = cli("score", tmp_path / "a.npz")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: file {tmp_path / 'a.npz'} cannot be read as .npz: ")
    assert len(done.stderr.splitlines()) == 1


def test_pickled_features_are_refused(cli, tmp_path):
    done = cli("score", bad(tmp_path, features=np.array([{1}, {2}], dtype=object)))
    assert done.exit_code == 2
    assert "holds an object array, which is not loaded because that could run code" in done.stderr


def test_files_with_other_labels_are_refused(cli, tmp_path, feature_files):
    other = bad(tmp_path)
    done = cli("score", feature_files[0], other)
    assert done.exit_code == 2
    assert done.stderr == (
        f"error: {other} holds other labels than {feature_files[0]}; all modules must be scored on "
        "the same examples in the same order.\n"
    )


def test_two_files_of_one_name_are_refused(cli, tmp_path, feature_files):
    (tmp_path / "more").mkdir()
    again = tmp_path / "more" / "good.npz"
    again.write_bytes(feature_files[2].read_bytes())
    done = cli("score", feature_files[2], again)
    assert done.stderr == 'error: two feature files are named "good"; rename one.\n'


def test_nothing_is_written_on_bad_input(cli, tmp_path):
    nan = bad(tmp_path, features=np.full((4, 2), np.nan))
    done = cli("score", nan, "--by", "ridge", "--csv", tmp_path / "out.csv")
    assert done.exit_code == 2
    assert done.stderr.startswith('error: module "a": features must be finite: 8 NaN in 4 rows')
    assert not (tmp_path / "out.csv").exists()


def test_an_output_that_cannot_be_written_is_one_line(cli, tmp_path, feature_files):
    (tmp_path / "file").write_text("")
    done = cli("score", *feature_files, "--by", "knn", "--csv", tmp_path / "file" / "out.csv")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_help_teaches_with_examples(cli):
    done = cli("score", "--help")
    assert done.exit_code == 0
    assert "modtools score zoo/ --task digits" in done.stdout
    assert "This imports and runs that code" in " ".join(done.stdout.replace("│", " ").split())


def test_every_example_of_the_help_parses(cli, monkeypatch):
    from modtools.cli._score import score

    lines = [line.strip() for line in score.__doc__.splitlines()]
    examples = [line.split()[1:] for line in lines if line.startswith("modtools score ")]
    assert len(examples) == 8
    monkeypatch.setattr("modtools.cli._score.gather", lambda *_a, **_k: ({}, [0, 1]))
    for words in examples:
        assert "No such option" not in cli(*words).stderr


def test_version_names_torch_and_the_device(cli):
    import torch

    done = cli("--version")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"modtools {__version__} (torch {torch.__version__}, device: ")


def test_ctrl_c_stops_with_exit_code_130(cli, feature_files, monkeypatch):
    def interrupt(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("modtools.selection.rank_modules", interrupt)
    done = cli("score", *feature_files)
    assert done.exit_code == 130
    assert done.stderr == "stopped; a file that was being written is left as it was.\n"


def test_python_dash_m_modtools_runs_the_same_command(feature_files):
    words = [
        sys.executable,
        "-m",
        "modtools",
        "score",
        *map(str, feature_files),
        "--by",
        "knn",
        "-q",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "good\n", "")


def test_errors_of_the_real_command_have_no_traceback(tmp_path):
    words = [sys.executable, "-m", "modtools", "score", str(tmp_path / "gone.npz")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"error: file {tmp_path / 'gone.npz'} does not exist.\n"
