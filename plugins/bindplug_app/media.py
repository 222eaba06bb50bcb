"""Sounds and videos of results for the browser's players: under random addresses, and only what is sound or video."""

from __future__ import annotations

import secrets
import stat
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

MOST_FILES = 10_000
"""Files that have an address at once; the one not asked for longest loses its own."""
HEAD_BYTES = 16
TYPES = {
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".opus": "audio/ogg",
    ".m4a": "audio/mp4",
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".ogv": "video/ogg",
    ".mkv": "video/x-matroska",
}
"""Formats that browsers play, by suffix."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; media-src 'self'; sandbox",
    "Cache-Control": "private, max-age=600",
}


class Media:
    """Addresses of files of results.

    An address is a random number that a result brought to the page; the path behind it never leaves the server. A file
    is sent only while its first bytes are those of a sound or a video, whatever a symbolic link has come to point to.
    """

    def __init__(self) -> None:
        self._paths: OrderedDict[str, str] = OrderedDict()
        self._tokens: dict[str, str] = {}
        self._lock = threading.Lock()

    def address(self, path: str) -> str | None:
        """The address of a file, relative to the page; None if browsers do not play its format."""
        if Path(path).suffix.lower() not in TYPES:
            return None
        with self._lock:
            token = self._tokens.get(path)
            if token is None:
                token = self._tokens[path] = secrets.token_urlsafe(16)
                self._paths[token] = path
            self._paths.move_to_end(token)
            while len(self._paths) > MOST_FILES:
                _, oldest = self._paths.popitem(last=False)
                del self._tokens[oldest]
        return f"media/{token}"

    def route(self) -> Route:
        """Where a server answers for the addresses."""
        from starlette.routing import Route

        return Route("/media/{token}", self._answer, methods=["GET", "HEAD"])

    def _answer(self, request: Request) -> Response:
        from starlette.responses import FileResponse, PlainTextResponse

        with self._lock:
            path = self._paths.get(request.path_params["token"])
        if path is None or not _is_media(path):
            return PlainTextResponse("no such sound or video", 404)
        return FileResponse(path, media_type=TYPES[Path(path).suffix.lower()], headers=HEADERS)


def _is_media(path: str) -> bool:
    """Whether a regular file begins as sounds and videos do."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):  # opening a pipe would wait for its writer
            return False
        with Path(path).open("rb") as file:
            head = file.read(HEAD_BYTES)
    except (OSError, ValueError):
        return False
    riff = head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"
    mpeg = head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0)
    matroska = head[:4] == b"\x1aE\xdf\xa3"
    return (
        riff or mpeg or matroska or head[:4] in (b"fLaC", b"OggS") or head[4:8] in (b"ftyp", b"moov", b"mdat")
    )
