"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import sys
from contextlib import suppress

import pytest

from bindplug.files import lock_file, staged_file, write_whole


def test_a_file_takes_the_place_of_another_and_its_parents_are_made(tmp_path):
    path = tmp_path / "new" / "report.json"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_what_fails_in_the_middle_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "rows.npy"
    write_whole(path, b"whole")
    with suppress(RuntimeError), staged_file(path) as temporary:
        temporary.write_bytes(b"ha")
        assert path.read_bytes() == b"whole"
        raise RuntimeError
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_is_a_directory_is_an_error(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_whole(tmp_path / "taken", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_lock_ends_when_its_file_is_closed(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    assert fcntl
    path = tmp_path / "lock"
    with path.open("ab") as first, path.open("ab") as second:
        assert lock_file(first)
        assert lock_file(first)  # again by the same file
        assert not lock_file(second)
        first.close()
        assert lock_file(second)


def test_a_system_or_file_system_without_locks_lets_everyone_in(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    with (tmp_path / "lock").open("ab") as file:

        def no_locks(*_):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", no_locks)
        assert lock_file(file)
        monkeypatch.setitem(sys.modules, "fcntl", None)
        assert lock_file(file)
