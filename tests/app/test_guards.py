"""Requests that never reach Gradio."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from bindplug_app.guards import MESSAGE_BYTES, OVERHEAD_BYTES, PageGuard


async def count(request: Request) -> JSONResponse:
    return JSONResponse(len(await request.body()))


@pytest.fixture
def client(tmp_path):
    app = Starlette(routes=[Route("/{path:path}", count, methods=["GET", "POST"])])
    guard = PageGuard(app, upload_bytes=2 * MESSAGE_BYTES, folder=tmp_path, folder_bytes=100)
    with TestClient(guard) as client:
        yield client


@pytest.mark.parametrize(
    "path",
    ["/", "/config", "/assets/index.js", "/gradio_api/queue/join", "/gradio_api/file=/tmp/x", "/media/a-_1"],
)
def test_what_the_page_needs_is_open(client, path):
    assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/run/predict", "/gradio_api/call/search", "/gradio_api/proxy=https://x.hf.space/", "/login",
        "/gradio_api/file=http://x/", "/gradio_api/file=FILE:///x", "/gradio_api/process_recording", "/monitoring",
        "/assets/" + "a" * 256, "/static/" + "a" * 5000 + "/b",
        "/gradio_api/vibe-edit", "/media/a/b", "/gradio_api/component_server", "/openapi.json", "/configuration",
    ],
)  # fmt: skip
def test_all_else_is_closed(client, path):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(("path", "status"), [("/gradio_api/queue/join", 400), ("/gradio_api/upload", 500)])
def test_what_gradio_cannot_look_up_is_the_senders_fault_in_messages_alone(tmp_path, path, status):
    def look_up(_: Request) -> None:
        raise KeyError(9999)

    app = Starlette(routes=[Route(path, look_up, methods=["POST"])])
    app.add_middleware(PageGuard, upload_bytes=1, folder=tmp_path, folder_bytes=1)
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.post(path).status_code == status


def test_bodies_are_bounded_declared_or_not(client):
    most = 2 * MESSAGE_BYTES + OVERHEAD_BYTES
    assert client.post("/gradio_api/upload", content=b"x" * most).json() == most
    assert client.post("/gradio_api/upload", content=b"x" * (most + 1)).status_code == 413
    assert client.post("/gradio_api/queue/join", content=b"x" * (MESSAGE_BYTES + 1)).status_code == 413
    pieces = (b"x" * MESSAGE_BYTES for _ in range(4))
    with pytest.raises(ClientDisconnect):
        client.post("/gradio_api/upload", content=pieces)


def test_uploads_are_refused_while_too_many_are_kept(client, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"x" * 101)
    assert client.post("/gradio_api/upload", content=b"x").status_code == 507
    assert client.get("/").status_code == 200


def test_browsers_are_told_to_load_nothing_from_elsewhere(client):
    headers = client.get("/").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
