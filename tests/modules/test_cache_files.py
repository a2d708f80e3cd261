"""What may happen to the files of a cache, and that features come back right all the same."""

import errno
import os
import subprocess
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from modtools import _locks
from modtools.exceptions import ModtoolsError, ModtoolsWarning
from modtools.modules import Cache, PretrainedModule, _cache as cache_file, _extraction, extract

ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)
INPUTS = np.ones((2, 4), np.float32)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "kept"


@pytest.fixture
def cache(folder):
    return Cache(folder)


def files(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def refuses(number):
    def refuse(*_args, **_options):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.EROFS, errno.EPERM, errno.EACCES])
def test_a_cache_that_can_only_be_read_is_read_without_a_word(linear, folder, monkeypatch, number):
    expected = extract(linear, INPUTS, cache=folder)
    kept = files(folder)
    for name in ("utime", "unlink", "replace", "rename", "mkdir"):
        monkeypatch.setattr(os, name, refuses(number))
    monkeypatch.setattr(cache_file.tempfile, "mkstemp", refuses(number))
    monkeypatch.setattr(_extraction, "_run_uncached", refuses(errno.EIO))  # it need not run
    np.testing.assert_array_equal(extract(linear, INPUTS, cache=folder), expected)
    assert files(folder) == kept


def test_a_read_only_mount_is_read_without_a_word_and_written_with_one(linear, folder):
    expected = extract(linear, INPUTS, cache=folder)
    bind = ["mount", "--bind", folder, folder]
    if os.name != "posix" or os.geteuid() or subprocess.run(bind, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        again = ["mount", "-o", "remount,bind,ro", folder]
        subprocess.run(again, check=True, capture_output=True)
        np.testing.assert_array_equal(extract(linear, INPUTS, cache=folder), expected)
        with pytest.warns(ModtoolsWarning, match=r"MT007: features were not kept.*[Rr]ead-only"):
            found = extract(linear, INPUTS + 1, cache=folder)
        assert found.shape == expected.shape
        with pytest.raises(ModtoolsError, match=r"could not be removed.*[Rr]ead-only"):
            Cache(folder).clear()
    finally:
        subprocess.run(["umount", folder], check=True, capture_output=True)
    assert len(files(folder)) == 1


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_an_entry_that_cannot_be_opened_is_computed_again_and_not_removed(
    linear, folder, monkeypatch, number
):
    expected = extract(linear, INPUTS, cache=folder)
    kept, open_ = files(folder), Path.open

    def refuse(self, *args, **options):
        if self.name in kept:
            raise OSError(number, os.strerror(number))
        return open_(self, *args, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.warns(ModtoolsWarning, match=r"MT002: the cache entry .* cannot be read"):
        np.testing.assert_array_equal(extract(linear, INPUTS, cache=folder), expected)
    assert files(folder) == kept


def test_a_full_disk_is_said_once_for_all_that_was_not_kept(module, images, folder, monkeypatch):
    monkeypatch.setattr(cache_file.os, "fsync", refuses(errno.ENOSPC))
    with pytest.warns(ModtoolsWarning) as caught:
        found = extract(module, images, cache=folder)
    assert tuple(found) == module.names
    assert len(caught) == 1
    assert "MT007: features were not kept" in str(caught[0].message)
    assert files(folder) == []


@pytest.mark.parametrize("moment", ["is_file", "open", "fromfile"])
def test_an_entry_that_another_process_removes_meanwhile(cache, folder, monkeypatch, moment):
    cache.put("k", ROWS)
    home = np if moment == "fromfile" else Path
    whole = getattr(home, moment)

    def removed(*args, **options):
        found = whole(*args, **options) if moment == "is_file" else None
        (folder / "k.features").unlink()
        return found if moment == "is_file" else whole(*args, **options)

    monkeypatch.setattr(home, moment, removed)
    found = cache.get("k")
    assert found is None or np.array_equal(found, ROWS)


def test_a_damaged_byte_anywhere_is_noticed(cache, folder):
    """Whatever byte of an entry changes, wherever it ends: right features, or none and a word."""
    cache.put("k", ROWS)
    path, told = folder / "k.features", 0
    whole = path.read_bytes()
    damaged = [whole[:n] for n in range(len(whole))]
    for place in range(len(whole)):
        others = (whole[place] ^ 1, whole[place] ^ 0x80, 0, ord("0"), ord(" "), ord("]"))
        damaged += [whole[:place] + bytes([byte]) + whole[place + 1 :] for byte in others]
    for data in damaged:
        path.write_bytes(data)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = cache.get("k")
        if data == whole:
            np.testing.assert_array_equal(found, ROWS)
            continue
        assert found is None, data
        assert [str(w.message)[:5] for w in caught] == ["MT002"], data
        assert not path.exists()
        told += 1
    assert told > 6 * len(whole) - 100


def test_the_shape_is_under_the_checksum(cache, folder):
    cache.put("k", ROWS)
    path = folder / "k.features"
    path.write_bytes(path.read_bytes().replace(b"[3, 2]", b"[2, 3]"))
    with pytest.warns(ModtoolsWarning, match="MT002: the cache entry .*its checksum differs"):
        assert cache.get("k") is None


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 4000,
        b"null",
        b"[1]",
        b'"x"',
        b"1e999",
        b'{"shape": [3, 2]}',
        b'{"format": 2, "sha256": 3, "shape": [3, 2]}',
        b'{"format": 2, "sha256": "x", "shape": [1e18, 1e18]}',
        b'{"format": 2, "sha256": "x", "shape": [-3, -2]}',
        b'{"format": 2, "sha256": "x", "shape": ["xxxx", 1000000000000]}',
        b'{"format": 2, "sha256": "x", "shape": {"a": 1}}',
        b'{"format": 2, "sha256": "x", "shape": null}',
        b'{"format": 2, "sha256": "x", "shape": [true, 6]}',
        b'{"format": 2, "sha256": "x", "shape": [' + b"9" * 4000 + b"]}",
        b"\xff\xfe\x00",
    ],
)
def test_a_crafted_header_is_refused(cache, folder, header):
    folder.mkdir()
    (folder / "k.features").write_bytes(header + b"\n" + ROWS.tobytes())
    with pytest.warns(ModtoolsWarning, match="MT002"):
        assert cache.get("k") is None


