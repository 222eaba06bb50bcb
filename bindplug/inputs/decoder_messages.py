"""What C libraries print on stderr while they decode, kept off the user's screen."""

from __future__ import annotations

import atexit
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

STDERR = 2
MESSAGE = re.compile(
    rb"\[src/libmpg123/|(Note|Warning|Error|warning|error): |\s*$|"
    rb"(_?TIFF|LZW|ZIP|PackBits|Fax|O?JPEG|Thunder|NeXT|LogL|Pixar|LERC|ZSTD|LZMA|WebP|Predictor|horiz|fpAcc)\w*: |"
    rb"lib(png|jpeg)|Corrupt JPEG|Premature end of JPEG|tempfile\.tif: |"
    rb"<python_buffer>: \(EXR_|.*\(EXR_ERR_"
)
"""How lines of libmpg123, libtiff, libjpeg and libpng begin; anything else on stderr is somebody else's."""


class _Capture:
    """File descriptor 2 diverted to a temporary file while at least one thread decodes."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = self.entries = 0
        self.saved: int | None = None
        self.file: IO[bytes] | None = None
        self.path = ""
        self.rest = b""  # of a line that a thread has begun

    def enter(self) -> int:
        with self.lock:
            self.inside += 1
            self.entries += 1
            if self.inside == 1:
                self._divert()
            return self.entries if self.inside == 1 else -1

    def leave(self, entry: int) -> list[str]:
        """The messages since the last call, if this thread was alone since :meth:`enter`."""
        with self.lock:
            self.inside -= 1
            messages = self._drain(is_last=self.inside == 0)
            if self.inside == 0:
                self._restore()
            return messages if entry == self.entries else []

    def end(self) -> None:
        """Put stderr back though a thread may be stuck in a decoder, so that last words are shown."""
        with self.lock:
            self._drain(is_last=True)
            self._restore()

    def _divert(self) -> None:
        try:
            self.rest = b""
            writer, self.path = tempfile.mkstemp()
            # a handle of its own has a position of its own, and nothing is cut off while decoders write
            self.file = Path(self.path).open("rb", buffering=0)  # noqa: SIM115 - until the last thread leaves
            self.saved = os.dup(STDERR)
            os.dup2(writer, STDERR)
            os.close(writer)
        except OSError:  # no stderr, or no place for a file: nothing is diverted
            self._restore()

    def _drain(self, *, is_last: bool) -> list[str]:
        """The messages so far; a line that another thread has not ended yet waits, unless this one is the last."""
        if self.file is None or self.saved is None:
            return []
        data = self.rest + self.file.read()
        end = len(data) if is_last else data.rfind(b"\n") + 1
        self.rest = data[end:]
        lines = data[:end].splitlines(keepends=True)
        others = b"".join(line for line in lines if not MESSAGE.match(line))
        if others:
            os.write(self.saved, others)
        return [line.decode("utf-8", "replace").strip() for line in lines if MESSAGE.match(line)]

    def _restore(self) -> None:
        if self.saved is not None:
            os.dup2(self.saved, STDERR)
            os.close(self.saved)
        if self.file is not None:
            self.file.close()
            with suppress(OSError):
                os.unlink(self.path)  # noqa: PTH108
        self.saved = self.file = None


_capture = _Capture()
atexit.register(_capture.end)


@contextmanager
def decoder_messages() -> Iterator[list[str]]:
    """Catch what decoders print on stderr in the block.

    The descriptor belongs to the whole process, so lines that no known decoder writes are passed on when a
    thread leaves its block.

    Yields:
        A list that holds the messages after the block; empty where other threads decoded at the same time,
        since their messages cannot be told apart.
    """
    messages: list[str] = []
    entry = _capture.enter()
    try:
        yield messages
    finally:
        messages += [line for line in _capture.leave(entry) if line]
