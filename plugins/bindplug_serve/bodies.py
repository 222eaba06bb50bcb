"""Bounds on the bodies of requests and on the time they take."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from bindplug_serve.failures import Refusal
from bindplug_serve.guards import header, refuse
from bindplug_serve.limits import Limits

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

STREAMS = ("/mcp",)
"""Paths whose responses may stay open."""


class _Gone(Exception):  # noqa: N818
    """The client has closed the connection."""


class BodyLimits:
    """Reads the body of a request before the application sees it, within limits, and times the answer.

    Args:
        app: what answers.
        limits: sizes and times.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits) -> None:
        self.app, self.limits = app, limits
        self.bytes_held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body(self)
        try:
            try:
                await asyncio.wait_for(body.read(scope, receive), self.limits.body_s)
            except asyncio.TimeoutError:
                message = f"the body did not arrive within {self.limits.body_s:g} s"
                raise Refusal(408, message, "body_timeout") from None
            scope["bindplug.bytes"] = body.size
            await self._answer(scope, body, receive, send)
        except Refusal as refusal:
            await refuse(refusal, scope, send)
        except _Gone:
            scope["bindplug.status"] = 499
        finally:
            self.bytes_held -= body.size

    async def _answer(self, scope: Scope, body: _Body, receive: Receive, send: Send) -> None:
        """Run the application; end it when its time is over or the client is gone.

        Raises:
            Refusal: it took too long and has not begun to answer.
        """
        has_begun = is_finished = False

        async def watched_send(message: Message) -> None:
            nonlocal has_begun, is_finished
            has_begun = True
            is_finished = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        if scope["path"] in STREAMS:
            await self.app(scope, body.replay(receive), send)
            return
        work = asyncio.ensure_future(self.app(scope, body.replay(_never), watched_send))
        disconnect = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait(
                {work, disconnect}, timeout=self.limits.request_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not work.done() and (is_finished or (has_begun and not disconnect.done())):
                await work  # the answer is on its way
        finally:
            disconnect.cancel()
            cut = not work.done()
            if cut:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
        if not cut:
            work.result()
        elif disconnect.done() and not disconnect.cancelled():
            raise _Gone
        elif not has_begun:
            message = f"no answer within {self.limits.request_s:g} s"
            raise Refusal(504, message, "timeout", retry_after_s=5)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _never() -> Message:
    """The application is told nothing of a disconnect; it is cancelled."""
    return await asyncio.get_running_loop().create_future()


class _Body:
    """The body of one request, counted among all that are held.

    Args:
        owner: holds the limits and the count.
    """

    def __init__(self, owner: BodyLimits) -> None:
        self.owner = owner
        self.size = 0
        self.data = b""

    async def read(self, scope: Scope, receive: Receive) -> None:
        """Read all of it.

        Raises:
            Refusal: it is too large (413), or all bodies together are (429).
            _Gone: the client left.
        """
        limits = self.owner.limits
        content_length = header(scope, b"content-length")
        if (
            content_length is not None
            and content_length.isdigit()
            and int(content_length) > limits.body_bytes
        ):
            raise self._too_large()
        parts: list[bytes] = []
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            part = message.get("body", b"")
            self.size += len(part)
            self.owner.bytes_held += len(part)
            parts.append(part)
            if self.size > limits.body_bytes:
                raise self._too_large()
            if self.owner.bytes_held > limits.bodies_bytes:
                text = "the server holds as much data of other requests as it can; try again later"
                raise Refusal(429, text, "too_much_data", retry_after_s=2)
            if not message.get("more_body", False):
                self.data = b"".join(parts)
                return

    def _too_large(self) -> Refusal:
        most = self.owner.limits.body_bytes
        mib = math.floor(most / (1 << 20) * 100) / 100
        return Refusal(413, f"a body over {most:,} bytes ({mib:g} MiB)", "body_too_large")

    def replay(self, then: Receive) -> Receive:
        """A ``receive`` that gives the body in one piece, and then what ``then`` gives."""

        is_sent = False

        async def receive() -> Message:
            nonlocal is_sent
            if is_sent:
                return await then()
            is_sent = True
            return {"type": "http.request", "body": self.data, "more_body": False}

        return receive
