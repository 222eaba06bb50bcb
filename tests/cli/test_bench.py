"""``bindplug bench``: figures of a small model, as a table, JSON and chart, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bindplug.bench import plan
from bindplug.bench.throughput import Measurement

QUICK = ("--batch-size", 2, "--repeats", 1)


@pytest.fixture(autouse=True)
def small_square(monkeypatch):
    monkeypatch.setattr("bindplug.bench.clock.SQUARE", {"cpu": 64, "cuda": 64})
    monkeypatch.setattr("bindplug.bench.clock.LEAST_S", 0.001)


def test_json_has_every_modality_and_dtype(bindplug, model_directory):
    ran = bindplug("bench", model_directory, *QUICK, "--json", "--quiet")
    assert ran.code == 0, ran.err
    assert ran.err == ""
    results = ran.json["results"]
    named = [(one["modality"], one["dtype"]) for one in results]
    modalities = ("image", "text", "audio", "depth", "thermal", "imu")
    assert named == [(modality, dtype) for modality in modalities for dtype in ("fp32", "bf16")]
    for one in results:
        assert one["equal"]
        assert one["items_per_s"]["min"] > 0
        assert one["gflop_per_item"] > 0
        assert one["share_of_square_product"] > 0
    assert ran.json["machine"]["torch"]


def test_table_fits_eighty_columns(bindplug, model_directory, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")  # a pipe has no width, so nothing would be folded
    ran = bindplug("bench", model_directory, *QUICK, "--modalities", "audio,video", "--dtype", "fp32,fp16")
    assert ran.code == 0, ran.err
    assert max(map(len, ran.out.splitlines()[1:])) <= 80
    lines = [line.split()[:2] for line in ran.out.splitlines()]
    assert [line for line in lines if line and line[0] in ("audio", "video")] == [
        ["audio", "fp32"], ["audio", "fp16"], ["video", "fp32"], ["video", "fp16"],
    ]  # fmt: skip


def test_int8_and_packed_weights_are_measured(bindplug, model_directory):
    chosen = ("--modalities", "imu", "--dtype", "fp32,int8", "--pack")
    ran = bindplug("bench", model_directory, *QUICK, *chosen, "--json", "--quiet")
    assert ran.code == 0, ran.err
    assert ran.json["packed"]
    assert [one["dtype"] for one in ran.json["results"]] == ["fp32", "int8"]
    assert ran.json["results"][1]["cosine"] < 1  # rounding to eight bits shows


def test_unequal_numbers_end_with_1(bindplug, model_directory, monkeypatch):
    wrong = Measurement("imu", "bf16", 2, [10.0], deviation=0.5, cosine=0.9)
    monkeypatch.setattr(plan, "measure", lambda *args, **options: wrong)
    ran = bindplug("bench", model_directory, *QUICK, "--modalities", "imu", "--dtype", "bf16")
    assert ran.code == 1
    assert "UNEQUAL imu in bf16: least cosine 0.900000" in " ".join(ran.out.split())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--dtype", "fp8"), 1, "expected some of fp32, bf16, fp16, int8"),
        (("--modalities", "smell"), 1, "unknown modality 'smell'"),
        (("--repeats", "0"), 2, "repeats"),
        (("--device", "nonsense"), 1, "a device of this machine"),
    ],
)
def test_wrong_usage_is_one_line(bindplug, model_directory, arguments, code, said):
    ran = bindplug("bench", model_directory, *arguments)
    assert ran.code == code
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_a_real_process_measures_the_bundled_model():
    command = "bench imagebind_tiny --modalities text --dtype fp32 --batch 2 --repeats 1 --json --quiet"
    done = subprocess.run(
        [sys.executable, "-m", "bindplug.cli", *command.split()], capture_output=True, text=True, check=True
    )
    (result,) = json.loads(done.stdout)["results"]
    assert result["equal"]
    assert result["deviation"] < 1e-4
