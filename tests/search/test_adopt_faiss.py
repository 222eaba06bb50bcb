"""FAISS indexes whose rows are read back."""

import numpy as np
import pytest

from bindplug.errors import InputError
from bindplug_search.adopt import open_rows
from tests.search.row_files import ROWS, all_rows, assert_holds_rows


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
