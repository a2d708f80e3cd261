"""Files that commands write: places known before the work, results printed before the files."""

import os
import resource
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest

from modtools.modules import Zoo
from modtools.tasks import load_task
from tests.documents import facts

PIXELS = ("--module", "modtools.modules:pixels")
QUICK = ("--network", "multilayer_perceptron", "--epochs", "1", "--batch-size", "32")
FILES, FOLDERS = ("--json", "--csv", "--plot"), ("--cache",)
# What each command works with, what it must not come to, and its options that name outputs.
COMMANDS = {
    "score": ("modtools.selection.rank_modules", FILES, FOLDERS),
    "race": ("modtools.selection.race_modules", FILES, FOLDERS),
    "retrain": ("modtools.modules.extract", (*FILES, "--predictions"), (*FOLDERS, "--save")),
    "study": ("modtools.studies.label_efficiency", FILES, (*FOLDERS, "--resume")),
    "space": ("modtools.studies.task_space", FILES, FOLDERS),
    "agree": ("modtools.studies.score_agreement", FILES, ()),
    "train": ("modtools.training.train_modular", (*FILES, "--checkpoint"), ("--zoo",)),
    "demo": ("modtools.cli._demo._reuse_known_modules", ("--json",), ("--folder",)),
}
WRITERS = {name: words for name, words in COMMANDS.items() if name != "demo"}


@pytest.fixture
def images(tmp_path):
    """A file of 64 images of the digits 0 to 3."""
    digits = load_task("digits")
    rows = np.flatnonzero(digits.labels < 4)[:64]
    np.savez(tmp_path / "four.npz", inputs=digits.batch(rows), labels=digits.labels[rows])
    return tmp_path / "four.npz"


