"""Miniature data sets, each made once a session."""

from __future__ import annotations

import pytest

from tests.lab.miniature import MAKERS


@pytest.fixture(scope="session")
def miniatures(tmp_path_factory):
    """A function from a task's name to the folder of its miniature, which tests only read."""
    folders = {}

    def folder(name):
        maker = MAKERS[name]
        if maker not in folders:
            folders[maker] = maker(tmp_path_factory.mktemp(maker.__name__))
        return folders[maker]

    return folder


@pytest.fixture
def leaf():
    """A function from a query to its only leaf."""

    def only(query):
        ((weight, inner),) = query.terms
        assert weight == 1.0
        return inner

    return only
