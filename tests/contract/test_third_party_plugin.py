"""The how-to's plugin, taken from its page, installed as a package, found and used in a fresh process."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "writing_a_plugin.md").read_text(encoding="utf-8")
TOML = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
PYTHON = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)

ACME = """
import numpy as np

class Radio:
    band = "FM"

    def __call__(self, sentence):
        return np.full(16, float(len(sentence)), dtype=np.float32)
"""

USE = """
import sys
import bindplug
from bindplug import audio

assert "bindplug_acme.adapter" not in sys.modules
(plugin,) = [p for p in bindplug.list_plugins() if p.name == "acme"]
assert plugin.status == "ready", plugin
assert (plugin.distribution, plugin.version) == ("bindplug-acme", "0.1"), plugin
assert plugin.provides == ["adapters:acme_radio"], plugin
assert "bindplug_acme.adapter" not in sys.modules, "listing imported the adapter"

import acme
from bindplug.testing import FakeEncoder

radio = bindplug.upgrade(acme.Radio(), FakeEncoder())
assert radio.band == "FM"
assert (radio("a dog") == 5).all()
assert (radio("a dog", audio("bark.wav")) != 5).any()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A directory as pip would leave it: the two packages and the plugin's metadata."""
    directory = tmp_path_factory.mktemp("site")
    (metadata,) = TOML
    plugin, adapter, contract = PYTHON
    (directory / "acme.py").write_text(ACME)
    package = directory / "bindplug_acme"
    package.mkdir()
    for name, content in (("__init__", ""), ("plugin", plugin), ("adapter", adapter)):
        (package / f"{name}.py").write_text(content)
    (directory / "test_acme.py").write_text(contract)
    group = re.search(r"\[project\.entry-points\.bindplug\]\n(.*)", metadata)[1].replace('"', "")
    info = directory / "bindplug_acme-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bindplug-acme\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[bindplug]\n{group}\n")
    return directory


def run(site, *arguments, **variables):
    path = os.pathsep.join([str(site), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path, **variables},
        cwd=site,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_template_is_short():
    assert sum(len(snippet.strip().splitlines()) for snippet in PYTHON[:2]) <= 35


def test_an_installed_plugin_is_found_and_used(site):
    done = run(site, "-c", USE)
    assert done.returncode == 0, done.stderr


def test_it_can_be_blocked(site):
    done = run(
        site,
        "-c",
        "import bindplug; print([p.status for p in bindplug.list_plugins() if p.name == 'acme'])",
        BINDPLUG_DISABLE="acme",
    )
    assert done.stdout.strip() == "['blocked']", done.stderr


def test_it_passes_the_adapter_contract(site):
    done = run(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_acme.py")
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout


def test_every_snippet_is_executed():
    assert (len(TOML), len(PYTHON)) == (1, 3)
