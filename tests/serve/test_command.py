"""``bindplug serve`` as a process: its port, its end, and what it refuses before it listens."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import click
import httpx
import pytest

from bindplug.cli.app import run
from bindplug.errors import InputError
from bindplug_serve.command import _address, serve
from bindplug_serve.sockets import listen
from tests.command_process import serving
from tests.serve.running import WAIT_S, encoded, wait_until_ready


def test_a_told_end_finishes_requests_and_exits_with_0(files):
    with serving("serve", "--quiet", BINDPLUG_API_KEY="from the environment") as (server, url):
        wait_until_ready(url)
        headers = {"authorization": "Bearer from the environment"}
        body = {"input": [{"audio": encoded(files["audio"] + bytes(n))} for n in range(64)]}
        with (
            httpx.Client(base_url=url, timeout=WAIT_S, headers=headers) as client,
            ThreadPoolExecutor(1) as pool,
        ):
            assert client.get("/meta", headers={"authorization": "Bearer other"}).status_code == 401
            answer = pool.submit(client.post, "/v1/embeddings", json=body)
            while "bindplug_queue_items 0.0" in httpx.get(f"{url}/metrics", headers=headers).text:
                threading.Event().wait(0.005)
            server.send_signal(signal.SIGTERM)
            assert len(answer.result().json()["data"]) == 64
        out, err = server.communicate(timeout=WAIT_S)
        assert server.returncode == 0, err
        assert (out, err) == ("", "")
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/meta")


@pytest.fixture
def restored():
    """Puts back what the command sets for its process: signal handlers and logs."""
    root = logging.getLogger()
    loggers = [
        root,
        *map(logging.getLogger, ("uvicorn", "uvicorn.error", "uvicorn.access", "mcp", "bindplug.serve")),
    ]
    states = [(log, log.handlers[:], log.level, log.propagate) for log in loggers]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for log, kept, level, propagate in states:
        log.handlers[:], log.propagate = kept, propagate
        log.setLevel(level)


@pytest.mark.usefixtures("restored")
def test_a_model_that_cannot_be_loaded_ends_the_server(tmp_path, capsys):
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    assert run(["serve", "--port", "0", "--model", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("http://127.0.0.1:")
    assert "bindplug: error:" in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("restored")
def test_over_stdio_a_missing_model_is_told_and_the_server_ends_with_its_input(tmp_path, capfd, monkeypatch):
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin, os.fdopen(writing, "w") as open_end:
        monkeypatch.setattr("sys.stdin", stdin)
        with ThreadPoolExecutor(1) as pool:
            told = pool.submit(_until_told, capfd, open_end)
            assert run(["serve", "--mcp", "--model", str(tmp_path)]) == 1
    out, err = told.result()
    assert err.startswith("bindplug: error: ")
    assert out + capfd.readouterr().out == ""


def _until_told(capfd, open_end):
    """Wait for an error, and close the input only then."""
    with open_end:
        for _ in range(100 * WAIT_S):
            out, err = capfd.readouterr()
            if out or err:
                return out, err
            threading.Event().wait(0.01)
    return "", ""


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--index", "missing.lance"], "missing.lance: no such file or directory"),
        (["--host", "203.0.113.1"], "--host 203.0.113.1"),
        (["--max-body-mib", "0"], "--max-body-mib"),
        (["--port", "70000"], "--port"),
        (["--mcp", "carrier-pigeon"], "carrier-pigeon"),
        (["--api-key", " "], "is empty"),
        (["--modality", "smell"], "unknown modality 'smell'"),
        (["--modalities", "text,smell"], "unknown modality 'smell'"),
        (["--device", "cuda:99"], "cuda:99"),
    ],
)
def test_what_cannot_be_served_is_refused_before_a_model_is_loaded(arguments, problem, capsys, monkeypatch):
    monkeypatch.setattr("bindplug.models.load", lambda *_, **__: pytest.fail("a model is loaded"))
    assert run(["serve", "--port", "0", *arguments]) in (1, 2)
    assert problem in capsys.readouterr().err


def test_a_port_in_use_is_told_with_the_remedy():
    with listen("127.0.0.1", 0) as taken:
        with pytest.raises(InputError, match="--port 0 takes a free one"):
            listen("127.0.0.1", taken.getsockname()[1])
        assert _address(taken).startswith("http://127.0.0.1:")


def test_addresses_of_version_6_stand_in_brackets():
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        listener = listen("::1", 0)
    except InputError:
        pytest.skip("this machine has no IPv6 loopback")
    with listener:
        assert _address(listener).startswith("http://[::1]:")


def test_loopback_is_the_default_and_mcp_may_stand_alone():
    context = serve.make_context("serve", ["--mcp", "--index", "a.lance"])
    assert (context.params["host"], context.params["mcp"], context.params["index"]) == (
        "127.0.0.1",
        "stdio",
        "a.lance",
    )
    assert serve.make_context("serve", ["--mcp", "http"]).params["mcp"] == "http"
    with pytest.raises(click.BadParameter):
        serve.make_context("serve", ["--max-queue", "0"])