@pytest.fixture
def command(images, feature_files, tmp_path, monkeypatch):
    """Return the words of every command, to work on small things."""
    (tmp_path / "own_modules.py").write_text(
        "from modtools.modules import PretrainedModule\n"
        "def top():\n"
        "    return PretrainedModule(lambda x: x[:, :4].flatten(1).float(), name='top')\n"
    )
    monkeypatch.chdir(tmp_path)
    halves = ("--module", "own_modules:top")
    rows = [
        f"{task},{module},0.{(task + 2 * module) % 7 + 2},{module}"
        for task in range(3)
        for module in range(4)
    ]
    (tmp_path / "table.csv").write_text("task,module,accuracy,logme\n" + "\n".join(rows) + "\n")
    study = ("--n-labels", "6,12", "--repeats", "2")
    return {
        "score": ("score", *feature_files, "--by", "knn"),
        "race": ("score", *feature_files, "--race", "--look-every", "10"),
        "retrain": ("retrain", *PIXELS, "--task", images),
        "study": ("study", *feature_files, *study),
        "space": ("space", *PIXELS, *halves, "--task", images, "--pairs", "--by", "lda"),
        "agree": ("agree", tmp_path / "table.csv"),
        "train": ("train", "--task", images, *QUICK),
        "demo": ("demo",),
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_a_place_that_cannot_be_written_is_known_before_any_work(
    cli, command, name, monkeypatch, tmp_path
):
    work, files, folders = COMMANDS[name]
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle.png").symlink_to("circle.png")
    long = "n" * 300
    bad_files = ("file/a", "folder", long, f"{long}/a", "circle.png", "/proc/modtools/a")
    bad_folders = ("file", "file/a", long, f"new/{long}", "/proc/modtools")
    monkeypatch.setattr(work, lambda *_a, **_k: pytest.fail("it was done in vain"))
    for option, places in {
        **dict.fromkeys(files, bad_files),
        **dict.fromkeys(folders, bad_folders),
    }.items():
        for place in places:
            if (option, place) == ("--plot", "folder"):
                place = "picture.svg"
                (tmp_path / place).mkdir(exist_ok=True)
            before = sorted(tmp_path.rglob("*"))
            done = cli(*command[name], option, tmp_path / place)
            assert (done.exit_code, done.stdout) == (2, ""), (option, place)
            assert done.stderr.startswith("error: "), (option, place)
            assert len(done.stderr.splitlines()) == 1
            assert place[:9] in done.stderr, (option, place)
            assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text() == "kept"


def test_a_wrong_kind_of_picture_is_known_before_any_work(cli, command, monkeypatch):
    for name in WRITERS:
        monkeypatch.setattr(COMMANDS[name][0], lambda *_a, **_k: pytest.fail("done in vain"))
        done = cli(*command[name], "--plot", "a.gif")
        assert done.exit_code == 2
        assert (
            "a picture is saved as .png and .svg, or as .pdf; got the name 'a.gif'." in done.stderr
        )
        assert "a picture needs the name of a file" in cli(*command[name], "--plot", "").stderr


@pytest.mark.parametrize("name", WRITERS)
def test_a_disk_that_is_full_at_the_end_hides_no_result_and_no_other_file(
    cli, command, name, tmp_path, full_device
):
    done = cli(*command[name], "--json", full_device, "--csv", tmp_path / "out.csv")
    assert done.exit_code == 2
    assert done.stderr.endswith(
        f"error: {full_device} cannot be written: No space left on device. Make room, or give "
        "another place.\n"
    )
    lines = done.stdout.splitlines()
    assert len(lines) > 2  # the table or the report
    assert lines[-1].split() == ["Wrote", str(tmp_path / "out.csv")]
    assert (tmp_path / "out.csv").stat().st_size > 0
    quiet = cli(*command[name], "--csv", full_device, "--quiet")
    assert quiet.exit_code == 2
    assert len(quiet.stdout.splitlines()) == (2 if name == "space" else 1)


def test_json_is_printed_although_the_table_cannot_be_written(cli, command, full_device):
    done = cli(*command["score"], "--json", "-", "--csv", full_device)
    assert done.exit_code == 2
    assert facts(done.stdout)["best"]
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("name", WRITERS)
def test_devices_links_and_modes_stay_what_they_are(cli, command, name, tmp_path, null_device):
    (tmp_path / "secret.csv").write_text("old")
    (tmp_path / "secret.csv").chmod(0o600)
    (tmp_path / "link.csv").symlink_to("secret.csv")
    (tmp_path / "link.png").symlink_to("made/picture.png")
    done = cli(
        *command[name], "--json", null_device, "--csv", tmp_path / "link.csv",
        "--plot", tmp_path / "link.png",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert stat.S_ISCHR(null_device.stat().st_mode)
    assert (tmp_path / "link.csv").is_symlink()
    assert "," in (tmp_path / "secret.csv").read_text()
    assert stat.S_IMODE((tmp_path / "secret.csv").stat().st_mode) == 0o600
    assert (tmp_path / "link.png").is_symlink()
    assert (tmp_path / "made" / "picture.png").read_bytes()[:4] == b"\x89PNG"


def test_a_pipe_is_written_into(cli, command, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    found = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_text()))
    reader.start()
    assert cli(*command["score"], "--json", tmp_path / "pipe", "-q").exit_code == 0
    reader.join()
    assert facts(found[0])["best"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_the_list_of_scores_goes_into_a_device(cli, null_device):
    for name in ("score", "retrain", "train"):
        assert cli(name, "--list", "--json", null_device).exit_code == 0
    assert stat.S_ISCHR(null_device.stat().st_mode)


def test_what_cannot_be_printed_is_an_error_in_one_line(command, full_device):
    for words in (command["agree"], (*command["agree"], "--json", "-")):
        with full_device.open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "modtools", *map(str, words)],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == 2
        assert "No space left on device" in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def full_zoo(monkeypatch):
    """Let the disk of a zoo be full, whatever is saved there: really, by the size of files."""
    save = Zoo.save

    def filled(self, *arguments, **options):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
        try:
            return save(self, *arguments, **options)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    with monkeypatch.context() as patch:
        patch.setattr(Zoo, "save", filled)
        yield patch


def test_a_network_that_cannot_be_saved_keeps_its_checkpoint(
    cli, images, tmp_path, full_zoo, monkeypatch
):
    checkpoint, zoo = tmp_path / "run.pt", tmp_path / "zoo"
    words = ("train", "--task", images, *QUICK, "--checkpoint", checkpoint, "--zoo", zoo)
    done = cli(*words, "--csv", tmp_path / "history.csv")
    assert done.exit_code == 2
    assert "Accuracy" in done.stdout
    assert "Saved" not in done.stdout
    assert (tmp_path / "history.csv").is_file()
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.endswith(
        f"The checkpoint {checkpoint} is kept: the same command, with the same "
        "or other files to write, resumes from it.\n"
    )
    full_zoo.undo()
    from modtools.training import _trainer

    monkeypatch.setattr(_trainer.Trainer, "_step", lambda *_: pytest.fail("trained again"))
    again = cli(*words, "--csv", tmp_path / "history.csv")
    assert again.exit_code == 0, again.stderr
    assert list(Zoo(zoo).names) == ["four-supcon-sequential-seed0"]
    assert not checkpoint.exists()
    accuracies = [
        line for text in (done.stdout, again.stdout) for line in text.splitlines() if "%" in line
    ]
    assert accuracies[0] == accuracies[1]


def test_the_checkpoint_goes_only_when_all_files_are_written(cli, images, tmp_path, full_device):
    checkpoint, zoo = tmp_path / "run.pt", tmp_path / "zoo"
    words = ("train", "--task", images, *QUICK, "--checkpoint", checkpoint)
    done = cli(*words, "--json", full_device)
    assert done.exit_code == 2
    assert "No space left on device" in done.stderr
    assert (
        f"The checkpoint {checkpoint} is kept: the same command, with the same or other"
        in done.stderr
    )
    done = cli(*words, "--json", full_device, "--zoo", zoo)
    assert f"{zoo / 'four-supcon-sequential-seed0'} is saved. The checkpoint" in done.stderr
    assert "the same command without --zoo resumes from it." in done.stderr
    assert checkpoint.exists()
    assert cli(*words, "--json", tmp_path / "a.json").exit_code == 0
    assert not checkpoint.exists()


def test_json_says_whether_the_network_was_saved(cli, images, tmp_path, full_zoo):
    words = ("train", "--task", images, *QUICK, "--zoo", tmp_path / "zoo", "--json", "-")
    done = cli(*words)
    assert done.exit_code == 2
    assert facts(done.stdout)["saved"] is None
    full_zoo.undo()
    saved = facts(cli(*words).stdout)["saved"]
    assert saved == str(tmp_path / "zoo" / "four-supcon-sequential-seed0")


def test_a_zoo_whose_names_are_taken_or_too_long_is_known_before_training(
    cli, images, tmp_path, monkeypatch
):
    monkeypatch.setattr("modtools.training.train_modular", lambda *_a, **_k: pytest.fail("trained"))
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "mine").symlink_to("nowhere")
    words = ("train", "--task", images, "--zoo", tmp_path / "zoo", "--name")
    assert f"{tmp_path / 'zoo' / 'mine'} exists; give another" in cli(*words, "mine").stderr
    assert "File name too long" in cli(*words, "語" * 90).stderr  # 270 bytes
    assert sorted(path.name for path in (tmp_path / "zoo").iterdir()) == ["mine"]
