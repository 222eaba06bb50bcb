"""/classify, /detect and /search."""

from __future__ import annotations

import asyncio
import io

import httpx
import numpy as np
import pytest
from PIL import Image

import bindplug
from bindplug import EmbeddingSpace
from bindplug.errors import SpaceMismatch
from bindplug.testing import FakeEncoder
from bindplug_serve import Service
from bindplug_serve.failures import Refusal
from bindplug_toyworld import Scene
from tests.serve.running import encoded, thread

LABELS = ["a dog", "a train", "a bell"]


def test_classes_are_those_of_classify(client, model, files):
    items = [{"audio": encoded(files["audio"])}, "a dog", {"terms": [{"image": encoded(files["image"])}]}]
    body = {"input": items, "labels": LABELS, "templates": ["{}", "the {}"], "top_k": 2}
    answer = client.post("/classify", json=body)
    assert answer.status_code == 200, answer.text
    queries = [bindplug.audio(files["audio"]), bindplug.text("a dog"), bindplug.image(files["image"])]
    for item, ranking in zip(
        answer.json()["data"],
        bindplug.classify(model, queries, LABELS, ["{}", "the {}"], top_k=2),
        strict=True,
    ):
        assert [top["label"] for top in item["top"]] == list(ranking.labels)
        for top, entry in zip(item["top"], ranking.entries, strict=True):
            assert top["probability"] == pytest.approx(entry.probability, abs=1e-4)
            assert top["score"] == pytest.approx(entry.score, abs=1e-5)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"labels": ["a dog"]}, "at least two class names"),
        ({"labels": ["a dog", "a dog"]}, "every name once"),
        ({"labels": LABELS, "templates": ["a"]}, "{} where the name goes"),
        ({"labels": LABELS, "top_k": 0}, "top_k"),
        ({"labels": LABELS, "kind": "x"}, "kind"),
    ],
)
def test_bad_labels_are_refused(client, fields, problem):
    answer = client.post("/classify", json={"input": "a dog"} | fields)
    assert answer.status_code == 400
    assert problem in answer.json()["error"]["message"]


def test_classes_for_the_items_that_can_be_read(client):
    body = {"input": [{"image": encoded(b"no")}, "a dog"], "labels": LABELS, "on_error": "skip"}
    answer = client.post("/classify", json=body).json()
    assert [item["index"] for item in answer["data"]] == [1]
    assert [error["index"] for error in answer["errors"]] == [0]
    nothing = client.post("/classify", json=body | {"input": [{"image": encoded(b"no")}]}).json()
    assert nothing["data"] == []


def test_detections_are_the_detectors(client):
    scene = Scene(3, "eval", labels=["dog"])
    picture = io.BytesIO()
    scene.image.save(picture, "PNG")
    body = {"image": encoded(picture.getvalue()), "prompts": ["a dog", "a train"], "threshold": 0.3}
    answer = client.post("/detect", json=body)
    assert answer.status_code == 200, answer.text
    best = answer.json()["data"][0]
    assert best["prompt"] == 0
    assert answer.json()["width"] == scene.image.width
    expected = next(box for box in scene.boxes)
    np.testing.assert_allclose(best["box"], np.asarray(expected), atol=20)


