"""Names with vectors, from tensors and from Detic's files."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug.errors import InputError
from bindplug_detic import Vocabulary
from bindplug_detic.vocabulary import COCO_NAMES


@pytest.fixture
def npy(tmp_path):
    rows = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float16)
    np.save(tmp_path / "rows.npy", rows)
    return tmp_path / "rows.npy", rows


def test_coco_has_its_eighty_names():
    assert len(COCO_NAMES) == len(set(COCO_NAMES)) == 80
    assert (COCO_NAMES[0], COCO_NAMES[15], COCO_NAMES[63], COCO_NAMES[79]) == (
        "person",
        "cat",
        "laptop",
        "toothbrush",
    )
    assert all(name == name.strip().lower() for name in COCO_NAMES)


def test_npy_with_a_list_of_names(npy):
    path, rows = npy
    vocabulary = Vocabulary.from_npy(path, ["a", "b", "c"])
    assert vocabulary.names == ("a", "b", "c")
    assert (len(vocabulary), vocabulary.width, vocabulary.embeddings.dtype) == (3, 8, torch.float32)
    np.testing.assert_array_equal(vocabulary.embeddings.numpy(), rows.astype(np.float32))


@pytest.mark.parametrize(("suffix", "content"), [
    (".json", json.dumps(["a", "b", "c"])),
    (".json", json.dumps([{"id": 2, "name": "b"}, {"id": 1, "name": "a"}, {"id": 7, "name": "c"}])),
    (".json", json.dumps({"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 3, "name": "c"}]})),
    (".txt", "a\nb\n\nc\n"),
])  # fmt: skip
def test_names_from_files(npy, tmp_path, suffix, content):
    names = (tmp_path / "names").with_suffix(suffix)
    names.write_text(content, "utf-8")
    assert Vocabulary.from_npy(npy[0], names).names == ("a", "b", "c")
    assert Vocabulary.from_npy(npy[0], str(names)).names == ("a", "b", "c")


@pytest.mark.parametrize("content", ["{", "[]", "{}", "[1, 2]", '[{"id": 1}]'])
def test_damaged_names_are_refused_by_file(npy, tmp_path, content):
    names = tmp_path / "names.json"
    names.write_text(content, "utf-8")
    with pytest.raises(InputError, match=r"names\.json.*one name a line"):
        Vocabulary.from_npy(npy[0], names)


def test_damaged_vectors_are_refused_by_file(tmp_path):
    bad = {
        "objects.npy": np.array([{}, {}], dtype=object),
        "words.npy": np.array(["a", "b"]),
        "nan.npy": np.array([[1.0, np.nan], [1.0, 2.0]]),
        "zero.npy": np.array([[1.0, 2.0], [0.0, 0.0]]),
        "cube.npy": np.ones((2, 2, 2)),
        "three.npy": np.ones((3, 2)),
    }
    for name, rows in bad.items():
        np.save(tmp_path / name, rows, allow_pickle=True)
    np.savez(tmp_path / "several.npz", a=np.ones((2, 2)))
    (tmp_path / "text.npy").write_text("no array")
    for name in [*bad, "several.npz", "text.npy", "absent.npy"]:
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            Vocabulary.from_npy(tmp_path / name, ["a", "b"])


def test_builtins_are_found_by_detics_file_names(tmp_path):
    np.save(tmp_path / "coco_clip_a+cname.npy", np.random.default_rng(0).normal(size=(80, 8)))
    np.save(tmp_path / "lvis_v1_clip_a+cname.npy", np.ones((2, 8)))
    assert Vocabulary.builtin("coco", tmp_path).names == COCO_NAMES
    assert Vocabulary.builtin("lvis", tmp_path, ["aerosol_can", "air_conditioner"]).width == 8
    with pytest.raises(InputError, match="hold no names"):
        Vocabulary.builtin("lvis", tmp_path)
    with pytest.raises(InputError, match=r"o365_clip_a\+cnamefix\.npy: no such file.*datasets/metadata"):
        Vocabulary.builtin("objects365", tmp_path, ["a"])
    with pytest.raises(InputError, match="lvis, coco, objects365, openimages"):
        Vocabulary.builtin("imagenet", tmp_path)


@pytest.mark.parametrize(("names", "rows", "problem"), [
    (("a",), torch.ones(2, 3), "1 names for 2 rows"),
    ((), torch.ones(1, 3), "no names"),
    (("a", " "), torch.ones(2, 3), "the name ' '"),
    (("a", 5), torch.ones(2, 3), "the name 5"),
    (("a",), torch.ones(1, 0), "shape"),
    (("a",), torch.ones(1, 2, 3), "shape"),
    (("a", "b"), torch.tensor([[1.0, 2.0], [float("inf"), 0.0]]), "NaN or infinite values in row 1"),
    (("a", "b"), torch.tensor([[0.0, 0.0], [1.0, 0.0]]), "only zeros.* in row 0"),
    (("a",), [["x"]], "no table of numbers"),
])  # fmt: skip
def test_what_is_no_vocabulary_is_refused(names, rows, problem):
    with pytest.raises(InputError, match=problem):
        Vocabulary(names, rows)


def test_one_name_and_one_vector():
    assert Vocabulary("dog", torch.ones(5)).names == ("dog",)


def test_a_subset_keeps_the_order_asked_for(vocabulary):
    selection = vocabulary.subset(["car", "Bird_Cage"])
    assert selection.names == ("car", "Bird_Cage")
    torch.testing.assert_close(selection.embeddings, vocabulary.embeddings[[2, 1]])


def test_an_unknown_name_gets_the_nearest(vocabulary):
    with pytest.raises(InputError, match=r"'bird cape'.*embeddings=.*bird cage"):
        vocabulary.subset(["dog", "bird cape"])


@settings(max_examples=30)
@given(st.lists(st.text("abc ", min_size=1).filter(str.strip), min_size=1, max_size=6, unique_by=str.strip))
def test_a_subset_of_everything_is_everything(names):
    whole = Vocabulary(tuple(names), torch.arange(1.0, len(names) + 1)[:, None])
    torch.testing.assert_close(whole.subset(whole.names).embeddings, whole.embeddings)
    assert str(len(names)) in repr(whole)
