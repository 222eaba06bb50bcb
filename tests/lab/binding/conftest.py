"""Scenes as pairs of files, and an ear that was bound to them, which the tests of the command share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.binding.toy_pairs import TINY, write_scenes


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("BINDPLUG_HOME", str(tmp_path_factory.getbasetemp() / "bindplug_home"))


@pytest.fixture(scope="session")
def scenes(tmp_path_factory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes") / "pairs", 24)


@pytest.fixture(scope="session")
def ear(scenes, tmp_path_factory) -> Path:
    """Bound in a process of its own, as a person would."""
    output = tmp_path_factory.mktemp("ear") / "my-ear"
    command = [sys.executable, "-m", "bindplug.cli", "bind", str(scenes), "--sense", "audio"]
    command += ["--anchor", "imagebind_tiny", "-o", str(output), *TINY, "--validation", "0.2", "--json"]
    environment = dict(os.environ) | {"BINDPLUG_HOME": str(tmp_path_factory.mktemp("home"))}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == json.loads((output / "card.json").read_text(encoding="utf-8"))
    return output
