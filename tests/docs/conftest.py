"""A directory with the files that the pages name, made of scenes of the toy world."""

import shutil

import pytest

from bindplug_toyworld.page_files import write_page_files
from tests import small_foreign


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Made once; tests work in copies."""
    directory = write_page_files(tmp_path_factory.mktemp("files"))
    small_foreign.clap(
        directory / "clap", seconds=4
    )  # what a page on encoders of other libraries has downloaded
    return directory


@pytest.fixture
def at_desk(files, tmp_path, monkeypatch):
    """The working directory is a fresh copy of the files; no weights but the bundled ones, no network."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for variable in ("BINDPLUG_HOME", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("BINDPLUG_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path
