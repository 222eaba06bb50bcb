"""The example makes the page that a Space shows."""

from __future__ import annotations

import runpy
import sys

import gradio as gr

from tests.app.running import ROOT


def test_the_example_makes_the_page(index_path, monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setattr(sys, "argv", ["app.py", str(index_path)])
    demo = runpy.run_path(str(ROOT / "examples" / "app.py"))["demo"]
    assert isinstance(demo, gr.Blocks)
    assert demo.launch.keywords["share"] is False
    labels = [block.value for block in demo.blocks.values() if isinstance(block, gr.Button)]
    assert {"Search", "Find it", "Paint it", "Hear a dog"} <= set(labels)
    demo.close()
