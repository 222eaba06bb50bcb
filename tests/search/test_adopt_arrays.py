"""Arrays and archives of NumPy that hold rows."""

import numpy as np
import pytest

from bindplug.errors import InputError
from bindplug_search.adopt import open_rows
from bindplug_search.adopt.adopted_index import kind_names
from bindplug_search.adopt.row_file import name_at
from tests.search.row_files import PATHS, ROWS, assert_holds_rows


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
