"""bindplug's embeddings in real stores of Chroma, LangChain and llama-index, all of them in memory."""

import asyncio
import os
import warnings

os.environ["ANONYMIZED_TELEMETRY"] = "False"  # Chroma's
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest

from bindplug import audio, image, text
from bindplug.errors import InputError
from tests.search.adopt_world import MODELS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module", autouse=True)
def libraries():
    """The libraries, imported once; they warn of one another."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("chromadb", "langchain_core", "llama_index.core"):
            pytest.importorskip(name)


@pytest.fixture(scope="module")
def model(adopt_world):
    return adopt_world.models[MODELS[0]]


@pytest.fixture(scope="module")
def paths(adopt_world):
    return [str(adopt_world.pictures / name) for name in adopt_world.names[:6]]


@pytest.fixture(scope="module")
def nearest(adopt_world, model):
    """The picture that is nearest to a query, by hand."""

    def find(query):
        return int((adopt_world.rows[MODELS[0]][:6] @ model.embed([query]).numpy()[0]).argmax())

    return find


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    from bindplug_toyworld import scene_at
    from bindplug_toyworld.files import write_wav

    path = tmp_path_factory.mktemp("sound") / "a.wav"
    scene = scene_at("eval", 3)
    write_wav(path, scene.audio, scene.sample_rate_hz)
    return str(path)


@pytest.fixture(scope="module")
def chroma():
    import chromadb
    from chromadb.config import Settings

    return chromadb.EphemeralClient(Settings(anonymized_telemetry=False))


def test_chroma_reads_files_and_answers_every_sense(chroma, paths, nearest, sound):
    from bindplug_search.integrations.chroma import BindplugEmbeddingFunction, QueryLoader

    function = BindplugEmbeddingFunction("imagebind_tiny")
    collection = chroma.create_collection(
        "files", embedding_function=function, data_loader=QueryLoader("image")
    )
    collection.add(ids=[str(index) for index in range(6)], uris=paths)
    assert collection.query(query_texts=["a dog"], n_results=1)["ids"] == [[str(nearest(text("a dog")))]]
    answer = collection.query(query_embeddings=function.embed([audio(sound)]), n_results=1)
    assert answer["ids"] == [[str(nearest(audio(sound)))]]
    again = chroma.get_collection("files")  # the function comes from the stored configuration
    assert again.query(query_texts=["a dog"], n_results=1)["ids"] == [[str(nearest(text("a dog")))]]


def test_chroma_takes_documents_arrays_and_a_loaded_model(chroma, model):
    from PIL import Image

    from bindplug_search.integrations.chroma import BindplugEmbeddingFunction

    function = BindplugEmbeddingFunction(model)
    pixels = np.asarray(Image.new("RGB", (64, 64), "red"))
    rows = function(["a dog", pixels])
    np.testing.assert_allclose(rows, model.embed([text("a dog"), image(pixels)]).numpy(), atol=1e-6)
    collection = chroma.create_collection("documents", embedding_function=function)
    collection.add(ids=["dog", "car"], documents=["a dog", "a red car"])
    assert collection.query(query_texts=["a dog"], n_results=1)["ids"] == [["dog"]]
    with pytest.raises(InputError, match="a loaded model"):
        function.get_config()
    with pytest.raises(InputError, match="configuration"):
        BindplugEmbeddingFunction.build_from_config({"model": "imagebind_tiny", "weights": "x"})
    with pytest.raises(InputError, match="'other'"):
        function.validate_config_update({"model": "imagebind_tiny"}, {"model": "other"})


def test_langchain_stores_texts_and_pictures(model, paths, sound, nearest):
    from langchain_core.vectorstores import InMemoryVectorStore

    from bindplug_search.integrations.langchain import BindplugEmbeddings

    embeddings = BindplugEmbeddings(model)
    store = InMemoryVectorStore(embeddings)
    store.add_texts(["a dog", "a red car", "a train"])
    assert store.similarity_search("a dog", k=1)[0].page_content == "a dog"
    pictures = np.array(embeddings.embed_image(paths))
    answer = np.array(embeddings.embed_audio([sound]))[0]
    assert int((pictures @ answer).argmax()) == nearest(audio(sound))
    np.testing.assert_allclose(embeddings.embed([audio(sound), "a dog"])[0], answer, atol=1e-6)
    assert embeddings.embed_query({"audio": sound}) == embeddings.embed([audio(sound)])[0]
    assert asyncio.run(embeddings.aembed_query("a dog")) == embeddings.embed_query("a dog")


@pytest.mark.parametrize("sense", ["image", "video", "audio", "depth", "thermal", "imu"])
def test_langchain_embeds_every_sense(sense):
    from bindplug.testing import FakeEncoder
    from bindplug_search.integrations import to_query
    from bindplug_search.integrations.langchain import BindplugEmbeddings

    encoder = FakeEncoder()
    (row,) = getattr(BindplugEmbeddings(encoder), f"embed_{sense}")(["file"])
    assert row == encoder.embed([to_query("file", sense)])[0].tolist()


def test_llama_index_retrieves_by_every_sense(model, paths, sound, nearest):
    from llama_index.core import VectorStoreIndex
    from llama_index.core.schema import ImageNode, QueryBundle, TextNode

    from bindplug_search.integrations.llama_index import BindplugEmbedding

    embedding = BindplugEmbedding(model)
    texts = VectorStoreIndex(
        nodes=[TextNode(text=name) for name in ("a dog", "a red car")], embed_model=embedding
    )
    assert texts.as_retriever(similarity_top_k=1).retrieve("a dog")[0].node.text == "a dog"
    rows = embedding.get_embeddings(paths, modality="image")
    assert rows == embedding.get_image_embedding_batch(paths)
    nodes = [
        ImageNode(image_path=path, text=path, embedding=row) for path, row in zip(paths, rows, strict=True)
    ]
    retriever = VectorStoreIndex(nodes=nodes, embed_model=embedding).as_retriever(similarity_top_k=1)
    bundle = QueryBundle("", embedding=embedding.get_embedding(audio(sound)))
    assert retriever.retrieve(bundle)[0].node.image_path == paths[nearest(audio(sound))]
    assert retriever.retrieve("a dog")[0].node.image_path == paths[nearest(text("a dog"))]


def test_llama_index_knows_its_model_and_runs_asynchronously(model, paths):
    from llama_index.core.embeddings import MultiModalEmbedding

    from bindplug_search.integrations.llama_index import BindplugEmbedding

    embedding = BindplugEmbedding("imagebind_tiny", embed_batch_size=4)
    assert isinstance(embedding, MultiModalEmbedding)
    assert (embedding.model_name, embedding.embed_batch_size) == ("imagebind_tiny", 4)
    assert "imagebind_tiny" in embedding.to_json()
    loaded = BindplugEmbedding(model)
    assert asyncio.run(loaded.aget_image_embedding(paths[0])) == loaded.get_image_embedding(paths[0])
    assert asyncio.run(loaded.aget_query_embedding("a dog")) == loaded.get_text_embedding("a dog")
