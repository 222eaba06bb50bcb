"""What hostile and broken clients send: the server refuses it, stays up and reads nothing of its machine."""

from __future__ import annotations

import json

import httpx
import pytest

from bindplug_serve import create_app
from bindplug_serve.observe import JsonFormatter
from tests.serve.running import encoded, post, raw, small_service, thread

JSON = {"content-type": "application/json"}
PATHS = ("/v1/embeddings", "/vectorize", "/classify", "/search", "/detect")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"a dog"',
        b"\xff\xfe",
        b"[" * 50_000,
        b'{"input":' * 20_000,
        b'{"input": NaN}',
        b'{"input": Infinity}',
        b'{"input": ' + b"9" * 5000 + b"}",
        b'{"input": "\\ud800", "texts": ["\\ud800"], "labels": ["\\ud800"]}',
        b'{"query": "\\ud800", "prompts": ["\\ud800"], "image": "\\ud800"}',
        b'{"input": {"terms": []}, "texts": [null], "query": {}, "prompts": []}',
        b'{"input": true, "texts": {}, "query": 1.5, "image": []}',
    ],
    ids=lambda body: repr(body[:16]),
)
def test_malformed_bodies_are_the_senders_fault(client, path, body):
    answer = client.post(path, content=body, headers=JSON)
    assert answer.status_code in (400, 501), answer.text  # 501: no index to search
    assert "error" in answer.json()
    assert len(answer.text) < 2000


@pytest.mark.parametrize("weight", ["NaN", "Infinity", "1e999", "-1e7", '"1"', "null"])
def test_weights_that_are_no_numbers_are_refused(client, weight):
    body = f'{{"input": {{"terms": [{{"text": "a dog", "weight": {weight}}}]}}}}'
    answer = client.post("/v1/embeddings", content=body.encode(), headers=JSON)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "source",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "http://127.0.0.1:9/a.png",
        "https://example.org/a.png",
        "ftp://127.0.0.1/a",
        "../../bindplug/examples/meadow.png",
        "bindplug/examples/meadow.png",
        "C:\\pictures\\a.png",
        "~/a.png",
        "data:image/png,raw",
        "data:text/uri-list;base64,aHR0cDovLzEyNy4wLjAuMS9hLnBuZw==",
        "data:image/png;base64,@@@@",
        "data:image/png;base64,",
        "é" * 40,
        "A" * 5,
        "\x00",
        "",
    ],
)
@pytest.mark.parametrize("sense", ["image", "video", "audio", "depth", "thermal", "imu"])
def test_no_path_and_no_address_is_read(client, sense, source):
    answer = client.post("/v1/embeddings", json={"input": {sense: source}})
    assert answer.status_code == 400
    assert "root:" not in answer.text


PLAYLISTS = {
    "hls": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "concat": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "xxe": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "zip": b"PK\x03\x04" + b"\0" * 60,
    "pickle": b"\x80\x04cposix\nsystem\n(S'true'\ntR.",
}


@pytest.mark.parametrize("sense", ["image", "video", "audio", "depth", "thermal", "imu"])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_files_that_point_elsewhere_open_nothing(client, sense, kind):
    answer = client.post("/v1/embeddings", json={"input": {sense: encoded(PLAYLISTS[kind])}})
    assert answer.status_code == 400
    assert "root:" not in answer.text


@pytest.mark.parametrize(
    "item",
    [
        {"image": "QQ==", "audio": "QQ=="},
        {},
        {"image": None},
        {"image": "QQ==", "path": "/etc/passwd"},
        {"depth": "QQ==", "options": {"mask": "/etc/passwd"}},
        {"audio": "QQ==", "options": {"clips": 1_000_000_000}},
        {"video": "QQ==", "options": {"fps": 1e9}},
        {"imu": "QQ==", "options": {"columns": {"acc": {"x": {"y": 1}}}}},
        {"image": "QQ==", "filename": "a" * 300},
        {"terms": [{"text": "a"}] * 33},
        {"text": "a" * 20_001},
    ],
)
def test_items_beyond_their_form_are_refused(client, item):
    assert client.post("/v1/embeddings", json={"input": item}).status_code == 400


def test_a_request_that_the_queue_could_never_hold_is_not_told_to_come_again():
    terms = [{"terms": [{"text": f"{item} {term}"} for term in range(3)]} for item in range(2)]
    with thread(small_service()) as url:
        answer = post(url, {"input": terms})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_many_items")
    assert "Retry-After" not in answer.headers


