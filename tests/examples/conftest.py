"""Running an example as a person would: from some other directory, with a command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run(tmp_path):
    """A function that runs an example in an empty directory and returns its lines; it must succeed quietly."""

    def run(name: str, *arguments: object, **variables: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, EXAMPLES / name, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "BINDPLUG_QUIET": "1", **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout.splitlines()

    return run


def picture_at(path: Path) -> tuple[int, int]:
    """Width and height of a picture that shows something: not one color alone."""
    from PIL import Image

    with Image.open(path) as picture:
        assert max(high - low for low, high in picture.convert("RGB").getextrema()) > 30
        return picture.size
