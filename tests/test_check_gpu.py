"""scripts/check-gpu: a section that breaks, is skipped or takes too long is recorded and stops no other."""

from __future__ import annotations

import argparse
import importlib.util
import json
import signal
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "check-gpu"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = SourceFileLoader("check_gpu", str(SCRIPT))
    spec = importlib.util.spec_from_loader("check_gpu", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def run(script: ModuleType, tmp_path: Path):
    options = argparse.Namespace(device="cpu", small=True, output=tmp_path / "result.json", budget=60.0)
    return script.Run(options)


def test_sections_that_break_or_are_skipped_stop_no_other(script: ModuleType, run, capsys) -> None:
    def breaks(_) -> None:
        raise RuntimeError("no such kernel")

    def is_skipped(_) -> None:
        raise script.SkippedSection("no torchvision")

    script.run_section(run, "first", breaks, 10)
    script.run_section(run, "second", is_skipped, 10)
    script.run_section(run, "third", lambda r: r.check("difference", 0.5, 1.0), 10)
    result = json.loads(run.output.read_text())
    assert [section["status"] for section in result["sections"]] == ["broken", "skipped", "done"]
    assert "no such kernel" in result["sections"][0]["reason"]
    assert result["checks"][0]["passed"]
    assert not result["passed"]
    script.print_table(run)
    assert "no torchvision" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "at_least", "passes"),
    [
        (0.5, False, True),
        (1.5, False, False),
        (1.5, True, True),
        (0.5, True, False),
        (float("nan"), True, False),
    ],
)
def test_a_number_beyond_its_limit_fails_the_run(run, value: float, at_least: bool, passes: bool) -> None:
    run.check("number", value, 1.0, at_least=at_least)
    assert run.failed is not passes


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no alarms on this system")
def test_a_section_that_takes_too_long_is_interrupted(script: ModuleType, run) -> None:
    def never_ends(_) -> None:
        while True:
            pass

    script.run_section(run, "endless", never_ends, 0.05)
    assert run.sections[0]["status"] == "broken"
    assert "longer than" in run.sections[0]["reason"]


def test_the_script_runs_outside_the_checkout(tmp_path: Path) -> None:
    command = [sys.executable, "-I", str(SCRIPT), "--device", "cpu", "--small", "--output", "result.json"]
    command += ["--only", "refusals and eight bits", "training"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["passed"]
    names = {check["name"] for check in result["checks"]}
    assert {"a quantized model has no state dict", "gradient checkpointing, relative difference"} <= names
