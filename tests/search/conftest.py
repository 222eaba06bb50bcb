"""Indexes of small files with an encoder that is instant, and a folder of toy pictures and their rows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bindplug.imagebind import ImageBind, save_directory
from bindplug.space import EmbeddingSpace
from bindplug_search import Index, create_index
from tests.command_line import bindplug  # noqa: F401 - a fixture
from tests.search.adopt_world import World
from tests.search.content import ContentEncoder
from tests.search.row_files import PATHS
from tests.small import SMALL


@pytest.fixture
def encoder() -> ContentEncoder:
    return ContentEncoder()


@pytest.fixture
def index(tmp_path: Path, encoder: ContentEncoder) -> Index:
    """A new, empty index beside the folder ``tmp_path / "library"``."""
    return create_index(tmp_path / "library.lance", model=encoder)


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of a small random ImageBind, of another space than the bundled model."""
    torch.manual_seed(0)
    model = ImageBind(SMALL, space=EmbeddingSpace("test:small", 16))
    return save_directory(model.eval(), tmp_path_factory.mktemp("weights") / "small", license="Apache-2.0")


@pytest.fixture(scope="session")
def adopt_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("adopt"))


@pytest.fixture
def paths_file(tmp_path: Path) -> str:
    """A file of the paths of the sixty rows."""
    file = tmp_path / "paths.txt"
    file.write_text("\n".join(PATHS))
    return str(file)
