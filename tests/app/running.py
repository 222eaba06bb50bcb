"""`bindplug app` in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
WAIT_S = 180
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
    "BINDPLUG_OFFLINE": "1",
}


@contextmanager
def page(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process on a free port, and the address of its page."""
    app = subprocess.Popen(
        [sys.executable, "-m", "bindplug.cli", "app", "--port", "0", "--json", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT | environment,
    )
    try:
        assert app.stdout is not None
        text = ""
        while not text.rstrip().endswith("}"):
            line = app.stdout.readline()
            assert line, app.communicate()[1]
            text += line
        yield app, json.loads(text)["url"]
    finally:
        app.terminate()
        try:
            app.communicate(timeout=WAIT_S)
        except subprocess.TimeoutExpired:
            app.kill()
            app.communicate()
