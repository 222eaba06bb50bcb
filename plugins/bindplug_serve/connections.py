"""uvicorn's HTTP connection, with bounds on the time and the bytes that headers may take."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEADER_BYTES = 1 << 16
"""Bytes of headers; what arrived in one piece with the last of them is read too."""


def protocol_with_timeout(seconds: float) -> type[asyncio.Protocol]:
    """A class of connections that are closed when the headers of a request take longer than ``seconds``, or are
    longer than ``MOST_HEADER_BYTES``.

    uvicorn limits the time between requests only, so that clients which send their headers byte by byte could hold
    all connections, and headers without end all memory.
    """

    class TimedProtocol(HttpToolsProtocol):
        """A connection that waits for headers only so long."""

        headers_timer: asyncio.TimerHandle | None = None
        header_bytes = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._start_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.headers_timer is not None:
                if self.header_bytes > MOST_HEADER_BYTES:
                    self._close()
                    return
                self.header_bytes += len(data)
            super().data_received(data)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            if self.headers_timer is None:  # a later request of a connection that was kept
                self._start_timer()

        def on_headers_complete(self) -> None:
            self._stop_timer()
            super().on_headers_complete()

        def _start_timer(self) -> None:
            self.headers_timer = self.loop.call_later(seconds, self._close)

        def _stop_timer(self) -> None:
            if self.headers_timer is not None:
                self.headers_timer.cancel()
                self.headers_timer = None
            self.header_bytes = 0

        def _close(self) -> None:
            if not self.transport.is_closing():
                self.transport.close()

    return TimedProtocol
