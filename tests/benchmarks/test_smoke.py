"""Every benchmark runs at tiny sizes, and would notice unequal numbers. No figure is judged."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import cold_start, filter_banks, imports, machine
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.harness import Skipped, UnequalNumbers
from benchmarks.options import DIRECTORY_VARIABLE, ROOT, Options

COMPARISONS = {"cold-start": 2, "import": 2, "prompts": 1, "filter-banks": 2, "stills": 1, "detector": 4}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmark_runs_and_agrees(name: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = directory / "out" / "results.json"
    arguments = ["--smoke", "--only", name, "--repeats", "1", "--json", "--quiet", "--output", str(output)]
    assert main(arguments) == 0
    document = json.loads(output.read_text())
    assert json.loads(capsys.readouterr().out) == document
    assert (document["unequal"], document["skipped"], document["smoke"]) == ({}, {}, True)
    assert len(document["results"]) == COMPARISONS[name]
    for result in document["results"]:
        assert result["repeats"] == len(result["baseline"]["samples"]) == 1
        assert math.isfinite(result["ratio"]["median"])
        assert name in ("import", "detector") or result["deviation"] < 1e-4


def test_other_numbers_stop_the_timing(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bindplug.inputs import filterbank

    honest = filterbank.filter_banks
    monkeypatch.setattr(filterbank, "filter_banks", lambda waveforms: honest(waveforms) * 1.001)
    with pytest.raises(UnequalNumbers, match="filter banks"):
        filter_banks.run(Options(smoke=True, repeats=1, quiet=True))
    assert main(["--smoke", "--only", "filter-banks", "--repeats", "1"]) == 1
    shown = capsys.readouterr()
    assert "UNEQUAL NUMBERS: filter banks" in shown.err
    assert "nothing was measured" in shown.out


def test_too_little_memory_skips_the_cold_start(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold_start, "available_bytes", lambda: 2e9)
    with pytest.raises(Skipped, match=r"2\.0 GB of memory available, 11 needed"):
        cold_start.run(Options(quiet=True))
    assert list(directory.iterdir()) == []


def test_heavy_imports_are_noticed() -> None:
    assert imports.heavy_modules(["numpy", "torchvision", "open_clip_hub"]) == ["torchvision"]


def test_a_bad_number_of_repeats_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--repeats", "0"])
    assert "at least 1" in capsys.readouterr().err


def test_page_cache_can_be_filled_and_asked(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))
    machine.warm_cache(path)
    assert machine.cached_share(path) in (None, 1.0)
    machine.drop_cache(path)
    assert path.stat().st_size == 1 << 20


def test_peak_memory_grows_with_what_is_held() -> None:
    before = machine.peak_bytes()
    held = torch.ones(64 << 20, dtype=torch.uint8)
    assert machine.peak_bytes() >= max(before, held.nbytes)


def test_building_the_network_leaves_torchs_compiler_alone() -> None:
    """Importing it takes longer and more memory than loading the audio tower."""
    code = (
        "import sys; from bindplug.imagebind import ImageBind, ImageBindConfig; "
        "ImageBind(ImageBindConfig.huge(), device='meta'); print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
