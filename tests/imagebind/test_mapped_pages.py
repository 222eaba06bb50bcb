"""Pages of a mapped file are given back once their numbers are converted, and only those."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bindplug.imagebind import mapped_pages
from bindplug.imagebind.checkpoint_files import open_safetensors
from bindplug.imagebind.mapped_pages import MappedPages, convert

ON_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems do not say")
ROWS = 4096


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, torch.Tensor]:
    """A file of 16 MB in float16, and its numbers."""
    numbers = torch.randn(ROWS, 2048, generator=torch.Generator().manual_seed(0)).half()
    path = tmp_path / "weights.safetensors"
    save_file({"weight": numbers, "small": torch.ones(3)}, path)
    return path, numbers


def mapped_kilobytes() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("RssFile:"))


@ON_LINUX
def test_conversion_holds_no_page_of_the_file(written: tuple[Path, torch.Tensor]) -> None:
    path, numbers = written
    model = nn.Linear(2048, ROWS, bias=False, device="meta", dtype=torch.float16)
    model.load_state_dict({"weight": open_safetensors(path)["weight"]}, assign=True)
    model.register_buffer("places", torch.arange(3))
    before = mapped_kilobytes()
    mapped = model.weight.data
    convert(model, torch.float32)
    assert mapped_kilobytes() - before < numbers.nbytes / 1024 / 4
    assert torch.equal(model.weight, numbers.float())
    assert model.places.dtype == torch.int64
    assert torch.equal(mapped, numbers), "read anew from the file"
    assert mapped_kilobytes() - before > numbers.nbytes / 1024 / 2, "the test would notice pages that stay"


@ON_LINUX
def test_memory_that_mirrors_no_file_is_left_alone(written: tuple[Path, torch.Tensor]) -> None:
    path, numbers = written
    opened = open_safetensors(path)
    pages = MappedPages()
    assert pages.release(opened["weight"])
    assert not pages.release(opened["small"]), "it shares its page with others"
    assert not pages.release(opened["weight"].T), "its numbers do not lie side by side"
    mine = numbers.clone()
    assert not pages.release(mine)
    assert torch.equal(mine, numbers)
    assert not pages.release(torch.empty(5, device="meta"))


def test_systems_that_do_not_say_keep_their_pages(
    written: tuple[Path, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_pages, "MAPS", tmp_path / "absent")
    assert not MappedPages().release(open_safetensors(written[0])["weight"])
