"""bindplug's embedding function in real LanceDB tables."""

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from bindplug import audio, image, text
from bindplug.errors import InputError
from bindplug_toyworld import scene_at
from bindplug_toyworld.files import write_wav

lancedb = pytest.importorskip("lancedb")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    directory = tmp_path_factory.mktemp("scenes")
    for index in range(5):
        scene = scene_at("eval", index, canvas=(96, 128))
        scene.image.save(directory / f"{index}.png")
        write_wav(directory / f"{index}.wav", scene.audio, scene.sample_rate_hz)
    return directory


@pytest.fixture(scope="module")
def pictures():
    from lancedb.embeddings import get_registry

    import bindplug_search.integrations.lancedb  # noqa: F401

    return get_registry().get("bindplug").create(name="imagebind_tiny", modality="image")


def make_table(database, function, name="photos"):
    from lancedb.pydantic import LanceModel, Vector

    class Photo(LanceModel):
        path: str = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()

    return database.create_table(name, schema=Photo)


def test_a_table_of_pictures_takes_every_query(scenes, pictures, tmp_path, adopt_world):
    paths = [str(scenes / f"{index}.png") for index in range(5)]
    table = make_table(lancedb.connect(str(tmp_path)), pictures)
    table.add([{"path": path} for path in paths])
    model = adopt_world.models["imagebind_tiny"]
    rows = model.embed([image(path) for path in paths]).numpy()
    np.testing.assert_allclose(np.array(table.to_arrow()["vector"].to_pylist()), rows, atol=1e-5)
    sound = str(scenes / "3.wav")
    picture = Image.open(paths[2])
    queries = [audio(sound), {"audio": sound}, "a dog", text("a dog"), audio(sound) + text("a dog"), picture]
    reopened = lancedb.connect(str(tmp_path)).open_table(
        "photos"
    )  # the function comes from the table's metadata
    for query, bound in zip(
        queries, [*queries[:2], text("a dog"), *queries[3:5], image(picture)], strict=True
    ):
        vector = model.embed([audio(sound)] if isinstance(bound, dict) else [bound]).numpy()[0]
        order = [paths[index] for index in np.argsort(-(rows @ vector))]
        for tried in (table, reopened):
            assert [found["path"] for found in tried.search(query).limit(5).to_list()] == order


def test_bytes_and_nulls_of_a_column(scenes, pictures, adopt_world):
    content = (scenes / "1.png").read_bytes()
    rows = pictures.compute_source_embeddings(pa.array([content, None, content], pa.binary()))
    assert rows[1] is None
    expected = adopt_world.models["imagebind_tiny"].embed([image(content)]).numpy()[0]
    np.testing.assert_allclose(rows[0], expected, atol=1e-5)
    np.testing.assert_array_equal(rows[0], rows[2])


def test_a_file_that_cannot_be_read_is_told_at_once(pictures, tmp_path):
    table = make_table(lancedb.connect(str(tmp_path)), pictures)
    with pytest.raises(RuntimeError, match=r"nothing\.png: no such file"):  # LanceDB's, around ours
        table.add([{"path": "nothing.png"}])
    assert table.count_rows() == 0
    with pytest.raises(InputError, match=r"nothing\.wav: no such file"):
        table.search(audio("nothing.wav")).to_list()
