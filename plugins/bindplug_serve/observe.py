"""What happened to each request, as metrics and as lines of JSON; never what was in it."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
import uuid
from collections.abc import Collection
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from bindplug_serve.failures import refusal_of
from bindplug_serve.guards import OPEN_PATHS, refuse
from bindplug_serve.metrics import Metrics

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("bindplug.serve")
PROBES = (*OPEN_PATHS, "/metrics")
"""Paths that monitors ask every few seconds."""
STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {
    "message",
    "asctime",
    "color_message",
}


class Observer:
    """Counts, times and logs requests, and answers with 500 what fails unexpectedly.

    Args:
        app: what answers.
        metrics: where requests are counted.
        routes: paths that may be names in metrics; all others are counted as ``other``.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, routes: Collection[str]) -> None:
        self.app, self.metrics, self.routes = app, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0
        request_id = uuid.uuid4().hex

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = [(b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff")]
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        with self.metrics.in_flight.track_inprogress():
            try:
                await self.app(scope, receive, watched_send)
            except Exception as error:
                logger.error("request failed", extra={"request_id": request_id, "trace": trace_of(error)})
                if not status:
                    await refuse(refusal_of(error), scope, watched_send)
        route = scope["path"] if scope["path"] in self.routes else "other"
        status = scope.get("bindplug.status", status)
        seconds = time.perf_counter() - start
        self.metrics.observe_request(scope["method"], route, status, seconds)
        logger.log(
            logging.DEBUG if route in PROBES else logging.INFO,
            "request",
            extra={
                "request_id": request_id,
                "method": scope["method"][:16],
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 2),
                "bytes": scope.get("bindplug.bytes", 0),
            },
        )


def trace_of(error: BaseException) -> list[str]:
    """Where an error came from: its class, and files, lines and functions; not its text, which may quote a request."""
    frames = traceback.extract_tb(error.__traceback__)
    return [type(error).__name__, *(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)]


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, event and the fields of ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in STANDARD}
        if record.exc_info and record.exc_info[1]:
            line["trace"] = trace_of(record.exc_info[1])
        return json.dumps(line, default=str)


def set_up_logs(level: int) -> None:
    """Send logs of the server and of what it is built from to stderr, as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "mcp"):
        log = logging.getLogger(name)
        log.handlers.clear()
        log.propagate = True
        log.setLevel(max(level, logging.WARNING))
    logger.setLevel(level)
