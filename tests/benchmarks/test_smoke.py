"""Every benchmark runs at tiny sizes, and would notice unequal numbers. No figure is judged."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import bindplug
from benchmarks import __main__ as command
from benchmarks import cold_start, filter_banks, imports, machine, networks, open_clip_towers, towers
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.harness import Comparison, Skipped, UnequalNumbers
from benchmarks.naive.shape import HUGE, SMOKE
from benchmarks.options import DIRECTORY_VARIABLE, ROOT, VARIANTS, Options
from bindplug.errors import InputError

RESULTS = {
    "cold-start": {"comparison": 2},
    "import": {"comparison": 2},
    "memory": {"comparison": 4},
    "embed-folders": {"comparison": 4},
    "filter-banks": {"comparison": 2},
    "towers": {"comparison": 6 * (2 + 2 + 1 + 1)},
    "limit": {"comparison": 8},
    "open-clip": {"comparison": 4},
    "growth": {"growth": 5},
    "detector": {"comparison": 4},
}
UNCOMPARED = ("import", "memory", "detector")
"""There are no numbers to compare."""


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
    shown = json.loads(capsys.readouterr().out)
    assert shown | {"took_s": 0} == document | {"took_s": 0}
    assert document["skipped"] == document["unequal"] == document["failed"] == {}
    assert document["smoke"] is True
    assert document["benchmarks_took_s"][name] > 0
    assert Counter(result["kind"] for result in document["results"]) == RESULTS[name]
    for result in document["results"]:
        assert result["repeats"] == 1
        assert name in UNCOMPARED or result["deviation"] is not None or result["cosine"] is not None
        assert result["deviation"] is None or result["deviation"] < 1e-4
        if result["kind"] == "comparison":
            assert math.isfinite(result["ratio"]["median"])
            assert result["cosine"] is None or result["cosine"] >= 0.999
        else:
            assert math.isfinite(result["exponent"]["fitted"])


def test_every_variant_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(bindplug, "compile", called.append)
    options = Options(smoke=True, repeats=1, quiet=True, towers=("imu",), variants=VARIANTS)
    outcomes = list(towers.run(options))
    names = {outcome.name.partition(", ")[2] for outcome in outcomes if isinstance(outcome, Comparison)}
    assert names >= {"fp32", "bf16", "fp32 packed", "int8", "bf16 compiled"}
    assert len(called) == 1
    goals = [outcome.name for outcome in outcomes if isinstance(outcome, Comparison) and outcome.least_ratio]
    assert len(goals) == 2
    assert "2 x imu, fp32 packed" in goals


def test_what_cannot_be_packed_is_skipped_and_plain_takes_its_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(model: Any) -> Any:
        raise InputError("pack()", found="an old processor", expected="a new one")

    monkeypatch.setattr(bindplug, "pack", refusing)
    options = Options(smoke=True, repeats=1, quiet=True, towers=("imu",), variants=("packed",))
    outcomes = list(towers.run(options))
    assert [str(one) for one in outcomes if isinstance(one, Skipped)] == [
        "pack(): an old processor; expected a new one"
    ] * 2
    goals = [one.name for one in outcomes if isinstance(one, Comparison) and one.least_ratio]
    assert goals == ["2 x imu, fp32", "2 x imu, bf16"]
    assert networks.fastest(networks.synthetic_state(SMOKE, ["imu"]), SMOKE, ["imu"]).modalities == ("imu",)


def test_unequal_variants_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bindplug, "quantize", _distorted)
    options = Options(smoke=True, repeats=1, quiet=True, towers=("imu",), variants=("int8",))
    outcomes = list(towers.run(options))
    assert [type(outcome) for outcome in outcomes] == [UnequalNumbers, Comparison, Comparison, Comparison]
    assert "imu, int8: least cosine" in str(outcomes[0])


def _distorted(network: Any) -> Any:
    with torch.no_grad():
        for weight in network.towers.parameters():
            weight.mul_(torch.rand_like(weight))
    return network


def test_one_towers_lack_of_memory_spares_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(towers, "available_bytes", lambda: 1.5e9)
    monkeypatch.setattr(
        towers, "synthetic_state", lambda shape, names: {"weight": torch.empty(1 << 28, device="meta")}
    )
    outcomes = list(towers.run(Options(quiet=True, towers=("vision", "imu"))))
    assert [str(outcome) for outcome in outcomes] == [
        f"{tower}: 1.5 GB of memory available, 6.9 needed" for tower in ("vision", "imu")
    ]


def test_open_clips_network_is_its_vit_h_14() -> None:
    import open_clip

    described, theirs = open_clip_towers.configs(HUGE), open_clip.get_model_config("ViT-H-14")
    assert described == theirs


def test_a_run_that_breaks_keeps_what_it_has(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = directory / "results.json"

    def breaking(options: Options) -> Iterator[Comparison]:
        yield Comparison("first", "s", [2.0], [1.0])
        assert len(json.loads(output.read_text())["results"]) == 1
        raise RuntimeError("the second is broken")

    monkeypatch.setattr(filter_banks, "run", breaking)
    chart = directory / "chart.png"
    arguments = ["--smoke", "--only", "filter-banks", "--output", str(output), "--plot", str(chart)]
    assert main(arguments) == 1
    document = json.loads(output.read_text())
    assert [result["name"] for result in document["results"]] == ["first"]
    assert document["failed"] == {"filter-banks": "RuntimeError: the second is broken"}
    shown = capsys.readouterr()
    assert "first" in shown.out
    assert "filter-banks: failed" in shown.out
    assert chart.exists()


def test_records_are_named_for_device_and_day(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "RESULTS", directory / "results")
    monkeypatch.setattr(filter_banks, "run", lambda options: [Comparison("first", "s", [2.0], [1.0])])
    assert main(["--smoke", "--only", "filter-banks", "--record", "--quiet"]) == 0
    chart, document = sorted((directory / "results").iterdir(), key=lambda path: path.suffix != ".png")
    assert re.fullmatch(r"[a-z0-9-]+-\d{4}-\d\d-\d\d\.json", document.name)
    assert chart.stem == document.stem


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no CUDA device"):
        main(["--device", "cuda"])


def test_expected_time_is_told_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(filter_banks, "run", lambda options: [Comparison("first", "s", [2.0], [1.0])])
    assert main(["--only", "filter-banks"]) == 0
    assert capsys.readouterr().err.splitlines()[0] == "filter-banks: about 0.5 minutes on two idle cores"


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
    assert "UNEQUAL NUMBERS: filter-banks: filter banks" in shown.err
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
