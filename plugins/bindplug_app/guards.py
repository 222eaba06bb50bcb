"""What surrounds Gradio's application: which addresses it answers, how large a request may be, what a page loads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN_PATHS = re.compile(
    r"/(?:$|config/?$|theme\.css$|favicon\.ico$|manifest\.json$|robots\.txt$|pwa_icon|assets/|static/|media/[\w-]+$"
    r"|gradio_api/(?:queue/(?:join|data)|upload|upload_progress|heartbeat/\w+|startup-events|theme\.css|cancel|reset/?"
    r"|file=.+)$)"
)
"""What the page needs of Gradio's routes; all others are closed."""
ADDRESS = re.compile(r"/gradio_api/file=\s*[a-z][a-z0-9+.-]*:", re.IGNORECASE)
"""A file that Gradio would fetch from another server on behalf of whoever asks."""
UPLOADS = "/gradio_api/upload"
MESSAGES = "/gradio_api/queue/join"
LONGEST_NAME = 255
"""Characters between two slashes of a path; file systems take no longer names."""
OVERHEAD_BYTES = 1 << 16
"""What a form adds to the file that it brings."""
MESSAGE_BYTES = 1 << 20
"""Of a request that brings no file."""
POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self' data: blob:",
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
}
"""A page loads nothing from another server. Gradio's scripts stand in the page and compile templates."""


class PageGuard:
    """Closes what the page does not need, bounds uploads, and forbids the browser to load from elsewhere.

    Args:
        app: Gradio's application.
        upload_bytes: largest file.
        folder: where uploads are kept.
        folder_bytes: most bytes of all uploads that are kept.
        embeddable: whether other pages may show this one in a frame.
    """

    def __init__(
        self, app: ASGIApp, *, upload_bytes: int, folder: Path, folder_bytes: int, embeddable: bool = False
    ) -> None:
        self.app, self.upload_bytes = app, upload_bytes
        self.folder, self.folder_bytes = folder, folder_bytes
        policy = POLICY if embeddable else POLICY | {"frame-ancestors": "'self'"}
        self.headers = [
            (b"content-security-policy", "; ".join(f"{k} {v}" for k, v in policy.items()).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        path = scope["path"]
        is_long = any(len(name) > LONGEST_NAME for name in path.split("/"))
        if is_long or not OPEN_PATHS.match(path) or ADDRESS.match(path):
            await _refuse(send, 404, "there is nothing here")
            return
        is_upload = path.rstrip("/") == UPLOADS
        if is_upload and scope["method"] == "POST" and _folder_bytes(self.folder) > self.folder_bytes:
            await _refuse(send, 507, "too many files were sent lately; try again in an hour")
            return
        most = self.upload_bytes + OVERHEAD_BYTES if is_upload else MESSAGE_BYTES
        content_length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if content_length.isdigit() and int(content_length) > most:
            await _refuse(send, 413, f"too large; at most {most} bytes")
            return
        try:
            await self.app(scope, _bounded(receive, most), self._with_headers(send))
        except LookupError:  # Gradio looks up what a message names before it answers
            if path.rstrip("/") != MESSAGES:
                raise
            await _refuse(send, 400, "the message names a function or session that the page does not have")

    def _with_headers(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                names = {name.lower() for name, _ in headers}
                headers += [pair for pair in self.headers if pair[0] not in names]
                message = {**message, "headers": headers}
            await send(message)

        return sending


def _bounded(receive: Receive, most: int) -> Receive:
    """Receives a body of at most so many bytes; one that turns out longer ends as if its sender had left."""
    size = 0

    async def receiving() -> Message:
        nonlocal size
        if size > most:
            return {"type": "http.disconnect"}
        message = await receive()
        size += len(message.get("body", b""))
        return {"type": "http.disconnect"} if size > most else message

    return receiving


async def _refuse(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


def _folder_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except OSError:  # it was removed meanwhile
            continue
    return total
