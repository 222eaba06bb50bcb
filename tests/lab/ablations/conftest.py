"""The small grid of these tests."""

from __future__ import annotations

import pytest

from tests.lab.ablations.grids import write_grid


@pytest.fixture
def grid_file(tmp_path):
    """Its TOML file."""
    return write_grid(tmp_path)
