"""A server whose connections break, and what a client leaves behind."""

from __future__ import annotations

import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bindplug.download import MIB, download
from bindplug.download_checks import DownloadError

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


def leftovers(target):
    return sorted(path.name for path in target.parent.iterdir())


def begin(server, target):
    server.cut_after = 1000
    with pytest.raises(DownloadError):
        download(server.url, target, pause_s=0)
    server.cut_after = None
