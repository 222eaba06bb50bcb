"""The interface of Weaviate's multi2vec-bind."""

from __future__ import annotations

import json

import numpy as np

import bindplug
from bindplug import text
from tests.serve.running import encoded

VECTORS = (
    "textVectors",
    "imageVectors",
    "audioVectors",
    "videoVectors",
    "imuVectors",
    "thermalVectors",
    "depthVectors",
)
FIELDS = {
    "image": "images",
    "audio": "audio",
    "video": "video",
    "imu": "imu",
    "thermal": "thermal",
    "depth": "depth",
}


def test_probes_and_meta(client):
    for probe in ("live", "ready"):
        answer = client.get(f"/.well-known/{probe}")
        assert (answer.status_code, answer.content) == (204, b"")
    meta = client.get("/meta").json()
    assert (meta["model"], meta["width"], len(meta["modalities"])) == ("imagebind_tiny", 128, 7)


def test_all_lists_at_once_and_no_content_type(client, model, files):
    """Weaviate's client sends no Content-Type."""
    body = {"texts": ["a dog", "a cat"]} | {field: [encoded(files[sense])] for sense, field in FIELDS.items()}
    answer = client.post("/vectorize", content=json.dumps(body).encode())
    assert answer.status_code == 200
    assert tuple(answer.json()) == VECTORS
    np.testing.assert_allclose(
        answer.json()["textVectors"], model.embed([text("a dog"), text("a cat")]), atol=2e-6
    )
    for sense in FIELDS:
        expected = model.embed([getattr(bindplug, sense)(files[sense])])
        np.testing.assert_allclose(answer.json()[f"{sense}Vectors"], expected, atol=2e-6)


def test_lists_may_be_absent_null_or_empty(client):
    answer = client.post("/vectorize", json={"texts": [], "images": None})
    assert answer.json() == {name: [] for name in VECTORS}


def test_errors_are_strings_and_name_the_item(client, files):
    body = {"texts": ["a dog"], "images": [encoded(files["image"]), encoded(b"no picture")]}
    answer = client.post("/vectorize", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("images[1]: <10 bytes>")
    skipped = client.post("/vectorize", json=body | {"on_error": "skip"}).json()
    assert skipped["imageVectors"][1] is None
    assert len(skipped["imageVectors"][0]) == len(skipped["textVectors"][0]) == 128
    assert skipped["errors"][0].startswith("images[1]: ")


def test_a_malformed_request_is_a_string_too(client):
    assert "texts" in client.post("/vectorize", json={"texts": "a dog"}).json()["error"]
