"""Files of rows that other tools write: read as they are, refused with a reason where they cannot be."""

import json
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bindplug.errors import InputError
from bindplug_search.adopt import open_rows
from bindplug_search.adopt.adopted_index import kind_names
from bindplug_search.adopt.row_file import name_at
from bindplug_search.adopt.survey import survey_rows

ROWS = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
PATHS = [f"{index}.png" for index in range(len(ROWS))]


def all_rows(file):
    chunks = list(file.chunks())
    assert [chunk.start for chunk in chunks] == np.cumsum([0, *(len(chunk.rows) for chunk in chunks)])[
        :-1
    ].tolist()
    return np.concatenate([chunk.rows for chunk in chunks])


def assert_holds_rows(file, rows=ROWS, atol=0.0):
    assert (file.count, file.width) == rows.shape
    np.testing.assert_allclose(all_rows(file), rows, atol=atol)
    positions = np.array([41, 3, 59, 0])
    np.testing.assert_allclose(file.take(positions), rows[positions], atol=atol)
    assert [name_at(file.paths, 3), name_at(file.paths, 59)] == ["3.png", "59.png"]


def fixed(rows):
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])


def write_parquet(path, columns, **options):
    pq.write_table(pa.table(columns), path, **options)
    return path


@pytest.fixture
def paths_file(tmp_path):
    file = tmp_path / "paths.txt"
    file.write_text("\n".join(PATHS))
    return str(file)


@pytest.mark.parametrize("kind", ["fixed", "list", "large list", "float64", "float16", "int8", "uint8"])
def test_parquet_columns_of_every_kind(tmp_path, kind):
    rows = {"float64": ROWS.astype(np.float64), "float16": ROWS.astype(np.float16)}.get(kind, ROWS)
    if "int" in kind:
        rows = (ROWS * 20 + 60).clip(0, 120).astype(kind)
    column = {
        "list": lambda: pa.array(rows.tolist(), pa.list_(pa.float32())),
        "large list": lambda: pa.array(rows.tolist(), pa.large_list(pa.float32())),
    }.get(kind, lambda: fixed(rows))()
    path = write_parquet(tmp_path / "a.parquet", {"path": PATHS, "vector": column}, row_group_size=17)
    file = open_rows(path)
    assert_holds_rows(file, rows)
    assert (file.column, file.path_column, file.dtype) == ("vector", "path", rows.dtype)


def test_parquet_takes_kinds_spans_and_metadata(tmp_path):
    columns = {
        "path": PATHS, "modality": ["image", "text"] * 30, "embedding": fixed(ROWS), "start": [None, 1.0] * 30,
        "end": [None, 3.0] * 30, "year": list(range(60)), "tags": [["a"]] * 60,
    }  # fmt: skip
    file = open_rows(write_parquet(tmp_path / "a.parquet", columns))
    assert kind_names(file, "image")[:2] == ["image", "text"]
    assert np.isnan(file.spans[0]).all()
    assert file.spans[1].tolist() == [1.0, 3.0]
    assert file.metadata_columns == ["year"]
    assert file.metadata("year")[7] == 7


def test_columns_that_are_ambiguous_are_asked_for(tmp_path):
    path = write_parquet(
        tmp_path / "a.parquet", {"path": PATHS, "clip": fixed(ROWS), "text": fixed(ROWS * 2)}
    )
    with pytest.raises(InputError, match="several columns that may hold vectors: clip, text") as error:
        open_rows(path)
    assert error.value.remedy == "Name it: --rows clip"
    assert_holds_rows(open_rows(path, rows="text"), ROWS * 2)
    with pytest.raises(InputError, match=r"no column 'nothing'.*clip, text"):
        open_rows(path, rows="nothing")
    path = write_parquet(tmp_path / "b.parquet", {"left": PATHS, "right": PATHS, "clip": fixed(ROWS)})
    with pytest.raises(InputError, match="several columns that may hold paths: left, right"):
        open_rows(path)
    assert_holds_rows(open_rows(path, paths="right"))


