"""A server of one file, and where the file goes."""

from __future__ import annotations

import threading

import pytest

from tests.download.server import CONTENT, Handler, Server


@pytest.fixture
def server(monkeypatch):
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    server = Server(("127.0.0.1", 0), Handler)
    server.content, server.tag, server.status, server.ranges, server.cut_after, server.requests = (
        CONTENT,
        '"1"',
        0,
        True,
        None,
        [],
    )
    server.retry_after, server.success, server.extra_headers, server.reason = "", None, {}, None
    server.announces_length, server.ignores_if_range = True, False
    server.url = f"http://127.0.0.1:{server.server_port}/weights.pth"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "home" / "weights.pth"
