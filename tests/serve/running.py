"""Servers to ask: the command in a process of its own, and an application in a thread of this one."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import uvicorn

from bindplug.testing import FakeEncoder
from bindplug_serve import Limits, create_app
from bindplug_serve.connections import protocol_with_timeout
from bindplug_serve.service import Service
from bindplug_serve.sockets import listen

WAIT_S = 60


def wait_until_ready(url: str) -> None:
    """Ask until the model is loaded."""
    with httpx.Client(base_url=url, timeout=WAIT_S, verify=False) as client:
        while client.get("/.well-known/ready").status_code != 204:
            threading.Event().wait(0.02)


@contextmanager
def thread(service: Service, headers_s: float = 30.0, **options: Any) -> Iterator[str]:
    """The address of an application that runs in a thread."""
    listener = listen("127.0.0.1", 0)
    app = create_app(service, **options)
    config = uvicorn.Config(
        app, http=protocol_with_timeout(headers_s), ws="none", log_config=None, timeout_graceful_shutdown=10
    )
    server = uvicorn.Server(config)
    runner = threading.Thread(target=server.run, args=([listener],))
    runner.start()
    try:
        yield "http://{}:{}".format(*listener.getsockname())
    finally:
        server.should_exit = True
        runner.join(WAIT_S)
        with suppress(OSError):
            listener.close()


def encoded(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()


class Gate:
    """A call that waits until it is let through, so that tests know what is in work."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.entered.set()
        assert self.opened.wait(WAIT_S)
        return self.call(*arguments, **options)


def small_service(**options: Any) -> Service:
    """A service with an encoder that does nothing, and tight limits."""
    limits = Limits(**{"body_bytes": 2000, "bodies_bytes": 4000, "items": 4, "queue": 4} | options)
    return Service(FakeEncoder, name="fake", limits=limits)


def post(url: str, body: Any, path: str = "/v1/embeddings", **options: Any) -> httpx.Response:
    """The answer to a request, once the model is loaded."""
    with httpx.Client(base_url=url, timeout=WAIT_S, verify=False) as client:
        while client.get("/.well-known/ready").status_code == 503:
            pass
        return client.post(path, json=body, **options)


def raw(url: str, data: bytes, *, shut: bool = False) -> bytes:
    """What the server answers to bytes on a socket, until it closes it."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=WAIT_S) as connection:
        connection.sendall(data)
        if shut:
            connection.shutdown(socket.SHUT_WR)
        pieces = []
        while piece := connection.recv(65536):
            pieces.append(piece)
        return b"".join(pieces)
