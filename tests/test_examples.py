"""Every example runs as a person would run it, and prints what its text promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
PROMISES = {
    "classify_sounds.py": "a horse",
    "detect_by_sound.py": "the bark: 0.",
    "embedding_arithmetic.py": "holds both is number",
    "six_senses.py": "thermal",
}


def test_every_example_is_tested():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(PROMISES)


@pytest.mark.parametrize("name", PROMISES)
def test_it_runs(name, tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLES / name], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert PROMISES[name] in done.stdout
    if name in ("detect_by_sound.py", "embedding_arithmetic.py"):
        assert (tmp_path / "found.png").stat().st_size > 10_000
