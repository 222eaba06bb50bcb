"""What directories of weights have in common; each kind's own tests hold the rest."""

import json
import os
import pickle

import pytest
import torch

from bindplug.directories import Manifest, first_line, staged, verified, write_tensors
from bindplug.errors import CheckpointError, WeightsNotFound

BELL = Manifest(
    "acme-bell", version=3, holds="bell", fields={"weights": dict}, remedy="`acme cast` makes one"
)


def test_a_directory_comes_back_with_its_checked_file(tmp_path):
    place = tmp_path / "new" / "bell"
    with staged(place) as directory:
        entry = write_tensors({"rim": torch.ones(3)}, directory / "bell.safetensors", {"cast": "1802"})
        BELL.write(directory, {"weights": entry, "founder": "Ångström"})
        assert not place.exists()
    said = BELL.read(place)
    assert said["founder"] == "Ångström"
    assert (said["format"], said["format_version"]) == ("acme-bell", 3)
    assert verified(place / "bell.safetensors", said["weights"]).parent == place
    assert {path.name: path.stat().st_mode & 0o777 for path in (place, place / "bell.safetensors")} == {
        "bell": 0o755,
        "bell.safetensors": 0o644,
    }
    with pytest.raises(
        CheckpointError, match=r"its manifest gives no checksum of the file bell\.safetensors"
    ):
        verified(place / "bell.safetensors", {"sha256": entry["sha256"]})


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_block_that_raises_leaves_what_stood_there(tmp_path, overwrite):
    place = tmp_path / "bell"
    place.mkdir()
    if overwrite:
        (place / "old").write_text("bronze")

    def fill():
        with staged(place, overwrite=overwrite) as directory:
            (directory / "new").write_text("tin")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fill()
    assert [path.name for path in tmp_path.iterdir()] == ["bell"]
    assert [path.name for path in place.iterdir()] == (["old"] if overwrite else [])


def test_a_file_in_the_way_is_kept(tmp_path):
    (tmp_path / "bell").write_text("not a directory")
    with pytest.raises(CheckpointError, match="overwrite=True to replace it"), staged(tmp_path / "bell"):
        pytest.fail("the block of an occupied place must not run")
    assert (tmp_path / "bell").read_text() == "not a directory"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"format": "acme-drum"}, r"does not describe a bell \(no format 'acme-bell'\)"),
        ({"format_version": 2}, "format version 2; this bindplug reads version 3"),
        ({"weights": ["a"]}, "lacks weights"),
    ],
)
def test_a_manifest_of_something_else_is_refused(tmp_path, said, reason):
    with pytest.raises(WeightsNotFound, match=r"no bell at .*it has no config\.json\. `acme cast` makes one"):
        BELL.read(tmp_path)
    BELL.write(tmp_path, {"weights": {}})
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(content | said))
    with pytest.raises(CheckpointError, match=reason):
        BELL.read(tmp_path)


class Runs:
    """Pickled, it names a function."""

    def __reduce__(self):
        return (os.system, ("true",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_what_torch_refuses_is_told_without_its_advice_to_read_it_unsafely(tmp_path):
    torch.save({"a": Runs()}, tmp_path / "hostile.pt")
    (tmp_path / "newer.pt").write_bytes(pickle.dumps({"a": 1}, protocol=4))
    lines = []
    for name in ("hostile.pt", "newer.pt"):
        with pytest.raises(pickle.UnpicklingError, match="arbitrary code") as raised:
            torch.load(tmp_path / name, weights_only=True)
        lines.append(first_line(raised.value))
    assert lines[0] == f"it names {os.system.__module__}.system"
    assert lines[1] == "Unsupported operand 149"


def test_lines_of_errors_are_printable():
    assert first_line(ValueError("a \x1b[31m name\nmore")) == r"a \x1b[31m name"
    assert first_line(ValueError()) == "ValueError"
