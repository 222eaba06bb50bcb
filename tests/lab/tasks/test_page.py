"""The page on benchmarks holds what the tasks' TOML files say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from bindplug_lab.tasks import list_tasks
from bindplug_lab.tasks.toml_files import read_task

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "benchmarks.md"


def test_the_tables_are_those_of_the_tasks():
    script = runpy.run_path(str(ROOT / "scripts" / "docs" / "benchmarks.py"))
    text = PAGE.read_text(encoding="utf-8")
    assert script["written"](text) == text, "run scripts/docs/benchmarks.py"
    for task in list_tasks():
        if task.needs_data:
            assert f"[`{task.name}`]" in text
            assert task.url in text


def test_the_examples_are_tasks(tmp_path):
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        path = tmp_path / "task.toml"
        is_whole = block.startswith("name")
        protocol, metric = (
            ("arithmetic_retrieval", "recall@1") if "pairs" in block else ("zero_shot", "accuracy")
        )
        top = f'name = "x"\ntitle = "x"\nprotocol = "{protocol}"\nmodalities = ["audio"]\nmetrics = ["{metric}"]\n'
        path.write_text(block if is_whole else top + block, encoding="utf-8")
        assert read_task(path).name == ("machines" if is_whole else "x")
