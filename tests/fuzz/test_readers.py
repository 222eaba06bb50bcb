"""Mutated files of every format: each gives a finite value or an InputError with the file's name, within limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bindplug.inputs import make_preprocess
from bindplug.inputs.notes import collected_notes

HERE = Path(__file__).parent
pytest.importorskip("resource")  # limits are set as Unix does
pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory limit needs /proc")

READERS = ("image", "depth", "thermal", "audio", "video", "imu")
IN_THE_SUITE, THOROUGH = 200, 5000
SEED = 20261128


def read_mutated(kind: str, count: int, seed: int, folder: Path) -> dict:
    """Counts of what became of ``count`` mutated files."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        str(HERE / "worker.py"),
        kind,
        str(count),
        str(seed),
        str(folder),
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60 + count)
    progress = folder / "progress"
    last = progress.read_text() if progress.exists() else "none"
    assert done.returncode == 0, f"killed with {done.returncode} at {folder / last}\n{done.stderr[-3000:]}"
    assert done.stderr == "", "decoders wrote to stderr"
    assert done.stdout.count("\n") == 1, "decoders wrote to stdout"
    return json.loads(done.stdout.splitlines()[-1])


def check(counts: dict, count: int) -> None:
    assert counts["faults"] == []
    assert counts["value"] + counts["refused"] == count
    assert counts["refused"] > count // 10
    assert counts["value"] > count // 50
    assert counts["memory"] <= count // 50, "limits should be met before memory runs out"


@pytest.mark.parametrize("kind", READERS)
def test_mutated_files(kind, tmp_path):
    check(read_mutated(kind, IN_THE_SUITE, SEED, tmp_path), IN_THE_SUITE)


@pytest.mark.slow
@pytest.mark.parametrize("kind", READERS)
def test_many_mutated_files(kind, tmp_path):
    check(read_mutated(kind, THOROUGH, SEED + 1, tmp_path), THOROUGH)


@pytest.mark.parametrize("kind", READERS)
def test_text_and_noise_under_every_name(kind, tmp_path):
    """Files that are nothing of the kind, named as if they were, are skipped with their names."""
    contents = (b"these are words\n" * 50, bytes(range(256)) * 20, b"\0" * 5000, b"\xff\xfb" * 2000)
    paths = []
    for suffix in (
        "wav",
        "mp3",
        "mp4",
        "png",
        "tif",
        "gif",
        "exr",
        "csv",
        "npy",
        "zip",
        "json",
        "parquet",
        "mat",
    ):
        for number, content in enumerate(contents):
            path = tmp_path / f"{number}.{suffix}"
            path.write_bytes(content)
            paths.append(path)
    with collected_notes():
        batch = make_preprocess([kind])[kind].batch(paths, on_error="skip")
    assert len(batch.skipped) > 3 * len(paths) // 4
    assert all(str(paths[skip.index]) in skip.reason for skip in batch.skipped)
    assert all(item.isfinite().all() for item in batch.items)
