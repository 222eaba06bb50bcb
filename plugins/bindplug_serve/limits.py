"""How much the server takes on: sizes, counts and times."""

from __future__ import annotations

from dataclasses import dataclass, fields

from bindplug.errors import InputError

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on requests and on the work that waits.

    Args:
        body_bytes: largest body of a request; a larger one is answered with 413.
        bodies_bytes: bytes of all bodies that are held at once; beyond it requests are answered with 429.
        items: most items of a request; more are answered with 413.
        queue: most sources that wait for the model or are in it; beyond it requests are answered with 429.
        batch: most sources in one pass of the model.
        batch_wait_s: how long a source waits for others to share a pass with, in seconds.
        threads: batches of a modality that are worked on at once; the processor's cores are shared among them.
        pixels: most pixels of a picture, whatever its file's size.
        unpacked_bytes: most bytes that an archive, a MATLAB file or a Parquet file unpacks to.
        headers_s: time to send the headers of a request, in seconds.
        body_s: time to send the body of a request, in seconds.
        request_s: time to answer a request once it is read, in seconds.
        shutdown_s: time to finish requests when the server ends, in seconds.
        connections: most connections at once; beyond it requests are answered with 503.

    Raises:
        InputError: a limit is not positive (``batch_wait_s`` may be 0), or a request could hold more items than the
            queue takes.
    """

    body_bytes: int = 32 * MIB
    bodies_bytes: int = 256 * MIB
    items: int = 256
    queue: int = 1024
    batch: int = 32
    batch_wait_s: float = 0.002
    threads: int = 2
    pixels: int = 1 << 26
    unpacked_bytes: int = 64 * MIB
    headers_s: float = 10.0
    body_s: float = 60.0
    request_s: float = 120.0
    shutdown_s: float = 30.0
    connections: int = 1000

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if not (value > 0 or (value == 0 and limit.name == "batch_wait_s")):
                raise InputError("Limits", found=f"{limit.name}={value!r}", expected="a positive number")
        if self.items > self.queue:
            problem = f"{self.items} items in a request and a queue of {self.queue}"
            raise InputError("Limits", found=problem, expected="a queue that holds a whole request")
        if self.body_bytes > self.bodies_bytes:
            problem = f"bodies of {self.body_bytes} bytes, and {self.bodies_bytes} for all that are held"
            raise InputError("Limits", found=problem, expected="room for at least one body")
