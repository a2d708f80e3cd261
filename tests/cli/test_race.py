"""``modtools score --race``: what it prints, what it writes, and how it fails."""

import numpy as np
import pandas as pd
import pytest

from tests.documents import facts


@pytest.fixture
def many_rows(tmp_path):
    """Write two files of cached features with labels enough for a race."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 500)
    paths = []
    for name, alpha in (("noise", 0.0), ("good", 4.0)):
        features = alpha * np.eye(3)[labels] + rng.normal(size=(500, 3))
        paths.append(tmp_path / f"{name}.npz")
        np.savez(paths[-1], features=features, labels=labels)
    return paths


def test_a_race_prints_its_table_pick_and_promise(cli, many_rows):
    done = cli("score", "--features", *many_rows, "--race", "--look-every", "50")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == (
        "2 modules raced on noise (certified, 500 labels): 20 % of the forward passes"
    )
    assert lines[2].split()[:2] == ["1", "good"]
    assert lines[3].split()[-2] == "good"  # beaten by
    assert lines[4] == "Pick     good"
    assert lines[5].endswith("at most 5 %.")
    assert done.stderr == ""


def test_halving_files_and_json(cli, many_rows, tmp_path):
    words = ["--passes", "0.4", "--csv", tmp_path / "r.csv", "--plot", tmp_path / "r.png"]
    done = cli("score", *many_rows, "--race", *words, "--json", "-")
    assert done.exit_code == 0
    content = facts(done.stdout)
    assert content["best"] == "good"
    assert content["settings"]["mode"] == "halving"
    assert content["pass_fraction"] == pytest.approx(0.4)
    assert pd.read_csv(tmp_path / "r.csv")["module"].tolist() == ["good", "noise"]
    assert (tmp_path / "r.svg").exists()


def test_quiet_prints_the_best_alone(cli, many_rows):
    done = cli("score", *many_rows, "--race", "--error", "0.01", "--tolerance", "1", "-q")
    assert done.stdout == "good\n"


def test_networks_race_with_a_cache(cli, tmp_path):
    words = ["--module", "modtools.modules:pixels", "--task", "digits", "--cache", tmp_path / "c"]
    done = cli("score", *words, "--race")
    assert done.exit_code == 2
    assert "a race needs at least two modules; got 1 (pixels)" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--error", "0.1"], "--error needs --race."),
        (["--race", "--by", "knn"], "--by belongs to a ranking, not to a race."),
        (["--race", "--batch-size", "50"], "--batch-size belongs to a ranking, not to a race."),
        (["--race", "--n-jobs", "2"], "--n-jobs belongs to a ranking, not to a race."),
        (["--race", "--passes", "0.1", "--error", "0.1"], "--passes makes none; give one."),
        (["--race", "--passes", "7"], "--passes must lie strictly between 0 and 1; got 7.0."),
        (["--race", "--look-every", "500"], "--look-every must leave examples to predict"),
    ],
)
def test_bad_input_is_one_line(cli, many_rows, words, message):
    done = cli("score", *many_rows, *words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
