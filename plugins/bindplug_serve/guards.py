"""Who may ask: which host names and web pages, and with which key."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bindplug_serve.failures import Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
OPEN_PATHS = ("/.well-known/live", "/.well-known/ready")
"""Asked by orchestrators, which have no key."""


async def refuse(refusal: Refusal, scope: Scope, send: Send) -> None:
    """Answer a request with a refusal."""
    body = refusal.body(scope["path"])
    headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers()}
    if refusal.status in (408, 413):
        headers["connection"] = "close"  # the rest of the body is not read
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of a name, decoded; None without one."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


class HostGuard:
    """Refuses requests to other host names and from web pages of other origins.

    A page in a browser can have its own name resolve to this machine, and can send simple requests anywhere; both
    tell of it in the headers ``Host`` and ``Origin``.

    Args:
        app: what answers the others.
        hosts: host names that requests may be addressed to, without port; any where it is empty.
        origins: origins of web pages that may ask, beside those served from the same host; ``*`` for any.
    """

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        self.app = app
        self.hosts, self.origins = {host.lower() for host in hosts}, set(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = self._refusal(scope)
            if refusal:
                await refuse(refusal, scope, send)
                return
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Refusal | None:
        host = header(scope, b"host") or ""
        name = _host_name(host)
        if self.hosts and name not in self.hosts:
            message = "the Host header names another host; name it with --allow-host to serve it"
            return Refusal(421, message, "wrong_host")
        origin = header(scope, b"origin")
        if origin is None or origin in self.origins or "*" in self.origins:
            return None
        if _netloc(origin) == host.lower():
            return None
        message = "web pages of other origins may not ask; allow one with --allow-origin"
        return Refusal(403, message, "wrong_origin")


def _host_name(host: str) -> str:
    """``[::1]:80`` -> ``::1``; ``localhost:80`` -> ``localhost``."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


class KeyGuard:
    """Asks for ``Authorization: Bearer KEY``, compared in constant time.

    Args:
        app: what answers those who have it.
        key: the key; None lets everyone in.
    """

    def __init__(self, app: ASGIApp, *, key: str | None) -> None:
        self.app = app
        self.digest = None if key is None else _digest(key.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self.digest is not None and scope["path"] not in OPEN_PATHS:
            scheme, _, key = (header(scope, b"authorization") or "").partition(" ")
            matches = hmac.compare_digest(_digest(key.strip().encode("latin-1")), self.digest)
            if not (scheme.lower() == "bearer" and matches):
                message = "no valid key; send the header `Authorization: Bearer KEY`"
                await refuse(Refusal(401, message, "invalid_api_key"), scope, send)
                return
        await self.app(scope, receive, send)


def _digest(key: bytes) -> bytes:
    """Digests are of one length, whatever the keys are."""
    return hashlib.sha256(key).digest()
