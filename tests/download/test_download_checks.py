"""Addresses that nothing is fetched from, and replies that are not the file."""

from __future__ import annotations

import pytest

from bindplug.download import download
from bindplug.download_checks import DownloadError, check_url
from bindplug.errors import CheckpointError
from tests.download.server import CONTENT, begin


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


def test_what_a_server_writes_is_printable_in_messages(server, target):
    server.status, server.reason = 403, "no\x1b[31m entry"
    with pytest.raises(DownloadError, match=r"HTTP 403 no\\x1b\[31m entry$"):
        download(server.url, target, pause_s=0)
