"""Mostly empty matrices: packed small, unpacked exactly, damage named."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import bindplug
from bindplug.imagebind.directory import load_directory, save_directory
from bindplug.imagebind.sparse_rows import INDICES, SHAPE, VALUES, pack_sparse_rows, unpack_sparse_rows


def sparse(rows: int, width: int, kept: list[int]) -> torch.Tensor:
    matrix = torch.zeros(rows, width)
    matrix[kept] = torch.rand(len(kept), width) + 0.5
    return matrix


@given(st.integers(1, 40), st.integers(1, 5), st.data())
def test_what_is_packed_unpacks_to_itself(rows, width, data):
    kept = data.draw(st.lists(st.integers(0, rows - 1), unique=True))
    tensors = {"words": sparse(rows, width, kept), "bias": torch.zeros(3), "other": torch.ones(2, 2)}
    back = unpack_sparse_rows(pack_sparse_rows(tensors))
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


def test_only_mostly_empty_matrices_are_packed():
    packed = pack_sparse_rows({"words": sparse(100, 4, [3, 50]), "full": torch.ones(100, 4)})
    assert set(packed) == {"words" + VALUES, "words" + INDICES, "words" + SHAPE, "full"}
    assert packed["words" + VALUES].shape == (2, 4)


def test_half_precision_stays_half():
    assert unpack_sparse_rows(pack_sparse_rows({"w": sparse(9, 2, [1]).half()}))["w"].dtype == torch.float16


def test_a_model_with_few_words_is_stored_small_and_read_whole(tmp_path):
    model = bindplug.load("imagebind_tiny", modalities={"text"})
    table = model.state_dict()[next(name for name in model.state_dict() if "token_embedding" in name)]
    table[300:].zero_()
    file = save_directory(model, tmp_path / "small", dtype=torch.float16) / "text.safetensors"
    assert file.stat().st_size < table.numel()  # a tenth of what half precision would take
    back, name = (
        load_directory(tmp_path / "small").official_state_dict(),
        "modality_preprocessors.text.token_embedding.weight",
    )
    assert torch.equal(back[name], model.official_state_dict()[name].half())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: p.pop("w" + INDICES), "is missing"),
        (lambda p: p.pop("w" + SHAPE), "is missing"),
        (lambda p: p.pop("w" + VALUES), "stands alone"),
        (lambda p: p.update({"w" + INDICES: torch.tensor([99])}), "do not fit"),
        (lambda p: p.update({"w" + INDICES: torch.tensor([-1])}), "do not fit"),
        (lambda p: p.update({"w" + SHAPE: torch.tensor([9, 3])}), "do not fit"),
        (lambda p: p.update({"w" + SHAPE: torch.tensor([1 << 40, 2])}), "do not fit"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(change, said):
    packed = pack_sparse_rows({"w": sparse(9, 2, [1])})
    change(packed)
    with pytest.raises(ValueError, match=said):
        unpack_sparse_rows(packed)
