"""TOML files that are missing, damaged or no files at all."""

from __future__ import annotations

import pytest

from bindplug.errors import InputError
from bindplug_lab.toml_files import LONGEST_FILE, read_toml

EXPECTED = "a TOML file of experiments"


def test_marks_and_line_ends_of_other_systems_are_read(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_bytes(b'\xef\xbb\xbftitle = "a"\r\nseeds = [0]\r\n')
    assert read_toml(path, EXPECTED) == {"title": "a", "seeds": [0]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"seeds = [0", "damaged TOML"),
        (b"title = '\xff'", "damaged TOML"),
        (b"a = " + b"[" * 5000, "damaged TOML"),
        (b"#" * (LONGEST_FILE + 1), "more than 1 MiB"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, content, problem):
    path = tmp_path / "grid.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"grid.toml: {problem}.*expected {EXPECTED}"):
        read_toml(path, EXPECTED)


def test_a_folder_and_an_absent_file_are_told_apart(tmp_path):
    with pytest.raises(InputError, match="a folder"):
        read_toml(tmp_path, EXPECTED)
    with pytest.raises(InputError, match="no such file"):
        read_toml(tmp_path / "absent.toml", EXPECTED)
    with pytest.raises(InputError, match="no such file"):
        read_toml(tmp_path / "absent" / "grid.toml", EXPECTED)
