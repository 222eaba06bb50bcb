"""A command line in this process, a miniature ESC-50, and a directory of a small model."""

from __future__ import annotations

from pathlib import Path

import pytest

from bindplug.imagebind import save_directory
from bindplug_lab.tasks import load_task
from tests.command_line import bindplug  # noqa: F401 - a fixture
from tests.lab.miniature import make_esc50
from tests.lab.planted import small_model


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of a small random network with all towers."""
    return save_directory(small_model(), tmp_path_factory.mktemp("weights") / "small", license="Apache-2.0")


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one of the same space."""
    return save_directory(small_model(1), tmp_path_factory.mktemp("others") / "other", license="Apache-2.0")


@pytest.fixture(scope="session")
def esc50(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred tiny sounds of fifty classes."""
    folder = tmp_path_factory.mktemp("data")
    make_esc50(folder)
    return folder


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The task esc50 with one prompt a class in place of eighty."""
    path = tmp_path_factory.mktemp("tasks") / "quick.toml"
    text = Path(load_task("esc50").source).read_text()
    path.write_text(text.replace('templates = "openai_imagenet"', 'templates = ["{}"]'))
    assert "{}" in path.read_text()
    return path
