"""Lists of paths that lie beside the rows."""

import json

import numpy as np
import pytest

from bindplug.errors import InputError
from bindplug_search.adopt import open_rows
from tests.search.row_files import PATHS, ROWS, assert_holds_rows, fixed, write_parquet


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
