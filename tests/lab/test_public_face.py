"""What bindplug_lab exports, and what importing it costs."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import bindplug_lab

ROOT = Path(__file__).parents[2]


def test_names_are_sorted_and_there():
    assert sorted(bindplug_lab.__all__) == list(bindplug_lab.__all__)
    assert set(bindplug_lab._MODULES) == set(bindplug_lab.__all__)
    assert set(bindplug_lab.__all__) <= set(dir(bindplug_lab))


@pytest.mark.parametrize("name", bindplug_lab.__all__)
def test_every_export_explains_itself(name):
    assert inspect.getdoc(getattr(bindplug_lab, name))


def test_importing_it_imports_nothing_heavy():
    code = "import bindplug_lab, sys; print(*sys.modules)"
    env = {"PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    heavy = {"torch", "sklearn", "scipy", "matplotlib", "torchmetrics", "click", "bindplug_toyworld"}
    assert not heavy & set(done.stdout.split())


def test_the_reference_describes_every_export():
    text = (ROOT / "docs" / "reference" / "lab.md").read_text(encoding="utf-8")
    assert {f"::: bindplug_lab.{name}" for name in bindplug_lab.__all__} <= set(text.splitlines())