def test_entries_of_the_first_version_are_computed_again_without_a_word(cache, folder):
    folder.mkdir()
    old = b'{"sha256": "' + b"0" * 64 + b'", "shape": [3, 2]}\n' + ROWS.tobytes()
    (folder / "k.features").write_bytes(old)
    assert cache.get("k") is None
    cache.put("k", ROWS)
    np.testing.assert_array_equal(cache.get("k"), ROWS)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (2, 3, 4)])
def test_any_shape_comes_back(cache, shape):
    rows = np.random.default_rng(0).random(shape, dtype=np.float32)
    cache.put("k", rows)
    np.testing.assert_array_equal(cache.get("k"), rows)


@pytest.mark.parametrize("remove", ["clear", "evict"])
def test_what_another_is_writing_is_not_removed(folder, monkeypatch, remove):
    """The other process is between the last byte and the rename."""
    writer, reader = Cache(folder), Cache(folder, limit=1e-9 if remove == "evict" else None)
    fsync, seen = os.fsync, []

    def beside(handle):
        fsync(handle)
        monkeypatch.setattr(cache_file.os, "fsync", fsync)
        if remove == "clear":
            reader.clear()
        else:
            reader.put("other", ROWS)  # larger than the limit: everything goes
        seen.extend(files(folder))

    monkeypatch.setattr(cache_file.os, "fsync", beside)
    writer.put("k", ROWS)
    assert len(seen) == 1
    assert seen[0].startswith("k.features")
    np.testing.assert_array_equal(writer.get("k"), ROWS)
    assert files(folder) == ["k.features"]


@pytest.mark.parametrize("remove", ["clear", "put"])
def test_what_a_killed_process_left_is_removed(cache, folder, remove):
    cache.put("k", ROWS)
    (folder / "k.featuresx1y2z3").write_bytes(b"half")
    getattr(cache, remove)(*(("k", ROWS) if remove == "put" else ()))
    assert files(folder) == ([] if remove == "clear" else ["k.features"])


def test_where_files_cannot_be_locked_unfinished_ones_stay(cache, folder, monkeypatch):
    def without(_path):
        raise OSError("no locks here")

    monkeypatch.setattr(_locks, "open_held", without)
    cache.put("k", ROWS)
    np.testing.assert_array_equal(cache.get("k"), ROWS)
    (folder / "k.featuresx1y2z3").write_bytes(b"may be another's")
    cache.clear()
    assert files(folder) == ["k.featuresx1y2z3"]


def test_two_that_compute_the_same_entry_at_once(folder, monkeypatch):
    fsync, meet, found = os.fsync, threading.Barrier(2, timeout=60), []

    def together(handle):
        meet.wait()
        fsync(handle)

    monkeypatch.setattr(cache_file.os, "fsync", together)
    module = PretrainedModule(nn.Linear(4, 3), name="small")
    threads = [
        threading.Thread(target=lambda: found.append(extract(module, INPUTS, cache=folder)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files(folder)) == 1
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(extract(module, INPUTS, cache=folder), found[0])


def test_the_limit_holds_for_files_of_any_size_and_of_others(folder, monkeypatch):
    big, small = np.ones((100, 10), np.float32), ROWS
    cache = Cache(folder, limit=1e-6)
    cache.put("big", big)
    assert files(folder) == []  # larger than all that may be kept
    cache.put("small", small)
    assert files(folder) == ["small.features"]
    unlink = Path.unlink

    def not_mine(self, *args, **options):
        if self.name == "small.features":
            raise PermissionError(errno.EPERM, "Operation not permitted")
        unlink(self, *args, **options)

    monkeypatch.setattr(Path, "unlink", not_mine)
    for key in "abcdefghij":
        cache.put(key, small)
    assert cache.size <= 1000
    assert "small.features" in files(folder)
    np.testing.assert_array_equal(cache.get("j"), small)


def test_what_is_not_a_file_is_left_alone(cache, folder):
    (folder / "k.features").mkdir(parents=True)
    assert cache.get("k") is None
    with pytest.warns(ModtoolsWarning, match="MT007"):
        cache.put("k", ROWS)
    cache.clear()
    assert files(folder) == ["k.features"]


def test_a_path_that_no_system_knows_is_refused_at_the_door():
    with pytest.raises(ModtoolsError, match="cache"):
        Cache("a\0b")
