"""Options of forward passes on the command line: bad ones, and any beside cached features."""

import pytest

DIGITS = ["--task", "digits", "--classes", "0,1"]
PIXELS = ["--module", "modtools.modules:pixels", *DIGITS]
COMMANDS = {
    "choose": ["--labels", "4"],
    "retrain": [],
    "score": ["--by", "knn"],
    "select": [],
    "study": ["--n-labels", "6", "--repeats", "1"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--batch-size", "-3"], "--batch-size must be a whole number of at least 1; got -3."),
        (["--device", "nowhere:0"], 'device "nowhere:0" is not available here; known: cpu'),
        (["--batch-size", "8"], "features were given, so no network runs: leave out --batch-size."),
        (["--device", "cpu"], "features were given, so no network runs: leave out --device."),
        (["--cache", "kept"], "features were given, so no network runs: leave out --cache."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_cached_features_leave_nothing_to_run(
    cli, feature_files, tmp_path, monkeypatch, command, words, text
):
    monkeypatch.chdir(tmp_path)
    files = feature_files[:1] if command in ("choose", "retrain") else feature_files
    done = cli(command, "--features", *files, *COMMANDS[command], *words)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {text}")
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("command", ["choose", "extract", "retrain", "score", "study"])
def test_a_batch_of_a_network_holds_an_example(cli, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    done = cli(command, *PIXELS, *COMMANDS.get(command, []), "--batch-size", "-3")
    assert done.exit_code == 2
    assert done.stderr == "error: --batch-size must be a whole number of at least 1; got -3.\n"
