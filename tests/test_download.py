import errno
import hashlib
import io
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bindplug.download import MIB, DownloadError, check_record, check_url, download
from bindplug.errors import CheckpointError

CONTENT = bytes(range(256)) * (3 * MIB // 256) + b"the end"


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.content``; ``server.cut_after`` breaks each connection off after so many bytes."""

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        fresh = server.ignores_if_range or self.headers.get("If-Range") in (None, server.tag)
        server.requests.append(asked)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and fresh and server.ranges else 0
        if server.status:
            self.send_response(server.status, server.reason)
            if server.retry_after:
                self.send_header("Retry-After", server.retry_after)
            self.end_headers()
            return
        if self.path.startswith("/redirect/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/redirect/"))
            self.end_headers()
            return
        if start >= len(server.content):
            self.send_error(416)
            return
        body = server.content[start:]
        self.send_response(server.success or (206 if start else 200))
        for name, value in server.extra_headers.items():
            self.send_header(name, value)
        if start and "Content-Range" not in server.extra_headers:
            self.send_header(
                "Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}"
            )
        if server.announces_length:
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
    made.retry_after, made.success, made.extra_headers, made.reason = "", None, {}, None
    made.announces_length, made.ignores_if_range = True, False
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


def test_a_206_of_another_version_starts_anew(server, target):
    begin(server, target)
    server.content, server.tag, server.ignores_if_range = CONTENT[::-1], '"2"', True
    download(server.url, target, pause_s=0)
    assert target.read_bytes() == CONTENT[::-1]
    assert server.requests[-2:] == ["bytes=5000-", None]


def test_a_206_that_does_not_repeat_the_tag_starts_anew(server, target):
    begin(server, target)
    server.content, server.tag, server.ignores_if_range = CONTENT[::-1], "", True
    download(server.url, target, pause_s=0)
    assert target.read_bytes() == CONTENT[::-1]
    assert server.requests[-2:] == ["bytes=5000-", None]


def test_a_416_for_the_whole_file_is_told_at_once(server, target):
    server.content = b""
    with pytest.raises(DownloadError, match="HTTP 416"):
        download(server.url, target, pause_s=0)
    assert server.requests == [None]


def test_a_206_of_another_size_starts_anew(server, target):
    begin(server, target)
    server.content, server.ignores_if_range = CONTENT + CONTENT, True
    download(server.url, target, pause_s=0)
    assert target.read_bytes() == CONTENT + CONTENT


@pytest.mark.parametrize(
    "part", ["bytes 0-9/10", "bytes 5000-5001/9999999", "bytes */99", "nonsense", "bytes 5000-"]
)
def test_another_part_than_was_asked_for_is_never_appended(server, target, part):
    begin(server, target)
    server.extra_headers = {"Content-Range": part}
    server.success = 206
    with pytest.raises((DownloadError, CheckpointError)):
        download(server.url, target, pause_s=0)
    server.success, server.extra_headers = None, {}
    download(server.url, target, pause_s=0)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("headers", "content", "found"),
    [
        ({"Content-Encoding": "gzip"}, CONTENT, "encoding 'gzip'"),
        ({"Content-Type": "text/html; charset=utf-8"}, b"<p>log in</p>", "web page"),
        ({"Content-Type": "application/octet-stream"}, b"\n <!DOCTYPE html><p>log in</p>", "web page"),
        ({"Content-Type": "application/octet-stream"}, b"\xef\xbb\xbf<html><p>log in</p>", "web page"),
        ({"Content-Type": "application/octet-stream"}, b"<!-- login --><html></html>", "web page"),
        ({"Content-Type": "application/octet-stream"}, b"<head><title>x</title></head>", "web page"),
        ({"Content-Type": "application/octet-stream"}, b"<?xml version='1.0'?><Error/>", "web page"),
        ({"Content-Type": "application/json"}, b'{"error": "not found"}', "web page"),
        ({}, b"<HTML>", "web page"),
        ({}, b"", "empty"),
    ],
)
def test_replies_that_are_no_file_are_refused(server, target, headers, content, found):
    server.content, server.extra_headers = content, headers
    if not content:
        server.content, server.cut_after, server.announces_length = b"x", 0, False
    with pytest.raises(DownloadError, match=found):
        download(server.url, target, pause_s=0)
    assert not target.exists()
    server.content, server.extra_headers, server.cut_after, server.announces_length = CONTENT, {}, None, True
    assert download(server.url, target, pause_s=0).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [201, 202, 203, 204, 205, 206])
def test_only_200_brings_a_file(server, target, status):
    server.success = status
    with pytest.raises(DownloadError, match=f"HTTP {status}"):
        download(server.url, target, pause_s=0)
    assert not target.exists()


@pytest.mark.parametrize("length", ["abc", "-5", "", "1e3", "9" * 30, "+5"])
def test_a_bad_content_length_is_refused(server, target, length):
    server.announces_length, server.extra_headers = False, {"Content-Length": length}
    with pytest.raises(DownloadError, match="Content-Length"):
        download(server.url, target, pause_s=0)
    assert not target.exists()


def test_a_short_reply_without_a_length_is_refused_where_size_or_digest_are_known(server, target):
    server.announces_length, server.cut_after = False, 1000
    with pytest.raises(CheckpointError, match="1000 bytes arrived, the file has about 3000000"):
        download(server.url, target, about_bytes=3_000_000, pause_s=0)
    with pytest.raises(CheckpointError, match="SHA-256"):
        download(server.url, target, sha256=hashlib.sha256(CONTENT).hexdigest(), pause_s=0)
    assert leftovers(target) == []
    server.cut_after = None
    assert download(server.url, target, about_bytes=3_000_000).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "url",
    ["http://example.org/w.pth", "http://127.0.0.1.example.org/w", "ftp://localhost/w", "file:///etc/passwd", "w.pth",
     "data:text/plain,x", "https:///w", "http://[::1/w", "HTTP://example.org/w"],
)  # fmt: skip
def test_only_https_and_this_machine_are_fetched_from(target, url):
    with pytest.raises(DownloadError, match=r"https address|no address"):
        download(url, target)
    assert not target.parent.exists()


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/é", "https://a..b/x", f"https://{'a' * 70}.org/x", "https://example.org/a b",
        "https://example.org/a\nb", "https://example.org:abc/x",
    ],
)  # fmt: skip
def test_what_is_no_address_is_told_at_once(target, url):
    with pytest.raises(DownloadError, match="is no address") as caught:
        download(url, target)
    assert "\n" not in str(caught.value)
    assert not target.parent.exists()


@pytest.mark.parametrize(
    "url", ["https://example.org/w", "http://localhost:80/w", "http://127.8.9.1/w", "http://[::1]/w"]
)
def test_addresses_that_are_allowed(url):
    assert check_url(url) == url


@pytest.mark.parametrize("elsewhere", ["http://example.org/w.pth", "ftp://localhost/w", "file:///etc/passwd"])
def test_redirects_are_held_to_the_same(server, target, elsewhere):
    base = server.url.rpartition("/")[0]
    with pytest.raises(DownloadError, match=r"https address|HTTP 302"):
        download(f"{base}/redirect/{elsewhere}", target)
    assert download(f"{base}/redirect/{server.url}", target).read_bytes() == CONTENT


@pytest.mark.parametrize("elsewhere", ["http://[::1", "https://[x]/w"])
def test_redirects_to_no_address_are_told(server, target, elsewhere):
    base = server.url.rpartition("/")[0]
    with pytest.raises(DownloadError):
        download(f"{base}/redirect/{elsewhere}", target, pause_s=0)
    assert not target.exists()


def test_a_file_without_end_is_left_at_twice_its_size(server, target):
    server.content, server.announces_length = bytes(8 * MIB), False
    with pytest.raises(CheckpointError, match=r"(\d+) bytes arrived, the file has about 1000000") as raised:
        download(server.url, target, about_bytes=1_000_000, pause_s=0)
    arrived = int(re.search(r"(\d+) bytes arrived", str(raised.value))[1])
    assert 2_000_000 < arrived <= 2_000_000 + MIB
    assert leftovers(target) == []


def test_what_a_server_writes_is_printable_in_messages(server, target):
    server.status, server.reason = 403, "no\x1b[31m entry"
    with pytest.raises(DownloadError, match=r"HTTP 403 no\\x1b\[31m entry$"):
        download(server.url, target, pause_s=0)


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
