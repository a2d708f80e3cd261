"""Where results go: looked at before the work, links followed, modes kept, devices written into."""

import errno
import os
import resource
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import modtools as mt
from modtools import _places
from modtools._places import check_file, check_folder, check_new_folder
from modtools._writing import write_file
from modtools.exceptions import ModtoolsError
from modtools.plotting import RankingDisplay
from modtools.plotting._display import save_figure

# What root cannot write either: name below tmp_path (or absolute), and the reason.
UNWRITABLE = {
    "under a file": ("file/a.json", "Not a directory"),
    "deep under a file": ("file/b/a.json", "Not a directory"),
    "a folder in its place": ("folder", "Is a directory"),
    "a name too long": ("n" * 300, "File name too long"),
    "a folder's name too long": ("n" * 300 + "/a.json", "File name too long"),
    "a new folder's name too long": ("new/" + "n" * 300 + "/a.json", "File name too long"),
    "links in a circle": ("circle", "Too many levels of symbolic links"),
    "below links in a circle": ("circle/a.json", "Too many levels of symbolic links"),
    "in a file system of the kernel": ("/proc/modtools/a.json", "No such file or directory"),
    "no name": ("a\0b", "embedded null byte"),
}


@pytest.fixture
def places(tmp_path):
    """A folder with a file, a folder, and two links that lead to each other."""
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to("back")
    (tmp_path / "back").symlink_to("circle")
    return tmp_path


def make_device(path, minor):
    """Make a device of one's own, so that no test touches those of the system."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        path.write_bytes(b"")
    except (OSError, AttributeError):
        pytest.skip("needs the right to make devices")
    return path


@contextmanager
def largest_file(n_bytes):
    """Let no file grow beyond so many bytes: a limit that binds for root too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("case", UNWRITABLE)
def test_a_place_is_refused_before_and_while_writing_and_nothing_is_left(places, case):
    name, reason = UNWRITABLE[case]
    path, before = f"{places}/{name}" if name[0] != "/" else name, tree(places)
    for refuse in (check_file, lambda path: write_file(path, "text")):
        with pytest.raises(ModtoolsError) as caught:
            refuse(path)
        shown = path.replace("\0", r"\x00")
        assert str(caught.value).startswith(f"{shown} cannot be written: {reason}.")
        assert tree(places) == before
    assert (places / "file").read_text() == "kept"


def test_looking_at_a_place_that_is_free_leaves_nothing_there(tmp_path):
    assert check_file(tmp_path / "new" / "a.json") == tmp_path / "new" / "a.json"
    assert check_folder(tmp_path / "new" / "study") == tmp_path / "new" / "study"
    assert check_new_folder(tmp_path / "new" / "model") == tmp_path / "new" / "model"
    assert list(tmp_path.iterdir()) == []


def test_folders_are_refused_where_they_cannot_be_or_are_taken(places):
    for name, reason in (("file", "Not a directory"), ("n" * 300, "File name too long")):
        with pytest.raises(ModtoolsError, match=f"cannot be written: {reason}"):
            check_folder(places / name)
    with pytest.raises(ModtoolsError, match="folder cannot be written: File exists"):
        check_new_folder(places / "folder")
    with pytest.raises(ModtoolsError, match="cannot be written: File name too long"):
        check_new_folder(places / ("n" * 300))
    assert check_new_folder(places / ("n" * 250)) == places / ("n" * 250)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_file_or_folder_that_is_read_only_is_refused(tmp_path):
    (tmp_path / "kept").write_text("")
    (tmp_path / "kept").chmod(0o400)
    with pytest.raises(ModtoolsError, match="kept cannot be written: Permission denied"):
        check_file(tmp_path / "kept")
    tmp_path.chmod(0o500)
    with pytest.raises(ModtoolsError, match="new cannot be written: Permission denied"):
        check_file(tmp_path / "new")


