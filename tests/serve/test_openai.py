"""/v1/embeddings as OpenAI's own client, and others of its form, ask it."""

from __future__ import annotations

import base64

import numpy as np
import openai
import pytest

import bindplug
from bindplug import text
from tests.serve.conftest import wave_of
from tests.serve.running import encoded

SENSES = ("image", "video", "audio", "depth", "thermal", "imu")


@pytest.fixture
def openai_client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def embed(client, *items, **fields):
    answer = client.post("/v1/embeddings", json={"input": list(items)} | fields)
    assert answer.status_code == 200, answer.text
    return np.array([entry["embedding"] for entry in answer.json()["data"]], dtype=np.float32)


def test_the_official_client_embeds_sentences(openai_client, model):
    answer = openai_client.embeddings.create(model="imagebind_tiny", input=["a dog", "a red train"])
    rows = np.array([entry.embedding for entry in answer.data])
    np.testing.assert_allclose(rows, model.embed([text("a dog"), text("a red train")]), atol=2e-6)
    assert [entry.index for entry in answer.data] == [0, 1]
    assert answer.model == "imagebind_tiny"
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 4 + 5  # with the start and end marks


def test_one_sentence_and_both_encodings_are_the_same_row(openai_client, client):
    options = {"model": "imagebind_tiny", "input": "a dog"}
    numbers = openai_client.embeddings.create(**options, encoding_format="float").data[0].embedding
    letters = openai_client.embeddings.create(**options, encoding_format="base64").data[0].embedding
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(letters), "<f4"), np.float32(numbers))


def test_the_official_client_lists_the_model(openai_client):
    assert [entry.id for entry in openai_client.models.list()] == ["imagebind_tiny"]


def test_the_official_client_asks_for_the_model_by_name(openai_client):
    assert openai_client.models.retrieve("imagebind_tiny").id == "imagebind_tiny"
    with pytest.raises(openai.NotFoundError, match="expected 'imagebind_tiny'"):
        openai_client.models.retrieve("other/model")


def test_another_model_is_refused_by_name(openai_client):
    with pytest.raises(openai.NotFoundError, match=r"'other' is not served here; expected 'imagebind_tiny'"):
        openai_client.embeddings.create(model="other", input="a dog")


@pytest.mark.parametrize("tokens", [[64, 1929], [[64, 1929], [64]]])
def test_tokens_are_refused_with_the_reason(openai_client, tokens):
    with pytest.raises(openai.BadRequestError, match=r"OpenAI's tokenizers .* send the text itself"):
        openai_client.embeddings.create(model="imagebind_tiny", input=tokens)


def test_dimensions_are_the_models_own_or_refused(openai_client):
    same = openai_client.embeddings.create(model="imagebind_tiny", input="a dog", dimensions=128)
    assert len(same.data[0].embedding) == 128
    with pytest.raises(openai.BadRequestError, match="dimensions=64; rows of this model have 128 numbers"):
        openai_client.embeddings.create(model="imagebind_tiny", input="a dog", dimensions=64)


@pytest.mark.parametrize("sense", SENSES)
@pytest.mark.parametrize("form", ["data URI", "base64"])
def test_every_sense_gives_the_row_of_embed(client, model, files, sense, form):
    start = "data:application/octet-stream;base64," if form == "data URI" else ""
    (row,) = embed(client, {sense: start + encoded(files[sense])})
    (expected,) = model.embed([getattr(bindplug, sense)(files[sense])])
    np.testing.assert_allclose(row, expected, atol=2e-6)


def test_sums_are_queries(client, model, files):
    terms = [{"weight": 0.8, "audio": encoded(files["audio"])}, {"weight": -0.5, "text": "a dog"}]
    (row, negative) = embed(client, {"terms": terms}, {"terms": [{"weight": -2, "text": "a dog"}]})
    expected = model.embed([0.8 * bindplug.audio(files["audio"]) - 0.5 * text("a dog"), -text("a dog")])
    np.testing.assert_allclose([row, negative], expected, atol=2e-6)