def test_paths_may_lie_in_a_file_beside_a_table(tmp_path, paths_file):
    path = write_parquet(tmp_path / "a.parquet", {"clip": fixed(ROWS)})
    with pytest.raises(InputError, match="no column of text"):
        open_rows(path)
    assert_holds_rows(open_rows(path, paths=paths_file))
    (tmp_path / "paths.json").write_text(json.dumps(PATHS))
    assert_holds_rows(open_rows(path, paths=str(tmp_path / "paths.json")))
    np.save(tmp_path / "paths.npy", np.array(PATHS))
    assert_holds_rows(open_rows(path, paths=str(tmp_path / "paths.npy")))
    (tmp_path / "short.txt").write_text("a.png\nb.png")
    with pytest.raises(InputError, match="2 paths for 60 rows"):
        open_rows(path, paths=str(tmp_path / "short.txt"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"path": PATHS}, "no column of vectors"),
        ({"path": pa.array([], pa.string()), "v": pa.array([], pa.list_(pa.float32()))}, "no rows"),
        ({"path": PATHS, "v": [[1.0, 2.0]] * 59 + [[1.0]]}, r"row 59 of 'v': 1 numbers; expected 2"),
        ({"path": PATHS, "v": pa.array([None] * 60, pa.list_(pa.float32()))}, "nothing but nulls"),
    ],
)
def test_tables_without_rows_are_refused(tmp_path, content, problem):
    path = write_parquet(tmp_path / "a.parquet", content)
    with pytest.raises(InputError, match=problem):
        survey_rows(open_rows(path))


def test_nulls_and_numbers_that_are_none_are_counted(tmp_path):
    rows = [None, [float("nan")] * 8, [0.0] * 8, [1.0] * 7 + [None], *ROWS[4:].tolist()]
    file = open_rows(
        write_parquet(tmp_path / "a.parquet", {"path": PATHS, "v": pa.array(rows, pa.list_(pa.float32()))})
    )
    survey = survey_rows(file)
    assert (survey.missing, survey.not_finite, survey.zero, int(survey.usable.sum())) == (1, 2, 1, 56)


@pytest.mark.parametrize("name", ["a.parquet", "a.npy", "a.npz", "a.faiss"])
def test_damaged_files_are_named(tmp_path, name, paths_file):
    (tmp_path / name).write_bytes(b"this is none of it" * 20)
    with pytest.raises(InputError, match=rf"{name}.*(damage|pickled)"):
        open_rows(tmp_path / name, paths=paths_file)


