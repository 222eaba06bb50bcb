"""Requests that are too large, too many or too slow: they are refused, and leave nothing behind."""

from __future__ import annotations

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from tests.serve.running import WAIT_S, Gate, post, raw, small_service, thread


def test_headers_without_end_are_cut_off(client):
    line = b"X: " + b"a" * 4096 + b"\r\n"
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=WAIT_S) as connection:
        connection.sendall(b"GET /.well-known/live HTTP/1.1\r\nHost: localhost\r\n")
        with pytest.raises(ConnectionError):
            connection.sendall(line * 10_000)
    assert client.get("/.well-known/live", headers={"x": "a" * 20_000}).status_code == 204


def test_too_much_is_refused_before_it_is_read_or_worked_on():
    with thread(small_service()) as url:
        items = post(url, {"input": ["a"] * 5})
        assert (items.status_code, items.json()["error"]["code"]) == (413, "too_many_items")
        body = post(url, {"input": "a" * 3000})
        assert (body.status_code, body.json()["error"]["code"]) == (413, "body_too_large")
        labels = post(url, {"input": "a", "labels": ["a", "b", "c", "d", "e"]}, "/classify")
        assert labels.status_code == 413
        head = b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        announced = raw(url, head + b"Content-Length: 999999999999\r\n\r\n{")
        assert announced.startswith(b"HTTP/1.1 413")
        chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
        chunked = raw(url, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 3)
        assert chunked.startswith(b"HTTP/1.1 413")
        assert post(url, {"input": "a"}).status_code == 200


def test_bodies_that_are_held_at_once_are_bounded():
    service = small_service()
    gate = Gate(service.engine._run)
    service.engine.batcher.run = gate
    with thread(service) as url, ThreadPoolExecutor(4) as pool:
        body = {"input": "a", "user": "b" * 1500}
        held = [pool.submit(post, url, body) for _ in range(2)]
        assert gate.entered.wait(WAIT_S)
        while True:  # until both bodies are held
            refused = post(url, body)
            if refused.status_code == 429 and refused.json()["error"]["code"] == "too_much_data":
                break
            gate.opened.set() if refused.status_code == 200 else None
        assert int(refused.headers["retry-after"]) >= 1
        gate.opened.set()
        assert [answer.result().status_code for answer in held] == [200, 200]
        assert post(url, body).status_code == 200


def test_a_full_queue_is_told_with_the_time_to_return():
    service = small_service()
    gate = Gate(service.engine._run)
    service.engine.batcher.run = gate
    with thread(service) as url, ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, url, {"input": ["a", "b", "c"]})
        assert gate.entered.wait(WAIT_S)
        refused = post(url, {"input": ["a", "b"]})
        assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
        assert int(refused.headers["retry-after"]) >= 1
        plain = post(url, {"texts": ["a", "b"]}, "/vectorize")
        assert plain.status_code == 429
        assert "the queue holds 4" in plain.json()["error"]
        gate.opened.set()
        assert first.result().status_code == 200


def test_an_answer_that_takes_too_long_is_given_up():
    service = small_service(request_s=0.3)
    gate = Gate(service.engine._run)
    with thread(service) as url:
        assert post(url, {"input": "a"}).status_code == 200
        service.engine.batcher.run = gate
        answer = post(url, {"input": "a"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")
        assert service.engine.batcher.pending == 0
        gate.opened.set()


def test_work_of_a_client_that_left_is_taken_back():
    service = small_service()
    gate = Gate(service.engine._run)
    with thread(service) as url:
        post(url, {"input": "a"})
        service.engine.batcher.run = gate
        parts = urlsplit(url)
        body = json.dumps({"input": "a"}).encode()
        head = f"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection((parts.hostname, parts.port)) as connection:
            connection.sendall(head + body)
            assert gate.entered.wait(WAIT_S)
        waited = threading.Event()
        for _ in range(500):
            if service.engine.batcher.pending == 0:
                break
            waited.wait(0.02)
        assert service.engine.batcher.pending == 0
        gate.opened.set()


def test_slow_headers_and_slow_bodies_are_cut_off():
    with thread(small_service(body_s=0.3), headers_s=0.3) as url:
        assert raw(url, b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nX-Slow: ") == b""
        assert raw(url, b"") == b""
        head = b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
        assert raw(url, head + b'{"input').startswith(b"HTTP/1.1 408")
        second = raw(
            url, b"GET /.well-known/live HTTP/1.1\r\nHost: a\r\n\r\nGET /.well-known/live HTTP/1.1\r\nHo"
        )
        assert second.startswith(b"HTTP/1.1 204")
        assert post(url, {"input": "a"}).status_code == 200
