"""Files are fetched whole, resumed where they broke off, and checked."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import re
from pathlib import Path

import pytest

from bindplug.download import MIB, check_record, download
from bindplug.download_checks import DownloadError
from bindplug.errors import CheckpointError
from tests.download.server import CONTENT, begin, leftovers


def test_a_file_arrives_whole_with_its_record(server, target):
    assert download(server.url, target) == target
    assert target.read_bytes() == CONTENT
    record = json.loads(target.with_name("weights.pth.json").read_text())
    assert record["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert record["size_bytes"] == len(CONTENT)
    assert record["sha256_stated_by_publisher"] is False
    assert leftovers(target) == ["weights.pth", "weights.pth.json"]


def test_a_broken_connection_resumes_where_it_broke(server, target):
    server.cut_after = MIB
    download(server.url, target, pause_s=0)
    assert target.read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={MIB}-", f"bytes={2 * MIB}-", f"bytes={3 * MIB}-"]


def test_a_later_call_resumes_what_an_earlier_one_began(server, target):
    server.cut_after = 1000
    with pytest.raises(DownloadError, match="broke off 5 times; 5000 of"):
        download(server.url, target, pause_s=0)
    assert not target.exists()
    server.cut_after = None
    server.requests.clear()
    download(server.url, target)
    assert target.read_bytes() == CONTENT
    assert server.requests == ["bytes=5000-"]


def test_another_version_is_never_spliced(server, target):
    begin(server, target)
    server.content, server.tag = CONTENT[::-1], '"2"'
    download(server.url, target)
    assert target.read_bytes() == CONTENT[::-1]


def test_a_shorter_version_starts_over(server, target):
    begin(server, target)
    server.content = b"short"
    download(server.url, target, pause_s=0)
    assert target.read_bytes() == b"short"


def test_without_a_validator_or_ranges_it_starts_over(server, target):
    server.tag = ""
    begin(server, target)
    server.content = CONTENT[::-1]
    download(server.url, target)
    assert target.read_bytes() == CONTENT[::-1]
    server.content = CONTENT
    target.unlink()
    server.tag, server.ranges = '"1"', False
    begin(server, target)
    download(server.url, target)
    assert target.read_bytes() == CONTENT


def test_a_stated_digest_is_checked(server, target):
    download(server.url, target, sha256=hashlib.sha256(CONTENT).hexdigest().upper())
    assert json.loads(target.with_name("weights.pth.json").read_text())["sha256_stated_by_publisher"] is True
    target.unlink()
    with pytest.raises(CheckpointError, match="expected 00"):
        download(server.url, target, sha256="00")
    assert not target.exists()
    assert "weights.pth.part" not in leftovers(target)


def test_damage_in_the_part_is_found_by_the_digest(server, target):
    begin(server, target)
    part = target.with_name("weights.pth.part")
    part.write_bytes(b"x" + part.read_bytes()[1:])
    with pytest.raises(CheckpointError, match="SHA-256"):
        download(server.url, target, sha256=hashlib.sha256(CONTENT).hexdigest())
    download(server.url, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "requests"), [(403, 1), (404, 1), (501, 1), (429, 5), (500, 5), (503, 5)])
def test_http_errors_are_named_and_busy_servers_asked_again(server, target, status, requests):
    server.status = status
    with pytest.raises(DownloadError, match=f"HTTP {status}"):
        download(server.url, target, pause_s=0)
    assert len(server.requests) == requests


def test_a_busy_server_is_given_the_time_it_asks_for(server, target, monkeypatch):
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        server.status = 0 if len(waits) == 4 else 503

    monkeypatch.setattr("bindplug.download.time.sleep", sleep)
    server.status, server.retry_after = 503, "3"
    download(server.url, target, pause_s=0.5)
    assert target.read_bytes() == CONTENT
    assert waits == [3.0, 3.0, 3.0, 4.0]
    target.unlink()
    waits.clear()
    server.status, server.retry_after = 503, "86400"
    download(server.url, target, pause_s=0.5)
    assert waits == [60.0] * 4


def test_no_connection_fails_at_once(server, target):
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9/"):
        download("http://127.0.0.1:9/weights.pth", target, pause_s=1000)


def test_a_full_disk_is_named_before_writing(server, target, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(DownloadError, match="BINDPLUG_HOME"):
        download(server.url, target)


def test_two_downloads_of_one_file_exclude_each_other(server, target):
    fcntl = pytest.importorskip("fcntl")
    target.parent.mkdir()
    with target.with_name("weights.pth.part").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="another process"):
            download(server.url, target)


def test_a_changed_file_is_refused_by_its_record(server, target):
    assert check_record(target) is False
    download(server.url, target)
    assert check_record(target, full=True) is True
    target.write_bytes(b"x" + CONTENT[1:])
    assert check_record(target) is True
    with pytest.raises(CheckpointError, match="SHA-256"):
        check_record(target, full=True)
    target.write_bytes(CONTENT[:-1])
    with pytest.raises(CheckpointError, match="bytes"):
        check_record(target)
    target.with_name("weights.pth.json").write_text("{}")
    with pytest.raises(CheckpointError, match="damaged"):
        check_record(target)


def test_a_short_reply_without_a_length_is_refused_where_size_or_digest_are_known(server, target):
    server.announces_length, server.cut_after = False, 1000
    with pytest.raises(CheckpointError, match="1000 bytes arrived, the file has about 3000000"):
        download(server.url, target, about_bytes=3_000_000, pause_s=0)
    with pytest.raises(CheckpointError, match="SHA-256"):
        download(server.url, target, sha256=hashlib.sha256(CONTENT).hexdigest(), pause_s=0)
    assert leftovers(target) == []
    server.cut_after = None
    assert download(server.url, target, about_bytes=3_000_000).read_bytes() == CONTENT


def test_a_file_without_end_is_left_at_twice_its_size(server, target):
    server.content, server.announces_length = bytes(8 * MIB), False
    with pytest.raises(CheckpointError, match=r"(\d+) bytes arrived, the file has about 1000000") as raised:
        download(server.url, target, about_bytes=1_000_000, pause_s=0)
    arrived = int(re.search(r"(\d+) bytes arrived", str(raised.value))[1])
    assert 2_000_000 < arrived <= 2_000_000 + MIB
    assert leftovers(target) == []


def test_a_disk_that_fills_up_is_named(server, target, monkeypatch):
    class Full(io.BufferedRandom):
        def write(self, block):
            raise OSError(errno.ENOSPC, "No space left on device")

    opened = Path.open

    def open_full(path, mode="r", **options):
        if mode == "ab":
            path.touch()
            return Full(io.FileIO(path, "r+"))
        return opened(path, mode, **options)

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(DownloadError, match=r"cannot write .*weights\.pth\.part: No space left"):
        download(server.url, target, pause_s=0)