def test_a_truncated_parquet_file_is_named(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", {"path": PATHS, "v": fixed(ROWS)})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="damage or another format"):
        open_rows(path)


def test_arrays(tmp_path, paths_file):
    np.save(tmp_path / "a.npy", ROWS)
    file = open_rows(tmp_path / "a.npy", paths=paths_file)
    assert_holds_rows(file)
    assert isinstance(file.array, np.memmap)
    np.save(tmp_path / "a.npy", np.asfortranarray(ROWS))
    assert_holds_rows(open_rows(tmp_path / "a.npy", paths=paths_file))
    with pytest.raises(InputError, match="vectors without paths") as error:
        open_rows(tmp_path / "a.npy")
    assert "--paths FILE" in error.value.remedy
    np.save(tmp_path / "a.npy", ROWS[0])
    with pytest.raises(InputError, match=r"float32 \(8,\)"):
        open_rows(tmp_path / "a.npy", paths=paths_file)


def test_pickled_arrays_are_refused(tmp_path, paths_file):
    np.save(tmp_path / "a.npy", np.array([{"code": print}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="pickled objects, which could run code"):
        open_rows(tmp_path / "a.npy", paths=paths_file)
    np.savez(tmp_path / "a.npz", rows=ROWS, path=np.array(PATHS, dtype=object))
    with pytest.raises(InputError, match=r"path: pickled objects, which could run code.*dtype=str"):
        open_rows(tmp_path / "a.npz")
    assert_holds_rows(open_rows(tmp_path / "a.npz", paths=paths_file))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives(tmp_path, save, paths_file):
    save(
        tmp_path / "a.npz",
        embedding=ROWS,
        path=np.array(PATHS),
        modality=np.array(["image"] * 60),
        scalar=np.array(3),
    )
    file = open_rows(tmp_path / "a.npz")
    assert_holds_rows(file)
    assert isinstance(file.array, np.memmap) == (save is np.savez)
    assert kind_names(file, "audio")[0] == "image"
    save(tmp_path / "b.npz", a=ROWS, b=ROWS * 2)
    with pytest.raises(InputError, match="several columns that may hold vectors: a, b"):
        open_rows(tmp_path / "b.npz", paths=paths_file)
    assert_holds_rows(open_rows(tmp_path / "b.npz", rows="b", paths=paths_file), ROWS * 2)


def test_archives_that_bindplug_embed_writes(tmp_path):
    from bindplug.cli.app import run

    output = tmp_path / "rows.npz"
    assert run(["embed", "--text", "a dog", "--text", "a red car", "-o", str(output), "-q"]) == 0
    file = open_rows(output)
    assert kind_names(file, "image") == ["text", "text"]
    assert name_at(file.paths, 1) == "a red car"


def test_lance_tables(tmp_path):
    lancedb = pytest.importorskip("lancedb")
    database = lancedb.connect(str(tmp_path))
    table = database.create_table("photos", pa.table({"path": PATHS[:20], "v": fixed(ROWS[:20])}))
    table.add(pa.table({"path": PATHS[20:], "v": fixed(ROWS[20:])}))
    before = sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    assert_holds_rows(open_rows(tmp_path / "photos.lance"))
    assert_holds_rows(open_rows(tmp_path))
    assert sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before
    database.create_table("others", pa.table({"path": PATHS, "v": fixed(ROWS)}))
    with pytest.raises(InputError, match="several tables: others, photos"):
        open_rows(tmp_path)
    assert_holds_rows(open_rows(tmp_path, table="others"))
    (tmp_path / "empty.lance").mkdir()
    with pytest.raises(InputError, match="without a Lance table"):
        open_rows(tmp_path / "empty.lance")


@pytest.mark.parametrize(
    ("description", "atol"), [("Flat", 0), ("IVF4,Flat", 0), ("SQ8", 0.02), ("HNSW4", 0), ("IVF2,PQ4x4", 3)]
)
def test_faiss_indexes_are_reconstructed(tmp_path, paths_file, description, atol):
    faiss = pytest.importorskip("faiss")
    index = faiss.index_factory(8, description)
    index.train(ROWS)
    index.add(ROWS)
    faiss.write_index(index, str(tmp_path / "a.faiss"))
    file = open_rows(tmp_path / "a.faiss", paths=paths_file)
    assert_holds_rows(file, ROWS, atol=atol)
    codec = file.through_codec(ROWS)
    if codec is not None:
        np.testing.assert_allclose(codec, all_rows(file), atol=1e-5)


def test_faiss_indexes_with_ids(tmp_path, paths_file):
    faiss = pytest.importorskip("faiss")
    order = np.random.default_rng(1).permutation(60)
    index = faiss.IndexIDMap(faiss.IndexFlatIP(8))
    index.add_with_ids(ROWS[order], order)
    faiss.write_index(index, str(tmp_path / "a.faiss"))
    assert_holds_rows(open_rows(tmp_path / "a.faiss", paths=paths_file))
    index = faiss.IndexIDMap(faiss.IndexFlatIP(8))
    index.add_with_ids(ROWS, np.arange(60) + 1000)
    faiss.write_index(index, str(tmp_path / "a.faiss"))
    with pytest.raises(InputError, match="ids of their own"):
        open_rows(tmp_path / "a.faiss", paths=paths_file)


def test_binary_faiss_indexes_keep_their_bits(tmp_path, paths_file):
    faiss = pytest.importorskip("faiss")
    bits = np.packbits(ROWS > 0, axis=1)
    index = faiss.IndexBinaryFlat(8)
    index.add(np.repeat(bits, 1, axis=1))
    faiss.write_index_binary(index, str(tmp_path / "a.faiss"))
    with pytest.raises(InputError, match="width 1"):
        open_rows(tmp_path / "a.faiss", paths=paths_file)
    wide = np.packbits(np.tile(ROWS > 0, 4), axis=1)
    index = faiss.IndexBinaryFlat(32)
    index.add(wide)
    faiss.write_index_binary(index, str(tmp_path / "a.faiss"))
    assert_holds_rows(open_rows(tmp_path / "a.faiss", paths=paths_file), wide)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        open_rows(tmp_path / "nothing.parquet")
    (tmp_path / "a.csv").write_text("a")
    with pytest.raises(InputError, match=r"the suffix '\.csv'"):
        open_rows(tmp_path / "a.csv")
    (tmp_path / "d.parquet").mkdir()
    with warnings.catch_warnings(), pytest.raises(InputError, match="a directory of Parquet files"):
        open_rows(tmp_path / "d.parquet")
