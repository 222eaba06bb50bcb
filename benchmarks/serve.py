"""Load on ``bindplug serve``: ``python -m benchmarks.serve``.

Starts the server in a process of its own and measures requests of one item each: by one client in a loop, and by many
at once. Beside them stands a loop of ``model.embed([query])`` in this process, without a server. ``--soak`` then sends
many requests and follows the server's memory.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

PICTURES = 64


@dataclass(frozen=True)
class Load:
    """What many requests took.

    Attributes:
        seconds: from the first to the last.
        latencies_s: of each request.
    """

    seconds: float
    latencies_s: list[float]

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies_s) / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """Time under which this share of the requests stayed, in milliseconds."""
        return float(np.percentile(self.latencies_s, percent)) * 1000


class Client:
    """One connection that sends requests one after the other; a light client, so that the server is measured."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = str(parts.hostname), int(parts.port or 80)

    async def __aenter__(self) -> Client:
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        head = f"POST {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nContent-Type: application/json\r\n"
        self.writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.split(b"content-length:")[1].split(b"\r\n")[0])
        return int(answer.split(b" ")[1]), await self.reader.readexactly(length)


async def load(url: str, bodies: Sequence[bytes], *, clients: int, requests: int) -> Load:
    """Send requests from so many clients at once, each waiting for its answer before it sends the next.

    Raises:
        RuntimeError: an answer is not 200.
    """
    latencies: list[float] = []
    numbers = iter(range(requests))

    async def run() -> None:
        async with Client(url) as client:
            for number in numbers:
                start = time.perf_counter()
                status, answer = await client.post("/v1/embeddings", bodies[number % len(bodies)])
                latencies.append(time.perf_counter() - start)
                if status != 200:
                    raise RuntimeError(f"status {status}: {answer[:200]!r}")

    start = time.perf_counter()
    await asyncio.gather(*(run() for _ in range(clients)))
    return Load(time.perf_counter() - start, latencies)


@contextmanager
def server(*arguments: str) -> Iterator[tuple[str, int]]:
    """Address and process id of a server that is ready."""
    command = [sys.executable, "-m", "bindplug.cli", "serve", "--port", "0", "--json", "--quiet", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        printed = next(lines)
        while not printed.rstrip().endswith("}"):
            printed += next(lines)
        url = json.loads(printed)["url"]
        asyncio.run(_until_ready(url))
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(60)


async def _until_ready(url: str) -> None:
    body = json.dumps({"input": "a dog"}).encode()
    async with Client(url) as client:
        while (await client.post("/v1/embeddings", body))[0] != 200:
            await asyncio.sleep(0.1)


def sentences() -> list[str]:
    """Sentences in words that the embedded model knows."""
    things = ("dog", "cat", "car", "train", "boat", "bird", "bell", "fire")
    return [f"{start} {a} and a {b}" for start in ("a", "the") for a in things for b in things]


def text_bodies() -> list[bytes]:
    """Requests of a sentence each."""
    return [json.dumps({"input": sentence, "encoding_format": "base64"}).encode() for sentence in sentences()]


def pictures() -> list[bytes]:
    """JPEGs of 224 x 224."""
    from PIL import Image

    rng = np.random.default_rng(0)
    files = []
    for _ in range(PICTURES):
        small = Image.fromarray(rng.integers(0, 255, (14, 14, 3), dtype=np.uint8))
        file = io.BytesIO()
        small.resize((224, 224)).save(file, "JPEG")
        files.append(file.getvalue())
    return files


def picture_bodies() -> list[bytes]:
    """Requests of a picture each."""
    sources = [{"image": base64.b64encode(data).decode()} for data in pictures()]
    return [json.dumps({"input": source, "encoding_format": "base64"}).encode() for source in sources]


def loop_in_process(model: str, kind: str, seconds: float) -> tuple[float, float]:
    """Calls a second of ``model.embed([query])`` in a loop, and processor time of a call in milliseconds."""
    import bindplug

    encoder = bindplug.load(model, modalities={kind})
    if kind == "text":
        queries = [bindplug.text(sentence) for sentence in sentences()]
    else:
        queries = [bindplug.image(data) for data in pictures()]
    encoder.embed(queries[:4], progress=False)
    start, used = time.perf_counter(), time.process_time()
    for calls in itertools.count(1):
        encoder.embed([queries[calls % len(queries)]], progress=False)
        if time.perf_counter() - start > seconds:
            return calls / (time.perf_counter() - start), (time.process_time() - used) / calls * 1000
    raise AssertionError


def resident_mib(pid: int) -> float:
    """Resident memory of a process under Linux."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, under Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(url: str, pid: int, options: argparse.Namespace) -> None:
    """Print the table of loads."""
    print(f"{'':8}{'':26}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms a request':>18}")
    for kind, bodies in (("text", text_bodies()), ("image", picture_bodies())):
        alone, cost_ms = loop_in_process(options.model, kind, options.seconds)
        print(f"{kind:8}{'model.embed([q]) in a loop':26}{alone:12.0f}{cost_ms:36.2f}")
        asyncio.run(load(url, bodies, clients=options.clients, requests=200))  # warm
        rates = {}
        for clients in (1, options.clients):
            requests = options.requests if clients > 1 else options.requests // 4
            before = cpu_seconds(pid)
            result = asyncio.run(load(url, bodies, clients=clients, requests=requests))
            cost_ms = (cpu_seconds(pid) - before) / requests * 1000
            rates[clients] = result.rate
            row = f"{result.rate:12.0f}{result.percentile_ms(50):9.1f}{result.percentile_ms(99):9.1f}{cost_ms:18.2f}"
            print(f"{kind:8}{f'{clients} client(s)':26}{row}", flush=True)
        many = rates[options.clients]
        print(f"{kind:8}{many / rates[1]:.1f} x one client, {many / alone:.1f} x the loop in one process")


def soak(url: str, pid: int, requests: int, clients: int) -> None:
    """Print the server's memory while it answers, after each tenth of the requests."""
    bodies = [body for pair in zip(text_bodies(), picture_bodies() * 2, strict=True) for body in pair]
    asyncio.run(load(url, bodies, clients=clients, requests=1000))
    print(f"memory after {1000:6d} requests: {resident_mib(pid):7.1f} MiB")
    for tenth in range(1, 11):
        asyncio.run(load(url, bodies, clients=clients, requests=requests // 10))
        print(
            f"memory after {1000 + tenth * requests // 10:6d} requests: {resident_mib(pid):7.1f} MiB",
            flush=True,
        )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__)
    parser.add_argument("--model", default="imagebind_tiny")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=3.0, help="of the loop without a server")
    parser.add_argument("--soak", type=int, default=0, metavar="REQUESTS", help="20000 takes a few minutes")
    parser.add_argument("--server", nargs=argparse.REMAINDER, default=[], help="options of `bindplug serve`")
    options = parser.parse_args()
    with server("--model", options.model, *options.server) as (url, pid):
        measure(url, pid, options)
        if options.soak:
            soak(url, pid, options.soak, options.clients)


if __name__ == "__main__":
    main()
