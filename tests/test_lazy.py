"""Names imported when first used, and packages that an extra installs."""

import sys
import types

import pytest

from bindplug.errors import MissingDependency
from bindplug.lazy import lazy_names, require


@pytest.fixture
def package(monkeypatch):
    made = types.ModuleType("a_package")
    inner = types.ModuleType("a_package.inner")
    inner.Thing = object()
    monkeypatch.setitem(sys.modules, "a_package", made)
    monkeypatch.setitem(sys.modules, "a_package.inner", inner)
    return made


def test_a_name_is_imported_once_and_then_is_the_packages_own(package):
    calls = []
    package.__getattr__, package.__dir__ = lazy_names(
        "a_package", {"Thing": "inner"}, ["Thing", "other"], before=calls.append
    )
    assert {"Thing", "other"} <= set(dir(package))
    assert package.Thing is sys.modules["a_package.inner"].Thing
    assert package.Thing is vars(package)["Thing"]
    assert calls == ["inner"]
    with pytest.raises(AttributeError, match="module 'a_package' has no attribute 'Thong'"):
        _ = package.Thong


def test_a_package_that_is_there_is_returned(package):
    assert require("a_package", owner="me", extra="x") is package
    package.__version__ = "1.10.0.dev0"
    assert require("a_package.inner", owner="me", extra="x", oldest=(1, 9)).Thing
    with pytest.raises(
        MissingDependency, match=r'me needs a_package \(too old\): pip install "bindplug\[x\]"'
    ):
        require("a_package", owner="me", extra="x", oldest=(1, 11))


def test_absent_and_broken_packages_name_the_extra(monkeypatch, tmp_path):
    with pytest.raises(MissingDependency, match=r'me needs nowhere: pip install "bindplug\[x\]"') as caught:
        require("nowhere.inside", owner="me", extra="x")
    assert caught.value.reason == "absent"
    (tmp_path / "half_there.py").write_text("import nowhere_else")
    (tmp_path / "no_library.py").write_text("raise OSError('libx.so: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    for name, reason in (("half_there", "nowhere_else"), ("no_library", "libx.so")):
        with pytest.raises(MissingDependency, match=f"{name} .*{reason}"):
            require(name, owner="me", extra="x")
