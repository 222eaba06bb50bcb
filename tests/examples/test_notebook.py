"""The notebook runs from its first cell to its last, and its stored outputs are those of a run."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient

from tests.examples.conftest import EXAMPLES

NOTEBOOK = EXAMPLES / "tour.ipynb"
TOOLS = ("Search", "open_clip", "transformers", "Detic", "diffusers")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    stored = [_pictures(cell) for cell in _code(notebook)]
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert [_pictures(cell) for cell in _code(notebook)] == stored
    printed = "".join(output.get("text", "") for cell in _code(notebook) for output in cell.outputs)
    assert "dog.jpg -> bark" in printed
    assert "street.png -> what" in printed


def test_it_shows_the_five_tools():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    titles = [cell.source.splitlines()[0] for cell in notebook.cells if cell.cell_type == "markdown"]
    assert titles[1:] == [f"## {tool}" for tool in TOOLS]
    assert all(cell.outputs for cell in _code(notebook)[1:]), "outputs are stored for readers"
    assert NOTEBOOK.stat().st_size < 200_000


def _code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _pictures(cell):
    """How many pictures a cell shows."""
    return sum(any(kind.startswith("image/") for kind in output.get("data", {})) for output in cell.outputs)
