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
    with pytest.raises(InputError, match=r"the suffix '\.csv'.*numpy\.save"):
        open_rows(tmp_path / "a.csv")
    (tmp_path / "chroma").mkdir()
    (tmp_path / "chroma" / "chroma.sqlite3").touch()
    with pytest.raises(InputError, match=r"a Chroma database.*numpy\.save"):
        open_rows(tmp_path / "chroma")
    (tmp_path / "d.parquet").mkdir()
    with (
        warnings.catch_warnings(),
        pytest.raises(InputError, match="without a Lance table, Parquet files or"),
    ):
        open_rows(tmp_path / "d.parquet")


def test_binary_faiss_indexes_of_every_kind(tmp_path, paths_file):
    faiss = pytest.importorskip("faiss")
    bits = np.random.default_rng(2).integers(0, 256, (60, 4), dtype=np.uint8)
    order = np.random.default_rng(1).permutation(60)
    for kind in ("BFlat", "BIVF3", "BHNSW4"):
        index = faiss.index_binary_factory(32, kind)
        index.train(bits)
        index.add(bits)
        faiss.write_index_binary(index, str(tmp_path / "a.faiss"))
        assert_holds_rows(open_rows(tmp_path / "a.faiss", paths=paths_file), bits)
    for wrap in (faiss.IndexBinaryIDMap, faiss.IndexBinaryIDMap2):
        index = wrap(faiss.IndexBinaryFlat(32))
        index.add_with_ids(bits[order], order)
        faiss.write_index_binary(index, str(tmp_path / "a.faiss"))
        assert_holds_rows(open_rows(tmp_path / "a.faiss", paths=paths_file), bits)
    index = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(32), 32, 3)
    index.train(bits)
    index.add_with_ids(bits, order + 7)
    faiss.write_index_binary(index, str(tmp_path / "a.faiss"))
    with pytest.raises(InputError, match="ids of their own"):
        open_rows(tmp_path / "a.faiss", paths=paths_file)
    faiss.write_index_binary(faiss.index_binary_factory(32, "BHash8"), str(tmp_path / "a.faiss"))
    with pytest.raises(InputError, match="keeps its bits: flat, IVF, HNSW"):
        open_rows(tmp_path / "a.faiss", paths=paths_file)


@pytest.mark.parametrize("description", ["IVF2,PQ4x4fs", "PCA4,IVF2,PQ2x4fs"])
def test_packed_codes_that_end_the_process_are_refused_before(tmp_path, paths_file, description):
    faiss = pytest.importorskip("faiss")
    index = faiss.index_factory(8, description)
    index.train(ROWS)
    index.add(ROWS)
    faiss.write_index(index, str(tmp_path / "a.faiss"))
    with pytest.raises(InputError, match="FastScan, from which FAISS reconstructs nothing"):
        open_rows(tmp_path / "a.faiss", paths=paths_file)


def write_list(path):
    """The paths in a file of the kind that its suffix tells."""
    objects = [{"image_path": name, "caption": "a, b"} for name in PATHS]
    texts = {
        ".json": lambda: json.dumps(objects),
        ".jsonl": lambda: "\n".join(map(json.dumps, objects)),
        ".csv": lambda: "image_path,caption\r\n" + "".join(f'{name},"a, b"\r\n' for name in PATHS),
        ".tsv": lambda: "caption\tPath\n" + "".join(f"a b\t{name}\n" for name in PATHS),
        ".txt": lambda: "\ufeff" + "\r\n".join(PATHS) + "\n",
    }
    if path.suffix == ".parquet":
        write_parquet(path, {"caption": ["c"] * 60, "url": ["http://x/y"] * 60, "image_path": PATHS})
    elif path.suffix == ".npz":
        np.savez(path, filenames=np.array(PATHS), number=np.arange(60))
    else:
        path.write_text(texts[path.suffix](), encoding="utf-8", newline="")
    return str(path)


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".tsv", ".txt", ".parquet", ".npz"])
def test_lists_of_paths_of_every_kind(tmp_path, suffix):
    np.save(tmp_path / "a.npy", ROWS)
    assert_holds_rows(open_rows(tmp_path / "a.npy", paths=write_list(tmp_path / f"list{suffix}")))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "a,b\n1,2\n", "the columns a, b; expected one named path"),
        ("a.csv", "path,file\n1,2\n", "several columns that may hold paths: path, file"),
        ("a.csv", "path,b\n1\n", "row 2: another number of columns"),
        ("a.csv", "1.png\nx,y.png\n", "row 2: another number of columns"),
        ("a.jsonl", '{"a": 1}\n', "the columns a; expected one named"),
        ("a.json", '{"0": "a.png"}', "JSON of another form"),
        ("a.parquet", "no table", "expected one path for each row"),
        ("a.npz", "no archive", "expected one path for each row"),
    ],
)
def test_lists_without_paths_are_refused(tmp_path, name, content, words):
    np.save(tmp_path / "rows.npy", ROWS)
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=words):
        open_rows(tmp_path / "rows.npy", paths=str(tmp_path / name))


