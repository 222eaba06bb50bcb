"""Adopted files, from the command line and as an index: searched by every sense, never changed."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bindplug
from bindplug import audio, text
from bindplug.cli.app import run
from bindplug.errors import CheckpointError, InputError, SpaceMismatch
from bindplug.indexes import Condition, VectorIndex, open_vector_index
from bindplug_search.adopt import adopt, open_adopted
from bindplug_search.adopt.recognition import is_adopted
from bindplug_toyworld import scene_at
from tests.search.adopt_world import COUNT, MODELS, rotation, variants

TINY, FOREIGN = MODELS


def state(directory):
    return {
        path.relative_to(directory).as_posix(): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in directory.rglob("*")
        if path.is_file() and ".bindplug" not in str(path)
    }


def write_table(world, path, rows, **columns):
    names = [f"pictures/{name}" for name in world.names]
    column = pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(rows).reshape(-1)), rows.shape[1]
    )
    pq.write_table(pa.table({"path": names, "clip": column, **columns}), path)
    return path


@pytest.fixture
def folder(adopt_world, tmp_path):
    """A directory with the pictures, a table of their rows and a sound."""
    (tmp_path / "pictures").symlink_to(adopt_world.pictures)
    write_table(adopt_world, tmp_path / "photos.parquet", adopt_world.rows[TINY], number=list(range(COUNT)))
    scene = scene_at("eval", 7)
    from bindplug_toyworld.files import write_wav

    write_wav(tmp_path / "sound.wav", scene.audio, scene.sample_rate_hz)
    return tmp_path


def test_from_the_command_line_to_a_search_by_sound(folder, adopt_world, capsys):
    before = state(folder)
    path = folder / "photos.parquet"
    assert run(["index", "adopt", str(path), "--device", "cpu", "--json", "-q"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["verdict"], report["model"], report["adopted"]) == ("identified", TINY, True)
    assert report["record"] == str(folder / "photos.parquet.bindplug")
    assert report["tried"][0]["agreeing"] == report["tried"][0]["items"] == 50
    assert state(folder) == before, "adopting changed the file"

    index = open_vector_index(path)
    assert isinstance(index, VectorIndex)
    query = adopt_world.models[TINY].embed([audio(folder / "sound.wav")]).numpy()[0]
    matches = index.search(query, 5)
    expected = np.argsort(-(adopt_world.rows[TINY] @ query), kind="stable")[:5]
    assert [match.row.path for match in matches] == [
        str(folder / "pictures" / f"{i:03}.png") for i in expected
    ]
    np.testing.assert_allclose(
        [match.score for match in matches], (adopt_world.rows[TINY] @ query)[expected], atol=1e-5
    )
    assert {match.row.kind for match in matches} == {"image"}
    assert state(folder) == before, "searching changed the file"

    sound = str(folder / "sound.wav")
    arguments = ["--audio", sound, "-k", "5", "--kind", "image", "--device", "cpu", "--json", "-q"]
    assert run(["search", str(path), *arguments]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert [result["path"] for result in results] == [match.row.path for match in matches]
    assert (
        run(["search", str(path), "--audio", sound, "--text", "red", "--device", "cpu", "--json", "-q"]) == 0
    )
    assert len(json.loads(capsys.readouterr().out)["results"]) == 10

    assert run(["index", "info", str(path), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert (info["store"], info["rows"], info["kinds"]) == ("adopted", COUNT, {"image": COUNT})
    assert run(["index", "adopt", str(path), "-q"]) == 1
    assert "is adopted already" in capsys.readouterr().err


@pytest.mark.usefixtures("at_hand")
def test_what_cannot_be_identified_is_not_adopted(folder, adopt_world, capsys):
    path = write_table(adopt_world, folder / "strange.parquet", np.roll(adopt_world.rows[TINY], 1, axis=0))
    assert run(["index", "adopt", str(path), "--device", "cpu"]) == 1
    output = capsys.readouterr()
    assert "rows and paths are out of step" in output.err
    assert "--paths FILE" in output.err
    assert "0/50" in output.out
    assert not is_adopted(path)
    with pytest.raises(InputError, match="bindplug index adopt"):
        open_vector_index(path)


@pytest.mark.parametrize(
    "variant", ["int8", "bits", "rotated", "permuted", "padded", "standardized", "truncated"]
)
def test_searching_undoes_what_was_done_to_rows(adopt_world, folder, variant):
    model = FOREIGN if variant == "rotated" else TINY
    rows = adopt_world.rows[model]
    path = write_table(adopt_world, folder / "rows.parquet", variants(rows)[variant]())
    adoption = adopt(path, adopt_world.candidates, progress=False)
    assert adoption.record is not None, adoption.identification.reason
    index = open_adopted(path)
    assert index.model == model
    query = adopt_world.models[model].embed([text("a dog")]).numpy()[0]
    cosines = rows @ query
    matches = index.search(query, COUNT)
    found = np.array([match.score for match in matches])
    true = np.array([cosines[int(match.row.path[-7:-4])] for match in matches])
    exact = variant not in ("bits", "truncated")
    assert np.corrcoef(found, true)[0, 1] > (0.99 if exact else 0.6)
    if exact:
        np.testing.assert_allclose(found, true, atol=0.03)
        np.testing.assert_allclose(index.mean(), rows.mean(axis=0), atol=0.02)


@pytest.fixture
def at_hand(adopt_world, monkeypatch):
    """The encoders at hand are those of the world, which remember what they embedded."""
    monkeypatch.setattr(
        "bindplug_search.adopt.candidates.encoders_at_hand", lambda names, **options: adopt_world.candidates
    )


@pytest.mark.usefixtures("at_hand")
def test_rows_of_another_model_take_a_bridge(folder, adopt_world, capsys):
    path = write_table(adopt_world, folder / "foreign.parquet", adopt_world.rows[FOREIGN])
    assert run(["index", "adopt", str(path), "--device", "cpu", "--json", "-q"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["model"] == FOREIGN
    assert any("the bridge that is registered between the two" in line for line in report["remarks"])
    arguments = ["index", "adopt", str(path), "--device", "cpu", "--json", "-q", "--overwrite", "--bridge"]
    assert run([*arguments, "toy_bridge"]) == 0
    capsys.readouterr()
    assert open_adopted(path).info().details["bridge"] == "toy_bridge"
    assert (
        run(["search", str(path), "--audio", str(folder / "sound.wav"), "--device", "cpu", "--json", "-q"])
        == 0
    )
    results = json.loads(capsys.readouterr().out)["results"]
    assert len(results) == 10
    assert run([*arguments, "no_such_bridge"]) == 1
    assert "there is no bridge" in capsys.readouterr().err
    assert open_adopted(path).info().details["bridge"] == "toy_bridge", "the earlier record is gone"


@pytest.mark.usefixtures("at_hand")
def test_without_a_bridge_the_command_that_fits_one_is_told(folder, adopt_world, capsys, monkeypatch):
    path = write_table(adopt_world, folder / "foreign.parquet", adopt_world.rows[FOREIGN])
    monkeypatch.setattr("bindplug_search.command_adopt.registered_bridge", lambda source, target: None)
    assert run(["index", "adopt", str(path), "--device", "cpu", "-q"]) == 0
    output = capsys.readouterr().out
    assert "bindplug bridge fit --source imagebind_tiny --target toy_foreign_clip" in output


@pytest.mark.usefixtures("at_hand")
def test_a_bridge_that_is_fitted_is_kept_with_the_record(folder, adopt_world, capsys, monkeypatch):
    from bindplug.corpus import Corpus

    captions = [scene_at("train", index).caption for index in range(300)]
    monkeypatch.setattr("bindplug.corpus.builtin_corpus", lambda: Corpus.of(captions, name="captions"))
    path = write_table(adopt_world, folder / "foreign.parquet", adopt_world.rows[FOREIGN])
    assert run(["index", "adopt", str(path), "--device", "cpu", "-q", "--fit-bridge"]) == 0
    assert "a bridge was fitted from texts" in capsys.readouterr().out
    bridge = open_adopted(path).info().details["bridge"]
    loaded = bindplug.bridges.load_bridge(bridge)
    assert loaded.target.name == adopt_world.models[FOREIGN].embedding_space.name


@pytest.mark.usefixtures("at_hand")
def test_nothing_is_written_for_a_check_or_a_model_that_is_not_there(folder, capsys):
    path = str(folder / "photos.parquet")
    assert run(["index", "adopt", path, "--device", "cpu", "-q", "--check"]) == 0
    assert "the rows are imagebind_tiny's" in capsys.readouterr().out
    assert run(["index", "adopt", path, "--device", "cpu", "-q", "--model", "no_such_model"]) == 1
    assert "no model is named" in capsys.readouterr().err
    assert not is_adopted(path)


def test_an_index_of_bindplug_is_not_adopted(tmp_path, capsys):
    (tmp_path / "library.lance").mkdir()
    (tmp_path / "library.lance" / "bindplug.json").write_text("{}")
    assert run(["index", "adopt", str(tmp_path / "library.lance"), "-q"]) == 1
    assert "Search it as it is: bindplug search" in capsys.readouterr().err


def test_kinds_and_conditions_limit_the_rows(folder, adopt_world):
    kinds = ["image"] * (COUNT - 10) + ["text"] * 10
    path = write_table(
        adopt_world, folder / "m.parquet", adopt_world.rows[TINY], modality=kinds, number=list(range(COUNT))
    )
    adopt(path, adopt_world.candidates, progress=False)
    index = open_adopted(path)
    query = adopt_world.rows[TINY][0]
    assert index.info().kinds == {"image": COUNT - 10, "text": 10}
    assert len(index.search(query, 100, kinds=["text"])) == 10
    matches = index.search(query, 100, where=[Condition("number", ">=", 5), Condition("number", "<", 9)])
    assert sorted(match.row.metadata["number"] for match in matches) == [5, 6, 7, 8]
    with pytest.raises(InputError, match="no column 'color'"):
        index.search(query, 3, where=[Condition("color", "=", "red")])
    with pytest.raises(InputError, match=r"shape \(64,\)"):
        index.search(np.ones(64), 3)
    for change in (lambda: index.add(query[None], []), lambda: index.delete(["a"])):
        with pytest.raises(InputError, match="adopted as it is"):
            change()


def test_a_file_that_changed_is_noticed(folder, adopt_world):
    path = folder / "photos.parquet"
    adopt(path, adopt_world.candidates, progress=False)
    content = path.read_bytes()
    path.write_bytes(content)  # another time of change, the same content
    assert open_adopted(path).info().rows == COUNT
    write_table(adopt_world, path, adopt_world.rows[TINY][::-1].copy())
    with pytest.raises(InputError, match="changes since it was adopted"):
        open_adopted(path)
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        open_vector_index(path)


def test_paths_in_a_file_are_part_of_what_was_adopted(adopt_world, tmp_path):
    np.save(tmp_path / "rows.npy", adopt_world.rows[TINY])
    (tmp_path / "paths.txt").write_text("\n".join(adopt_world.names))
    path = tmp_path / "rows.npy"
    adopt(
        path,
        adopt_world.candidates,
        paths=str(tmp_path / "paths.txt"),
        root=adopt_world.pictures,
        progress=False,
    )
    index = open_adopted(path)
    assert index.search(adopt_world.rows[TINY][9], 1)[0].row.path == str(adopt_world.pictures / "009.png")
    (tmp_path / "paths.txt").write_text("\n".join(reversed(adopt_world.names)))
    with pytest.raises(InputError, match=r"paths\.txt.*changes since"):
        open_adopted(path)


def test_a_record_may_lie_elsewhere_and_moves_with_its_file(folder, adopt_world, tmp_path_factory):
    path = folder / "photos.parquet"
    elsewhere = tmp_path_factory.mktemp("records") / "photos"
    adopt(path, adopt_world.candidates, output=elsewhere, progress=False)
    assert not is_adopted(path)
    assert open_vector_index(elsewhere).info().rows == COUNT
    adopt(path, adopt_world.candidates, progress=False)
    moved = tmp_path_factory.mktemp("moved")
    path.rename(moved / "photos.parquet")
    (folder / "photos.parquet.bindplug").rename(moved / "photos.parquet.bindplug")
    assert open_adopted(moved / "photos.parquet").info().rows == COUNT


def test_a_damaged_record_is_named(folder, adopt_world):
    path = folder / "photos.parquet"
    record = adopt(path, adopt_world.candidates, progress=False).place
    manifest = record / "adopted.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "format_version": 2}))
    with pytest.raises(CheckpointError, match="format version 2"):
        open_adopted(path)
    manifest.write_text(json.dumps({**content, "transform": {"kind": "other", "width": 1}}))
    with pytest.raises(CheckpointError, match="the unknown transform 'other'"):
        open_adopted(path)
    manifest.write_text(json.dumps({**content, "number_format": {"name": "exec"}}))
    with pytest.raises(CheckpointError, match="is damaged"):
        open_adopted(path)
    manifest.write_text(json.dumps(content))
    tensors = record / "adopted.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="damaged"):
        open_adopted(path)


def test_a_lance_table_and_a_faiss_index_are_adopted(folder, adopt_world):
    lancedb, faiss = pytest.importorskip("lancedb"), pytest.importorskip("faiss")
    table = pq.read_table(folder / "photos.parquet")
    lancedb.connect(str(folder)).create_table("photos", table)
    index = faiss.IndexFlatIP(128)
    index.add(adopt_world.rows[TINY])
    faiss.write_index(index, str(folder / "photos.faiss"))
    before = state(folder)
    query = adopt_world.rows[TINY][4]
    for name, options in (
        ("photos.lance", {}),
        ("photos.faiss", {"paths": str(adopt_world.directory / "paths.txt")}),
    ):
        adoption = adopt(folder / name, adopt_world.candidates, progress=False, **options)
        assert adoption.identification.verdict == "identified", adoption.identification.reason
        assert open_vector_index(folder / name).search(query, 1)[0].row.path.endswith("004.png")
    assert state(folder) == before


@pytest.mark.parametrize("name", ["out", "out/img_emb"])
def test_the_output_of_clip_retrieval_is_adopted(folder, adopt_world, monkeypatch, name):
    for part in ("img_emb", "metadata"):
        (folder / "out" / part).mkdir(parents=True)
    names = [str(adopt_world.pictures / name) for name in adopt_world.names]
    for number, rows in enumerate((slice(0, 70), slice(70, COUNT))):
        vectors = adopt_world.rows[TINY][rows].astype(np.float16)
        np.save(folder / "out" / "img_emb" / f"img_emb_{number}.npy", vectors)
        table = pa.table({"image_path": names[rows], "caption": ["c"] * len(vectors)})
        pq.write_table(table, folder / "out" / "metadata" / f"metadata_{number}.parquet")
    path = folder / name
    adoption = adopt(path, adopt_world.candidates, progress=False)
    assert adoption.identification.verdict == "identified", adoption.identification.reason
    monkeypatch.chdir("/")
    for position in (4, 90):
        match = open_vector_index(path).search(adopt_world.rows[TINY][position], 1)[0]
        assert match.row.path.endswith(f"{position:03}.png")
    np.save(
        folder / "out" / "img_emb" / "img_emb_1.npy", adopt_world.rows[TINY][: COUNT - 70].astype(np.float16)
    )
    with pytest.raises(InputError, match="chang"):
        open_vector_index(path).search(adopt_world.rows[TINY][4], 1)


def test_a_space_that_only_shares_the_width_is_not_taken(folder, adopt_world):
    path = write_table(adopt_world, folder / "turned.parquet", adopt_world.rows[FOREIGN] @ rotation(64))
    adopt(path, adopt_world.candidates, progress=False)
    with pytest.raises(SpaceMismatch):
        open_adopted(path).space.ensure(adopt_world.models[TINY].embedding_space)