def test_a_form_is_told_to_be_json(client):
    for content, kind in (
        (b'{"input": "a dog"}', "application/x-www-form-urlencoded"),
        (b"a dog", "text/plain"),
    ):
        answer = client.post("/v1/embeddings", content=content, headers={"content-type": kind})
        assert answer.status_code == 400
        assert "expected `Content-Type: application/json`" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GARBAGE\r\n\r\n",
        b"POST /vectorize HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /vectorize HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /%ff%00 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_no_proper_http_harms_nothing(data):
    with thread(small_service()) as url:
        answer = raw(url, data, shut=True)
        assert answer == b"" or answer.split(b" ")[1] in (b"400", b"404")
        assert b"root:" not in answer
        assert post(url, {"input": "a"}).status_code == 200


def test_keys():
    with pytest.raises(ValueError, match="api_key is empty"):
        create_app(small_service(), api_key=" ")
    with thread(small_service(), api_key="søt-key") as url:
        good = {"authorization": "Bearer søt-key".encode().decode("latin-1").encode("latin-1")}
        assert post(url, {"input": "a"}, headers=good).status_code == 200
        for value in (
            None,
            "Bearer",
            "Bearer wrong",
            "Bearer sot-key",
            "Basic søt-key",
            "søt-key",
            "Bearer søt-key x",
        ):
            headers = {} if value is None else {"authorization": value.encode()}
            answer = post(url, {"input": "a"}, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), value
            assert answer.json()["error"]["code"] == "invalid_api_key"
        with httpx.Client(base_url=url) as client:
            for path, status in {"/metrics": 401, "/openapi.json": 401, "/mcp": 401, "/meta": 401}.items():
                assert client.get(path).status_code == status
            assert client.get("/.well-known/live").status_code == 204
            assert client.post("/vectorize", content=b"x" * 100_000).status_code == 401


def test_other_hosts_and_other_pages_are_refused():
    options = {"allow_hosts": ["127.0.0.1", "gallery.example"], "allow_origins": ["https://page.example"]}
    with thread(small_service(), **options) as url, httpx.Client(base_url=url) as client:
        statuses = {
            host: client.get("/.well-known/live", headers={"host": host}).status_code
            for host in (
                "127.0.0.1:9",
                "GALLERY.example",
                "evil.example",
                "127.0.0.1.evil.example",
                "[::1]:80",
                "",
            )
        }
        assert list(statuses.values()) == [204, 204, 421, 421, 421, 421]
        for origin, status in {
            "https://page.example": 200,
            url: 200,
            "https://evil.example": 403,
            "null": 403,
        }.items():
            answer = client.post("/v1/embeddings", json={"input": "a"}, headers={"origin": origin})
            assert answer.status_code == status, origin
        preflight = {"origin": "https://page.example", "access-control-request-method": "POST"}
        allowed = client.options("/v1/embeddings", headers=preflight)
        assert allowed.headers["access-control-allow-origin"] == "https://page.example"


def test_pages_are_not_allowed_by_default(client):
    answer = client.get("/meta", headers={"origin": "https://page.example"})
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert client.get("/meta", headers={"host": "evil.example"}).status_code == 421
    assert client.get("/docs").status_code == 404  # its page would fetch scripts from elsewhere


def test_logs_and_metrics_hold_nothing_of_requests(caplog):
    secret = "xylophone"
    with thread(small_service()) as url, caplog.at_level("DEBUG"), httpx.Client(base_url=url) as client:
        post(url, {"input": secret})
        post(url, {"input": {"image": secret}})
        client.get(f"/{secret}?{secret}={secret}", headers={"user-agent": secret})
        client.request(secret.upper(), "/meta")
        metrics = client.get("/metrics").text
    records = [record for record in caplog.records if record.name == "bindplug.serve"]
    lines = [json.loads(JsonFormatter().format(record)) for record in records]
    assert secret not in json.dumps(lines).replace(secret.upper(), "").lower()
    requests = [
        line
        for line in lines
        if line["event"] == "request" and line["level"] == "info" and line["status"] in (200, 400)
    ]
    assert {line["route"] for line in requests} == {"/v1/embeddings"}
    assert all(line["bytes"] and line["request_id"] and line["ms"] >= 0 for line in requests)
    assert secret not in metrics.lower()
    assert 'bindplug_requests_total{method="POST",route="/v1/embeddings",status="400"} 1.0' in metrics
    assert 'method="GET",route="other",status="404"' in metrics
    assert 'bindplug_items_total{modality="text"} 1.0' in metrics
    assert "bindplug_ready 1.0" in metrics


def test_an_unexpected_error_is_told_without_its_text(caplog):
    service = small_service()

    def fail(*_, **__):
        raise RuntimeError("secret of the request")

    service.embed = fail
    with thread(service) as url, caplog.at_level("ERROR"):
        answer = post(url, {"input": "a"})
        assert (answer.status_code, answer.json()["error"]["message"]) == (
            500,
            "the server failed; its log says why",
        )
    (record,) = [record for record in caplog.records if record.name == "bindplug.serve"]
    line = JsonFormatter().format(record)
    assert "RuntimeError" in line
    assert "secret" not in line
