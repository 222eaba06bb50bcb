import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bindplug.download import MIB, DownloadError, check_record, download
from bindplug.errors import CheckpointError

CONTENT = bytes(range(256)) * (3 * MIB // 256) + b"the end"


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.content``; ``server.cut_after`` breaks each connection off after so many bytes."""

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        fresh = self.headers.get("If-Range") in (None, server.tag)
        server.requests.append(asked)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and fresh and server.ranges else 0
        if server.status:
            self.send_error(server.status)
            return
        if start >= len(server.content):
            self.send_error(416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header(
                "Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}"
            )
        self.send_header("Content-Length", str(len(body)))
        if server.tag:
            self.send_header("ETag", server.tag)
        self.end_headers()
        self.wfile.write(body[: server.cut_after])

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A client that hangs up is part of these tests."""


@pytest.fixture
def server(monkeypatch):
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    made = Server(("127.0.0.1", 0), Handler)
    made.content, made.tag, made.status, made.ranges, made.cut_after, made.requests = (
        CONTENT,
        '"1"',
        0,
        True,
        None,
        [],
    )
    made.url = f"http://127.0.0.1:{made.server_port}/weights.pth"
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "home" / "weights.pth"


def leftovers(target):
    return sorted(path.name for path in target.parent.iterdir())


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


def begin(server, target):
    server.cut_after = 1000
    with pytest.raises(DownloadError):
        download(server.url, target, pause_s=0)
    server.cut_after = None


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


@pytest.mark.parametrize("status", [403, 404, 503])
def test_http_errors_are_named(server, target, status):
    server.status = status
    with pytest.raises(DownloadError, match=f"HTTP {status}"):
        download(server.url, target)


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
