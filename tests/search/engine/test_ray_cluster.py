"""The engine on real Ray workers: two processes, one of which is killed, and drivers that are killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bindplug.errors import InputError
from bindplug_search import embed_with_ray
from tests.search.engine.conftest import write_pictures

OPTIONS = {"actors": 2, "cpus": 1, "workers": 0, "device": "cpu", "quiet": True}


@pytest.fixture(scope="module")
def ray_cluster():
    """Ray on this machine with two processors."""
    from bindplug_search.engine.cluster import ENVIRONMENT

    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ResourceWarning)  # of Ray's own pipes
        ray.init(
            address="local", num_cpus=2, include_dashboard=False, object_store_memory=100 * 1024**2,
            log_to_driver=False, logging_level="critical",
        )  # fmt: skip
    yield ray
    ray.shutdown()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def workers() -> list[int]:
    """Processes of actors that embed."""
    pids = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command = (place / "cmdline").read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        if command.startswith(b"ray::") and b"EmbedPartitions" in command:
            pids.append(int(place.name))
    return pids


class KillOne(threading.Thread):
    """Kills one worker as soon as a partition stands."""

    def __init__(self, rows: Path, before: set[int]) -> None:
        super().__init__(daemon=True)
        self.rows, self.before, self.stop = rows, before, threading.Event()
        self.killed: list[int] = []
        self.done_then = 0

    def run(self) -> None:
        while not self.stop.wait(0.002):
            done = len(list(self.rows.glob("part-*.parquet")))
            alive = [pid for pid in workers() if pid not in self.before]
            if done and alive:
                os.kill(alive[0], signal.SIGKILL)
                self.killed.append(alive[0])
                self.done_then = done
                return


def rows_of(path):
    table = pq.read_table(path)
    return table["path"].to_pylist(), np.array(table["embedding"].to_pylist(), dtype=np.float32)


def local_rows(sources, output, model):
    """What the local path makes of the same sources."""
    from bindplug.cli.app import run

    listed = output.with_suffix(".txt")
    listed.write_text("".join(f"image\t{source}\n" for source in sources))
    arguments = ["embed", "--from-list", str(listed), "-o", str(output), "--model", model, "--quiet"]
    assert run([*arguments, "--on-error", "skip"]) in (0, 3)
    return rows_of(output)


def assert_equal_rows(rows, expected):
    assert rows[0] == expected[0], "nothing is lost, nothing is doubled, the order is that of the files"
    np.testing.assert_allclose(rows[1], expected[1], atol=1e-5)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds workers in /proc")
def test_two_workers_of_which_one_is_killed(ray_cluster, small_model, tmp_path):
    paths = write_pictures(tmp_path / "pictures", 600)
    paths[77].write_bytes(b"no picture")
    killer = KillOne(tmp_path / "rows", set(workers()))
    killer.start()
    summary = embed_with_ray(
        [str(tmp_path / "pictures")],
        tmp_path / "rows",
        modality="image",
        model=small_model,
        save_every=10,
        **OPTIONS,
    )
    killer.stop.set()
    killer.join()
    assert killer.killed, "a worker was killed"
    assert killer.done_then < 60, "in the middle"
    assert (summary.rows, summary.skipped_count) == (599, 1)
    assert summary.details["partitions"] == 60
    assert len(list((tmp_path / "rows").glob("part-*.parquet"))) == 60
    sources = [str(path) for path in paths]
    assert_equal_rows(
        rows_of(tmp_path / "rows"), local_rows(sources, tmp_path / "local.parquet", small_model)
    )
    assert ray_cluster.is_initialized(), "a session that was there goes on"


def test_errors_of_workers_are_bindplugs_own(ray_cluster, small_model, pictures, tmp_path):
    with pytest.raises(InputError, match=r"p00010.png: data in no picture format"):
        embed_with_ray(
            [str(path) for path in pictures],
            tmp_path / "rows",
            modality="image",
            model=small_model,
            on_error="raise",
            **OPTIONS,
        )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gpus": 1.0, "device": "cuda"}, "no machine with 1 CPUs and 1 GPUs"),
        ({"cpus": 64}, "no machine with 64 CPUs"),
        ({"device": "cuda:1"}, "one device; expected auto, cpu or cuda"),
    ],
)
def test_resources_that_no_machine_has(ray_cluster, small_model, pictures, tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        embed_with_ray(
            [str(pictures[0])], tmp_path / "rows", modality="image", model=small_model, **OPTIONS | options
        )


def test_a_cluster_that_does_not_answer(small_model, pictures, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        for name in (address, f"ray://{address}"):
            with pytest.raises(InputError, match=r"--address .*refused.*ray start --head"):
                embed_with_ray(
                    [str(pictures[0])], tmp_path / "rows", modality="image", model=small_model, address=name
                )


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "bindplug.cli", *map(str, arguments)]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds workers in /proc")
def test_a_killed_driver_goes_on(small_model, tmp_path):
    paths = write_pictures(tmp_path / "pictures", 600)
    arguments = command(
        "embed", tmp_path / "pictures", "--modality", "image", "--model", small_model, "--engine", "ray",
        "-E", "actors=2", "-E", "cpus=1", "--save-every", 10, "-o", tmp_path / "rows", "--json", "--quiet",
    )  # fmt: skip
    driver = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    waiting = threading.Event()
    while not list((tmp_path / "rows").glob("part-*.parquet")):
        assert driver.poll() is None
        waiting.wait(0.005)
    driver.kill()
    driver.wait()
    while workers():  # they end with it
        waiting.wait(0.1)
    states = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "rows").glob("part-*")}
    assert 0 < len(states) < 60
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True)
    summary = json.loads(done.stdout)
    assert done.stderr == ""
    assert summary["rows"] == 600
    assert summary["details"]["partitions_done_earlier"] == len(states)
    for name, state in states.items():
        assert (tmp_path / "rows" / name).stat().st_mtime_ns == state, "what was done is untouched"
    sources = [str(path) for path in paths]
    assert_equal_rows(
        rows_of(tmp_path / "rows"), local_rows(sources, tmp_path / "local.parquet", small_model)
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds workers in /proc")
def test_five_thousand_files(ray_cluster, small_model, tmp_path):
    paths = write_pictures(tmp_path / "pictures", 5000)
    for index in range(0, 5000, 500):
        paths[index].write_bytes(b"no picture")
    killer = KillOne(tmp_path / "rows", set(workers()))
    killer.start()
    summary = embed_with_ray(
        [str(tmp_path / "pictures")],
        tmp_path / "rows",
        modality="image",
        model=small_model,
        save_every=50,
        **OPTIONS,
    )
    killer.stop.set()
    killer.join()
    assert killer.killed
    assert killer.done_then < 100
    assert (summary.rows, summary.skipped_count) == (4990, 10)
    sources = [str(path) for path in paths]
    assert_equal_rows(
        rows_of(tmp_path / "rows"), local_rows(sources, tmp_path / "local.parquet", small_model)
    )