def test_reader_options_and_names_of_files_count(client, model, files):
    source = encoded(files["depth"])
    (row,) = embed(client, {"depth": source, "options": {"unit": "m", "cap": 5000}})
    (expected,) = model.embed([bindplug.depth(files["depth"], unit="m", cap=5000)])
    np.testing.assert_allclose(row, expected, atol=2e-6)
    answer = client.post("/v1/embeddings", json={"input": {"depth": source, "filename": "../room_tum.png"}})
    assert answer.status_code == 400
    assert "room_tum.png" in answer.json()["error"]["message"]
    assert ".." not in answer.json()["error"]["message"].split(":")[1]


def test_a_terms_that_cancel_are_an_error_of_that_item(client):
    terms = [{"weight": 1, "text": "a dog"}, {"weight": -1, "text": "a dog"}]
    answer = client.post("/v1/embeddings", json={"input": ["a cat", {"terms": terms}]})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "input[1]"
    assert "cancel" in error["items"][0]["message"]


def test_bad_items_are_told_one_by_one_or_skipped(client, model, files):
    items = [
        "a dog",
        {"image": encoded(b"no picture")},
        {"audio": encoded(files["audio"])},
        {"imu": encoded(b"\0")},
    ]
    refused = client.post("/v1/embeddings", json={"input": items})
    assert refused.status_code == 400
    assert [item["index"] for item in refused.json()["error"]["items"]] == [1, 3]
    skipped = client.post("/v1/embeddings", json={"input": items, "on_error": "skip"})
    assert skipped.status_code == 200
    assert [entry["index"] for entry in skipped.json()["data"]] == [0, 2]
    errors = skipped.json()["errors"]
    assert [error["index"] for error in errors] == [1, 3]
    with pytest.raises(bindplug.BindplugError) as caught:
        model.embed([bindplug.image(b"no picture")])
    assert errors[0]["message"] == str(caught.value)


def test_remarks_of_readers_and_unknown_words_are_told(client):
    answer = client.post("/v1/embeddings", json={"input": ["a dog", "a xylophone zebra"]}).json()
    assert set(answer["unknown_words"]) <= {"xylophone", "zebra"}
    assert answer["unknown_words"]
    assert "notes" not in answer
    silence = wave_of(np.zeros(16000))
    remarks = client.post("/v1/embeddings", json={"input": ["a dog", {"audio": encoded(silence)}]}).json()
    assert remarks["notes"] == [{"index": 1, "note": "silence: every sample is 0"}]
    assert "unknown_words" not in remarks


def test_infinitys_form(client, files):
    body = {
        "model": "imagebind_tiny",
        "input": [f"data:image/png;base64,{encoded(files['image'])}"],
        "modality": "image",
    }
    answer = client.post("/v1/embeddings", json=body)
    np.testing.assert_array_equal(
        np.float32(answer.json()["data"][0]["embedding"]),
        embed(client, {"image": encoded(files["image"])})[0],
    )


def test_vllms_form(client, files):
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded(files['image'])}"}}
    sound = {"type": "input_audio", "input_audio": {"data": encoded(files["audio"]), "format": "wav"}}
    content = [picture, {"type": "text", "text": "a dog"}, sound]
    answer = client.post("/v1/embeddings", json={"messages": [{"role": "user", "content": content}]})
    terms = [{"image": encoded(files["image"])}, {"text": "a dog"}, {"audio": encoded(files["audio"])}]
    np.testing.assert_allclose(
        answer.json()["data"][0]["embedding"], embed(client, {"terms": terms})[0], atol=2e-6
    )


def test_a_data_uri_sent_as_a_sentence_is_refused_with_the_remedy(client, files):
    answer = client.post(
        "/v1/embeddings", json={"input": f"data:audio/wav;base64,{encoded(files['audio'])[:80]}"}
    )
    assert answer.status_code == 400
    assert 'Send it as {"audio": "data:..."}' in answer.json()["error"]["message"]
