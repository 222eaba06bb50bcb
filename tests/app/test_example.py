"""The example makes the page that a Space shows."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.command_process import ENVIRONMENT, ROOT, WAIT_S

SHOW = """
import json, runpy, sys
import gradio
demo = runpy.run_path(sys.argv.pop(1))["demo"]
labels = [block.value for block in demo.blocks.values() if isinstance(block, gradio.Button)]
print(json.dumps([isinstance(demo, gradio.Blocks), demo.launch.keywords["share"], labels]))
"""


def test_the_example_makes_the_page(index_path, tmp_path):
    # in a process of its own: Gradio leaves event loops open
    done = subprocess.run(
        [sys.executable, "-c", SHOW, str(ROOT / "examples" / "app.py"), str(index_path)],
        env=ENVIRONMENT | {"GRADIO_TEMP_DIR": str(tmp_path / "uploads"), "GRADIO_ANALYTICS_ENABLED": "False"},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    is_page, is_shared, labels = json.loads(done.stdout.splitlines()[-1])
    assert is_page
    assert is_shared is False
    assert {"Search", "Find it", "Paint it", "Hear a dog"} <= set(labels)