def test_a_new_file_follows_the_umask_and_an_old_one_keeps_its_mode(tmp_path):
    before = os.umask(0o027)
    try:
        new = write_file(tmp_path / "new", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE(new.stat().st_mode) == 0o640
    for mode in (0o600, 0o644, 0o666, 0o751):
        new.chmod(mode)
        write_file(new, f"with {mode}")
        assert (stat.S_IMODE(new.stat().st_mode), new.read_text()) == (mode, f"with {mode}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_keeps_its_owner(tmp_path):
    (tmp_path / "a").write_text("old")
    os.chown(tmp_path / "a", 1234, 4321)
    (tmp_path / "a").chmod(0o4755)
    status = write_file(tmp_path / "a", "new").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 4321, 0o4755)


def test_what_is_being_written_is_no_more_open_to_others_than_the_file(tmp_path, monkeypatch):
    seen, write = [], _places._write_all

    def look(handle, content):
        seen.append(stat.S_IMODE(os.fstat(handle).st_mode))
        write(handle, content)

    monkeypatch.setattr(_places, "_write_all", look)
    path = write_file(tmp_path / "secret", "old")
    path.chmod(0o600)
    write_file(path, "new")
    assert seen[1] == 0o600


def test_links_are_followed_to_files_that_are_or_will_be(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "old").write_text("old")
    (tmp_path / "there").joinpath("old").chmod(0o600)
    links = {"one": "two", "two": "there/old", "dangling": "made/new"}
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    for name in ("one", "dangling"):
        check_file(tmp_path / name)
        write_file(tmp_path / name, name)
    assert {name: os.readlink(tmp_path / name) for name in links} == links
    assert (tmp_path / "there" / "old").read_text() == "one"
    assert stat.S_IMODE((tmp_path / "there" / "old").stat().st_mode) == 0o600
    assert (tmp_path / "made" / "new").read_text() == "dangling"
    assert not list(tmp_path.rglob("*.tmp"))


def test_devices_stay_devices_and_a_full_one_is_an_error(tmp_path):
    null, full = make_device(tmp_path / "null", 3), make_device(tmp_path / "full", 7)
    (tmp_path / "link").symlink_to("null")
    for path in (null, tmp_path / "link"):
        check_file(path)
        assert write_file(path, "text") == path
    assert stat.S_ISCHR(null.stat().st_mode)
    check_file(full)  # what is full is known only by writing
    with pytest.raises(ModtoolsError, match=r"full cannot be written: No space left .* Make room"):
        write_file(full, "text")
    assert tree(tmp_path) == ["full", "link", "null"]


def test_a_pipe_gets_it_all_and_stays_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    check_file(tmp_path / "pipe")  # does not wait for a reader
    content, found = b"0123456789" * 50_000, []  # more than a pipe holds
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_file(tmp_path / "pipe", content)
    reader.join()
    assert found == [content]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_standard_output_is_written_into_in_order_even_where_it_is_a_file(tmp_path):
    code = (
        "import sys\nfrom modtools._places import check_file\n"
        "from modtools._writing import write_file\n"
        "for path in sys.argv[1:]:\n"
        "    print('before')\n    check_file(path)\n    write_file(path, 'content\\n')\n"
        "print('after')\n"
    )
    names = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"]
    names = [name for name in names if os.path.exists(name)]
    words = [sys.executable, "-c", code, *names]
    expected = "before\ncontent\n" * len(names) + "after\n"
    with (tmp_path / "out").open("w") as out:
        subprocess.run(words, stdout=out, check=True)
    assert (tmp_path / "out").read_text() == expected
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == expected


def test_a_file_that_is_closed_or_open_to_be_read_cannot_be_written():
    read, write = os.pipe()
    try:
        for number in (read, 987):
            with pytest.raises(ModtoolsError, match="cannot be written: Bad file descriptor"):
                check_file(f"/dev/fd/{number}")
        check_file(f"/dev/fd/{write}")
        write_file(f"/dev/fd/{write}", "through")
        assert os.read(read, 99) == b"through"
    finally:
        os.close(read)
        os.close(write)


def test_a_disk_that_fills_leaves_the_old_file_and_no_other(tmp_path):
    write_file(tmp_path / "a.json", "old")
    for name in ("a.json", "new/b.json"):
        with (
            largest_file(1000),
            pytest.raises(ModtoolsError, match="cannot be written: File too large"),
        ):
            write_file(tmp_path / name, "x" * 5000)
    assert tree(tmp_path) == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "old"


def test_a_name_as_long_as_names_may_be_is_written(tmp_path):
    name = "n" * 255
    check_file(tmp_path / name)
    write_file(tmp_path / name, "text")
    assert tree(tmp_path) == [name]


def a_figure():
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, 1])
    return figure