def test_what_cannot_be_detected_in_is_named(client, files):
    picture, bad = encoded(files["image"]), {"audio": encoded(b"no sound")}
    answer = client.post("/detect", json={"image": picture, "prompts": ["a dog", bad]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "prompts")
    answer = client.post("/detect", json={"image": encoded(b"no picture"), "prompts": ["a dog"]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_input")
    assert answer.json()["error"]["param"] == "image"
    answer = client.post(
        "/detect", json={"image": "http://127.0.0.1/a.png", "prompts": ["a", {"audio": "?"}]}
    )
    assert [item["index"] for item in answer.json()["error"]["items"]] == [0, 2]


@pytest.fixture(scope="module")
def library(tmp_path_factory, files):
    """An index of a few files and sentences."""
    from bindplug_search import create_index

    directory = tmp_path_factory.mktemp("library")
    (directory / "noise.wav").write_bytes(files["audio"])
    (directory / "noise.png").write_bytes(files["image"])
    index = create_index(directory / "library.lance", model="imagebind_tiny")
    sources = [bindplug.audio(str(directory / "noise.wav")), bindplug.image(str(directory / "noise.png"))]
    metadata = [{"rating": 4.0}, {"rating": 2.0}, {"rating": 3.0}, {"rating": 1.0}]
    index.add([*sources, bindplug.text("a dog"), bindplug.text("a train")], metadata=metadata, progress=False)
    return directory / "library.lance"


@pytest.fixture(scope="module")
def searching(library, model):
    """A client of a server with that index."""
    from bindplug_search import open_index

    service = Service(
        lambda: model, name="imagebind_tiny", open_index=lambda loaded: open_index(library, model=loaded)
    )
    with thread(service) as url, httpx.Client(base_url=url, timeout=60) as client:
        while client.get("/.well-known/ready").status_code != 204:
            pass
        yield client


def test_matches_are_those_of_the_index(searching, library, files):
    from bindplug_search import open_index

    body = {"query": {"audio": encoded(files["audio"])}, "k": 3}
    answer = searching.post("/search", json=body)
    assert answer.status_code == 200, answer.text
    matches = answer.json()["data"]
    assert (matches[0]["kind"], matches[0]["metadata"]) == ("audio", {"rating": 4.0})
    assert matches[0]["path"].endswith("noise.wav")
    assert matches[0]["score"] == pytest.approx(1, abs=1e-4)
    expected = open_index(library).search(bindplug.audio(files["audio"]), 3)
    assert [match["path"] for match in matches] == [match.row.path for match in expected]


def test_sums_are_moved_to_the_rows_as_the_index_does(searching, library, files):
    from bindplug_search import open_index

    terms = [{"image": encoded(files["image"])}, {"text": "a train", "weight": -0.5}]
    matches = searching.post("/search", json={"query": {"terms": terms}}).json()["data"]
    query = bindplug.image(files["image"]) - 0.5 * bindplug.text("a train")
    expected = open_index(library).search(query)
    np.testing.assert_allclose(
        [match["score"] for match in matches], [match.score for match in expected], atol=1e-4
    )


def test_kinds_and_conditions(searching):
    condition = {"key": "rating", "operator": ">=", "value": 3}
    body = {"query": "a dog", "kinds": ["text", "audio"], "where": [condition]}
    matches = searching.post("/search", json=body).json()["data"]
    assert {match["kind"] for match in matches} == {"text", "audio"}
    assert [match["path"] for match in matches if match["kind"] == "text"] == ["a dog"]
    unknown = searching.post("/search", json=body | {"where": [{"key": "colour", "value": "red"}]})
    assert unknown.status_code == 400
    assert "colour" in unknown.json()["error"]["message"]
    assert searching.get("/meta").json()["index"] is True


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"image": encoded(b"no")}, "query"),
        ({"terms": [{"text": "a"}, {"audio": encoded(b"no")}]}, "query.terms[1]"),
    ],
)
def test_a_query_that_cannot_be_read_is_named(searching, query, param):
    answer = searching.post("/search", json={"query": query})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_an_index_that_vanished_is_no_fault_of_the_sender_and_its_place_is_not_told(
    searching, library, tmp_path
):
    away = library.rename(library.with_name("away.lance"))
    answer = searching.post("/search", json={"query": "a dog"})
    away.rename(library)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json()["error"]["code"] == "index_unavailable"
    assert str(library.parent) not in answer.text
    assert searching.post("/search", json={"query": "a dog"}).status_code == 200


def test_an_index_of_another_space_is_refused_when_the_server_starts(library):
    from bindplug_search import open_index

    other = FakeEncoder(space=EmbeddingSpace("test:other", 8))
    service = Service(lambda: other, name="other", open_index=lambda model: open_index(library, model=model))

    async def start():
        try:
            with pytest.raises(SpaceMismatch):
                await service.engine.start()
            with pytest.raises(SpaceMismatch):
                await service.engine.wait()
        finally:
            await service.engine.close()

    asyncio.run(start())


def test_without_an_index_the_remedy_is_told(client):
    answer = client.post("/search", json={"query": "a dog"})
    assert answer.status_code == 501
    assert "bindplug serve --index PATH" in answer.json()["error"]["message"]

    async def detect():
        await Service(FakeEncoder, name="fake").detect(None, ["a dog"])

    with pytest.raises(Refusal, match="--detector NAME"):
        asyncio.run(detect())


def test_pictures_of_too_many_pixels_are_refused(client):
    file = io.BytesIO()
    Image.new("1", (9000, 8000)).save(file, "PNG")  # 72 million pixels in few bytes
    assert len(file.getvalue()) < 20_000
    answer = client.post(
        "/v1/embeddings", json={"input": ["a dog", {"image": encoded(file.getvalue())}], "on_error": "skip"}
    )
    assert "9000 x 8000 pixels; expected at most 67,108,864" in answer.json()["errors"][0]["message"]
    assert len(answer.json()["data"]) == 1
