"""Fixtures of the tests of search: a folder of toy pictures and their rows."""

import pytest

from tests.search.adopt_world import World


@pytest.fixture(scope="session")
def adopt_world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("adopt"))