def test_a_name_may_hold_separators_of_unicode(tmp_path):
    names = ["a\u2028b.png", *PATHS[1:58], "a\x0bb.png", PATHS[59]]
    (tmp_path / "paths.txt").write_text("\n".join(names), encoding="utf-8")
    np.save(tmp_path / "a.npy", ROWS)
    file = open_rows(tmp_path / "a.npy", paths=str(tmp_path / "paths.txt"))
    assert list(file.paths) == names


def write_clip_retrieval(directory, parts=12):
    """Vectors and tables as clip-retrieval writes them, five rows in each part."""
    for name in ("img_emb", "metadata"):
        (directory / name).mkdir(parents=True)
    for part in range(parts):
        rows = slice(5 * part, 5 * part + 5)
        np.save(directory / "img_emb" / f"img_emb_{part}.npy", ROWS[rows])
        columns = {"image_path": PATHS[rows], "caption": ["c"] * 5, "url": ["http://x"] * 5}
        write_parquet(directory / "metadata" / f"metadata_{part}.parquet", columns)
    return directory


def test_the_output_of_clip_retrieval(tmp_path, paths_file):
    directory = write_clip_retrieval(tmp_path / "out")
    assert_holds_rows(open_rows(directory))  # part 10 comes after part 9
    assert_holds_rows(open_rows(directory / "img_emb"))
    assert_holds_rows(open_rows(directory / "img_emb", paths=paths_file))
    assert_holds_rows(open_rows(directory, rows="img_emb", paths=str(directory / "metadata")))
    with pytest.raises(InputError, match="no directory 'text_emb'"):
        open_rows(directory, rows="text_emb")
    np.save(directory / "img_emb" / "img_emb_12.npy", ROWS[:2])
    with pytest.raises(InputError, match="12 tables for 13 files"):
        open_rows(directory)
    write_parquet(directory / "metadata" / "metadata_12.parquet", {"image_path": PATHS[:3]})
    with pytest.raises(InputError, match=r"3 paths for 2 rows of img_emb_12\.npy"):
        open_rows(directory)
    np.save(directory / "img_emb" / "img_emb_12.npy", ROWS[:3, :4])
    with pytest.raises(InputError, match="of width 8, as in img_emb_0"):
        open_rows(directory)
    (directory / "text_emb").mkdir()
    np.save(directory / "text_emb" / "text_emb_0.npy", ROWS)
    with pytest.raises(InputError, match="--rows img_emb"):
        open_rows(directory)


def test_a_directory_of_parquet_files(tmp_path):
    directory = tmp_path / "rows.parquet"
    directory.mkdir()
    for part in range(12):
        rows = slice(5 * part, 5 * part + 5)
        columns = {
            "path": PATHS[rows],
            "clip": fixed(ROWS[rows]),
            "modality": ["image"] * 5,
            "year": [part] * 5,
        }
        write_parquet(directory / f"part-{part}.parquet", columns)
    (directory / "_errors").mkdir()
    write_parquet(directory / "_metadata.parquet", {"path": ["x"]})
    file = open_rows(directory)
    assert_holds_rows(file)
    assert kind_names(file, "audio") == ["image"] * 60
    assert list(file.metadata("year"))[:6] == [0, 0, 0, 0, 0, 1]
    with pytest.raises(KeyError):
        file.metadata("clip")
    write_parquet(directory / "part-12.parquet", {"path": ["a"], "other": fixed(ROWS[:1])})
    with pytest.raises(InputError, match=r"part-12\.parquet"):
        open_rows(directory)