def test_both_files_of_a_picture_follow_links_and_keep_modes(tmp_path):
    (tmp_path / "real.png").write_bytes(b"")
    (tmp_path / "real.png").chmod(0o600)
    (tmp_path / "a.png").symlink_to("real.png")
    (tmp_path / "a.svg").symlink_to("real.svg")
    written = save_figure(a_figure(), tmp_path / "a")
    assert written == [tmp_path / "a.png", tmp_path / "a.svg"]
    assert (tmp_path / "real.png").read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in (tmp_path / "real.svg").read_text()
    assert stat.S_IMODE((tmp_path / "real.png").stat().st_mode) == 0o600
    assert (tmp_path / "a.png").is_symlink()


def test_a_device_gets_the_picture_without_files_beside_it(tmp_path):
    null = make_device(tmp_path / "null", 3)
    assert save_figure(a_figure(), null) == [null]
    assert tree(tmp_path) == ["null"]
    assert stat.S_ISCHR(null.stat().st_mode)


@pytest.mark.parametrize("name", ["", ".", "..", "/"])
def test_a_picture_needs_a_name(name):
    with pytest.raises(ModtoolsError, match="a picture needs the name of a file; got"):
        save_figure(a_figure(), name)


def rank():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    return mt.rank_modules({"a": rng.normal(size=(40, 2)) + labels[:, None]}, labels, by="knn")


def test_in_python_every_writer_names_the_place(places):
    ranking, long = rank(), "n" * 300
    display = ranking.plot()
    assert isinstance(display, RankingDisplay)
    for name in ("file/a", long, "circle/a"):
        for write in (ranking.to_json, display.save):
            with pytest.raises(ModtoolsError, match=f"{name[:9]}.* cannot be written: "):
                write(places / name)
    with largest_file(100):
        for write in (ranking.to_json, display.save):
            with pytest.raises(ModtoolsError, match="cannot be written: File too large"):
                write(places / "a")
    assert not list(places.rglob("*.tmp"))


@pytest.mark.parametrize("name", ["file", "file/study", "n" * 300, "taken", "/proc/modtools"])
def test_the_folder_of_a_study_is_looked_at_before_anything_is_read(places, name, monkeypatch):
    monkeypatch.setattr("modtools.modules.ModuleCollection.of_pairs", lambda *_: 1 / 0)
    (places / "taken").mkdir()
    (places / "taken" / "cells").write_text("")
    rng, labels = np.random.default_rng(0), np.repeat([0, 1], 20)
    pair = (rng.normal(size=(40, 2)), rng.normal(size=(40, 2)))
    with pytest.raises(ModtoolsError, match="cannot be written: "):
        mt.label_efficiency({"a": pair}, labels, labels, n_labels=[4], folder=places / name)


def test_errors_of_other_kinds_keep_their_reason():
    error = OSError(errno.EROFS, "Read-only file system")
    assert str(_places.unwritable(Path("a"), error, what="the checkpoint ")) == (
        "the checkpoint a cannot be written: Read-only file system. Give another place."
    )
